"""Why the loss must be differentiable: the share of mistakes is a staircase, cross-entropy is a slope.

A classifier of points in a plane adapts in k steps on its support set; both losses of its query set are
drawn along a line through the space of INITIAL weights, which is what the outer loop moves. All live: the
241 initialisations of the line are adapted as 241 tasks of one batch.
"""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import torch
from contourpy import contour_generator
from torch import Tensor

from course_lib.algorithms import MAML
from course_lib.analysis.curvature import random_like
from course_lib.inner_loop import Params, predict, stack_params
from course_lib.kit import plots
from course_lib.kit.demo import Button, Choice, Notches, Slider, declare
from course_lib.kit.words import several
from course_lib.losses import accuracy, cross_entropy
from course_lib.models import MLP
from course_lib.tasks import TaskBatch

SHOTS, QUERIES, INNER_LR = 5, 20, 0.5  # points of each of the two classes; rate for a mean cross-entropy
REACH, POINTS = 3.0, 241  # half width of the line in units of weight, points on it
EDGE = 3.2  # of the square in which the points are drawn
LOOKS = ((plots.GREEN, "o"), (plots.VIOLET, "s"))  # of the two classes
WAYS = {"downhill": "against the meta-gradient", "random": "random direction"}


def two_clouds(draw: int) -> TaskBatch:
    """One task: two clouds of points in the plane; x [1, N, 2] in float64, labels [1, N]."""
    generator = torch.Generator().manual_seed(1 + draw)
    angle = 2 * torch.pi * torch.rand(1, generator=generator, dtype=torch.float64)
    centre = 1.2 * torch.cat([angle.cos(), angle.sin()])  # [2]
    noise = 0.8 * torch.randn(2, SHOTS + QUERIES, 2, generator=generator, dtype=torch.float64)
    x = torch.stack([centre, -centre])[:, None] + noise  # [classes, S + Q, 2]
    labels = torch.arange(2)[:, None].expand(2, SHOTS + QUERIES)
    parts = x[:, :SHOTS], labels[:, :SHOTS], x[:, SHOTS:], labels[:, SHOTS:]
    return TaskBatch(*(part.flatten(0, 1).unsqueeze(0) for part in parts))


@lru_cache(maxsize=32)
def line_of(way: str, steps: int, draw: int) -> tuple[MLP, MAML, TaskBatch, Params]:
    """Network, learner, task, and a unit direction in the weights: against the meta-gradient, or random."""
    model, batch = MLP(2, (8,), 2, "Tanh", seed=3).double(), two_clouds(draw)
    learner = MAML(steps, INNER_LR, loss_fn=cross_entropy)
    if way == "downhill":
        direction = {name: -grad for name, grad in learner.meta_gradient(model, batch)[0].items()}
    else:
        direction = {name: random_like(p.detach(), i) for i, (name, p) in enumerate(model.named_parameters())}
    length = torch.cat([d.flatten() for d in direction.values()]).norm()
    return model, learner, batch, {name: d / length for name, d in direction.items()}


def adapt_from(way: str, steps: int, draw: int, t: Tensor) -> tuple[MLP, Params, TaskBatch]:
    """The weights after the inner loop from theta + t d, for every t [G], and the task, G times."""
    model, learner, batch, direction = line_of(way, steps, draw)
    start = stack_params(model, len(t))
    start = {name: p.detach() + t.view(-1, *[1] * direction[name].ndim) * direction[name] for name, p in start.items()}
    repeated = batch[torch.zeros(len(t), dtype=torch.long)]
    start = start if t.requires_grad else {name: p.requires_grad_() for name, p in start.items()}
    return model, learner.adapt(model, repeated.support_x, repeated.support_y, start), repeated


@lru_cache(maxsize=64)
def losses_along(way: str, steps: int, draw: int, low: float, high: float) -> tuple[np.ndarray, ...]:
    """t [G], then cross-entropy and share of mistakes of the query set [G], adapted from theta + t d."""
    t = torch.linspace(low, high, POINTS, dtype=torch.float64)
    model, params, task = adapt_from(way, steps, draw, t)
    with torch.no_grad():
        outputs = predict(model, params, task.query_x)  # [G, N, 2]
        return (
            t.numpy(),
            cross_entropy(outputs, task.query_y).numpy(),
            1 - accuracy(outputs, task.query_y).numpy(),
        )


@lru_cache(maxsize=64)
def here(way: str, steps: int, draw: int, at: float) -> dict:
    """Cross-entropy at one t, its slope by autograd, the mistakes and the line between the classes."""
    t = torch.tensor([at], dtype=torch.float64, requires_grad=True)
    model, params, task = adapt_from(way, steps, draw, t)
    outputs = predict(model, params, task.query_x)  # [1, N, 2]
    loss = cross_entropy(outputs, task.query_y)[0]
    axis = torch.linspace(-EDGE, EDGE, 41, dtype=torch.float64)
    squares = torch.cartesian_prod(axis, axis).unsqueeze(0)  # [1, 41 * 41, 2], x varies slowest
    with torch.no_grad():
        logits = predict(model, params, squares)[0]  # [41 * 41, 2]
    margin = (logits[:, 1] - logits[:, 0]).view(41, 41).T.numpy()
    return {
        "loss": loss.item(),
        "slope": torch.autograd.grad(loss, t)[0].item(),
        "mistakes": (outputs.argmax(-1) != task.query_y)[0].numpy(),  # [N]
        "boundary": contour_generator(axis.numpy(), axis.numpy(), margin).lines(0.0),
    }


