"""What Reptile's minibatches and its falling outer rate are worth, each line at every outer rate.

The table is shipped: see ``course_lib.chapters.reptile.experiments.loops`` and its record.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from course_lib.chapters.reptile.experiments import loops
from course_lib.chapters.reptile.experiments.loops import EPSILONS, OUTER_LRS
from course_lib.chapters.reptile.experiments.race import JUDGES, PARTS, TEST_STEPS
from course_lib.kit import plots
from course_lib.kit.demo import Choice, Notches, declare
from course_lib.kit.experiment import middle, middle_and_ends
from course_lib.kit.words import several
from course_lib.tasks.sinusoid import ZERO_PREDICTOR_MSE

QUESTIONS = {"points": "which points an inner step sees", "schedule": "the outer rate, one task an iteration"}
LINES = {
    "points": {
        "minibatches": "minibatches of 10",
        "all_20": "all 20 points",
        "same_10": "the same 10",
        "joint": "one step (k = 1)",
    },
    "schedule": {"falling": "falling to 0", "constant": "constant"},
}
LINE = {name: words for lines in LINES.values() for name, words in lines.items()}
REPTILE, INK, QUIET = (
    {"color": color, "marker": mark, "linestyle": dash}
    for color, mark, dash in ((plots.AMBER, "D", "-"), (plots.INK, "s", "--"), (plots.GREY, "^", "-."))
)
LOOKS = {"minibatches": REPTILE, "all_20": INK, "same_10": QUIET, "joint": plots.METHODS["pretrained"]}
LOOKS |= {"falling": REPTILE, "constant": INK}
SEEDS = len(loops.runs.seeds)
LOW, HIGH = 0.1, 8.0  # of the errors shown


def rates(line: str) -> tuple[float, ...]:
    return OUTER_LRS if line in loops.POINTS else EPSILONS


def judge(line: str, outer_lr: float, test_steps: int) -> int:
    """The place among JUDGES of the test rate that validation chooses."""
    rows = loops.runs.rows(line=line, outer_lr=outer_lr, part=PARTS[-1])
    places = [index for index, (steps, _) in enumerate(JUDGES) if steps == test_steps]
    return min(places, key=lambda index: middle(row["validation"][index] for row in rows))


def errors(line: str, outer_lr: float, test_steps: int) -> tuple[list[float], list[float]]:
    """Validation and test errors of the seeds when training ends, at that test rate."""
    index, rows = judge(line, outer_lr, test_steps), loops.runs.rows(line=line, outer_lr=outer_lr, part=PARTS[-1])
    return [row["validation"][index] for row in rows], [row["error"][index] for row in rows]


def best_rate(line: str, test_steps: int) -> float:
    """The outer rate of the least median validation error."""
    return min(rates(line), key=lambda lr: middle(errors(line, lr, test_steps)[0]))


def compute(values: SimpleNamespace) -> dict:
    """Error and agreement of every line against the outer rate [rates, 3], and each line's best rate."""
    names, at = LINES[values.question], values.test_steps
    agreement = lambda n, lr: [row["agreement"] for row in loops.runs.rows(line=n, outer_lr=lr, part=PARTS[-1])]
    return {
        "x": {n: np.array(rates(n)) for n in names},
        "error": {n: np.array([middle_and_ends(errors(n, lr, at)[1]) for lr in rates(n)]) for n in names},
        "agreement": {n: np.array([middle_and_ends(agreement(n, lr)) for lr in rates(n)]) for n in names},
        "best": {n: best_rate(n, at) for n in names},
        "ends": {n: middle(errors(n, best_rate(n, at), at)[1]) for n in names},
    }


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2)
    for axes, part in ((left, "error"), (right, "agreement")):
        axes.set(xscale="log")
        axes.set_xticks([0.003, 0.01, 0.03, 0.1, 0.3, 1], ["0.003", "0.01", "0.03", "0.1", "0.3", "1"])
        axes.minorticks_off()
        show.limits(axes, x=lambda d: (2.5e-3, 3.6e-2) if d.question == "points" else (0.08, 1.2))
        kind = {"points": "outer rate, Adam", "schedule": "outer rate \N{GREEK SMALL LETTER EPSILON}, at its highest"}
        show.also(lambda d, axes=axes: axes.xaxis.label.set_text(kind[d.question]))
        for place, (name, text) in enumerate(LINE.items()):
            shown = lambda d, name=name: name in d.x
            x = lambda d, name=name, place=place: d.x.get(name, np.ones(1)) * 1.02 ** (place % 4 - 1)
            rows = lambda d, name=name, part=part: d[part].get(name, np.ones((1, 3)))
            show.whiskers(axes, x, rows, **{"markersize": 6} | LOOKS[name], shown=shown, end=text)
    left.set(ylabel="error on new tasks, when training ends", yscale="log", ylim=(LOW, HIGH))
    left.set_yticks([0.1, 0.2, 0.5, 1, 2, 5], ["0.1", "0.2", "0.5", "1", "2", "5"])
    left.minorticks_off()
    show.level(left, ZERO_PREDICTOR_MSE, "predicting zero", at=0.01)
    right.set(ylabel="agreement of two sets of 10 points", ylim=(0.3, 0.9))
    lowest = lambda d: min(d.ends, key=d.ends.get)
    show.title(left, lambda d: f"Lowest: {LINE[lowest(d)]}, {d.ends[lowest(d)]:.2f}")
    show.title(right, "How far a task's gradients agree")


def words(d) -> str:
    ends = ", ".join(f"{LINE[n]} {d.ends[n]:.2f} (at {d.best[n]:g})" for n in d.ends)
    return (
        f"Reptile with k = 5 inner steps; median error over {SEEDS} seeds on new tasks after "
        f"{several(d.test_steps, 'step')} at test time, each line at its best outer rate: {ends}. "
        f"Predicting zero costs {ZERO_PREDICTOR_MSE:.2f}."
    )


demo = declare(
    "What happens inside Reptile's loop, and outside",
    [
        Choice("question", QUESTIONS, "points", "compare"),
        Notches("test_steps", TEST_STEPS, 10, "steps at test time"),
    ],
    compute,
    picture,
    words,
    size=(9.8, 4.5),
    views={"which points": {}, "which schedule": {"question": "schedule"}},
)
