"""Mixed linear regression over inner rates of either sign: simulated, and the closed form beside it.

Everything is computed live: the problem is linear, so that MAML's solution is one solve for each rate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import torch
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from course_lib.chapters.union.mixed_linear import (
    FLOAT,
    MixedLinear,
    best_adapt_lr,
    best_train_lr,
    expected_loss,
    mean_and_interval,
    outer_parts,
    solutions,
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


def parts(problem: MixedLinear, runs: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``outer_parts`` of some tasks, with two sets of labels: without noise, and what a noise of 1 adds to them."""
    tasks = problem.sample(runs, torch.Generator().manual_seed(seed))
    quiet = [(x @ tasks.weights.unsqueeze(-1)).squeeze(-1) for x in (tasks.support_x, tasks.query_x)]
    labels = [torch.stack([y, all - y], -1) for y, all in zip(quiet, (tasks.support_y, tasks.query_y))]
    return outer_parts(tasks._replace(support_y=labels[0], query_y=labels[1]))


@lru_cache(maxsize=256)
def training_task(number: int, runs: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The first m of them are the training tasks of every m."""
    return parts(MixedLinear(num_tasks=1, noise=1.0), runs, 1000 * seed + number)


@lru_cache(maxsize=2)
def new_tasks(runs: int, seed: int) -> Tensor:
    """Mean products, over new tasks' points, of B0's and c0's columns and of B1's and c1's [2, 2, R, P + 2, P + 2]."""
    problem = MixedLinear(num_tasks=TEST_TASKS, noise=1.0)
    support = problem.adapt_points
    B0, B1, c0, c1 = parts(replace(problem, support=support, queries=POINTS - support), runs, 1000 * seed + 999)
    columns = torch.cat([B0, c0, B1, c1], -1)  # [R, points, 2 * (P + 2)]
    products = (columns.mT @ columns).div_(columns.shape[1])
    return products.view(runs, 2, problem.dim + 2, 2, problem.dim + 2).permute(1, 3, 0, 2, 4).contiguous()


@lru_cache(maxsize=128)
def missed(num_tasks: int, seed: int, train_lrs: tuple[float, ...]) -> Tensor:
    """Mean products [2, 2, R, A, 2, 2] of what new tasks' query points miss after MAML's training at each rate.

    After an inner step of rate a that is B0 theta - c0 - a (B1 theta - c1): the first two dimensions. Both are linear
    in the labels' noise, as the solutions are: the last two, without noise and what a noise of 1 adds.
    """
    runs = RUNS[MixedLinear(num_tasks=num_tasks).overparameterised]
    each = zip(*(training_task(number, runs, seed) for number in range(num_tasks)))
    thetas = solutions(*(torch.cat(part, 1) for part in each), train_lrs).mT  # [R, A, 2, P]
    thetas = torch.cat([thetas, -torch.eye(2, dtype=FLOAT).expand(*thetas.shape[:2], 2, 2)], -1)  # times B, c
    return (thetas.flatten(1, 2) @ new_tasks(runs, seed)).unflatten(-2, (-1, 2)) @ thetas.mT


def losses(num_tasks: int, noise: float, seed: int, train_lrs: tuple, adapt_lrs: tuple) -> tuple[np.ndarray, ...]:
    """Mean loss of new tasks and half its interval, for each rate of training or each of adapting; one of the other."""
    labels, steps = torch.tensor([1.0, noise], dtype=FLOAT), torch.tensor([[1.0, -a] for a in adapt_lrs], dtype=FLOAT)
    squares = missed(num_tasks, seed, train_lrs) @ labels @ labels  # [2, 2, R, A]
    mean, half = mean_and_interval((torch.einsum("ai,aj->ija", steps, steps).unsqueeze(2) * squares).sum((0, 1)).T / 2)
    return mean.numpy(), half.numpy()


@lru_cache(maxsize=128)
def against_training(num_tasks: int, noise: float, adapt_lr: float) -> dict:
    """Expected loss of new tasks against the rate of training, adapted at ``adapt_lr``."""
    problem = MixedLinear(num_tasks=num_tasks, noise=noise)
    curve = np.array([expected_loss(problem, rate, adapt_lr) for rate in TRAIN_LRS])
    return {"curve": curve, "best": best_train_lr(problem)}


@lru_cache(maxsize=128)
def against_adapting(num_tasks: int, noise: float, train_lr: float) -> dict:
    """Expected loss of new tasks against the rate they adapt with, trained at ``train_lr``."""
    problem = MixedLinear(num_tasks=num_tasks, noise=noise)
    curve = np.array([expected_loss(problem, train_lr, rate) for rate in ADAPT_LRS])
    return {"curve": curve, "best": best_adapt_lr(problem, train_lr)}


drawn: set[tuple[int, int]] = set()  # numbers of tasks and draws whose squares take no time any more


def compute(values: SimpleNamespace) -> Iterator[dict]:
    """Both curves, and the point on each that the two rates choose; then the simulated squares beside them."""
    m, noise, draw = values.num_tasks, values.noise, values.new_draws
    problem = MixedLinear(num_tasks=m, noise=noise)
    parts = {
        "train": against_training(m, noise, values.adapt_lr),
        "adapt": against_adapting(m, noise, values.train_lr),
    }
    others = {
        "points": problem.num_tasks * problem.queries,
        "parameters": problem.dim,
        "over": problem.overparameterised,
        "loss": expected_loss(problem, values.train_lr, values.adapt_lr),
        "at_zero": expected_loss(problem, 0.0, values.adapt_lr),
    }
    if (m, draw) not in drawn:
        bare = {name: part | {"mean": part["curve"], "half": 0.0} for name, part in parts.items()}
        yield others | bare | {"shown": False}
    rates = {"train": (SIMULATED, (values.adapt_lr,)), "adapt": ((values.train_lr,), ADAPTED)}
    for name, pair in rates.items():
        parts[name] = parts[name] | dict(zip(("mean", "half"), losses(m, noise, draw, *pair)))
    drawn.add((m, draw))
    yield others | parts | {"shown": True}


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
        squares = lambda d, part=part, dots=dots: whiskers(dots, d[part]) if d.shown else np.empty((0, 2, 2))
        show.paths(panel, squares, color=plots.INK, linewidth=1)
        show.points(panel, lambda d, squares=squares: squares(d).mean(1), color=plots.INK, marker="s", markersize=3)
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
