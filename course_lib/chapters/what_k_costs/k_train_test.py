"""Training k against test-time k: networks trained with few or many inner steps, then given more of them.

Trained before, from twenty seeds each and with three outer rates (``experiments/train_k_test_k``).
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from matplotlib.colors import LogNorm

from course_lib.chapters.what_k_costs.experiments.train_k_test_k import TEST_STEPS, TRAIN_STEPS, runs
from course_lib.kit import plots
from course_lib.kit.demo import Choice, Notches, declare
from course_lib.kit.many_seeds import OUTER_LRS, tuned
from course_lib.kit.words import several

BUDGETS = {"compute": "the same compute", "iterations": "the same number of updates"}
RATES = {"tuned": "the best for each k"} | {str(rate): f"{rate:g} for all" for rate in OUTER_LRS}
LIMITS = (0.02, 5.0)  # of the errors
SHADES = LogNorm(0.05, 2.5)
DARK = 0.3  # errors from here on stand on a dark cell


def table(budget: str, rate: str = "tuned", entry: str = "median") -> np.ndarray:
    """Median errors [seeds, training k, test k]; at the rate that suits each k, or at one rate for all.

    ``entry`` "other": with the test-time rate that suits each network.
    """
    rows = runs.rows(budget=budget)
    rows = tuned(rows, "train_steps") if rate == "tuned" else [row for row in rows if row["outer_lr"] == float(rate)]
    curve = lambda row: row["other"]["median"] if entry == "other" else row["median"]
    of = lambda k: [curve(row) for row in sorted(rows, key=lambda row: row["seed"]) if row["train_steps"] == k]
    return np.array([of(k) for k in TRAIN_STEPS]).swapaxes(0, 1)


def compute(values: SimpleNamespace) -> dict:
    """Errors of all seeds [seeds, training k, test k], and the chosen cell."""
    errors = table(values.budget, values.outer_lr)
    row, column = TRAIN_STEPS.index(values.train_steps), TEST_STEPS.index(values.test_steps)
    middle = np.median(errors, 0)
    best = TRAIN_STEPS[int(middle[:, column].argmin())]
    return {"row": row, "column": column, "runs": errors, "middle": middle, "here": middle[row, column], "best": best}


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2, width_ratios=(1.35, 1))
    extent = (-0.5, len(TEST_STEPS) - 0.5, -0.5, len(TRAIN_STEPS) - 0.5)
    image = left.imshow(np.zeros((2, 2)), cmap="viridis_r", norm=SHADES, origin="lower", aspect="auto", extent=extent)
    left.set(xlabel="inner steps at test time", ylabel="inner steps in training")
    left.set_xticks(range(len(TEST_STEPS)), labels=TEST_STEPS)
    left.set_yticks(range(len(TRAIN_STEPS)), labels=TRAIN_STEPS)
    left.grid(False)
    cells = {
        at: left.text(*at[::-1], "", ha="center", va="center", fontsize=9)
        for at in np.ndindex(len(TRAIN_STEPS), len(TEST_STEPS))
    }

    def table(d) -> None:
        """Drawn with the axes, and so only where another table comes: 56 words take longer than all the rest."""
        if not np.array_equal(image.get_array(), d.middle):
            image.set_data(d.middle)
            for at, cell in cells.items():
                cell.set(text=number(d.middle[at]), color="white" if d.middle[at] > DARK else "black")

    show.also(table)
    corners = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5)])
    look = {"color": plots.ORANGE, "linestyle": "-", "linewidth": 3, "clip_on": False}
    show.line(left, lambda d: corners + (d.column, d.row), **look)
    show.title(left, headline)

    right.set(xlabel="inner steps at test time", ylabel="error of new tasks (median)", yscale="log", ylim=LIMITS)
    right.set_xlim(0, len(TEST_STEPS) - 1)
    right.set_xticks(range(len(TEST_STEPS)), labels=TEST_STEPS)
    tests = range(len(TEST_STEPS))
    for row, (k, mark) in enumerate(zip(TRAIN_STEPS, plots.MARKERS)):
        is_chosen = lambda d, row=row: d.row == row
        color = lambda d, row=row: plots.BLUE if d.row == row else plots.FAINT
        runs_ = lambda d, row=row: d.runs[:, row].clip(*LIMITS)  # [seeds, test k]
        single = lambda d, r=runs_: [np.c_[tests, run] for run in r(d)]
        show.paths(right, single, colors=plots.BLUE, linewidths=0.7, alpha=0.35, shown=is_chosen)
        look = {"color": color, "linestyle": "-", "marker": mark, "markersize": 4}
        look |= {"linewidth": lambda d, row=row: 3 if d.row == row else 1.4, "zorder": 3}
        show.line(right, tests, lambda d, r=runs_: np.median(r(d), 0), **look, end=f"trained with {k}")
    show.points(right, "column", lambda d: d.here.clip(*LIMITS), **plots.HERE, zorder=5)
    show.title(right, lambda d: f"Median of {len(d.runs)} seeds, each run thin")


def headline(d) -> str:
    return f"Given {several(d.test_steps, 'step')}: best trained with {d.best}"


def number(error: float) -> str:
    return f"{error:.2f}" if error < 99.5 else f"{error:.0e}"


def words(d) -> str:
    best = ", ".join(f"{TRAIN_STEPS[r]} for {k}" for r, k in zip(d.middle.argmin(0), TEST_STEPS))
    return (
        f"Median error of new tasks, every network trained with {BUDGETS[d.budget]}, outer rate {RATES[d.outer_lr]}: "
        f"trained with k = {d.train_steps} and given {several(d.test_steps, 'step')}, {d.here:.2g}. The best training "
        f"k for each number of steps at test time: {best}."
    )


demo = declare(
    "Train with few steps, fine-tune with more",
    [
        Choice("budget", BUDGETS, "compute", "each network had"),
        Choice("outer_lr", RATES, "tuned", "outer rate"),
        Notches("train_steps", TRAIN_STEPS, 1, "k in training"),
        Notches("test_steps", TEST_STEPS, 10, "k at test time"),
    ],
    compute,
    picture,
    words,
    size=(9.8, 4.6),
    play="train_steps",
    views={
        "the best rate for each k": {},
        "0.001 for all": {"outer_lr": "0.001"},
        "as many updates": {"budget": "iterations"},
    },
)
