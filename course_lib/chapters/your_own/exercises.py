"""Checks for notebook 10, your own tasks."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.chapters.your_own import solutions
from course_lib.kit.checks import (
    WAITING,
    Verdict,
    code,
    compare,
    exercise,
    model_answer,
    right,
    run,
    short,
    unanswered,
    wrong,
)
from course_lib.tasks import TaskBatch

SHOTS = 3
METHODS = ("MAML", "R2D2", "Reptile")


@exercise(
    "10",
    "a batch of your own",
    solution=solutions.batch,
    why="The centre is that of the support points: at test time nobody has the others.",
)
def check_batch(batch) -> Verdict:
    """``batch(place, height, shots) -> TaskBatch`` for place [T, N, 2] in 0 to 1 and height [T, N] in metres: places
    in -1 to 1, heights [T, N, 1] above the mean of the support points, the first ``shots``, in units of 75 m."""
    generator = torch.Generator().manual_seed(0)
    place = torch.rand(4, 8, 2, generator=generator)  # [T, N, 2]
    height = 400 + 100 * torch.rand(4, 8, generator=generator)  # [T, N]
    hints = {
        "number of tasks": "All four tensors of a TaskBatch begin with the tasks: split the second dimension.",
        "must agree in tasks and points": "The order is support_x, support_y, query_x, query_y.",
        "must match the size": "A mean is taken off [T, N] as [T, 1]: `mean(1, keepdim=True)`.",
    }
    result = run(batch, place, height, SHOTS, hints=hints)
    if not isinstance(result, TaskBatch):
        return wrong(f"A TaskBatch was expected, not {code(type(result).__name__)}.")
    if result.support_y.ndim == 2:
        return wrong("Targets are [T, S, 1], as the network's outputs are: add a last dimension, `y[..., None]`.")
    if result.support_x.shape[1] != SHOTS:
        return wrong(f"The support set has {result.support_x.shape[1]} points; the first {SHOTS} are asked for.")
    if result.query_x.shape[1] != 8 - SHOTS:
        rest = f"the other {8 - SHOTS} are asked for, and none of the support set"
        return wrong(f"The query set has {result.query_x.shape[1]} points; {rest}.")
    whole = lambda a, b: torch.cat([a, b], 1)
    x, y = whole(result.support_x, result.query_x), whole(result.support_y, result.query_y)
    own_mean = "One mean for all tasks: each has its own, `mean(1, keepdim=True)`."
    apart = whole(*(centred(part, part) for part in (height[:, :SHOTS], height[:, SHOTS:])))
    known = {
        "place": (
            2 * place - 1,
            [
                (place, "The places are still in 0 to 1; the network wants -1 to 1."),
                (place - 0.5, "That is -0.5 to 0.5; the network wants -1 to 1: stretch, then shift."),
                (2 * place, "That is 0 to 2; the network wants -1 to 1: shift it."),
                (2 * place + 1, "That is 1 to 3; the network wants -1 to 1: mind the sign of the shift."),
                (place - 1, "That is -1 to 0; the network wants -1 to 1: stretch, then shift."),
            ],
        ),
        "height": (
            centred(height, height[:, :SHOTS]),
            [
                (centred(height, height), "That is the mean of ALL points. At test time nobody has the query's "
                 "heights: a leak, and it flatters every number that follows."),
                (centred(height, height[:, SHOTS:]), "That is the mean of the query points, which nobody has."),
                (centred(height, height[:, :SHOTS]) * 75, "Heights are in units of 75 m: divide."),
                (height[..., None] / 75, "The mean of the support points is still in there."),
                (centred(height, height.mean().expand(4, 1)), own_mean),
                (centred(height, height[:, :SHOTS].mean().expand(4, 1)), own_mean),
                (
                    (height / 75 - height[:, :SHOTS].mean(1, keepdim=True))[..., None],
                    "Only the heights were divided by 75, not their mean: mind the brackets.",
                ),
                (-centred(height, height[:, :SHOTS]), "Mind the sign: heights ABOVE the mean."),
                (apart, "The query heights are above their own mean, which nobody has: take off the support's."),
            ],
        ),
    }  # fmt: skip
    for name, got in (("place", x), ("height", y)):
        verdict = compare(got, *known[name])
        if not verdict.passed:
            return wrong(f"In the {name}: {verdict.message}")
    return right("Any family is that: numbers that a person with the support set could have computed.")


def centred(height: Tensor, about: Tensor) -> Tensor:
    """Heights [T, N] above the mean of ``about`` [T, M], in units [T, N, 1]."""
    return ((height - about.mean(1, keepdim=True)) / 75)[..., None]


@exercise(
    "10",
    "choose",
    solution=solutions.CHOICE,
    why="(a) R2D2 needs no step at test time, and squared error is its own loss. (b) R2D2 solves for a head under the "
    "squared error alone; MAML takes any differentiable loss. (c) Reptile takes no derivative through the steps, so "
    "it keeps none of them.",
)
def check_choice(choice) -> Verdict:
    """One of "MAML", "R2D2", "Reptile" for each of the three situations."""
    if unanswered(choice):
        return WAITING
    if not isinstance(choice, (tuple, list)) or len(choice) != 3:
        return wrong('Three names were expected, such as "MAML", "MAML", "MAML".')
    names = [str(name).strip().lower() for name in choice]
    for name in names:
        if name not in [known.lower() for known in METHODS]:
            return wrong(f"{code(short(name))} is not one of {', '.join(METHODS)}.")
    if names[0] != "r2d2":
        return wrong("(a) Which of the three takes no gradient step at test time?")
    if names[1] == "r2d2":
        return wrong("(b) A ridge head is the solution for squared errors only; here the loss is another.")
    if names[1] == "reptile":
        return wrong("(b) Reptile would run, but two steps and a held-out set are what MAML is made for.")
    if names[2] == "maml":
        return wrong("(c) MAML keeps all fifty steps for the backward pass, and they do not fit.")
    if names[2] == "r2d2":
        return wrong("(c) Nothing is linear at the top here: the last layer is shared with the first.")
    return right("And then measure: the choice is a guess until your own learning curve has spoken.")


@exercise(
    "10",
    "a claim of your own",
    solution=solutions.claim,
    why="One sentence, one number on each side, everything random from the draw: then it can be counted.",
)
def check_claim(claim) -> Verdict:
    """``claim(errors, draw) -> (held, {name: number})``: is the "trained" network better than the "untrained" in this
    draw? Errors come from ``errors(name, draw)``."""
    told = {"trained": (0.2, 0.3), "untrained": (0.25, 0.25)}
    asked = []

    def errors(name: str, draw: int) -> float:
        asked.append((name, draw))
        return told[name][draw % 2]

    hints = {
        "KeyError": f"The names are {list(told)}.",
        "required positional|not subscriptable": 'A function of the name and the draw: `errors("trained", draw)`.',
    }
    found = [run(claim, errors, draw, hints=hints) for draw in (6, 7)]
    for each in found:
        if not (isinstance(each, (tuple, list)) and len(each) == 2 and isinstance(each[1], dict)):
            return wrong('Return two things: whether it held, and numbers such as {"trained": 0.2, "untrained": 0.3}.')
    if {draw for _, draw in asked} != {6, 7}:
        return wrong("Pass the draw on to `errors`: else every draw is the same one.")
    held = [bool(each[0]) for each in found]
    if held == [False, True]:
        return wrong("The other way round: the smaller error is the better one.")
    if held != [True, False]:
        return wrong("Held must be whether the trained network has the smaller error, in this very draw.")
    for draw, (_, given) in zip((6, 7), found):
        if told.keys() - given or not all(hasattr(given[name], "__float__") for name in told):
            return wrong('Give both numbers, "trained" and "untrained": a reader wants to know by how much.')
        if any(abs(float(given[name]) - error[draw % 2]) > 0.01 for name, error in told.items()):
            return wrong("A number in the dictionary is not the one of its name: are they exchanged?")
    return right("It can fail, it says by how much, and anyone can draw again.")


check_open = model_answer("10", "how large is a task?", solutions.OPEN)
