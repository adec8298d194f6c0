"""The sign of the inner rate on networks, for notebook 06: the same training at rates on both sides of zero.

The MLP 1-40-40-1 with one shared head on sinusoids, k = 1, second order, Adam, on data that are few: 5 to 50 tasks,
each with 30 support points and 2 or 10 query points that never change, with label noise (standard deviation 1) or
without. (The setting that Bernacchia, arXiv 2102.00940, has for linear regression; his figure 2 has 30 + 2 points too.)

Every network is judged on new tasks of 30 points in all the ways of JUDGES: as it is, or adapted by gradient steps of a
positive rate, whatever the rate in training was. The labels a network adapts to have the noise of training; the curve
it is judged on has none.

Rows are as in ``baseline``: "validation" and "error", one for each of JUDGES.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from course_lib.algorithms import MAML
from course_lib.engine.sweep import meta_train_sweep
from course_lib.evaluation import evaluate
from course_lib.kit.experiment import Experiment
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks
from course_lib.tasks.base import TaskBatch
from course_lib.training import Diverged, meta_train

INNER_LRS = (-0.02, -0.01, 0.0, 0.003, 0.01)
OUTER_LRS = (1e-3, 1e-2)
DATA = ((5, 2), (20, 2), (5, 10), (50, 2), (20, 10))  # tasks, and query points of each; in order of all query points
NOISES, SHOTS = (0.0, 1.0), 30
TEST_LRS = (0.001, 0.003, 0.01)
JUDGES = [("as it is", 0.0)]
JUDGES += [(f"after_{steps}", lr) for steps in (1, 10) for lr in TEST_LRS]  # gradient steps on everything


@dataclass
class NoisyTasks:
    """Sinusoids whose support labels, and with ``queries_too`` all, have normal noise of a standard deviation."""

    queries: int
    noise: float
    queries_too: bool = False

    def sample(self, num_tasks: int, *, generator: torch.Generator) -> TaskBatch:
        batch = SinusoidTasks(SHOTS, self.queries).sample(num_tasks, generator=generator)
        for y in (batch.support_y, batch.query_y)[: 1 + self.queries_too]:  # [T, S, 1], [T, Q, 1]
            y += self.noise * torch.randn(y.shape, generator=generator)
        return batch


@dataclass
class TheSameTasks:
    """Tasks and points that never change: ``sample`` gives all of them every time."""

    batch: TaskBatch

    def sample(self, num_tasks: int, *, generator: torch.Generator) -> TaskBatch:
        return self.batch


def measure(
    seed: int, tasks: int, queries: int, noise: float, iterations: int, validation_tasks: int, test_tasks: int
) -> list[dict]:
    """Train a network at every inner and outer rate from one seed, and judge it; NaN where training diverged."""
    few, rows = NoisyTasks(queries, noise, queries_too=True), []
    family = TheSameTasks(few.sample(tasks, generator=torch.Generator().manual_seed(30_000 + seed)))
    for outer_lr in OUTER_LRS:
        options = {"iterations": iterations, "meta_batch": tasks, "outer_lr": outer_lr}
        for inner_lr, model in zip(INNER_LRS, trained(family, seed, options)):
            errors = judged(model, noise, seed, validation_tasks, test_tasks)
            rows.append({"inner_lr": inner_lr, "outer_lr": outer_lr} | errors)
    return rows


def trained(family, seed: int, options: dict) -> list[MLP | None]:
    """A network for each of INNER_LRS, as one batch; where a run diverges each alone, and None for those that do."""
    runs, seeds = [MLP(seed=seed) for _ in INNER_LRS], [seed] * len(INNER_LRS)
    try:
        return meta_train_sweep(MAML(), runs, family, INNER_LRS, seeds, **options, progress=False)[0]
    except Diverged:
        pass
    alone = []
    for inner_lr, model in zip(INNER_LRS, runs):
        try:
            learner = MAML(1, inner_lr)
            alone += meta_train(learner, model, family, seed=seed, **options, device="cpu", progress=False)[:1]
        except Diverged:
            alone.append(None)
    return alone


def judged(
    model: MLP | None, noise: float, seed: int, validation_tasks: int, test_tasks: int
) -> dict[str, list[float]]:
    """Mean query errors on new tasks, "validation" and "error", one for each of JUDGES."""
    if model is None:
        return {key: [math.nan] * len(JUDGES) for key in ("validation", "error")}
    tasks, found = NoisyTasks(50, noise), {}
    for key, count, first in (("validation", validation_tasks, 10_000), ("error", test_tasks, 20_000)):
        options = {"num_tasks": count, "seed": first + seed}
        means = [evaluate(MAML(), model, tasks, steps=[0, 1, 10], lr=lr, **options).mean for lr in TEST_LRS]
        found[key] = [means[0][0]] + [mean[index] for index in (1, 2) for mean in means]
    return found


runs = Experiment(
    __file__,
    measure,
    seeds=range(20),
    cells=[{"tasks": tasks, "queries": queries, "noise": noise} for tasks, queries in DATA for noise in NOISES],
    settings={"iterations": 300, "validation_tasks": 60, "test_tasks": 120},
    small={"iterations": 2, "validation_tasks": 4, "test_tasks": 4},
)
