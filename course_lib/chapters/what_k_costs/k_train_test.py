"""Training k against test-time k: networks trained with few or many inner steps, then given more of them.

Trained before, by ``python -m course_lib.chapters.what_k_costs.experiments.train_k_test_k``; its JSON says how.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from matplotlib.colors import LogNorm

from course_lib.chapters.what_k_costs.experiments.train_k_test_k import (
    SEEDS,
    TEST_STEPS,
    TEST_TASKS,
    TRAIN_STEPS,
    load,
    table,
)
from course_lib.kit import plots
from course_lib.kit.demo import Choice, Notches, declare
from course_lib.tasks.sinusoid import ZERO_PREDICTOR_MSE

BUDGETS = {"compute": "the same compute", "iterations": "the same number of updates"}
NUMBERS = {"median": "median task", "mean": "mean over tasks"}
LIMITS = (0.01, 20.0)  # of the errors
SHADES = LogNorm(0.08, 3.0)
DARK = 0.35  # errors from here on stand on a dark cell


def compute(values: SimpleNamespace) -> dict:
    """Errors of all seeds [seeds, training k, test k], and the chosen cell."""
    errors = table(load()["runs"], values.budget, values.number).numpy()
    row, column = TRAIN_STEPS.index(values.train_steps), TEST_STEPS.index(values.test_steps)
    return {"row": row, "column": column, "runs": errors, "mean": errors.mean(0), "here": errors.mean(0)[row, column]}


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2, width_ratios=(1.35, 1))
    extent = (-0.5, len(TEST_STEPS) - 0.5, -0.5, len(TRAIN_STEPS) - 0.5)
    show.image(left, "mean", cmap="viridis_r", norm=SHADES, origin="lower", aspect="auto", extent=extent)
    left.set(xlabel="inner steps at test time", ylabel="inner steps in training")
    left.set_xticks(range(len(TEST_STEPS)), labels=TEST_STEPS)
    left.set_yticks(range(len(TRAIN_STEPS)), labels=TRAIN_STEPS)
    left.grid(False)
    for at in np.ndindex(len(TRAIN_STEPS), len(TEST_STEPS)):
        color = lambda d, at=at: "white" if d.mean[at] > DARK else "black"
        look = {"color": color, "ha": "center", "va": "center", "fontsize": 9}
        show.text(left, *at[::-1], lambda d, at=at: number(d.mean[at]), **look)
    corners = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5)])
    look = {"color": plots.ORANGE, "linestyle": "-", "linewidth": 3, "clip_on": False}
    show.line(left, lambda d: corners + (d.column, d.row), **look)
    show.title(left, lambda d: f"Trained with {d.train_steps}, given {d.test_steps}: error {number(d.here)}")

    right.set(xlabel="inner steps at test time", ylabel="held-out error", yscale="log", ylim=LIMITS)
    right.set_xlim(0, len(TEST_STEPS) - 1)
    right.set_xticks(range(len(TEST_STEPS)), labels=TEST_STEPS)
    show.level(right, ZERO_PREDICTOR_MSE, "predicting zero, mean")
    tests = range(len(TEST_STEPS))
    for row, (k, mark) in enumerate(zip(TRAIN_STEPS, plots.MARKERS)):
        is_chosen = lambda d, row=row: d.row == row
        color = lambda d, row=row: plots.BLUE if d.row == row else plots.FAINT
        runs = lambda d, row=row: d.runs[:, row].clip(*LIMITS)  # [seeds, test k]
        ends = [lambda d, runs=runs, end=end: end(runs(d), 0) for end in (np.min, np.max)]
        show.band(right, tests, *ends, color=plots.BLUE, shown=is_chosen)
        look = {"color": color, "linestyle": "-", "marker": mark, "markersize": 4}
        look |= {"linewidth": lambda d, row=row: 3 if d.row == row else 1.4, "zorder": 3}
        show.line(right, tests, lambda d, runs=runs: runs(d).mean(0), **look, end=f"trained with {k}")
    show.points(right, "column", lambda d: d.here.clip(*LIMITS), **plots.HERE, zorder=5)
    show.title(right, f"Mean and range of {len(SEEDS)} seeds, {TEST_TASKS} tasks each")


def number(error: float) -> str:
    return f"{error:.2f}" if error < 99.5 else f"{error:.0e}"


def words(d) -> str:
    best = ", ".join(f"{TRAIN_STEPS[r]} for {k}" for r, k in zip(d.mean.argmin(0), TEST_STEPS))
    return (
        f"Held-out error ({NUMBERS[d.number]}), every network trained with {BUDGETS[d.budget]}: trained with k = "
        f"{d.train_steps} and given {d.test_steps} steps, {d.here:.2g}. The best training k for each number of steps "
        f"at test time: {best}."
    )


demo = declare(
    "Train with few steps, fine-tune with more",
    [
        Choice("budget", BUDGETS, "compute", "each network had"),
        Choice("number", NUMBERS, "median", "show"),
        Notches("train_steps", TRAIN_STEPS, 1, "k in training"),
        Notches("test_steps", TEST_STEPS, 10, "k at test time"),
    ],
    compute,
    picture,
    words,
    size=(9.8, 4.6),
    play="train_steps",
)
