"""What a tenth of either rate does: the losses of MAML's outer steps, and how long the gradients become.

MAML (k = 1) on sinusoids, alpha = 0.01 and beta = 0.01 (Adam), and each of them ten times smaller.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from course_lib.algorithms import MAML
from course_lib.analysis.unrolling import unroll
from course_lib.inner_loop import stack_params
from course_lib.kit.experiment import Experiment
from course_lib.kit.many_seeds import train
from course_lib.losses import mse
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks

RATES = ((0.01, 0.01), (0.01, 0.001), (0.001, 0.01))  # alpha, beta
EVERY = 50  # outer steps whose losses make one mean


def gradient_length(network: torch.nn.Module, num_tasks: int = 100) -> float:
    """Mean length of the support gradient of a hundred tasks."""
    tasks = SinusoidTasks(10, 10).sample(num_tasks, generator=torch.Generator().manual_seed(9))
    start = stack_params(network, num_tasks)
    laid_out = unroll(network, start, tasks.support_x, tasks.support_y, loss_fn=mse, steps=0, lr=0.0)
    return laid_out.gradient_norms.mean().item()


def measure(seeds: Sequence[int], inner_lr: float, outer_lr: float, iterations: int = 5000) -> list[dict]:
    """One row per seed: "losses", a mean per fifty outer steps, and "gradient", its length before and after."""
    *_, (_, losses, networks) = train(MAML(1, inner_lr), SinusoidTasks(10, 10), seeds, outer_lr, [iterations])
    means = losses.unflatten(0, (-1, EVERY)).mean(1).T  # [R, iterations / 50]
    lengths = [[gradient_length(net) for net in (MLP(seed=seed), net)] for seed, net in zip(seeds, networks)]
    found = zip(seeds, means.tolist(), lengths)
    return [{"seed": seed, "losses": own, "gradient": length} for seed, own, length in found]


runs = Experiment(
    __file__,
    measure,
    seeds=range(20),
    cells=[{"inner_lr": alpha, "outer_lr": beta} for alpha, beta in RATES],
    settings={"iterations": 5000},
    small={"iterations": EVERY},
    batched=True,
)
