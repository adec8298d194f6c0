"""The checks of notebook 08 confirm right answers and turn each common mistake into its hint."""

import copy
from functools import reduce
from types import SimpleNamespace

import pytest
import torch

from course_lib.chapters.reptile import exercises as reptile
from course_lib.chapters.reptile import solutions

UPDATES = [
    (lambda theta, ends, eps: theta + eps * (ends.mean(0) - theta), True, "Nothing was differentiated"),
    (lambda theta, ends, eps: theta.add_(eps * (ends.mean(0) - theta)), True, "Nothing was differentiated"),
    (lambda theta, ends, eps: ends.mean(0), False, "all the way"),
    (lambda theta, ends, eps: theta + eps * (ends[-1] - theta), False, "Only the last task"),
    (lambda theta, ends, eps: eps * theta + (1 - eps) * ends.mean(0), False, "exchanged"),
    (lambda theta, ends, eps: theta + eps * (ends - theta), False, "expected [7]"),
    (lambda theta, ends, eps: eps * (ends.mean(0) - theta), False, "step alone"),
    (lambda theta, ends, eps: theta + eps * (ends.mean() - theta), False, "over the tasks only"),
    (lambda theta, ends, eps: reduce(lambda now, end: now + eps * (end - now), ends, theta), False, "moves once"),
    (lambda theta, ends, eps: theta + eps * (ends.sum(0) - theta), False, "take their mean"),
    (lambda theta, ends, eps: theta + eps / len(ends) * (ends.mean(0) - theta), False, "divided by the number"),
    (lambda theta, ends, eps: theta + eps * ends.mean(0) - theta, False, "brackets"),
    (lambda theta, ends, eps: theta + eps * (ends.mean(1) - theta), False, "`ends.mean(0)` is [P]"),
    (lambda theta, ends, eps: ..., None, "Replace the dots"),
    (lambda theta, ends, eps: theta @ ends, False, "raised RuntimeError"),
]


@pytest.mark.parametrize(("answer", "passed", "message"), UPDATES)
def test_update(answer, passed, message):
    verdict = reptile.check_update(answer)
    assert verdict.passed is passed and message in str(verdict)


def outer_step(keep, restart, collect, part, arrive=torch.add):
    """An outer step with each of its five decisions as a function, right or wrong."""

    def step(model, batch, inner_loop, epsilon):
        theta = {name: keep(p) for name, p in model.named_parameters()}
        ends = []
        for i in range(batch.num_tasks):
            if restart:
                model.load_state_dict(theta)
            inner_loop(model, batch.support_x[i], batch.support_y[i])
            ends.append({name: p.detach().clone() for name, p in model.named_parameters()})
        with torch.no_grad():
            for name, p in model.named_parameters():
                way = part(epsilon) * collect(torch.stack([end[name] for end in ends]) - theta[name])
                p.copy_(arrive(theta[name], way))
        return model

    return step


copied, alias = (lambda p: p.detach().clone()), (lambda p: p.data)
mean, last, total = (lambda moves: moves.mean(0)), (lambda moves: moves[-1]), (lambda moves: moves.sum(0))
same, whole = (lambda epsilon: epsilon), (lambda epsilon: 1.0)


def elsewhere(step):
    """The same step, of a copy of the model."""
    return lambda model, *rest: step(copy.deepcopy(model), *rest)


def after_each_task(model, batch, inner_loop, epsilon):
    """The paper's algorithm 1, once for each task of the batch."""
    for x, y in zip(batch.support_x, batch.support_y):
        theta = {name: p.detach().clone() for name, p in model.named_parameters()}
        inner_loop(model, x, y)
        with torch.no_grad():
            for name, p in model.named_parameters():
                p.copy_(theta[name] + epsilon * (p - theta[name]))
    return model


def returns_nothing(*arguments):
    outer_step(copied, True, mean, same)(*arguments)


def on_the_queries(model, batch, *rest):
    there = SimpleNamespace(num_tasks=batch.num_tasks, support_x=batch.query_x, support_y=batch.query_y)
    return outer_step(copied, True, mean, same)(model, there, *rest)


def not_written_back(model, batch, inner_loop, epsilon):
    theta = {name: p.detach().clone() for name, p in model.named_parameters()}
    for x, y in zip(batch.support_x, batch.support_y):
        model.load_state_dict(theta)
        inner_loop(model, x, y)
    for name, p in model.named_parameters():
        p = theta[name] + epsilon * (p - theta[name])
    return model


def outside_no_grad(model, batch, inner_loop, epsilon):
    for p in model.parameters():
        p.copy_(torch.zeros_like(p))


