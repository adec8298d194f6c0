"""What happens inside Reptile's loop, and outside: its points and its schedule, for notebook 08.

Reptile on sinusoids as in ``race`` (k = 5, alpha = 0.02), in two comparisons, every line at several outer rates:

    points    25 tasks an iteration, Adam; an inner step sees a minibatch of 10 of a task's 20 points, the same 10 at
              every step, or all 20. And one step on all 20, k = 1, which is joint training
    schedule  one task an iteration, as in the paper's algorithm 1; theta moves by epsilon toward where the inner loop
              ends, epsilon falling in a straight line to 0, or constant

Rows are as in ``race``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from course_lib.algorithms import Reptile
from course_lib.chapters.reptile.experiments.race import META_BATCH, REPTILE_LR, trained_and_judged
from course_lib.kit.experiment import Experiment
from course_lib.training import adam, linear_decay

POINTS = {  # settings of the learner
    "minibatches": {"inner_batch": 10, "use_queries": True},
    "same_10": {},
    "all_20": {"use_queries": True},
    "joint": {"inner_steps": 1, "use_queries": True},
}
SCHEDULES = {"falling": linear_decay, "constant": None}
OUTER_LRS, EPSILONS = (3e-3, 1e-2, 3e-2), (0.1, 0.3, 1.0)


def measure(
    seeds: Sequence[int], line: str, outer_lr: float, iterations: int, validation_tasks: int, test_tasks: int
) -> list[dict]:
    """Train one network a seed and judge it after each of PARTS."""
    if line in POINTS:
        learner = Reptile(**({"inner_steps": 5, "inner_lr": REPTILE_LR} | POINTS[line]))
        how = {"optimizer": adam, "meta_batch": META_BATCH}
    else:
        learner = Reptile(5, REPTILE_LR, inner_batch=10, use_queries=True)
        how = {"optimizer": torch.optim.SGD, "schedule": SCHEDULES[line], "meta_batch": 1}
    options = {"outer_lr": outer_lr} | how
    return trained_and_judged(learner, seeds, iterations, options, validation_tasks, test_tasks)


runs = Experiment(
    __file__,
    measure,
    seeds=range(20),
    cells=[{"line": line, "outer_lr": lr} for line in POINTS for lr in OUTER_LRS]
    + [{"line": line, "outer_lr": epsilon} for line in SCHEDULES for epsilon in EPSILONS],
    settings={"iterations": 600, "validation_tasks": 60, "test_tasks": 120},
    small={"iterations": 5, "validation_tasks": 4, "test_tasks": 4},
    batched=True,
)
