"""Implicit MAML in float64: against the unrolled loop, a dense solve, finite differences and closed forms."""

from __future__ import annotations

import shutil
import warnings

import pytest
import torch
from torch import nn

from course_lib.algorithms import IMAML, MAML
from course_lib.algorithms.implicit import conjugate_gradients
from course_lib.analysis.curvature import Curvature
from course_lib.analysis.memory import meta_gradient_bytes
from course_lib.engine.compiler import compiler_name
from course_lib.evaluation import evaluate
from course_lib.inner_loop import flatten, stack_params, unflatten
from course_lib.losses import mse
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks
from course_lib.training import make_meta_gradient, meta_train
from tests.gradients import (
    EVERY_CHUNK,
    TIGHT,
    Quadratic,
    finite_differences,
    largest_difference,
    regression,
    tiny_model,
)

CONVERGED = dict(inner_steps=150, inner_lr=0.25, lam=2.0, cg_steps=40)


class Unrolled(IMAML):
    """The same proximal steps, all of them kept and differentiated."""

    def adapt(self, model, x, y, start=None):
        start = here = stack_params(model, len(x)) if start is None else start
        for _ in range(self.inner_steps):
            stepped = MAML(1, self.inner_lr, loss_fn=self.loss_fn).adapt(model, x, y, here)
            pull = self.inner_lr * self.lam
            here = {name: (stepped[name] + pull * start[name]) / (1 + pull) for name in here}
        return here


def gradients(learner, model=None, batch=None):
    return learner.meta_gradient(model or tiny_model(), batch or regression())[0]


def test_the_inner_loop_ends_where_the_spring_and_the_loss_pull_alike():
    model, batch, learner = tiny_model(), regression(), IMAML(**CONVERGED)
    adapted = learner.adapt(model, batch.support_x, batch.support_y)
    here = Curvature(model, adapted, batch.support_x, batch.support_y, mse)
    start = stack_params(model, batch.num_tasks)
    force = learner.lam * (flatten(start, list(start)) - flatten(adapted, list(start)))
    torch.testing.assert_close(force, here.gradient, rtol=1e-8, atol=1e-10)


def test_the_unrolled_gradient_comes_nearer_with_every_inner_step():
    apart = []
    for steps in (5, 10, 20, 40, 80, 160):
        settings = CONVERGED | {"inner_steps": steps}
        apart.append(largest_difference(gradients(IMAML(**settings)), gradients(Unrolled(**settings))))
    assert all(later < earlier / 2 for earlier, later in zip(apart, apart[1:])) and apart[-1] < 1e-11


def test_a_dense_solve():
    model, batch, learner = tiny_model(), regression(), IMAML(**CONVERGED)
    adapted = learner.adapt(model, batch.support_x, batch.support_y)
    support = Curvature(model, adapted, batch.support_x, batch.support_y, mse)
    query = Curvature(model, adapted, batch.query_x, batch.query_y, mse)
    matrix = torch.eye(query.gradient.shape[1]).double() + support.hessian() / learner.lam  # [T, P, P]
    v = torch.linalg.solve(matrix, query.gradient).mean(0)[None]  # [1, P]
    like = stack_params(model, 1)
    expected = {name: part[0] for name, part in unflatten(v, like, list(like)).items()}
    assert largest_difference(gradients(learner, model, batch), expected) < 1e-10


def test_finite_differences():
    model, batch, learner = tiny_model(), regression(), IMAML(**CONVERGED)
    grads = gradients(learner, model, batch)
    for name, parameter in model.named_parameters():
        expected = finite_differences(lambda: learner.meta_loss(model, batch), parameter)
        torch.testing.assert_close(grads[name], expected, rtol=1e-6, atol=1e-8)


def test_features_learn_through_a_head_that_alone_adapts():
    class HeadOnly(IMAML):
        only = "head"

    model, batch, learner = tiny_model(), regression(), HeadOnly(**CONVERGED)
    grads = gradients(learner, model, batch)
    for name, parameter in model.named_parameters():
        expected = finite_differences(lambda: learner.meta_loss(model, batch), parameter)
        torch.testing.assert_close(grads[name], expected, rtol=1e-6, atol=1e-8)


def test_what_is_frozen_stays_and_the_rest_is_right():
    model, batch, learner = tiny_model(), regression(), IMAML(**CONVERGED)
    model.features.requires_grad_(False)
    grads = gradients(learner, model, batch)
    assert set(grads) == {"head.weight", "head.bias"}
    expected = finite_differences(lambda: learner.meta_loss(model, batch), model.head.weight)
    torch.testing.assert_close(grads["head.weight"], expected, rtol=1e-6, atol=1e-8)


def test_quadratic_in_closed_form():
    """theta' = (H + lambda I)^-1 (H c + lambda theta), and its Jacobian is lambda (H + lambda I)^-1."""
    problem, lam = Quadratic(), 0.7
    learner = IMAML(4000, 0.2, lam, cg_steps=problem.size, loss_fn=problem.loss)
    H, c = problem.H[0], problem.c[0]
    inverse = torch.linalg.inv(H + lam * torch.eye(problem.size).double())
    end = torch.einsum("tpq,tq->tp", inverse, torch.einsum("tpq,tq->tp", H, c) + lam * problem.theta)
    g = torch.einsum("tpq,tq->tp", problem.H[1], end - problem.c[1])
    expected = lam * torch.einsum("tpq,tq->tp", inverse, g).mean(0)
    grads = gradients(learner, problem.model, problem.batch())
    torch.testing.assert_close(grads["head.theta"], expected, **TIGHT)


