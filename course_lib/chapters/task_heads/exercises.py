"""Checks for notebook 04, task heads."""

from __future__ import annotations

import math

import torch

from course_lib.chapters.task_heads import solutions
from course_lib.kit.checks import (
    Verdict,
    answered,
    attempt,
    compare,
    exercise,
    model_answer,
    number,
    right,
    run,
    wrong,
)

REVISIT_HINTS = {
    "attribute 'copy'": "A tensor is copied by `heads.clone()`.",
    "'int' object|assign a function": "`learn` takes the head of the task, and returns it: `learn(heads[task])`.",
}


@exercise(
    "04",
    "remember",
    solution=solutions.revisit,
    why="Looked up, learnt, written back: the next visit begins where this one ended.",
)
def check_revisit(revisit) -> Verdict:
    """``revisit(heads, task, learn) -> heads``: one visit of a task, its head remembered; heads [N, D]."""
    heads = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    begun, ended = [], []

    def learn(head: torch.Tensor) -> torch.Tensor:
        begun.append(head.detach().clone())
        ended.append(0.5 * head + 1)
        return ended[-1]

    result, (changed, *_) = attempt(revisit, heads, 2, learn, hints=REVISIT_HINTS)
    answered(result)
    if not torch.equal(changed, heads):
        return wrong("You changed the table you were given; make a copy of it and change that (`heads.clone()`).")
    row = heads[2]
    expected, once = _with_row(heads, 0.5 * row + 1), begun[0] if begun else None
    by_shape = {
        (3,): "That is one head alone. Return the whole table, with this head in its row.",
        (5, 3): "The table has grown. The head has a row already: write it there.",
    }
    if isinstance(result, torch.Tensor) and result.shape in by_shape:
        return wrong(by_shape[result.shape])
    mistakes = [
        (heads, "The table is as before: write what the head has learnt back to its row."),
        (_with_row(heads, torch.ones_like(row)), "This head began at zero. Begin with the stored one."),
        (
            _with_row(heads, row + (0.5 * row + 1)),
            "You added what was learnt to the old head. `learn` returns the new head: store it.",
        ),
        (0.5 * heads + 1, "Every head has learnt. Only the task that was visited has data to learn from."),
        (_with_row(heads, 0.5 * (0.5 * row + 1) + 1), "This head has learnt twice: call `learn` once a visit."),
    ]
    if once is None:
        mistakes.append((result, "No head has learnt: call `learn` on the stored head, and store what it returns."))
    elif once.shape == row.shape:
        mistakes.append((_with_row(heads, once), "You stored the head as it was before it learnt."))
        if any(torch.equal(once, other) for other in heads[[0, 1, 3]]):
            return wrong("That is another task's head: take the row `task`, `heads[task]`, and write it back there.")
        if not torch.equal(once, row):
            fresh = "This head began with fresh numbers. Begin with the stored one, `heads[task]`: that is remembering."
            mistakes.append((_with_row(heads, 0.5 * once + 1), fresh))
    if isinstance(result, torch.Tensor) and result.shape == heads.shape and once is not None:
        others = [0, 1, 3]
        known = [expected[2], row, row + (0.5 * row + 1), *begun, *ended]
        if torch.equal(result[others], heads[others]) and not any(torch.equal(result[2], head) for head in known):
            return wrong("The row holds a fresh head, not the one that learnt: store what `learn` returns.")
    praise = "Those three lines are the whole difference between forgetting and remembering."
    return compare(result, expected, mistakes, praise)


