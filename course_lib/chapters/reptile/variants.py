"""What Reptile's minibatches and its falling outer rate are worth: error and agreement while it trains.

The table is shipped: see ``course_lib.chapters.reptile.experiments.reptile_training`` and its record.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np

from course_lib.chapters.reptile.experiments import reptile_training
from course_lib.kit import plots
from course_lib.kit.first_edition import Choice, Demo, Notches
from course_lib.tasks.sinusoid import ZERO_PREDICTOR_MSE

QUESTIONS = {
    "which points an inner step sees": "points",
    "the outer rate \N{GREEK SMALL LETTER EPSILON}, one task an iteration": "rate",
}
LINES = {
    "points": {
        "minibatches": "minibatches of 10 of 20",
        "all_20": "all 20 at every step",
        "same_10": "the same 10 at every step",
        "joint": "one step on all 20 (k = 1)",
    },
    "rate": {
        "falling": "1 falling to 0",
        "constant_1": "1 all the time",
        "constant_0.1": "0.1 all the time",
    },
}
COLORS = (plots.ORANGE, plots.BLUE, plots.GREEN, plots.GREY)
STEPS_AT_TEST = {1: "after_1", 5: "after_5", 10: "after_10"}
STUDENT_T = 4.303  # 97.5 % quantile with two degrees of freedom: three seeds


def band(values: np.ndarray, log: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over seeds and the ends of its 95 % interval, [moments] each, of values [moments, 3]; or of their logs."""
    values = np.log(values) if log else values
    mean, half = values.mean(1), STUDENT_T * values.std(1, ddof=1) / math.sqrt(values.shape[1])
    back = np.exp if log else np.asarray
    return back(mean), back(mean - half), back(mean + half)


def compute(values: SimpleNamespace) -> dict:
    """Error and agreement of every variant at every moment, with intervals over the seeds."""
    table, names = reptile_training.load(), list(LINES[values.question])
    row = lambda name, score: np.array(table["scores"][name][score])  # [moments, seeds]
    return {
        "question": values.question,
        "test_steps": values.test_steps,
        "moments": np.array(table["moments"][names[0]]),
        "error": {n: band(row(n, STEPS_AT_TEST[values.test_steps]), log=True) for n in names},
        "agreement": {n: band(row(n, "agreement"), log=False) for n in names},
    }


def figure(fig) -> SimpleNamespace:
    panels = fig.subplots(1, 2)
    panels[0].set(
        xlabel="outer iteration", ylabel="error on new tasks", xscale="log", yscale="log", ylim=(0.2, 6)
    )
    panels[0].set_yticks([0.2, 0.5, 1, 2, 5], ["0.2", "0.5", "1", "2", "5"])
    panels[0].axhline(ZERO_PREDICTOR_MSE, **plots.REFERENCE)
    panels[0].text(52, ZERO_PREDICTOR_MSE * 1.06, "predicting zero", color=plots.GREY, fontsize="small")
    panels[1].set(xlabel="outer iteration", ylabel="agreement of gradients", xscale="log", ylim=(0.2, 0.8))
    for panel in panels:
        panel.set(xlim=(45, 1100))
        panel.minorticks_off()
        panel.set_xticks([50, 100, 200, 500, 1000], ["50", "100", "200", "500", "1000"])
    parts = SimpleNamespace(lines=[], bands=[], panels=panels, titles=[panels[0].set_title(" ")])
    panels[1].set_title("Two sets of 10 points of one task")
    for color, dash, mark in zip(COLORS, plots.DASHES, plots.MARKERS):
        look = {"color": color, "linestyle": dash, "marker": mark, "markersize": 5}
        parts.lines.append([panel.plot([], [], **look, label=" ")[0] for panel in panels])
        parts.bands.append(
            [p.fill_between([50], [1], [1], color=color, alpha=0.15, linewidth=0) for p in panels]
        )
    parts.legend = fig.legend(handles=[pair[0] for pair in parts.lines], loc="outside lower center", ncols=2)
    return parts


def draw(artists: SimpleNamespace, data: dict) -> None:
    words = list(LINES[data["question"]].items())
    for i, text in enumerate(artists.legend.get_texts()):
        text.set_text(words[i][1] if i < len(words) else "")
        artists.legend.legend_handles[i].set_visible(i < len(words))
        for panel in (0, 1):
            artists.lines[i][panel].set_visible(i < len(words))
            artists.bands[i][panel].set_visible(i < len(words))
    for i, (name, _) in enumerate(words):
        for panel, what in enumerate(("error", "agreement")):
            mean, low, high = data[what][name]
            artists.lines[i][panel].set_data(data["moments"], mean)
            artists.bands[i][panel].set_data(data["moments"], low, high)
    last = ", ".join(f"{data['error'][name][0][-1]:.2f}" for name, _ in words)
    artists.titles[0].set_text(f"In the end {last}")
    plots.set_limits(artists.panels[0], y=(0.2, 10) if data["test_steps"] == 1 else (0.2, 6))


def alt(data: dict) -> str:
    ends = ", ".join(
        f"{text} {data['error'][name][0][-1]:.2f} (agreement {data['agreement'][name][0][-1]:.2f})"
        for name, text in LINES[data["question"]].items()
    )
    return (
        f"Reptile with k = {reptile_training.K} inner steps; error on new tasks after {data['test_steps']} steps "
        f"at test time, when training ends, three seeds: {ends}. Predicting zero costs {ZERO_PREDICTOR_MSE:.2f}."
    )


def demo(question: str = "points") -> Demo:
    """The demo of notebook 08, opened at one of QUESTIONS; minibatches end lowest, and so does a falling rate."""
    return Demo(
        "What happens inside Reptile's loop, and outside",
        controls=[
            Choice("question", QUESTIONS, question, "compare"),
            Notches("test_steps", tuple(STEPS_AT_TEST), 10, "steps at test time"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(9.4, 4.6),
    )
