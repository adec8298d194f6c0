"""Layers in a form for many tasks at once: what ``inner_loop.predict`` takes where it can.

Every parameter carries a leading dimension [T, ...]. A linear layer is then one batched matrix product, a
convolution one convolution in T groups, [T, N, C, H, W] seen as [N, T C, H, W]. One task alone has no groups,
and its channels are kept last in memory, where a CPU pools several times faster. It is the arithmetic of the plain
modules in another order (tests/test_models.py holds every rule against them), and worth 1.3 to 1.4
times the speed of ``vmap``.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.engine.any_module import Params, child_params, each_task, hooked
from course_lib.engine.batch_norm import batch_norm as batch_norm_of_batch
from course_lib.engine.linear import linear

ELEMENTWISE = {nn.ReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.ELU, nn.Softplus, nn.LeakyReLU, nn.Identity}
POOLING = {nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d}


def call(model: nn.Module, params: Params, x: Tensor) -> Tensor:
    """``model`` on x [T, N, ...], task t with its own parameters params[...][t] -> [T, N, ...].

    What has no rule here is ``each_task``'s: other classes, subclasses, modules with hooks, and a module some of whose
    parts share a parameter, which has one name in ``params`` and several places.

    Raises:
        ValueError: x and the parameters are of different precision.
    """
    places = list(model.named_parameters(remove_duplicate=False))
    try:
        return layer(model, params, x) if len(places) == len(params) else each_task(model, params, x)
    except RuntimeError as error:
        dtypes = {p.dtype for p in params.values() if p.is_floating_point()}
        if x.is_floating_point() and dtypes and x.dtype not in dtypes:
            raise ValueError(
                f"the tasks are {x.dtype} and the model's parameters {', '.join(map(str, dtypes))}: make them one, "
                "with batch.to(dtype=...) or model.to(...)"
            ) from error
        raise


def layer(module: nn.Module, params: Params, x: Tensor) -> Tensor:
    """``call``, where no parameter is shared."""
    kind, images = type(module), x.ndim == 5
    if hooked(module):
        return each_task(module, params, x)
    if kind.forward is nn.Sequential.forward:
        own = child_params(params)
        for name, child in pool_early(module._modules.items()):
            x = layer(child, own[name], x)
        return x
    if kind is nn.Linear and module.bias is not None and x.ndim == 3:
        return linear(x, params["weight"], params["bias"])  # [T, N, in] -> [T, N, out]
    if kind in ELEMENTWISE:
        return module(x)
    if kind is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1):
        return x.flatten(2)  # [T, N, C, H, W] -> [T, N, C H W]
    if kind is nn.Conv2d and images and module.padding_mode == "zeros":
        return convolution(module, params, x)
    if kind is nn.BatchNorm2d and images:
        return batch_norm(module, params, x)
    if kind in POOLING and images:
        return unfold(module(fold(x)), len(x))
    return each_task(module, params, x)


def running_norms(module: nn.Module) -> list[nn.Module]:
    """Its batch norms that keep running statistics."""
    norms = (m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))
    return [norm for norm in norms if norm.running_mean is not None]


def pool_early(children: Iterable[tuple[str, nn.Module]]) -> list[tuple[str, nn.Module]]:
    """ReLU and a max pooling behind it, swapped: the same numbers and gradients, a quarter of the work.

    >>> [name for name, _ in pool_early([("relu", nn.ReLU()), ("pool", nn.MaxPool2d(2))])]
    ['pool', 'relu']
    """
    children = list(children)
    kinds = [type(child) for _, child in children]
    for i in range(len(kinds) - 1):
        if kinds[i : i + 2] == [nn.ReLU, nn.MaxPool2d] and not any(hooked(child) for _, child in children[i : i + 2]):
            children[i : i + 2] = children[i + 1], children[i]
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
    own = of_batch and module.affine and x.device.type == "cpu" and x.dtype == weight.dtype  # on a GPU, cuDNN's
    if own and not torch._C._are_functorch_transforms_active():
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