def compute(values: SimpleNamespace) -> dict:
    """Both losses along the visible part of the line, and everything at ``values.t``."""
    setting = (values.way, values.steps, values.new_task)
    half = REACH / values.zoom
    centre = 0.0 if values.zoom == 1 else values.t
    t, smooth, mistakes = losses_along(*setting, centre - half, centre + half)
    batch = two_clouds(values.new_task)
    return here(*setting, values.t) | {
        "line": t,
        "cross_entropy": smooth,
        "error": mistakes,
        "limits": (centre - half, centre + half),
        "support": by_class(batch.support_x[0], batch.support_y[0]),
        "query": by_class(batch.query_x[0], batch.query_y[0]),
        "query_x": batch.query_x[0],  # [N, 2]
    }


def by_class(x: Tensor, labels: Tensor) -> list[Tensor]:
    return [x[labels == label] for label in range(len(LOOKS))]


def picture(fig, show) -> None:
    left, cells = fig.add_gridspec(1, 2, width_ratios=(1, 1.25))
    points = fig.add_subplot(left)
    points.set(xlim=(-EDGE, EDGE), ylim=(-EDGE, EDGE), ylabel="second input")
    points.set_xlabel("first input\n(filled: support, open: query, ×: wrong)")
    show.paths(points, "boundary", colors=plots.BLACK, linewidths=2)
    for label, (color, marker) in enumerate(LOOKS):
        look = {"color": color, "marker": marker}
        show.points(points, lambda d, label=label: d.support[label], **look, markersize=8)
        show.points(points, lambda d, label=label: d.query[label], **look, markerfacecolor="white")
    look = {"color": plots.BLACK, "marker": "x", "markersize": 8, "markeredgewidth": 1.5}
    show.points(points, lambda d: d.query_x[d.mistakes], **look)
    show.title(points, lambda d: f"{d.mistakes.sum()} of {2 * QUERIES} queries wrong after k = {d.steps}")

    upper, lower = (fig.add_subplot(cell) for cell in cells.subgridspec(2, 1))
    upper.set(ylabel="cross-entropy")
    lower.set(ylabel="share of mistakes", xlabel=r"$t$ in initial weights $\theta + t\,d$", ylim=(-0.05, 1.05))
    show.line(upper, "line", "cross_entropy", color=plots.BLUE, linestyle="-")
    show.line(lower, "line", "error", color=plots.INK, linestyle="-", drawstyle="steps-mid")
    top = lambda d: max(1.6, plots.nice_ceiling(float(d.cross_entropy.max())))
    near = lambda d: (0.0, top(d)) if d.zoom == 1 else (d.loss - 0.6 / d.zoom, d.loss + 0.6 / d.zoom)
    show.limits(upper, x=lambda d: d.limits, y=near)
    show.limits(lower, x=lambda d: d.limits)
    share = lambda d: float(d.mistakes.mean())
    for axes, value, slope in ((upper, lambda d: d.loss, lambda d: d.slope), (lower, share, lambda d: 0.0)):
        way = lambda d: 0.35 * (d.limits[1] - d.limits[0]) * np.array([-1, 1])
        tangent = lambda d, value=value, slope=slope, way=way: value(d) + slope(d) * way(d)
        look = {"color": plots.ORANGE, "linestyle": "--", "linewidth": 1.8}
        show.line(axes, lambda d, way=way: d.t + way(d), tangent, **look)
        show.points(axes, "t", value, **plots.HERE)
    show.title(upper, lambda d: f"Cross-entropy {d.loss:.3f}: slope {d.slope:+.3f}")
    show.title(lower, lambda d: f"0/1 error {share(d):.3f}: level, slope 0")


def words(d) -> str:
    return (
        f"Initial weights at t = {d.t:.2f}, adapted in {several(d.steps, 'step')}: {d.mistakes.sum()} of {2 * QUERIES} "
        f"query points are wrong, a share that moves in steps and has slope 0; the cross-entropy is {d.loss:.3f}, a "
        f"smooth curve with slope {d.slope:+.3f}. Magnified {d.zoom} times."
    )


demo = declare(
    "Two losses along a line of initial weights",
    [
        Slider("t", -REACH, REACH, 0.0, "place on the line t", step=0.02),
        Notches("zoom", [1, 4, 16, 64, 256, 1024], 1, "magnify"),
        Slider("steps", 0, 10, 1, "inner steps k"),
        Choice("way", WAYS, "downhill", "the line goes"),
        Button("new_task", "another task"),
    ],
    compute,
    picture,
    words,
    size=(9.2, 4.5),
    views={
        "a staircase and a slope": {},
        "magnified 16 times": {"zoom": 16},
        "magnified: level and straight": {"zoom": 1024},
        "after five inner steps": {"steps": 5},
    },
)
