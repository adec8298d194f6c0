"""The inner loop: k steps of gradient descent, for all tasks of a meta-batch at once.

    theta'_i = theta - alpha * grad_theta L_i(theta)        repeated k times, each task i with its own support set

This is lines 5 and 6 of algorithm 1 (MAML, arXiv 1703.03400). It is the only inner loop of the package.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from course_lib.engine import fast_layers
from course_lib.engine.any_module import hooked, is_chain
from course_lib.losses import LossFn
from course_lib.validation import check_adapt, check_count, check_losses

Params = dict[str, Tensor]  # {name: [T, ...]}, one copy a task
Rate = Callable[[str, Tensor], Tensor]  # (parameter's name, its gradient [T, ...]) -> what multiplies the gradient


def stack_params(model: nn.Module, num_tasks: int) -> Params:
    """Every parameter of ``model``, one copy a task: {name: [T, ...]}.

    The copies are views, and differentiable: a gradient through them sums over the tasks.
    """
    if runs := vars(model).get("_stands_for"):  # one module in the place of several, parameters [R, ...]: a sweep's
        return {name: p.repeat_interleave(num_tasks // runs, 0) for name, p in model.named_parameters()}
    return {name: p.expand(num_tasks, *p.shape) for name, p in model.named_parameters()}


def flatten(params: Params, names: Sequence[str]) -> Tensor:
    """The named parameters of each task as one vector [T, P]."""
    return torch.cat([params[name].flatten(1) for name in names], 1)


def unflatten(vector: Tensor, like: Params, names: Sequence[str]) -> Params:
    """The inverse of ``flatten``: [T, P] -> {name: [T, ...]}, shaped as in ``like``."""
    parts = vector.split([like[name][0].numel() for name in names], 1)
    return {name: part.view(like[name].shape) for name, part in zip(names, parts)}


def predict(model: nn.Module, params: Params, x: Tensor) -> Tensor:
    """Outputs of every task's own network: x [T, N, ...] -> [T, N, outputs].

    What ``vmap`` over the plain module gives, from layers in a form for many tasks where there is one:

    >>> from torch.func import functional_call, vmap
    >>> from course_lib.models import MLP
    >>> model, x = MLP(seed=0), torch.randn(3, 10, 1)
    >>> params = stack_params(model, 3)
    >>> plain = vmap(lambda p, x: functional_call(model, p, x))(params, x)
    >>> torch.testing.assert_close(predict(model, params, x), plain)

    Raises:
        ValueError: x and the parameters are of different precision.
    """
    return fast_layers.call(model, params, x)


def features(model: nn.Module, params: Params, x: Tensor) -> Tensor:
    """Last-layer features of every task's own network: x [T, N, ...] -> [T, N, D]."""
    return predict(model.features, fast_layers.child_params(params)["features"], x)


def select(params: Params, only: str | Sequence[str] | None) -> list[str]:
    """Names of all parameters (None), or of those that ``only`` names or is a parent of.

    Raises:
        ValueError: ``only`` names no parameter.

    >>> select({"features.0.weight": 0, "head.weight": 0, "head.bias": 0}, "head")
    ['head.weight', 'head.bias']
    """
    if only is None:
        return list(params)
    wanted = [only] if isinstance(only, str) else list(only)
    for want in wanted:
        if not any(p == want or p.startswith(want + ".") for p in params):
            raise ValueError(f"only={only!r}: no parameter is {want!r} or inside it; there are {list(params)}")
    return [p for p in params if any(p == want or p.startswith(want + ".") for want in wanted)]


def frozen(model: nn.Module) -> set[str]:
    """Names of the parameters that do not require a gradient, as after ``model.features.requires_grad_(False)``."""
    return {name for name, p in model.named_parameters() if not p.requires_grad}


