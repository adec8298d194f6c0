"""What every part of the library refuses, and in which words."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import get_proxy_mode


def refuse(bad: Tensor, message: str) -> None:
    """A ValueError if ``bad`` [T, ...] is true for any task, where looking costs nothing: not on a GPU."""
    if known(bad) and bad.any():
        tasks = bad.reshape(len(bad), -1).any(1).nonzero().flatten().tolist()
        raise ValueError(f"{message} (task {', '.join(map(str, tasks[:5]))}{' ...' if len(tasks) > 5 else ''})")


def known(condition: Tensor) -> bool:
    """Whether a condition's value can be looked at: not without waiting for a GPU, nor while a graph is traced."""
    return condition.device.type == "cpu" and not torch.compiler.is_compiling() and get_proxy_mode() is None
