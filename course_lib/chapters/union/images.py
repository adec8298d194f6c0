"""The union of tasks beside MAML on Omniglot, at two budgets of compute: accuracy on new characters.

The table is shipped, one training run a row: see ``course_lib.chapters.union.experiments.equal_compute_images``.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from course_lib.chapters.union.experiments import equal_compute_images
from course_lib.kit import plots
from course_lib.kit.demo import Notches, declare

METHODS = {"maml": "MAML", "union": "union, ridge head"}
STEPS = {"maml": "1", "union": "0"}  # at test time, as in training


def compute(values: SimpleNamespace) -> dict:
    """Accuracy of every run against its operations, {method: [budgets, 4]}: operations, mean, low and high."""
    found = {method: [] for method in METHODS}
    for run in sorted(equal_compute_images.runs.rows(), key=lambda run: run["operations"]):
        mean, half = run["accuracy"][str(values.shots)][STEPS[run["method"]]]
        found[run["method"]].append([run["operations"], mean, mean - half, mean + half])
    return {method: np.array(rows) for method, rows in found.items()}


def picture(fig, show) -> None:
    panel = fig.subplots()
    panel.set(xlabel="operations of training", ylabel="accuracy on five new characters, %", xscale="log")
    panel.set(xlim=(5e12, 2.8e13), ylim=(80, 100))
    panel.set_xticks([7e12, 1.94e13], ["7 · 10¹²", "19 · 10¹²"])
    panel.minorticks_off()
    for place, (method, text) in enumerate(METHODS.items()):
        x = lambda d, m=method, p=place: d[m][:, 0] * 1.02**p
        show.whiskers(panel, x, lambda d, m=method: d[m][:, 1:], **{"markersize": 8} | plots.METHODS[method], end=text)
    show.title(panel, verdict)


def verdict(d) -> str:
    small, large = d["union"][:, 1] - d["maml"][:, 1]
    return f"{d.shots}-shot: the union's lead is {small:+.1f}, then {large:+.1f} points"


def words(d) -> str:
    rows = "; ".join(f"{text} " + " and ".join(f"{row[1]:.1f}" for row in d[m]) for m, text in METHODS.items())
    return (
        f"Omniglot, 5-way {d.shots}-shot, accuracy in % after 7e12 and 19e12 operations of training, one run each "
        f"(MAML after one step): {rows}."
    )


demo = declare(
    "The union of tasks on images",
    [Notches("shots", (1, 5), 1, "shots")],
    compute,
    picture,
    words,
    size=(7.4, 4.0),
    views={"one shot": {}, "five shots": {"shots": 5}},
)
