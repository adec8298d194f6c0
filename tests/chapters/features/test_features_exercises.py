"""The checks of notebook 05 confirm right answers and turn each common mistake into its hint."""

import pytest
import torch

from course_lib.chapters.features import exercises as tangent
from course_lib.chapters.features import solutions


def rows(model, x, parameters=None, power=1, entries=torch.flatten, together=torch.cat):
    parameters = list(model.parameters() if parameters is None else parameters(model))
    grads = [torch.autograd.grad((model(point) ** power).sum(), parameters) for point in x]
    return torch.stack([together([entries(g) for g in grad]) for grad in grads])


def for_x(model, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(model(x).sum(), x)[0]


def backward_each(model, x):
    result = []
    for point in x:
        model.zero_grad()
        model(point).backward()
        result.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    return torch.stack(result)


def one_graph(model, x):
    grads = [torch.autograd.grad(output, model.parameters()) for output in model(x)]
    return torch.stack([torch.cat([g.flatten() for g in grad]) for grad in grads])


@pytest.mark.parametrize(
    ("answer", "passed", "message"),
    [
        (rows, True, "Row i"),
        (lambda m, x: rows(m, x, lambda m: m.head.parameters()), False, "head's columns alone"),
        (lambda m, x: rows(m, x, lambda m: m.features.parameters()), False, "head's columns are missing"),
        (lambda m, x: rows(m, x, power=2), False, "square of the output"),
        (lambda m, x: rows(m, x).sum(0), False, "one row for all points"),
        (lambda m, x: rows(m, x).sum(0, keepdim=True), False, "one row for all points"),
        (lambda m, x: rows(m, x).cumsum(0), False, "added up"),
        (lambda m, x: rows(m, x).T, False, "row for each"),
        (lambda m, x: rows(m, x).flatten(), False, "`torch.stack`"),
        (lambda m, x: rows(m, x, together=torch.stack), False, "flatten each one's"),
        (lambda m, x: rows(m, x, entries=torch.sum, together=torch.stack), False, "Keep all of its entries"),
        (for_x, False, "for the input x"),
        (lambda m, x: m.features(x), False, "the usual view"),
        (lambda m, x: torch.autograd.grad(m(x).detach().sum(), m.parameters()), False, "was detached"),
        (backward_each, True, "leave nothing behind"),
        (one_graph, False, "one point at a time"),
        (lambda m, x: torch.autograd.grad(m(x), m.parameters()), False, "one point's output"),
        (lambda m, x: ..., None, "Replace the dots"),
        (lambda m, x: m.nothing, False, "raised AttributeError"),
        (lambda m, x: 3.0, False, "A tensor"),
    ],
)
def test_tangent_features(answer, passed, message):
    verdict = tangent.check_tangent_features(answer)
    assert verdict.passed is passed and message in str(verdict)


def share(functions, curves, r):
    return (curves @ functions[:, :r] / len(functions)).square().sum() / curves.square().mean(1).sum()


@pytest.mark.parametrize(
    ("answer", "passed", "message"),
    [
        (share, True, "top two"),
        (lambda f, c, r: share(f, c, r).item(), True, "top two"),
        (
            lambda f, c, r: (c @ f[:, r - 1 : r] / 40).square().sum() / c.square().mean(1).sum(),
            False,
            "alone",
        ),
        (lambda f, c, r: (c @ f[:, :r]).square().sum() / c.square().sum(), False, "both as means"),
        (lambda f, c, r: (c @ f[:, :r] / 40).square().sum() / c.square().sum(), False, "both as means"),
        (
            lambda f, c, r: ((c @ f[:, :r] / 40).square().sum(1) / c.square().mean(1)).mean(),
            False,
            "sum first",
        ),
        (lambda f, c, r: (c @ f[:, :r]).square().sum() / (c @ f).square().sum(), False, "none of these functions"),
        (lambda f, c, r: share(f, c, r) / r, False, "add up"),
        (lambda f, c, r: share(f[:, r : r + 1], c, 1), False, "column r alone"),
        (lambda f, c, r: (c @ f[:, :r] / 40).square().sum(1) / c.square().mean(1), False, "one share"),
        (lambda f, c, r: share(f, c, r).sqrt(), False, "no root"),
        (lambda f, c, r: share(f, c, r + 1), False, "the first r + 1"),
        (lambda f, c, r: share(f, c, r - 1), False, "the first r - 1"),
        (lambda f, c, r: (c @ f[:, :r] / 40).abs().sum() / c.square().mean(1).sum(), False, "Square the"),
        (lambda f, c, r: (c.square() @ f[:, :r] / 40).sum() / c.square().mean(1).sum(), False, "Square after the mean"),
        (lambda f, c, r: share(f, c, r) * (40 / len(c)) ** 2, False, "mean over the points"),
        (lambda f, c, r: share(f, c, r) * (40 / f.shape[1]) ** 2, False, "mean over the points"),
        (lambda f, c, r: share(f, c, r) / len(c), False, "both as sums"),
        (lambda f, c, r: share(f, c, r) * len(c), False, "both as sums"),
        (lambda f, c, r: share(f, c, f.shape[1]), False, "share of all the functions"),
        (lambda f, c, r: 1 / share(f, c, r), False, "Turned round"),
        (lambda f, c, r: (c @ f[:, :r] / 40).square().sum(), False, "the energy itself"),
        (
            lambda f, c, r: (c @ f[:, :r] / 40).square().mean() / c.square().mean(1).sum(),
            False,
            "over the points alone",
        ),
        (lambda f, c, r: (c @ f[:, :r] / 40).square().sum() / c.square().mean(0).sum(), False, "`mean(1)`"),
        (lambda f, c, r: c @ f[:r], False, "are columns"),
        (lambda f, c, r: ..., None, "Replace the dots"),
    ],
)
def test_energy_share(answer, passed, message):
    verdict = tangent.check_energy_share(answer)
    assert verdict.passed is passed and message in str(verdict)


def eigen(J, which=-1):
    return torch.linalg.eigvalsh(J @ J.T)[which]


@pytest.mark.parametrize(
    ("answer", "passed", "message"),
    [
        (lambda J: len(J) / eigen(J), True, "Hessian"),
        (lambda J: 2 / torch.linalg.eigvalsh(2 * J.T @ J / len(J))[-1], True, "Hessian"),
        (lambda J: 1 / eigen(J), False, "negative side"),
        (lambda J: eigen(J) / len(J), False, "Turned round"),
        (lambda J: len(J) / eigen(J) / 2, False, "twice that rate"),
        (lambda J: len(J) / eigen(J).sqrt(), False, "roots"),
        (lambda J: J.shape[1] / eigen(J), False, "not over the parameters"),
        (lambda J: len(J) / J.square().sum(), False, "the sum of all eigenvalues"),
        (lambda J: len(J) / torch.linalg.eigvalsh(J @ J.T), False, "One of them diverges first"),
        (lambda J: len(J) / torch.linalg.eigvals(J @ J.T).max(), False, "eigvalsh"),
        (lambda J: len(J) / torch.linalg.eigvalsh(J)[-1], False, "`J @ J.T`"),
        (lambda J: ..., None, "Replace the dots"),
    ],
)
def test_border(answer, passed, message):
    verdict = tangent.check_border(answer)
    assert verdict.passed is passed and message in str(verdict)


@pytest.mark.parametrize(
    ("answer", "passed", "message"),
    [
        (lambda c: c.square().mean(0).view(2, -1).mean(0), True, "Closed form"),
        (lambda c: c.square().sum(0).view(2, -1).sum(0), True, "common factor"),
        (lambda c: c.square().sum(0).view(2, -1).sum(0).sqrt(), False, "That is the root"),
        (lambda c: c.abs().mean(0).view(2, -1).mean(0), False, "not its size"),
        (lambda c: c.var(0).view(2, -1).mean(0), False, "tasks' own mean"),
        (lambda c: c.mean(0).square().view(2, -1).mean(0), False, "the square of the mean"),
        (lambda c: c[0].square().view(2, -1).mean(0), False, "the first task alone"),
        (lambda c: c.square().mean(1), False, "one number for each task"),
        (lambda c: 1 / c.square().mean(0).view(2, -1).mean(0), False, "makes a frequency cheap"),
        (lambda c: c[:, :10].square().mean(0), False, "cosines alone"),
        (lambda c: c[:, 10:].square().mean(0), False, "sines alone"),
        (lambda c: c.square().mean(0).view(-1, 2).mean(1), False, "belong together"),
        (lambda c: ..., None, "Replace the dots"),
    ],
)
def test_feature_weights(answer, passed, message):
    verdict = tangent.check_feature_weights(answer)
    assert verdict.passed is passed and message in str(verdict)


@pytest.mark.parametrize(
    ("answer", "passed", "message"),
    [
        (..., None, "Replace the dots"),
        (50, True, "first eigenvalues"),
        (7, False, "When is that zero"),
    ],
)
def test_one_step_rate(answer, passed, message):
    verdict = tangent.check_one_step_rate(answer)
    assert verdict.passed is passed and message in str(verdict)


def test_the_solutions_pass_and_the_open_question_shows_a_model_answer():
    assert tangent.check_tangent_features.solution(solutions.tangent_features).passed
    assert tangent.check_energy_share.solution(solutions.energy_share).passed
    assert tangent.check_border.solution(solutions.border).passed
    assert tangent.check_feature_weights.solution(solutions.feature_weights).passed
    assert tangent.check_one_step_rate.solution(1 / (2 * 0.01)).passed
    assert "near the ends" in tangent.check_open.solution("It begins at the ends of the interval.").message
