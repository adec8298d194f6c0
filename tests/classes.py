"""Small float64 classification problems for the heads that are solved for."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from course_lib.models import MLP
from course_lib.tasks import TaskBatch


def tiny_classifier(num_features: int = 4, seed: int = 0) -> MLP:
    """3-3-D-2, tanh; its own head has two ways, which a solved head need not care about."""
    widths = dict(in_features=3, hidden=(3, num_features), out_features=2)
    return MLP(**widths, activation=nn.Tanh, seed=seed).double()


def labels_of(ways: int, shots: int, num_tasks: int) -> Tensor:
    """0 1 ... W-1, once per shot [T, W * shots]."""
    return torch.arange(ways).repeat(shots).expand(num_tasks, -1)


def points(labels: Tensor, num_features: int, spread: float = 1.0, seed: int = 0) -> Tensor:
    """Gaussian clouds, one a class, ``spread`` wide about centres of size one [T, S, D]."""
    g = torch.Generator().manual_seed(seed)
    num_tasks, num_points = labels.shape
    centres = torch.randn(num_tasks, int(labels.max()) + 1, num_features, generator=g, dtype=torch.float64)
    noise = torch.randn(num_tasks, num_points, num_features, generator=g, dtype=torch.float64)
    return centres.gather(1, labels[..., None].expand(-1, -1, num_features)) + spread * noise


def classification(
    num_tasks: int = 5, ways: int = 3, shots: int = 2, queries: int = 2, spread: float = 0.5, seed: int = 0
) -> TaskBatch:
    y = labels_of(ways, shots + queries, num_tasks)  # [T, W * (shots + queries)]
    x = points(y, 3, spread, seed)
    split = ways * shots
    return TaskBatch(x[:, :split], y[:, :split], x[:, split:], y[:, split:], torch.arange(num_tasks))
