"""Checks for notebook 08, Reptile."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from course_lib.algorithms import MAML
from course_lib.chapters.reptile import solutions
from course_lib.inner_loop import adapt, stack_params
from course_lib.kit.checks import (
    WAITING,
    Verdict,
    answered,
    attempt,
    compare,
    exercise,
    model_answer,
    number,
    right,
    run,
    unanswered,
    wrong,
)
from course_lib.losses import mse
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks, TaskBatch

STEPS, INNER_LR, EPSILON = 2, 0.05, 0.3  # of the checks: steps are not as many as tasks, epsilon is not half
LEFT_THERE = (
    "The model ended where the last task left it. Either what you kept as theta moved along (clone it), or the new "
    "weights did not get into the model (`p.copy_(...)`, not `p = ...`)."
)


def small_problem() -> tuple[nn.Module, TaskBatch]:
    """A network of a few weights and three tasks, float64."""
    batch = SinusoidTasks(shots=6, queries=4).sample(3, generator=torch.Generator().manual_seed(0))
    return MLP(hidden=(5,), seed=0).double(), batch.map(lambda part: part.double())


@exercise(
    "08",
    "the update",
    solution=solutions.update,
    why="With $\\epsilon = 0$ nothing moves, with $\\epsilon = 1$ the new theta is the mean of the ends.",
)
def check_update(update) -> Verdict:
    """``update(theta, ends, epsilon) -> new theta``: theta [P], ends [T, P]."""
    generator = torch.Generator().manual_seed(0)
    theta = torch.randn(7, generator=generator, dtype=torch.float64)
    ends = theta + torch.randn(4, 7, generator=generator, dtype=torch.float64)
    hints = {"must match the size": "`ends` is [T, P], and its mean over the tasks `ends.mean(0)` is [P], as theta is."}
    result = run(update, theta, ends, 0.3, hints=hints)
    mean, one_by_one = ends.mean(0), theta
    for end in ends:
        one_by_one = one_by_one + 0.3 * (end - one_by_one)
    mistakes = [
        (theta - 0.3 * (mean - theta), "That walks away from the adapted weights: the sign is turned around."),
        (mean, "That goes all the way to the mean. Only the part epsilon of the way is wanted."),
        (theta + 0.3 * (ends - theta).sum(0), "You summed over the tasks; take their mean."),
        (theta + 0.3 * mean, "Move by epsilon times the DIFFERENCE between the mean and theta."),
        (theta + 0.3 * (ends[-1] - theta), "Only the last task counts there. Take the mean over all of them."),
        (0.3 * theta + 0.7 * mean, "The two weights are exchanged: epsilon belongs to the adapted weights."),
        (0.3 * (mean - theta), "That is the step alone; add it to theta."),
        (theta + 0.3 * (ends.mean() - theta), "Take the mean over the tasks only: `ends.mean(0)` is of shape [P]."),
        (one_by_one, "theta moved after each task; it moves once, toward the mean of all ends."),
        (theta + 0.3 * (ends.sum(0) - theta), "You summed over the tasks; take their mean."),
        (theta + 0.3 / 4 * (mean - theta), "The mean has divided by the number of tasks already."),
        (0.3 * mean, "Mind the brackets: epsilon times the DIFFERENCE between the mean and theta, added to theta."),
        (ends * 0.3 + 0.7 * theta, "One result for each task: average them."),
    ]
    return compare(result, theta + 0.3 * (mean - theta), mistakes, "Nothing was differentiated here.")


@exercise(
    "08",
    "drop the outer derivative",
    solution=solutions.reptile,
    why="The query set is not looked at, and nothing is differentiated but the inner losses. What the outer loop takes "
    "for a gradient is the way back from where the inner loops end.",
)
def check_reptile(reptile) -> Verdict:
    """``reptile(inner_loop, model, batch, steps, inner_lr) -> {name: theta - mean of theta'}``, for an outer loop."""
    model, batch = small_problem()
    names = [name for name, _ in model.named_parameters()]
    hints = {
        "does not require grad": (
            "The inner loop differentiates by the weights it is given: take the parameters as they are (no "
            "`state_dict`, no `detach`), call it outside of `no_grad`, and detach after."
        ),
        "parameter_and_buffer_dicts": "The weights go in as a dictionary: `dict(model.named_parameters())`.",
        "required positional": "As in notebook 02: `inner_loop(model, theta, x, y, steps, inner_lr)`.",
        "converted to Python scalars": "`torch.stack` makes one tensor of several.",
    }
    result, (_, own, *_) = attempt(reptile, solutions.inner_loop, model, batch, STEPS, INNER_LR, hints=hints)
    answered(result)
    if not isinstance(result, dict) or set(result) != set(names):
        return wrong("Return a dictionary with the names of the model's parameters: what the outer loop will descend.")
    if not flat(own).equal(flat(model)):
        return wrong(
            "Your function changed the model: the outer loop does that. Return theta - mean of theta' instead."
        )
    start = stack_params(model, batch.num_tasks)
    ends = adapt(model, start, batch.support_x, batch.support_y, loss_fn=mse, steps=STEPS, lr=INNER_LR)
    moves = torch.cat([(start[name] - ends[name]).flatten(1) for name in names], 1).detach()  # [T, P]
    judged = adapt(model, start, batch.query_x, batch.query_y, loss_fn=mse, steps=STEPS, lr=INNER_LR)
    wrong_set = torch.cat([(start[name] - judged[name]).flatten(1) for name in names], 1).detach()
    chain = dict(model.named_parameters())
    for x, y in zip(batch.support_x, batch.support_y):
        chain = solutions.inner_loop(model, chain, x, y, STEPS, INNER_LR)
    chained = torch.cat([(p - chain[name]).detach().flatten() for name, p in model.named_parameters()])
    joint = solutions.inner_loop(
        model, dict(model.named_parameters()), batch.support_x, batch.support_y, STEPS, INNER_LR
    )
    together = torch.cat([(p - joint[name]).detach().flatten() for name, p in model.named_parameters()])
    first_order = MAML(STEPS, INNER_LR, second_order=False).meta_gradient(model, batch)[0]
    fomaml = torch.cat([first_order[name].flatten() for name in names])
    one_number = torch.cat([(start[name][0] - ends[name].mean()).detach().flatten() for name in names])
    mistakes = [
        (chained, "Each task starts where the one before it ended: give `theta` to every inner loop."),
        (together, "That is one inner loop on the points of all tasks; each task has its own."),
        (fomaml, "That is FOMAML's gradient. Reptile has no query loss: only where the inner loops end counts."),
        (moves.mean(0) / INNER_LR, "Do not divide by alpha: the way itself is wanted."),
        (-moves.mean(0), "The outer loop SUBTRACTS what you return: theta - theta', not theta' - theta."),
        (moves.sum(0), "You summed over the tasks; take their mean."),
        (moves[-1], "Only the last task counts: collect where each of them ends, then take the mean."),
        (moves.mean(0) / (STEPS * INNER_LR), "Do not divide by alpha k: the way itself is wanted."),
        (moves.mean(0) / STEPS, "Do not divide by k: the way itself is wanted."),
        (moves.sum(0) / STEPS, "You divided by the number of steps; the mean is over the tasks."),
        ((moves.sum(0) - flat(model)) / STEPS, "You divided by the number of steps; the mean is over the tasks."),
        (moves[0], "Only the first task counts: collect where each of them ends, then take the mean."),
        (moves.sum(0) - 2 * flat(model), "That is theta minus the SUM of the ends; take their mean."),
        (one_number, "`mean()` makes one number of a whole tensor: take the mean over the tasks alone, `mean(0)`."),
        (flat(model) - moves.mean(0), "That is the mean of the ends. Return the way from there to theta."),
        (wrong_set.mean(0), "Those are the query points: the inner loop sees the support set."),
    ]
    got = torch.cat([result[name].detach().flatten() for name in names])
    verdict = compare(got, moves.mean(0), mistakes)
    if verdict.passed and any(part.requires_grad for part in result.values()):
        return right("Add `.detach()`: nothing will be differentiated, so nothing need be remembered.")
    return right("No query set, no outer derivative.") if verdict.passed else verdict


def descend(model: nn.Module, x: Tensor, y: Tensor) -> None:
    """STEPS steps of gradient descent on one task, in place."""
    for _ in range(STEPS):
        loss = (model(x) - y).square().mean()
        grads = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for parameter, grad in zip(model.parameters(), grads):
                parameter -= INNER_LR * grad


def flat(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def ends_from(model: nn.Module, xs: Tensor, ys: Tensor) -> Tensor:
    """Where the inner loop of each task ends, all from ``model``, [T, P]."""
    models = [copy.deepcopy(model) for _ in xs]
    for each, x, y in zip(models, xs, ys):
        descend(each, x, y)
    return torch.stack([flat(each) for each in models])


@exercise(
    "08",
    "predict the coefficients",
    solution=solutions.COEFFICIENTS,
    why="FOMAML: the fifth gradient feels the four before it, $-4$. MAML: the same once more through the pull-back "
    "$\\prod(I - \\alpha H_j)$, $-8$. Reptile: gradient $i$ feels $i - 1$ others, $0 + 1 + 2 + 3 + 4 = 10$ beside five "
    "gradients, $-10/5 = -2$.",
)
def check_coefficients(maml: float, fomaml: float, reptile: float) -> Verdict:
    """For k = 5 gradients: how much of alpha AvgGradInner comes with one AvgGrad; Reptile's divided by its own k."""
    answers = {"MAML": number(maml), "FOMAML": number(fomaml), "Reptile": number(reptile)}
    expected = {"MAML": -8.0, "FOMAML": -4.0, "Reptile": -2.0}
    hints = {
        ("Reptile", -10.0): "-k(k-1)/2 = -10 stands beside k = 5 AvgGrads. Divide by 5.",
        ("MAML", -4.0): "-4 is FOMAML's. MAML's second derivatives bring the same once more.",
        ("Reptile", -4.0): "Reptile adds up all five gradients, and only the last one feels four others.",
        (
            "Reptile",
            -2.5,
        ): "The five gradients feel 0, 1, 2, 3 and 4 others: k - 1 = 4 is the most, half of it the mean.",
        ("FOMAML", 0.0): "FOMAML's gradient, too, is taken after four steps: what they did is in it.",
        ("MAML", -6.0): "That is for k = 4 gradients; here there are five.",
        ("FOMAML", -3.0): "That is for k = 4 gradients; here there are five.",
        ("MAML", -10.0): "k counts gradients: four of them come before the one that judges.",
        ("FOMAML", -5.0): "k counts gradients: four of them come before the one that judges.",
    }
    for name, value in answers.items():
        if abs(value - expected[name]) > 1e-9:
            if abs(value + expected[name]) < 1e-9:
                return wrong(f"{name}: mind the sign. A step moves AGAINST the gradient.")
            again = "Count the earlier gradients that each gradient feels."
            return wrong(f"{name}: {hints.get((name, value), again)}")
    return right("MAML leans four times as far toward agreement as Reptile.")


check_open = model_answer(
    "08",
    "the outer rate and the time",
    "at 0.001 nothing has converged, so the ranking is one of speed: Reptile's own outer loop, which takes long steps, "
    "looks best. At 0.003 and 0.01 all come down, Reptile and MAML side by side (at 0.01, the best of the four rates, "
    "MAML's training comes through in 18 of 20 seeds<!--reptile.maml_comes_through-->); at 0.03 MAML and FOMAML "
    "scatter, Reptile less. A single outer rate compares outer rates, not methods; a few live seconds compare who "
    "starts fast.",
)


@exercise(
    "08",
    "how hard a task pulls",
    solution=solutions.pull,
    why="The gradient is $2 x (\\theta \\cdot x - y)$, so a step multiplies the residual by $1 - 2\\alpha|x|^2$, and "
    "the distance is the residual divided by $|x|$.",
)
def check_pull(pull) -> Verdict:
    """``pull(alpha, length, k)``: the part of the way to its line that a task's inner loop goes; length [D]."""
    length = torch.tensor([0.2, 0.5, 1.0], dtype=torch.float64)
    alpha, k = 0.1, 4
    result = run(pull, alpha, length, k)
    left = 1 - 2 * alpha * length**2  # of the distance, after one step
    mistakes = [
        (left**k, "That is what is LEFT of the distance. The part gone is one minus it."),
        (1 - left, "That is one step. k of them multiply what is left."),
        (1 - (1 - alpha * length**2) ** k, "The derivative of the SQUARE brings a factor of 2."),
        (1 - (1 - 2 * alpha * length) ** k, "The residual brings one |x| and the gradient's direction the other."),
        (2 * alpha * k * length**2, "That is the first order in alpha; the power is exact."),
        (alpha * k * length**2, "That is the first order in alpha, and the SQUARE brings a factor of 2."),
        (1 - left ** (k - 1), "k steps, so the k-th power of what one of them leaves."),
        (1 - k * left, "The steps multiply: what one of them leaves, to the power k and not k times."),
        (left**k - 1, "Mind the sign: the part gone is one minus what is left."),
        (1 - (1 - left) ** k, "What k steps multiply is what is LEFT, 1 - 2 alpha |x|^2."),
        ((1 - left) ** k, "What k steps multiply is what is LEFT, not the part gone."),
        ((1 - alpha * length**2) ** k, "That is what is LEFT of the distance; and the SQUARE brings a factor of 2."),
        (1 - (2 - left) ** k, "Mind the sign: a step takes 2 alpha |x|^2 of the distance away."),
        (1 - (1 - alpha * length) ** k, "The derivative of the SQUARE brings 2, and |x| comes twice: 2 alpha |x|^2."),
    ]
    return compare(result, 1 - left**k, mistakes, "With many steps it is 1 for every task, however flat.")


@exercise(
    "08",
    "a step that is not Reptile",
    solution=solutions.outer_step,
    why="`dict(model.named_parameters())` holds the parameters themselves, not their values: when the inner loop "
    "changes the model in place, `theta` changes with it, and `p - theta[name]` is zero. And each task must start from "
    "`theta`, and all ends must count.",
)
def check_mended(outer_step) -> Verdict:
    """``outer_step(model, batch, inner_loop, epsilon) -> model``, changed in place or a new one; see notebook 08."""
    model, batch = small_problem()
    theta, chained = flat(model), copy.deepcopy(model)
    ends = ends_from(model, batch.support_x, batch.support_y)  # [T, P]
    judged = ends_from(model, batch.query_x, batch.query_y)
    visited = []
    for i in range(batch.num_tasks):
        descend(chained, batch.support_x[i], batch.support_y[i])
        visited.append(flat(chained))
    visited = torch.stack(visited)
    stepped = copy.deepcopy(model)
    for i in range(batch.num_tasks):
        before = flat(stepped)
        descend(stepped, batch.support_x[i], batch.support_y[i])
        nn.utils.vector_to_parameters(before + EPSILON * (flat(stepped) - before), stepped.parameters())

    hints = {
        "in-place operation": "Write into parameters inside `with torch.no_grad():`, or by `load_state_dict`.",
        "NoneType": "`inner_loop(model, x, y)` returns nothing: it changes the model that it is given.",
    }
    returned, (own, *_) = attempt(outer_step, model, batch, descend, EPSILON, hints=hints)
    untouched = flat(own).equal(theta)
    new_model = untouched and isinstance(returned, nn.Module) and returned is not own
    if unanswered(returned) or (untouched and returned is None):
        return WAITING
    if untouched and not new_model:
        return wrong("The model you were given is as before. Change it and return it, or return a new one.")
    result = flat(returned if new_model else own)
    between = lambda target: theta + EPSILON * (target - theta)
    mistakes = [
        (visited[-1], LEFT_THERE),
        (between(visited[-1]), "theta is kept now, but each task starts where the one before it ended."),
        (between(visited.mean(0)), "Each task starts where the one before it ended: put theta back first."),
        (ends[-1], LEFT_THERE),
        (EPSILON * theta + (1 - EPSILON) * ends.mean(0), "The two weights are exchanged: epsilon belongs to the ends."),
        (between(ends[-1]), "Only the last task counts: collect a COPY of where each one ends, then take the mean."),
        (between(judged.mean(0)), "Those are the query points: the inner loop sees the support set."),
        (theta - EPSILON * (ends.mean(0) - theta), "That walks away from the ends: the sign is turned around."),
        (theta + EPSILON * (ends - theta).sum(0), "You summed over the tasks; take their mean."),
        (ends.mean(0), "That goes all the way to the mean; epsilon is missing."),
        (EPSILON * (ends.mean(0) - theta), "That is the step alone; add it to theta."),
        (
            theta + EPSILON * ends.mean(0),
            "Move by epsilon times the DIFFERENCE between the mean of the ends and theta.",
        ),
        (flat(stepped), "theta moves after each task there; all tasks start from one theta, which then moves once."),
    ]
    verdict = compare(result, between(ends.mean(0)), mistakes, "theta is a copy, every task starts from it.")
    if verdict.passed and new_model:
        return right("The result is in a new model: whoever calls this must go on with what it returns.")
    return verdict
