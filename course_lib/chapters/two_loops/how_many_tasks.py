"""How many training tasks are enough? Errors of new tasks, and of the training tasks, for 10 to unlimited many.

Trained before, from twenty seeds each (``experiments/training_tasks``).
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from course_lib.chapters.two_loops.experiments.training_tasks import COUNTS, runs
from course_lib.kit import plots
from course_lib.kit.demo import Choice, Notches, declare
from course_lib.kit.many_seeds import OUTER_LRS, tuned

ALL = [*COUNTS, 0]  # 0: a new task every time
NAMES = ["10", "30", "100", "1,000", "unlimited"]
POINTS = {"new": "new at every visit", "same": "always the same 10 + 10"}
RATES = {"tuned": "each at its best"} | {str(rate): f"{rate:g} for all" for rate in OUTER_LRS}
HIGHEST = 5.0  # error shown


def table(points: str, rate: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean error after one step of new tasks and of the training tasks: [seeds, numbers of tasks] each."""
    rows = [row for row in runs.rows() if row["tasks"] == 0 or row["points"] == points]
    rows = tuned(rows, "tasks") if rate == "tuned" else [r for r in rows if r["outer_lr"] == float(rate)]
    new = [[row["test"][1] for row in rows if row["tasks"] == count] for count in ALL]
    own = [[row["training"] for row in rows if row["tasks"] == count] for count in ALL]
    return np.array(new).T, np.array(own).T


def compute(values: SimpleNamespace) -> dict:
    """Errors of all seeds, and the chosen number of tasks."""
    new, own = table(values.points, values.outer_lr)
    at = NAMES.index(values.tasks)
    return {"at": at, "new": new, "own": own, "here": np.median(new[:, at]), "unlimited": np.median(new[:, -1])}


def picture(fig, show) -> None:
    axes = fig.subplots()
    places = np.arange(len(ALL))
    axes.set(xlabel="training tasks", ylabel="error after one inner step", xlim=(-0.2, 4.05))
    axes.set_xticks(places, labels=NAMES)
    for name, words_, color, mark in (
        ("new", "new tasks", plots.BLUE, "o"),
        ("own", "training tasks", plots.GREY, "s"),
    ):
        single = lambda d, name=name: [np.c_[places, run.clip(0, HIGHEST)] for run in d[name]]
        show.paths(axes, single, colors=color, linewidths=0.8, alpha=0.3)
        middle = lambda d, name=name: np.median(d[name], 0).clip(0, HIGHEST)
        show.line(axes, places, middle, color=color, marker=mark, linestyle="-", linewidth=2.6, end=words_)
    show.points(axes, "at", lambda d: min(d.here, HIGHEST), **plots.HERE, zorder=5)
    show.limits(axes, y=lambda d: (0, min(plots.nice_ceiling(d.new.max()), HIGHEST)))
    show.title(axes, headline)


def headline(d) -> str:
    times = d.here / d.unlimited
    if d.at == len(ALL) - 1:
        return f"A new task every time: error {d.here:.2f}"
    return f"{d.tasks} training tasks: error {d.here:.2f}, {times:.2g} times that of unlimited many"


def words(d) -> str:
    rows = zip(NAMES, np.median(d.new, 0), np.median(d.own, 0))
    told = [f"{name}: {new:.2f} (training tasks {own:.2f})" for name, new, own in rows]
    how = f"points {POINTS[d.points]}, outer rate {RATES[d.outer_lr]}"
    return f"Error of new tasks after one step, median of the seeds, {how}. {'; '.join(told)}."


demo = declare(
    "How many training tasks?",
    [
        Notches("tasks", NAMES, "100", "training tasks"),
        Choice("points", POINTS, "new", "their points are"),
        Choice("outer_lr", RATES, "tuned", "outer rate"),
    ],
    compute,
    picture,
    words,
    size=(8.0, 3.5),
    views={
        "a hundred curves": {},
        "ten curves": {"tasks": "10"},
        "a hundred small data sets": {"points": "same"},
    },
)
