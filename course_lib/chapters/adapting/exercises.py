"""Checks for notebook 01, adapting at test time."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.chapters.adapting import solutions
from course_lib.kit.checks import (
    WAITING,
    Verdict,
    answered,
    attempt,
    compare,
    exercise,
    model_answer,
    number,
    right,
    run,
    unanswered,
    wrong,
)
from course_lib.tasks import SinusoidTasks
from course_lib.tasks.sinusoid import AMPLITUDE, ZERO_PREDICTOR_MSE

STEP_HINTS = {
    "multiply sequence": "`torch.autograd.grad` returns a tuple: take the gradient out of it, `(grad,) = ...`.",
    "not have been used in the graph": (
        "The loss still belongs to the old theta. Compute it anew in each step, from the newest theta."
    ),
    "created only for scalar": "A loss is one number: the mean of the squared errors.",
    "only change requires_grad flags of leaf": (
        "After a step theta is the result of a computation, and no gradient flag can be set on it; nor need it be: "
        "`torch.autograd.grad(loss, theta)` works as it is."
    ),
    "Can't call numpy()|only one element tensors": "`torch.sin` takes a whole tensor, and knows gradients.",
    "NoneType": (
        "Only the theta you were given keeps its gradient in `.grad`; that of the second step was computed, and its "
        "`.grad` stays None. `(grad,) = torch.autograd.grad(loss, theta)` works at every step."
    ),
    "does not require grad": (
        "Under `no_grad`, or after `detach`, the new theta no longer takes part in gradients, so the second step has "
        "none. `theta = theta - alpha * grad` needs no `no_grad`; or end each step with `theta.requires_grad_()`."
    ),
    "in-place operation": "`theta -= ...` changes the theta you were given. Make a new one: `theta = theta - ...`.",
}

ORACLE_HINTS = {
    "batches of square matrices": (
        "Three points give three equations for two unknowns: `torch.linalg.lstsq` takes them all."
    ),
    "should match other": "Each point is one equation, a row: `torch.stack([x.sin(), x.cos()], dim=1)` is [N, 2].",
}
ORACLE_SHAPES = {
    (2,): "These are a and b themselves. Return a sin x + b cos x at every `new_x`.",
    (3,): "These are the values at the support points. Return those at `new_x`.",
    (50, 1): "Nearly: a number for each `new_x`, [N]. Your [N, 1] is a column: take `[:, 0]`.",
}
MIRROR = torch.tensor([-1.0, 1.0])  # sin(x + phase) descends as sin(x - phase) does from the opposite phase


@exercise(
    "01",
    "an inner step by hand",
    solution=solutions.scalar,
    why="The gradient of (theta - c)^2 / 2 is theta - c, so each step takes the part alpha of the way that is left.",
)
def check_by_hand(numbers: tuple[float, float]) -> Verdict:
    """(theta after one step, theta after two) for (theta - 4)^2 / 2, from theta = 0 with alpha = 0.25."""
    if unanswered(numbers):
        return WAITING
    numbers = numbers.tolist() if hasattr(numbers, "tolist") else numbers
    if not isinstance(numbers, (tuple, list)) or len(numbers) != 2:
        return wrong("Two numbers, as in `(0.5, 0.75)`: theta after the first step, and after the second.")
    one, two = map(number, numbers)
    close = lambda a, b: abs(a - b) < 0.005
    if close(one, 2):
        return wrong("A factor of two: the half in the loss cancels the two of the derivative.")
    if close(one, -1):
        return wrong("Uphill. The gradient at 0 is 0 - 4 = -4, and a step goes against it.")
    if close(one, 4):
        return wrong("That is the whole way. alpha says which part of it a step takes.")
    if close(one, 3):
        return wrong("That is the way left to c after a step. Where is theta itself?")
    if not close(one, 1):
        return wrong("theta - alpha * (theta - c), with theta = 0, c = 4 and alpha = 0.25.")
    if close(two, 2):
        return wrong("The first is right. The second step starts at 1, where the gradient is 1 - 4 = -3.")
    if not close(two, 1.75):
        return wrong("The first is right. For the second put theta = 1 into the same formula.")
    return right("What is left of the way shrinks by 1 - alpha = 0.75 with each step: 4, 3, 2.25.")


@exercise(
    "01",
    "the inner loop",
    solution=solutions.fine_tune,
    why="Each gradient is taken at the newest theta, and theta itself is never changed.",
)
def check_fine_tune(fine_tune) -> Verdict:
    """``fine_tune(theta, x, y, steps, alpha) -> theta`` [2] for the wave theta[1] sin(x - theta[0]), x and y [S]."""
    generator = torch.Generator().manual_seed(0)
    x = 10 * torch.rand(8, generator=generator, dtype=torch.float64) - 5
    y = 2.0 * torch.sin(x - 1.0)
    start = torch.tensor([0.6, 1.2], dtype=torch.float64)
    result, (theta, *_) = attempt(fine_tune, start.clone().requires_grad_(), x, y, 4, 0.1, hints=STEP_HINTS)
    answered(result)
    if not torch.equal(theta, start):
        return wrong("Your steps changed the initialisation itself, which the next task needs. Make a new theta.")
    if isinstance(result, Tensor) and result.shape == ():
        return wrong("That is one number, as a loss is. Return the new theta.")
    once = _descent(start, x, y, 1, 0.1)
    mistakes = [
        (start, "Your steps have not moved theta: return the new one."),
        (once, "That is the result of one step. Repeat it `steps` times, each from the new theta."),
        (_descent(start, x, y, 3, 0.1), "That is one step too few: `range(steps)` counts from 0 to steps - 1."),
        (_descent(start, x, y, 5, 0.1), "That is one step too many: `range(steps)` counts from 0 to steps - 1."),
        (_descent(start, x, y, 4, -0.1), "The steps go uphill: mind the sign."),
        (_descent(start, x, y, 4, 1.0), "The rate is missing: a step is alpha times the gradient."),
        (_descent(start, x, y, 4, 0.8), "You summed the squared errors over points; the loss is their mean."),
        (_descent(start, x, y, 4, 0.05), "A factor of two is missing: the derivative of a square."),
        (start + 4 * (once - start), "All your gradients are taken at the start. Take each at the newest theta."),
        (_descent(start.flip(0), x, y, 4, 0.1).flip(0), "theta[0] is the phase, and theta[1] the amplitude."),
        (_descent(start * MIRROR, x, y, 4, 0.1) * MIRROR, "The phase is taken off: `torch.sin(x - theta[0])`."),
        (
            _descent(start, x, y, 4, 0.1, torch.ones_like),
            "Square the errors first: here those of opposite sign cancel.",
        ),
        (_descent(start, x, y, 4, 0.1, torch.sign), "That is the absolute error; the loss is the mean of the squares."),
        (_descent(start, x, y, 4, 0.1, _of_root), "No root: the loss is the mean of the squared errors itself."),
        (
            _descent(start, x, y, 4, 0.1, piled_up=True),
            "`backward` adds to `.grad` what was there before: begin each step with `theta.grad = None`.",
        ),
    ]
    return compare(result, _descent(start, x, y, 4, 0.1), mistakes, "This is the inner loop of every notebook to come.")


def _descent(
    theta: Tensor, x: Tensor, y: Tensor, steps: int, alpha: float, slope=lambda error: 2 * error, piled_up: bool = False
) -> Tensor:
    """Where ``steps`` lead; ``slope`` [S] of the loss for each error, of the squared one if not said."""
    before = torch.zeros_like(theta)
    for _ in range(steps):
        phase, amplitude = theta
        error = amplitude * torch.sin(x - phase) - y  # [S]
        slopes = torch.stack([-amplitude * torch.cos(x - phase), torch.sin(x - phase)])  # [2, S]
        grad = (slopes * slope(error)).mean(1) + before
        theta, before = theta - alpha * grad, grad if piled_up else before
    return theta


def _of_root(error: Tensor) -> Tensor:
    return error / error.square().mean().sqrt()


@exercise(
    "01",
    "what does predicting zero cost?",
    solution=solutions.zero_predictor,
    why="The phase is uniform over half a period, over which sin^2 has mean 1/2 wherever x is: E[A^2] / 2 is left.",
)
def check_zero_predictor(answer: float) -> Verdict:
    """The mean squared error of predicting zero, averaged over the task family."""
    answer = number(answer)
    mean_square, middle = 2 * ZERO_PREDICTOR_MSE, sum(AMPLITUDE) / 2
    mistakes = {
        0.0: "That is the mean of a sine. The error is the mean of its *square*.",
        AMPLITUDE[1] ** 2 / 2: "That is for the largest amplitude. A has all values from 0.1 to 5: average A^2.",
        mean_square: "That is E[A^2]. The mean of sin^2 is still missing.",
        middle**2 / 2: "You squared the mean amplitude. The mean of a square is larger.",
        ZERO_PREDICTOR_MSE / 2: "The mean of sin^2 over a uniform phase is 1/2, not 1/4.",
        AMPLITUDE[1] ** 2 / 6: "A begins at 0.1, not at 0: the integral goes from 0.1 to 5, divided by 4.9.",
        (mean_square - middle**2) / 2: "You took A's variance. E[A^2] is the variance and the squared mean together.",
    }
    if abs(answer - ZERO_PREDICTOR_MSE) < 0.006:
        return right(f"E[A^2] / 2 = {ZERO_PREDICTOR_MSE:.4f}: compare every error in this course with it.")
    for value, hint in mistakes.items():
        if abs(answer - value) < 0.01:
            return wrong(hint)
    if abs(answer - ZERO_PREDICTOR_MSE) < 0.2:
        return wrong("Near. A sample of curves gives two decimals only with a million of them: integrate.")
    return wrong("Average (A sin(x - phase))^2: the phase is uniform over half a period, A on [0.1, 5].")


@exercise(
    "01",
    "the oracle",
    solution=solutions.oracle,
    why="A sin(x - phase) = a sin x + b cos x is linear in a and b: two unknowns.",
)
def check_oracle(oracle) -> Verdict:
    """``oracle(x, y, new_x) -> new_y`` for one task, x, y, new_x [N]: it knows that y = a sin x + b cos x."""
    batch = SinusoidTasks(shots=3, queries=50).sample(5, generator=torch.Generator().manual_seed(1))
    for task in range(5):
        x, y, new_x, new_y = (t[task, :, 0].double() for t in _parts(batch))
        result = run(oracle, x, y, new_x, hints=ORACLE_HINTS)
        if isinstance(result, Tensor) and result.shape in ORACLE_SHAPES:
            return wrong(ORACLE_SHAPES[result.shape])
        verdict = compare(result, new_y, [(torch.zeros_like(new_y), "That predicts zero.")])
        if not verdict.passed and "largest difference" in verdict.message:
            return wrong("Fit two numbers: y = a sin x + b cos x is linear, so least squares finds them.")
        if not verdict.passed:
            return verdict
    return right("No error from three points, and two would do: two perfect features are all this family needs.")


def _parts(batch) -> tuple[Tensor, ...]:
    return batch.support_x, batch.support_y, batch.query_x, batch.query_y


check_open = model_answer(
    "01",
    "break MAML's start",
    "raise the inner rate. At 0.02 MAML's start is still ahead of random weights "
    "in 18 of 20 draws<!--adapting.still_ahead_at_twice_the_rate--> of curve and points, at 0.05 it is behind them "
    "in 18 of 20 draws<!--adapting.behind_at_five_times_the_rate-->: its steps overshoot there. A start that is quick "
    "to change is easy to overshoot with: what makes it good at its own rate makes it fragile at others.",
)
