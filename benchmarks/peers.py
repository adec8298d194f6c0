"""The same meta-step, second-order MAML and Adam, as users of other libraries write it.

Each function takes (model, loss_fn, batch, inner_steps, inner_lr) and returns a step without arguments.
``loss_fn`` is one of ``course_lib.losses``; on one task it is given a task dimension of 1. A library that is
not installed raises ImportError, and the table says so.

    torchopt   Ren et al. 2023, JMLR 24, "TorchOpt: an efficient library for differentiable optimization"
    higher     Grefenstette et al. 2019, arXiv 1910.01727
    JAX        jit of a vmap over tasks, its optimiser inside
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.func import functional_call, vmap

from course_lib.tasks import TaskBatch
from course_lib.training import adam

Step = Callable[[], object]
OUTER_LR = 1e-3


def one_task(loss_fn, outputs, targets):
    return loss_fn(outputs.unsqueeze(0), targets.unsqueeze(0)).squeeze(0)


def torchopt_loop(model: nn.Module, loss_fn, batch: TaskBatch, inner_steps: int, inner_lr: float) -> Step:
    """MetaSGD and a loop over tasks, state put back after each, as in torchopt's MAML example."""
    import torchopt

    outer = adam(model.parameters(), OUTER_LR)

    def step():
        inner = torchopt.MetaSGD(model, lr=inner_lr)
        theta = torchopt.extract_state_dict(model, by="reference", detach_buffers=True)
        state = torchopt.extract_state_dict(inner, by="reference")
        outer.zero_grad()
        for x, y, query_x, query_y in zip(batch.support_x, batch.support_y, batch.query_x, batch.query_y):
            for _ in range(inner_steps):
                inner.step(one_task(loss_fn, model(x), y))
            (one_task(loss_fn, model(query_x), query_y) / batch.num_tasks).backward()
            torchopt.recover_state_dict(model, theta)
            torchopt.recover_state_dict(inner, state)
        outer.step()

    return step


def torchopt_vmap(model: nn.Module, loss_fn, batch: TaskBatch, inner_steps: int, inner_lr: float) -> Step:
    """torchopt's functional SGD inside torch.func.vmap over the tasks."""
    import torchopt

    theta = dict(model.named_parameters())
    outer, inner = adam(theta.values(), OUTER_LR), torchopt.sgd(inner_lr)

    def task_loss(params, x, y, query_x, query_y):
        def support_loss(params):
            return one_task(loss_fn, functional_call(model, params, (x,)), y)

        state = inner.init(params)
        for _ in range(inner_steps):
            grads = torch.func.grad(support_loss)(params)
            updates, state = inner.update(grads, state, inplace=False)
            params = torchopt.apply_updates(params, updates, inplace=False)
        return one_task(loss_fn, functional_call(model, params, (query_x,)), query_y)

    over_tasks = vmap(task_loss, in_dims=(None, 0, 0, 0, 0))

    def step():
        outer.zero_grad()
        over_tasks(theta, batch.support_x, batch.support_y, batch.query_x, batch.query_y).mean().backward()
        outer.step()

    return step


def higher_loop(model: nn.Module, loss_fn, batch: TaskBatch, inner_steps: int, inner_lr: float) -> Step:
    """higher.innerloop_ctx and a loop over tasks, as in higher's MAML example."""
    import higher

    outer = adam(model.parameters(), OUTER_LR)

    def step():
        inner = torch.optim.SGD(model.parameters(), lr=inner_lr)
        outer.zero_grad()
        for x, y, query_x, query_y in zip(batch.support_x, batch.support_y, batch.query_x, batch.query_y):
            with higher.innerloop_ctx(model, inner, copy_initial_weights=False) as (net, differentiable):
                for _ in range(inner_steps):
                    differentiable.step(one_task(loss_fn, net(x), y))
                (one_task(loss_fn, net(query_x), query_y) / batch.num_tasks).backward()
        outer.step()

    return step


def jax_jit(model: nn.Module, loss_fn, batch: TaskBatch, inner_steps: int, inner_lr: float) -> Step:
    """jit, vmap over tasks and Adam, for a multilayer perceptron with ReLU and mean squared error."""
    import jax
    import jax.numpy as jnp

    layers = [m for m in model.modules() if isinstance(m, nn.Linear)]
    theta = [tuple(jnp.asarray(p.detach().numpy()) for p in (m.weight.T, m.bias)) for m in layers]
    data = [jnp.asarray(t.numpy()) for t in (batch.support_x, batch.support_y, batch.query_x, batch.query_y)]

    def loss(params, x, y):
        for weight, bias in params[:-1]:
            x = jax.nn.relu(x @ weight + bias)
        weight, bias = params[-1]
        return ((x @ weight + bias - y) ** 2).mean()

    def task_loss(params, x, y, query_x, query_y):
        for _ in range(inner_steps):
            grads = jax.grad(loss)(params, x, y)
            params = jax.tree.map(lambda p, g: p - inner_lr * g, params, grads)
        return loss(params, query_x, query_y)

    def meta_loss(params, *data):
        return jax.vmap(task_loss, in_axes=(None, 0, 0, 0, 0))(params, *data).mean()

    @jax.jit
    def update(params, mean, square, count, *data):
        value, grads = jax.value_and_grad(meta_loss)(params, *data)
        count = count + 1
        mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, grads)
        square = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, square, grads)

        def descend(p, m, v):
            return p - OUTER_LR * (m / (1 - 0.9**count)) / (jnp.sqrt(v / (1 - 0.999**count)) + 1e-8)

        return jax.tree.map(descend, params, mean, square), mean, square, count, value

    zeros = jax.tree.map(jnp.zeros_like, theta)
    state = [(theta, zeros, zeros, jnp.float32(0))]

    def step():
        *new, value = update(*state[0], *data)
        value.block_until_ready()
        state[0] = tuple(new)

    return step


PEERS = {
    "torchopt, loop": torchopt_loop,
    "torchopt, vmap": torchopt_vmap,
    "higher, loop": higher_loop,
    "JAX, jit": jax_jit,
}
