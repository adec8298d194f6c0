"""How many training tasks MAML needs on the sinusoids: 10, 30, 100, 1,000, or a new one every time.

Two kinds of finite sets: curves of which every visit draws new points, and small data sets, 10 + 10 points each that
never change. Scored: the training tasks and new tasks, after one inner step. The outer rate is chosen for each number
and kind of tasks, by the median error of validation tasks; the table keeps all three.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from course_lib.algorithms import MAML
from course_lib.kit.experiment import Experiment
from course_lib.kit.many_seeds import INNER_LR, OUTER_LRS, VALIDATION, errors, train
from course_lib.tasks import SinusoidTasks, TaskBatch

COUNTS, KINDS = (10, 30, 100, 1000), ("new", "same")  # of training tasks; their points at every visit
SHOTS, TEST_STEPS = 10, (0, 1, 10)


class Few:
    """Finite sets of sinusoid tasks, another for each seed of the generator that asks."""

    def __init__(self, count: int, kind: str):
        self.count, self.kind, self.sets = count, kind, {}

    def sample(self, num_tasks: int, *, generator: torch.Generator) -> TaskBatch:
        seed = generator.initial_seed()
        if seed not in self.sets:
            curves = SinusoidTasks(SHOTS, SHOTS, num_tasks=self.count, seed=seed)
            points = SinusoidTasks(SHOTS, SHOTS).sample(self.count, generator=torch.Generator().manual_seed(seed))
            self.sets[seed] = curves if self.kind == "new" else points
        own = self.sets[seed]
        if self.kind == "new":
            return own.sample(num_tasks, generator=generator)
        return own[torch.randint(self.count, (num_tasks,), generator=generator)]


def measure(
    seeds: Sequence[int], tasks: int, points: str, outer_lr: float, iterations: int = 2000, num_tasks: int = 300
) -> list[dict]:
    """One row per seed: median error of validation tasks, mean errors of new and of training tasks."""
    family, rows = Few(tasks, points) if tasks else SinusoidTasks(SHOTS, SHOTS), []
    *_, (_, _, networks) = train(MAML(1, INNER_LR), family, seeds, outer_lr, [iterations])
    for seed, network in zip(seeds, networks):
        row = {"seed": seed, "validation": errors(network, [1], num_tasks, VALIDATION)[0].median().item()}
        row["test"] = errors(network, TEST_STEPS, num_tasks).mean(1).tolist()
        row["training"] = errors(network, [1], num_tasks, seed, tasks=family)[0].mean().item()
        rows.append(row)
    return rows


SETS = [(count, kind) for count in COUNTS for kind in KINDS] + [(0, "new")]  # 0: unlimited
runs = Experiment(
    __file__,
    measure,
    seeds=range(20),
    cells=[{"tasks": count, "points": kind, "outer_lr": rate} for count, kind in SETS for rate in OUTER_LRS],
    settings={"iterations": 2000, "num_tasks": 300},
    small={"iterations": 3, "num_tasks": 10},
    batched=True,
)
