"""Notebook 10's checks: right answers, and the hint that each common wrong one gets."""

import pytest
import torch

from course_lib.chapters.your_own import exercises, solutions
from course_lib.tasks import TaskBatch


def batch(about=lambda h, s: h[:, :s], unit=75, place=lambda p: 2 * p - 1, last=True, shots=None):
    def make(where, height, given):
        y = (height - about(height, given).mean(1, keepdim=True)) / unit
        x, y, s = place(where), y[..., None] if last else y, shots or given
        return TaskBatch(x[:, :s], y[:, :s], x[:, s:], y[:, s:])

    return make


def each_part_by_itself(place, height, shots):
    given, asked = (h - h.mean(1, keepdim=True) for h in (height[:, :shots], height[:, shots:]))
    x = 2 * place - 1
    return TaskBatch(x[:, :shots], given[..., None] / 75, x[:, shots:], asked[..., None] / 75)


def without_keepdim(place, height, shots):
    return height - height[:, :shots].mean(1)


def divided_first(place, height, shots):
    x, y = 2 * place - 1, (height / 75 - height[:, :shots].mean(1, keepdim=True))[..., None]
    return TaskBatch(x[:, :shots], y[:, :shots], x[:, shots:], y[:, shots:])


def upside_down(place, height, shots):
    return solutions.batch(place, -height, shots)


def all_points_as_queries(place, height, shots):
    right = solutions.batch(place, height, shots)
    x, y = (torch.cat(pair, 1) for pair in ((right.support_x, right.query_x), (right.support_y, right.query_y)))
    return TaskBatch(right.support_x, right.support_y, x, y)


def in_place(place, height, shots):
    place.mul_(2).sub_(1)
    height.sub_(height[:, :shots].mean(1, keepdim=True)).div_(75)
    return TaskBatch(place[:, :shots], height[:, :shots, None], place[:, shots:], height[:, shots:, None])


@pytest.mark.parametrize(
    ("answer", "passed", "message"),
    [
        (solutions.batch, True, "could have computed"),
        (batch(), True, "could have computed"),
        (batch(about=lambda h, s: h[:, s:]), False, "query points, which nobody has"),
        (batch(about=lambda h, s: h.mean().expand(4, 1)), False, "One mean for all"),
        (batch(about=lambda h, s: 0 * h), False, "still in there"),
        (batch(about=lambda h, s: h[:, :s].mean().expand(4, 1)), False, "One mean for all"),
        (each_part_by_itself, False, "take off the support's"),
        (without_keepdim, False, "keepdim=True"),
        (all_points_as_queries, False, "none of the support set"),
        (in_place, True, "could have computed"),
        (batch(unit=1), False, "divide"),
        (batch(place=lambda p: 2 * p), False, "0 to 2"),
        (batch(place=lambda p: 2 * p + 1), False, "1 to 3"),
        (batch(place=lambda p: p - 0.5), False, "stretch"),
        (batch(place=lambda p: p - 1), False, "-1 to 0"),
        (divided_first, False, "mind the brackets"),
        (upside_down, False, "ABOVE the mean"),
        (lambda p, h, s: TaskBatch(p[:, :s], p[:, s:], h[:, :s, None], h[:, s:, None]), False, "The order is"),
        (batch(shots=5), False, "has 5 points"),
        (lambda p, h, s: (p, h), False, "A TaskBatch was expected"),
        (lambda p, h, s: ..., None, "Replace the dots"),
    ],
)
def test_batch(answer, passed, message):
    verdict = exercises.check_batch(answer)
    assert verdict.passed is passed and message in str(verdict)


@pytest.mark.parametrize(
    ("answer", "passed", "message"),
    [
        (("R2D2", "MAML", "Reptile"), True, "measure"),
        (("r2d2", "maml", "reptile"), True, "measure"),
        (("R2D2", "R2D2", "Reptile"), False, "squared errors only"),
        (("R2D2", "MAML", "MAML"), False, "keeps all fifty"),
        (("R2D2", "MAML", "SGD"), False, "not one of"),
        ("R2D2", False, "Three names"),
        ((..., ..., ...), None, "Replace the dots"),
    ],
)
def test_choice(answer, passed, message):
    verdict = exercises.check_choice(answer)
    assert verdict.passed is passed and message in str(verdict)


@pytest.mark.parametrize(
    ("answer", "passed", "message"),
    [
        (solutions.claim, True, "It can fail"),
        (lambda e, d: (e("trained", d) < 1, {"mine": 1.0}), False, "in this very draw"),
        (
            lambda e, d: [
                e("trained", d) < e("untrained", d),
                {n: torch.tensor(e(n, d)) for n in ("trained", "untrained")},
            ],
            True,
            "It can fail",
        ),
        (lambda e, d: (e("trained", d) < e("untrained", d), {}), False, "Give both numbers"),
        (lambda e, d: (e("trained", d) < e("untrained", d), {"trained": e("trained", d)}), False, "Give both numbers"),
        (lambda e, d: (e("r2d2", d), {}), False, "The names are"),
        (lambda e, d: (e("trained") < e("untrained"), {}), False, "A function of the name"),
        (lambda e, d: (e["trained"] < e["untrained"], {}), False, "A function of the name"),
        (
            lambda e, d: (e("trained", d) < e("untrained", d), {"trained": e("untrained", d), "untrained": 0.25}),
            False,
            "not the one of its name",
        ),
        (lambda e, d: (..., {}), None, "Replace the dots"),
    ],
)
def test_claim(answer, passed, message):
    verdict = exercises.check_claim(answer)
    assert verdict.passed is passed and message in str(verdict)


def test_the_open_exercise_answers_once_something_is_written():
    assert exercises.check_open(...).passed is None
    assert "On small ones" in str(exercises.check_open("With twelve the lead is nearly gone."))
