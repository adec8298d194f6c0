"""Random, remembered or meta-learned: bodies trained with each kind of head, early and late in meta-training.

The curves are the shipped table of ``experiments.training_heads`` (see its record); nothing is trained here.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from course_lib.chapters.task_heads.experiments import training_heads
from course_lib.evaluation import over_seeds
from course_lib.kit import plots
from course_lib.kit.demo import Choice, Notches, Several, declare
from course_lib.tasks.sinusoid import ZERO_PREDICTOR_MSE

HEADS = {"random": "fresh random heads", "written back": "stored heads", "meta": "one meta-learned head"}
LOOKS = {name: plots.METHODS[look] for name, look in zip(HEADS, ("random", "union", "maml"))}
ERRORS = {"ridge": "error on new tasks, of the body with a fitted head", "training_loss": "query loss in training"}
LEADS = {"random": "random heads lead", "written back": "stored heads lead", "meta": "one head for all leads"}
NUMBERS = {"ridge": "the body, with a head fitted to new tasks", "training_loss": "what training sees, heads and all"}
FIRST = {"ridge": 0, "training_loss": training_heads.STOPS[1]}  # no training loss before the first iteration
FLOORS, CEILING = {"ridge": 0.05, "training_loss": 0.008}, 6.0
TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


def compute(values: SimpleNamespace) -> dict:
    """The three curves with intervals, for the chosen number of tasks and k."""
    rows = training_heads.table(values.number, num_tasks=values.num_tasks, steps=values.steps)
    first = training_heads.STOPS.index(FIRST[values.number])
    seeds = {head: row[:, first:].numpy() for head, row in rows.items()}  # [seeds, n] each
    curves = {head: over_seeds(row.T, log=True) for head, row in seeds.items()}  # mean, low, high [3, n]
    at = training_heads.STOPS[first:].index(values.iteration)
    return {
        "visits": training_heads.META_BATCH * values.iteration / values.num_tasks,
        "places": np.arange(first, len(training_heads.STOPS)),  # stops double: evenly spaced, on a logarithmic axis
        "seeds": seeds,
        "curves": curves,
        "now": {head: curve[:, at] for head, curve in curves.items()},  # mean, low, high
    }


def picture(fig, show) -> None:
    axes = fig.subplots()
    axes.set(xlabel="iterations of meta-training", ylabel="error", yscale="log")
    axes.set(xlim=(-0.2, len(training_heads.STOPS) - 0.8))
    axes.set_xticks(range(len(training_heads.STOPS)), [f"{stop:,}" for stop in training_heads.STOPS])
    axes.set_yticks(TICKS, [f"{tick:g}" for tick in TICKS])
    axes.minorticks_off()
    show.limits(axes, y=lambda d: (FLOORS[d.number], CEILING))
    show.level(axes, ZERO_PREDICTOR_MSE, "predicting zero")
    show.mark(axes, lambda d: training_heads.STOPS.index(d.iteration))
    for shift, (head, text) in zip((-0.06, 0, 0.06), HEADS.items()):
        shown, color = (lambda d, head=head: head in d.heads), LOOKS[head]["color"]
        whiskers = lambda d, head=head, shift=shift: [
            np.array([(x + shift, low), (x + shift, high)]) for x, (_, low, high) in zip(d.places, d.curves[head].T)
        ]
        runs = lambda d, head=head, shift=shift: np.stack([np.tile(d.places + shift, 3), d.seeds[head].ravel()], 1)
        show.paths(axes, whiskers, color=color, linewidth=1, alpha=0.6, shown=shown)
        show.points(axes, runs, color=color, markersize=2.5, alpha=0.6, shown=shown)
        mean = lambda d, head=head: d.curves[head][0]
        place = lambda d, shift=shift: d.places + shift
        show.line(axes, place, mean, **LOOKS[head], markersize=5, end=text, pin=True, shown=shown)
    low_left = {"style": "italic", "color": plots.QUIET, "fontsize": 10}
    show.text(axes, 0, lambda d: 1.2 * FLOORS[d.number], lambda d: ERRORS[d.number], **low_left)
    show.title(axes, lambda d: f"{d.visits:g} visits a task: {leader(d)} ({numbers(d)})")


def leader(d) -> str:
    """Who is ahead at the chosen iteration, if the intervals of the first two do not meet."""
    first, second, _ = sorted(d.now, key=lambda head: d.now[head][0])
    if d.now[first][2] < d.now[second][1]:
        return LEADS[first]
    return "no clear leader"


def numbers(d) -> str:
    random, stored, meta = (d.now[head][0] for head in HEADS)
    return f"random {random:.2f}, stored {stored:.2f}, meta {meta:.2f}"


def words(d) -> str:
    return (
        f"Error of {NUMBERS[d.number]}; {d.num_tasks} tasks, k = {d.steps}, geometric mean of three seeds. "
        f"Iteration {d.iteration:,}, {d.visits:g} visits a task: {leader(d)}; {numbers(d)}."
    )


demo = declare(
    "Random, remembered or meta-learned heads",
    [
        Notches("num_tasks", training_heads.NUM_TASKS, 50, "number of tasks"),
        Notches("steps", training_heads.STEPS, 1, "inner steps k"),
        Notches("iteration", training_heads.STOPS[1:], 3200, "look at iteration"),
        Choice("number", NUMBERS, "ridge", "error of"),
        Several("heads", HEADS, label="show"),
    ],
    compute,
    picture,
    words,
    size=(9.4, 4.6),
    hint="A run diverged: choose fewer steps.",
    views={
        "early": {"iteration": 100},
        "late": {},
        "tasks seldom return": {"num_tasks": 5000, "iteration": 800},
        "five inner steps": {"steps": 5},
        "what training sees": {"number": "training_loss"},
    },
    play="iteration",
)
