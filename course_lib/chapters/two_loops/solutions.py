"""Model solutions of notebook 02, as a student would write them."""

from __future__ import annotations

import torch
from torch.func import functional_call


def scalar_meta_gradient(theta, c, q, alpha, k):
    for _ in range(k):
        theta = theta - alpha * (theta - c)
    return (1 - alpha) ** k * (theta - q)


def inner_loop(model, params, x, y, steps, inner_lr):
    for _ in range(steps):
        loss = (functional_call(model, params, (x,)) - y).square().mean()
        grads = torch.autograd.grad(loss, params.values(), create_graph=True)
        params = {name: p - inner_lr * g for (name, p), g in zip(params.items(), grads)}
    return params


def meta_gradient(inner_loop, model, batch, steps, inner_lr):
    theta = dict(model.named_parameters())
    losses = []
    for i in range(batch.num_tasks):
        adapted = inner_loop(model, theta, batch.support_x[i], batch.support_y[i], steps, inner_lr)
        outputs = functional_call(model, adapted, (batch.query_x[i],))
        losses.append((outputs - batch.query_y[i]).square().mean())
    grads = torch.autograd.grad(torch.stack(losses).mean(), theta.values())
    return dict(zip(theta, grads))


BUG_LINES = (
    "`wrong_line = 7`",
    "`wrong_line = 7`",
    "`wrong_line = 5`",
    "`wrong_line = 6`",
)
BUG_REASONS = (
    "Line 7 lacks `create_graph=True`. The adapted weights still depend on theta through `p`, only not through `g`: "
    "every $I - \\alpha H_t$ has become $I$, and this is first-order MAML. The loss printed is the same to the last "
    "digit.",
    "`loss.backward()` in line 7 adds the gradient of the *support* loss to every `.grad`, and line 10 adds the "
    "meta-gradient to the same place. `torch.autograd.grad` in line 8 leaves `.grad` alone. Adam divides by the size "
    "of the gradient, so in training the wrong length would not show.",
    "The adapted weights are computed and never used: this is training on the union of tasks with one shared head, the "
    "same for every k. Do not carry a prediction across the inner loop.",
    "Each step begins with a copy that autograd does not connect with the step before, so of the product "
    "$(I - \\alpha H_0) \\cdots (I - \\alpha H_{k-1})$ the last factor alone is left. At k = 1 it is exact: test "
    "a loop with more than one step.",
)
REPAIRED = "Delete line 7, `loss.backward(retain_graph=True)`."
SUM_RATE = "`my_inner_lr = 0.01 / 10`"
