"""Bytes saved for backward, against sizes known by hand; the checkpointed loop, against the plain one."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

from course_lib.algorithms import ANIL, MAML
from course_lib.analysis.memory import (
    CheckpointedMAML,
    adapt_checkpointed,
    meta_gradient_bytes,
    saved_bytes,
    seconds_per_call,
)
from course_lib.inner_loop import adapt, predict, stack_params
from course_lib.losses import mse
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks
from tests.gradients import largest_difference, regression, tiny_model


def vector(size: int = 1000) -> torch.Tensor:
    return torch.ones(size, dtype=torch.float64, requires_grad=True)


def sinusoids(num_tasks: int = 5):
    return SinusoidTasks().sample(num_tasks, generator=torch.Generator().manual_seed(0))


# Counting


def test_what_each_operation_saves():
    x = vector()
    assert saved_bytes(lambda: x + 1) == 0
    assert saved_bytes(lambda: x.exp()) == 8000  # its result
    assert saved_bytes(lambda: x.sin()) == 8000  # its argument
    assert saved_bytes(lambda: x.sin(), given=[x]) == 0
    assert saved_bytes(lambda: x.exp().exp().exp()) == 24000


def test_a_storage_counts_once_and_at_its_full_size():
    x = vector()
    assert saved_bytes(lambda: (x.sin(), x.cos(), x.view(10, 100).sin())) == 8000
    assert saved_bytes(lambda: x[:10].sin()) == 8000


def test_what_is_released_counts_no_more():
    x = vector()

    def one_after_the_other():
        for _ in range(5):
            x.exp().sum().backward()  # the graph, and what it saved, is gone before the next

    def all_at_once():
        return sum(x.exp().sum() for _ in range(5))

    assert saved_bytes(one_after_the_other) == 8000
    assert saved_bytes(all_at_once) == 40000


def test_double_backward_works_under_the_counter():
    x = vector(7)

    def second_derivative():
        (g,) = torch.autograd.grad(x.pow(3).sum(), x, create_graph=True)
        (h,) = torch.autograd.grad(g.sum(), x)
        assert torch.equal(h, 6 * x)

    assert saved_bytes(second_derivative) > 0


def test_second_order_bytes_grow_by_the_same_amount_each_step_and_first_order_bytes_do_not():
    model, batch = MLP(seed=0), sinusoids()
    second = [meta_gradient_bytes(MAML(k), model, batch) for k in (1, 2, 3, 10)]
    assert second[2] - second[1] == second[1] - second[0] > 0
    assert second[3] - second[2] == 7 * (second[1] - second[0])
    first = {meta_gradient_bytes(MAML(k, second_order=False), model, batch) for k in (1, 2, 10)}
    assert len(first) == 1


def test_bytes_do_not_depend_on_the_run_and_shrink_with_tasks_at_once():
    model, batch = MLP(seed=0), sinusoids(6)
    whole = meta_gradient_bytes(MAML(3), model, batch)
    assert whole == meta_gradient_bytes(MAML(3), model, batch)
    assert meta_gradient_bytes(MAML(3), model, batch, tasks_at_once=1) < whole / 5


def test_adapting_the_head_alone_saves_less():
    model, batch = MLP(seed=0), sinusoids()
    assert meta_gradient_bytes(ANIL(10), model, batch) < meta_gradient_bytes(MAML(10), model, batch) / 3


# Checkpointing


@pytest.mark.parametrize("steps", [0, 1, 2, 7, 10])
@pytest.mark.parametrize("segments", [None, 1, 3, 20])
def test_checkpointed_loop_has_the_same_parameters_and_gradient(steps, segments):
    model, batch = tiny_model(), regression()
    weights = {n: torch.randn_like(p) for n, p in stack_params(model, 5).items()}

    def gradient(loop, **more):
        params = {n: p.detach().clone().requires_grad_() for n, p in stack_params(model, 5).items()}
        ends = loop(model, params, batch.support_x, batch.support_y, loss_fn=mse, steps=steps, lr=0.2, **more)
        loss = mse(predict(model, ends, batch.query_x), batch.query_y).sum()
        loss = loss + sum((weights[n] * p).sum() for n, p in ends.items())
        return ends, dict(zip(params, torch.autograd.grad(loss, list(params.values()))))

    plain, checkpointed = gradient(adapt), gradient(adapt_checkpointed, segments=segments)
    assert largest_difference(plain[0], checkpointed[0]) == 0
    assert largest_difference(plain[1], checkpointed[1]) < 1e-12


@pytest.mark.parametrize("only", ["head", "features"])
@pytest.mark.parametrize("lr", [0.1, torch.linspace(-0.1, 0.3, 5, dtype=torch.float64)])
def test_checkpointed_loop_with_some_parameters_and_a_rate_per_task(only, lr):
    model, batch, found = tiny_model(), regression(), []
    for loop in (adapt, adapt_checkpointed):
        ends = loop(
            model,
            stack_params(model, 5),
            batch.support_x,
            batch.support_y,
            loss_fn=mse,
            steps=9,
            lr=lr,
            only=only,
        )
        loss = mse(predict(model, ends, batch.query_x), batch.query_y).sum()
        found.append(dict(zip(ends, torch.autograd.grad(loss, list(model.parameters())))))
    assert largest_difference(*found) < 1e-12


@pytest.mark.parametrize("tasks_at_once", [None, 2])
@pytest.mark.parametrize("second_order", [True, False])
def test_checkpointed_maml_is_maml(second_order, tasks_at_once):
    model, batch = tiny_model(), regression()
    grads = [
        method(12, 0.1, second_order).meta_gradient(model, batch, tasks_at_once)[0]
        for method in (MAML, CheckpointedMAML)
    ]
    assert largest_difference(*grads) < 1e-12


def test_checkpointed_loop_saves_less_than_a_third_at_fifty_steps():
    model, batch = MLP(seed=0), sinusoids(25)
    plain, checkpointed = (meta_gradient_bytes(method(50), model, batch) for method in (MAML, CheckpointedMAML))
    assert checkpointed < plain / 3


def test_checkpointed_bytes_grow_like_the_square_root():
    """Four times the steps: plain bytes grow fourfold, checkpointed ones about twofold."""
    model, batch = MLP(seed=0), sinusoids()
    plain, checkpointed = (
        meta_gradient_bytes(method(100), model, batch) / meta_gradient_bytes(method(25), model, batch)
        for method in (MAML, CheckpointedMAML)
    )
    assert 3.5 < plain < 4 and checkpointed < 2.2


def test_checkpointed_loop_says_what_it_cannot_do():
    model, batch = tiny_model(), regression()

    def run(x=batch.support_x, lr=0.1, segments=None, model=model):
        params = stack_params(model, 5)
        return adapt_checkpointed(model, params, x, batch.support_y, loss_fn=mse, steps=4, lr=lr, segments=segments)

    with pytest.raises(ValueError, match="params alone"):
        run(x=batch.support_x.clone().requires_grad_())
    with pytest.raises(ValueError, match="params alone"):
        run(lr=torch.tensor(0.1, dtype=torch.float64, requires_grad=True))
    with pytest.raises(ValueError, match="not a function"):
        run(lr=lambda name, gradient: 0.1)
    for layer in (nn.Dropout(0.1), nn.BatchNorm1d(4)):
        changing = nn.Sequential(OrderedDict(features=nn.Sequential(nn.Linear(1, 4), layer), head=nn.Linear(4, 1)))
        with pytest.raises(ValueError, match="does not do the same twice.*dropout or running statistics"):
            run(model=changing.double())
        run(model=changing.eval())
    with pytest.raises(ValueError, match="segments must be a whole number of at least 1"):
        run(segments=0)
    total = sum(p.sum() for p in run().values())
    with pytest.raises(RuntimeError, match="differentiated only once"):
        torch.autograd.grad(total, list(model.parameters()), create_graph=True)


def test_seconds_of_each_call():
    calls = {"a": 0, "b": 0}

    def call(name):
        calls[name] += 1

    best = seconds_per_call({name: lambda name=name: call(name) for name in calls}, repeats=3)
    assert calls == {"a": 4, "b": 4} and all(0 <= seconds < 1 for seconds in best.values())
