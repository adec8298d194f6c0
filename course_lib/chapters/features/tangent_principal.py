"""Seriously overparameterised: the shortest fit that uses the top r principal tangent features only."""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from course_lib.analysis.tangent import minimum_norm_fit, principal_directions, tangent_features
from course_lib.chapters.features import setup as setup
from course_lib.chapters.features.setup import GRID, STARTS
from course_lib.kit import plots
from course_lib.kit.demo import Button, Notches, Several, Slider, declare
from course_lib.kit.words import several

NUM_TASKS, MOST_SHOTS = 60, 20
RANKS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 17, 20, 25, 30, 40, 60, 100, 200)


class Coordinates(NamedTuple):
    """Tangent features in their 200 principal directions, and the outputs before fine-tuning."""

    grid: Tensor  # [200, 200]
    support: Tensor  # [60, 20, 200]
    before: Tensor  # [200]
    outputs: Tensor  # [60, 20] on the support points


def principal(network: nn.Module, draw: int = 0) -> Coordinates:
    """Of a network, and of the points of 60 tasks; a third of a second."""
    batch, _ = setup.test_tasks(NUM_TASKS, MOST_SHOTS, draw)
    features = tangent_features(network, GRID)  # [200, P]
    directions = principal_directions(features, RANKS[-1])  # [P, 200]
    support = tangent_features(network, batch.support_x.flatten(0, 1)) @ directions  # [60 * 20, 200]
    before, outputs = network(GRID).detach()[:, 0], network(batch.support_x).detach()[..., 0]
    return Coordinates(features @ directions, support.unflatten(0, (NUM_TASKS, MOST_SHOTS)), before, outputs)


@lru_cache(maxsize=len(STARTS))
def coordinates(start: str) -> Coordinates:
    return principal(setup.network_at(start))


def fits(at: Coordinates, shots: int, rank: int, draw: int = 0) -> Tensor:
    """Every task's curve [60, 200] after the minimum-norm fit of its first points in the top r features."""
    batch, _ = setup.test_tasks(NUM_TASKS, MOST_SHOTS, draw)
    residual = batch.support_y[:, :shots, 0] - at.outputs[:, :shots]  # [60, S]
    w = minimum_norm_fit(at.support[:, :shots, :rank], residual)  # [60, r]
    return at.before + w @ at.grid[:, :rank].T


def median_errors(at: Coordinates, shots: int, draw: int = 0) -> Tensor:
    """Median held-out error for each of RANKS [22]; some 10 ms."""
    _, truth = setup.test_tasks(NUM_TASKS, MOST_SHOTS, draw)
    errors = [(fits(at, shots, rank, draw) - truth).square().mean(-1).median() for rank in RANKS]
    return torch.stack(errors)


@lru_cache(maxsize=64)
def medians(start: str, shots: int) -> Tensor:
    return median_errors(coordinates(start), shots)


def compute(values: SimpleNamespace) -> dict:
    """One task's fit with r features, and the median error against r for the three starts."""
    batch, truth = setup.test_tasks(NUM_TASKS, MOST_SHOTS)
    task, shots = values.task % NUM_TASKS, values.shots
    curves = {start: medians(start, shots) for start in STARTS}  # [22] each
    chosen = curves[values.start]
    as_good = chosen <= chosen.min() * (1 + 1e-6)  # all features are often as good as half of them, to rounding
    return {
        "fit": fits(coordinates(values.start), shots, values.rank)[task],
        "before": coordinates(values.start).before,
        "truth": truth[task],
        "support": torch.stack([batch.support_x[task, :shots, 0], batch.support_y[task, :shots, 0]], 1),  # [S, 2]
        "medians": curves,
        "error": chosen[RANKS.index(values.rank)].item(),
        "best": (RANKS[int(as_good.nonzero()[0])], chosen.min().item()),
        "zero": float(truth.square().mean(-1).median()),
    }


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2, width_ratios=(1, 1.1))
    left.set(xlabel="x", ylabel="y", xlim=(-5, 5), ylim=(-6.5, 6.5))
    show.line(left, setup.X, "truth", color=plots.FAINT, linestyle="-", linewidth=5, end="true curve")
    show.line(left, setup.X, "before", color=plots.SKY, linestyle=":", end="before")
    color = lambda d: setup.LOOKS[d.start]["color"]
    show.line(left, setup.X, "fit", color=color, linestyle="-", end="fit", pin=True)
    show.points(left, "support", **plots.SUPPORT)
    show.title(left, lambda d: f"{d.shots} points, {_features(d.rank)}")

    right.set(xlabel="principal features r", ylabel=f"held-out error, median of {NUM_TASKS} tasks")
    right.set(xscale="log", yscale="log", xlim=(0.9, 230), ylim=(0.05, 2e3))
    right.set_xticks([1, 2, 3, 5, 10, 20, 50, 200], ["1", "2", "3", "5", "10", "20", "50", "all"])
    right.minorticks_off()
    show.line(right, (0.9, 230), "zero", **plots.REFERENCE, end="predicting zero")  # curves cross all room beside it
    show.mark(right, "shots", "r = number of points", linestyle="-", linewidth=1)
    for start, (text, _, _) in STARTS.items():
        shown = lambda d, start=start: start in d.networks
        width = lambda d, start=start: 3 if d.start == start else 1.4
        errors = lambda d, start=start: d.medians[start]
        show.line(right, RANKS, errors, **setup.LOOKS[start], linewidth=width, shown=shown, end=text.split(",")[0])
    show.points(right, "rank", "error", **plots.HERE)
    show.title(right, lambda d: f"Here {d.error:.3g}; best {d.best[1]:.3g}, {_features(d.best[0])}")


def _features(rank: int) -> str:
    return "all features" if rank == RANKS[-1] else f"top {several(rank, 'feature')}"


def words(d) -> str:
    return (
        f"From {STARTS[d.start][0]}, {d.shots} support points, {_features(d.rank)}: median held-out error "
        f"{d.error:.3g}. The best r is {d.best[0]} with {d.best[1]:.3g}; all features give "
        f"{float(d.medians[d.start][-1]):.3g}; predicting zero {d.zero:.3g}."
    )


demo = declare(
    "The shortest fit from the top r features",
    [
        setup.start_choice("features of"),
        Notches("rank", RANKS, 3, "principal features r"),
        Slider("shots", 2, MOST_SHOTS, 10, "support points S"),
        Several("networks", {start: text for start, (text, _, _) in STARTS.items()}, label="show"),
        Button("task", "another task"),
    ],
    compute,
    picture,
    words,
    size=(9.6, 4.6),
    views={
        "three features": {},
        "as many as points": {"rank": 10},
        "all of them": {"rank": RANKS[-1]},
        "random weights": {"start": "random"},
    },
)
