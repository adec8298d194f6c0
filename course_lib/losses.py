"""Losses for stacked tasks. Each returns one MEAN per task [T]; summing those gives each task its own gradient.

The mean matters: the inner rate is measured against it. MAML's released code adds the cross-entropies of N ways
where these take the mean, so its alpha = 0.4 at 5-way is 2.0 here.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def mse(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error: outputs [T, N, D], targets [T, N, D] -> [T].

    Raises:
        ValueError: if the shapes differ (torch would broadcast them into a wrong mean).
    """
    if outputs.shape != targets.shape:
        raise ValueError(f"mse needs outputs and targets of one shape, not {_shapes(outputs, targets)}")
    return (outputs - targets).square().flatten(1).mean(1)


def cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy: logits [T, N, W], integer labels [T, N] -> [T].

    Raises:
        ValueError: if labels are not [T, N] beside logits [T, N, W]; on a CPU also if one is not in 0..W-1.
    """
    if outputs.ndim != 3 or outputs.shape[:2] != labels.shape:
        raise ValueError(f"cross_entropy needs logits [T, N, W] and labels [T, N], not {_shapes(outputs, labels)}")
    try:
        losses = F.cross_entropy(outputs.flatten(0, 1), labels.flatten(), reduction="none")  # [T N]
    except IndexError as error:
        raise ValueError(
            f"labels must lie in 0 to {outputs.shape[2] - 1} and run from {int(labels.min())} to {int(labels.max())}: "
            "a network's head needs one output for each of a task's ways"
        ) from error
    return losses.view(labels.shape).mean(1)


def accuracy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Share of points whose largest logit is the label's: [T, N, W], [T, N] -> [T], in 0..1."""
    return (outputs.argmax(-1) == labels).to(outputs.dtype).mean(1)


def _shapes(a: Tensor, b: Tensor) -> str:
    return f"{list(a.shape)} and {list(b.shape)}"
