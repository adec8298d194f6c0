"""A hundred Fourier features, twelve points: weights, learned from other tasks, say which carry the task."""

from __future__ import annotations

from functools import lru_cache
from math import pi
from types import SimpleNamespace

import torch
from torch import Tensor

from course_lib.chapters.features import fourier
from course_lib.kit import plots
from course_lib.kit.demo import Button, Choice, Notches, Slider, Switch, declare
from course_lib.kit.words import several

FREQUENCIES, CENTRE, NOISE = 50, 5.0, 0.1
SPECTRUM = fourier.bump_spectrum(FREQUENCIES, CENTRE)  # of the family; its power is 1
TRAINING_TASKS = (1, 3, 10, 30, 100, 300, 1000)
RANKS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 30, 40, 50)
MAX_POINTS, DRAWS = 60, 15  # sets of points over which the median error is taken
WEIGHTS = {"equal": "equal", "learned": "learned from training tasks", "spectrum": "the family's spectrum"}
LOOKS = {
    "equal": {"color": plots.GREY, "linestyle": "--"},
    "learned": {"color": plots.BLUE, "linestyle": "-"},
    "spectrum": {"color": plots.GREEN, "linestyle": "-"},
}
GRID = torch.linspace(-pi, pi, 400, dtype=fourier.FLOAT)


@lru_cache(maxsize=64)
def learned(num_tasks: int, draw: int = 0) -> Tensor:
    """The mean squared coefficient of each frequency over so many training tasks [50]."""
    g = torch.Generator().manual_seed(1 + draw)
    tasks = fourier.FourierFamily(SPECTRUM).sample(TRAINING_TASKS[-1], 1, 0, g)
    return fourier.spectrum_from_coefficients(tasks.coefficients[:num_tasks])


def weights_of(kind: str, num_tasks: int, draw: int = 0) -> Tensor:
    return {
        "equal": torch.full_like(SPECTRUM, 1 / FREQUENCIES),
        "spectrum": SPECTRUM,
        "learned": learned(num_tasks, draw),
    }[kind]


def kept(kind: str, num_tasks: int, rank: int, draw: int = 0) -> Tensor:
    """The weights with all but the r frequencies of most learned (or true) power set to 0 [50]."""
    order = SPECTRUM if kind == "spectrum" else learned(num_tasks, draw)
    among = fourier.keep_principal(order + 1e-12, rank) > 0
    return torch.where(among, weights_of(kind, num_tasks, draw).clamp(min=1e-12), 0.0)


@lru_cache(maxsize=256)
def median_errors(kind: str, num_tasks: int, points: int, noisy: bool, draw: int = 0) -> Tensor:
    """The exact expected error for each of RANKS, median over fifteen sets of points [16]; some 20 ms."""
    g = torch.Generator().manual_seed(2 + 100 * draw)
    x = pi * (2 * torch.rand(DRAWS, MAX_POINTS, generator=g, dtype=fourier.FLOAT) - 1)[:, :points]  # [15, S]
    family = fourier.FourierFamily(SPECTRUM, NOISE if noisy else 0.0)
    rows = [
        fourier.expected_error(family, x, kept(kind, num_tasks, r, draw), family.noise**2) for r in RANKS
    ]  # [15] each
    return torch.stack(rows).median(1).values


def few_shot_errors(draw: int) -> dict[str, Tensor]:
    """Expected errors on 12 points with weights learnt from 1,000 noisy tasks of 12 + 12 points, and the true ones."""
    family = fourier.FourierFamily(SPECTRUM, NOISE)
    generator = torch.Generator().manual_seed(draw)
    tasks = family.sample(1000, 12, 12, generator)
    x, y = (torch.cat(pair, 1) for pair in ((tasks.support_x, tasks.query_x), (tasks.support_y, tasks.query_y)))
    weights = {
        "closed": fourier.spectrum_from_tasks(x, y, FREQUENCIES),
        "gradient": fourier.meta_learn(tasks, FREQUENCIES, ridge=NOISE**2, steps=200).weights,
        "spectrum": family.spectrum,
    }
    new_x = pi * (2 * torch.rand(100, 12, generator=generator, dtype=fourier.FLOAT) - 1)
    return {name: fourier.expected_error(family, new_x, w, ridge=NOISE**2).mean() for name, w in weights.items()}


