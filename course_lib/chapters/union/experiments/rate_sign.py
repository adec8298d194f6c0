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
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch

from course_lib.algorithms import MAML
from course_lib.evaluation import evaluate
from course_lib.kit.experiment import Experiment
from course_lib.kit.many_seeds import train
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks
from course_lib.tasks.base import TaskBatch

INNER_LRS = (-0.02, -0.01, 0.0, 0.003, 0.01)
OUTER_LRS = (1e-3, 1e-2)
DATA = ((5, 2), (20, 2), (5, 10), (50, 2), (20, 10))  # tasks, and query points of each; in order of all query points
NOISES, SHOTS = (0.0, 1.0), 30
TEST_LRS = (0.001, 0.003, 0.01)
JUDGES = [("as it is", 0.0)]
JUDGES += [(f"after_{steps}", lr) for steps in (1, 10) for lr in TEST_LRS]  # gradient steps on everything
NOTHING = {key: [math.nan] * len(JUDGES) for key in ("validation", "error")}  # of a training that diverged


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


class TheSameTasks:
    """Tasks and points that never change, others for each seed of the generator that asks: ``sample`` gives all."""

    def __init__(self, count: int, family: NoisyTasks):
        self.count, self.family, self.sets = count, family, {}

    def sample(self, num_tasks: int, *, generator: torch.Generator) -> TaskBatch:
        seed = generator.initial_seed()
        if seed not in self.sets:
            own = torch.Generator().manual_seed(30_000 + seed)
            self.sets[seed] = self.family.sample(self.count, generator=own)
        return self.sets[seed]


def measure(
    seeds: Sequence[int],
    tasks: int,
    queries: int,
    noise: float,
    iterations: int,
    validation_tasks: int,
    test_tasks: int,
) -> list[dict]:
    """Train a network a seed at every inner and outer rate, and judge it; NaN where training diverged."""
    family, rows = TheSameTasks(tasks, NoisyTasks(queries, noise, queries_too=True)), []
    for outer_lr, inner_lr in product(OUTER_LRS, INNER_LRS):
        ((_, losses, networks),) = train(MAML(1, inner_lr), family, seeds, outer_lr, [iterations], tasks)
        for seed, network, lives in zip(seeds, networks, losses.isfinite().all(0)):
            errors = judged(network, noise, seed, validation_tasks, test_tasks) if lives else NOTHING
            rows.append({"seed": seed, "inner_lr": inner_lr, "outer_lr": outer_lr} | errors)
    return rows


def judged(model: MLP, noise: float, seed: int, validation_tasks: int, test_tasks: int) -> dict[str, list[float]]:
    """Mean query errors on new tasks, "validation" and "error", one for each of JUDGES."""
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
    batched=True,
)
