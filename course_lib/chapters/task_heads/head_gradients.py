"""Where a head points the body: the body's gradient under a fresh, a stored and a fitted head.

With residual r(x) = w z(x) - y the body's gradient is the mean over x of 2 r(x) dz(x)/dbody^T w: the head w
says which features are to grow and which to shrink. A random w says nothing about the task. Everything is
computed live, also the training of the bodies (``experiments.training_heads.bodies``), which shows as it goes.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn

from course_lib.algorithms.heads import BIAS, WEIGHT
from course_lib.algorithms.solvers import ridge_head
from course_lib.chapters.task_heads.experiments import training_heads
from course_lib.chapters.task_heads.task_visits import LOOKS, draw_heads, walk, with_one
from course_lib.evaluation import interval95
from course_lib.inner_loop import predict, stack_params
from course_lib.kit import plots
from course_lib.kit.demo import Button, Choice, Notches, Slider, declare
from course_lib.kit.growing import Growing
from course_lib.kit.words import several
from course_lib.losses import mse
from course_lib.tasks import SinusoidTasks

BODIES = {"meta": "one meta-learned head", "written back": "stored heads", "random": "fresh random heads"}
VISITS = (1, 2, 3, 5, 10, 20, 50, 100)
NUM_TASKS, MOST_POINTS, JUDGING_POINTS = 40, 20, 100
LAMBDA = 1.0  # of the fitted head, on 100 points
HEADS = {"fresh": "fresh random head", "kept": "stored head"}
ITERATIONS = (0, 100, 400)
ON_THE_WAY = (0, 20, 50, 100, 120, 160, 220, 300, 400)  # iterations at which a training is looked at
ROWS = {"fresh": 1, "kept": 0}  # their heights in the picture
APART = 0.28 * np.sin(np.arange(NUM_TASKS) * 2.4)  # of a row's dots, up and down, so that they do not hide one another


def body_gradients(model: nn.Module, heads: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Each task's gradient of its mean squared error with respect to the body, its head held fixed.

    Args:
        heads: with the bias last [T, D + 1, 1]. x, y: the task's points [T, N, 1].

    Returns:
        [T, P], all of the body's parameters in one row.
    """
    params = stack_params(model, len(x)) | {WEIGHT: heads[:, :-1].mT, BIAS: heads[:, -1]}
    params = {name: p.detach().requires_grad_(name.startswith("features.")) for name, p in params.items()}
    body = [p for p in params.values() if p.requires_grad]
    grads = torch.autograd.grad(mse(predict(model, params, x), y).sum(), body)
    return torch.cat([grad.flatten(1) for grad in grads], dim=1)


@torch.enable_grad()
def trained(body: str, seed: int) -> Iterator[dict[str, nn.Module]]:
    """{body: network} after each of ``ON_THE_WAY``: 50 tasks that come back, k = 1, Adam's rate 0.001."""
    for _, _, (network,) in training_heads.train([seed], body, 50, 1, 1e-3, ON_THE_WAY):
        yield {body: network}


@lru_cache(maxsize=16)
def training(body: str, seed: int) -> Growing:
    """``trained``, kept as far as it was ever asked for."""
    return Growing(lambda: trained(body, seed))


def network(body: str, iteration: int, seed: int = 0) -> nn.Module:
    """The body after so many iterations, one of ``ON_THE_WAY``, of meta-training with that kind of head."""
    return training(body, seed).upto(ON_THE_WAY.index(iteration) + 1)[-1][body]


@lru_cache(maxsize=16)
@torch.no_grad()
def setup(body: str, iteration: int, points: int, draw: int, seed: int = 0) -> dict[str, Tensor]:
    """What all visits bring, and the gradient under the fitted head ``target`` [T, P]."""
    generator = torch.Generator().manual_seed(200 + draw)
    batch = SinusoidTasks(MOST_POINTS * VISITS[-1], JUDGING_POINTS).sample(NUM_TASKS, generator=generator)
    model = network(body, iteration, seed)
    x, y = (p.view(NUM_TASKS, VISITS[-1], MOST_POINTS)[:, :, :points] for p in (batch.support_x, batch.support_y))
    weight, bias = ridge_head(model.features(batch.query_x), batch.query_y, LAMBDA)
    fitted = torch.cat([weight.mT, bias[..., None]], dim=1)  # [T, D + 1, 1]
    with torch.enable_grad():
        target = body_gradients(model, fitted, batch.query_x, batch.query_y)
    z = with_one(model.features(x[..., None]))  # [T, V, S, D + 1]
    first = draw_heads(NUM_TASKS * VISITS[-1], z.shape[-1] - 1, generator).view(NUM_TASKS, VISITS[-1], -1, 1)
    judge = {"x_all": batch.query_x, "y_all": batch.query_y, "target": target}
    return {"y": y, "z": z, "gram": z @ z.mT, "first": first} | judge


