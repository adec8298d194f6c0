"""Mixed linear regression over inner rates of either sign: simulated, and the closed form beside it.

Everything is computed live: the problem is linear, so that MAML's solution is one solve for each rate.
"""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import torch
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from course_lib.chapters.union.mixed_linear import (
    FLOAT,
    LinearTasks,
    MixedLinear,
    best_adapt_lr,
    best_train_lr,
    expected_loss,
    mean_and_interval,
    meta_train,
    test_losses,
)
from course_lib.kit import plots
from course_lib.kit.first_edition import Button, Demo, Notches, Slider

TRAIN_LRS = tuple(np.linspace(-2.0, 1.0, 31).round(2).tolist())
EVERY = 2  # a simulated dot at every other rate of training
SIMULATED = TRAIN_LRS[::EVERY]
ADAPT_LRS = tuple(np.linspace(-0.4, 0.6, 21).round(2).tolist())
ADAPTED = ADAPT_LRS[::EVERY]
NUM_TASKS = (1, 3, 10, 20, 25, 40, 60, 100)  # two query points each: above 30 they outnumber the parameters
RUNS = {True: 250, False: 40}  # over-parameterised or not; the latter takes longer
TEST_TASKS, POINTS = 10, 50  # new tasks for each run, with adapt_points to adapt on and the rest to score


@lru_cache(maxsize=16)
def trained(num_tasks: int, noise: float, seed: int) -> tuple[MixedLinear, Tensor, LinearTasks]:
    """The problem, MAML's solution for every rate of training [R, 31, P], and new tasks to test it on."""
    problem = MixedLinear(num_tasks=num_tasks, noise=noise)
    generator = torch.Generator().manual_seed(seed)
    runs, support = RUNS[problem.overparameterised], problem.adapt_points
    tasks = problem.sample(runs, generator)
    new = problem.sample(runs, generator, num_tasks=TEST_TASKS, support=support, queries=POINTS - support)
    return problem, meta_train(tasks, TRAIN_LRS, problem.start()), new


@lru_cache(maxsize=128)
def against_training(num_tasks: int, noise: float, adapt_lr: float, seed: int) -> dict:
    """Loss of new tasks against the rate of training, adapted at ``adapt_lr``: simulated and expected."""
    problem, theta, new = trained(num_tasks, noise, seed)
    dots = theta[:, ::EVERY]  # [R, A, P]
    mean, half = mean_and_interval(
        test_losses(dots, new, torch.full((dots.shape[1],), adapt_lr, dtype=FLOAT))
    )
    curve = [expected_loss(problem, rate, adapt_lr) for rate in TRAIN_LRS]
    return {
        "mean": mean.numpy(),
        "half": half.numpy(),
        "curve": np.array(curve),
        "best": best_train_lr(problem),
    }


@lru_cache(maxsize=128)
def against_adapting(num_tasks: int, noise: float, train_lr: float, seed: int) -> dict:
    """Loss of new tasks against the rate they adapt with, trained at ``train_lr``, one of TRAIN_LRS."""
    problem, theta, new = trained(num_tasks, noise, seed)
    one = theta[:, [TRAIN_LRS.index(train_lr)]].expand(-1, len(ADAPTED), -1)  # [R, A, P]
    mean, half = mean_and_interval(test_losses(one, new, torch.tensor(ADAPTED, dtype=FLOAT)))
    curve = np.array([expected_loss(problem, train_lr, rate) for rate in ADAPT_LRS])
    return {
        "mean": mean.numpy(),
        "half": half.numpy(),
        "curve": curve,
        "best": best_adapt_lr(problem, train_lr),
    }


def compute(values: SimpleNamespace) -> dict:
    """Both curves, and the point on each that the two rates choose."""
    problem = MixedLinear(num_tasks=values.num_tasks, noise=values.noise)
    train = against_training(values.num_tasks, values.noise, values.adapt_lr, values.new_draws)
    adapt = against_adapting(values.num_tasks, values.noise, values.train_lr, values.new_draws)
    return {
        "points": problem.num_tasks * problem.queries,
        "parameters": problem.dim,
        "over": problem.overparameterised,
        "rates": (values.train_lr, values.adapt_lr),
        "train": train,
        "adapt": adapt,
        "loss": expected_loss(problem, values.train_lr, values.adapt_lr),
        "at_zero": expected_loss(problem, 0.0, values.adapt_lr),
    }


