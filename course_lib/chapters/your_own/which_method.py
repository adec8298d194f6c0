"""Which method for these hills: the shipped learning curves of twenty seeds, beside what needs no training at all.

The table is ``course_lib.chapters.your_own.experiments.hills``; the floors are computed on the same test squares.
"""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import torch

from course_lib.algorithms import R2D2
from course_lib.chapters.your_own.experiments import hills
from course_lib.chapters.your_own.hillside import gaussian_process
from course_lib.chapters.your_own.template import Hills, load_map, make_model, nearest_point, support_mean
from course_lib.evaluation import evaluate
from course_lib.kit import plots
from course_lib.kit.demo import Several, Switch, declare
from course_lib.tasks import TaskBatch

METHODS = {"R2D2": "ridge", "MAML": "maml", "ANIL": "anil", "one head": "pretrained"}
NAMES = {"one head": "pre-trained, one head"}
FLOORS = {
    "mean": "support mean",
    "nearest": "nearest point",
    "untrained": "R2D2 untrained",
    "process": "Gaussian process",
}
LENGTHS = (0.2, 0.3, 0.5, 0.8, 1.2)
LOOKS = hills.runs.settings["looks"]


def squares(part: str, shots: int, seed: int) -> TaskBatch:
    """The tasks on which the networks of one ``seed`` were judged."""
    first = hills.VALIDATION if part == "validation" else hills.TEST
    generator = torch.Generator().manual_seed(first + seed)
    return Hills(load_map()[part], shots).sample(hills.runs.settings["test_tasks"], generator=generator)


@lru_cache(maxsize=None)
def floors(shots: int, seed: int) -> dict[str, float]:
    """Test errors of what is not trained; the Gaussian process has the length that is best on validation squares.

    "Untrained" is R2D2 before its first outer step: a random body, and a head solved on each task's points.
    """
    error = lambda batch, guess: float((guess - batch.query_y).square().mean())
    batch, tuning = squares("test", shots, seed), squares("validation", shots, seed)
    length = min(LENGTHS, key=lambda length: error(tuning, gaussian_process(tuning, length)))
    guesses = {"mean": support_mean(batch), "nearest": nearest_point(batch), "process": gaussian_process(batch, length)}
    how = {"num_tasks": batch.num_tasks, "steps": [0], "seed": hills.TEST + seed}  # the same squares
    untrained = evaluate(R2D2(), make_model(seed), Hills(load_map()["test"], shots), **how).mean[0]
    return {name: error(batch, guess) for name, guess in guesses.items()} | {"untrained": untrained}


def compute(values: SimpleNamespace) -> dict:
    """Errors of each method [seeds, looks] and [seeds, shots], and the floors' medians over the seeds [shots]."""
    rows = {method: [hills.row(seed, method) for seed in hills.runs.seeds] for method in METHODS}
    curve = {method: np.array([list(row["curve"].values()) for row in of]) for method, of in rows.items()}
    few = {method: np.array([list(row["by_shots"].values()) for row in of]) for method, of in rows.items()}
    floor = {
        name: np.array([np.median([floors(shots, seed)[name] for seed in hills.runs.seeds]) for shots in hills.SHOTS])
        for name in FLOORS
    }
    return {"curve": curve, "few": few, "floor": floor}


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2, width_ratios=(1.15, 1))
    left.set(xscale="log", xlabel="outer steps", ylabel="error on new squares", xlim=(LOOKS[0], LOOKS[-1]))
    left.set_xticks(LOOKS, LOOKS)
    right.set(xscale="log", xlabel="measured points", xlim=(hills.SHOTS[0], hills.SHOTS[-1]))
    right.set_xticks(hills.SHOTS, hills.SHOTS)
    for panel in (left, right):
        panel.minorticks_off()
    left.set_ylim(0.18, 0.36)
    right.set_ylim(0.12, 0.5)
    ten = hills.SHOTS.index(10)
    for name, words in FLOORS.items():
        shown = lambda d: d.floors
        level = lambda d, n=name: np.full(len(LOOKS), d.floor[n][ten])
        show.line(left, LOOKS, level, **plots.REFERENCE, end=words, shown=shown)
        show.line(right, hills.SHOTS, lambda d, n=name: d.floor[n], **plots.REFERENCE, end=words, shown=shown)
    for method, key in METHODS.items():
        look, shown = plots.METHODS[key], lambda d, m=method: m in d.methods
        low, high = (lambda d, m=method, part=part: np.quantile(d.curve[m], part, 0) for part in (0.25, 0.75))
        show.band(left, LOOKS, low, high, color=look["color"], shown=shown)
        end = NAMES.get(method, method)
        show.line(left, LOOKS, lambda d, m=method: np.median(d.curve[m], 0), **look, markersize=5, shown=shown)
        show.line(
            right, hills.SHOTS, lambda d, m=method: np.median(d.few[m], 0), **look, markersize=5, end=end, shown=shown
        )
    bands = f"bands: the middle half of {len(hills.runs.seeds)} networks"
    left.text(0.02, 0.03, bands, transform=left.transAxes, fontsize=9)
    show.title(left, best)
    show.title(right, "Few points to many")


def best(d) -> str:
    last = {method: float(np.median(d.curve[method][:, -1])) for method in d.methods or METHODS}
    name = min(last, key=last.get)
    return f"Ten points: {NAMES.get(name, name)} {last[name]:.2f}, R2D2 untrained {d.floor['untrained'][2]:.2f}"


def words(d) -> str:
    ten = hills.SHOTS.index(10)
    trained = ", ".join(f"{NAMES.get(m, m)} {np.median(d.few[m][:, ten]):.2f}" for m in METHODS)
    plain = ", ".join(f"{FLOORS[name]} {d.floor[name][ten]:.2f}" for name in FLOORS)
    seeds = len(hills.runs.seeds)
    return f"Median error of {seeds} networks on new squares with ten points: {trained}. Not trained: {plain}."


demo = declare(
    "Which method for these hills?",
    [
        Several("methods", {method: NAMES.get(method, method) for method in METHODS}, label="show"),
        Switch("floors", True, "what needs no training"),
    ],
    compute,
    picture,
    words,
    size=(9.8, 4.2),
)
