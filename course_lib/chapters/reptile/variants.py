"""What Reptile's minibatches and its falling outer rate are worth: error and agreement while it trains.

The table is shipped: see ``course_lib.chapters.reptile.experiments.reptile_training`` and its record.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from course_lib.chapters.reptile.experiments import reptile_training
from course_lib.evaluation import over_seeds
from course_lib.kit import plots
from course_lib.kit.demo import Choice, Notches, declare
from course_lib.tasks.sinusoid import ZERO_PREDICTOR_MSE

QUESTIONS = {
    "points": "which points an inner step sees",
    "rate": "the outer rate \N{GREEK SMALL LETTER EPSILON}, one task an iteration",
}
LINES = {
    "points": {
        "minibatches": "minibatches of 10",
        "all_20": "all 20 points",
        "same_10": "the same 10",
        "joint": "one step (k = 1)",
    },
    "rate": {"falling": "1 falling to 0", "constant_1": "1 all the time", "constant_0.1": "0.1 all the time"},
}
LINE = {name: words for lines in LINES.values() for name, words in lines.items()}
REPTILE, INK, QUIET = (
    {"color": color, "marker": mark, "linestyle": dash, "markersize": 5}
    for color, mark, dash in ((plots.AMBER, "D", "-"), (plots.INK, "s", "--"), (plots.GREY, "^", "-."))
)
LOOKS = {"minibatches": REPTILE, "all_20": INK, "same_10": QUIET, "joint": plots.METHODS["pretrained"]}
LOOKS |= {"falling": REPTILE, "constant_1": INK, "constant_0.1": QUIET}
STEPS_AT_TEST = {1: "after_1", 5: "after_5", 10: "after_10"}


def compute(values: SimpleNamespace) -> dict:
    """Error and agreement of every variant at every moment, with intervals over the seeds."""
    table, names = reptile_training.load(), list(LINES[values.question])
    row = lambda name, score: np.array(table["scores"][name][score])  # [moments, seeds]
    return {
        "moments": np.array(table["moments"][names[0]]),
        "error": {n: over_seeds(row(n, STEPS_AT_TEST[values.test_steps]), log=True) for n in names},
        "agreement": {n: over_seeds(row(n, "agreement")) for n in names},
    }


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2)
    for axes, name in ((left, "error"), (right, "agreement")):
        axes.set(xlabel="outer iteration", xscale="log", xlim=(50, 1000))
        axes.minorticks_off()
        axes.set_xticks([50, 100, 200, 500, 1000], ["50", "100", "200", "500", "1000"])
        show.series(axes, "moments", name, LINE, LOOKS)
    left.set(ylabel="error on new tasks", yscale="log")
    left.set_yticks([0.2, 0.5, 1, 2, 5], ["0.2", "0.5", "1", "2", "5"])
    left.minorticks_off()
    show.limits(left, y=lambda d: (0.2, 10 if d.test_steps == 1 else 6))
    show.level(left, ZERO_PREDICTOR_MSE, "predicting zero")
    right.set(ylabel="agreement of two sets of 10 points", ylim=(0.2, 0.8))
    lowest = lambda d: min(d.error, key=lambda name: d.error[name][0][-1])
    highest = lambda d: max(d.agreement, key=lambda name: d.agreement[name][0][-1])
    show.title(left, lambda d: f"Lowest in the end: {LINE[lowest(d)]}, {d.error[lowest(d)][0][-1]:.2f}")
    show.title(right, lambda d: f"Gradients agree most: {LINE[highest(d)]}")


def words(d) -> str:
    ends = ", ".join(
        f"{LINE[name]} {d.error[name][0][-1]:.2f} (agreement {d.agreement[name][0][-1]:.2f})" for name in d.error
    )
    return (
        f"Reptile with k = {reptile_training.K} inner steps; error on new tasks after {d.test_steps} steps "
        f"at test time, when training ends, three seeds: {ends}. Predicting zero costs {ZERO_PREDICTOR_MSE:.2f}."
    )


demo = declare(
    "What happens inside Reptile's loop, and outside",
    [
        Choice("question", QUESTIONS, "points", "compare"),
        Notches("test_steps", tuple(STEPS_AT_TEST), 10, "steps at test time"),
    ],
    compute,
    picture,
    words,
    size=(9.6, 4.6),
    views={"minibatches win": {"question": "points"}, "a falling rate wins": {"question": "rate"}},
)
