"""The same body under every head, few shots to many, on real Omniglot: the shipped table of
``course_lib.chapters.closed_form.experiments.heads_and_shots``, with 95 % intervals."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from course_lib.chapters.closed_form.experiments import heads_and_shots
from course_lib.kit import plots
from course_lib.kit.demo import Choice, Several, declare

BODIES = {
    "r2d2": "ridge head (R2D2)",
    "metaoptnet": "SVM (MetaOptNet)",
    "protonet": "class means (ProtoNet)",
    "union": "union of tasks",
    "maml": "MAML",
    "untrained": "untrained",
}
SHORT = {"r2d2": "R2D2", "metaoptnet": "MetaOptNet", "protonet": "ProtoNet", "union": "union"}
CLASSES = {"any": "any characters", "one alphabet": "of one alphabet"}
HEADS = {"ridge": "ridge", "svm": "SVM", "means": "class means"}
MAML = "MAML, everything"
LIMITS = (0.25, 80)  # of the errors in %


def rows(part: str, body: str, classes: str, head: str) -> np.ndarray:
    """Mean and ends of the interval [3, shots] for every number of shots, of "accuracy" or "minus_ridge"."""
    mean, half = np.array([*heads_and_shots.load()[part][body][classes][head].values()]).T
    return np.stack([mean, mean - half, mean + half])


def compute(values: SimpleNamespace) -> dict:
    """All heads on the chosen body; the ridge head on the other bodies; MAML itself."""
    at = values.body, values.classes
    return {
        "wrong": {head: 100 - rows("accuracy", *at, head) for head in HEADS},
        "others": {body: 100 - rows("accuracy", body, values.classes, "ridge")[0] for body in BODIES},
        "maml": 100 - rows("accuracy", "maml", values.classes, MAML)[0],
        "differences": {head: rows("minus_ridge", *at, head) for head in HEADS if head != "ridge"},
    }


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2, width_ratios=(1.3, 1))
    shots = heads_and_shots.SHOTS
    for panel in (left, right):
        panel.set(xlabel="shots", xscale="log", xlim=(0.93, 10.6))
        panel.set_xticks(shots, shots)
        panel.minorticks_off()
    left.set(ylabel="wrong, of held-out drawings (%)", yscale="log", ylim=LIMITS)
    left.set_yticks([0.3, 1, 3, 10, 30], ["0.3", "1", "3", "10", "30"])
    left.minorticks_off()
    note = {"transform": left.transAxes, "fontsize": 9, "color": plots.QUIET}
    left.text(0.02, 0.03, "grey: ridge head\non the other bodies", **note)
    shown = lambda part: lambda d: {head: curve for head, curve in d[part].items() if head in d.heads}
    for body, words in BODIES.items():
        look = {"color": "#a8a8a8", "linestyle": "-", "linewidth": 1.1, "shown": lambda d, body=body: d.body != body}
        show.line(left, shots, lambda d, body=body: d.others[body], **look, end=SHORT.get(body, words))
    show.line(left, shots, "maml", color=plots.BLUE, linestyle=":", marker="v", markersize=4, end="MAML itself, 1 step")
    show.series(left, shots, shown("wrong"), HEADS)
    name = lambda d: SHORT.get(d.body, BODIES[d.body])
    show.title(left, lambda d: f"{name(d)}: heads {apart(d):.1f} points apart, bodies {bodies_apart(d):.0f}")

    right.set(ylabel="points more than the ridge head")
    show.level(right, 0, "ridge", color=plots.METHODS["ridge"]["color"], linestyle="-", at=0.01)
    show.limits(right, y=lambda d: (-reach(d), reach(d)))
    show.series(right, shots, shown("differences"), HEADS)
    show.title(right, "The same tasks, paired")


def apart(d) -> float:
    """The most that a head differs from ridge, in points."""
    return max(abs(curve[0]).max() for curve in d.differences.values())


def bodies_apart(d) -> float:
    """Between the best and the worst body with one shot, in points."""
    one_shot = [wrong[0] for wrong in d.others.values()]
    return max(one_shot) - min(one_shot)


def reach(d) -> float:
    wide = max(abs(curve).max() for curve in d.differences.values())
    return next(limit for limit in (1.5, 4.0, 10.0, 100.0) if wide < limit)


def words(d) -> str:
    ends = ", ".join(f"{HEADS[h]} {100 - wrong[0, 0]:.1f} and {100 - wrong[0, -1]:.1f}" for h, wrong in d.wrong.items())
    return (
        f"Accuracy in % with 1 and with {max(heads_and_shots.SHOTS)} shots on {heads_and_shots.load()['test_tasks']} "
        f"tasks of Omniglot, 5 {CLASSES[d.classes]}, body: {BODIES[d.body]}: {ends}. MAML itself, one step: "
        f"{100 - d.maml[0]:.1f} and {100 - d.maml[-1]:.1f}."
    )


demo = declare(
    "The same body, all heads, few shots to many",
    [
        Choice("body", BODIES, "r2d2", "body trained with"),
        Choice("classes", CLASSES, "one alphabet", "classes"),
        Several("heads", HEADS, label="show"),
    ],
    compute,
    picture,
    words,
    size=(9.6, 4.5),
    views={
        "the features decide": {},
        "a head it was trained for": {"body": "protonet"},
        "MAML's body is better than MAML": {"body": "maml"},
        "no training": {"body": "untrained"},
    },
)
