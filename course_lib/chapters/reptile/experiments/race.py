"""Reptile trained beside MAML and FOMAML at every outer rate, for notebook 08.

The MLP 1-40-40-1 on sinusoids, k = 5, Adam in the outer loop, 25 tasks of 10 + 10 points an iteration:

    maml, fomaml  alpha = 0.01
    reptile       alpha = 0.02, minibatches of 10 of a task's 20 points
    as published  the same with the outer loop of Reptile's paper: theta moves toward the ends by epsilon, from 1 to 0

One iteration of MAML takes the time of 1.65 of the others (see ``seconds_each``), and they take that many more.
Networks are judged on new tasks of 10 shots after 1, 5 and 10 steps at every test rate. A row's "validation" and
"error" are mean query errors, one for each of JUDGES, on tasks seeded apart: what is best is said by the first, and the
second reported. "agreement" is that of the gradients of two sets of 10 points of a task, at the initialisation.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import torch
from torch import nn

from course_lib.algorithms import MAML, Learner, Reptile
from course_lib.analysis.curvature import Curvature
from course_lib.evaluation import evaluate
from course_lib.inner_loop import stack_params
from course_lib.kit.experiment import Experiment
from course_lib.kit.many_seeds import train
from course_lib.losses import mse
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks
from course_lib.training import adam, linear_decay, meta_train

MAML_LR, REPTILE_LR, META_BATCH = 0.01, 0.02, 25  # inner rates: of the paper's appendix, of Reptile's demonstration
OUTER_LRS = (1e-3, 3e-3, 1e-2, 3e-2)
ITERATIONS = {"maml": 800, "fomaml": 1320, "reptile": 1320, "as published": 1320}
PARTS = (0.2, 0.5, 1.0)  # of a run, after which it is judged
TEST_STEPS, TEST_LRS = (1, 5, 10), (0.005, 0.01, 0.02, 0.04)
JUDGES = [(steps, lr) for steps in TEST_STEPS for lr in TEST_LRS]
NOTHING = {key: [math.nan] * len(JUDGES) for key in ("validation", "error")} | {"agreement": math.nan}


def learner_of(method: str, steps: int = 5) -> Learner:
    """A fresh learner, since a Reptile counts its draws."""
    if method in ("maml", "fomaml"):
        return MAML(steps, MAML_LR, second_order=method == "maml")
    return Reptile(steps, REPTILE_LR, inner_batch=10, use_queries=True)


def outer_loop_of(method: str, outer_lr: float) -> dict:
    """The settings of ``train`` that say how the initialisation is moved."""
    if method == "as published":
        return {"optimizer": torch.optim.SGD, "schedule": linear_decay, "outer_lr": outer_lr}
    return {"optimizer": adam, "outer_lr": outer_lr}


def measure(
    seeds: Sequence[int], method: str, outer_lr: float, share: float, validation_tasks: int, test_tasks: int
) -> list[dict]:
    """Train one network a seed for a share of ITERATIONS; a row for each of PARTS, NaN from where it diverged."""
    options = {"meta_batch": META_BATCH, **outer_loop_of(method, outer_lr)}
    iterations = round(share * ITERATIONS[method])
    return trained_and_judged(learner_of(method), seeds, iterations, options, validation_tasks, test_tasks)


def trained_and_judged(
    learner: Learner, seeds: Sequence[int], iterations: int, options: dict, validation_tasks: int, test_tasks: int
) -> list[dict]:
    """Rows of one training of each seed, with ``options`` of ``train``."""
    ends, rows = [math.ceil(part * max(iterations, len(PARTS))) for part in PARTS], []
    trained = train(learner, SinusoidTasks(), seeds, stops=ends, **options)
    for part, (_, losses, networks) in zip(PARTS, trained):
        for seed, network, lives in zip(seeds, networks, losses.isfinite().all(0)):
            found = judged(network, seed, validation_tasks, test_tasks) if lives else NOTHING
            rows.append({"seed": seed, "part": part} | found)
    return rows


def judged(model: nn.Module, seed: int, validation_tasks: int, test_tasks: int) -> dict:
    """Mean query errors on new tasks, "validation" and "error", one for each of JUDGES; and "agreement"."""
    tasks, found = SinusoidTasks(shots=10, queries=50), {}
    for key, count, first in (("validation", validation_tasks, 10_000), ("error", test_tasks, 20_000)):
        options = {"num_tasks": count, "seed": first + seed, "steps": TEST_STEPS}
        means = [evaluate(MAML(), model, tasks, lr=lr, **options).mean for lr in TEST_LRS]
        found[key] = [error for after in zip(*means) for error in after]
    return found | {"agreement": agreement(model, seed, test_tasks)}


def agreement(model: nn.Module, seed: int, num_tasks: int = 200, points: int = 10) -> float:
    """mean(g_1 . g_2) / mean |g|^2 for two sets of points of each new task: 1 where they always agree."""
    tasks = SinusoidTasks(shots=points, queries=points)
    batch = tasks.sample(num_tasks, generator=torch.Generator().manual_seed(30_000 + seed))
    theta = {name: p.detach() for name, p in stack_params(model, num_tasks).items()}
    one = Curvature(model, theta, batch.support_x, batch.support_y, mse).gradient  # [T, P]
    other = Curvature(model, theta, batch.query_x, batch.query_y, mse).gradient  # [T, P]
    return float((one * other).sum() / (one.square().sum() + other.square().sum()) * 2)


def seconds_each(blocks: int = 8, iterations: int = 20) -> dict[str, float]:
    """CPU seconds of one iteration of each method: blocks of the methods in turn, the least of each."""
    least = {}
    for _ in range(blocks):
        for method in ("maml", "fomaml", "reptile"):
            options = {"iterations": iterations, "meta_batch": META_BATCH, **outer_loop_of(method, 1e-3)}
            started = time.process_time()
            meta_train(learner_of(method), MLP(seed=0), SinusoidTasks(), **options, device="cpu", progress=False)
            seconds = (time.process_time() - started) / iterations
            least[method] = min(seconds, least.get(method, seconds))
    return least


runs = Experiment(
    __file__,
    measure,
    seeds=range(20),
    cells=[{"method": "maml", "outer_lr": lr} for lr in OUTER_LRS]
    + [{"method": "as published", "outer_lr": 1.0}]
    + [{"method": method, "outer_lr": lr} for method in ("reptile", "fomaml") for lr in reversed(OUTER_LRS)],
    settings={"share": 1.0, "validation_tasks": 60, "test_tasks": 120},
    small={"share": 0.01, "validation_tasks": 4, "test_tasks": 4},
    batched=True,
)
