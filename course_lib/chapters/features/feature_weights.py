"""A hundred Fourier features, twelve points: weights, learned from other tasks, say which carry the task."""

from __future__ import annotations

from functools import lru_cache
from math import pi
from types import SimpleNamespace

import torch
from torch import Tensor

from course_lib.chapters.features import fourier
from course_lib.kit import plots
from course_lib.kit.first_edition import Button, Choice, Demo, Notches, Slider, Switch

FREQUENCIES, CENTRE, NOISE = 50, 5.0, 0.1
SPECTRUM = fourier.bump_spectrum(FREQUENCIES, CENTRE)  # of the family; its power is 1
TRAINING_TASKS = (1, 3, 10, 30, 100, 300, 1000)
RANKS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 30, 40, 50)
MAX_POINTS, DRAWS = 60, 15  # sets of points over which the median error is taken
WEIGHTS = {"equal": "equal", "learned from training tasks": "learned", "the family's spectrum": "spectrum"}
COLORS = {"equal": plots.ORANGE, "learned": plots.BLUE, "spectrum": plots.GREEN}
GRID = torch.linspace(-pi, pi, 400, dtype=fourier.FLOAT)


@lru_cache(maxsize=len(TRAINING_TASKS))
def learned(num_tasks: int) -> Tensor:
    """The mean squared coefficient of each frequency over so many training tasks [50]."""
    g = torch.Generator().manual_seed(1)
    tasks = fourier.FourierFamily(SPECTRUM).sample(TRAINING_TASKS[-1], 1, 0, g)
    return fourier.spectrum_from_coefficients(tasks.coefficients[:num_tasks])


def weights_of(kind: str, num_tasks: int) -> Tensor:
    return {
        "equal": torch.full_like(SPECTRUM, 1 / FREQUENCIES),
        "spectrum": SPECTRUM,
        "learned": learned(num_tasks),
    }[kind]


def kept(kind: str, num_tasks: int, rank: int) -> Tensor:
    """The weights with all but the r frequencies of most learned (or true) power set to 0 [50]."""
    order = SPECTRUM if kind == "spectrum" else learned(num_tasks)
    among = fourier.keep_principal(order + 1e-12, rank) > 0
    return torch.where(among, weights_of(kind, num_tasks).clamp(min=1e-12), 0.0)


@lru_cache(maxsize=256)
def median_errors(kind: str, num_tasks: int, points: int, noisy: bool) -> Tensor:
    """The exact expected error for each of RANKS, median over fifteen sets of points [16]; some 60 ms."""
    g = torch.Generator().manual_seed(2)
    x = pi * (2 * torch.rand(DRAWS, MAX_POINTS, generator=g, dtype=fourier.FLOAT) - 1)[:, :points]  # [15, S]
    family = fourier.FourierFamily(SPECTRUM, NOISE if noisy else 0.0)
    rows = [
        fourier.expected_error(family, x, kept(kind, num_tasks, r), family.noise**2) for r in RANKS
    ]  # [15] each
    return torch.stack(rows).median(1).values


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
    curves = {
        kind: median_errors(kind, values.tasks, values.points, values.noisy)
        for kind in ("equal", values.weights)
    }
    return {
        "kind": values.weights,
        "points": values.points,
        "rank": values.rank,
        "tasks": values.tasks,
        "truth": truth.numpy(),
        "fit": fourier.predict(coefficients, GRID).numpy(),
        "support": (x.numpy(), y.numpy()),
        "spectrum": SPECTRUM.numpy(),
        "weights": (weights / weights.sum()).numpy(),
        "equal": curves["equal"].numpy(),
        "chosen": curves[values.weights].numpy(),
        "error": curves[values.weights][RANKS.index(values.rank)].item(),
    }


