"""Modules with a task dimension: one forward pass for T tasks, each with parameters of its own.

Every parameter carries a leading dimension [T, ...]. A linear layer is then one batched matrix product, a
convolution one convolution in T groups, [T, N, C, H, W] seen as [N, T C, H, W]. One task alone has no groups,
and its channels are kept last in memory, where a CPU pools several times faster. What has no rule here goes
through ``torch.func.vmap``, which is the same arithmetic, so any module works (dropout draws anew for each task).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap

from course_lib.engine.batch_norm import batch_norm as batch_norm_of_batch
from course_lib.engine.linear import linear

Params = dict[str, Tensor]

ELEMENTWISE = (nn.ReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.ELU, nn.Softplus, nn.LeakyReLU, nn.Identity)
POOLING = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)


def stack_params(model: nn.Module, num_tasks: int) -> Params:
    """Every parameter of ``model``, one copy a task: {name: [T, ...]}.

    The copies are views, and differentiable: a gradient through them sums over the tasks.
    """
    return {name: p.expand(num_tasks, *p.shape) for name, p in model.named_parameters()}


def child_params(params: Params, child: str) -> Params:
    """The parameters of one child module, its name stripped: "head.weight" -> "weight"."""
    return {name[len(child) + 1 :]: p for name, p in params.items() if name.startswith(child + ".")}


def call(module: nn.Module, params: Params, x: Tensor) -> Tensor:
    """``module`` on x [T, N, ...], task t with its own parameters params[...][t] -> [T, N, ...]."""
    kind, images = type(module), x.ndim == 5
    if kind.forward is nn.Sequential.forward:
        for name, child in pool_early(list(module.named_children())):
            x = call(child, child_params(params, name), x)
        return x
    if kind is nn.Linear and module.bias is not None and x.ndim == 3:
        return linear(x, params["weight"], params["bias"])  # [T, N, in] -> [T, N, out]
    if isinstance(module, ELEMENTWISE):
        return module(x)
    if kind is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1):
        return x.flatten(2)  # [T, N, C, H, W] -> [T, N, C H W]
    if kind is nn.Conv2d and images and module.padding_mode == "zeros":
        return convolution(module, params, x)
    if kind is nn.BatchNorm2d and images:
        return batch_norm(module, params, x)
    if kind in POOLING and images:
        return unfold(module(fold(x)), x.shape[0])
    if x.shape[0] == 1:
        return functional_call(module, {n: p.squeeze(0) for n, p in params.items()}, (x.squeeze(0),)).unsqueeze(0)
    check_statistics(module)
    return vmap(lambda p, task_x: functional_call(module, p, (task_x,)), randomness="different")(params, x)


def running_norms(module: nn.Module) -> list[nn.Module]:
    """Its batch norms that keep running statistics."""
    norms = (m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))
    return [norm for norm in norms if norm.running_mean is not None]


def check_statistics(module: nn.Module) -> None:
    """A ValueError for batch norm that would have to move its running statistics for many tasks at once."""
    for m in running_norms(module):
        if m.training:
            raise ValueError(
                f"{type(m).__name__} in {type(module).__name__} keeps running statistics, which many tasks cannot "
                "move at once: give it track_running_stats=False (nn.BatchNorm2d in an nn.Sequential may keep them)"
            )


def pool_early(children: list[tuple[str, nn.Module]]) -> list[tuple[str, nn.Module]]:
    """ReLU and a max pooling behind it, swapped: the same numbers and gradients, a quarter of the work.

    >>> [name for name, _ in pool_early([("relu", nn.ReLU()), ("pool", nn.MaxPool2d(2))])]
    ['pool', 'relu']
    """
    children = list(children)
    for i, pair in enumerate(zip(children, children[1:])):
        if [type(child) for _, child in pair] == [nn.ReLU, nn.MaxPool2d]:
            children[i : i + 2] = pair[::-1]
    return children


def fold(x: Tensor) -> Tensor:
    """Tasks as channels: [T, N, C, H, W] -> [N, T C, H, W]. What ``unfold`` returned comes back uncopied."""
    return x.transpose(0, 1).flatten(1, 2)


def unfold(x: Tensor, num_tasks: int) -> Tensor:
    """Channels as tasks, a view: [N, T C, H, W] -> [T, N, C, H, W]."""
    return x.unflatten(1, (num_tasks, -1)).transpose(0, 1)


def convolution(module: nn.Conv2d, params: Params, x: Tensor) -> Tensor:
    """A convolution in T groups: x [T, N, in, H, W], weight [T, out, in, h, w] -> [T, N, out, H', W'].

    Of one task, ``squeeze`` takes a view backward too, where ``x[0]`` would fill and copy a tensor of zeros.
    """
    num_tasks = x.shape[0]
    if num_tasks == 1:
        weight, bias = params["weight"].squeeze(0), params["bias"].squeeze(0) if module.bias is not None else None
        settings = (module.stride, module.padding, module.dilation, module.groups)
        return F.conv2d(channels_last(x.squeeze(0)), channels_last(weight), bias, *settings).unsqueeze(0)
    weight = params["weight"].flatten(0, 1)  # [T out, in, h, w]
    bias = params["bias"].flatten() if module.bias is not None else None  # [T out]
    groups = num_tasks * module.groups
    out = F.conv2d(fold(x), weight, bias, module.stride, module.padding, module.dilation, groups)
    return unfold(out, num_tasks)


def channels_last(x: Tensor) -> Tensor:
    """[N, C, H, W] as it is, its channels last in memory; a single channel is only declared to be."""
    if x.shape[1] == 1:
        return x.squeeze(1).unsqueeze(-1).movedim(-1, 1)  # [N, H, W, 1], seen as [N, 1, H, W]
    return x.contiguous(memory_format=torch.channels_last)


def batch_norm(module: nn.BatchNorm2d, params: Params, x: Tensor) -> Tensor:
    """Each task normalised by statistics of its own batch, or in evaluation by the running ones.

    In training the running statistics, where there are any, move toward the mean of the tasks' statistics.
    """
    num_tasks = x.shape[0]
    weight, bias = (params[name].flatten() if module.affine else None for name in ("weight", "bias"))  # [T C]
    mean, var = module.running_mean, module.running_var  # [C], or None
    of_batch = module.training or mean is None
    if mean is not None:
        mean, var = mean.repeat(num_tasks), var.repeat(num_tasks)  # [T C]; in training, room for the batch's
    momentum = 1.0 if of_batch else 0.0
    x = fold(x)
    if of_batch and module.affine and x.device.type == "cpu" and x.dtype == weight.dtype:  # on a GPU, cuDNN's own
        out = batch_norm_of_batch(x, weight, bias, mean, var, momentum, module.eps)
    else:
        out = F.batch_norm(x, mean, var, weight, bias, of_batch, momentum, module.eps)
    if of_batch and mean is not None:
        with torch.no_grad():
            module.num_batches_tracked += 1
            rate = module.momentum if module.momentum is not None else 1 / module.num_batches_tracked
            for running, new in ((module.running_mean, mean), (module.running_var, var)):
                running.lerp_(new.view(num_tasks, -1).mean(0), rate)
    return unfold(out, num_tasks)
