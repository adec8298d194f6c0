"""The meta-gradient of MAML and first-order MAML, in float64, by routes that share nothing with the library's."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.autograd.functional import hessian
from torch.func import functional_call

from course_lib.algorithms import MAML, Learner
from course_lib.algorithms.base import trainable
from course_lib.losses import mse
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks, TaskBatch
from tests.gradients import (
    EVERY_CHUNK,
    TIGHT,
    Quadratic,
    finite_differences,
    gradient,
    largest_difference,
    regression,
    tiny_model,
)


def flatten(params):
    return torch.cat([p.reshape(-1) for p in params.values()])


def unflatten(flat, like):
    sizes = [p.numel() for p in like.values()]
    return {name: part.view_as(p) for (name, p), part in zip(like.items(), flat.split(sizes))}


def path(model, x, y, steps, lr):
    """theta_0 ... theta_k of one task, flat, and the support loss as a function of flat parameters."""
    like = {name: p.detach() for name, p in model.named_parameters()}
    loss = lambda flat: (functional_call(model, unflatten(flat, like), (x,)) - y).square().mean()
    points = [flatten(like)]
    for _ in range(steps):
        points.append(points[-1] - lr * torch.func.grad(loss)(points[-1]))
    return points, loss, like


@pytest.mark.parametrize("steps", [0, 1, 5])
@pytest.mark.parametrize("lr", [0.2, -0.2])
def test_finite_differences(steps, lr):
    model, batch = tiny_model(), regression()
    learner = MAML(steps, lr)
    grads, _ = learner.meta_gradient(model, batch)
    for name, parameter in model.named_parameters():
        expected = finite_differences(lambda: learner.meta_loss(model, batch), parameter)
        torch.testing.assert_close(grads[name], expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("steps", [0, 1, 5])
@pytest.mark.parametrize("second_order", [True, False])
def test_quadratic_in_closed_form(steps, second_order):
    problem = Quadratic()
    grads, info = MAML(steps, 0.3, second_order, problem.loss).meta_gradient(problem.model, problem.batch())
    torch.testing.assert_close(grads["head.theta"], problem.meta_gradient(steps, 0.3, second_order), **TIGHT)
    distance = problem.adapted(steps, 0.3) - problem.c[1]
    losses = 0.5 * torch.einsum("tp,tpq,tq->t", distance, problem.H[1], distance)
    torch.testing.assert_close(info["task_losses"], losses, **TIGHT)
    torch.testing.assert_close(info["loss"], losses.mean(), **TIGHT)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_product_of_jacobians(steps):
    """d L(theta_k) / d theta_0 = (I - alpha H_0) ... (I - alpha H_{k-1}) grad L(theta_k), H_t row by row."""
    model, batch, lr = tiny_model(), regression(), 0.2
    expected = 0
    for i in range(batch.num_tasks):
        points, loss, like = path(model, batch.support_x[i], batch.support_y[i], steps, lr)
        query = path(model, batch.query_x[i], batch.query_y[i], 0, lr)[1]
        g = torch.func.grad(query)(points[-1])
        for point in reversed(points[:-1]):
            g = g - lr * hessian(loss, point) @ g
        expected = expected + g / batch.num_tasks
    grads, _ = MAML(steps, lr).meta_gradient(model, batch)
    assert largest_difference(grads, unflatten(expected, like)) < 1e-12


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_first_order_is_the_gradient_at_the_adapted_point(steps):
    model, batch, lr = tiny_model(), regression(), 0.2
    expected = 0
    for i in range(batch.num_tasks):
        points, _, like = path(model, batch.support_x[i], batch.support_y[i], steps, lr)
        query = path(model, batch.query_x[i], batch.query_y[i], 0, lr)[1]
        end = points[-1].clone()
        expected = expected + finite_differences(lambda: query(end), end) / batch.num_tasks
    grads, _ = MAML(steps, lr, second_order=False).meta_gradient(model, batch)
    assert largest_difference(grads, unflatten(expected, like)) < 1e-8


def test_first_and_second_order_differ_only_where_they_should():
    model, batch = tiny_model(), regression()
    both = lambda k, lr: [MAML(k, lr, order).meta_gradient(model, batch)[0] for order in (True, False)]
    assert largest_difference(*both(0, 0.2)) < 1e-15
    assert largest_difference(*both(5, 0.0)) < 1e-15
    assert largest_difference(*both(1, 0.2)) > 1e-3


@pytest.mark.parametrize("tasks_at_once", EVERY_CHUNK)
@pytest.mark.parametrize("second_order", [True, False])
@pytest.mark.parametrize("steps", [0, 1, 5])
def test_the_result_does_not_depend_on_tasks_at_once(tasks_at_once, second_order, steps):
    model, batch = tiny_model(), regression()
    learner = MAML(steps, 0.2, second_order)
    expected = gradient(learner.meta_loss(model, batch), model)
    grads, info = learner.meta_gradient(model, batch, tasks_at_once)
    assert largest_difference(grads, expected) < 1e-14
    torch.testing.assert_close(info["task_losses"], learner.visit(model, batch).losses.detach(), **TIGHT)
    assert not info["loss"].requires_grad and not any(g.requires_grad for g in grads.values())


def test_no_steps_is_a_zero_rate_is_supervised_training_on_the_query_points():
    model, batch = tiny_model(), regression()
    x, y = batch.query_x.flatten(0, 1), batch.query_y.flatten(0, 1)
    supervised = gradient((model(x) - y).square().mean(), model)
    assert largest_difference(MAML(0, 0.2).meta_gradient(model, batch)[0], supervised) < 1e-12
    assert largest_difference(MAML(5, 0.0).meta_gradient(model, batch)[0], supervised) < 1e-12


def test_batch_is_the_mean_of_its_tasks():
    model, batch, learner = tiny_model(), regression(), MAML(2, 0.2)
    alone = [learner.meta_gradient(model, batch[i : i + 1])[0] for i in range(5)]
    mean = {name: torch.stack([g[name] for g in alone]).mean(0) for name in alone[0]}
    assert largest_difference(learner.meta_gradient(model, batch)[0], mean) < 1e-14


def test_any_module():
    class Own(nn.Module):
        """Shares its weights between layers, and has a parameter of its own."""

        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(nn.Linear(1, 3), nn.Tanh(), nn.Linear(3, 3), nn.Tanh())
            self.head = nn.Linear(3, 1)
            self.scale = nn.Parameter(torch.tensor(1.5))

        def forward(self, x):
            hidden = self.features(x)
            return self.scale * self.head(hidden + self.features[2](hidden))

    torch.manual_seed(0)
    model, batch, learner = Own().double(), regression(), MAML(2, 0.1)
    grads, _ = learner.meta_gradient(model, batch)
    for name, parameter in model.named_parameters():
        expected = finite_differences(lambda: learner.meta_loss(model, batch), parameter)
        torch.testing.assert_close(grads[name], expected, rtol=1e-6, atol=1e-8)


def test_same_seed_same_bits():
    batch = SinusoidTasks().sample(25, generator=torch.Generator().manual_seed(0))
    first, second = (MAML(5, 0.01).meta_gradient(MLP(seed=1), batch)[0] for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_gradients_have_the_names_that_the_outer_loop_trains():
    model, learner = tiny_model(), MAML()
    grads, _ = learner.meta_gradient(model, regression())
    assert grads.keys() == trainable(learner, model).keys() == dict(model.named_parameters()).keys()


def test_settings_describe_the_learner():
    for learner in (MAML(3, -0.02, False), MAML(1, torch.tensor([0.5, 0.25]))):
        again = MAML.from_settings(learner.settings())
        assert again.settings() == learner.settings() and isinstance(again, Learner)
    assert again.inner_lr.tolist() == [0.5, 0.25] and again.loss_fn is mse


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (dict(inner_steps=-1), "inner_steps must be a whole number of at least 0"),
        (dict(inner_lr=float("nan")), "inner_lr must be finite"),
        (dict(inner_lr=torch.tensor([0.1, float("inf")])), "inner_lr must be finite"),
        (dict(head="stored"), "needs sizes"),
        (dict(head="fresh"), "there is no such way to begin"),
    ],
)
def test_what_a_person_may_get_wrong(wrong, says):
    with pytest.raises(ValueError, match=says):
        MAML(**wrong)


def test_what_a_person_may_pass_wrong():
    batch, learner = regression(), MAML()
    with pytest.raises(ValueError, match="tasks_at_once must be a whole number of at least 1"):
        learner.meta_gradient(tiny_model(), batch, tasks_at_once=0)
    with pytest.raises(TypeError, match="`features` and `head`"):
        learner.meta_gradient(nn.Linear(1, 1).double(), batch)
    with pytest.raises(ValueError, match="must be the number of tasks, but it is {'support_x': 3"):
        TaskBatch(batch.support_x[:3], batch.support_y[:3], batch.query_x, batch.query_y)