def figure(fig) -> SimpleNamespace:
    panels = fig.subplot_mosaic(
        [["fit", "weights"], ["fit", "error"]], width_ratios=(1.15, 1), height_ratios=(0.8, 1)
    )
    left, bars, right = panels["fit"], panels["weights"], panels["error"]
    left.set(xlabel="x", ylabel="y", xlim=(-pi, pi), ylim=(-4.2, 4.2), xticks=[-pi, 0, pi])
    left.set_xticklabels(["-\N{GREEK SMALL LETTER PI}", "0", "\N{GREEK SMALL LETTER PI}"])
    truth = left.plot([], [], **plots.TRUTH, label="true curve")[0]
    fit = left.plot([], [], linestyle="-")[0]
    support = left.plot([], [], **plots.SUPPORT, label="support points")[0]
    d = range(1, FREQUENCIES + 1)
    bars.set(xlabel="frequency d", ylabel="weight", xlim=(0, FREQUENCIES + 1), ylim=(0, 0.62))
    dashes = {"color": plots.GREY, "linestyle": "none", "marker": "_", "markersize": 9}
    bars.plot(d, SPECTRUM, **dashes, label="power of the family")
    shown = bars.fill_between([0, 1], [0, 0], step="mid", alpha=0.7, linewidth=0)
    right.set(xlabel="frequencies kept, r (2r features)", ylabel="expected error", xscale="log", yscale="log")
    right.set(xlim=(0.9, 55), ylim=(0.003, 30))
    right.set_xticks([1, 2, 3, 5, 10, 20, 50], ["1", "2", "3", "5", "10", "20", "50"])
    right.minorticks_off()
    right.axhline(1.0, **plots.REFERENCE, label="predicting zero")
    peak = right.plot([], [], color=plots.GREY, linestyle="-", linewidth=1, label="2r = number of points")[0]
    equal = right.plot([], [], color=COLORS["equal"], linestyle="--", label="equal weights")[0]
    chosen = right.plot([], [], color=COLORS["learned"], linestyle="-", label="learned, or the spectrum")[0]
    here = right.plot([], [], "o", color=plots.BLACK, markerfacecolor="white", markersize=9)[0]
    fig.legend(loc="outside lower center", ncols=4)
    titles = (left.set_title(" "), bars.set_title(" "), right.set_title(" "))
    return SimpleNamespace(
        truth=truth,
        fit=fit,
        support=support,
        shown=shown,
        peak=peak,
        equal=equal,
        chosen=chosen,
        here=here,
        titles=titles,
    )


def draw(artists: SimpleNamespace, data: dict) -> None:
    color, kind = COLORS[data["kind"]], data["kind"]
    artists.truth.set_data(GRID.numpy(), data["truth"])
    artists.fit.set_data(GRID.numpy(), data["fit"].clip(-50, 50))
    artists.fit.set_color(color)
    artists.support.set_data(*data["support"])
    artists.shown.set_data(range(1, FREQUENCIES + 1), data["weights"], 0)
    artists.shown.set_facecolor(color)
    artists.peak.set_data([data["points"] / 2] * 2, [0.003, 30])
    artists.equal.set_data(RANKS, data["equal"])
    artists.chosen.set_data(RANKS, data["chosen"])
    artists.chosen.set_color(COLORS["learned"] if kind == "equal" else color)
    artists.chosen.set_visible(kind != "equal")
    artists.here.set_data([data["rank"]], [data["error"]])
    artists.titles[0].set_text(f"{data['points']} points, {2 * data['rank']} features, {kind} weights")
    artists.titles[1].set_text(f"Weights: {kind}" + (f", {data['tasks']} tasks" if kind == "learned" else ""))
    artists.titles[2].set_text(f"Expected error {data['error']:.2g}")


def alt(data: dict) -> str:
    at = RANKS.index(data["rank"])
    learned_from = f" from {data['tasks']} training tasks" if data["kind"] == "learned" else ""
    return (
        f"{data['points']} points fitted with {2 * data['rank']} Fourier features and weights: {data['kind']}"
        f"{learned_from}. Expected error {data['error']:.3g}, with equal weights on the same features "
        f"{data['equal'][at]:.3g}; predicting zero costs 1."
    )


def demo() -> Demo:
    """The fifth demo of notebook 05; its default view has all features and learned weights."""
    return Demo(
        "Feature weights for a hundred Fourier features",
        controls=[
            Choice("weights", WEIGHTS, "learned", "weights"),
            Notches("rank", RANKS, FREQUENCIES, "frequencies kept r"),
            Slider("points", 2, MAX_POINTS, 12, "support points S"),
            Notches("tasks", TRAINING_TASKS, 100, "training tasks"),
            Switch("noisy", False, "noisy labels (0.1), ridge 0.01"),
            Button("task", "another task"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(9.4, 5.0),
    )
