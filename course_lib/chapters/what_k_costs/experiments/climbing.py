"""How steep MAML makes its network: alpha lambda_max of new tasks while it trains, for several inner rates.

MAML (k = 1) on sinusoids with Adam at 1e-3, and training on all tasks with one head (k = 0) beside it, whose
curvature is counted at alpha = 0.01.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from course_lib.algorithms import MAML
from course_lib.analysis.curvature import Curvature
from course_lib.inner_loop import stack_params
from course_lib.kit.experiment import Experiment
from course_lib.kit.many_seeds import train
from course_lib.losses import mse
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks

RATES, OUTER_LR = (0.005, 0.01, 0.02), 1e-3
STOPS = (250, 500, 1000, 2000, 4000, 7000, 10_000)  # outer steps
COUNTED_AT = 0.01  # alpha for the network that never adapts


def stretch(network: nn.Module, inner_lr: float, num_tasks: int = 100, shots: int = 10, seed: int = 1) -> Tensor:
    """alpha lambda_max of new tasks at the initial weights [T]."""
    tasks = SinusoidTasks(shots, shots).sample(num_tasks, generator=torch.Generator().manual_seed(seed))
    here = Curvature(network, stack_params(network, num_tasks), tasks.support_x, tasks.support_y, mse)
    return inner_lr * here.extreme_eigenvalues(12)[1]


def measure(seeds: Sequence[int], inner_lr: float, stops: Sequence[int] = STOPS, num_tasks: int = 100) -> list[dict]:
    """One row per seed and outer step: quartiles of alpha lambda_max."""
    learner, rows = MAML(1 if inner_lr else 0, inner_lr or COUNTED_AT), []
    untrained = (0, None, [MLP(seed=seed) for seed in seeds])
    trained = train(learner, SinusoidTasks(10, 10), seeds, OUTER_LR, list(stops))
    for iteration, _, networks in [untrained, *trained]:
        for seed, network in zip(seeds, networks):
            found = stretch(network, learner.inner_lr, num_tasks).quantile(torch.tensor([0.25, 0.5, 0.75]))
            rows.append({"seed": seed, "iteration": iteration, "quartiles": found.tolist()})
    return rows


runs = Experiment(
    __file__,
    measure,
    seeds=range(20),
    cells=[{"inner_lr": rate} for rate in (0.0, *RATES)],  # 0: the network that never adapts
    settings={"stops": STOPS, "num_tasks": 100},
    small={"stops": (2, 4), "num_tasks": 5},
    batched=True,
)
