"""The head a returning task begins with: random anew, stored, or meta-learned; the table of notebook 04.

    python -m course_lib.chapters.task_heads.experiments.training_heads

MAML on sinusoids (MLP 1-40-40-1, Adam 1e-3, 10 tasks of 10 + 10 points an iteration) on a finite set of
tasks that come back. What changes between runs: where a task's head begins (``HEADS``), how many tasks
there are, and k; the inner rate is 0.01. Three seeds each; a seed gives all runs the same initial body and
the same stream of tasks and points. Runs with one k train together as one batched run.

A body is judged alone, whatever head it was trained with: a ridge head (lambda 0.1) is fitted to 10 points
of 200 new tasks, and the error is that on 50 other points. ``training_loss`` is what the outer loop saw:
the mean query loss of the last 100 iterations up to a stop, heads and all. None stands for a run that
diverged or a loss not yet seen.

Writes training_heads.json, the scores with their record, and training_heads.safetensors, the bodies on the way of
one run of each kind. About eight minutes on one quiet CPU core.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from course_lib import checkpoints
from course_lib.algorithms.heads import RandomHead, StoredHeads, TaskHead, WrittenBackHeads
from course_lib.algorithms.solvers import ridge_head
from course_lib.engine.files import read_tensors, write_tensors, write_whole
from course_lib.engine.run import threads_for
from course_lib.inner_loop import Params, adapt, predict
from course_lib.losses import mse
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks
from course_lib.tasks.base import TaskBatch
from course_lib.training import adam

HEADS = ("random", "written back", "meta")  # see algorithms/heads.py
NUM_TASKS, STEPS, SEEDS = (50, 200, 5000), (1, 5), (0, 1, 2)
STOPS = (0, 25, 50, 100, 200, 400, 800, 1600, 3200)  # iterations
INNER_LR, OUTER_LR, META_BATCH, SHOTS = 0.01, 1e-3, 10, 10
TEST_TASKS, TEST_QUERIES, LAMBDA = 200, 50, 0.1
SHIPPED = {"num_tasks": 200, "steps": 1, "seed": 0}  # bodies of these runs are kept
FILE = Path(__file__).with_suffix(".json")
BODIES = FILE.with_suffix(".safetensors")


@dataclass(frozen=True)
class Run:
    """One meta-training: the head's kind, how many tasks there are, k, the seed.

    ``head`` is one of HEADS or "stored", which the outer loop trains.
    """

    head: str
    num_tasks: int
    steps: int
    seed: int

    def make_head(self, num_features: int = 40) -> TaskHead | None:
        """A head of this kind, seeded; None is the model's own."""
        if self.head == "meta":
            return None
        if self.head == "random":
            return RandomHead(self.seed)
        kind = {"stored": StoredHeads, "written back": WrittenBackHeads}[self.head]
        return kind(self.num_tasks, num_features, 1, self.seed)


def grid(
    heads: Sequence[str] = HEADS,
    num_tasks: Sequence[int] = NUM_TASKS,
    steps: Sequence[int] = STEPS,
    seeds: Sequence[int] = SEEDS,
) -> list[Run]:
    """Every combination."""
    return [Run(*values) for values in product(heads, num_tasks, steps, seeds)]


def train(
    runs: Sequence[Run], stops: Sequence[int] = STOPS, progress: bool = True
) -> Iterator[tuple[int, list[MLP], Tensor]]:
    """Train all ``runs``, which share one k, as one; run r ends where ``meta_train`` would bring it.

    Yields:
        (iteration, the network of every run, the losses of the iterations since the last stop [n, R]) at
        each of the ``stops``, ascending. The networks are the same objects each time.
    """
    (steps,) = {run.steps for run in runs}
    networks = [MLP(seed=run.seed) for run in runs]
    heads = [run.make_head() for run in runs]
    families = [SinusoidTasks(SHOTS, SHOTS, num_tasks=run.num_tasks) for run in runs]
    generators = [torch.Generator().manual_seed(run.seed) for run in runs]
    names = [name for name, _ in networks[0].named_parameters()]
    theta = {n: torch.stack([net.get_parameter(n).detach() for net in networks]) for n in names}  # [R, ...]
    theta = {n: p.requires_grad_() for n, p in theta.items()}
    learned = [*theta.values(), *(p for head in heads if head for p in head.parameters())]
    optimizer, losses = adam(learned, OUTER_LR), []
    bar = tqdm(total=stops[-1], desc=f"k = {steps}, {len(runs)} runs", disable=not progress, leave=False)
    with bar, threads_for(networks[0], torch.device("cpu")):
        for iteration in range(stops[-1] + 1):
            if iteration in stops:
                for r, network in enumerate(networks):
                    network.load_state_dict({n: p[r].detach() for n, p in theta.items()})
                yield iteration, networks, torch.stack(losses) if losses else torch.empty(0, len(runs))
                losses = []
            if iteration == stops[-1]:
                return
            batches = [family.sample(META_BATCH, generator=g) for family, g in zip(families, generators)]
            batches = [
                head.prepare(network, batch) if head and head.prepares else batch
                for head, network, batch in zip(heads, networks, batches)
            ]
            loss = run_losses(networks[0], theta, heads, batches, steps)  # [R]
            for p, grad in zip(learned, torch.autograd.grad(loss.sum(), learned, materialize_grads=True)):
                p.grad = grad
            optimizer.step()
            losses.append(loss.detach())
            bar.update()


