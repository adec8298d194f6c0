"""Batch norm that is cheap to differentiate twice, as second-order MAML does at every inner step.

    y = gamma xhat + beta        xhat = (x - mean) r,   r = 1 / sqrt(var + eps),   over the n values of a channel

Its backward pass (Ioffe and Szegedy 2015, arXiv 1502.03167, section 3) is linear in dy, with a symmetric P:

    dx = gamma r P dy            P dy = dy - sum(dy) / n - xhat sum(dy xhat) / n
    dgamma = sum(dy xhat)        dbeta = sum(dy)

What depends on x in it moves by d xhat = r P dx and dr = -r^2 (xhat . dx) / n. So the derivative of the backward pass
needs nothing but P again, and PyTorch has r P as one fused operation: with cotangents v, u, t of dx, dgamma, dbeta,

    to dy       gamma r P v + u xhat + t
    to gamma    s = r sum(v P dy)
    to x        r P [ u dy - gamma r (dgamma v + sum(v xhat) dy) / n ] - gamma s r xhat / n

PyTorch's own second derivative goes some 45 times over the images, one small operation after another; this one
about 12.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def batch_norm(
    x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor | None, var: Tensor | None, momentum: float, eps: float
) -> Tensor:
    """``F.batch_norm`` in training, x [N, C, ...], weight and bias [C], all of one type: the same values and first
    derivatives, bit for bit, and the same second ones up to rounding.

    ``mean`` and ``var`` [C] are running statistics, moved in place, or None. A third derivative is a RuntimeError.
    """
    return _BatchNorm.apply(x, weight, bias, mean, var, momentum, eps)


class _BatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, running_mean, running_var, momentum, eps):
        y, mean, r = torch.native_batch_norm(x, weight, bias, running_mean, running_var, True, momentum, eps)
        ctx.save_for_backward(x, weight, mean, r)
        ctx.eps = eps
        return y

    @staticmethod
    def backward(ctx, dy):
        return *_Backward.apply(dy, *ctx.saved_tensors, ctx.eps), None, None, None, None


class _Backward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, dy, x, weight, mean, r, eps):
        dx, dweight, dbias = _backward(dy, x, weight, mean, r, eps)
        ctx.save_for_backward(dy, x, weight, mean, r, dweight, dbias)
        ctx.eps = eps
        return dx, dweight, dbias

    @staticmethod
    @once_differentiable
    def backward(ctx, v, u, t):
        dy, x, weight, mean, r, dweight, dbias = ctx.saved_tensors
        n, one = x.numel() // x.shape[1], torch.ones_like(weight)
        rPv, v_xhat, v_sum = _backward(v, x, one, mean, r, ctx.eps)
        s = r * (_per_channel_sum(v * dy) - (v_sum * dbias + v_xhat * dweight) / n)
        scale = -weight * r / n
        mixed = (v * _at(scale * dweight, x)).addcmul_(dy, _at(scale * v_xhat + u, x))
        to_x, _, _ = _backward(mixed, x, one, mean, r, ctx.eps)
        to_x = _add_xhat(to_x, scale * s, x, mean, r)
        to_dy = _add_xhat(rPv.mul_(_at(weight, x)), u, x, mean, r).add_(_at(t, x))
        return to_dy, to_x, s, None, None, None


def _backward(dy: Tensor, x: Tensor, weight: Tensor, mean: Tensor, r: Tensor, eps: float) -> tuple[Tensor, ...]:
    """dx, dgamma, dbeta; with weight 1, dx is r P dy."""
    every = [True, True, True]
    return torch.ops.aten.native_batch_norm_backward(dy, x, weight, None, None, mean, r, True, eps, every)


def _add_xhat(total: Tensor, scale: Tensor, x: Tensor, mean: Tensor, r: Tensor) -> Tensor:
    """``total`` += ``scale`` xhat, in place; ``scale`` [C]."""
    return total.addcmul_(x, _at(scale * r, x)).sub_(_at(scale * r * mean, x))


def _at(channels: Tensor, x: Tensor) -> Tensor:
    """[C] in a shape that multiplies x [N, C, ...]."""
    return channels.view(-1, *[1] * (x.ndim - 2))


def _per_channel_sum(x: Tensor) -> Tensor:
    """[N, C, ...] -> [C]."""
    return x.sum([0, *range(2, x.ndim)])