@pytest.mark.parametrize(
    ("answer", "passed", "message"),
    [
        (elsewhere(outer_step(copied, True, mean, same)), True, "in a new model"),
        (elsewhere(outer_step(copied, True, total, same)), False, "summed"),
        (lambda model, *rest: dict(model.named_parameters()), False, "as before. Change it and return it"),
        (returns_nothing, True, "theta is a copy"),
        (outer_step(copied, True, mean, same), True, "theta is a copy"),
        (outer_step(alias, False, last, same), False, "moved along (clone it)"),
        (outer_step(copied, False, last, same), False, "theta is kept now"),
        (outer_step(copied, True, last, same), False, "Only the last task"),
        (outer_step(copied, True, mean, whole), False, "epsilon is missing"),
        (outer_step(copied, True, mean, lambda epsilon: -epsilon), False, "sign is turned around"),
        (outer_step(copied, True, mean, lambda epsilon: 1 - epsilon), False, "exchanged"),
        (outer_step(copied, True, mean, same, lambda theta, way: way), False, "the step alone"),
        (outer_step(copied, True, mean, same, lambda theta, way: 1.3 * theta + way), False, "DIFFERENCE"),
        (on_the_queries, False, "the inner loop sees the support set"),
        (not_written_back, False, "`p.copy_(...)`, not `p = ...`"),
        (outside_no_grad, False, "inside `with torch.no_grad():`"),
        (after_each_task, False, "then moves once"),
        (lambda model, batch, inner_loop, epsilon: ..., None, "Replace the dots"),
        (lambda model, batch, inner_loop, epsilon: None, None, "Replace the dots"),
        (lambda model, batch, inner_loop, epsilon: model, False, "as before. Change it and return it"),
        (
            lambda model, batch, inner_loop, epsilon: inner_loop(model, *batch.support_x[:2]).eval(),
            False,
            "returns nothing",
        ),
        (lambda model, batch, inner_loop, epsilon: model(batch), False, "raised"),
    ],
)
def test_mended(answer, passed, message):
    verdict = reptile.check_mended(answer)
    assert verdict.passed is passed and message in str(verdict)


def test_the_problem_of_the_check_tells_the_mistakes_apart():
    """Tasks one after another, and each from theta, end in different places."""
    model, batch = reptile.small_problem()
    own = copy.deepcopy(model)
    reptile.descend(own, batch.support_x[0], batch.support_y[0])
    first = reptile.flat(own)
    reptile.descend(own, batch.support_x[1], batch.support_y[1])
    other = copy.deepcopy(model)
    reptile.descend(other, batch.support_x[1], batch.support_y[1])
    assert (reptile.flat(own) - reptile.flat(other)).norm() > 0.05 * (first - reptile.flat(model)).norm()


@pytest.mark.parametrize(
    ("answers", "passed", "message"),
    [
        ((-8, -4, -2), True, "four times"),
        ((-8, -5, -2), False, "k counts gradients"),
        ((8, 4, 2), False, "mind the sign"),
        ((-8, -4, -4), False, "only the last one feels four"),
        ((-6, -3, -1.5), False, "for k = 4"),
        ((-8, -3, -1.5), False, "for k = 4"),
        ((-8, -4, -2.5), False, "half of it the mean"),
        ((-8, 0, -2), False, "is taken after four steps"),
        ((-8, -4, -3), False, "Count the earlier gradients"),
        ((..., ..., ...), None, "Replace the dots"),
    ],
)
def test_coefficients(answers, passed, message):
    verdict = reptile.check_coefficients(*answers)
    assert verdict.passed is passed and message in str(verdict)


@pytest.mark.parametrize(
    ("answer", "passed", "message"),
    [
        (lambda a, x, k: 1 - (1 - 2 * a * x**2) ** k, True, "however flat"),
        (lambda a, x, k: 1 - x.square_().mul_(-2 * a).add_(1).pow_(k), True, "however flat"),
        (lambda a, x, k: 1 - (1 - 2 * a * x) ** k, False, "one |x|"),
        (lambda a, x, k: 2 * a * k * x**2, False, "first order"),
        (lambda a, x, k: a * k * x**2, False, "and the SQUARE"),
        (lambda a, x, k: 1 - (1 - 2 * a * x**2) ** (k - 1), False, "k-th power"),
        (lambda a, x, k: 1 - k * (1 - 2 * a * x**2), False, "not k times"),
        (lambda a, x, k: (1 - 2 * a * x**2) ** k - 1, False, "Mind the sign: the part gone"),
        (lambda a, x, k: 1 - (2 * a * x**2) ** k, False, "is what is LEFT, 1 - 2"),
        (lambda a, x, k: (2 * a * x**2) ** k, False, "not the part gone"),
        (lambda a, x, k: (1 - a * x**2) ** k, False, "LEFT of the distance; and"),
        (lambda a, x, k: 1 - (1 + 2 * a * x**2) ** k, False, "Mind the sign"),
        (lambda a, x, k: 1 - (1 - a * x) ** k, False, "|x| comes twice"),
        (lambda a, x, k: ..., None, "Replace the dots"),
    ],
)
def test_pull(answer, passed, message):
    verdict = reptile.check_pull(answer)
    assert verdict.passed is passed and message in str(verdict)


