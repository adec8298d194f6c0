"""The union of tasks beside MAML at equal compute: error on new tasks against compute spent.

The table is shipped: see ``course_lib.chapters.union.experiments.equal_compute`` and its record.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from course_lib.chapters.union.experiments import equal_compute
from course_lib.kit import plots
from course_lib.kit.demo import Choice, Notches, Several, declare
from course_lib.tasks.sinusoid import ZERO_PREDICTOR_MSE

METHODS = {"maml": "MAML, k = 1", "one_head": "one head for all", "union": "union: a head each"}
LOOKS = plots.METHODS | {"one_head": plots.METHODS["pretrained"]}
SCORES = {"own": "each in its own way", "ridge": "ridge head", "after_10": "10 steps on everything"}
OWN = {"maml": "after_10", "one_head": "after_10", "union": "ridge"}  # what a method was made for
LIMITS = (0.03, 20.0)  # of the errors


def compute(values: SimpleNamespace) -> dict:
    """Every shown method's error at every moment [3, moments]: geometric mean, least and greatest of the seeds."""
    table, curves = equal_compute.load(), {}
    for method in METHODS:
        score = OWN[method] if values.score == "own" else values.score
        errors = np.array(table["errors"][method][str(values.shots)][score])  # [moments, seeds]
        curves[method] = np.stack([np.exp(np.log(errors).mean(1)), errors.min(1), errors.max(1)])
    return {"moments": table["moments"], "curves": curves}


def picture(fig, show) -> None:
    panel = fig.subplots()
    panel.set(xlabel="training compute, in iterations of MAML", ylabel="error on new tasks")
    panel.set(xscale="log", yscale="log", xlim=(90, 3150), ylim=LIMITS)
    panel.set_xticks(equal_compute.MOMENTS, [f"{moment:,}" for moment in equal_compute.MOMENTS])
    panel.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
    panel.minorticks_off()
    show.level(panel, ZERO_PREDICTOR_MSE, "predicting zero", at=0.01)
    within = lambda d: {m: d.curves[m].clip(*LIMITS) for m in d.methods}
    show.series(panel, "moments", within, METHODS, LOOKS)
    panel.text(0.01, 0.02, "bands: least to greatest of three seeds", transform=panel.transAxes, fontsize=9)
    show.title(panel, lambda d: f"{d.shots} shots: {verdict(d)}")


def verdict(d) -> str:
    maml, union = d.curves["maml"][0, -1], d.curves["union"][0, -1]
    if not np.isfinite(union):
        return "tuned by MAML's steps of 0.01, the union of tasks diverges"
    more = "less" if union < maml else "more"
    return f"the union of tasks ends with {more} error than MAML, {union:.2f} against {maml:.2f}"


def words(d) -> str:
    ends = ", ".join(f"{text} {d.curves[m][0, -1]:.2f}" for m, text in METHODS.items())
    return (
        f"Error on new tasks of {d.shots} shots, scored by: {SCORES[d.score]}, after compute of "
        f"{d.moments[-1]:,} iterations of MAML (geometric mean of three seeds): {ends.replace('nan', 'diverged')}."
    )


demo = declare(
    "MAML and the union of tasks at equal compute",
    [
        Choice("score", SCORES, "own", "at test time"),
        Notches("shots", equal_compute.SHOTS, 10, "support points"),
        Several("methods", METHODS, label="show"),
    ],
    compute,
    picture,
    words,
    size=(8.6, 4.4),
    may_diverge=("curves",),  # steps of 0.01 are too long for the union's body
    views={
        "each as it was meant": {},
        "a ridge head for all": {"score": "ridge"},
        "ten steps for all": {"score": "after_10"},
        "five shots": {"shots": 5},
    },
)