def figure(fig) -> SimpleNamespace:
    panels = fig.subplots(1, 2)
    parts = SimpleNamespace(panels=panels, curves=[], dots=[], here=[], titles=[])
    for panel, low, high in zip(panels, (TRAIN_LRS[0], ADAPT_LRS[0]), (TRAIN_LRS[-1], ADAPT_LRS[-1])):
        panel.axvline(0, color=plots.GREY, linewidth=1)
        panel.set(xlim=(low - 0.05, high + 0.05), ylim=(0, 1))
        panel.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        panel.yaxis.set_major_formatter("{x:.2f}")  # of one width, so that panels keep their place
        parts.curves.append(panel.plot([], [], color=plots.BLUE, label="closed form")[0])
        look = {"fmt": "s", "color": plots.ORANGE, "markersize": 4, "label": "simulated, 95 % interval"}
        parts.dots.append(panel.errorbar([0], [1], [0.1], **look))
        ring = {"color": plots.BLACK, "markerfacecolor": "white", "markersize": 9}
        parts.here.append(panel.plot([], [], "o", **ring)[0])
        parts.titles.append(panel.set_title(" "))
    alpha = "\N{GREEK SMALL LETTER ALPHA}"
    panels[0].set(xlabel=f"rate in training, {alpha}$_t$", ylabel="loss of new tasks")
    panels[1].set(xlabel=f"rate of adapting at test time, {alpha}$_r$")
    fig.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return parts


def draw(artists: SimpleNamespace, data: dict) -> None:
    for i, (rates, dots, which) in enumerate(
        ((TRAIN_LRS, SIMULATED, "train"), (ADAPT_LRS, ADAPTED, "adapt"))
    ):
        part = data[which]
        artists.curves[i].set_data(rates, part["curve"])
        line, _, (bars,) = artists.dots[i]
        line.set_data(dots, part["mean"])
        low, high = part["mean"] - part["half"], part["mean"] + part["half"]
        bars.set_segments(np.stack([np.stack([dots, low], 1), np.stack([dots, high], 1)], 1))
        artists.here[i].set_data([data["rates"][i]], [data["loss"]])
        step = plots.nice_ceiling(high.max() - low.min() + 0.05) / 5  # coarse, so that limits seldom change
        bottom, top = np.floor(low.min() / step - 0.2) * step, np.ceil(high.max() / step + 0.2) * step
        plots.set_limits(artists.panels[i], y=(round(float(bottom), 3), round(float(top), 3)))
    artists.titles[0].set_text(
        f"{data['points']} query points, {data['parameters']} parameters: {best_in_words(data)}"
    )
    artists.titles[1].set_text(
        f"trained at {data['rates'][0]:g}, best to adapt at {data['adapt']['best']:.2g}"
    )


def best_in_words(data: dict) -> str:
    curve = data["train"]["curve"]
    if np.ptp(curve) < 1e-9:
        return "every rate is as good"
    return f"best {data['train']['best']:.2f}"


def alt(data: dict) -> str:
    train_lr, adapt_lr = data["rates"]
    side = "over" if data["over"] else "under"
    return (
        f"Mixed linear regression, {side}-parameterised ({data['points']} query points, "
        f"{data['parameters']} parameters). Trained at {train_lr:g} and adapted at {adapt_lr:g} the expected "
        f"loss is {data['loss']:.3f}; trained at 0 it is {data['at_zero']:.3f}. In training: "
        f"{best_in_words(data)}. Best rate to adapt with: {data['adapt']['best']:.2g}."
    )


def demo() -> Demo:
    """The demo of notebook 06; its default view is figure 2 of arXiv 2102.00940."""
    alpha = "\N{GREEK SMALL LETTER ALPHA}"
    return Demo(
        "The best rate in training is negative, the best rate to adapt with is positive",
        controls=[
            Notches("train_lr", TRAIN_LRS, 0.2, f"rate in training {alpha}_t"),
            Slider("adapt_lr", -0.4, 0.6, 0.2, f"rate of adapting {alpha}_r", step=0.05),
            Notches("num_tasks", NUM_TASKS, 3, "training tasks m"),
            Slider("noise", 0.0, 2.0, 1.0, "noise \N{GREEK SMALL LETTER SIGMA}", step=0.1),
            Button("new_draws", "draw anew"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(9.0, 4.4),
    )