def reptile_with(collect=lambda moves: moves.mean(0), change=lambda move: move):
    """A Reptile with one decision turned: how the tasks' moves [T, ...] meet, or what is returned."""

    def reptile(inner_loop, model, batch, steps, inner_lr):
        theta = dict(model.named_parameters())
        points = zip(batch.support_x, batch.support_y)
        ends = [inner_loop(model, theta, x, y, steps, inner_lr) for x, y in points]
        moves = {n: torch.stack([(theta[n] - end[n]).detach() for end in ends]) for n in theta}
        return {n: change(collect(move)) for n, move in moves.items()}

    return reptile


def less_the_ends(collect):
    """theta minus something of the tasks' ends [T, ...]."""

    def reptile(inner_loop, model, batch, steps, inner_lr):
        theta = dict(model.named_parameters())
        points = zip(batch.support_x, batch.support_y)
        ends = [inner_loop(model, theta, x, y, steps, inner_lr) for x, y in points]
        return {n: (p - collect(torch.stack([end[n] for end in ends]))).detach() for n, p in theta.items()}

    return reptile


def from_weights(given):
    return lambda loop, model, batch, *rest: loop(model, given(model), batch.support_x[0], batch.support_y[0], *rest)


def in_another_order(*arguments):
    return dict(reversed(reptile_with()(*arguments).items()))


def chained(inner_loop, model, batch, steps, inner_lr):
    theta = now = dict(model.named_parameters())
    for points in zip(batch.support_x, batch.support_y):
        now = inner_loop(model, now, *points, steps, inner_lr)
    return {n: (p - now[n]).detach() for n, p in theta.items()}


def together(inner_loop, model, batch, steps, inner_lr):
    theta = dict(model.named_parameters())
    end = inner_loop(model, theta, batch.support_x, batch.support_y, steps, inner_lr)
    return {n: (p - end[n]).detach() for n, p in theta.items()}


def first_order(inner_loop, model, batch, steps, inner_lr):
    theta, mean = dict(model.named_parameters()), {n: 0 for n, _ in model.named_parameters()}
    for x, y, query_x, query_y in zip(batch.support_x, batch.support_y, batch.query_x, batch.query_y):
        end = {n: p.detach().requires_grad_() for n, p in inner_loop(model, theta, x, y, steps, inner_lr).items()}
        loss = (torch.func.functional_call(model, end, (query_x,)) - query_y).square().mean()
        for (n, _), g in zip(end.items(), torch.autograd.grad(loss, end.values())):
            mean[n] = mean[n] + g / batch.num_tasks
    return mean


def without_gradients(*arguments):
    with torch.no_grad():
        return reptile_with()(*arguments)


def in_place(inner_loop, model, batch, steps, inner_lr):
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    return dict(model.named_parameters())


@pytest.mark.parametrize(
    ("answer", "passed", "message"),
    [
        (reptile_with(), True, "no outer derivative"),
        (reptile_with(change=lambda move: move.clone().requires_grad_()), True, "detach"),
        (reptile_with(collect=lambda moves: moves[-1]), False, "Only the last task"),
        (reptile_with(change=lambda move: move / (reptile.STEPS * reptile.INNER_LR)), False, "Do not divide"),
        (lambda loop, model, *rest: list(reptile_with()(loop, model, *rest).values()), False, "names of the model"),
        (reptile_with(change=lambda move: move / reptile.INNER_LR), False, "divide by alpha"),
        (reptile_with(change=lambda move: move / reptile.STEPS), False, "Do not divide by k"),
        (reptile_with(collect=lambda moves: moves[0]), False, "Only the first task"),
        (reptile_with(collect=lambda moves: moves.sum(0) / reptile.STEPS), False, "the mean is over the tasks"),
        (less_the_ends(lambda ends: ends.sum(0) / reptile.STEPS), False, "the mean is over the tasks"),
        (from_weights(lambda model: model.parameters()), False, "go in as a dictionary"),
        (from_weights(lambda model: model.state_dict()), False, "no `state_dict`"),
        (lambda loop, model, batch, steps, lr: loop(model, batch.support_x[0]), False, "As in notebook 02"),
        (less_the_ends(lambda ends: torch.tensor([*ends.detach()]).mean(0)), False, "`torch.stack`"),
        (less_the_ends(lambda ends: ends.sum(0)), False, "minus the SUM"),
        (less_the_ends(lambda ends: ends.mean()), False, "one number of a whole tensor"),
        (in_another_order, True, "no outer derivative"),
        (chained, False, "one before it ended"),
        (together, False, "the points of all tasks"),
        (first_order, False, "FOMAML's gradient"),
        (without_gradients, False, "call it outside of `no_grad`"),
        (in_place, False, "changed the model"),
        (lambda *rest: ..., None, "Replace the dots"),
    ],
)
def test_reptile(answer, passed, message):
    verdict = reptile.check_reptile(answer)
    assert verdict.passed is passed and message in str(verdict)


def test_the_solutions_pass_and_the_open_question_waits_for_words():
    for check, answer in (
        (reptile.check_update, solutions.update),
        (reptile.check_reptile, solutions.reptile),
        (reptile.check_mended, solutions.outer_step),
        (reptile.check_pull, solutions.pull),
    ):
        assert check.solution(answer).passed, check.name
    assert reptile.check_open(...).passed is None and reptile.check_open("at one rate Reptile is ahead").passed