def _with_row(table: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    table = table.clone()
    table[2] = row
    return table


@exercise(
    "04",
    "how often does a task come back?",
    solution="`800 * 10 / 5000, (1 - 1 / 5000) ** 8000`",
    why="There are 8,000 draws; each misses a given task with probability 1 - 1/5000, so all do with about exp(-1.6).",
)
def check_visits(visits: float, never_seen: float) -> Verdict:
    """800 iterations of 10 out of 5000 tasks: mean visits of a task, and the share of tasks never drawn."""
    visits, never_seen = number(visits), number(never_seen)
    mean = 800 * 10 / 5000
    if abs(visits - 800 / 5000) < 1e-3:
        return wrong("Ten tasks are drawn in every iteration.")
    if abs(visits - mean) > 1e-3:
        return wrong("Visits: how many draws are there in all, and to how many tasks do they go?")
    if not 0 <= never_seen <= 1:
        return wrong("The mean is right. A share lies between 0 and 1: not a number of tasks, and not in percent.")
    if abs(never_seen - (1 - math.exp(-mean))) < 5e-3:
        return wrong("That is the share of tasks that WERE drawn.")
    if never_seen == 0:
        return wrong("1.6 visits is a mean; by chance some tasks have none. One draw misses a task with 1 - 1/5000.")
    if abs(never_seen - math.exp(-mean)) > 5e-3:
        return wrong("One draw misses a given task with probability 1 - 1/5000, and there are 8000 draws.")
    return right("A fifth of the heads is as random as on the first day, and most others were trained once or twice.")


TIMES = "`*` and not `@`: every number of the column times the whole of w (or `torch.outer(residual, w)`)."
COLUMN = "Each point has one residual and a row of its own: make a column of them, `residual[:, None]`, before w [D]."


@exercise(
    "04",
    "who chooses the direction?",
    solution=solutions.feature_gradient,
    why="The residual of a point decides how far and with which sign; the direction is w at every point.",
)
def check_feature_gradient(gradient) -> Verdict:
    """``gradient(z, w, y) -> [N, D]``: of a linear head's mean squared error, for the features."""
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    w, y = (torch.randn(n, generator=generator, dtype=torch.float64) for n in (3, 6))
    hints = {"must match|same number of elements": COLUMN, "size mismatch": TIMES}
    result = run(gradient, z, w, y, hints=hints)
    if isinstance(result, torch.Tensor) and result.shape == w.shape:
        return wrong("That has the shape of the head's gradient. What is asked for has the shape of z.")
    by_shape = {
        (6,): "That is one number for each point. Each is to be multiplied by w: `residual[:, None] * w`.",
        (3, 6): "That lies on its side: a row for each point, a column for each feature.",
    }
    if isinstance(result, torch.Tensor) and result.shape in by_shape:
        return wrong(by_shape[result.shape])
    residual = z @ w - y
    expected = 2 / 6 * residual[:, None] * w
    mistakes = [
        (3 * expected, "Two factors are missing: the 2 of the square's derivative, and the 1 / N of the mean."),
        (expected / 3, "Divide by the number of points N alone: the mean is over the points, not over the features."),
        (2 * expected, "Divide by the number of points N: `len(w)` is the number of features."),
        (expected / 2, "A factor of two is missing: the derivative of a square."),
        (6 * expected, "The loss is the mean over the points: divide by their number."),
        (-expected, "The sign is turned: the residual is output minus target."),
        *(
            (scale * w.expand_as(z), "Where is the residual? It says how far each point pushes.")
            for scale in (1, 2 / 6)
        ),
        (2 / 6 * residual[:, None] * z, "That is each point's share of the gradient for the HEAD."),
    ]
    praise = "Every row is a multiple of w: whatever the data say, the head alone chooses the direction."
    return compare(result, expected, mistakes, praise)


check_open = model_answer(
    "04",
    "how fast may a body move?",
    """with 50 tasks a head waits five iterations on average, and stored heads like a fast body: their error after 1,600
    iterations falls from 0.017<!--task_heads.a_fast_body_suits_returning_heads.slow--> at an outer rate of 0.003
    to 0.010<!--task_heads.a_fast_body_suits_returning_heads.fast--> at 0.01, it falls
    in 19 of 20 draws<!--task_heads.a_fast_body_suits_returning_heads-->. With 5,000 tasks a head waits 500 iterations,
    and what the fast body gains is lost again: 0.15<!--task_heads.waiting_heads_go_stale.slow-->
    and 0.18<!--task_heads.waiting_heads_go_stale.fast-->, worse
    in 10 of 20 draws<!--task_heads.waiting_heads_go_stale-->, perhaps because a head was fitted to features that
    are gone. How long a head waits, times how fast the body moves, would say how stale it is.""",
)
