"""The checks of notebook 07 confirm right answers and turn each common mistake into its hint."""

from itertools import count, cycle

import pytest
import torch
from torch.func import functional_call

from course_lib.chapters.closed_form import exercises as closed_form
from course_lib.chapters.closed_form import solutions


@pytest.mark.parametrize(
    ("answer", "passed", "message"),
    [
        (lambda p: [n for n in p if n.startswith("head.")], True, "outer loop's list"),
        (lambda p: [n for n in p if n.startswith("features")], False, "Those are the features"),
        (lambda p: [], False, "union of tasks"),
        (lambda p: "head", False, "letter by letter"),
        (lambda p: 3, False, "not `int`"),
        (lambda p: [(n, t) for n, t in p.items() if n.startswith("head.")], False, "without their tensors"),
        (lambda p: ["head.weight", "features.0.bias"], False, "Expected the names"),
        (lambda p: (n for n in p if n.startswith("head.")), False, "make it a list"),
        (lambda p: cycle(["head.weight", "head.bias"]), False, "make it a list"),
        (cycle, False, "that is MAML"),
        (lambda p: count(), False, "without their tensors"),
        (lambda p: [n for n, _ in p.named_parameters()], False, "a loop over it gives its names"),
        (lambda p: [n for n, _ in p if n.startswith("head.")], False, "`params.items()` gives pairs"),
        (lambda p: ..., None, "Replace the dots"),
    ],
)
def test_names(answer, passed, message):
    verdict = closed_form.check_names(answer)
    assert verdict.passed is passed and message in str(verdict)


def system(z, added):
    return z.mT @ z + added * torch.eye(z.shape[-1], dtype=z.dtype)


def solve(z, y, added):
    return torch.linalg.solve(system(z, added), z.mT @ y)


def woodbury(z, y, lam):
    return z.mT @ torch.linalg.solve(z @ z.mT + lam * torch.eye(z.shape[1], dtype=z.dtype), y)


@pytest.mark.parametrize(
    ("answer", "passed", "message"),
    [
        (solve, True, "autograd"),
        (woodbury, True, "autograd"),
        (lambda z, y, lam: solve(z, y, 0), False, "lambda is missing"),
        (lambda z, y, lam: solve(z, y, lam * z.shape[1]), False, "took their mean"),
        (lambda z, y, lam: solve(z, y, lam / z.shape[1]), False, "divided by the number"),
        (lambda z, y, lam: solve(z, y, lam**2), False, "not lambda^2"),
        (lambda z, y, lam: solve(z, y, 2 * lam), False, "factor of 2"),
        (lambda z, y, lam: solve(z, y, 1), False, "lam times the identity"),
        (lambda z, y, lam: solve(z, y, -lam), False, "sign of lambda"),
        (lambda z, y, lam: z.mT @ y, False, "not solved"),
        (lambda z, y, lam: solve(z, y, lam).mT, False, "[T, W, D]"),
        (lambda z, y, lam: z @ y @ z, False, "z.mT transposes"),
        (lambda z, y, lam: z @ z.mT + lam * torch.eye(z.shape[2]), False, "on a diagonal of S"),
        (lambda z, y, lam: z.mT @ z + lam * torch.eye(len(z)), False, "for each of the 3 tasks"),
        (lambda z, y, lam: torch.linalg.solve(z.mT @ y, z.mT @ z), False, "the square system first"),
        (lambda z, y, lam: solve(z, y, lam).detach(), False, "go through the solve"),
        (lambda z, y, lam: solve(z, y, lam).detach().requires_grad_(), False, "go through the solve"),
        (lambda z, y, lam: torch.nn.Parameter(solve(z.detach(), y, lam)), False, "go through the solve"),
        (lambda z, y, lam: system(z.detach(), lam).inverse() @ z.mT @ y, False, "go through the solve"),
        (lambda z, y, lam: system(z, lam).inverse() @ z.mT @ y, True, "autograd"),
        (lambda z, y, lam: torch.stack([solve(*task, lam) for task in zip(z, y)]), True, "autograd"),
        (lambda z, y, lam: solve(z.float(), y.float(), lam), True, "autograd"),
        (lambda z, y, lam: torch.linalg.solve(z.mT @ z + lam * torch.eye(4), y), False, "goes with the system"),
        (lambda z, y, lam: torch.linalg.solve(z @ z.mT + lam * torch.eye(6), y), False, "the head is `z.mT @` it"),
        (lambda z, y, lam: z @ solve(z, y, lam), False, "fitted targets"),
        (lambda z, y, lam: solve(torch.cat([z, torch.ones_like(z[..., :1])], -1), y, lam), False, "no bias here"),
        (lambda z, y, lam: solve(z.flatten(0, 1), y.flatten(0, 1), lam), False, "one head for all tasks"),
        (lambda z, y, lam: (z.mT @ z + lam * torch.eye(4)) ** -1 @ z.mT @ y, False, "every entry by itself"),
        (lambda z, y, lam: torch.from_numpy(solve(z, y, lam).numpy()), False, "Stay in torch"),
        (solutions.ridge, True, "autograd"),
        (lambda z, y, lam: ..., None, "Replace the dots"),
    ],
)
def test_ridge(answer, passed, message):
    verdict = closed_form.check_ridge(answer)
    assert verdict.passed is passed and message in str(verdict)


