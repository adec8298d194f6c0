"""Networks trained at inner rates on both sides of zero, on few data and on more: where the best rate changes its sign.

The table is shipped: see ``course_lib.chapters.union.experiments.rate_sign`` and its record.
"""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import numpy as np

from course_lib.chapters.union.experiments import rate_sign
from course_lib.chapters.union.experiments.rate_sign import DATA, INNER_LRS, NOISES, TEST_LRS
from course_lib.kit import plots
from course_lib.kit.demo import Choice, Notches, declare
from course_lib.kit.experiment import counted, middle
from course_lib.tasks.sinusoid import ZERO_PREDICTOR_MSE

POINTS = {tasks * queries: (tasks, queries) for tasks, queries in DATA}  # all query points: what the outer loop sees
HOW = {"as it is": "not adapted", "after_1": "1 step on everything", "after_10": "10 steps on everything"}
JUDGED = {"as it is": "if not adapted", "after_1": "after 1 step", "after_10": "after 10 steps"}
BEST = 0.0  # for a test rate that the validation tasks choose
SEEDS = len(rate_sign.runs.seeds)
LOW, HIGH = 0.2, 20.0  # of the errors shown
SIGN = {-1: plots.ORANGE, 0: plots.GREY, 1: plots.BLUE}  # uphill, nothing, downhill


def chosen(tasks, queries: int, noise: float, how: str, test_lr: float | None, inner_lr: float) -> tuple[float, int]:
    """The outer rate and the place among JUDGES of the least median validation error, for one rate in training."""
    return _least(tasks, queries, noise, how, test_lr, inner_lr)[1]


def validated(tasks, queries: int, noise: float, how: str, test_lr: float | None, inner_lr: float) -> float:
    """That least median validation error."""
    return _least(tasks, queries, noise, how, test_lr, inner_lr)[0]


@lru_cache(maxsize=512)
def _least(tasks, queries: int, noise: float, how: str, test_lr: float | None, inner_lr: float) -> tuple:
    places = [i for i, (name, lr) in enumerate(rate_sign.JUDGES) if name == how and test_lr in (None, lr)]
    found = []
    for outer_lr in rate_sign.OUTER_LRS:
        where = {"tasks": tasks, "queries": queries, "noise": noise, "inner_lr": inner_lr, "outer_lr": outer_lr}
        rows = rate_sign.runs.rows(**where)
        found += [(middle(row["validation"][i] for row in rows), (outer_lr, i)) for i in places]
    return min(found, key=lambda pair: pair[0])


@lru_cache(maxsize=512)
def errors(tasks: int, queries: int, noise: float, how: str, test_lr: float | None) -> np.ndarray:
    """Of every training rate and seed [rates, seeds], at the outer and test rate that validation chooses for it."""
    found = []
    for inner_lr in INNER_LRS:
        outer_lr, index = chosen(tasks, queries, noise, how, test_lr, inner_lr)
        where = {"tasks": tasks, "queries": queries, "noise": noise, "inner_lr": inner_lr, "outer_lr": outer_lr}
        found.append([counted(row["error"][index]) for row in rate_sign.runs.rows(**where)])
    return np.array(found)


def best_rate(rows: np.ndarray) -> float:
    """The training rate of the least median error over seeds."""
    return INNER_LRS[int(np.median(rows, 1).argmin())]


