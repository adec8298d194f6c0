"""Where to start from, over twenty trainings: MAML's initialisation, and one pre-trained on all tasks, one head.

Each is trained with Adam at three rates and fine-tuned at three; ``best`` chooses both on validation tasks.
"""

from __future__ import annotations

import math

import torch

from course_lib.algorithms import MAML
from course_lib.engine.sweep import meta_train_sweep
from course_lib.evaluation import two_by_two
from course_lib.kit.experiment import Experiment
from course_lib.losses import mse
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks

METHODS = {"maml": 1, "pretrained": 0}  # inner steps in training; with none, all tasks share one head and one network
OUTER_LRS, TEST_LRS = (1e-3, 3e-3, 1e-2), (0.003, 0.01, 0.03)
STEPS = (0, 1, 5, 10, 50)
INNER_LR, SHOTS = 0.01, 10
VALIDATION, TEST = 1, 2  # seeds of the tasks


def measure(seeds: list[int], method: str, outer_lr: float, iterations: int, tasks: int) -> list[dict]:
    """Median query errors of ``tasks`` tasks after each of STEPS, for every test rate and each of the four cells."""
    learner = MAML(inner_steps=METHODS[method], inner_lr=INNER_LR, loss_fn=mse)
    models, rates = [MLP(seed=seed) for seed in seeds], [INNER_LR] * len(seeds)
    settings = {"iterations": iterations, "outer_lr": outer_lr, "progress": False}
    trained, _ = meta_train_sweep(learner, models, SinusoidTasks(), rates, seeds, **settings)
    return [
        {"seed": seed, "test_lr": lr, "head": head, "only": only or "everything", "validation": v, "test": t}
        for seed, model in zip(seeds, trained)
        for lr in TEST_LRS
        for (head, only), v, t in both(learner, model, lr, tasks)
    ]


def both(learner: MAML, model: MLP, lr: float, tasks: int):
    """The four cells, each with its medians on validation tasks and on test tasks; NaN where a median diverged."""
    family = SinusoidTasks(shots=SHOTS, queries=50)
    of = [two_by_two(learner, model, family, num_tasks=tasks, steps=STEPS, lr=lr, seed=s) for s in (VALIDATION, TEST)]
    for cell in of[0]:
        yield cell, *(results[cell].query_losses.median(1).values.tolist() for results in of)


runs = Experiment(
    __file__,
    measure,
    seeds=range(20),
    cells=[{"method": method, "outer_lr": lr} for method in METHODS for lr in OUTER_LRS],
    settings={"iterations": 5000, "tasks": 200},
    small={"iterations": 5, "tasks": 4},
    batched=True,
)


def best(seed: int, method: str, steps: int, head: str = "ready", only: str = "everything") -> float:
    """The median test error of one training after ``steps``, with the outer and the test rate that have the lowest
    median error on validation tasks, over all shipped trainings; infinite where this training diverged at them."""
    at = STEPS.index(steps)
    rows = runs.rows(method=method, head=head, only=only)
    score = lambda pair: (
        torch.tensor([r["validation"][at] for r in rows if (r["outer_lr"], r["test_lr"]) == pair])
        .nan_to_num(torch.inf)
        .median()
    )
    outer_lr, test_lr = min(((o, t) for o in OUTER_LRS for t in TEST_LRS), key=score)
    (row,) = runs.of(seed, method=method, outer_lr=outer_lr, test_lr=test_lr, head=head, only=only)
    return row["test"][at] if math.isfinite(row["test"][at]) else math.inf
