"""How many inner steps to train with, and how many to take at test time: the table of notebook 03.

MAML with k = 0, 1, 2, 3, 5 and 10 on sinusoids (MLP 1-40-40-1, alpha = 0.01, 10 tasks of 10 + 10 points an iteration),
with three outer rates each (Adam). Every network is scored after 0 to 50 steps on the same 200 new tasks of 10 points.
Two ways to be fair:

    iterations   as many outer updates for every k
    compute      as many units of work: an outer update costs k + 1, one for the query loss and one for each inner step

The rule: each k gets the outer rate with the lowest median error over 100 validation tasks after ten steps, in the mean
over the seeds. The test-time rate is alpha = 0.01, as in training; "other" is each network at the best of three.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from course_lib.algorithms import MAML
from course_lib.kit.experiment import Experiment
from course_lib.kit.many_seeds import INNER_LR, OUTER_LRS, VALIDATION, errors, train
from course_lib.tasks import SinusoidTasks

TRAIN_STEPS, TEST_STEPS = (0, 1, 2, 3, 5, 10), (0, 1, 2, 3, 5, 10, 20, 50)
TEST_LRS, CHOSEN_AT = (0.003, 0.01, 0.03), 10  # rates of fine-tuning tried, and the steps after which one is chosen
BUDGETS = ("iterations", "compute")
ITERATIONS, WORK = 2000, 6000  # outer updates; units of work: 3,000 updates of k = 1


def updates(budget: str, train_steps: int, iterations: int = ITERATIONS, work: int = WORK) -> int:
    """Outer updates that a budget allows for k inner steps.

    >>> updates("iterations", 10), updates("compute", 1), updates("compute", 10)
    (2000, 3000, 545)
    """
    if budget not in BUDGETS:
        raise ValueError(f"budget must be one of {BUDGETS}, not {budget!r}")
    return iterations if budget == "iterations" else work // (train_steps + 1)


def score(network: nn.Module, num_tasks: int) -> dict:
    """Median errors of new tasks after each of TEST_STEPS, at alpha and at the best of TEST_LRS."""
    half, at = max(num_tasks // 2, 1), [CHOSEN_AT]
    validation = {lr: errors(network, at, half, VALIDATION, inner_lr=lr)[0].median().item() for lr in TEST_LRS}
    best = min(validation, key=validation.get)
    found = {
        lr: errors(network, TEST_STEPS, num_tasks, inner_lr=lr).median(1).values.tolist() for lr in {INNER_LR, best}
    }
    known = {"validation": validation[INNER_LR], "median": found[INNER_LR]}
    return known | {"other": {"lr": best, "median": found[best]}}


def measure(
    seeds: Sequence[int],
    train_steps: int,
    outer_lr: float,
    iterations: int = ITERATIONS,
    work: int = WORK,
    num_tasks: int = 200,
) -> list[dict]:
    """One row per seed and budget."""
    budgets = {budget: updates(budget, train_steps, iterations, work) for budget in BUDGETS}
    learner, stops, rows = MAML(train_steps, INNER_LR), sorted(set(budgets.values())), []
    for iteration, _, networks in train(learner, SinusoidTasks(10, 10), seeds, outer_lr, stops):
        for seed, network in zip(seeds, networks):
            found = score(network, num_tasks)
            for budget in (b for b, stop in budgets.items() if stop == iteration):
                rows.append({"budget": budget, "seed": seed, "iterations": iteration} | found)
    return rows


runs = Experiment(
    __file__,
    measure,
    seeds=range(20),
    cells=[{"train_steps": k, "outer_lr": rate} for k in TRAIN_STEPS for rate in OUTER_LRS],
    settings={"iterations": ITERATIONS, "work": WORK, "num_tasks": 200},
    small={"iterations": 3, "work": 6, "num_tasks": 6},
    batched=True,
)
