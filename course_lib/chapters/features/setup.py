"""What the demos of tangent features share: networks along training, their kernels, the family they serve.

Everything is in float64, on 200 points of [-5, 5]. The networks are the snapshots of
``experiments.tangent_training`` and the checkpoints sinusoid/maml_k1 and sinusoid/pretrained.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from course_lib.analysis.tangent import alignment, eigenfunctions, energy_share, tangent_features
from course_lib.chapters.features.experiments import tangent_training
from course_lib.chapters.features.experiments.tangent_training import FINAL, ITERATIONS, SEEDS
from course_lib.kit import plots
from course_lib.kit.demo import Choice
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks, TaskBatch
from course_lib.tasks.sinusoid import X_RANGE, sinusoid

WAYS = {"maml": "MAML", "plain": "ordinary training, one head"}
PROGRESS = (*ITERATIONS, FINAL)
STARTS = {  # name: (what a person reads, way, iteration)
    "random": ("random weights", "maml", 0),
    "plain": ("ordinary training, one head", "plain", FINAL),
    "maml": ("MAML", "maml", FINAL),
}
LOOKS = {
    start: {name: plots.METHODS[method][name] for name in ("color", "linestyle")}
    for start, method in (("random", "random"), ("plain", "pretrained"), ("maml", "maml"))
}
MAX_RANK = 8

GRID = torch.linspace(*X_RANGE, 200, dtype=torch.float64)[:, None]  # [200, 1]
X = GRID[:, 0].numpy()
# A sin(x - phase) = a sin x + b cos x, and over the family a and b are uncorrelated, of one variance: the
# energy of the whole family within any set of functions is that of these two curves.
FAMILY = torch.stack([GRID[:, 0].sin(), GRID[:, 0].cos()])  # [2, 200]


class Spectrum(NamedTuple):
    """The tangent kernel of one network on the grid, and how it meets the family."""

    kernel: Tensor  # [200, 200]
    values: Tensor  # [200] eigenvalues, largest first
    functions: Tensor  # [200, 200] eigenfunctions, a column each
    shares: Tensor  # [200] share of the family's energy within the first 1, 2, ...
    aligned: float


def describe(kernel: Tensor) -> Spectrum:
    values, functions = eigenfunctions(kernel)
    shares = energy_share(functions, FAMILY)
    return Spectrum(kernel, values, functions, shares, alignment(kernel, FAMILY).item())


@lru_cache(maxsize=None)
def network(way: str, iteration: int, seed: int = 0) -> MLP:
    return tangent_training.network(way, iteration, seed).double()


def network_at(start: str) -> MLP:
    """The network of one of STARTS."""
    _, way, iteration = STARTS[start]
    return network(way, iteration)


def start_choice(label: str) -> Choice:
    """The control that picks one of STARTS, MAML's at first."""
    return Choice("start", {name: text for name, (text, _, _) in STARTS.items()}, "maml", label)


@lru_cache(maxsize=64)
def spectrum(way: str, iteration: int, seed: int = 0) -> Spectrum:
    features = tangent_features(network(way, iteration, seed), GRID)  # [200, P]
    return describe(features @ features.T)


@lru_cache(maxsize=1)
def ideal() -> Spectrum:
    """The kernel that knows the family: K(x, x') = sin x sin x' + cos x cos x' = cos(x - x')."""
    return describe(FAMILY.T @ FAMILY)


@lru_cache(maxsize=1)
def history() -> Tensor:
    """Energy in the top 1..8 at every snapshot: [2 ways, 3 seeds, 7 iterations, 8]; about a second."""
    rows = [[[spectrum(way, i, s).shares[:MAX_RANK] for i in ITERATIONS] for s in SEEDS] for way in WAYS]
    return torch.stack([torch.stack([torch.stack(row) for row in seeds]) for seeds in rows])


@lru_cache(maxsize=8)
def test_tasks(num_tasks: int, shots: int, draw: int = 0) -> tuple[TaskBatch, Tensor]:
    """New tasks in float64, and their true curves on the grid [T, 200]; more shots keep the first."""
    generator = torch.Generator().manual_seed(draw)
    batch = SinusoidTasks(shots=20, queries=1).sample(num_tasks, generator=generator).map(Tensor.double)
    batch.support_x, batch.support_y = batch.support_x[:, :shots], batch.support_y[:, :shots]
    truth = sinusoid(GRID.expand(num_tasks, -1, -1), batch.info["amplitude"], batch.info["phase"])[..., 0]
    return batch, truth
