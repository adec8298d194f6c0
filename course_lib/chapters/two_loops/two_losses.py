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
from matplotlib.collections import LineCollection
from torch import Tensor

from course_lib.algorithms import MAML
from course_lib.analysis.curvature import random_like
from course_lib.inner_loop import Params, predict, stack_params
from course_lib.kit import plots
from course_lib.kit.first_edition import Button, Choice, Demo, Notches, Slider
from course_lib.losses import accuracy, cross_entropy
from course_lib.models import MLP
from course_lib.tasks import TaskBatch

SHOTS, QUERIES, INNER_LR = 5, 20, 0.5  # points of each of the two classes; rate for a mean cross-entropy
REACH, POINTS = 3.0, 241  # half width of the line in units of weight, points on it
EDGE = 3.2  # of the square in which the points are drawn
LOOKS = ((plots.BLUE, "o"), (plots.ORANGE, "s"))  # of the two classes
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
    start = {
        name: p.detach() + t.view(-1, *[1] * direction[name].ndim) * direction[name]
        for name, p in start.items()
    }
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
        "t": t,
        "cross_entropy": smooth,
        "error": mistakes,
        "at": values.t,
        "zoom": values.zoom,
        "limits": (centre - half, centre + half),
        "steps": values.steps,
        "support": batch.support_x[0].numpy(),
        "support_y": batch.support_y[0].numpy(),
        "query": batch.query_x[0].numpy(),
        "query_y": batch.query_y[0].numpy(),
    }


def figure(fig) -> SimpleNamespace:
    left, right = fig.add_gridspec(1, 2, width_ratios=(1, 1.25))
    points = fig.add_subplot(left)
    points.set(xlim=(-EDGE, EDGE), ylim=(-EDGE, EDGE), xlabel="first input", ylabel="second input")
    boundary = LineCollection([], colors=plots.BLACK, linewidths=2)
    points.add_collection(boundary, autolim=False)
    points.plot([], [], color=plots.BLACK, linestyle="-", label="boundary after k steps")
    clouds = []
    for label, (color, marker) in enumerate(LOOKS):
        support = points.plot([], [], marker, color=color, linestyle="none", markersize=8)[0]
        query = points.plot(
            [], [], marker, color=color, markerfacecolor="white", linestyle="none", markersize=6
        )[0]
        clouds.append((support, query))
    points.plot([], [], "o", color=plots.GREY, markersize=8, label="support")
    points.plot([], [], "o", color=plots.GREY, markerfacecolor="white", label="query")
    wrong = points.plot([], [], "x", color=plots.BLACK, markersize=8, markeredgewidth=1.5, label="a mistake")[
        0
    ]
    upper, lower = (fig.add_subplot(cell) for cell in right.subgridspec(2, 1))
    upper.set(ylabel="cross-entropy")
    lower.set(
        ylabel="share of mistakes", xlabel=r"$t$ in initial weights $\theta + t\,d$", ylim=(-0.05, 1.05)
    )
    smooth = upper.plot([], [], color=plots.BLUE, linestyle="-")[0]
    stairs = lower.plot([], [], color=plots.ORANGE, linestyle="-", drawstyle="steps-mid")[0]
    tangents = [
        axes.plot([], [], color=plots.BLACK, linestyle="--", linewidth=1.5)[0] for axes in (upper, lower)
    ]
    upper.plot([], [], color=plots.BLACK, linestyle="--", linewidth=1.5, label="slope at t")
    dots = [axes.plot([], [], "o", color=plots.BLACK, markersize=8)[0] for axes in (upper, lower)]
    fig.legend(loc="outside lower center", ncols=5)
    titles = SimpleNamespace(
        points=points.set_title(" "), upper=upper.set_title(" "), lower=lower.set_title(" ")
    )
    return SimpleNamespace(
        axes=(upper, lower),
        boundary=boundary,
        clouds=clouds,
        wrong=wrong,
        smooth=smooth,
        stairs=stairs,
        tangents=tangents,
        dots=dots,
        titles=titles,
    )


def draw(artists: SimpleNamespace, data: dict) -> None:
    artists.boundary.set_segments(data["boundary"])
    for label, (support, query) in enumerate(artists.clouds):
        support.set_data(*data["support"][data["support_y"] == label].T)
        query.set_data(*data["query"][data["query_y"] == label].T)
    artists.wrong.set_data(*data["query"][data["mistakes"]].T)
    artists.smooth.set_data(data["t"], data["cross_entropy"])
    artists.stairs.set_data(data["t"], data["error"])
    share = float(data["mistakes"].mean())
    half = 0.35 * (data["limits"][1] - data["limits"][0])
    for tangent, dot, value, slope in zip(
        artists.tangents, artists.dots, (data["loss"], share), (data["slope"], 0)
    ):
        ends = data["at"] - half, data["at"] + half
        tangent.set_data(ends, [value + slope * (end - data["at"]) for end in ends])
        dot.set_data([data["at"]], [value])
    upper, lower = artists.axes
    zoomed = (data["loss"] - 0.6 / data["zoom"], data["loss"] + 0.6 / data["zoom"])
    top = max(1.6, plots.nice_ceiling(float(data["cross_entropy"].max())))
    plots.set_limits(upper, data["limits"], (0.0, top) if data["zoom"] == 1 else zoomed)
    plots.set_limits(lower, data["limits"])
    artists.titles.points.set_text(
        f"After k = {data['steps']}: {data['mistakes'].sum()} of {2 * QUERIES} queries wrong"
    )
    artists.titles.upper.set_text(f"Cross-entropy {data['loss']:.3f}, slope {data['slope']:+.3f}")
    artists.titles.lower.set_text(f"0/1 error {share:.3f}, slope 0")


def alt(data: dict) -> str:
    return (
        f"Initial weights at t = {data['at']:.2f}, adapted in {data['steps']} steps: "
        f"{data['mistakes'].sum()} of "
        f"{2 * QUERIES} query points are wrong, a share that moves in steps and has slope 0; the "
        f"cross-entropy is "
        f"{data['loss']:.3f}, a smooth curve with slope {data['slope']:+.3f}. Magnified {data['zoom']} times."
    )


def demo() -> Demo:
    """The demo of notebook 02; its default view has the whole line, where the stairs are seen."""
    return Demo(
        "Two losses along a line of initial weights",
        controls=[
            Slider("t", -REACH, REACH, 0.0, "place on the line t", step=0.02),
            Notches("zoom", [1, 4, 16, 64, 256, 1024], 1, "magnify"),
            Slider("steps", 0, 10, 1, "inner steps k"),
            Choice("way", {text: name for name, text in WAYS.items()}, "downhill", "the line goes"),
            Button("new_task", "another task"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(9.4, 5.0),
    )
