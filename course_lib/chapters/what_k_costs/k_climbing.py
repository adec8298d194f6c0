"""MAML climbs to the border: alpha lambda_max of new tasks while it trains, for several inner rates.

Trained before, from twenty seeds each (``experiments/climbing``).
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from course_lib.chapters.what_k_costs.experiments.climbing import RATES, runs
from course_lib.kit import plots
from course_lib.kit.demo import Choice, Notches, declare

SHOWN = {str(rate): f"MAML, α = {rate:g}" for rate in RATES} | {"0.0": "one head, no inner loop"}
LOOKS = {"0.005": (plots.SKY, "^"), "0.01": (plots.BLUE, "o"), "0.02": (plots.VIOLET, "D"), "0.0": (plots.BROWN, "P")}
QUARTILES = {"median": (1, "the median task"), "upper": (2, "a steep task (upper quartile)")}
HIGHEST = 3.0


def table(rate: str) -> tuple[np.ndarray, np.ndarray]:
    """Outer steps [I], and quartiles of alpha lambda_max over new tasks [seeds, I, 3]."""
    rows = runs.rows(inner_lr=float(rate))
    steps = sorted({row["iteration"] for row in rows})
    of = lambda seed: [row["quartiles"] for row in rows if row["seed"] == seed]
    return np.array(steps), np.array([of(seed) for seed in sorted({row["seed"] for row in rows})])


def compute(values: SimpleNamespace) -> dict:
    """All curves, and the chosen one at the chosen outer step."""
    which = QUARTILES[values.task][0]
    found = {rate: table(rate) for rate in SHOWN}
    steps = found[values.rate][0]
    at = int(np.flatnonzero(steps == values.outer_step)[0])
    return {
        "steps": steps,
        "curves": {rate: quartiles[..., which] for rate, (_, quartiles) in found.items()},
        "at": at,
        "here": float(np.median(found[values.rate][1][:, at, which])),
    }


def picture(fig, show) -> None:
    axes = fig.subplots()
    axes.set(xlabel="outer steps", ylabel=r"$\alpha\,\lambda_{max}$ at the initial weights", ylim=(0, HIGHEST))
    axes.set(xlim=(0, 10_300), xticks=[0, 2000, 4000, 6000, 8000, 10_000])
    axes.axhspan(2, HIGHEST, color=plots.ORANGE, alpha=0.1, linewidth=0)
    plots.name_region(axes, 0.3, 0.92, "beyond the border: a step overshoots", color="#8f3d00")
    show.level(axes, 2, r"the border, $\alpha = 2\,/\,\lambda_{max}$", at=0.3, color=plots.INK)
    for rate, (color, mark) in LOOKS.items():
        chosen = lambda d, rate=rate: d.rate == rate
        single = lambda d, rate=rate: [np.c_[d.steps, run.clip(0, HIGHEST)] for run in d.curves[rate]]
        show.paths(axes, single, colors=color, linewidths=0.7, alpha=lambda d, c=chosen: 0.5 if c(d) else 0.15)
        middle = lambda d, rate=rate: np.median(d.curves[rate], 0).clip(0, HIGHEST)
        wide = lambda d, c=chosen: 3.0 if c(d) else 1.6
        look = {"color": color, "marker": mark, "markersize": 5, "linestyle": "-", "linewidth": wide}
        show.line(axes, "steps", middle, **look, end=SHOWN[rate].replace(", no", ",\nno"))
    show.points(axes, "outer_step", lambda d: min(d.here, HIGHEST), **plots.HERE, zorder=5)
    show.title(axes, headline)


def headline(d) -> str:
    return f"{SHOWN[d.rate]}: {d.here:.2f} of the border's 2 after {d.outer_step:,} outer steps"


def words(d) -> str:
    told = [f"{SHOWN[rate]} {np.median(d.curves[rate][:, d.at]):.2f}" for rate in SHOWN]
    what = f"Alpha lambda_max of {QUARTILES[d.task][1]} after {d.outer_step:,} outer steps"
    return f"{what}, median of {len(runs.seeds)} seeds: {'; '.join(told)}."


demo = declare(
    "MAML climbs to the border",
    [
        Choice("rate", SHOWN, "0.01", "follow"),
        Notches("outer_step", [0, 250, 500, 1000, 2000, 4000, 7000, 10_000], 10_000, "outer steps"),
        Choice("task", {name: words_ for name, (_, words_) in QUARTILES.items()}, "median", "of"),
    ],
    compute,
    picture,
    words,
    size=(8.8, 4.0),
    play="outer_step",
    views={"α = 0.01": {}, "α = 0.02": {"rate": "0.02"}, "never adapts": {"rate": "0.0"}},
)
