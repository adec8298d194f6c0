"""The inner loop against closed forms, against a loop over tasks written out, and what a person may get wrong."""

from __future__ import annotations

import copy
import math
from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch.func import functional_call

from course_lib.inner_loop import adapt, features, predict, select, stack_params, trajectory
from course_lib.losses import cross_entropy, mse
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks
from tests.gradients import TIGHT, Quadratic, regression, tiny_model


def by_hand(model, x, y, steps, lr, only=None):
    """One task at a time, on a copy of the model, with nothing but backward and a subtraction."""
    adapted = []
    for task_x, task_y in zip(x, y):
        copied = copy.deepcopy(model)
        for _ in range(steps):
            copied.zero_grad()
            (copied(task_x) - task_y).square().mean().backward()
            with torch.no_grad():
                for name, p in copied.named_parameters():
                    if only is None or name.startswith(only):
                        p -= lr * p.grad
        adapted.append(dict(copied.named_parameters()))
    return {name: torch.stack([a[name].detach() for a in adapted]) for name in adapted[0]}


class Backwards(nn.Module):
    """A student's own module: children in another order, a forward that is not a sequence."""

    def __init__(self, mlp: MLP):
        super().__init__()
        self.head = copy.deepcopy(mlp.head)
        self.features = copy.deepcopy(mlp.features)

    def forward(self, x):
        return self.head(self.features(x)) + 0.0 * x.sum()


class Counting(nn.Linear):
    calls = 0

    def forward(self, x):
        Counting.calls += 1
        return super().forward(x)


@pytest.mark.parametrize("how, calls", [({"only": "head"}, 1), ({"only": "features"}, 7), ({}, 7)])
@pytest.mark.parametrize("walk", [adapt, lambda *where, **how: [*trajectory(*where, **how)]])
def test_a_body_that_stands_still_is_passed_through_once(how, calls, walk):
    model = nn.Sequential(OrderedDict(features=nn.Sequential(Counting(1, 8), nn.Tanh()), head=nn.Linear(8, 1))).double()
    batch, where = regression(), stack_params(model, 5)
    walk(model, where, batch.support_x, batch.support_y, loss_fn=mse, steps=1, lr=0.1)  # vmap knows it from now on
    Counting.calls = 0
    walk(model, where, batch.support_x, batch.support_y, loss_fn=mse, steps=7, lr=0.1, **how)
    assert Counting.calls == calls


@pytest.mark.parametrize("layer", [nn.LeakyReLU(0.2, inplace=True), nn.ELU(inplace=True), nn.ReLU(inplace=True)])
def test_a_head_that_changes_its_inputs_in_place_finds_them_whole_at_every_step(layer):
    torch.manual_seed(0)
    head = nn.Sequential(layer, nn.Linear(8, 1))
    model, batch = nn.Sequential(OrderedDict(features=nn.Linear(1, 8), head=head)).double(), regression()
    where = batch.support_x, batch.support_y
    expected = by_hand(model, *where, 3, 0.1, only="head")
    how = {"loss_fn": mse, "steps": 3, "lr": 0.1, "only": "head"}
    for walked in (adapt(model, stack_params(model, 5), *where, **how),
                   [*trajectory(model, stack_params(model, 5), *where, **how)][-1]):  # fmt: skip
        for name, p in expected.items():
            torch.testing.assert_close(walked[name].detach(), p, **TIGHT)


@pytest.mark.parametrize("steps", [0, 1, 5])
@pytest.mark.parametrize("lr", [0.1, 0.0, -0.1])
@pytest.mark.parametrize("only", [None, "head", "features"])
def test_equals_a_loop_over_tasks(steps, lr, only):
    model, batch = tiny_model(), regression()
    x, y = batch.support_x, batch.support_y
    adapted = adapt(model, stack_params(model, 5), x, y, loss_fn=mse, steps=steps, lr=lr, only=only)
    for name, expected in by_hand(model, x, y, steps, lr, only).items():
        torch.testing.assert_close(adapted[name], expected, **TIGHT)


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_quadratic_in_closed_form(steps):
    problem = Quadratic()
    batch, start = problem.batch(), stack_params(problem.model, 5)
    options = dict(loss_fn=problem.loss, steps=steps, lr=0.3)
    adapted = adapt(problem.model, start, batch.support_x, batch.support_y, **options)
    torch.testing.assert_close(adapted["head.theta"], problem.adapted(steps, 0.3), **TIGHT)


def test_one_rate_per_task_is_each_task_at_its_own_rate():
    model, batch = tiny_model(), regression()
    rates = torch.tensor([-0.1, 0.0, 0.01, 0.1, 0.3], dtype=torch.float64)
    run = lambda x, y, lr: adapt(model, stack_params(model, len(x)), x, y, loss_fn=mse, steps=3, lr=lr)
    together = run(batch.support_x, batch.support_y, rates)
    for i, rate in enumerate(rates.tolist()):
        alone = run(batch.support_x[i : i + 1], batch.support_y[i : i + 1], rate)
        for name in together:
            torch.testing.assert_close(together[name][i], alone[name][0], **TIGHT)


def test_a_learnt_rate_has_a_gradient():
    problem = Quadratic(num_tasks=1)
    batch, lr = problem.batch(), torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    start = stack_params(problem.model, 1)
    adapted = adapt(problem.model, start, batch.support_x, batch.support_y, loss_fn=problem.loss, steps=1, lr=lr)
    (slope,) = torch.autograd.grad(adapted["head.theta"].sum(), lr)
    gradient = problem.H[0, 0] @ (problem.theta - problem.c[0, 0])
    torch.testing.assert_close(slope, -gradient.sum(), **TIGHT)


