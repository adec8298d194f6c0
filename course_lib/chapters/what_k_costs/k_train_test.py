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
from course_lib.kit.demo import Choice, Demo, Notches
from course_lib.tasks.sinusoid import ZERO_PREDICTOR_MSE

BUDGETS = {"the same compute": "compute", "the same number of updates": "iterations"}
NUMBERS = {"median task": "median", "mean over tasks": "mean"}
LIMITS = (0.01, 20.0)  # of the errors
COLORS = (plots.GREY, plots.BLUE, plots.SKY, plots.GREEN, plots.AMBER, plots.ORANGE)


def compute(values: SimpleNamespace) -> dict:
    """Errors of all seeds [seeds, training k, test k], and the chosen cell."""
    errors = table(load()["runs"], values.budget, values.number).numpy()
    return {
        "budget": values.budget,
        "number": values.number,
        "at": (TRAIN_STEPS.index(values.train_steps), TEST_STEPS.index(values.test_steps)),
        "errors": errors,
    }


def figure(fig) -> SimpleNamespace:
    left, right = fig.subplots(1, 2, width_ratios=(1.35, 1))
    cells = np.ones((len(TRAIN_STEPS), len(TEST_STEPS)))
    left.imshow(cells, cmap="viridis_r", norm=LogNorm(0.08, 3.0), origin="lower", aspect="auto")
    left.set(xlabel="inner steps at test time", ylabel="inner steps in training")
    left.set_xticks(range(len(TEST_STEPS)), labels=TEST_STEPS)
    left.set_yticks(range(len(TRAIN_STEPS)), labels=TRAIN_STEPS)
    left.grid(False)
    for row, column in np.ndindex(cells.shape):
        left.text(column, row, "", ha="center", va="center", fontsize="small")
    here = left.plot([], [], color=plots.ORANGE, linewidth=3)[0]
    right.set(xlabel="inner steps at test time", ylabel="held-out error", yscale="log", ylim=LIMITS)
    right.set_xlim(-0.3, len(TEST_STEPS) - 0.7)
    right.set_xticks(range(len(TEST_STEPS)), labels=TEST_STEPS)
    right.axhline(ZERO_PREDICTOR_MSE, **plots.REFERENCE, label="predicting zero, mean")
    curves, bands = [], []
    for k, color, dash, marker in zip(TRAIN_STEPS, COLORS, plots.DASHES, plots.MARKERS):
        style = {"color": color, "linestyle": dash, "marker": marker, "markersize": 4}
        curves.append(right.plot([], [], **style, label=f"trained with k = {k}")[0])
        bands.append(right.fill_between([0], [1], [1], color=color, alpha=0.2, linewidth=0))
    chosen = right.plot([], [], "o", color=plots.BLACK, markerfacecolor="white", markersize=9, zorder=5)[0]
    fig.legend(loc="outside lower center", ncols=4)
    titles = (left.set_title(" "), right.set_title(f"Mean and range of {len(SEEDS)} seeds"))
    return SimpleNamespace(left=left, here=here, curves=curves, bands=bands, chosen=chosen, titles=titles)


def draw(artists: SimpleNamespace, data: dict) -> None:
    row, column = data["at"]
    mean = data["errors"].mean(0)  # [training k, test k]
    (image,), words = artists.left.images, artists.left.texts
    if not np.array_equal(image.get_array(), mean):  # the map is background: drawn again only when it changes
        image.set_data(mean)
        for word, value in zip(words, mean.flat):
            word.set_text(f"{value:.2f}" if value < 99.5 else f"{value:.0e}")
            word.set_color("white" if value > 0.35 else "black")
    corners = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5)]) + (column, row)
    artists.here.set_data(*corners.T)
    tests = range(len(TEST_STEPS))
    for index, (curve, band) in enumerate(zip(artists.curves, artists.bands)):
        runs = data["errors"][:, index].clip(*LIMITS)  # [seeds, test k]
        curve.set_data(tests, runs.mean(0))
        curve.set_linewidth(4 if index == row else 1.5)
        band.set_data(tests, runs.min(0), runs.max(0))
    artists.chosen.set_data([column], [mean[row, column].clip(*LIMITS)])
    which = "median" if data["number"] == "median" else "mean"
    artists.titles[0].set_text(f"Held-out error, {which} of {TEST_TASKS} tasks: {mean[row, column]:.2f} here")


def alt(data: dict) -> str:
    row, column = data["at"]
    mean = data["errors"].mean(0)
    best = ", ".join(f"{TRAIN_STEPS[r]} for {k}" for r, k in zip(mean.argmin(0), TEST_STEPS))
    return (
        f"Held-out error ({data['number']}), every network trained with the same {data['budget']}: trained "
        f"with k = {TRAIN_STEPS[row]} and given {TEST_STEPS[column]} steps, {mean[row, column]:.2g}. The "
        f"best training k for each number of steps at test time: {best}."
    )


def demo() -> Demo:
    """The fourth demo of notebook 03; its default view is equal compute, the median task."""
    return Demo(
        "Train with few steps, fine-tune with more",
        controls=[
            Choice("budget", BUDGETS, "compute", "each network had"),
            Choice("number", NUMBERS, "median", "show"),
            Notches("train_steps", TRAIN_STEPS, 1, "k in training"),
            Notches("test_steps", TEST_STEPS, 10, "k at test time"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(9.6, 4.8),
    )
