"""The head a returning task begins with: random anew, stored, or meta-learned; the table of notebook 04.

    python -m course_lib experiments training_heads

MAML on sinusoids (MLP 1-40-40-1, Adam, 10 tasks of 10 + 10 points an iteration) on a finite set of tasks that come
back. What changes between runs: where a task's head begins (``HEADS``), how many tasks there are, k, and the outer
rate. A seed gives all its runs the same initial body and the same stream of tasks and points.

A body is judged alone, whatever head it was trained with: a ridge head is fitted to 10 points of each of 100 new
tasks, and the error is the median over the tasks of that on 30 other points. The ridge penalty is chosen for every
body from ``PENALTIES`` on 100 other tasks, ``validation``, which choose the outer rate too (``best_rate``).
``length`` is the root mean square length of its features. ``training_loss`` is what the outer loop saw: the mean query
loss of the last 100 iterations up to a stop.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from statistics import median

import torch
from torch import Tensor, nn

from course_lib.algorithms import MAML
from course_lib.algorithms.heads import RandomHead, WrittenBackHeads
from course_lib.kit import many_seeds
from course_lib.kit.experiment import Experiment
from course_lib.losses import mse
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks
from course_lib.tasks.base import TaskBatch
from course_lib.tasks.sinusoid import X_RANGE

HEADS = ("random", "written back", "meta")  # see algorithms/heads.py
STOPS = (0, 50, 100, 200, 400, 800, 1600)  # iterations
META_BATCH, SHOTS, INNER_LR = 10, 10, 0.01
TEST_TASKS, TEST_QUERIES, TEST_SEED = 100, 30, 10_000
PENALTIES = (1e-3, 1e-2, 0.1, 1.0, 10.0)  # of the judge's ridge head
GRID = torch.linspace(*X_RANGE, 101)[:, None]  # [101, 1], where features are measured


def learner_of(head: str, num_tasks: int, steps: int, seed: int) -> MAML:
    """Plain MAML, or with heads drawn from ``seed``."""
    stored = lambda: WrittenBackHeads(num_tasks, 40, 1, seed)
    kinds = {"random": lambda: RandomHead(seed), "written back": stored, "meta": lambda: None}
    return MAML(steps, INNER_LR, head=kinds[head]())


def train(
    seeds: Sequence[int], head: str, num_tasks: int, steps: int, outer_lr: float, stops: Sequence[int] = STOPS
) -> Iterator[tuple[int, Tensor, list[nn.Module]]]:
    """``many_seeds.train`` of one kind of head, with the untrained networks at stop 0."""
    if stops[0] == 0:
        yield 0, torch.empty(0, len(seeds)), [MLP(seed=seed) for seed in seeds]
    learner = lambda seed: learner_of(head, num_tasks, steps, seed)
    tasks = SinusoidTasks(SHOTS, SHOTS, num_tasks=num_tasks)
    yield from many_seeds.train(learner, tasks, seeds, outer_lr, [stop for stop in stops if stop], META_BATCH)


# The judge -------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def new_tasks(num_tasks: int, seed: int) -> TaskBatch:
    return SinusoidTasks(SHOTS, TEST_QUERIES).sample(num_tasks, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def ridge_errors(body: nn.Module, batch: TaskBatch, penalties: Sequence[float] = PENALTIES) -> Tensor:
    """Median over tasks of the query error of a ridge head on the body's features, for each penalty [penalties].

    One eigendecomposition of each task's K = z z^T serves all: outputs = K' U (S + penalty)^-1 U^T y.
    """
    ones = lambda x: torch.ones(*x.shape[:2], 1, dtype=torch.float64)
    see = lambda x: torch.cat([body(x).double(), ones(x)], -1)
    z, new = see(batch.support_x), see(batch.query_x)  # [T, S, D + 1], [T, Q, D + 1]
    values, vectors = torch.linalg.eigh(z @ z.mT)  # [T, S], [T, S, S]
    across = new @ z.mT @ vectors  # [T, Q, S]
    targets = vectors.mT @ batch.support_y.double()  # [T, S, 1]
    outputs = [across @ (targets / (values.clamp(min=0) + penalty)[..., None]) for penalty in penalties]
    return torch.stack([mse(output, batch.query_y.double()).median() for output in outputs])


@torch.no_grad()
def judge(body: nn.Module, num_tasks: int = TEST_TASKS) -> dict:
    """One body's errors, on validation tasks at their best penalty, on test tasks at each; and its features' length."""
    length = body(GRID).square().sum(1).mean().sqrt().item()
    if not math.isfinite(length):
        nothing = {"validation": math.inf, "penalty": PENALTIES[-1], "errors": [math.inf] * len(PENALTIES)}
        return nothing | {"length": math.inf}
    validation, test = (ridge_errors(body, new_tasks(num_tasks, TEST_SEED + i)) for i in (1, 0))
    return {
        "validation": validation.min().item(),
        "penalty": PENALTIES[int(validation.argmin())],
        "errors": test.tolist(),
        "length": length,
    }


def measure(
    seeds: Sequence[int],
    head: str,
    num_tasks: int,
    steps: int,
    outer_lr: float,
    stops: Sequence[int] = STOPS,
    test_tasks: int = TEST_TASKS,
) -> list[dict]:
    """A row for each seed: lists over the stops of what ``judge`` says and of the training loss."""
    rows = [{"seed": seed} | {number: [] for number in NUMBERS} for seed in seeds]
    before = 0
    for stop, losses, networks in train(seeds, head, num_tasks, steps, outer_lr, stops):
        for row, network, seen in zip(rows, networks, losses[max(before, stop - 100) :].mean(0)):  # NaN of none
            judged = judge(network.features, test_tasks) | {"training_loss": seen.item()}
            for number, value in judged.items():
                row[number].append(rounded(value))
        before = stop
    return rows


NUMBERS = ("validation", "penalty", "errors", "length", "training_loss")


def rounded(value):
    """To three digits."""
    return [rounded(v) for v in value] if isinstance(value, list) else float(f"{value:.3g}")


OUTER_LRS = (1e-3, 3e-3, 1e-2)
runs = Experiment(
    __file__,
    measure,
    seeds=range(20),
    cells=[
        {"head": head, "num_tasks": num_tasks, "steps": steps, "outer_lr": outer_lr}
        for num_tasks, steps in ((50, 1), (5000, 1), (50, 5))
        for outer_lr in OUTER_LRS
        for head in HEADS
    ],
    settings={"stops": STOPS, "test_tasks": TEST_TASKS},
    small={"stops": (0, 20), "test_tasks": 10},
    batched=True,
)


# What the table says ----------------------------------------------------------------------------------------------


def best_rate(head: str, num_tasks: int, steps: int) -> float:
    """The outer rate with the lowest median validation error at the last stop, over the seeds of the table."""
    last: dict[float, list[float]] = {}
    for row in runs.rows(head=head, num_tasks=num_tasks, steps=steps):
        last.setdefault(row["outer_lr"], []).append(row["validation"][-1])
    return min(last, key=lambda rate: median(math.inf if math.isnan(v) else v for v in last[rate]))


def curves(
    num_tasks: int,
    steps: int,
    seed: int | None = None,
    number: str = "errors",
    outer_lr: float | None = None,
    penalty: float | None = None,
) -> dict[str, Tensor]:
    """{head: [seeds, stops]}, at each kind's best outer rate or at this one, and at the judge's penalty.

    Args:
        seed: this one alone, measured now where the table has it not; None is all of the table.
        number: "errors" of the body, judged, or "length" or "training_loss".
        penalty: one of PENALTIES; None is each body's own best on the validation tasks.
    """
    found = {}
    for head in HEADS:
        where = {"head": head, "num_tasks": num_tasks, "steps": steps}
        where["outer_lr"] = outer_lr or best_rate(**where)
        rows = runs.rows(**where) if seed is None else runs.of(seed, **where)
        values = [row[number] for row in rows]
        if number == "errors":
            at = lambda own: PENALTIES.index(own if penalty is None else penalty)
            values = [[at_stop[at(own)] for at_stop, own in zip(row[number], row["penalty"])] for row in rows]
        found[head] = torch.tensor(values, dtype=torch.float64)
    return found
