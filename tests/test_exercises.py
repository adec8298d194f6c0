"""Every check of every notebook: no answer, however odd, makes it raise."""

import pkgutil
from importlib import import_module
from inspect import signature

import pytest
import torch

from course_lib import exercises
from course_lib.exercises import Verdict, closed_form, compare, omniglot, tangent, task_heads, two_loops

MODULES = [exercises, *(import_module(f"{exercises.__name__}.{m.name}") for m in pkgutil.iter_modules(exercises.__path__))]
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
        assert check(*[...] * len(signature(check).parameters)) is exercises.WAITING


@pytest.mark.parametrize(
    ("verdict", "message"),
    [
        (exercises.check_line([2, 2]), "two unknown numbers"),
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
