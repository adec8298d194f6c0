"""The head a returning task begins with: random anew, stored, or meta-learned; the table of notebook 04.

    python -m course_lib experiments training_heads

MAML on sinusoids (MLP 1-40-40-1, Adam, 10 tasks of 10 + 10 points an iteration) on a finite set of tasks that come
back. What changes between runs: where a task's head begins (``HEADS``), how many tasks there are, k, and the rates of
both loops. A seed gives all its runs the same initial body and the same stream of tasks and points; the runs of one
seed and k train together as one batched run.

A body is judged alone, whatever head it was trained with: a ridge head is fitted to 10 points of each of 100 new
tasks, and the error is the median over the tasks of that on 30 other points. The ridge penalty is chosen for every
body from ``PENALTIES`` on 100 other tasks, ``validation``, which choose the outer rate too (``best_rate``).
``training_loss`` is what the outer loop saw: the mean query loss of the last 100 iterations up to a stop.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor, nn

from course_lib.algorithms.heads import BIAS, WEIGHT, RandomHead, random_heads
from course_lib.inner_loop import Params, adapt, predict
from course_lib.kit.experiment import Experiment
from course_lib.losses import mse
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks
from course_lib.tasks.base import TaskBatch

HEADS = ("random", "written back", "meta")  # see algorithms/heads.py
STOPS = (0, 50, 100, 200, 400, 800, 1600)  # iterations
META_BATCH, SHOTS, INNER_LR = 10, 10, 0.01
TEST_TASKS, TEST_QUERIES, TEST_SEED = 100, 30, 10_000
PENALTIES = (1e-3, 1e-2, 0.1, 1.0, 10.0)  # of the judge's ridge head


class Run(NamedTuple):
    """One meta-training of a seed: the head's kind, how many tasks there are, the outer rate."""

    head: str
    num_tasks: int
    outer_lr: float


def train(
    seed: int, runs: Sequence[Run], steps: int, stops: Sequence[int] = STOPS
) -> Iterator[tuple[int, Params, Tensor]]:
    """Train all ``runs``, sorted by their outer rate, as one; each ends where ``meta_train`` would bring it.

    Yields:
        (iteration, parameters {name: [R, ...]}, losses since the last stop [n, R]) at each of the ``stops``, ascending.
    """
    model, num_runs = MLP(seed=seed), len(runs)
    rates = sorted({run.outer_lr for run in runs})
    groups = [[run for run in runs if run.outer_lr == rate] for rate in rates]
    assert sum(groups, []) == list(runs), "runs must be sorted by their outer rate"
    leaves = [{n: p.detach().expand(len(g), *p.shape).clone().requires_grad_() for n, p in model.named_parameters()}
              for g in groups]  # fmt: skip
    updates = [{"params": list(group.values()), "lr": rate} for group, rate in zip(leaves, rates)]
    optimizer = torch.optim.Adam(updates, fused=True)
    sets = {n: SinusoidTasks(SHOTS, SHOTS, num_tasks=n) for n in sorted({run.num_tasks for run in runs})}
    streams = {n: torch.Generator().manual_seed(seed) for n in sets}  # of tasks and points
    heads = Heads(runs, sets, seed)
    losses: list[Tensor] = []
    for iteration in range(stops[-1] + 1):
        theta = {n: torch.cat([group[n] for group in leaves]) for n in leaves[0]}  # [R, ...]
        if iteration in stops:
            seen = torch.stack(losses) if losses else torch.empty(0, num_runs)
            yield iteration, {n: p.detach() for n, p in theta.items()}, seen
            losses = []
        batches = {n: sets[n].sample(META_BATCH, generator=streams[n]) for n in sets}
        batch = TaskBatch.cat([batches[run.num_tasks] for run in runs])  # [R T]
        start = {n: p.repeat_interleave(META_BATCH, 0) for n, p in theta.items()}  # [R T, ...]
        start = heads.begin(start, batches)
        adapted = adapt(model, start, batch.support_x, batch.support_y, loss_fn=mse, steps=steps, lr=INNER_LR)
        heads.remember(adapted, batches)
        loss = mse(predict(model, adapted, batch.query_x), batch.query_y).view(num_runs, -1).mean(1)  # [R]
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
        losses.append(loss.detach())


