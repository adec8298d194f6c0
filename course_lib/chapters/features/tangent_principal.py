"""Seriously overparameterised: the shortest fit that uses the top r principal tangent features only."""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import torch
from torch import Tensor

from course_lib.analysis.tangent import minimum_norm_fit, principal_directions, tangent_features
from course_lib.chapters.features import setup as setup
from course_lib.chapters.features.setup import GRID, STARTS
from course_lib.kit import plots
from course_lib.kit.first_edition import Button, Demo, Notches, Slider

NUM_TASKS, MOST_SHOTS = 60, 20
RANKS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 17, 20, 25, 30, 40, 60, 100, 200)


@lru_cache(maxsize=len(STARTS))
def coordinates(start: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """In the 200 principal directions: the features of the grid [200, 200] and of 60 tasks' points
    [60, 20, 200]; and the outputs before fine-tuning, [200] and [60, 20]."""
    network = setup.network_at(start)
    batch, _ = setup.test_tasks(NUM_TASKS, MOST_SHOTS)
    features = tangent_features(network, GRID)  # [200, P]
    directions = principal_directions(features, RANKS[-1])  # [P, 200]
    support = tangent_features(network, batch.support_x.flatten(0, 1)) @ directions  # [60 * 20, 200]
    before = network(GRID).detach()[:, 0], network(batch.support_x).detach()[..., 0]
    return features @ directions, support.unflatten(0, (NUM_TASKS, MOST_SHOTS)), *before


def fits(start: str, shots: int, rank: int) -> Tensor:
    """Every task's curve [60, 200] after the minimum-norm fit of its first points in the top r features."""
    grid, support, before, outputs = coordinates(start)
    batch, _ = setup.test_tasks(NUM_TASKS, MOST_SHOTS)
    residual = batch.support_y[:, :shots, 0] - outputs[:, :shots]  # [60, S]
    w = minimum_norm_fit(support[:, :shots, :rank], residual)  # [60, r]
    return before + w @ grid[:, :rank].T


@lru_cache(maxsize=64)
def medians(start: str, shots: int) -> Tensor:
    """Median held-out error for each of RANKS; about a tenth of a second."""
    _, truth = setup.test_tasks(NUM_TASKS, MOST_SHOTS)
    errors = [(fits(start, shots, rank) - truth).square().mean(-1).median() for rank in RANKS]
    return torch.stack(errors)


def compute(values: SimpleNamespace) -> dict:
    """One task's fit with r features, and the median error against r for the three starts."""
    batch, truth = setup.test_tasks(NUM_TASKS, MOST_SHOTS)
    task, shots = values.task % NUM_TASKS, values.shots
    curves = torch.stack([medians(start, shots) for start in STARTS])  # [3, 22]
    chosen = curves[list(STARTS).index(values.start)]
    return {
        "start": values.start,
        "shots": shots,
        "rank": values.rank,
        "fit": fits(values.start, shots, values.rank)[task].numpy(),
        "before": coordinates(values.start)[2].numpy(),
        "truth": truth[task].numpy(),
        "support": (batch.support_x[task, :shots, 0].numpy(), batch.support_y[task, :shots, 0].numpy()),
        "medians": curves.numpy(),
        "error": chosen[RANKS.index(values.rank)].item(),
        "best": (RANKS[int(chosen.argmin())], chosen.min().item()),
        "zero": float(truth.square().mean(-1).median()),
    }


def figure(fig) -> SimpleNamespace:
    left, right = fig.subplots(1, 2, width_ratios=(1, 1.1))
    left.set(xlabel="x", ylabel="y", xlim=(-5, 5), ylim=(-6.5, 6.5))
    truth = left.plot([], [], **plots.TRUTH, label="true curve")[0]
    before = left.plot([], [], color=plots.SKY, linestyle=":", label="before")[0]
    fit = left.plot([], [], color=plots.BLUE, linestyle="-")[0]
    support = left.plot([], [], **plots.SUPPORT, label="support points")[0]
    right.set(xlabel="principal features r", ylabel=f"held-out error, median of {NUM_TASKS} tasks")
    right.set(xscale="log", yscale="log", xlim=(0.9, 230), ylim=(0.05, 2e3))
    right.set_xticks([1, 2, 3, 5, 10, 20, 50, 100, 200], ["1", "2", "3", "5", "10", "20", "50", "100", "all"])
    right.minorticks_off()
    zero = right.plot([], [], **plots.REFERENCE, label="predicting zero")[0]
    thin = {"color": plots.GREY, "linestyle": "-", "linewidth": 1}
    peak = right.plot([], [], **thin, label="r = number of support points")[0]
    curves = [
        right.plot([], [], color=setup.COLORS[s], linestyle=setup.DASHES[s], label=text)[0]
        for s, (text, _, _) in STARTS.items()
    ]
    here = right.plot([], [], "o", color=plots.BLACK, markerfacecolor="white", markersize=9)[0]
    fig.legend(loc="outside lower center", ncols=4)
    titles = (left.set_title(" "), right.set_title(" "))
    return SimpleNamespace(
        truth=truth,
        before=before,
        fit=fit,
        support=support,
        zero=zero,
        peak=peak,
        curves=curves,
        here=here,
        titles=titles,
    )


def draw(artists: SimpleNamespace, data: dict) -> None:
    artists.truth.set_data(setup.X, data["truth"])
    artists.before.set_data(setup.X, data["before"])
    artists.fit.set_data(setup.X, data["fit"])
    artists.fit.set_color(setup.COLORS[data["start"]])
    artists.support.set_data(*data["support"])
    artists.zero.set_data([0.9, 230], [data["zero"]] * 2)
    artists.peak.set_data([data["shots"]] * 2, [0.05, 2e3])
    for curve, errors in zip(artists.curves, data["medians"]):
        curve.set_data(RANKS, errors)
    artists.here.set_data([data["rank"]], [data["error"]])
    artists.titles[0].set_text(f"{data['shots']} points, {_features(data['rank'])}")
    artists.titles[1].set_text(
        f"Here {data['error']:.2g}; best {data['best'][1]:.2g}, at r = {data['best'][0]}"
    )


def _features(rank: int) -> str:
    return "all features" if rank == RANKS[-1] else f"top {rank} feature{'s' * (rank > 1)}"


def alt(data: dict) -> str:
    return (
        f"From {STARTS[data['start']][0]}, {data['shots']} support points, {_features(data['rank'])}: median "
        f"held-out error {data['error']:.3g}. The best r is {data['best'][0]} with {data['best'][1]:.3g}; "
        f"all features give {data['medians'][list(STARTS).index(data['start'])][-1]:.3g}; predicting zero "
        f"{data['zero']:.3g}."
    )


def demo() -> Demo:
    """The fourth demo of notebook 05; its default view is MAML's network and its top three features."""
    return Demo(
        "The shortest fit from the top r features",
        controls=[
            setup.start_choice("features of"),
            Notches("rank", RANKS, 3, "principal features r"),
            Slider("shots", 2, MOST_SHOTS, 10, "support points S"),
            Button("task", "another task"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(9.0, 4.6),
    )