def test_without_conjugate_gradients_it_is_first_order():
    model, batch = tiny_model(), regression()
    learner = IMAML(**CONVERGED | {"cg_steps": 0})
    adapted = learner.adapt(model, batch.support_x, batch.support_y)
    g = Curvature(model, adapted, batch.query_x, batch.query_y, mse).gradient.mean(0)[None]
    like = stack_params(model, 1)
    expected = {name: part[0] for name, part in unflatten(g, like, list(like)).items()}
    assert largest_difference(gradients(learner, model, batch), expected) < 1e-14


def test_no_inner_step_is_supervised_training_and_so_is_a_spring_without_give():
    supervised = gradients(MAML(0))
    assert largest_difference(gradients(IMAML(0)), supervised) < 1e-14
    assert largest_difference(gradients(IMAML(5, 0.1, lam=1e9)), supervised) < 1e-7


@pytest.mark.parametrize("tasks_at_once", EVERY_CHUNK)
def test_the_result_does_not_depend_on_tasks_at_once(tasks_at_once):
    model, batch, learner = tiny_model(), regression(), IMAML(20, 0.1)
    expected = gradients(learner, model, batch)
    assert largest_difference(learner.meta_gradient(model, batch, tasks_at_once)[0], expected) < 1e-14


def test_memory_does_not_grow_with_the_inner_steps():
    batch = SinusoidTasks(10, 10).sample(25, generator=torch.Generator().manual_seed(0))
    few, many = (meta_gradient_bytes(IMAML(k, lam=50.0), MLP(seed=0), batch) for k in (1, 50))
    assert few == many < meta_gradient_bytes(MAML(5), MLP(seed=0), batch)


def test_conjugate_gradients_on_known_matrices():
    g = torch.Generator().manual_seed(0)
    root = torch.randn(4, 6, 6, generator=g, dtype=torch.float64)
    matrix, right = root @ root.mT + torch.eye(6), torch.randn(4, 6, generator=g, dtype=torch.float64)
    times = lambda v: torch.einsum("tpq,tq->tp", matrix, v)
    v, lowest = conjugate_gradients(times, right, 6)
    torch.testing.assert_close(times(v), right, rtol=1e-8, atol=1e-8)
    longer, _ = conjugate_gradients(times, right, 60)  # converged: it stays, without a division by zero
    torch.testing.assert_close(longer, v, rtol=1e-8, atol=1e-8)
    assert (lowest > 0).all() and (lowest >= torch.linalg.eigvalsh(matrix)[:, 0] - 1e-9).all()
    zero, _ = conjugate_gradients(times, 0 * right, 5)
    assert zero.eq(0).all()


def test_a_matrix_that_is_not_positive_definite_is_told_and_stops_there():
    problem = Quadratic()
    problem.H[0, 2] = torch.diag(torch.tensor([1.0, 2.0, -5.0]).double())  # of one task of five
    learner = IMAML(1, 0.01, lam=2.0, cg_steps=3, loss_fn=problem.loss)
    with pytest.warns(UserWarning, match=r"not positive definite in 1 of 5 tasks: .* curves down by .* lam = 2\."):
        grads = gradients(learner, problem.model, problem.batch())
    assert grads["head.theta"].isfinite().all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gradients(learner, problem.model, problem.batch())  # told once
        gradients(IMAML(1, 0.01, lam=6.0, cg_steps=3, loss_fn=problem.loss), problem.model, problem.batch())


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (dict(lam=0.0), "lam must be positive"),
        (dict(lam=float("nan")), "lam must be positive"),
        (dict(cg_steps=-1), "cg_steps must be a whole number"),
        (dict(inner_lr=-0.01), "inner_lr must be positive"),
        (dict(inner_lr=nn.Parameter(torch.tensor(0.1))), "does not depend on the steps"),
    ],
)
def test_what_a_person_may_get_wrong(wrong, says):
    with pytest.raises(ValueError, match=says):
        IMAML(**wrong)


def test_an_evaluation_does_not_climb():
    with pytest.raises(ValueError, match="inner_lr must be positive"):
        evaluate(IMAML(inner_steps=2), MLP(), SinusoidTasks(), num_tasks=2, lr=-0.01)


def test_a_second_derivative_is_refused():
    model, batch = tiny_model(), regression()
    loss = IMAML(5, 0.1).meta_loss(model, batch)
    with pytest.raises(RuntimeError, match="differentiated only once"):
        torch.autograd.grad(loss, list(model.parameters()), create_graph=True)


def test_the_settings_describe_the_learner():
    learner = IMAML(7, 0.05, lam=3.0, cg_steps=2)
    assert IMAML.from_settings(learner.settings()).settings() == learner.settings()


def test_it_trains_and_is_judged_by_its_own_inner_loop():
    tasks, learner = SinusoidTasks(), IMAML()
    model, history = meta_train(learner, MLP(seed=0), tasks, iterations=200, progress=False)
    assert sum(history.loss[-50:]) < 0.9 * sum(history.loss[:50])
    result = evaluate(learner, model, tasks, num_tasks=50, steps=[0, 3])
    fresh = tasks.sample(50, generator=torch.Generator().manual_seed(0))
    assert result.mean[1] == pytest.approx(IMAML(3).meta_loss(model, fresh).item(), rel=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which(compiler_name()), reason="needs a C++ compiler")
def test_compiled_it_is_the_same():
    model, batch, learner = tiny_model(), regression(), IMAML(1, 0.1, cg_steps=1)
    compiled = make_meta_gradient(learner, model, compile=True)(batch)[0]
    assert largest_difference(gradients(learner, model, batch), compiled) < 1e-12