def adapt(
    model: nn.Module,
    params: Params,
    x: Tensor,
    y: Tensor,
    *,
    loss_fn: LossFn,
    steps: int,
    lr: float | Tensor | Rate,
    only: str | Sequence[str] | None = None,
    second_order: bool = True,
) -> Params:
    """The parameters of every task after ``steps`` gradient steps on its own support set.

    Tasks share nothing, so the gradient of the SUM of their losses is each task's own gradient.

    Args:
        model: an nn.Module with children ``features`` and ``head``.
        params: {name: [T, ...]}, from ``stack_params`` or from an earlier ``adapt``.
        x, y: the support sets, [T, S, ...] each.
        loss_fn: (outputs, targets) -> one mean per task [T].
        steps: k, at least 0; 0 returns ``params`` as they are.
        lr: alpha, one rate or one per task [T], any sign; or a function (name, gradient [T, ...]) -> what multiplies
            the gradient, such as Adam's rates (see algorithms/adam.py).
        only: which parameters may change (see ``select``); None is all of them, "head" is ANIL. Those that do not
            require a gradient, as after ``model.features.requires_grad_(False)``, stay as they are. For a linear head
            alone the features of x are found once: dropout draws once, and running statistics move once.
        second_order: keep the graph of every inner gradient, so that the outer loop can differentiate through it.
            False drops the second derivatives (first-order MAML) and the memory they take.

    Returns:
        {name: [T, ...]}, differentiable with respect to ``params``.

    Raises:
        TypeError: the model has no ``features`` or ``head``; the loss is not one number per task.
        ValueError: negative steps, numbers of tasks that disagree, a NaN or infinite rate (of a number or on a CPU),
            nothing that may change.

    >>> from course_lib.losses import mse
    >>> from course_lib.models import MLP
    >>> model, x, y = MLP(seed=0), torch.ones(3, 10, 1), torch.zeros(3, 10, 1)
    >>> adapted = adapt(model, stack_params(model, 3), x, y, loss_fn=mse, steps=1, lr=0.01)
    >>> adapted["head.weight"].shape
    torch.Size([3, 1, 40])
    """
    check_adapt(model, params, x, y, steps, lr)
    names = [name for name in select(params, only) if params[name].requires_grad]
    if not steps:
        return params
    if not names:
        raise ValueError(f"nothing to adapt: of {select(params, only)} none requires a gradient")
    whole = params
    if all(name.startswith("head.") for name in names):
        model, params, x = on_features(model, params, x)
    for _ in range(steps):
        losses = check_losses(loss_fn(predict(model, params, x), y), len(x))  # [T]
        with without_autocast(x.device):
            grads = torch.autograd.grad(
                losses.sum(), [params[n] for n in names], create_graph=second_order, materialize_grads=True
            )
        params = params | {n: descend(n, params[n], lr, g) for n, g in zip(names, grads)}
    return whole | params


def on_features(model: nn.Module, params: Params, x: Tensor) -> tuple[nn.Module, Params, Tensor]:
    """The head as a model of its own, its parameters, and for points the features [T, N, D] of x: what steps on the
    head alone go through. All as they are where something stands between the two, the body shares the head's, or the
    head is not linear: it might change the features in place."""
    own = {name: p for name, p in params.items() if name.startswith("head.")}
    linear = type(model.head) is nn.Linear and not hooked(model.head)
    if not (linear and is_chain(model)) or own.keys() != {f"head.{name}" for name, _ in model.head.named_parameters()}:
        return model, params, x
    head = nn.Sequential(OrderedDict(features=nn.Identity(), head=model.head))
    return head, own, features(model, params, x)


def trajectory(
    model: nn.Module,
    params: Params,
    x: Tensor,
    y: Tensor,
    *,
    loss_fn: LossFn,
    steps: int,
    lr: float | Tensor | Rate,
    only: str | Sequence[str] | None = None,
) -> Iterator[Params]:
    """The parameters after 0, 1, ..., ``steps`` steps of fine-tuning, detached; arguments as for ``adapt``.

    What is frozen in the model does not move. Works under ``torch.no_grad`` too.
    """
    check_count("steps", steps, 0)
    still = frozen(model)
    params = {name: p.detach() for name, p in params.items()}
    yield params
    moving, names = params, [name for name in select(params, only) if name not in still]
    if steps and names and all(name.startswith("head.") for name in names):
        with torch.no_grad():
            model, moving, x = on_features(model, params, x)
    for _ in range(steps):
        with torch.enable_grad():
            leaves = {name: p.detach().requires_grad_(name not in still) for name, p in moving.items()}
            stepped = adapt(model, leaves, x, y, loss_fn=loss_fn, steps=1, lr=lr, only=only, second_order=False)
        moving = {name: p.detach() for name, p in stepped.items()}
        yield params | moving


def without_autocast(device: torch.device):
    """Where gradients are taken. Autocast, if someone switched it on, is for forward passes: each backward then
    runs in the precision of its forward, and that of a solved head in full.
    """
    mixed = torch.is_autocast_enabled(device.type)
    return torch.autocast(device.type, enabled=False) if mixed else nullcontext()


def descend(name: str, theta: Tensor, lr: float | Tensor | Rate, grad: Tensor) -> Tensor:
    """theta - lr * grad [T, ...], as one operation where the rate is a number (on small networks that shows)."""
    if callable(lr):
        return theta - lr(name, grad) * grad
    return theta - per_task(lr, grad) * grad if isinstance(lr, Tensor) else torch.sub(theta, grad, alpha=lr)


def per_task(rate: float | Tensor, like: Tensor) -> float | Tensor:
    """``rate`` as it multiplies a gradient ``like`` [T, ...]: one per task [T] as [T, 1, ...], a number as it is."""
    if not isinstance(rate, Tensor) or rate.ndim == 0:
        return rate
    if rate.shape != like.shape[:1]:
        raise ValueError(
            f"lr must be one number or one per task [{len(like)}], not of shape {list(rate.shape)}; rates per task "
            "want all tasks of a meta-batch together (tasks_at_once)"
        )
    return rate.view(-1, *[1] * (like.ndim - 1))
