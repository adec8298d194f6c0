"""The checks of notebook 01 confirm right answers and turn each common mistake into its hint."""

import math

import numpy as np
import pytest
import torch

from course_lib.chapters.adapting import adapting as demo
from course_lib.chapters.adapting import exercises as adapting
from course_lib.chapters.adapting import solutions
from course_lib.tasks.sinusoid import ZERO_PREDICTOR_MSE, sinusoid


def residual(theta, x, y, phase=0, amplitude=1, shift=-1):
    return theta[amplitude] * torch.sin(x + shift * theta[phase]) - y


def error(*arguments):
    return residual(*arguments).square()


def fine_tune(theta, x, y, steps, alpha, *, size=torch.square, sign=-1, once=False, more=0, **places):
    for _ in range(1 if once else steps + more):
        (grad,) = torch.autograd.grad(size(residual(theta, x, y, **places)).mean(), theta)
        theta = theta + sign * alpha * grad
    return theta


@pytest.mark.parametrize(
    ("options", "passed", "message"),
    [
        ({}, True, "inner loop"),
        ({"once": True}, False, "Repeat it"),
        ({"sign": 1}, False, "uphill"),
        ({"phase": 1, "amplitude": 0}, False, "theta[0] is the phase"),
        ({"shift": 1}, False, "The phase is taken off"),
        ({"size": lambda errors: errors}, False, "Square the errors"),
        ({"size": torch.abs}, False, "absolute error"),
        ({"size": lambda errors: errors.square().mean().sqrt()}, False, "No root"),
        ({"more": -1}, False, "one step too few"),
        ({"more": 1}, False, "one step too many"),
    ],
)
def test_fine_tune(options, passed, message):
    verdict = adapting.check_fine_tune(lambda *a: fine_tune(*a, **options))
    assert verdict.passed is passed and message in str(verdict)


def test_fine_tune_unanswered_and_broken():
    assert adapting.check_fine_tune(lambda *a: ...).passed is None
    verdict = adapting.check_fine_tune(lambda theta, x, y, steps, alpha: theta @ y)
    assert verdict.passed is False and "raised RuntimeError" in str(verdict)


def from_the_start_only(theta, x, y, steps, alpha):
    return theta - steps * (theta - fine_tune(theta, x, y, 1, alpha))


def by_backward(theta, x, y, steps, alpha, forget=True, own_copy=True):
    """Steps by ``loss.backward()`` and ``.grad``: right with a leaf of its own whose gradient is forgotten."""
    theta = theta.detach().clone().requires_grad_() if own_copy else theta
    for _ in range(steps):
        error(theta, x, y).mean().backward()
        with torch.no_grad():
            theta -= alpha * theta.grad
        theta.grad = None if forget else theta.grad
    return theta


def new_tensor_under_no_grad(theta, x, y, steps, alpha):
    for _ in range(steps):
        (grad,) = torch.autograd.grad(error(theta, x, y).mean(), theta)
        with torch.no_grad():
            theta = theta - alpha * grad
    return theta


def in_place_of_a_leaf(theta, x, y, steps, alpha):
    (grad,) = torch.autograd.grad(error(theta, x, y).mean(), theta)
    theta -= alpha * grad
    return theta


def the_tuple_itself(theta, x, y, steps, alpha):
    return theta - alpha * torch.autograd.grad(error(theta, x, y).mean(), theta)


def one_loss_for_all_steps(theta, x, y, steps, alpha):
    loss = error(theta, x, y).mean()
    for _ in range(steps):
        theta = theta - alpha * torch.autograd.grad(loss, theta, retain_graph=True)[0]
    return theta


def a_loss_for_each_point(theta, x, y, steps, alpha):
    return theta - alpha * torch.autograd.grad(error(theta, x, y), theta)[0]


def flag_after_a_step(theta, x, y, steps, alpha):
    for _ in range(steps):
        theta.requires_grad = True
        theta = theta - alpha * torch.autograd.grad(error(theta, x, y).mean(), theta)[0]
    return theta


def without_the_rate(theta, x, y, steps, alpha):
    return fine_tune(theta, x, y, steps, 1.0)


def by_math(theta, x, y, steps, alpha):
    return theta - alpha * (theta[1] * math.sin(x - theta[0]) - y).mean()


def the_loss(theta, x, y, steps, alpha):
    return error(fine_tune(theta, x, y, steps, alpha), x, y).mean()