@pytest.mark.parametrize(
    ("answer", "passed", "message"),
    [
        ((5, 65), True, "5 x 5"),
        ((1, 65), False, "five classes"),
        ((6, 65), False, "one more feature"),
        ((5, 101), False, "one more feature"),
        ((7, 7), False, "as many unknowns"),
        (5, False, "Two numbers"),
        ((..., ...), None, "Replace the dots"),
    ],
)
def test_sizes(answer, passed, message):
    verdict = closed_form.check_sizes(answer)
    assert verdict.passed is passed and message in str(verdict)


def centers(z, y):
    return torch.stack([z[y == way].mean(0) for way in range(3)])


def squares(c):
    return c.square().sum(1)


@pytest.mark.parametrize(
    ("answer", "passed", "message"),
    [
        (lambda z, y: (2 * centers(z, y), -squares(centers(z, y))), True, "no system"),
        (lambda z, y: [2 * centers(z, y), -squares(centers(z, y))], True, "no system"),
        (lambda z, y: (2 * centers(z, y), -centers(z, y).norm(dim=1)), False, "SQUARE"),
        (lambda z, y: (centers(z, y), torch.zeros(3)), False, "bias is missing"),
        (lambda z, y: (centers(z, y), -squares(centers(z, y)) / 2), False, "softmax is softer"),
        (lambda z, y: (-2 * centers(z, y), squares(centers(z, y))), False, "Those are distances"),
        (
            lambda z, y: (2 * (s := torch.stack([z[y == w].sum(0) for w in range(3)])), -squares(s)),
            False,
            "divide by how many",
        ),
        (lambda z, y: (3 * centers(z, y), -squares(centers(z, y))), False, "In the weight"),
        (lambda z, y: (-2 * centers(z, y), -squares(centers(z, y))), False, "sign of the mixed term"),
        (lambda z, y: (2 * centers(z, y), -centers(z, y).square().mean(1)), False, "no mean"),
        (lambda z, y: (2 * centers(z, y), -centers(z, y).sum(1)), False, "SQUARE"),
        (lambda z, y: (2 * (c := z.view(3, 3, 4).mean(1)), -squares(c)), False, "`y` says whose they are"),
        (lambda z, y: centers(z, y), False, "Two tensors"),
        (lambda z, y: (..., ...), None, "Replace the dots"),
    ],
)
def test_means(answer, passed, message):
    verdict = closed_form.check_means(answer)
    assert verdict.passed is passed and message in str(verdict)


def ones_first(model, params, x, y, lam):
    z = closed_form._features(model, params, x)
    w = solutions.ridge(torch.cat([torch.ones_like(z[:, :1]), z], 1), y, lam)
    return params | {"head.weight": w[:-1].T, "head.bias": w[-1]}


def free_bias(model, params, x, y, lam):
    z = closed_form._features(model, params, x)
    z = torch.cat([z, torch.ones_like(z[:, :1])], 1)
    w = torch.linalg.solve(z.T @ z + lam * torch.diag(torch.tensor([1.0, 1, 1, 1, 0])), z.T @ y)
    return params | {"head.weight": w[:-1].T, "head.bias": w[-1]}


def lambda_everywhere(model, params, x, y, lam):
    z = closed_form._features(model, params, x)
    z = torch.cat([z, torch.ones_like(z[:, :1])], 1)
    w = torch.linalg.solve(z.T @ z + lam, z.T @ y)
    return params | {"head.weight": w[:-1].T, "head.bias": w[-1]}


