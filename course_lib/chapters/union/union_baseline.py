"""The union of tasks beside MAML at equal compute: what the outer rate and the way of judging decide.

The table is shipped: see ``course_lib.chapters.union.experiments.baseline`` and its record.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from course_lib.chapters.union.experiments import baseline
from course_lib.chapters.union.experiments.baseline import MOMENTS, OUTER_LRS, PENALTIES, SHOTS, TEST_LRS
from course_lib.kit import plots
from course_lib.kit.demo import Choice, Notches, Several, declare
from course_lib.kit.experiment import middle_and_ends
from course_lib.tasks.sinusoid import ZERO_PREDICTOR_MSE

METHODS = {"maml": "MAML", "union": "union: a head each", "one_head": "one head for all"}
LOOKS = plots.METHODS | {"one_head": plots.METHODS["pretrained"]}
HOW = {
    "own": "each in its own way",
    "ridge": "a ridge head",
    "after_1": "1 step on everything",
    "after_10": "10 steps on everything",
}
OWN = {"maml": "after_10", "one_head": "after_10", "union": "ridge"}  # what a method was made for
BEST = 0.0  # for a rate or penalty that the validation tasks choose
SEEDS = len(baseline.runs.seeds)
LOW, HIGH = 0.045, 12.0  # of the errors shown


def errors(method: str, shots: int, how: str, outer_lr: float, setting: float, moment: int) -> list[float]:
    """Of all seeds, on new tasks."""
    index = baseline.JUDGES.index((how, setting))
    rows = baseline.runs.rows(method=method, outer_lr=outer_lr, shots=shots, moment=moment)
    return [row["error"][index] for row in rows]


def compute(values: SimpleNamespace) -> dict:
    """Error at the end against the outer rate, and at the chosen rates against compute: {method: [n, 3]}."""
    chosen, against, curves, ends = {}, {}, {}, {}
    for method in METHODS:
        how = OWN[method] if values.how == "own" else values.how
        given = values.penalty if how == "ridge" else values.test_lr
        options = {"method": method, "shots": values.shots, "how": how}
        at = {lr: baseline.best(**options, outer_lr=lr, setting=given or None)[1] for lr in OUTER_LRS}
        outer_lr = values.outer_lr or baseline.best(**options, setting=given or None)[0]
        end = MOMENTS[-1]
        against[method] = np.stack(
            [middle_and_ends(errors(**options, outer_lr=lr, setting=at[lr], moment=end)) for lr in at]
        )
        here = {"outer_lr": outer_lr, "setting": at[outer_lr]}
        curves[method] = np.stack([middle_and_ends(errors(**options, **here, moment=moment)) for moment in MOMENTS])
        ends[method] = float(curves[method][-1, 0])
        chosen[method] = here
    return {"against": against, "curves": curves, "chosen": chosen, "ends": ends}


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2, sharey=True)
    left.set(xlabel="outer rate, Adam", xscale="log", xlim=(8e-4, 3.8e-2), yscale="log", ylim=(LOW, HIGH))
    left.set_xticks(OUTER_LRS, [f"{lr:g}" for lr in OUTER_LRS])
    left.set_ylabel("error on new tasks, when training ends")
    right.set(xlabel="training, in iterations of MAML", xscale="log", xlim=(135, 1_650))
    right.set_xticks(MOMENTS, [f"{moment:,}" for moment in MOMENTS])
    for panel in (left, right):
        panel.set_yticks([0.1, 0.2, 0.5, 1, 2, 5, 10], ["0.1", "0.2", "0.5", "1", "2", "5", "10"])
        panel.minorticks_off()
        show.level(panel, ZERO_PREDICTOR_MSE, "predicting zero", at=0.01)
    for place, (method, words) in enumerate(METHODS.items()):
        look, shown = {"markersize": 6} | LOOKS[method], lambda d, m=method: m in d.methods
        for panel, x, part in ((left, OUTER_LRS, "against"), (right, MOMENTS, "curves")):
            x = np.array(x) * 1.03 ** (place - 1)  # side by side
            rows = lambda d, part=part, m=method: d[part][m]
            show.whiskers(panel, x, rows, **look, shown=shown, end=words if panel is right else "")
        at = lambda d, m=method, p=place: d.chosen[m]["outer_lr"] * 1.03 ** (p - 1)
        ring = {"color": look["color"], "markerfacecolor": "none", "markersize": 14, "markeredgewidth": 1.5}
        show.points(left, at, lambda d, m=method: d.ends[m], **ring, shown=shown)
    left.text(0.02, 0.03, "rings: the rates of the right panel", transform=left.transAxes, fontsize=9)
    right.text(
        0.02, 0.03, f"whiskers: all of {SEEDS} seeds; off the top: diverged", transform=right.transAxes, fontsize=9
    )
    show.title(left, lambda d: "Each at its best outer rate" if not d.outer_lr else f"All at {d.outer_lr:g}")
    show.title(right, lambda d: f"{d.shots} shots: MAML {d.ends['maml']:.2f}, the union {d.ends['union']:.2f}")


def words(d) -> str:
    rows = (
        f"{text} {d.ends[m]:.2f} (outer rate {d.chosen[m]['outer_lr']:g}, "
        f"{'penalty' if (OWN[m] if d.how == 'own' else d.how) == 'ridge' else 'test rate'} {d.chosen[m]['setting']:g})"
        for m, text in METHODS.items()
    )
    return (
        f"Median error over {SEEDS} seeds on new tasks of {d.shots} shots, judged by: {HOW[d.how]}, after compute of "
        f"{MOMENTS[-1]:,} iterations of MAML: {'; '.join(rows)}. Predicting zero costs {ZERO_PREDICTOR_MSE:.2f}."
    )


def choices(values: tuple[float, ...]) -> dict[float, str]:
    return {BEST: "each its best"} | {value: f"{value:g}" for value in values}


demo = declare(
    "MAML and the union of tasks at equal compute",
    [
        Choice("outer_lr", choices(OUTER_LRS), BEST, "outer rate"),
        Choice("how", HOW, "own", "at test time"),
        Choice("test_lr", choices(TEST_LRS), BEST, "test rate of steps"),
        Choice("penalty", choices(PENALTIES), BEST, "ridge penalty λ"),
        Notches("shots", SHOTS, 10, "support points"),
        Several("methods", METHODS, label="show"),
    ],
    compute,
    picture,
    words,
    size=(9.8, 4.5),
    views={
        "each at its best": {},
        "all at 0.001": {"outer_lr": 1e-3},
        "five shots": {"shots": 5},
        "fine-tune all three": {"how": "after_10"},
    },
)
