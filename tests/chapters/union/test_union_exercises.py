"""The checks of notebook 06 confirm right answers and turn each common mistake into its hint."""

import pytest
import torch

from course_lib.chapters.union import exercises as union
from course_lib.chapters.union import solutions


def squares(z, y, rows):
    return ((z * rows[:, None]).sum(-1) - y).square()


@pytest.mark.parametrize(
    ("answer", "passed", "message"),
    [
        (lambda z, y, heads, i: squares(z, y, heads[i]).mean(), True, "one backward pass"),
        (lambda z, y, heads, i: squares(z, y, heads[:1]).mean(), False, "one shared head"),
        (
            lambda z, y, heads, i: squares(z, y, heads.mean(0, keepdim=True)).mean(),
            False,
            "mean of the heads",
        ),
        (lambda z, y, heads, i: squares(z, y, heads[i]).sum(), False, "take means"),
        (lambda z, y, heads, i: squares(z, y, heads[i]).mean().detach(), False, "No gradient"),
        (lambda z, y, heads, i: squares(z, y, heads[i]).mean().item(), False, "No gradient"),
        (lambda z, y, heads, i: squares(z.detach(), y, heads[i]).mean(), False, "the body would not learn"),
        (lambda z, y, heads, i: squares(z, y, heads.data[i]).mean(), False, "the heads would not learn"),
        (lambda z, y, heads, i: squares(z, y, heads[i]).sum(1).mean(), False, "points of a task"),
        (lambda z, y, heads, i: squares(z, y, heads[i])[-1].mean(), False, "last task alone"),
        (lambda z, y, heads, i: ((z * heads[i][:, None]).sum(-1) - y).mean(), False, "Square the errors"),
        (lambda z, y, heads, i: squares(z, y, heads[i]).sqrt().mean(), False, "absolute error"),
        (lambda z, y, heads, i: ((z * heads[i][:, None]).mean(-1) - y).square().mean(), False, "no mean"),
        (lambda z, y, heads, i: squares(z, y, heads[i]).mean() / 2, False, "half the loss"),
        (lambda z, y, heads, i: (z * heads[i][:, None] - y[..., None]).square().mean(), False, "sum over the D"),
        (lambda z, y, heads, i: squares(z, y, heads[i]).mean(1).sum(), False, "summed the tasks"),
        (lambda z, y, heads, i: squares(z, y, heads[i]).mean(1), False, "one loss for each task"),
        (lambda z, y, heads, i: ..., None, "Replace the dots"),
        (lambda z, y, heads, i: z @ y, False, "raised RuntimeError"),
        (lambda z, y, heads, i: (z @ heads.T - y).square().mean(), False, "every head's output"),
        (lambda z, y, heads, i: (z @ heads[i].T - y[..., None]).square().mean(), False, "every head's output"),
        (lambda z, y, heads, i: (z @ heads[i][..., None] - y).square().mean(), False, "drop the last dimension"),
        (lambda z, y, heads, i: (z @ heads[i][..., None])[..., 0].sub(y).square().mean(), True, "one backward"),
    ],
)
def test_union_loss(answer, passed, message):
    verdict = union.check_union_loss(answer)
    assert verdict.passed is passed and message in str(verdict)


@pytest.mark.parametrize(
    ("answer", "passed", "message"),
    [
        (lambda alpha, h: (1 - alpha * h) ** 2, True, "always weighs 1"),
        (lambda alpha, h: h * (1 - alpha * h), False, "chain rule repeats"),
        (lambda alpha, h: h.mul_(-alpha).add_(1).square_(), True, "always weighs 1"),
        (lambda alpha, h: 2 * (1 - alpha * h), False, "not two times"),
        (lambda alpha, h: (alpha * h) ** 2, False, "what the step takes away"),
        (lambda alpha, h: 1 - 2 * alpha * h, False, "first order"),
        (lambda alpha, h: h / 2 * (1 - alpha * h) ** 2, False, "the loss after the step"),
        (lambda alpha, h: -((1 - alpha * h) ** 2), False, "keeps its direction"),
        (lambda alpha, h: (1 - alpha * h) ** 2 * theta, False, "theta - w cancels"),  # noqa: F821
        (lambda alpha, h: h * (1 - alpha * h) ** 2 / h, False, "cancel h"),
        (lambda alpha, h: (1 + abs(alpha) * h) ** 2, False, "Mind the sign"),  # right at negative rates only
        (lambda alpha, h: ..., None, "Replace the dots"),
    ],
)
def test_weight(answer, passed, message):
    verdict = union.check_weight(answer)
    assert verdict.passed is passed and message in str(verdict)