def by_numpy(theta, x, y, steps, alpha):
    return theta - alpha * (theta[1] * np.sin(x - theta[0]) - y).mean()


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor", "ignore:Converting a tensor with requires_grad")
@pytest.mark.parametrize(
    ("answer", "passed", "message"),
    [
        (by_backward, True, "inner loop"),
        (lambda *a: by_backward(*a, forget=False), False, "begin each step with `theta.grad = None`"),
        (lambda *a: by_backward(*a, own_copy=False), False, "changed the initialisation"),
        (new_tensor_under_no_grad, False, "needs no `no_grad`"),
        (in_place_of_a_leaf, False, "Make a new one"),
        (from_the_start_only, False, "at the newest theta"),
        (lambda theta, *rest: theta, False, "have not moved"),
        (the_tuple_itself, False, "returns a tuple"),
        (one_loss_for_all_steps, False, "Compute it anew"),
        (a_loss_for_each_point, False, "one number"),
        (flag_after_a_step, False, "nor need it be"),
        (by_numpy, False, "`torch.sin`"),
        (by_math, False, "`torch.sin`"),
        (without_the_rate, False, "The rate is missing"),
        (the_loss, False, "as a loss is"),
    ],
)
def test_fine_tune_by_every_way_of_taking_a_gradient(answer, passed, message):
    verdict = adapting.check_fine_tune(answer)
    assert verdict.passed is passed and message in str(verdict)


@pytest.mark.parametrize(
    ("answer", "passed", "message"),
    [
        (..., None, "Replace the dots"),
        ((..., ...), None, "Replace the dots"),
        ((1.0, 1.75), True, "1 - alpha"),
        (torch.tensor([1.0, 1.75]), True, "1 - alpha"),
        (np.array([1.0, 1.75]), True, "1 - alpha"),
        ((4.0, 4.0), False, "whole way"),
        ((3.0, 2.25), False, "way left to c"),
        ((1.0, 1.5), False, "put theta = 1"),
        ((0.5, 1.0), False, "theta - alpha"),
        (1.0, False, "Two numbers"),
    ],
)
def test_a_step_by_hand(answer, passed, message):
    verdict = adapting.check_by_hand(answer)
    assert verdict.passed is passed and message in str(verdict)


def test_the_solutions_pass():
    assert adapting.check_fine_tune.solution(solutions.fine_tune).passed
    assert adapting.check_oracle.solution(solutions.oracle).passed
    assert adapting.check_zero_predictor.solution((5**3 - 0.1**3) / (3 * 4.9) / 2).passed
    assert adapting.check_open.solution("a rate of 0.1 breaks it").passed
    assert adapting.check_open.solution(...).passed is None


@pytest.mark.parametrize(
    ("answer", "passed", "message"),
    [
        (..., None, "Replace the dots"),
        (ZERO_PREDICTOR_MSE, True, "4.2517"),
        (5**2 / 6, False, "begins at 0.1"),
        (4.9**2 / 24, False, "variance"),
        (0, False, "mean of its *square*"),
        (4.3, False, "integrate"),
        (7.0, False, "Average"),
    ],
)
def test_zero_predictor(answer, passed, message):
    verdict = adapting.check_zero_predictor(answer)
    assert verdict.passed is passed and message in str(verdict)


def test_oracle():
    def oracle(x, y, new_x):
        basis = lambda x: torch.stack([x.sin(), x.cos()], 1)
        return basis(new_x) @ torch.linalg.lstsq(basis(x), y[:, None]).solution[:, 0]

    assert adapting.check_oracle(oracle).passed

    def in_rows(x, y, new_x):
        return torch.linalg.lstsq(torch.stack([x.sin(), x.cos()]), y[:, None]).solution

    assert "is a column" in str(adapting.check_oracle(lambda *a: oracle(*a)[:, None]))
    assert "dim=1" in str(adapting.check_oracle(in_rows))
    assert "predicts zero" in str(adapting.check_oracle(lambda x, y, new_x: 0 * new_x))
    assert "least squares" in str(adapting.check_oracle(lambda x, y, new_x: new_x.sin()))
    assert adapting.check_oracle(lambda x, y, new_x: ...).passed is None


@pytest.mark.parametrize("inner_lr, fewest, most", [(0.02, 0, 1), (0.05, 6, 8)])
def test_the_open_experiments_answer_holds_on_other_draws(inner_lr, fewest, most):
    behind = 0
    for draw in range(1000, 1008):
        *_, fits, _ = demo.fine_tune(demo.drawn_points(10, draw), inner_lr, amplitude=3.0, phase=1.0)  # [51, 3, G]
        truth = sinusoid(demo.GRID, torch.tensor([3.0]), torch.tensor([1.0]))[0, :, 0]  # [G]
        random, _, maml = (fits[50] - truth).square().mean(-1).nan_to_num(torch.inf)
        behind += bool(random < maml)
    assert fewest <= behind <= most
