"""The checks of notebook 06 confirm right answers and turn each common mistake into its hint."""

import pytest

from course_lib.chapters.union import exercises as union


def squares(z, y, rows):
    return ((z * rows[:, None]).sum(-1) - y).square()


@pytest.mark.parametrize(
    ("answer", "passed", "message"),
    [
        (lambda z, y, heads, i: squares(z, y, heads[i]).mean(), True, "one backward pass"),
        (lambda z, y, heads, i: squares(z, y, heads[: len(i)]).mean(), False, "look its head up"),
        (lambda z, y, heads, i: squares(z, y, heads[:1]).mean(), False, "one shared head"),
        (
            lambda z, y, heads, i: squares(z, y, heads.mean(0, keepdim=True)).mean(),
            False,
            "mean of the heads",
        ),
        (lambda z, y, heads, i: squares(z, y, heads[i]).sum(), False, "take means"),
        (lambda z, y, heads, i: squares(z, y, heads[i]).mean(1).sum(), False, "summed the tasks"),
        (lambda z, y, heads, i: squares(z, y, heads[i]).mean(1), False, "one loss for each task"),
        (lambda z, y, heads, i: ..., None, "Replace the dots"),
        (lambda z, y, heads, i: z @ y, False, "raised RuntimeError"),
        (lambda z, y, heads, i: (z @ heads.T - y).square().mean(), False, "every head's output"),
        (lambda z, y, heads, i: (z @ heads.T - y[..., None]).square().mean(), False, "every head's output"),
        (lambda z, y, heads, i: (z @ heads[i].T - y[..., None]).square().mean(), False, "every head's output"),
        (lambda z, y, heads, i: (z @ heads[i] - y).square().mean(), False, "meet as"),
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
        (lambda alpha, h: 1 - alpha * h, False, "One factor is missing"),
        (lambda alpha, h: (1 + alpha * h) ** 2, False, "Mind the sign"),
        (lambda alpha, h: h * (1 - alpha * h) ** 2, False, "divide by what it is"),
        (lambda alpha, h: h * (1 - alpha * h), False, "chain rule repeats"),
        (lambda alpha, h: h.mul_(-alpha).add_(1).square_(), True, "always weighs 1"),
        (lambda alpha, h: 1 - 2 * alpha * h, False, "first order"),
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
        (0.75, False, "overshoots"),
        (0.25, False, "weight is 0"),
        (-0.75, False, "weight is 16"),
        (1.0, False, "Solve"),
        (..., None, "Replace the dots"),
    ],
)
def test_rate_for_weight(answer, passed, message):
    verdict = union.check_rate_for_weight(answer)
    assert verdict.passed is passed and message in str(verdict)
