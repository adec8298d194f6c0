"""Checks for notebook 01, adapting at test time."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.kit.checks import Verdict, answered, attempt, compare, exercise, number, right, run, wrong
from course_lib.tasks import SinusoidTasks
from course_lib.tasks.sinusoid import AMPLITUDE, ZERO_PREDICTOR_MSE

STEP_HINTS = {
    "NoneType": (
        "Only the w you were given keeps its gradient in `.grad`; the w of the second step was computed, and its "
        "`.grad` stays None. `(grad,) = torch.autograd.grad(loss, w)` works at every step."
    ),
    "does not require grad": (
        "Under `no_grad`, or after `detach`, the new w no longer takes part in gradients, so the second step has none. "
        "`w = w - lr * grad` makes a new w and needs no `no_grad`; or end each step with `w.requires_grad_()`."
    ),
    "in-place operation": "`w -= ...` changes the w you were given. Make a new one: `w = w - lr * grad`.",
}


@exercise("01")
def check_fine_tune(fine_tune) -> Verdict:
    """``fine_tune(w, x, y, steps, lr) -> w`` for y = x w with mean squared error, x [S, D], w [D]."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(8, 3, generator=generator, dtype=torch.float64)
    y = torch.randn(8, generator=generator, dtype=torch.float64)
    start = torch.randn(3, generator=generator, dtype=torch.float64)
    result, (w, *_) = attempt(fine_tune, start.clone().requires_grad_(), x, y, 4, 0.1, hints=STEP_HINTS)
    answered(result)
    if not torch.equal(w, start):
        return wrong("Your steps changed the initialisation itself, which the next task needs. Make a new w.")
    once = _descent(start, x, y, 1, 0.1)
    mistakes = [
        (start, "Your steps have not moved the weights: return the new ones."),
        (once, "That is the result of one step. Repeat it `steps` times, each from the new w."),
        (_descent(0 * start, x, y, 4, 0.1), "You started from zero. Start from the w that is given."),
        (_descent(start, x, y, 4, -0.1), "The steps go uphill: mind the sign."),
        (_descent(start, x, y, 4, 0.8), "You summed the squared errors over points; the loss is their mean."),
        (_descent(start, x, y, 4, 0.05), "A factor of two is missing: the derivative of a square."),
        (start + 4 * (once - start), "All your gradients are taken at the initialisation. Take each at the newest w."),
        (
            _descent(start, x, y, 4, 0.1, piled_up=True),
            "`backward` adds to `.grad` what was there before: begin each step with `w.grad = None`.",
        ),
    ]
    return compare(result, _descent(start, x, y, 4, 0.1), mistakes, "This is the inner loop of every notebook to come.")


def _descent(w: Tensor, x: Tensor, y: Tensor, steps: int, lr: float, piled_up: bool = False) -> Tensor:
    before = torch.zeros_like(w)
    for _ in range(steps):
        grad = 2 / len(x) * x.T @ (x @ w - y) + before
        w, before = w - lr * grad, grad if piled_up else before
    return w


@exercise("01")
def check_zero_predictor(answer: float) -> Verdict:
    """The mean squared error of predicting zero, averaged over the task family."""
    answer = number(answer)
    mean_square = 2 * ZERO_PREDICTOR_MSE
    mistakes = {
        mean_square: "That is E[A^2]. The mean of sin^2 is still missing.",
        (sum(AMPLITUDE) / 2) ** 2 / 2: "You squared the mean amplitude. The mean of a square is larger.",
        ZERO_PREDICTOR_MSE / 2: "The mean of sin^2 over a uniform phase is 1/2, not 1/4.",
    }
    if abs(answer - ZERO_PREDICTOR_MSE) < 0.01:
        return right(f"E[A^2] / 2 = {ZERO_PREDICTOR_MSE:.4f}: compare every error in this course with it.")
    for value, hint in mistakes.items():
        if abs(answer - value) < 0.01:
            return wrong(hint)
    return wrong("Average (A sin(x - phase))^2: the phase is uniform over half a period, A on [0.1, 5].")


@exercise("01")
def check_oracle(oracle) -> Verdict:
    """``oracle(x, y, new_x) -> new_y`` for one task, x, y, new_x [N]: it knows that y = a sin x + b cos x."""
    batch = SinusoidTasks(shots=3, queries=50).sample(5, generator=torch.Generator().manual_seed(1))
    for task in range(5):
        x, y, new_x, new_y = (t[task, :, 0].double() for t in _parts(batch))
        result = run(oracle, x, y, new_x)
        verdict = compare(result, new_y, [(torch.zeros_like(new_y), "That predicts zero.")])
        if not verdict.passed and "largest difference" in verdict.message:
            return wrong("Fit two numbers: y = a sin x + b cos x is linear, so least squares finds them.")
        if not verdict.passed:
            return verdict
    return right("Three points, no error: two perfect features are all this family needs.")


def _parts(batch) -> tuple[Tensor, ...]:
    return batch.support_x, batch.support_y, batch.query_x, batch.query_y