def test_steps_add_up():
    model, batch = tiny_model(), regression()
    run = lambda params, k: adapt(model, params, batch.support_x, batch.support_y, loss_fn=mse, steps=k, lr=0.1)
    twice, once = run(run(stack_params(model, 5), 2), 3), run(stack_params(model, 5), 5)
    assert all(torch.equal(twice[name], once[name]) for name in once)


def test_order_of_derivative_does_not_change_where_the_loop_ends():
    model, batch = tiny_model(), regression()
    ends = [
        adapt(model, stack_params(model, 5), batch.support_x, batch.support_y, loss_fn=mse, steps=4, lr=0.1,
              second_order=second_order)
        for second_order in (True, False)
    ]  # fmt: skip
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_any_module_equals_the_sequential_one():
    model, batch = tiny_model(), regression()
    other = Backwards(model)
    options = dict(loss_fn=mse, steps=3, lr=0.1)
    expected = adapt(model, stack_params(model, 5), batch.support_x, batch.support_y, **options)
    adapted = adapt(other, stack_params(other, 5), batch.support_x, batch.support_y, **options)
    for name in expected:
        torch.testing.assert_close(adapted[name], expected[name], **TIGHT)
    torch.testing.assert_close(predict(other, adapted, batch.query_x), predict(model, expected, batch.query_x), **TIGHT)


def test_a_convolution_with_batch_norm_equals_a_loop_over_tasks():
    torch.manual_seed(0)
    body = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1),
        nn.BatchNorm2d(3, track_running_stats=False),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
    )
    model = nn.Sequential(OrderedDict(features=body, head=nn.Linear(3 * 4, 2))).double()
    x, y = torch.randn(3, 4, 1, 4, 4).double(), torch.tensor([[0, 1, 0, 1]] * 3)
    adapted = adapt(model, stack_params(model, 3), x, y, loss_fn=cross_entropy, steps=2, lr=0.5)
    for i in range(3):
        own = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
        for _ in range(2):
            loss = nn.functional.cross_entropy(functional_call(model, own, (x[i],)), y[i])
            grads = torch.autograd.grad(loss, list(own.values()))
            own = {name: (p - 0.5 * g).detach().requires_grad_() for (name, p), g in zip(own.items(), grads)}
        for name in own:
            torch.testing.assert_close(adapted[name][i], own[name], **TIGHT)
        out = functional_call(model.features, {n[9:]: p for n, p in own.items() if n.startswith("features")}, (x[i],))
        torch.testing.assert_close(features(model, adapted, x)[i], out, **TIGHT)


def test_float32_same_bits_twice():
    batch = SinusoidTasks().sample(25, generator=torch.Generator().manual_seed(0))
    ends = []
    for _ in range(2):
        model = MLP(seed=3)
        start = stack_params(model, 25)
        ends.append(adapt(model, start, batch.support_x, batch.support_y, loss_fn=mse, steps=5, lr=0.01))
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_select():
    params = {"features.0.weight": 0, "features.0.bias": 0, "head.weight": 0, "headroom.weight": 0}
    assert select(params, None) == list(params)
    assert select(params, "head") == ["head.weight"]  # and not headroom.weight
    assert select(params, ["features.0.bias", "head"]) == ["features.0.bias", "head.weight"]


X, Y = torch.zeros(5, 4, 1), torch.zeros(5, 4, 1)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (dict(steps=-1), ValueError, "steps must be a whole number of at least 0, not -1"),
        (dict(steps=1.5), ValueError, "whole number"),
        (dict(steps=True), ValueError, "whole number"),
        (dict(lr=math.nan), ValueError, "finite"),
        (dict(lr=math.inf), ValueError, "finite"),
        (dict(lr=torch.ones(4)), ValueError, r"one per task \[5\]"),
        (dict(only="tail"), ValueError, "no parameter is 'tail'"),
        (dict(only=["head", "body"]), ValueError, "'body'"),
        (dict(x=X[:4]), ValueError, "stacked for 5 tasks"),
        (dict(y=Y[:4]), ValueError, "stacked for 5 tasks"),
        (dict(y=Y[:, :3]), ValueError, "must agree in tasks and points"),
        (dict(y=Y.expand(5, 4, 2)), ValueError, "one shape"),
        (dict(loss_fn=cross_entropy), ValueError, "labels"),
        (dict(model=nn.Linear(1, 1)), TypeError, "`features` and `head`"),
        (dict(model=nn.Sequential(OrderedDict(features=nn.Identity()))), TypeError, "`features` and `head`"),
    ],
)
def test_what_a_person_may_get_wrong(change, error, says):
    model = MLP()
    right = dict(model=model, params=stack_params(model, 5), x=X, y=Y, loss_fn=mse, steps=1, lr=0.1)
    given = right | change
    with pytest.raises(error, match=says):
        adapt(given.pop("model"), given.pop("params"), given.pop("x"), given.pop("y"), **given)


@pytest.mark.parametrize("count", ["shots", "queries", "num_tasks"])
def test_a_task_needs_points(count):
    with pytest.raises(ValueError, match=f"{count} must be a whole number of at least 1, not 0"):
        SinusoidTasks(**{count: 0})
