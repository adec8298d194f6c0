"""Every check of every notebook: no answer, however odd, makes it raise."""

import pkgutil
from importlib import import_module
from inspect import signature

import pytest
import torch

from course_lib import chapters
from course_lib.chapters.closed_form import exercises as closed_form
from course_lib.chapters.features import exercises as tangent
from course_lib.chapters.omniglot import exercises as omniglot
from course_lib.chapters.task_heads import exercises as task_heads
from course_lib.chapters.two_loops import exercises as two_loops
from course_lib.kit import checks
from course_lib.kit.checks import Verdict, compare

MODULES = [
    checks,
    *(import_module(f"{chapters.__name__}.{m.name}.exercises") for m in pkgutil.iter_modules(chapters.__path__)),
]
CHECKS = {
    f"{module.__name__}.{name}": check
    for module in MODULES
    for name, check in vars(module).items()
    if name.startswith("check_") and check.__module__ == module.__name__
}


@pytest.mark.parametrize("answer", [None, "a", [], torch.ones(2) > 0, lambda *a: None, lambda *a: "a", lambda *a: []])
@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_an_odd_answer_gets_a_verdict(check, answer):
    verdict = check(*[answer] * len(signature(check).parameters))
    assert isinstance(verdict, Verdict) and not verdict.passed and len(verdict.message) > 10


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_dots_are_no_answer(check):
    if check.__name__ != "check_mended":  # it calls the function to be mended, which is there from the start
        assert check(*[...] * len(signature(check).parameters)) is checks.WAITING


@pytest.mark.parametrize(
    ("verdict", "message"),
    [
        (checks.check_line([2, 2]), "two unknown numbers"),
        (tangent.check_one_step_rate("50"), "(must be real number, not str). Asked for: The kernel's eigenvalue"),
        (task_heads.check_visits(1.6, None), "Asked for: 800 iterations of 10 out of 5000 tasks"),
        (two_loops.check_inner_loop(lambda m, params, *a: dict.fromkeys(params)), "inner_loop(model, params, x,"),
        (closed_form.check_ridge(3), "A function was expected, not 3."),
        (omniglot.check_nearest(lambda x, y, q: torch.zeros(20) > 0), "largest difference"),
        (compare(torch.tensor([True]), torch.tensor([False]), []), "largest difference to the expected result is 1."),
    ],
)
def test_it_says_what_was_asked_for(verdict, message):
    assert verdict.passed is False and message in verdict.message
