"""Model solutions of notebook 08, as a student would write them."""

from __future__ import annotations

import torch
from torch.func import functional_call


def update(theta, ends, epsilon):
    return theta + epsilon * (ends.mean(0) - theta)


def inner_loop(model, params, x, y, steps, inner_lr):
    for _ in range(steps):
        loss = (functional_call(model, params, (x,)) - y).square().mean()
        grads = torch.autograd.grad(loss, params.values())
        params = {name: p - inner_lr * g for (name, p), g in zip(params.items(), grads)}
    return params


def reptile(inner_loop, model, batch, steps, inner_lr):
    theta = dict(model.named_parameters())
    moves = {name: torch.zeros_like(p) for name, p in theta.items()}
    for x, y in zip(batch.support_x, batch.support_y):
        adapted = inner_loop(model, theta, x, y, steps, inner_lr)
        for name in theta:
            moves[name] += (theta[name] - adapted[name]).detach() / batch.num_tasks
    return moves


def outer_step(model, batch, inner_loop, epsilon):
    theta = {name: p.detach().clone() for name, p in model.named_parameters()}
    moves = {name: torch.zeros_like(p) for name, p in theta.items()}
    for x, y in zip(batch.support_x, batch.support_y):
        model.load_state_dict(theta)
        inner_loop(model, x, y)
        for name, p in model.named_parameters():
            moves[name] += (p.detach() - theta[name]) / batch.num_tasks
    model.load_state_dict({name: theta[name] + epsilon * moves[name] for name in theta})
    return model


COEFFICIENTS = "`for_maml, for_fomaml, for_reptile = -8, -4, -2`"


def pull(alpha, length, k):
    return 1 - (1 - 2 * alpha * length**2) ** k
