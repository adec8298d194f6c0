"""Mixed linear regression over inner rates of either sign: simulated, and the closed form beside it.

Everything is computed live: the problem is linear, so that MAML's solution is one solve for each rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
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
    meta_train_relabelled,
    outer_parts,
)
from course_lib.kit import plots
from course_lib.kit.demo import Button, Notches, Slider, declare

TRAIN_LRS = tuple(np.linspace(-2.0, 1.0, 31).round(2).tolist())
EVERY = 2  # a simulated dot at every other rate of training
SIMULATED = TRAIN_LRS[::EVERY]
ADAPT_LRS = tuple(np.linspace(-0.4, 0.6, 21).round(2).tolist())
ADAPTED = ADAPT_LRS[::EVERY]
NUM_TASKS = (1, 3, 10, 20, 25, 40, 60, 100)  # two query points each: above 30 they outnumber the parameters
RUNS = {True: 250, False: 40}  # over-parameterised or not; the latter takes longer
TEST_TASKS, POINTS = 10, 50  # new tasks for each run, with adapt_points to adapt on and the rest to score


def without_noise(tasks: LinearTasks) -> LinearTasks:
    quiet = [(x @ tasks.weights.unsqueeze(-1)).squeeze(-1) for x in (tasks.support_x, tasks.query_x)]
    return tasks._replace(support_y=quiet[0], query_y=quiet[1])


@lru_cache(maxsize=1)  # 150 MB
def residuals(num_tasks: int, seed: int) -> tuple[Tensor, Tensor]:
    """``still`` and ``moved`` [2, R, 31, points]: what new tasks' query points miss after MAML's training at each rate.

    After an inner step of rate a it is still - a moved. Both are linear in the noise of the labels, as the solutions
    are: the first of the two is without noise, the second what a noise of 1 adds.
    """
    problem = MixedLinear(num_tasks=num_tasks, noise=1.0)
    generator = torch.Generator().manual_seed(seed)
    runs, support = RUNS[problem.overparameterised], problem.adapt_points
    train = problem.sample(runs, generator)
    new = replace(problem, num_tasks=TEST_TASKS, support=support, queries=POINTS - support).sample(runs, generator)
    missed = []
    thetas = meta_train_relabelled([without_noise(train), train], TRAIN_LRS, problem.start())  # [R, 31, P] each
    for theta, tasks in zip(thetas, (without_noise(new), new)):
        B0, B1, c0, c1 = outer_parts(tasks)
        missed.append([theta @ B.mT - c.unsqueeze(1) for B, c in ((B0, c0), (B1, c1))])  # [R, 31, points]
    return tuple(torch.stack([quiet, loud - quiet]) for quiet, loud in zip(*missed))


def losses(num_tasks: int, noise: float, seed: int, trained: slice, adapt_lrs: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Mean loss of new tasks and half its interval, for each of ``adapt_lrs`` [A] (or one of them) and the rates of
    training in the slice (or the one in it)."""
    still, moved = (part[0, :, trained] + noise * part[1, :, trained] for part in residuals(num_tasks, seed))
    mean, half = mean_and_interval((still - adapt_lrs.view(-1, 1) * moved).square().mean(-1).T / 2)  # [A] each
    return mean.numpy(), half.numpy()


@lru_cache(maxsize=128)
def against_training(num_tasks: int, noise: float, adapt_lr: float, seed: int) -> dict:
    """Loss of new tasks against the rate of training, adapted at ``adapt_lr``: simulated and expected."""
    problem = MixedLinear(num_tasks=num_tasks, noise=noise)
    every = slice(None, None, EVERY)
    mean, half = losses(num_tasks, noise, seed, every, torch.tensor([adapt_lr], dtype=FLOAT))
    curve = np.array([expected_loss(problem, rate, adapt_lr) for rate in TRAIN_LRS])
    return {"mean": mean, "half": half, "curve": curve, "best": best_train_lr(problem)}


@lru_cache(maxsize=128)
def against_adapting(num_tasks: int, noise: float, train_lr: float, seed: int) -> dict:
    """Loss of new tasks against the rate they adapt with, trained at ``train_lr``, one of TRAIN_LRS."""
    problem, at = MixedLinear(num_tasks=num_tasks, noise=noise), TRAIN_LRS.index(train_lr)
    mean, half = losses(num_tasks, noise, seed, slice(at, at + 1), torch.tensor(ADAPTED, dtype=FLOAT))
    curve = np.array([expected_loss(problem, train_lr, rate) for rate in ADAPT_LRS])
    return {"mean": mean, "half": half, "curve": curve, "best": best_adapt_lr(problem, train_lr)}


