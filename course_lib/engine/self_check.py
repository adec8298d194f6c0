"""One comparison before a run begins: the networks of many tasks at once against the plain module, one at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from course_lib.engine.run import modes
from course_lib.inner_loop import Params
from course_lib.models import set_buffers

Predict = Callable[[nn.Module, Params, Tensor], Tensor]


@torch.no_grad()
def check_predict(predict: Predict, model: nn.Module, x: Tensor) -> None:
    """Compare ``predict`` with ``model`` on up to two tasks of x [T, N, ...], whose parameters differ a little.

    The model, its buffers and the state of PyTorch's random numbers are left as they were.

    Raises:
        ValueError: they disagree, so that training would silently compute something else than the model.
    """
    x, generator = x[:2], torch.Generator().manual_seed(0)
    params = {name: _near(p, len(x), generator) for name, p in model.named_parameters()}
    buffers = [buffer.clone() for buffer in model.buffers()]
    devices = [x.device] if x.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        first, again = (_plainly(model, params, x, buffers, seed) for seed in (0, 1))
        ours = predict(model, params, x)
        if not _same(first, again):  # dropout: what can be compared is the model without it
            with modes(model, training=False):
                first = _plainly(model, params, x, buffers, 0)
                ours = predict(model, params, x)
    set_buffers(model, buffers)
    if not _same(first, ours):
        far = f"by up to {(first - ours).abs().max():.2g}" if first.shape == ours.shape else "in shape"
        raise ValueError(
            f"for many tasks at once {type(model).__name__} computes something else than it does for one: outputs "
            f"differ {far}. Nothing was trained. A model may keep state in its parameters and buffers alone, and its "
            "output for a point may depend on the points of the same task, but on nothing else"
        )


def _near(parameter: Tensor, num_tasks: int, generator: torch.Generator) -> Tensor:
    """``num_tasks`` copies [T, ...], each a few per cent away."""
    noise = torch.randn(num_tasks, *parameter.shape, generator=generator).to(parameter)
    return parameter + 0.03 * parameter.abs().mean() * noise


def _plainly(model: nn.Module, params: Params, x: Tensor, buffers: list[Tensor], seed: int) -> Tensor:
    outputs = []
    for task, task_x in enumerate(x):
        set_buffers(model, buffers)
        torch.manual_seed(seed)
        outputs.append(functional_call(model, {name: p[task] for name, p in params.items()}, (task_x,)))
    set_buffers(model, buffers)
    return torch.stack(outputs)


def _same(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape:
        return False
    tolerance = 1e-9 if a.dtype == torch.float64 else 1e-3
    return torch.allclose(a, b, rtol=tolerance, atol=tolerance * a.abs().max().item(), equal_nan=True)