@lru_cache(maxsize=16)
def one_task(seed: int, noisy: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Points [60], labels [60] and the true curve [400]; the first points stay when their number grows."""
    family = fourier.FourierFamily(SPECTRUM, NOISE if noisy else 0.0)
    tasks = family.sample(1, MAX_POINTS, 0, torch.Generator().manual_seed(10 + seed))
    return tasks.support_x[0], tasks.support_y[0], fourier.predict(tasks.coefficients[0], GRID)


def compute(values: SimpleNamespace) -> dict:
    """The fit of one task with the chosen weights on the top r frequencies, and the error against r."""
    x, y, truth = one_task(values.task, values.noisy)
    x, y = x[: values.points], y[: values.points]
    weights = kept(values.weights, values.tasks, values.rank)
    coefficients = fourier.fit(x, y, weights, NOISE**2 if values.noisy else 0.0)
    kinds = ("equal", "learned" if values.weights == "equal" else values.weights)
    errors = {kind: median_errors(kind, values.tasks, values.points, values.noisy) for kind in kinds}  # [16] each
    at = RANKS.index(values.rank)
    return {
        "truth": truth,
        "fit": fourier.predict(coefficients, GRID),
        "support": torch.stack([x, y], 1),  # [S, 2]
        "shares": weights / weights.sum(),  # [50]
        "equal": errors["equal"],
        "chosen": errors[values.weights],
        "other": errors[kinds[1]],
        "error": errors[values.weights][at].item(),
        "error_equal": errors["equal"][at].item(),
    }


def picture(fig, show) -> None:
    grid = {"width_ratios": (1.15, 1), "height_ratios": (0.8, 1)}
    panels = fig.subplot_mosaic([["fit", "weights"], ["fit", "error"]], **grid)
    left, bars, right = panels["fit"], panels["weights"], panels["error"]
    color = lambda d: LOOKS[d.weights]["color"]
    left.set(xlabel="x", ylabel="y", xlim=(-pi, pi), ylim=(-4.2, 4.2), xticks=[-pi, 0, pi])
    left.set_xticklabels(["-\N{GREEK SMALL LETTER PI}", "0", "\N{GREEK SMALL LETTER PI}"])
    show.line(left, GRID, "truth", color=plots.FAINT, linestyle="-", linewidth=5, end="true")
    show.line(left, GRID, lambda d: d.fit.clamp(-50, 50), color=color, linestyle="-", end="fit", pin=True)
    show.points(left, "support", **plots.SUPPORT)
    show.title(left, lambda d: f"{d.points} points, {2 * d.rank} features, {d.weights} weights")

    bars.set(xlabel="frequency d", ylabel="weight", xlim=(0, FREQUENCIES + 1), ylim=(0, 0.62))
    show.bars(bars, range(1, FREQUENCIES + 1), "shares", width=1.0, color=color, alpha=0.75)
    power = {"color": plots.INK, "linestyle": "none", "marker": "_", "markersize": 6, "markeredgewidth": 1.2}
    show.points(bars, range(1, FREQUENCIES + 1), lambda d: SPECTRUM, **power)
    bars.text(CENTRE + 4, 0.45, "dashes: power of the family", fontsize=9)
    learned_from = lambda d: f", {several(d.tasks, 'task')}" if d.weights == "learned" else ""
    show.title(bars, lambda d: f"Weights: {d.weights}{learned_from(d)}")

    right.set(xlabel="frequencies kept, r (2r features)", ylabel="expected error", xscale="log", yscale="log")
    right.set(xlim=(0.9, 55), ylim=(0.003, 30))
    right.set_xticks([1, 2, 3, 5, 10, 20, 50], ["1", "2", "3", "5", "10", "20", "50"])
    right.minorticks_off()
    show.level(right, 1.0, "predicting zero", at=0.02)
    show.mark(right, lambda d: d.points / 2, "2r = points", linestyle="-", linewidth=1)
    show.line(right, RANKS, "equal", **LOOKS["equal"], end=" equal")
    kind = lambda d: "learned" if d.weights == "equal" else d.weights
    color = lambda d: LOOKS[kind(d)]["color"]
    show.line(right, RANKS, "other", color=color, linestyle="-", end=lambda d: f" {kind(d)}")
    show.points(right, "rank", "error", **plots.HERE)
    show.title(right, lambda d: f"Error {d.error:.2g}, with equal weights {d.error_equal:.2g}")


def words(d) -> str:
    learned_from = f" from {d.tasks} training tasks" if d.weights == "learned" else ""
    return (
        f"{d.points} points fitted with {2 * d.rank} Fourier features and weights: {d.weights}{learned_from}. Expected "
        f"error {d.error:.3g}, with equal weights on the same features {d.error_equal:.3g}; predicting zero costs 1."
    )


demo = declare(
    "Feature weights for a hundred Fourier features",
    [
        Choice("weights", WEIGHTS, "learned", "weights"),
        Notches("rank", RANKS, FREQUENCIES, "frequencies kept r"),
        Slider("points", 2, MAX_POINTS, 12, "support points S"),
        Notches("tasks", TRAINING_TASKS, 100, "training tasks"),
        Switch("noisy", False, "noisy labels (0.1), ridge 0.01"),
        Button("task", "another task"),
    ],
    compute,
    picture,
    words,
    size=(9.6, 5.0),
    views={
        "equal weights": {"weights": "equal"},
        "learned weights": {},
        "from three tasks": {"tasks": 3},
        "the right five, equal": {"weights": "equal", "rank": 5},
    },
)
