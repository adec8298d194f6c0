"""Every body under every head, few shots to many, on real Omniglot: the shipped table of
``course_lib.chapters.closed_form.experiments.heads_and_shots``, twenty draws of test episodes."""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import torch

from course_lib.chapters.closed_form.experiments import heads_and_shots
from course_lib.evaluation import interval95
from course_lib.kit import plots
from course_lib.kit.demo import Choice, Notches, Several, declare
from course_lib.kit.words import several

BODIES = {
    "r2d2": "ridge head (R2D2)",
    "protonet": "class means (ProtoNet)",
    "metaoptnet": "SVM (MetaOptNet)",
    "maml": "MAML",
    "union": "union of tasks",
    "untrained": "untrained",
}
HEADS = {"ridge": "ridge", "svm": "SVM", "means": "class means"}
MAML = "MAML, everything"
LIMITS = (1, 80)  # of the errors in %
PLACES = {"ridge": -0.26, "svm": 0.0, "means": 0.26}  # about a body's row


@lru_cache(maxsize=None)
def wrong(body: str, shots: int, head: str) -> np.ndarray:
    """Wrong answers in %, of each draw [8]."""
    rows = heads_and_shots.runs.rows(body_name=body, shots=shots)
    return 100 - np.array([row["accuracy"][head] for row in rows])


def interval(values: np.ndarray) -> np.ndarray:
    """Mean and ends of its 95 % interval [3]."""
    half = float(interval95(torch.from_numpy(values)))
    return values.mean() + np.array([0, -half, half])


def compute(values: SimpleNamespace) -> dict:
    """All heads on all bodies at the chosen shots; on the chosen body, paired with ridge, at all shots."""
    at = {(body, head): interval(wrong(body, values.shots, head)) for body in BODIES for head in HEADS}
    ridge = {shots: wrong(values.body, shots, "ridge") for shots in heads_and_shots.SHOTS}
    paired = {
        head: np.stack([interval(ridge[s] - wrong(values.body, s, head)) for s in heads_and_shots.SHOTS], 1)
        for head in HEADS
        if head != "ridge"
    }
    return {"wrong": at, "maml": interval(wrong("maml", values.shots, MAML)), "paired": paired}


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2, width_ratios=(1.5, 1))
    left.set(xlabel="wrong, of held-out drawings (%)", xscale="log", xlim=LIMITS, ylim=(len(BODIES) - 0.5, -0.5))
    left.set_xticks([1, 3, 10, 30], ["1", "3", "10", "30"])
    left.minorticks_off()
    left.set_yticks(range(len(BODIES)), BODIES.values())
    left.grid(False, axis="y")
    for head, name in HEADS.items():
        look = plots.METHODS[head]
        dots = lambda d, head=head: np.array([d.wrong[body, head][0] for body in BODIES])
        shown = lambda d, head=head: head in d.heads
        at = np.arange(len(BODIES)) + PLACES[head]
        ends = lambda d, head=head, at=at: [
            np.stack([d.wrong[body, head][1:].clip(*LIMITS), [y, y]], 1) for body, y in zip(BODIES, at)
        ]
        show.paths(left, ends, color=look["color"], linewidth=1.2, shown=shown)
        show.points(left, dots, at, color=look["color"], marker=look["marker"], markersize=6, shown=shown)
        beside = lambda d, head=head: d.wrong["untrained", head][1] / 1.12
        show.text(left, beside, at[-1], name, color=look["color"], fontsize=9, va="center", ha="right", visible=shown)
    row = list(BODIES).index("maml")
    show.points(left, lambda d: d.maml[0], row + 0.47, color=plots.BLUE, marker="v", markersize=7)
    beside = lambda d: d.maml[0] * 1.15
    show.text(
        left,
        beside,
        row + 0.47,
        "MAML itself, one step",
        color=plots.BLUE,
        fontsize=9,
        va="center",
    )
    show.title(
        left,
        lambda d: f"{several(d.shots, 'shot')}: heads {apart(d):.1f} apart, bodies {bodies_apart(d):.0f}",
    )

    right.set(xlabel="shots", xscale="log", xlim=(0.93, 10.6), ylabel="right more often than ridge (points)")
    right.set_xticks(heads_and_shots.SHOTS, heads_and_shots.SHOTS)
    right.minorticks_off()
    ridge = {"color": plots.METHODS["ridge"]["color"], "linestyle": "-", "linewidth": 1.5}
    show.line(right, heads_and_shots.SHOTS, np.zeros(len(heads_and_shots.SHOTS)), **ridge, end="ridge")
    show.limits(right, y=lambda d: (-reach(d), reach(d)))
    shown = lambda d: {head: curve for head, curve in d.paired.items() if head in d.heads}
    show.series(right, heads_and_shots.SHOTS, shown, HEADS)
    show.title(right, lambda d: f"On this body: {name_of(d)}")


def name_of(d) -> str:
    """The chosen body's method."""
    return BODIES[d.body].split("(")[-1].rstrip(")")


def apart(d) -> float:
    """The most that two heads differ on the chosen body, in points."""
    row = [d.wrong[d.body, head][0] for head in HEADS]
    return max(row) - min(row)


def bodies_apart(d) -> float:
    """Between the best and the worst body, each under a ridge head, in points."""
    ridge = [d.wrong[body, "ridge"][0] for body in BODIES]
    return max(ridge) - min(ridge)


def reach(d) -> float:
    wide = max(abs(curve).max() for curve in d.paired.values())
    return next(limit for limit in (1.5, 4.0, 10.0, 100.0) if wide < limit)


def words(d) -> str:
    rows = "; ".join(f"{BODIES[b]} {', '.join(f'{d.wrong[b, h][0]:.1f}' for h in HEADS)}" for b in BODIES)
    return (
        f"Wrong answers in % with {several(d.shots, 'shot')} of 5 characters of one alphabet of Omniglot, under a "
        f"ridge head, an SVM and class means, by body: {rows}. MAML itself after one step: {d.maml[0]:.1f}."
    )


demo = declare(
    "Every body under every head, few shots to many",
    [
        Notches("shots", heads_and_shots.SHOTS, 1, "shots"),
        Choice("body", BODIES, "r2d2", "body on the right"),
        Several("heads", HEADS, label="show"),
    ],
    compute,
    picture,
    words,
    size=(9.8, 4.5),
    views={
        "the features decide": {},
        "ten shots": {"shots": 10},
        "MAML's body": {"body": "maml"},
        "a head it was trained for": {"body": "protonet"},
    },
)