@lru_cache(maxsize=64)
def cosines(
    body: str, iteration: int, points: int, steps: int, rate: float, draw: int, seed: int = 0
) -> dict[str, Tensor]:
    """{"fresh", "kept"}: each task's cosine with the gradient under its fitted head at VISITS [visits, T].

    {"fresh_mean", "kept_mean"}: the cosine of the means over the tasks, as an outer loop takes them [visits].
    """
    data, model = setup(body, iteration, points, draw, seed), network(body, iteration, seed)
    kept, result = data["first"][:, 0], {name: [] for name in ("fresh", "kept", "fresh_mean", "kept_mean")}
    for v in range(VISITS[-1]):
        visit = data["z"][:, v], data["y"][:, v, :, None]
        how = rate, steps, data["gram"][:, v]
        kept = walk(*visit, kept, *how)
        if v + 1 not in VISITS:
            continue
        for name, w in (("fresh", walk(*visit, data["first"][:, v], *how)), ("kept", kept)):
            grads = body_gradients(model, w, data["x_all"], data["y_all"])  # [T, P]
            result[name].append(torch.cosine_similarity(grads, data["target"], dim=1))
            means = grads.mean(0), data["target"].mean(0)
            result[f"{name}_mean"].append(torch.cosine_similarity(*means, dim=0))
    return {name: torch.stack(values) for name, values in result.items()}


def compute(values: SimpleNamespace) -> Iterator[dict]:
    """Cosines at the chosen visit, task by task, and their means at every visit; meanwhile those of a body that has
    ``trained`` for as many iterations as yet."""
    last, at = ON_THE_WAY.index(values.iteration), VISITS.index(values.visit)
    for iteration in ON_THE_WAY[min(training(values.body, 0).reached(last + 1), last) : last + 1]:
        found = cosines(values.body, iteration, values.points, values.steps, values.rate, values.new_tasks)
        yield {
            "trained": iteration,
            "at": at,
            "tasks": {name: found[name][at].numpy() for name in HEADS},  # [T] each
            "mean": {name: found[name].mean(1).numpy() for name in HEADS},  # [VISITS] each
            "half": {name: interval95(found[name]).numpy() for name in HEADS},
            "of_means": {name: float(found[f"{name}_mean"][at]) for name in HEADS},
        }


def body_in_words(body: str, iteration: int) -> str:
    return f"Body: {iteration:,} iterations, {BODIES[body]}" if iteration else "Body: untrained"


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2, width_ratios=(1, 1.15))
    left.set(xlabel="cosine with the fitted head's gradient", xlim=(-1.05, 1.05), ylim=(-0.6, 1.75))
    left.set_xticks([-1, 0, 1], ["-1: against it", "0", "1: the same"])
    left.set_yticks([1, 0], ["fresh\nhead", "stored\nhead"])
    left.axvline(0, color=plots.GREY, linewidth=1, linestyle="-")
    right.set(xlabel="visits (each brings new points of the task)", ylabel="mean cosine, 95 % interval")
    right.set(xlim=(0.85, 115), ylim=(-0.25, 1.1), xscale="log")
    right.set_xticks(VISITS, [str(v) for v in VISITS])
    right.minorticks_off()
    right.axhline(0, color=plots.GREY, linewidth=1, linestyle="-")
    show.level(right, 1, "the direction of the fitted head", at=0.02)
    show.mark(right, "visit")
    for name, text in HEADS.items():
        color, row = LOOKS[name]["color"], ROWS[name]
        dots = lambda d, name=name: d.tasks[name]
        show.points(left, dots, row + APART, color=color, markersize=5, alpha=0.7, markeredgecolor="white")
        mean = {"color": plots.INK, "marker": "|", "markersize": 26, "markeredgewidth": 2.5}
        show.points(left, lambda d, name=name: d.tasks[name].mean(), row, **mean)
        curve, half = (lambda d, name=name: d.mean[name]), (lambda d, name=name: d.half[name])
        whiskers = lambda d, curve=curve, half=half: [
            np.array([(v, m - h), (v, m + h)]) for v, m, h in zip(VISITS, curve(d), half(d))
        ]
        show.paths(right, whiskers, color=color, linewidth=1.2)
        show.line(right, VISITS, curve, **LOOKS[name], marker="o", markersize=5, end=text.split()[0], pin=True)
    plots.name_region(left, 0.03, 0.93, "a dot is a task", va="top", ha="left")
    show.title(left, lambda d: body_in_words(d.body, d.trained), fontsize=10)
    show.title(right, gained)


def gained(d) -> str:
    fresh, kept = (d.mean[name][d.at] for name in HEADS)
    return f"At visit {d.visit}: stored {kept:.2f}, fresh {fresh:.2f}"


def words(d) -> str:
    return (
        f"{body_in_words(d.body, d.trained)}; {NUM_TASKS} tasks, {several(d.steps, 'step')} a visit. Mean cosine "
        f"with the fitted head's gradient. {gained(d)}. Averaged over tasks first, the gradients have cosines "
        f"{d.of_means['kept']:.2f} and {d.of_means['fresh']:.2f}."
    )


demo = declare(
    "Where a head points the body",
    [
        Choice("body", BODIES, "meta", "body trained with"),
        Notches("iteration", ITERATIONS, 0, "for so many iterations"),
        Notches("visit", VISITS, 100, "visit"),
        Slider("steps", 1, 20, 5, "steps a visit k"),
        Slider("points", 5, MOST_POINTS, 10, "points a visit"),
        Slider("rate", 1e-3, 0.01, 0.01, "head rate", log=True),
        Button("new_tasks", "other tasks"),
    ],
    compute,
    picture,
    words,
    size=(9.4, 4.6),
    hint="The head's steps were too large for these features: lower the head rate.",
    views={
        "the first visit": {"visit": 1},
        "the hundredth": {},
        "a trained body": {"body": "written back", "iteration": 400},
    },
    play="visit",
)