def old_bias(model, params, x, y, lam):
    return params | {"head.weight": solutions.ridge(closed_form._features(model, params, x), y, lam).T}


def into_data(model, params, x, y, lam):
    for name, part in solutions.solved_head(model, params, x, y, lam).items():
        params[name].data = part
    return params


def halving_the_body(model, params, x, y, lam):
    with torch.no_grad():
        for name, part in params.items():
            if name.startswith("features."):
                part.mul_(0.5)
    return solutions.solved_head(model, params, x, y, lam)


def halving_the_body_in_its_dictionary(model, params, x, y, lam):
    for name in params:
        if name.startswith("features."):
            params[name] = params[name] / 2
    return solutions.solved_head(model, params, x, y, lam)


def less_a_bias(model, params, x, y, lam):
    del params["features.0.bias"]  # functional_call then takes the model's own
    return solutions.solved_head(model, params, x, y, lam)


def halving_a_copy(model, params, x, y, lam):
    for part in [p.detach().clone() for p in params.values()]:
        part.mul_(0.5)
    return solutions.solved_head(model, params, x, y, lam)


def in_the_same_dictionary(model, params, x, y, lam):
    params |= solutions.solved_head(model, params, x, y, lam)
    return params


def solved(ones=1, strength=lambda lam, n: lam, detach=False, keep=False, flat=False):
    """The model solution, spoilt in one way."""

    def head(model, params, x, y, lam):
        z = closed_form._features(model, params, x)
        z = torch.cat([z, torch.ones_like(z[:, :ones])], 1)
        w = torch.linalg.solve(z.T @ z + strength(lam, len(z)) * torch.eye(z.shape[1], dtype=z.dtype), z.T @ y)
        w = w.detach() if detach else w
        weight, bias = (w[:-1].T, w[-1]) if ones else (w.T, torch.zeros(1, dtype=z.dtype))
        new = {"head.weight": w[:-1] if flat else weight, "head.bias": bias}
        return new if keep else params | new

    return head


@pytest.mark.parametrize(
    ("answer", "passed", "message"),
    [
        (solutions.solved_head, True, "where the k steps were"),
        (solved(), True, "where the k steps were"),
        (solved(ones=0), False, "bias is missing"),
        (solved(ones=4), False, "One column of ones"),
        (solved(strength=lambda lam, n: 0), False, "add lambda on the diagonal"),
        (into_data, False, "`.data`"),
        (lambda model, params, x, *rest: functional_call(model.features, params, (x,)), False, "without `features.`"),
        (in_the_same_dictionary, True, "return a new dictionary"),
        (halving_the_body, False, "You changed the body's parameters"),
        (halving_the_body_in_its_dictionary, False, "You changed the body's parameters"),
        (less_a_bias, False, "same names"),
        (halving_a_copy, True, "where the k steps were"),
        (lambda model, params, *rest: params["head.weight"].mul_(2), False, "return a new dictionary"),
        (lambda model, params, x, y, lam: torch.cat([x, torch.ones(7)], 1), False, "one more feature"),
        (solved(strength=lambda lam, n: lam * n), False, "took their mean"),
        (solved(strength=lambda lam, n: lam**2), False, "not lambda^2"),
        (solved(detach=True), False, "go through the solve"),
        (ones_first, False, "comes first in your features"),
        (lambda_everywhere, False, "on the diagonal only"),
        (free_bias, False, "the whole diagonal"),
        (old_bias, False, "bias is missing"),
        (solved(keep=True), False, "same names"),
        (solved(flat=True), False, "must be of shape [1, 4]"),
        (lambda model, params, x, y, lam: dict(params), False, "old one still"),
        (lambda model, params, x, y, lam: {n: 2 * p for n, p in params.items()}, False, "body's parameters go on"),
        (lambda model, params, x, y, lam: ..., None, "Replace the dots"),
    ],
)
def test_solved_head(answer, passed, message):
    verdict = closed_form.check_solved_head(answer)
    assert verdict.passed is passed and message in str(verdict)


def test_model_solutions_pass_and_the_open_exercise_answers_once_something_is_written():
    assert closed_form.check_names(solutions.names).passed and closed_form.check_means(solutions.means).passed
    assert closed_form.check_open(...).passed is None
    assert "moves the best lambda up" in str(closed_form.check_open("More noise, more penalty, I find."))
