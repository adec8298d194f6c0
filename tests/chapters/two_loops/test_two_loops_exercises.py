"""The checks of notebook 02 confirm right answers and turn each common mistake into its hint."""

import pytest
import torch
from torch.func import functional_call

from course_lib.algorithms import MAML
from course_lib.chapters.two_loops import exercises as two_loops
from course_lib.chapters.two_loops import solutions, wrong_loops


def inner_loop(
    model, params, x, y, steps, lr, *, sign=-1, total=False, graph=True, once=False, stale=False, times=1.0, more=0,
    squeezed=False, size=torch.square,
):  # fmt: skip
    lr, first = times * lr, None
    y = y.squeeze() if squeezed else y
    for _ in range(1 if once else steps + more):
        error = size(functional_call(model, params, (x,)) - y)
        grads = torch.autograd.grad(error.sum() if total else error.mean(), params.values(), create_graph=graph)
        first = first or grads
        params = {n: p + sign * lr * g for (n, p), g in zip(params.items(), first if stale else grads)}
    return params


def first_order(*inputs):
    return inner_loop(*inputs, graph=False)


def cut_off(model, params, *rest):
    return {n: p.detach() for n, p in inner_loop(model, params, *rest).items()}


def in_place(model, params, *rest):
    for name, p in inner_loop(model, params, *rest).items():
        params[name].data = p.detach()
    return params


@pytest.mark.parametrize(
    ("options", "passed", "message"),
    [
        ({}, True, "gradient through them"),
        ({"sign": 1}, False, "uphill"),
        ({"once": True}, False, "Repeat it"),
        ({"total": True}, False, "their mean"),
        ({"times": 0.5}, False, "no 1/2"),
        ({"times": 20}, False, "The rate is missing"),
        ({"more": -1}, False, "too few or too many"),
        ({"more": 1}, False, "too few or too many"),
        ({"size": lambda errors: errors}, False, "Square the errors"),
        ({"size": torch.abs}, False, "absolute error"),
        ({"squeezed": True}, False, "is [S, S]"),
        ({"stale": True}, False, "taken at the start"),
    ],
)
def test_inner_loop(options, passed, message):
    verdict = two_loops.check_inner_loop(lambda *a: inner_loop(*a, **options))
    assert verdict.passed is passed and message in str(verdict)


def test_inner_loop_that_loses_its_graph_or_its_start():
    assert "cut off" in str(two_loops.check_inner_loop(cut_off))
    assert "changed `params` itself" in str(two_loops.check_inner_loop(in_place))
    assert "Nothing changed" in str(two_loops.check_inner_loop(lambda model, params, *a: dict(params)))
    assert "same names" in str(two_loops.check_inner_loop(lambda model, params, *a: list(params.values())))
    assert two_loops.check_inner_loop(lambda *a: ...).passed is None
    assert "raised NameError" in str(two_loops.check_inner_loop(lambda *a: nothing))  # noqa: F821


def meta_gradient(
    own_loop,
    model,
    batch,
    steps,
    lr,
    *,
    graph=True,
    sign=1,
    total=False,
    judge="query",
    learns="support",
    points=False,
    stale=False,
    chained=False,
    last=False,
):
    theta = dict(model.named_parameters())
    params, losses = theta, []
    for i in range(batch.num_tasks):
        start = params if chained else theta
        given = (getattr(batch, f"{learns}_{part}")[i] for part in "xy")
        params = (own_loop if graph else first_order)(model, start, *given, steps, lr)
        x, y = (getattr(batch, f"{judge}_{part}")[i] for part in "xy")
        errors = (functional_call(model, theta if stale else params, (x,)) - y).square()
        losses.append(errors.sum() if points else errors.mean())
    losses = torch.stack(losses[-1:] if last else losses)
    grads = torch.autograd.grad(sign * (losses.sum() if total else losses.mean()), theta.values())
    return dict(zip(theta, grads))


@pytest.mark.parametrize(
    ("options", "passed", "message"),
    [
        ({}, True, "line 8"),
        ({"graph": False}, False, "create_graph"),
        ({"sign": -1}, False, "sign"),
        ({"stale": True}, False, "before they adapted"),
        ({"chained": True}, False, "All start from the same weights"),
        ({"last": True}, False, "last task alone"),
        ({"learns": "query"}, False, "You adapted on the query set"),
        ({"learns": "query", "judge": "support"}, False, "You adapted on the query set"),
        ({"points": True}, False, "the sum over the points"),
    ],
)
def test_meta_gradient(options, passed, message):
    verdict = two_loops.check_meta_gradient(lambda *a: meta_gradient(*a, **options))
    assert verdict.passed is passed and message in str(verdict)


def test_meta_gradient_unanswered_or_of_another_kind():
    assert two_loops.check_meta_gradient(lambda *a: ...).passed is None
    assert "names of model.named_parameters" in str(two_loops.check_meta_gradient(lambda *a: torch.zeros(3)))


