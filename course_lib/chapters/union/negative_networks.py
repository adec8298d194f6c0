"""Networks trained at inner rates on both sides of zero: error on new tasks, from the shipped table.

Nothing is trained here: see ``course_lib.chapters.union.experiments.inner_rate_sign`` and its record.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from course_lib.chapters.union.experiments import inner_rate_sign
from course_lib.chapters.union.experiments.inner_rate_sign import MOMENTS
from course_lib.evaluation import over_seeds
from course_lib.kit import plots
from course_lib.kit.demo import Choice, Notches, Several, declare
from course_lib.tasks.sinusoid import ZERO_PREDICTOR_MSE

HEADS = {"stored": "a head per task", "shared": "one shared head"}  # of 200 tasks; of new tasks each time
LOOKS = {"stored": plots.METHODS["union"], "shared": plots.METHODS["maml"]}
SCORES = {"ridge": "ridge head on the body", "after_1": "1 step of +0.01 on everything", "after_10": "10 steps"}
LIMITS = (0.03, 20.0)  # of the errors


def compute(values: SimpleNamespace) -> dict:
    """Error of both kinds of head against the rate in training, scored when and as chosen."""
    table, moment = inner_rate_sign.load(), MOMENTS.index(values.iterations)
    seeds = {head: np.array(table["errors"][head][values.score][moment]) for head in HEADS}  # [rates, seeds]
    curves = {head: over_seeds(errors, log=True) for head, errors in seeds.items()}
    return {"rates": np.array(table["inner_lrs"]), "seeds": seeds, "curves": curves}


def picture(fig, show) -> None:
    panel = fig.subplots()
    panel.set(xlabel="inner rate in training \N{GREEK SMALL LETTER ALPHA}", ylabel="error on new tasks")
    panel.set(xlim=(-0.031, 0.031), ylim=LIMITS, yscale="log")
    panel.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
    panel.minorticks_off()
    show.mark(panel, 0, linestyle="-", linewidth=1)
    plots.name_region(panel, 0.25, 0.95, "the inner loop goes uphill")
    plots.name_region(panel, 0.75, 0.95, "downhill")
    show.level(panel, ZERO_PREDICTOR_MSE, "predicting zero")
    show.series(panel, "rates", lambda d: {h: d.curves[h].clip(*LIMITS) for h in d.heads}, HEADS, LOOKS)
    look = {"fontsize": 9, "transform": panel.transAxes}
    panel.text(0.01, 0.02, "dots: a seed each; bands: 95 % intervals", **look)
    for head, look in LOOKS.items():
        shown = lambda d, head=head: head in d.heads
        for seed in range(3):
            errors = lambda d, head=head, seed=seed: d.seeds[head][:, seed]
            show.points(panel, "rates", errors, color=look["color"], markersize=2.5, shown=shown)
    show.title(panel, lambda d: "Lowest error: " + "; ".join(f"{text} at {best(d, h)}" for h, text in HEADS.items()))


def best(d, head: str) -> str:
    """The rate of the least error, in words."""
    rate = d.rates[d.curves[head][0].argmin()]
    return f"{rate:+g}" if rate else "zero"


def words(d) -> str:
    row = lambda head: ", ".join(f"{error:.2f} at {rate:g}" for rate, error in zip(d.rates, d.curves[head][0]))
    return (
        f"Error on new tasks after {d.iterations:,} iterations, scored by: {SCORES[d.score]}, against the inner rate "
        f"in training (geometric mean of three seeds). " + "; ".join(f"{t}: {row(h)}" for h, t in HEADS.items()) + "."
    )


demo = declare(
    "Networks on both sides of zero",
    [
        Choice("score", SCORES, "ridge", "at test time"),
        Notches("iterations", MOMENTS, MOMENTS[-1], "training iterations"),
        Several("heads", HEADS, label="show"),
    ],
    compute,
    picture,
    words,
    size=(8.0, 4.4),
    views={
        "a ridge head": {},
        "early in training": {"iterations": MOMENTS[0]},
        "fine-tuned: a surprise": {"score": "after_10"},
    },
)
