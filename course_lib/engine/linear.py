"""A linear layer for many tasks whose derivatives lie in memory as its parameters do.

    y = x W^T + b        dx = dy W        dW = dy^T x        db = sum(dy)

all of them one batched matrix product, for T tasks with weights of their own. With cotangents v, U, t of dx, dW, db the
derivative of the backward pass is four more:

    to dy    v W^T + x U^T + t        to x    dy U        to W    dy^T v

PyTorch derives the same products from those of ``baddbmm``, but leaves every other dW transposed in memory, and then
adds and scales [T, out, in] at a fifth of the speed.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import Function


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Task t's own layer on its own points: x [T, N, in], weight [T, out, in], bias [T, out] -> [T, N, out].

    Values and first derivatives have the bits of ``torch.baddbmm``; derivatives of any order may be taken.
    """
    mixed = torch.is_autocast_enabled(x.device.type) or x.dtype != weight.dtype  # PyTorch casts, or refuses
    if mixed or torch._C._are_functorch_transforms_active():  # a Function that torch.func takes is 20 us a call slower
        return torch.baddbmm(bias.unsqueeze(1), x, weight.mT)
    return _Linear.apply(x, weight, bias)


def _product(a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    """a b, or c + a b, [T, l, n] of a [T, l, m] and b [T, m, n]: PyTorch's bits, several times faster where m is 1."""
    if a.shape[2] == 1:
        return a * b if c is None else c + a * b
    return torch.bmm(a, b) if c is None else torch.baddbmm(c, a, b)


def _sum_of_outer(dy: Tensor, x: Tensor) -> Tensor:
    """dy^T x [T, out, in]. As (x^T dy)^T where that is faster, or rounds as PyTorch does (of few outputs)."""
    other = x.shape[2] == 1 or 1 < dy.shape[2] < 16
    return torch.bmm(x.mT, dy).mT if other else torch.bmm(dy.mT, x)


class _Linear(Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return _product(x, weight.mT, bias.unsqueeze(1))

    @staticmethod
    def backward(ctx, dy):
        return _Backward.apply(dy, *ctx.saved_tensors, ctx.needs_input_grad[0])


class _Backward(Function):
    @staticmethod
    def forward(ctx, dy, x, weight, wants_dx):
        ctx.save_for_backward(dy, x, weight)
        return _product(dy, weight) if wants_dx else None, _sum_of_outer(dy, x), dy.sum(1)

    @staticmethod
    def backward(ctx, v, u, t):
        dy, x, weight = ctx.saved_tensors
        to_dy, to_weight = t.unsqueeze(1), None
        if v is not None:
            to_dy, to_weight = _product(v, weight.mT, to_dy), _sum_of_outer(dy, v)
        to_x = _product(dy, u) if ctx.needs_input_grad[1] else None
        return _product(x, u.mT, to_dy), to_x, to_weight, None
