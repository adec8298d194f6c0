"""Checks for notebook 02, the two loops."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call

from course_lib.chapters.two_loops import solutions
from course_lib.chapters.two_loops.bugs import BUGS, SHARED
from course_lib.chapters.two_loops.compared import (
    INNER_LR,
    STEPS,
    absolute_error,
    adapted,
    adapted_on_query,
    all_pairs,
    as_one,
    chained,
    flat,
    flawed,
    gradient,
    joined,
    mean_error,
    meta_batch,
    small_model,
    through_last_step,
)
from course_lib.kit.answers import source_of
from course_lib.kit.checks import (
    WAITING,
    Settled,
    Verdict,
    answered,
    attempt,
    compare,
    exercise,
    model_answer,
    number,
    right,
    run,
    same,
    unanswered,
    wrong,
)
from course_lib.models import MLP
from course_lib.tasks import TaskBatch


@exercise(
    "02",
    "one number, k steps",
    solution=solutions.scalar_meta_gradient,
    why="Every step multiplies the distance to c by 1 - alpha, and so does the chain rule on its way back: k factors "
    "1 - alpha, times the slope of the query loss at the adapted theta.",
)
def check_scalar(scalar_meta_gradient) -> Verdict:
    """``scalar_meta_gradient(theta, c, q, alpha, k)``: d/d theta of (theta_k - q)^2 / 2, after k inner steps."""
    for theta, c, q, alpha, k in ((3.0, 1.0, 0.5, 0.1, 3), (3.0, 1.0, 0.5, 0.1, 1), (-2.0, 1.0, 2.0, 0.4, 5)):
        result = run(scalar_meta_gradient, theta, c, q, alpha, k, hints={"float": BY_HAND})
        shrink, end = (1 - alpha) ** k, c + (1 - alpha) ** k * (theta - c)
        up = c + (1 + alpha) ** k * (theta - c)
        once, before = theta - alpha * (theta - c), c + (1 - alpha) ** (k - 1) * (theta - c)
        mistakes = {
            shrink / (1 - alpha) * (end - q): f"For k = {k} you have {k - 1} factors 1 - alpha. Each step gives one.",
            shrink * (1 - alpha) * (end - q): f"For k = {k} you have {k + 1} factors 1 - alpha. Each step gives one.",
            2 * shrink * (end - q): "A factor of two: the half in the loss cancels the two of the derivative.",
            (1 + alpha) ** k * (end - q): "theta' = theta - alpha (theta - c): how much of theta is left in it?",
            shrink * (q + shrink * (theta - q) - c): "The support point c adapts, and the query point q judges.",
            shrink * (before - q): "The factors are right, but the query loss is taken a step too early.",
            end - q: "That is the slope at the adapted theta: FOMAML. How does the adapted theta move with theta?",
            (1 - alpha) * (end - q): "One factor 1 - alpha for k steps? Every step multiplies once more.",
            (1 - alpha) * (once - q): "That is the answer for one step. Here it takes k, each from where it stands.",
            shrink * (once - q): "The factors are right, but the query loss is taken after one step, not after k.",
            shrink * (shrink * theta - q): "The steps lead toward c, not toward 0: theta - c shrinks, not theta.",
            theta - q: "You judged theta before it adapted.",
            shrink * (theta - q): "The factors are right, but the query loss is taken at theta, before the steps.",
            shrink * (end - c): "You judged on the support point c. The query point q judges.",
            shrink: "Those are the factors. What is multiplied by them is the slope of the query loss, theta_k - q.",
            alpha**k * (end - q): "What is left of theta - c after a step is 1 - alpha of it, not alpha.",
            shrink * (up - q): "The steps go uphill: theta - alpha (theta - c).",
            shrink * shrink * (theta - q): "You adapted to the query point q. The support point c adapts; q judges.",
            end: "That is the adapted theta itself; the derivative of its query loss is asked for.",
            (end - q) ** 2 / 2: "That is the query loss; its derivative for theta is asked for.",
            k * (1 - alpha) * (end - q): "The factors multiply: (1 - alpha) to the power k, not k times.",
            (1 - k * alpha) * (end - q): "A step taken k times is not one step k times as long: the factors multiply.",
            -shrink * (end - q): "The sign is turned. Return the derivative; descending it comes later.",
        }
        given = torch.as_tensor(number(result), dtype=torch.float64)
        known = [(torch.tensor(value, dtype=torch.float64), hint) for value, hint in mistakes.items()]
        verdict = compare(given, torch.tensor(shrink * (end - q), dtype=torch.float64), known)
        if not verdict.passed:
            return verdict
    return right("(1 - alpha) to the power k, times the last slope. In the plane the factors become matrices.")


BY_HAND = "theta is a plain number here, and no tensor: write the derivative by hand, as above."
CUT_OFF = (
    "cut off from `params` (detach, no_grad, .data or backward?), so the outer loop gets no gradient. "
    "Write new = old - lr * grad with tensors that remember."
)
MISCOUNTED = "That is one step too few or too many: `range(steps)` counts from 0 to steps - 1."
SQUEEZED = "[S, 1] minus [S] is [S, S], every target off every output. Leave outputs and targets as they are, [S, 1]."
STEP_HINTS = {
    "not have been used in the graph": (
        "The loss and what it is differentiated for must be the same weights, those in `params`: "
        "`functional_call(model, params, (x,))` and `torch.autograd.grad(loss, params.values(), ...)`. `model(x)` and "
        "`model.parameters()` are the model's own."
    ),
    "NoneType": (
        "`.grad` is kept for the first weights only, and is None at the second step. "
        "`torch.autograd.grad(loss, params.values(), create_graph=True)` works at every step, if the loss is that of "
        "`params`."
    ),
    "does not require grad": f"The weights of the step before are {CUT_OFF}",
    "in-place operation": "All other tasks start from `params`. Build a new dictionary: new = old - lr * grad.",
    "multiply sequence": "A dictionary is walked through by its names. Take its `.values()`, or `grads[name]`.",
    "to be dictionaries|list indices": (
        "`functional_call` wants a dictionary at the second step too: keep the names, {name: new weights}."
    ),
}


@exercise(
    "02",
    "the inner loop",
    solution=solutions.inner_loop,
    why="Nothing is changed in place, so all tasks can start from the same `params`; `create_graph=True` keeps how the "
    "gradients depend on them.",
)
def check_inner_loop(inner_loop) -> Verdict:
    """``inner_loop(model, params, x, y, steps, inner_lr) -> params`` for one task."""
    model, batch = small_model(), meta_batch(1)
    x, y = batch.support_x[0], batch.support_y[0]  # [10, 1] each
    start = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
    before = flat(start)
    result, (_, start, *_) = attempt(inner_loop, model, start, x, y, STEPS, INNER_LR, hints=STEP_HINTS)
    answered(result)
    if not isinstance(result, dict) or list(result) != list(start):
        return wrong("Return a dictionary with the same names as `params`.")
    if not torch.equal(flat(start), before):
        return wrong("Your steps changed `params` itself: all other tasks start from it. Build a new dictionary.")
    once = adapted(batch, 1, INNER_LR)
    mistakes = [
        (once, "That is one step. Repeat it `steps` times, each from the newest weights."),
        *((adapted(batch, steps, INNER_LR), MISCOUNTED) for steps in (STEPS - 1, STEPS + 1)),
        (adapted(batch, STEPS, 1.0), "The rate is missing: a step is inner_lr times the gradient."),
        (adapted(batch, STEPS, INNER_LR, all_pairs), SQUEEZED),
        (adapted(batch, STEPS, -INNER_LR), "The steps go uphill: mind the sign."),
        (adapted(batch, STEPS, 10 * INNER_LR), "You summed the squared errors of the points; the loss is their mean."),
        (adapted(batch, STEPS, INNER_LR / 2), "Your steps are half as long: the mean squared error has no 1/2 here."),
        (
            before + STEPS * (once - before),
            "All your gradients are taken at the start: `model(x)` does not know the newest `params`.",
        ),
        (before, "Nothing changed: return the new weights."),
        (adapted(batch, STEPS, INNER_LR, mean_error), "Square the errors first: here those of opposite sign cancel."),
        (adapted(batch, STEPS, INNER_LR, absolute_error), "That is the absolute error; the loss is the mean square."),
    ]
    verdict = compare(flat(result), adapted(batch, STEPS, INNER_LR), mistakes)
    return _check_graph(result, start, batch) if verdict.passed else verdict


def _check_graph(result: dict, start: dict, batch: TaskBatch) -> Verdict:
    """Whether the outer loop can differentiate through the result, second derivatives included."""
    outputs = functional_call(small_model(), result, (batch.query_x[0],))  # [10, 1]
    loss = (outputs - batch.query_y[0]).square().mean()
    reaches = loss.requires_grad
    got = torch.autograd.grad(loss, start.values(), allow_unused=True) if reaches else [None]
    if any(part is None for part in got):
        return wrong(f"The steps are right, but {CUT_OFF}")
    full, first = (gradient(batch, second_order=order) for order in (True, False))
    mistake = "The steps are right, but second derivatives are missing: create_graph=True is missing."
    got = torch.cat([g.flatten() for g in got])
    return compare(got, full, [(first, mistake)], "The steps, and the gradient through them.")


@exercise(
    "02",
    "the meta-gradient",
    solution=solutions.meta_gradient,
    why="The inner loop is handed in, so that another one can take its place later: first order, on the head alone, or "
    "solved at once.",
)
def check_meta_gradient(meta_gradient) -> Verdict:
    """``meta_gradient(inner_loop, model, batch, steps, inner_lr) -> {name: gradient}``, the mean over the tasks."""
    model, batch = small_model(), meta_batch(4)
    hints = {
        "positional argument": "Its first argument is the inner loop: `meta_gradient(inner_loop, model, ...)`.",
        "not have been used in the graph|does not require grad": DETACHED,
    }
    result = _gradient_of(meta_gradient, model, batch, STEPS, hints, (solutions.inner_loop,))
    expected, last = gradient(batch), "That is the last task alone. Every task of the batch counts."
    mistakes = [
        *flawed(batch),
        (-expected, "The sign is turned. Return the gradient; descending it comes later."),
        (gradient(batch, steps=0), "You judged the weights before they adapted. Predict with the adapted ones."),
        *((gradient(other), "You adapted on the query set, which only judges.") for other in adapted_on_query(batch)),
        (10 * expected, "That is the sum over the points. The loss is their mean, over points and over tasks."),
        *((scale * gradient(batch[3:], second_order=False), LAST_ADAPTED) for scale in (1, 1 / 4)),
        (gradient(batch[3:]), last),
        (gradient(batch[3:]) / 4, last),
        (chained(batch), "Each of your tasks starts where the one before ended. All start from the same weights."),
        (0 * expected, f"The gradient is zero everywhere. {DETACHED}"),
        (through_last_step(batch), f"Only the last inner step is differentiated. {DETACHED}"),
        *((scale * gradient(joined(batch)), JOINED) for scale in (1, 2)),  # over all points; of both losses
        (gradient(as_one(batch)), "You adapted once, to all tasks' points. Each task adapts a copy of its own."),
    ]
    verdict = compare(flat(result), expected, mistakes, "This is line 8 of algorithm 1, before the step.")
    if not verdict.passed:
        return verdict

    def later(inner_loop, model, *inputs):
        """The same in the middle of a training, where an outer step has left something in ``.grad``."""
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        return meta_gradient(inner_loop, model, *inputs)

    if not same(flat(_gradient_of(later, model, batch, STEPS, first=(solutions.inner_loop,))), expected):
        return wrong(STALE)
    unadapted = _gradient_of(meta_gradient, model, batch, STEPS, first=(_stay,))
    return verdict if same(flat(unadapted), gradient(batch, steps=0)) else wrong(NOT_HANDED_IN)


def _stay(model, params, x, y, steps, inner_lr):
    """An inner loop that does nothing, to see whether the one handed in is used."""
    return params


DETACHED = (
    "The outer loop asks how the query loss depends on the model's own parameters. A `detach`, `.data` or fresh "
    "`requires_grad_()` on the way cuts that off: start from `dict(model.named_parameters())`, uncopied."
)
LAST_ADAPTED = "That is the gradient for the last task's adapted weights. Differentiate the mean for theta."
STALE = (
    "Right the first time. In a training `.grad` is not empty, and `backward` adds to it: take `torch.autograd.grad`, "
    "or call `model.zero_grad()` first."
)
NOT_HANDED_IN = "Right with your own steps, but another inner loop was handed in and not called: use `inner_loop`."
JOINED = "You judged on support and query points together. The query set alone judges."
_INCOMPLETE = (
    "Return a dictionary {name: gradient} with the names of model.named_parameters(), none of them None. "
    "(A None says that the loss does not depend on that parameter: was it detached?)"
)


def _gradient_of(
    loop, model: MLP, batch: TaskBatch, steps: int, hints: dict | None = None, first: tuple = ()
) -> dict[str, Tensor]:
    """What ``loop`` returns, where that is a gradient for every parameter and the model is as it was; else Settled."""
    result, (*_, used, _, _, _) = attempt(loop, *first, model, batch, steps, INNER_LR, hints=hints)
    answered(result)
    names = [name for name, _ in model.named_parameters()]
    complete = isinstance(result, dict) and list(result) == names
    if not complete or not all(isinstance(part, Tensor) for part in result.values()):
        raise Settled(wrong(_INCOMPLETE))
    if not torch.equal(flat(dict(used.named_parameters())), flat(dict(model.named_parameters()))):
        raise Settled(wrong("The model has other weights than before. Return the gradient; the step comes later."))
    return result


check_open = model_answer(
    "02",
    "where do the arrows agree?",
    "The angle between MAML and the union changes from place to place, from nearly none to almost opposite, and from "
    "one set of tasks to the next. What hardly changes: from a tall wave MAML's arrow is the shorter "
    "(at phase 1.5, amplitude 2.5 in 19 of 20 draws<!--two_loops.tall_waves_leave_less--> of tasks, "
    "0.23<!--two_loops.tall_waves_leave_less.times--> times the union's). A tall wave is easy to move, so the inner "
    "loop mends most by itself, and the outer loop has little left to ask for.",
)


@exercise("02", parts=4, solution=solutions.BUG_LINES, why=solutions.BUG_REASONS)
def check_bug(loop: int, answer: int) -> Verdict:
    """Loop 1, 2, 3 or 4 of the notebook: the number of the line that is wrong."""
    if unanswered(answer):
        return WAITING
    line, why, innocent = BUGS[loop]
    if answer == line:
        return right(why)
    if not isinstance(answer, int):
        return wrong("Give the number of a line, such as 4.")
    if answer not in innocent:
        return wrong(f"Lines with a number may be wrong: {', '.join(map(str, sorted([line, *innocent])))}.")
    return wrong(SHARED.get(innocent[answer], innocent[answer]))


@exercise("02", "bug 2, repaired", solution=solutions.REPAIRED)
def check_repaired(loop) -> Verdict:
    """A repaired ``loop(model, batch, steps, inner_lr)`` must equal the library's for any k."""
    model, batch = small_model(), meta_batch(4)
    lines = "loss.backward(retain_graph=True)", "grads = torch.autograd.grad(loss, params.values(), create_graph=True)"
    as_it_was = callable(loop) and all(_has_line(loop, line) for line in lines)
    if as_it_was and source_of(loop).count("zero_grad") < 2:
        return Verdict(None, "This is loop two as it was: mend the line in its own cell, and run both cells again.")
    for steps in (1, 2, 5):
        result = _gradient_of(loop, model, batch, steps, {"second time": ONE_LINE, "'grads'": LINE_8})
        expected = gradient(batch, steps)
        mistakes = [(gradient(batch, steps, False), _STILL["first order"]), (gradient(batch, 0), _STILL["before"])]
        mistakes += [(4 * expected, _STILL["sum"]), (gradient(batch[3:], steps) / 4, _STILL["last"])]
        verdict = compare(flat(result), expected, mistakes)
        if not verdict.passed:
            known = any(hint in verdict.message for hint in _STILL.values())
            off = f"For k = {steps} it is still off: what else is added to `.grad`?"
            return verdict if known else wrong(f"{off} {verdict.message}")
    return right("Equal to the library for k = 1, 2 and 5.")