def compute(values: SimpleNamespace) -> dict:
    """Errors against the rate in training [rates, seeds], and the best rate for every amount of data [DATA]."""
    how = (values.noise, values.how, values.test_lr if values.test_lr and values.how != "as it is" else None)
    seeds = errors(*POINTS[values.points], *how)
    best = np.array([best_rate(errors(tasks, queries, *how)) for tasks, queries in DATA])
    return {"seeds": seeds, "middle": np.median(seeds, 1), "best": best_rate(seeds), "by_data": best}


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2, width_ratios=(1.6, 1))
    left.set(xlabel="inner rate in training \N{GREEK SMALL LETTER ALPHA}", ylabel="error on new tasks")
    left.set(xlim=(-0.0215, 0.0115), ylim=(LOW, 2 * HIGH), yscale="log", xticks=[-0.02, -0.01, 0, 0.01])
    left.set_yticks([0.2, 0.5, 1, 2, 5, 10, 20], ["0.2", "0.5", "1", "2", "5", "10", "20"])
    left.minorticks_off()
    show.mark(left, 0, linestyle="-", linewidth=1)
    plots.name_region(left, 0.3, 0.95, "uphill in training")  # above the highest curve
    plots.name_region(left, 0.84, 0.95, "downhill")
    show.level(left, ZERO_PREDICTOR_MSE, "predicting zero", at=0.02)
    seeds = lambda d: [np.column_stack([INNER_LRS, seed.clip(LOW, HIGH)]) for seed in d.seeds.T]
    show.paths(left, seeds, color="#b8b8b8", linewidth=0.8)
    show.line(left, INNER_LRS, lambda d: d.middle.clip(LOW, HIGH), color=plots.INK, linestyle="-", marker="o", pin=True)
    ring = {"markersize": 14, "markerfacecolor": "none", "markeredgewidth": 2.5, "marker": "o", "linestyle": "none"}
    of_sign = lambda d: SIGN[int(np.sign(d.best))]
    show.points(left, "best", lambda d: min(d.middle), color=of_sign, markeredgecolor=of_sign, **ring)
    left.text(0.01, 0.03, "grey: seeds; black: their median", transform=left.transAxes, fontsize=9)
    show.title(left, lambda d: f"{told(d)}: {in_words(d.best)} is best")

    places = np.arange(len(DATA))
    right.set(xlim=(-0.4, len(DATA) - 0.6), ylim=(-0.023, 0.013), yticks=list(INNER_LRS))
    right.set_xticks(places, [f"{tasks}\u00d7{queries}" for tasks, queries in DATA])
    right.set(xlabel="tasks \u00d7 query points of each")
    right.axhline(0, color="#9a9a9a", linewidth=1)
    for sign, color in SIGN.items():
        of = lambda d, sign=sign: np.where(np.sign(d.by_data) == sign, d.by_data, np.nan)
        show.points(right, places, of, color=color, markersize=10)
    here = lambda d: list(POINTS).index(d.points)
    show.points(right, here, "best", color=plots.INK, **ring | {"markeredgewidth": 1.5, "markersize": 18})
    show.title(right, lambda d: f"The best rate {JUDGED[d.how]}")


def told(d) -> str:
    tasks, queries = POINTS[d.points]
    return f"{tasks} {'noisy ' * bool(d.noise)}tasks of 30 + {queries}"


def in_words(rate: float) -> str:
    return f"{rate:+g}".replace("-", "\N{MINUS SIGN}") if rate else "zero"


def words(d) -> str:
    row = ", ".join(f"{error:.2f} at {rate:g}" for rate, error in zip(INNER_LRS, d.middle))
    by_data = ", ".join(f"{in_words(rate)} for {m} x {q}" for rate, (m, q) in zip(d.by_data, DATA))
    return (
        f"{told(d)} points, {HOW[d.how]} at test time: the median error over {SEEDS} seeds is {row}. The best rate in "
        f"training, by tasks and query points of each: {by_data}. Predicting zero costs {ZERO_PREDICTOR_MSE:.2f}."
    )


demo = declare(
    "Networks on both sides of zero",
    [
        Notches("points", tuple(POINTS), 40, "query points in all"),
        Notches("noise", NOISES, 1.0, "label noise \N{GREEK SMALL LETTER SIGMA}"),
        Choice("how", HOW, "as it is", "at test time"),
        Choice("test_lr", {BEST: "each its best"} | {lr: f"{lr:g}" for lr in TEST_LRS}, BEST, "test rate of steps"),
    ],
    compute,
    picture,
    words,
    size=(9.8, 4.6),
    views={
        "noisy and few, not adapted": {},
        "one step at test time": {"how": "after_1"},
        "ten steps at test time": {"how": "after_10"},
        "five times the data": {"points": 200, "how": "after_1"},
    },
)
