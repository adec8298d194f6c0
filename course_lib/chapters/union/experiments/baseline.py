"""The union of tasks beside MAML at equal compute, for notebook 06.

The MLP 1-40-40-1 on sinusoids, Adam, 25 tasks of 10 + 10 points an iteration:

    maml          k = 1, alpha = 0.01, second order; new tasks every time
    union         supervised training on 1,000 tasks that come back, a stored head for each
    one_head      supervised training on new tasks every time under one shared head: the strawman

One meta-gradient of MAML costs twice the floating-point operations of the union's on the same points (counted, not
guessed), so the others take two iterations for MAML's one. Every network is judged on new tasks of 5 and 10 shots in
all the ways of JUDGES; the union's network begins gradient steps with the mean of its stored heads.

A row's "validation" and "error" are mean query errors, one for each of JUDGES, on tasks seeded apart. What a method's
best outer rate, test rate or ridge penalty is, ``best`` says from the first, and the second is what is reported.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.utils.flop_counter import FlopCounterMode

from course_lib.algorithms import MAML, R2D2, Learner, UnionOfTasks
from course_lib.algorithms.heads import StoredHeads
from course_lib.evaluation import evaluate
from course_lib.kit.experiment import Experiment, middle
from course_lib.kit.many_seeds import train
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks

MOMENTS = (150, 500, 1_500)  # in iterations of MAML
OUTER_LRS = (1e-3, 3e-3, 1e-2, 3e-2)
SHOTS, NUM_TASKS, META_BATCH = (5, 10), 1_000, 25
PENALTIES, TEST_LRS = (0.001, 0.01, 0.1, 1.0), (0.001, 0.003, 0.01, 0.03)
JUDGES = [("ridge", penalty) for penalty in PENALTIES]
JUDGES += [(f"after_{steps}", lr) for steps in (1, 10) for lr in TEST_LRS]  # gradient steps on everything
NOTHING = {key: [math.nan] * len(JUDGES) for key in ("validation", "error")}  # of a training that diverged
ITERATIONS = {"maml": 1, "union": 2, "one_head": 2}  # for one of MAML


def learner_of(method: str) -> tuple[Learner, SinusoidTasks]:
    """A method and the tasks that it trains on."""
    if method == "maml":
        return MAML(inner_steps=1, inner_lr=0.01), SinusoidTasks()
    if method == "one_head":
        return UnionOfTasks("meta"), SinusoidTasks()
    return UnionOfTasks(StoredHeads(NUM_TASKS, 40, 1)), SinusoidTasks(num_tasks=NUM_TASKS)


def operations(method: str) -> int:
    """Floating-point operations of one meta-gradient, as PyTorch counts them: those of matrix products.

    >>> round(operations("maml") / operations("union"), 1)
    2.0
    """
    learner, tasks = learner_of(method)
    batch = tasks.sample(META_BATCH, generator=torch.Generator().manual_seed(0))
    with FlopCounterMode(display=False) as counter:
        learner.meta_gradient(MLP(seed=0), batch)
    return counter.get_total_flops()


def measure(
    seeds: Sequence[int], method: str, outer_lr: float, moments: list[int], validation_tasks: int, test_tasks: int
) -> list[dict]:
    """Train one network a seed; at every moment its errors of both numbers of shots. NaN once training diverged."""
    learner, tasks = learner_of(method)
    stops, rows = [moment * ITERATIONS[method] for moment in moments], []
    for moment, (_, losses, networks) in zip(moments, train(learner, tasks, seeds, outer_lr, stops, META_BATCH)):
        for seed, network, lives in zip(seeds, networks, losses.isfinite().all(0)):
            for shots in SHOTS:
                found = judged(network, shots, seed, validation_tasks, test_tasks) if lives else NOTHING
                rows.append({"seed": seed, "moment": moment, "shots": shots} | found)
    return rows


def judged(model: MLP, shots: int, seed: int, validation_tasks: int, test_tasks: int) -> dict[str, list[float]]:
    """Mean query errors on new tasks, "validation" and "error", one for each of JUDGES."""
    tasks = SinusoidTasks(shots=shots, queries=50)
    found = {}
    for key, count, first in (("validation", validation_tasks, 10_000), ("error", test_tasks, 20_000)):
        options = {"num_tasks": count, "seed": first + seed}
        ridge = [evaluate(R2D2(lam=lam), model, tasks, steps=[0], **options).mean[0] for lam in PENALTIES]
        steps = [evaluate(MAML(), model, tasks, steps=[1, 10], lr=lr, **options).mean for lr in TEST_LRS]
        found[key] = ridge + [error for after in zip(*steps) for error in after]
    return found


runs = Experiment(
    __file__,
    measure,
    seeds=range(20),
    cells=[{"method": method, "outer_lr": lr} for method in ITERATIONS for lr in OUTER_LRS],
    settings={"moments": list(MOMENTS), "validation_tasks": 60, "test_tasks": 120},
    small={"moments": [1, 2], "validation_tasks": 4, "test_tasks": 4},
    batched=True,
)


def best(method: str, shots: int, how: str, outer_lr: float | None = None, setting: float | None = None):
    """The outer rate and the test rate or ridge penalty of the least median validation error at the last moment.

    Args:
        how: "ridge", "after_1" or "after_10".
        outer_lr, setting: those that are given are kept.
    """
    choices = {}
    for lr in [outer_lr] if outer_lr else OUTER_LRS:
        rows = runs.rows(method=method, outer_lr=lr, shots=shots, moment=MOMENTS[-1])
        for index, (name, value) in enumerate(JUDGES):
            if name == how and setting in (None, value):
                choices[lr, value] = middle([row["validation"][index] for row in rows])
    return min(choices, key=choices.get)
