"""Modules with a task dimension: one forward pass for T tasks, each with parameters of its own.

Every parameter carries a leading dimension [T, ...]. A linear layer is then one batched matrix product; what has
no rule here goes through ``torch.func.vmap``, which is the same arithmetic, so any module works.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

Params = dict[str, Tensor]

ELEMENTWISE = (nn.ReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.ELU, nn.Softplus, nn.LeakyReLU, nn.Identity)


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
    if type(module).forward is nn.Sequential.forward:
        for name, child in module.named_children():
            x = call(child, child_params(params, name), x)
        return x
    if type(module) is nn.Linear and module.bias is not None:
        return torch.baddbmm(params["bias"].unsqueeze(1), x, params["weight"].mT)  # [T, N, in] -> [T, N, out]
    if isinstance(module, ELEMENTWISE):
        return module(x)
    if x.shape[0] == 1:
        return functional_call(module, {name: p[0] for name, p in params.items()}, (x[0],)).unsqueeze(0)
    return vmap(lambda p, task_x: functional_call(module, p, (task_x,)))(params, x)
