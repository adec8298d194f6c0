"""Who judges: held-out points, or the support set once more? New tasks tell, at 3 to 20 shots.

Trained before, from twenty seeds each (``experiments/judges``).
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from course_lib.chapters.two_loops.experiments.judges import JUDGES, SHOTS, runs
from course_lib.kit import plots
from course_lib.kit.demo import Choice, Notches, declare
from course_lib.kit.many_seeds import OUTER_LRS, tuned

NAMES = {"query": "judged on held-out points", "support": "judged on its support set"}
ENDS = {"query": "held-out judge", "support": "support judge"}
LOOKS = {"query": {"color": plots.BLUE, "marker": "o"}, "support": {"color": plots.ORANGE, "marker": "^"}}
RATES = {"tuned": "each at its best"} | {str(rate): f"{rate:g} for all" for rate in OUTER_LRS}
HIGHEST = 3.0  # error shown


def table(rate: str, entry: str) -> dict[str, np.ndarray]:
    """{judge: [seeds, shots]} of an entry of the rows."""
    rows = runs.rows()
    rows = tuned(rows, "judge", "shots") if rate == "tuned" else [r for r in rows if r["outer_lr"] == float(rate)]
    of = lambda judge, shots: [row[entry] for row in rows if (row["judge"], row["shots"]) == (judge, shots)]
    return {judge: np.array([of(judge, shots) for shots in SHOTS]).T for judge in JUDGES}


def compute(values: SimpleNamespace) -> dict:
    """Errors of new tasks for all seeds, and at the chosen number of shots what the training loss says."""
    at = SHOTS.index(values.shots)
    test, claimed = table(values.outer_lr, "test"), table(values.outer_lr, "claimed")
    return {
        "at": at,
        "test": test,
        "claimed": {judge: np.median(claimed[judge][:, at]) for judge in JUDGES},
        "found": {judge: np.median(test[judge][:, at]) for judge in JUDGES},
        "ahead": int((test["query"][:, at] < test["support"][:, at]).sum()),
        "seeds": len(test["query"]),
    }


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2, width_ratios=(1.5, 1))
    places = np.arange(len(SHOTS))
    left.set(
        xlabel="shots (support points)", ylabel="error of new tasks, held out", ylim=(0, HIGHEST), xlim=(-0.2, 3.05)
    )
    left.set_xticks(places, labels=SHOTS)
    show.mark(left, "at", color=plots.INK, linestyle="-", linewidth=1)
    for judge, look in LOOKS.items():
        single = lambda d, judge=judge: [np.c_[places, run.clip(0, HIGHEST)] for run in d.test[judge]]
        show.paths(left, single, colors=look["color"], linewidths=0.8, alpha=0.3)
        middle = lambda d, judge=judge: np.median(d.test[judge], 0).clip(0, HIGHEST)
        show.line(left, places, middle, **look, linestyle="-", linewidth=2.6, end=ENDS[judge])
    right.set(ylim=(0, HIGHEST), xlim=(-0.6, 1.6), xticks=[0, 1], xticklabels=["training\nloss", "error of\nnew tasks"])
    right.grid(axis="x", visible=False)
    for row, (judge, look) in enumerate(LOOKS.items()):
        for place, name in enumerate(("claimed", "found")):
            value = lambda d, name=name, judge=judge: float(d[name][judge])
            bar = lambda d, value=value: [min(value(d), HIGHEST)]
            where = place + 0.36 * (row - 0.5)
            show.bars(right, [where], bar, color=look["color"], width=0.32)
            top = lambda d, value=value: min(value(d), HIGHEST - 0.2) + 0.04
            show.text(right, where, top, lambda d, value=value: f"{value(d):.2f}", ha="center", va="bottom", fontsize=9)
    show.title(left, headline)
    show.title(right, lambda d: f"Medians, {d.shots} shots")


def headline(d) -> str:
    return f"{d.shots} shots: the held-out judge is ahead in {d.ahead} of {d.seeds} seeds"


def words(d) -> str:
    told = [f"{NAMES[j]}: training loss {d.claimed[j]:.2f}, error of new tasks {d.found[j]:.2f}" for j in JUDGES]
    return f"{headline(d)}, outer rate {RATES[d.outer_lr]}. {'; '.join(told)}."


demo = declare(
    "Who judges?",
    [
        Notches("shots", list(SHOTS), 3, "shots"),
        Choice("outer_lr", RATES, "tuned", "outer rate"),
    ],
    compute,
    picture,
    words,
    size=(9.2, 3.8),
    views={"three shots": {}, "twenty shots": {"shots": 20}},
)