@pytest.mark.parametrize(
    ("answer", "passed", "message"),
    [
        (-0.25, True, "the steep ones"),
        (1.0, False, "Solve"),
        (..., None, "Replace the dots"),
    ],
)
def test_rate_for_weight(answer, passed, message):
    verdict = union.check_rate_for_weight(answer)
    assert verdict.passed is passed and message in str(verdict)


def quadratic(order):
    """The share with its factors in an order of one's own: "s" for I - alpha H ("u" uphill, "r" with the query set's
    Hessian), "q" for the query set's Hessian."""

    def share(theta, w, h, hq, alpha):
        eye = torch.eye(4, dtype=h.dtype)
        factors = {"s": eye - alpha * h, "q": hq, "h": h, "u": eye + alpha * h, "r": eye - alpha * hq}
        error = theta - w
        for factor in reversed(order):
            error = factors[factor] @ error
        return error

    return share


def by_autograd(theta, w, h, hq, alpha):
    theta = theta.clone().requires_grad_()
    adapted = theta - alpha * h @ (theta - w)
    loss = (adapted - w) @ hq @ (adapted - w) / 2
    return torch.autograd.grad(loss, theta)[0]


@pytest.mark.parametrize(
    ("answer", "passed", "message"),
    [
        (solutions.share, True, "task's weight"),
        (by_autograd, True, "task's weight"),
        (quadratic("sqs"), True, "task's weight"),
        (quadratic("sq"), False, "taken at theta'"),
        (quadratic("squ"), False, "sign of the inner step"),
        (quadratic("uqs"), False, "sign on the way back"),
        (quadratic("rqs"), False, "way back goes through the step"),
        (quadratic("sqr"), False, "descends the support loss"),
        (quadratic("ssq"), False, "do not commute"),
        (quadratic("qss"), False, "do not commute"),
        (lambda theta, w, h, hq, alpha: quadratic("sqs")(theta, w, h, hq, -alpha), False, "Mind the sign"),
        (lambda theta, w, h, hq, alpha: quadratic("sqs")(w, theta, h, hq, alpha), False, "the error is theta - w"),
        (lambda theta, w, h, hq, alpha: quadratic("sqs")(theta, w, h, hq, alpha) / 2, False, "cancels the half"),
        (quadratic("q"), False, "without an inner step"),
        (quadratic("ss"), False, "is missing"),
        (lambda t, w, h, q, a: (torch.eye(4) - a * h) ** 2 @ q @ (t - w), False, "entry by entry"),
        (lambda t, w, h, q, a: (s := torch.eye(4) - a * h) * q * s @ (t - w), False, "entry by entry"),
        (lambda theta, w, h, hq, alpha: quadratic("sqs")(theta, w, hq, h, alpha), False, "exchanged"),
        (lambda *rest: ..., None, "Replace the dots"),
    ],
)
def test_share(answer, passed, message):
    verdict = union.check_share(answer)
    assert verdict.passed is passed and message in str(verdict)


def test_the_solutions_pass_and_the_open_question_waits_for_words():
    assert union.check_union_loss.solution(solutions.union_loss).passed
    assert union.check_weight.solution(solutions.weight).passed
    assert union.check_rate_for_weight.solution(-0.25).passed and "-0.25" in solutions.RATE
    assert union.check_open(...).passed is None and union.check_open("it turns at about ten points").passed