def _has_line(loop, line: str) -> bool:
    """Whether the source of a function has this line, and not as a comment."""
    return any(own.strip().startswith(line) for own in source_of(loop).splitlines())


LINE_8 = (
    "Line 8 was innocent: it takes the inner gradient, and leaves `.grad` alone. Which line fills `.grad` beside it?"
)
ONE_LINE = "One line takes the inner gradient, `torch.autograd.grad`; a `backward` beside it uses up the graph."
_STILL = {
    "sum": "That is the sum over the tasks: line 10 divided by their number.",
    "last": "Only the last task's is left: zeroing `.grad` there throws away the meta-gradients of those before.",
    "first order": "This is first-order MAML: somewhere the graph of the inner gradient is dropped.",
    "before": "This is the gradient without any adaptation: which weights made the judged prediction?",
}


@exercise(
    "02",
    "a sum where a mean belongs",
    solution=solutions.SUM_RATE,
    why="The sum is ten times the mean. An inner rate means nothing without its reduction: MAML's released code adds "
    "the cross-entropies of the N ways where others take the mean, and copies that keep its 0.4 take steps N times too "
    "small (notebook 09).",
)
def check_sum_rate(inner_lr: float) -> Verdict:
    """The rate for a sum over ten points that takes the steps of rate 0.01 for their mean."""
    inner_lr = number(inner_lr)
    if abs(inner_lr - 0.001) < 1e-9:
        return right("The sum's gradient is ten times the mean's: a tenth of the rate takes the same step.")
    if abs(inner_lr - 0.1) < 1e-9:
        return wrong("The other way round: the sum's gradient is the longer one.")
    if abs(inner_lr - 0.01) < 1e-9:
        return wrong("With the same rate every step is too long. How much longer is the gradient of the sum?")
    return wrong("How many times the mean is the sum? The gradient grows by the same factor.")
