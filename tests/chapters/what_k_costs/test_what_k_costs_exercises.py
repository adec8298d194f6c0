"""The checks of notebook 03 confirm right answers and turn each common mistake into its hint."""

import pytest
import torch

from course_lib.analysis.unrolling import clip
from course_lib.chapters.what_k_costs import exercises as what_k_costs
from course_lib.chapters.what_k_costs import solutions


def stretch(eigenvalues, alpha, k):
    return (1 - alpha * eigenvalues).abs().max() ** k


@pytest.mark.parametrize(
    ("answer", "passed", "message"),
    [
        (stretch, True, "explodes with k"),
        (lambda e, a, k: stretch(e, a, k).item(), True, ""),
        (lambda e, a, k: ..., None, "Replace the dots"),
        (lambda e, a, k: (1 - a * e).abs().max() ** 5, False, ""),
        (lambda e, a, k: (1 - a * e).abs().sum() ** k, False, "not their sum"),
        (lambda e, a, k: (1 - a * e).abs().prod() ** k, False, "determinant"),
        (lambda e, a, k: ((1 - a * e) ** k).norm(), False, "Frobenius"),
        (lambda e, a, k: (1 - a * e).abs().mean() ** k, False, "mean stretch"),
        (lambda e, a, k: (1 - a * e).square().max() ** k, False, "the norm squared"),
        (lambda e, a, k: (1 - e).abs().max() ** k, False, "The rate is missing"),
        (lambda e, a, k: (1 - a * e).norm() ** k, False, "Frobenius"),
        (lambda e, a, k: stretch(e, a, k).reshape(1), True, "explodes with k"),
        (lambda e, a, k: (1 - a * e) ** k, False, "3 numbers came back"),
        (lambda e, a, k: (1 - a * e.max()) ** k, False, "never negative"),
        (lambda e, a, k: (1 - a * e.abs()).abs().max() ** k, False, "Keep the sign"),
        (lambda e, a, k: k * (1 - a * e).abs().max(), False, "The steps multiply"),
        (lambda e, a, k: (1 - k * a * e).abs().max(), False, "The steps multiply"),
        (lambda e, a, k: (a * e).abs().max() ** k, False, "is 1 - alpha lambda"),
        (lambda e, a, k: (1 + a * e).abs().max() ** k, False, "is 1 - alpha lambda"),
        (lambda e, a, k: e @ torch.ones(7), False, "raised"),
        (lambda e, a, k: e.mul_(-a).add_(1).abs_().max() ** k, True, "explodes with k"),
    ],
)
def test_stretch(answer, passed, message):
    verdict = what_k_costs.check_stretch(answer)
    assert verdict.passed is passed and message in str(verdict)


@pytest.mark.parametrize(
    ("answer", "passed", "message"),
    [
        (clip, True, "same direction"),
        (lambda g, c: ..., None, "Replace the dots"),
        (lambda g, c: g, False, "came back as it was"),
        (lambda g, c: g * min(1.0, 2.0 / g.norm()), False, "largest difference"),
        (lambda g, c: g.mul_(min(1.0, c / g.norm())), True, "same direction"),
        (lambda g, c: torch.nn.utils.clip_grad_norm_(g, c), False, "Return the shortened gradient"),
        (lambda g, c: g / g.norm() if g.norm() > c else g, False, "not 1"),
        (lambda g, c: g * min(1.0, c / g.square().sum()), False, "not by its square"),
        (lambda g, c: clip(g, c).numpy(), True, "same direction"),
        (lambda g, c: clip(g, c).tolist(), True, "same direction"),
        (lambda g, c: min(g.norm().item(), c), False, "Return the shortened gradient"),
        (lambda g, c: g * c if g.norm() > c else g, False, "over the norm that g has"),
        (lambda g, c: g * min(1.0, c / g.abs().sum()), False, "root of the sum of squares"),
        (lambda g, c: g * min(1.0, c / g.abs().max()), False, "the largest entry"),
        (lambda g, c: g * max(1.0, c / g.norm()), False, "the smaller of 1"),
        (lambda g, c: g * max(1.0, g.norm() / c), False, "Turned round"),
        (lambda g, c: g / c if g.norm() > c else g, False, "divides by max_norm"),
        (lambda g, c: g - (g.norm() - c) if g.norm() > c else g, False, "Taking the same off"),
        (lambda g, c: g * c / g.norm() if g.norm() > c else None, False, "return it as it is"),
        (lambda g, c: None, None, "returns nothing yet"),
    ],
)
def test_clip(answer, passed, message):
    verdict = what_k_costs.check_clip(answer)
    assert verdict.passed is passed and message in str(verdict)


@pytest.mark.parametrize(
    ("answer", "passed", "message"),
    [
        (..., None, "Replace the dots"),
        (9, True, "9.1"),
        (10, True, "9.1"),
        (11, False, "Minimise"),
        (9.04, False, "A whole number"),
        (30, False, "Minimise"),
    ],
)
def test_segments(answer, passed, message):
    verdict = what_k_costs.check_segments(answer, steps=50, kept_bytes=0.3, step_bytes=0.5)
    assert verdict.passed is passed and message in str(verdict)


def mean(errors):
    return sum(errors) / len(errors)


@pytest.mark.parametrize(
    ("answer", "passed", "message"),
    [
        (solutions.best_k, True, "the rate that suits it"),
        (lambda v: ..., None, "Replace the dots"),
        (lambda v: min(v, key=lambda k: mean(v[k][max(v[k])])), False, "one for all"),
        (lambda v: min(v, key=lambda k: mean([mean(e) for e in v[k].values()])), False, "a mean over all"),
        (lambda v: min(v, key=lambda k: min(sorted(e)[len(e) // 2] for e in v[k].values())), True, "suits it"),
        (lambda v: min(v, key=lambda k: mean(v[k][3e-3])), False, "go through the rates that each k has"),
        (lambda v: min(v[5], key=lambda rate: mean(v[5][rate])), False, "That is an outer rate"),
        (lambda v: max(v, key=lambda k: min(mean(e) for e in v[k].values())), False, "Choose the smallest error"),
        (lambda v: min(v), False, "the smallest k, whatever"),
        (lambda v: {k: min(mean(e) for e in v[k].values()) for k in v}, False, "one of the k"),
        (lambda v: 5, False, "Another table"),
        (lambda v: 7, False, "one of the k"),
    ],
)
def test_choose_k(answer, passed, message):
    verdict = what_k_costs.check_best_k(answer)
    assert verdict.passed is passed and message in str(verdict)


def test_solutions_pass():
    assert what_k_costs.check_stretch(solutions.stretch).passed
    assert what_k_costs.check_clip(solutions.my_clip).passed
    assert what_k_costs.check_best_k(solutions.best_k).passed
    kept_bytes, step_bytes = 0.176, 0.331  # MB
    assert what_k_costs.check_segments(round((50 * step_bytes / kept_bytes) ** 0.5), 50, kept_bytes, step_bytes).passed