def test_meta_gradient_for_the_last_adapted_weights():
    def answer(own_loop, model, batch, steps, lr):
        for x, y, query_x, query_y in zip(batch.support_x, batch.support_y, batch.query_x, batch.query_y):
            params = own_loop(model, dict(model.named_parameters()), x, y, steps, lr)
            loss = (functional_call(model, params, (query_x,)) - query_y).square().mean()
        return dict(zip(params, torch.autograd.grad(loss, params.values())))

    assert "the last task's adapted weights" in str(two_loops.check_meta_gradient(answer))


def differentiated(loss_at, for_what, detached=False, **options):
    """An inner loop whose loss is taken at, and differentiated for, the weights that these two say."""

    def loop(model, params, x, y, steps, lr):
        for _ in range(steps):
            loss = (loss_at(model, params, x) - y).square().mean()
            grads = torch.autograd.grad(loss, list(for_what(model, params)), create_graph=True, **options)
            with torch.set_grad_enabled(not detached):
                params = {name: p - lr * g for (name, p), g in zip(params.items(), grads)}
        return params

    return loop


def of_params(model, params, x):
    return functional_call(model, params, (x,))


OWN, GIVEN = (lambda model, params: model.parameters()), (lambda model, params: params.values())


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf", "ignore:Using backward")
@pytest.mark.parametrize(
    ("answer", "passed", "message"),
    [
        (differentiated(of_params, GIVEN), True, "gradient through them"),
        (differentiated(of_params, OWN), False, "must be the same weights, those in `params`"),
        (differentiated(of_params, OWN, allow_unused=True), False, "if the loss is that of `params`"),
        (differentiated(lambda model, params, x: model(x), GIVEN), False, "`model(x)` and"),
        (differentiated(of_params, GIVEN, detached=True), False, "cut off from `params`"),
        (lambda *a: list(inner_loop(*a).values()), False, "Return a dictionary"),
        (lambda m, params, *a: functional_call(m, [*params], (a[0],)), False, "keep the names"),
        (lambda model, params, x, y, steps, lr: {n: lr * n for n in params}, False, "walked through by its names"),
    ],
)
def test_inner_loop_with_the_wrong_weights(answer, passed, message):
    verdict = two_loops.check_inner_loop(answer)
    assert verdict.passed is passed and message in str(verdict)


SUM, SUPPORT, FIRST = "Take the mean", "query set judges", "create_graph"


@pytest.mark.parametrize(
    ("options", "said", "unsaid"),
    [
        ({"total": True, "judge": "support"}, (SUM, SUPPORT), (FIRST,)),
        ({"total": True, "graph": False}, (SUM, FIRST), (SUPPORT,)),
        ({"judge": "support", "graph": False}, (SUPPORT, FIRST), (SUM,)),
        ({"total": True, "judge": "support", "graph": False}, (SUM, SUPPORT, FIRST), ()),
    ],
)
def test_meta_gradient_with_several_flaws(options, said, unsaid):
    message = str(two_loops.check_meta_gradient(lambda *a: meta_gradient(*a, **options)))
    assert all(words in message for words in said) and not any(words in message for words in unsaid)


def test_repaired_loops():
    with_loop = lambda **options: lambda *a: meta_gradient(inner_loop, *a, **options)
    assert two_loops.check_repaired(with_loop()).passed
    assert "first-order" in str(two_loops.check_repaired(with_loop(graph=False)))
    assert "without any adaptation" in str(two_loops.check_repaired(with_loop(stale=True)))
    assert "line 10 divided" in str(two_loops.check_repaired(with_loop(total=True)))
    assert "For k = 1 it is still off" in str(two_loops.check_repaired(with_loop(judge="support")))
    assert two_loops.check_repaired(lambda *a: ...).passed is None
    without = lambda *a: with_loop()(*a[-4:]) | {"head.bias": None}
    for check in (two_loops.check_repaired, two_loops.check_meta_gradient):
        assert check(without).passed is False and "none of them None" in str(check(without))


def test_rate_of_a_sum():
    assert two_loops.check_sum_rate(...).passed is None and two_loops.check_sum_rate(0.01 / 10).passed
    hints = {0.1: "other way round", 0.01: "How much longer", 1.0: "How many times", "a tenth": "number"}
    for answer, hint in hints.items():
        verdict = two_loops.check_sum_rate(answer)
        assert verdict.passed is False and hint in str(verdict)


