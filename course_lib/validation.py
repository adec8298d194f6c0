"""What the library refuses, and in which words: what was wrong, what was expected, what to do."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import get_proxy_mode


def check_count(name: str, value: int, at_least: int) -> int:
    """``value`` as an int, if it is a whole number (NumPy's too) of at least ``at_least``; else a ValueError.

    >>> check_count("steps", 3, 0)
    3
    """
    try:
        count = operator.index(value)
    except TypeError:
        count = None
    if count is None or type(value).__name__ in ("bool", "bool_") or count < at_least:  # NumPy's too
        raise ValueError(f"{name} must be a whole number of at least {at_least}, not {value!r}")
    return count


def check_flag(name: str, value: bool) -> bool:
    """``value`` if it is True or False; else a ValueError: the text "False" would count as true."""
    if value is not True and value is not False:
        raise ValueError(f"{name} must be True or False, not {value!r}")
    return value


def check_rate(name: str, rate: float | Tensor) -> float | Tensor:
    """``rate`` if it is a finite number or a tensor of finite numbers; else a ValueError."""
    finite = bool(rate.isfinite().all()) if isinstance(rate, Tensor) else math.isfinite(rate)
    if not finite:
        raise ValueError(f"{name} must be finite, not {rate}")
    return rate


def check_choice(name: str, value: str, choices: Sequence[str]) -> str:
    """``value`` if it is one of ``choices``; else a ValueError that lists them."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}; not {value!r}")
    return value


def check_model(model: nn.Module) -> nn.Module:
    """``model`` if it has children ``features`` and ``head``; else a TypeError that says what to do."""
    if isinstance(model, nn.Module) and {"features", "head"} <= model._modules.keys():
        return model
    found = type(model).__name__
    if isinstance(model, nn.Module):
        found += f" with children {list(model._modules)}"
    raise TypeError(
        f"a model needs two children, `features` and `head`; got {found}. Wrap it: "
        "nn.Sequential(OrderedDict(features=body, head=nn.Linear(num_features, num_outputs)))"
    )


def check_adapt(
    model: nn.Module, params: dict[str, Tensor], x: Tensor, y: Tensor, steps: int, lr: float | Tensor | Callable
) -> None:
    """What ``inner_loop.adapt`` is given: a TypeError or ValueError says what does not fit."""
    check_model(model)
    check_count("steps", steps, 0)
    num_tasks = len(next(iter(params.values())))
    if not num_tasks == len(x) == len(y):
        raise ValueError(
            f"parameters are stacked for {num_tasks} tasks, but x is {list(x.shape)} and y is {list(y.shape)}: "
            "the first dimension of each must be the number of tasks (see stack_params)"
        )
    if x.shape[:2] != y.shape[:2]:
        raise ValueError(f"x {list(x.shape)} and y {list(y.shape)} must agree in tasks and points, [T, N, ...]")
    if isinstance(lr, Tensor):
        refuse(~lr.isfinite().reshape(-1), "lr must be finite")
    elif not callable(lr) and not math.isfinite(lr):
        raise ValueError(f"lr must be a finite number, not {lr}")


def check_losses(losses: Tensor, num_tasks: int) -> Tensor:
    """``losses`` if they are one per task [T]; else a TypeError that says what a loss has to return."""
    if isinstance(losses, Tensor) and losses.shape == (num_tasks,):
        return losses
    got = f"shape {list(losses.shape)}" if isinstance(losses, Tensor) else f"a {type(losses).__name__}"
    raise TypeError(
        f"a loss must return one mean per task, shape [{num_tasks}] for these {num_tasks} tasks, not {got}. Use those "
        "of course_lib.losses, or reduce all dimensions but the first: "
        "lambda outputs, targets: F.mse_loss(outputs, targets, reduction='none').flatten(1).mean(1)"
    )


def refuse(bad: Tensor, message: str) -> None:
    """A ValueError if ``bad`` [T, ...] is true for any task, where looking costs nothing: not on a GPU."""
    if known(bad) and bad.any():
        tasks = bad.reshape(len(bad), -1).any(1).nonzero().flatten().tolist()
        raise ValueError(f"{message} (task {', '.join(map(str, tasks[:5]))}{' ...' if len(tasks) > 5 else ''})")


def known(condition: Tensor) -> bool:
    """Whether a condition's value can be looked at: not without waiting for a GPU, nor while a graph is traced."""
    return condition.device.type == "cpu" and not tracing()


def tracing() -> bool:
    """Whether operations are being recorded into a graph rather than computed."""
    return torch.compiler.is_compiling() or get_proxy_mode() is not None
