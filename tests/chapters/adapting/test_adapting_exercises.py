"""The checks of notebook 01 confirm right answers and turn each common mistake into its hint."""

import pytest
import torch

from course_lib.chapters.adapting import exercises as adapting
from course_lib.tasks.sinusoid import ZERO_PREDICTOR_MSE


def fine_tune(w, x, y, steps, lr, *, total=False, sign=-1, once=False, zero=False):
    w = 0 * w if zero else w
    for _ in range(1 if once else steps):
        error = (x @ w - y).square()
        (grad,) = torch.autograd.grad(error.sum() if total else error.mean(), w)
        w = w + sign * lr * grad
    return w


@pytest.mark.parametrize(
    ("options", "passed", "message"),
    [
        ({}, True, "inner loop"),
        ({"once": True}, False, "Repeat it"),
        ({"sign": 1}, False, "uphill"),
        ({"total": True}, False, "their mean"),
        ({"zero": True}, False, "started from zero"),
    ],
)
def test_fine_tune(options, passed, message):
    verdict = adapting.check_fine_tune(lambda *a: fine_tune(*a, **options))
    assert verdict.passed is passed and message in str(verdict)


def test_fine_tune_unanswered_and_broken():
    assert adapting.check_fine_tune(lambda *a: ...).passed is None
    verdict = adapting.check_fine_tune(lambda w, x, y, steps, lr: w @ y)
    assert verdict.passed is False and "raised RuntimeError" in str(verdict)


def in_place(w, x, y, steps, lr):
    for _ in range(steps):
        (grad,) = torch.autograd.grad((x @ w - y).square().mean(), w)
        with torch.no_grad():
            w -= lr * grad
    return w


def from_the_start_only(w, x, y, steps, lr):
    return w - steps * (w - fine_tune(w, x, y, 1, lr))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (in_place, "changed the initialisation"),
        (from_the_start_only, "at the newest w"),
        (lambda w, *rest: w, "have not moved"),
    ],
)
def test_fine_tune_from_where_the_weights_are(answer, message):
    verdict = adapting.check_fine_tune(answer)
    assert verdict.passed is False and message in str(verdict)


def by_backward(w, x, y, steps, lr, forget=True, own_copy=True):
    """Steps by ``loss.backward()`` and ``w.grad``: right with a leaf of its own whose gradient is forgotten."""
    w = w.detach().clone().requires_grad_() if own_copy else w
    for _ in range(steps):
        (x @ w - y).square().mean().backward()
        with torch.no_grad():
            w -= lr * w.grad
        w.grad = None if forget else w.grad
    return w


def new_tensor_by_backward(w, x, y, steps, lr):
    for _ in range(steps):
        (x @ w - y).square().mean().backward()
        w = w - lr * w.grad
    return w


def new_tensor_under_no_grad(w, x, y, steps, lr):
    for _ in range(steps):
        (grad,) = torch.autograd.grad((x @ w - y).square().mean(), w)
        with torch.no_grad():
            w = w - lr * grad
    return w


def in_place_of_a_leaf(w, x, y, steps, lr):
    (grad,) = torch.autograd.grad((x @ w - y).square().mean(), w)
    w -= lr * grad
    return w


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize(
    ("answer", "passed", "message"),
    [
        (by_backward, True, "inner loop"),
        (lambda *a: by_backward(*a, forget=False), False, "begin each step with `w.grad = None`"),
        (lambda *a: by_backward(*a, own_copy=False), False, "changed the initialisation"),
        (new_tensor_by_backward, False, "its `.grad` stays None"),
        (new_tensor_under_no_grad, False, "needs no `no_grad`"),
        (in_place_of_a_leaf, False, "Make a new one: `w = w - lr * grad`"),
    ],
)
def test_fine_tune_by_every_way_of_taking_a_gradient(answer, passed, message):
    verdict = adapting.check_fine_tune(answer)
    assert verdict.passed is passed and message in str(verdict)


@pytest.mark.parametrize(
    ("answer", "passed", "message"),
    [
        (..., None, "Replace the dots"),
        (ZERO_PREDICTOR_MSE, True, "4.2517"),
        (2 * ZERO_PREDICTOR_MSE, False, r"E[A^2]"),
        (2.55**2 / 2, False, "mean amplitude"),
        (1.0, False, "Average"),
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
    assert "predicts zero" in str(adapting.check_oracle(lambda x, y, new_x: 0 * new_x))
    assert "least squares" in str(adapting.check_oracle(lambda x, y, new_x: new_x.sin()))
    assert adapting.check_oracle(lambda x, y, new_x: ...).passed is None