def run_losses(
    model: nn.Module, theta: Params, heads: Sequence[TaskHead | None], batches: Sequence[TaskBatch], steps: int
) -> Tensor:
    """Each run's mean query loss [R] after the inner loop, which begins with each run's own heads."""
    starts = []
    for r, (head, batch) in enumerate(zip(heads, batches)):
        params = {n: p[r].expand(batch.num_tasks, *p.shape[1:]) for n, p in theta.items()}  # [T, ...]
        starts.append(head.begin(params, batch) if head else params)
    params = {n: torch.cat([start[n] for start in starts]) for n in theta}  # [R T, ...]
    support_x, support_y, query_x, query_y = (
        torch.cat([getattr(batch, part) for batch in batches])
        for part in ("support_x", "support_y", "query_x", "query_y")
    )
    adapted = adapt(model, params, support_x, support_y, loss_fn=mse, steps=steps, lr=INNER_LR)
    for r, (head, batch) in enumerate(zip(heads, batches)):
        mine = slice(r * batch.num_tasks, (r + 1) * batch.num_tasks)
        if head and head.prepares:
            head.remember(batch, {name: p[mine].detach() for name, p in head.keep(adapted).items()})
    return mse(predict(model, adapted, query_x), query_y).view(len(batches), -1).mean(1)


@torch.no_grad()
def ridge_error(network: nn.Module, num_tasks: int = TEST_TASKS) -> float:
    """How good the features are: mean query error of new tasks, a ridge head on 10 points each; or NaN."""
    if not all(p.isfinite().all() for p in network.parameters()):
        return float("nan")
    generator = torch.Generator().manual_seed(10_000)
    batch = SinusoidTasks(SHOTS, TEST_QUERIES).sample(num_tasks, generator=generator)
    weight, bias = ridge_head(network.features(batch.support_x), batch.support_y, LAMBDA)  # [T, 1, D], [T, 1]
    outputs = network.features(batch.query_x) @ weight.mT + bias[:, None]  # [T, Q, 1]
    return float(mse(outputs, batch.query_y).mean())


def measure(
    runs: Sequence[Run], stops: Sequence[int] = STOPS, num_tasks: int = TEST_TASKS, progress: bool = True
) -> tuple[list[dict], dict[str, Tensor]]:
    """One entry per run: settings, "ridge" and "training_loss" at each stop; and the bodies to ship."""
    entries = {run: asdict(run) | {"ridge": [], "training_loss": []} for run in runs}
    bodies = {}
    for steps in sorted({run.steps for run in runs}):
        together = [run for run in runs if run.steps == steps]
        for iteration, networks, losses in train(together, stops, progress):
            for r, (run, network) in enumerate(zip(together, networks)):
                entries[run]["ridge"].append(_rounded(ridge_error(network, num_tasks)))
                seen = float(losses[-100:, r].mean()) if len(losses) else math.nan
                entries[run]["training_loss"].append(_rounded(seen))
                if all(getattr(run, name) == value for name, value in SHIPPED.items()):
                    parameters = network.state_dict().items()
                    bodies |= {f"{run.head}/{iteration}/{name}": p.clone() for name, p in parameters}
    return list(entries.values()), bodies


def _rounded(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None


@lru_cache(maxsize=1)
def load() -> dict:
    """The shipped table: {"runs": entries as from ``measure``, "stops", and its record}.

    >>> len(load()["runs"]) == len(grid())
    True
    """
    return json.loads(FILE.read_text())


def table(number: str = "ridge", **settings) -> dict[str, Tensor]:
    """``number`` of the shipped runs with these settings: {head: [seeds, stops]}, NaN where there is none.

    >>> list(table(num_tasks=200, steps=1)) == list(HEADS)
    True
    """
    rows = [run for run in load()["runs"] if all(run[name] == value for name, value in settings.items())]
    if not rows:
        raise KeyError(f"no run with {settings}; the grid is {NUM_TASKS=}, {STEPS=}, {SEEDS=}")
    values = {head: [run[number] for run in rows if run["head"] == head] for head in HEADS}
    return {
        head: torch.tensor(
            [[torch.nan if v is None else v for v in row] for row in mine], dtype=torch.float64
        )
        for head, mine in values.items()
    }


@lru_cache(maxsize=None)
def shipped_network(head: str, iteration: int) -> MLP:
    """The network of a kept run (``SHIPPED``) after ``iteration`` iterations, one of STOPS."""
    tensors, _ = read_tensors(BODIES)
    prefix = f"{head}/{iteration}/"
    mine = {name.removeprefix(prefix): p for name, p in tensors.items() if name.startswith(prefix)}
    if not mine:
        raise KeyError(f"no network {prefix!r} was kept; heads are {HEADS}, iterations {STOPS}")
    network = MLP()
    network.load_state_dict(mine)
    return network


def main() -> None:
    """Train, score, and write the table and the bodies with their record, anew after each k."""
    started = time.perf_counter()
    runs, bodies = [], {}
    for steps in STEPS:
        more_runs, more_bodies = measure(grid(steps=(steps,)))
        runs, bodies = runs + more_runs, bodies | more_bodies
        record = {"stops": STOPS, "inner_lr": INNER_LR, "outer_lr": OUTER_LR, "meta_batch": META_BATCH}
        record |= {"shots": SHOTS, "test_tasks": TEST_TASKS, "ridge_lambda": LAMBDA}
        command = "python -m course_lib.chapters.task_heads.experiments.training_heads"
        record |= checkpoints.provenance(command, time.perf_counter() - started, threads=1)
        lines = ",\n  ".join(json.dumps(run) for run in runs)
        write_whole(FILE, json.dumps(record, indent=1)[:-2] + f',\n "runs": [\n  {lines}\n ]\n}}\n')
        write_tensors(BODIES, bodies, record)
        print(f"{FILE.name}: {len(runs)} runs in {record['seconds']} s")


if __name__ == "__main__":
    main()