def compute(values: SimpleNamespace) -> dict:
    """Both curves, and the point on each that the two rates choose."""
    problem = MixedLinear(num_tasks=values.num_tasks, noise=values.noise)
    train = against_training(values.num_tasks, values.noise, values.adapt_lr, values.new_draws)
    adapt = against_adapting(values.num_tasks, values.noise, values.train_lr, values.new_draws)
    return {
        "points": problem.num_tasks * problem.queries,
        "parameters": problem.dim,
        "over": problem.overparameterised,
        "train": train,
        "adapt": adapt,
        "loss": expected_loss(problem, values.train_lr, values.adapt_lr),
        "at_zero": expected_loss(problem, 0.0, values.adapt_lr),
    }


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2)
    alpha = "\N{GREEK SMALL LETTER ALPHA}"
    left.set(xlabel=f"rate in training, {alpha}$_t$", ylabel="loss of new tasks")
    right.set(xlabel=f"rate of adapting at test time, {alpha}$_r$")
    for panel, part, rate, rates, dots in (
        (left, "train", "train_lr", TRAIN_LRS, SIMULATED),
        (right, "adapt", "adapt_lr", ADAPT_LRS, ADAPTED),
    ):
        margin = 0.02 * (rates[-1] - rates[0])
        panel.set(xlim=(rates[0] - margin, rates[-1] + margin))
        panel.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        panel.yaxis.set_major_formatter("{x:.2f}")  # of one width, so that panels keep their place
        show.limits(panel, y=lambda d, part=part: limits(d[part]))
        show.mark(panel, 0, linestyle="-", linewidth=1)
        show.mark(panel, lambda d, part=part: d[part]["best"], "best", color=plots.BLUE, shown=has_best)
        show.paths(panel, lambda d, part=part, dots=dots: whiskers(dots, d[part]), color=plots.INK, linewidth=1)
        simulated = lambda d, part=part: d[part]["mean"]
        show.points(panel, dots, simulated, color=plots.INK, marker="s", markersize=3)
        show.line(panel, rates, lambda d, part=part: d[part]["curve"], color=plots.BLUE, linestyle="-", pin=True)
        show.points(panel, rate, "loss", **plots.HERE, zorder=5)
    note = {"transform": left.transAxes, "fontsize": 9, "ha": "right", "bbox": {"color": "white", "pad": 1}}
    left.text(0.99, 0.1, "line: closed form", color=plots.BLUE, **note)
    left.text(0.99, 0.03, "squares: simulated, 95 %", **note)
    show.title(left, lambda d: f"{d.points} points, {d.parameters} parameters: {best_in_words(d)}")
    show.title(right, lambda d: f"To adapt with, {d.adapt['best']:+.2f} is best")


def whiskers(rates: Sequence[float], part: dict) -> np.ndarray:
    """Both ends of the interval at each rate [rates, 2, 2]."""
    return np.stack([np.stack([rates, part["mean"] + side * part["half"]], 1) for side in (-1, 1)], 1)


def limits(part: dict) -> tuple[float, float]:
    """Of the losses; in coarse steps, so that they seldom change."""
    low, high = (part["mean"] - part["half"]).min(), (part["mean"] + part["half"]).max()
    step = plots.nice_ceiling(high - low + 0.05) / 5
    return round(float(np.floor(low / step - 0.2) * step), 3), round(float(np.ceil(high / step + 0.2) * step), 3)


def has_best(d) -> bool:
    return np.ptp(d.train["curve"]) >= 1e-9


def best_in_words(d) -> str:
    return f"{d.train['best']:+.2f} is best" if has_best(d) else "all rates tie"


def words(d) -> str:
    return (
        f"Mixed linear regression, {'over' if d.over else 'under'}-parameterised ({d.points} query points, "
        f"{d.parameters} parameters). Trained at {d.train_lr:g} and adapted at {d.adapt_lr:g} the expected loss is "
        f"{d.loss:.3f}; trained at 0 it is {d.at_zero:.3f}. In training: {best_in_words(d)}. Best rate to adapt "
        f"with: {d.adapt['best']:.2g}."
    )


demo = declare(
    "The best rate in training is negative, the best rate to adapt with is positive",
    [
        Notches("train_lr", TRAIN_LRS, 0.2, "rate in training \N{GREEK SMALL LETTER ALPHA}_t"),
        Slider("adapt_lr", -0.4, 0.6, 0.2, "rate of adapting \N{GREEK SMALL LETTER ALPHA}_r", step=0.05),
        Notches("num_tasks", NUM_TASKS, 3, "training tasks m"),
        Slider("noise", 0.0, 2.0, 1.0, "noise \N{GREEK SMALL LETTER SIGMA}", step=0.1),
        Button("new_draws", "draw anew"),
    ],
    compute,
    picture,
    words,
    size=(9.4, 4.2),
    views={
        "figure 2 of the paper": {},
        "near the threshold": {"num_tasks": 25},
        "more data than parameters": {"num_tasks": 100},
        "no noise": {"noise": 0.0},
    },
)