@pytest.mark.parametrize(
    ("answer", "passed", "message"),
    [
        (solutions.scalar_meta_gradient, True, "to the power k"),
        (lambda t, c, q, a, k: ..., None, "Replace the dots"),
        (lambda t, c, q, a, k: (1 - a) ** (k + 1) * (end(t, c, a, k) - q), False, "you have 4 factors"),
        (lambda t, c, q, a, k: 2 * (1 - a) ** k * (end(t, c, a, k) - q), False, "A factor of two"),
        (lambda t, c, q, a, k: (1 + a) ** k * (end(t, c, a, k) - q), False, "how much of theta is left"),
        (lambda t, c, q, a, k: (1 - a) ** k * (end(t, q, a, k) - c), False, "The support point c adapts"),
        (lambda t, c, q, a, k: (1 - a) ** k * (end(t, c, a, k - 1) - q), False, "a step too early"),
        (lambda t, c, q, a, k: torch.autograd.grad((t - q) ** 2 / 2, t)[0], False, "a plain number here"),
        (lambda t, c, q, a, k: t - q, False, "before it adapted"),
        (lambda t, c, q, a, k: (1 - a) ** k * (end(t, c, a, k) - c), False, "query point q judges"),
        (lambda t, c, q, a, k: (1 - k * a) * (end(t, c, a, k) - q), False, "k times as long"),
        (lambda t, c, q, a, k: (1 - a) ** (k - 1) * (end(t, c, a, k) - q), False, "you have 2 factors"),
        (lambda t, c, q, a, k: (1 - a) * (end(t, c, a, 1) - q), False, "the answer for one step"),
        (lambda t, c, q, a, k: (1 - a) ** k * (end(t, c, a, 1) - q), False, "after one step, not after k"),
        (lambda t, c, q, a, k: (1 - a) ** k, False, "Those are the factors"),
        (lambda t, c, q, a, k: a**k * (end(t, c, a, k) - q), False, "1 - alpha of it, not alpha"),
        (lambda t, c, q, a, k: (1 - a) ** k * (end(t, c, -a, k) - q), False, "The steps go uphill"),
        (lambda t, c, q, a, k: (1 - a) ** k * (end(t, q, a, k) - q), False, "adapted to the query point"),
        (lambda t, c, q, a, k: (1 - a) ** k * ((1 - a) ** k * t - q), False, "toward c, not toward 0"),
    ],
)
def test_one_number(answer, passed, message):
    verdict = two_loops.check_scalar(answer)
    assert verdict.passed is passed and message in str(verdict)


def end(theta, c, alpha, k):
    return c + (1 - alpha) ** k * (theta - c)


def test_solutions_pass_and_stand_in():
    assert two_loops.check_scalar(solutions.scalar_meta_gradient).passed
    assert two_loops.check_inner_loop(solutions.inner_loop).passed
    assert two_loops.check_meta_gradient(solutions.meta_gradient).passed
    assert two_loops.check_sum_rate(0.01 / 10).passed
    assert two_loops.check_inner_loop.use(lambda *a: ...) is solutions.inner_loop
    assert two_loops.check_open("MAML's arrow turns further when alpha grows").passed


def test_an_inner_loop_of_another_kind_takes_its_place():
    model, batch = two_loops.small_model(), two_loops.meta_batch(3)
    of = lambda loop: two_loops.flat(solutions.meta_gradient(loop, model, batch, 2, 0.05))
    for loop, second_order in ((solutions.inner_loop, True), (first_order, False)):
        expected = two_loops.flat(MAML(2, 0.05, second_order).meta_gradient(model, batch)[0])
        torch.testing.assert_close(of(loop), expected)


@pytest.mark.parametrize(
    ("judge", "message"),
    [("joined", "The query set alone judges"), ("sum", "The query set alone judges")],
)
def test_meta_gradient_judged_on_both_sets(judge, message):
    def on_both(own_loop, model, batch, steps, lr):
        theta, losses = dict(model.named_parameters()), []
        for task in batch:
            params = own_loop(model, theta, task.support_x[0], task.support_y[0], steps, lr)
            errors = [
                (functional_call(model, params, (x[0],)) - y[0]).square()
                for x, y in ((task.support_x, task.support_y), (task.query_x, task.query_y))
            ]
            losses.append(torch.cat(errors).mean() if judge == "joined" else errors[0].mean() + errors[1].mean())
        return dict(zip(theta, torch.autograd.grad(torch.stack(losses).mean(), theta.values())))

    assert message in str(two_loops.check_meta_gradient(on_both))


def test_a_loop_without_the_inner_loop_is_told_its_arguments():
    answer = lambda model, batch, steps, inner_lr: {}
    assert "first argument is the inner loop" in str(two_loops.check_meta_gradient(answer))


def test_measure_is_one_for_the_right_loop_and_far_off_for_the_wrong_one():
    def library(model, batch, steps, lr):
        return MAML(steps, lr).meta_gradient(model, batch)[0]

    assert wrong_loops.measure(library, 2, 0.01) == pytest.approx((1, 1))
    times, cosine = wrong_loops.measure(lambda *a: {n: 3 * g for n, g in library(*a).items()}, 2, 0.01)
    assert times == pytest.approx(3) and cosine == pytest.approx(1)
    assert wrong_loops.measure(lambda *a: meta_gradient(inner_loop, *a, graph=False), 5, 0.1)[1] < 0.6
    assert "This loop is right" in wrong_loops.errors(library).set().picture.figure.axes[0].get_title("left")