class Heads:
    """The heads that the tasks of all runs begin with, and the tables of those that are remembered."""

    def __init__(self, runs: Sequence[Run], num_tasks: Sequence[int], seed: int):
        self.fresh = RandomHead(seed).draws
        self.random = [r for r, run in enumerate(runs) if run.head == "random"]
        of = lambda n: [r for r, run in enumerate(runs) if run.head == "written back" and run.num_tasks == n]
        self.stored = {n: of(n) for n in num_tasks}
        self.tables = {}  # {number of tasks: {name: [stored runs, N, ...]}}
        for n, mine in self.stored.items():
            heads = random_heads(n, 40, 1, torch.Generator().manual_seed(seed))
            self.tables[n] = {name: head.expand(len(mine), *head.shape).clone() for name, head in heads.items()}

    def begin(self, params: Params, batches: dict[int, TaskBatch]) -> Params:
        """``params`` [R T, ...] with the random and the stored heads in their places."""
        drawn = random_heads(META_BATCH, 40, 1, self.fresh.now())
        self.fresh.advance()
        begun = {}
        for name in (WEIGHT, BIAS):
            head = params[name].unflatten(0, (-1, META_BATCH)).clone()  # [R, T, ...]
            head[self.random] = drawn[name]
            for n, batch in batches.items():
                head[self.stored[n]] = self.tables[n][name][:, batch.task_id]
            begun[name] = head.flatten(0, 1)
        return params | begun

    def remember(self, adapted: Params, batches: dict[int, TaskBatch]) -> None:
        for n, batch in batches.items():
            for name, table in self.tables[n].items():
                ended = adapted[name].detach().unflatten(0, (-1, META_BATCH))  # [R, T, ...]
                table[:, batch.task_id] = ended[self.stored[n]]


# The judge -------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def new_tasks(num_tasks: int, seed: int) -> TaskBatch:
    return SinusoidTasks(SHOTS, TEST_QUERIES).sample(num_tasks, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def ridge_errors(body: nn.Module, params: Params, batch: TaskBatch, penalties: Sequence[float] = PENALTIES) -> Tensor:
    """Median over tasks of the query error of a ridge head on the body's features, for each penalty [penalties].

    One eigendecomposition of each task's K = z z^T serves all: outputs = K' U (S + penalty)^-1 U^T y.
    """
    ones = lambda x: torch.ones(*x.shape[:2], 1, dtype=torch.float64)
    see = lambda x: torch.cat([torch.func.functional_call(body, params, (x,)).double(), ones(x)], -1)
    z, new = see(batch.support_x), see(batch.query_x)  # [T, S, D + 1], [T, Q, D + 1]
    values, vectors = torch.linalg.eigh(z @ z.mT)  # [T, S], [T, S, S]
    across = new @ z.mT @ vectors  # [T, Q, S]
    targets = vectors.mT @ batch.support_y.double()  # [T, S, 1]
    outputs = [across @ (targets / (values.clamp(min=0) + penalty)[..., None]) for penalty in penalties]
    return torch.stack([mse(output, batch.query_y.double()).median() for output in outputs])


def judge(params: Params, num_tasks: int = TEST_TASKS) -> dict:
    """One body's errors: on validation tasks at their best penalty, on test tasks at each penalty."""
    body = MLP().features
    mine = {name.removeprefix("features."): p for name, p in params.items() if name.startswith("features.")}
    if not all(p.isfinite().all() for p in mine.values()):
        return {"validation": math.inf, "penalty": PENALTIES[-1], "errors": [math.inf] * len(PENALTIES)}
    validation, test = (ridge_errors(body, mine, new_tasks(num_tasks, TEST_SEED + i)) for i in (1, 0))
    return {
        "validation": validation.min().item(),
        "penalty": PENALTIES[int(validation.argmin())],
        "errors": test.tolist(),
    }


def measure(
    seed: int,
    steps: int,
    num_tasks: int,
    outer_lrs: Sequence[float],
    stops: Sequence[int] = STOPS,
    test_tasks: int = TEST_TASKS,
) -> list[dict]:
    """A row for each run: its settings, and lists over the stops of what ``judge`` says and of the training loss."""
    runs = [Run(head, num_tasks, outer_lr) for outer_lr, head in product(outer_lrs, HEADS)]
    rows = [{"head": run.head, "outer_lr": run.outer_lr} | {number: [] for number in NUMBERS} for run in runs]
    for _, theta, losses in train(seed, runs, steps, stops):
        for r, row in enumerate(rows):
            seen = losses[-100:, r].mean().item() if len(losses) else math.nan
            judged = judge({n: p[r] for n, p in theta.items()}, test_tasks) | {"training_loss": seen}
            for number, value in judged.items():
                row[number].append(rounded(value))
    return rows


NUMBERS = ("validation", "penalty", "errors", "training_loss")


def rounded(value):
    """To three digits."""
    return [rounded(v) for v in value] if isinstance(value, list) else float(f"{value:.3g}")


OUTER_LRS = (1e-3, 3e-3, 1e-2)
runs = Experiment(
    __file__,
    measure,
    seeds=range(20),
    cells=[{"steps": 1, "num_tasks": 50}, {"steps": 1, "num_tasks": 5000}, {"steps": 5, "num_tasks": 50}],
    settings={"outer_lrs": OUTER_LRS},
    small={"stops": (0, 20), "test_tasks": 10},
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
        number: "errors" of the body, judged, or "training_loss".
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


@torch.enable_grad()
def bodies(seed: int, stops: Sequence[int]) -> Iterator[dict[str, MLP]]:
    """{head: network} at each of the stops, on the way of the three kinds, with 50 tasks and k = 1; trained now."""
    for _, theta, _ in train(seed, [Run(head, 50, 1e-3) for head in HEADS], 1, stops):
        networks = {head: MLP() for head in HEADS}
        for r, network in enumerate(networks.values()):
            network.load_state_dict({n: p[r] for n, p in theta.items()})
        yield networks
