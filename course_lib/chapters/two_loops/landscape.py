"""What the outer loop descends: the query loss after the inner loop, as a landscape over the initial weights.

    F_k(theta) = mean_i L_i(theta'_i; query),   theta'_i = k steps from theta on task i's support set

on the two-parameter problem of ``two_loops_plane``, with the path that each method takes through it. All
live: every point of the plane is an initialisation, and all of them are adapted to all tasks in one batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import torch
from contourpy import contour_generator
from matplotlib.collections import LineCollection
from matplotlib.colors import BoundaryNorm
from matplotlib.patheffects import withStroke
from torch import Tensor

from course_lib.chapters.two_loops import two_parameters as plane
from course_lib.inner_loop import adapt, predict
from course_lib.kit import plots
from course_lib.kit.first_edition import Button, Demo, Slider
from course_lib.losses import mse

NUM_TASKS, OUTER_STEPS = 12, 40  # tasks, the same at every outer step
SIZE = 41  # points of the landscape a side
LEVELS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.2, 1.6, 2.4, 3.2)  # of its contours, mean squared error
HIGHEST = 4.0  # where its shades end
FRAME = 4  # outer steps between two pictures
LOOKS = {
    "maml": (plots.BLUE, "o"),
    "fomaml": (plots.SKY, "^"),
    "reptile": (plots.AMBER, "s"),
    "union": (plots.PINK, "D"),
}


@lru_cache(maxsize=8)
def tasks(draw: int):
    return plane.sample(NUM_TASKS, seed=502 + draw)


def query_loss(points: Tensor, steps: int, inner_lr: float, draw: int) -> np.ndarray:
    """F_k at some points of the plane: [G, 2] -> [G]."""
    batch, count = tasks(draw), len(points)
    every = batch[torch.arange(NUM_TASKS).repeat(count)]  # [G * T] tasks
    start = plane.at_points(points.repeat_interleave(NUM_TASKS, 0).requires_grad_())
    options = {"loss_fn": mse, "steps": steps, "lr": inner_lr, "second_order": False}
    adapted = adapt(plane.wave(), start, every.support_x, every.support_y, **options)
    with torch.no_grad():
        losses = mse(predict(plane.wave(), adapted, every.query_x), every.query_y)  # [G * T]
    return losses.view(count, NUM_TASKS).mean(1).numpy()


@lru_cache(maxsize=64)
def landscape(steps: int, inner_lr: float, draw: int) -> np.ndarray:
    """F_k all over the plane [SIZE, SIZE], amplitude by amplitude."""
    return query_loss(plane.grid(SIZE)[2], steps, inner_lr, draw).reshape(SIZE, SIZE)


@lru_cache(maxsize=20_000)
def outer_step(
    theta: tuple[float, float], method: str, steps: int, inner_lr: float, outer_lr: float, draw: int
):
    """Where one outer step on all tasks leads from ``theta``."""
    way = plane.direction(method, plane.wave(*theta), tasks(draw), steps, inner_lr)
    return tuple((torch.tensor(theta, dtype=torch.float64) - outer_lr * way).tolist())


def descents(steps: int, inner_lr: float, outer_lr: float, draw: int) -> Iterator[dict[str, np.ndarray]]:
    """The paths {method: [n + 1, 2]} of all methods after n = 0, FRAME, 2 FRAME, ... outer steps."""
    paths = {method: [plane.START] for method in plane.METHODS}
    for count in range(OUTER_STEPS + 1):
        if count % FRAME == 0:
            yield {method: np.array(path) for method, path in paths.items()}
        for method, path in paths.items():
            path.append(outer_step(path[-1], method, steps, inner_lr, outer_lr, draw))


def compute(values: SimpleNamespace) -> Iterator[dict]:
    """The landscape, and every method's path through it as it grows, with F_k along each."""
    settings = (values.steps, values.inner_lr, values.new_tasks)
    info = tasks(values.new_tasks).info
    phases, amplitudes, _ = plane.grid(SIZE)
    lines = contour_generator(phases, amplitudes, landscape(*settings))
    fixed = {
        "steps": values.steps,
        "inner_lr": values.inner_lr,
        "landscape": landscape(*settings),
        "contours": [line for level in LEVELS for line in lines.lines(level)],
        "optima": torch.stack([info["phase"], info["amplitude"]]).numpy(),  # [2, T]
    }
    for paths in descents(values.steps, values.inner_lr, values.outer_lr, values.new_tasks):
        points = torch.from_numpy(np.concatenate(list(paths.values())))
        losses = query_loss(points, *settings).reshape(len(paths), -1)  # [methods, n + 1]
        yield fixed | {"paths": paths, "losses": dict(zip(paths, losses))}


def figure(fig) -> SimpleNamespace:
    left, right = fig.subplots(1, 2, width_ratios=(1.25, 1))
    left.set(xlabel="phase", ylabel="amplitude")
    extent = (*plane.PHASE_RANGE, *plane.AMPLITUDE_RANGE)
    shades = BoundaryNorm([0, *LEVELS, HIGHEST], 256, extend="max")  # as in a map: one between two contours
    look = {"cmap": "Greys", "norm": shades, "interpolation": "bilinear", "interpolation_stage": "data"}
    look |= {"origin": "lower", "extent": extent, "aspect": "auto", "alpha": 0.55}
    image = left.imshow(np.zeros((SIZE, SIZE)), **look)
    left.grid(False)
    contours = LineCollection([], colors=plots.GREY, linewidths=0.7)
    left.add_collection(contours, autolim=False)
    left.set(xlim=plane.PHASE_RANGE, ylim=plane.AMPLITUDE_RANGE)
    optima = left.plot(
        [], [], "*", color=plots.GREEN, markersize=10, markeredgecolor="white", label="optimum of a task"
    )[0]
    right.set(
        xlabel="outer step", ylabel=r"$F_k(\theta)$", xlim=(0, OUTER_STEPS), ylim=(0.03, 10), yscale="log"
    )
    paths, curves, ends = {}, {}, {}
    for method, (color, marker) in LOOKS.items():
        paths[method] = left.plot([], [], "-", color=color, linewidth=2.5)[0]
        paths[method].set_path_effects([withStroke(linewidth=4.5, foreground="white")])
        ends[method] = left.plot([], [], marker, color=color, markersize=10, markeredgecolor="white")[0]
        style = {"color": color, "marker": marker, "markevery": 5, "linestyle": "-"}
        curves[method] = right.plot([], [], **style, label=plane.METHODS[method])[0]
    start = left.plot(*plane.START, "o", color=plots.BLACK, markersize=8, zorder=6, label="start")[0]
    fig.legend(loc="outside lower center", ncols=6)
    titles = SimpleNamespace(left=left.set_title(" "), right=right.set_title(" "))
    return SimpleNamespace(
        image=image,
        contours=contours,
        optima=optima,
        paths=paths,
        ends=ends,
        start=start,
        curves=curves,
        titles=titles,
    )


def draw(artists: SimpleNamespace, data: dict) -> None:
    artists.image.set_data(data["landscape"])
    artists.contours.set_segments(data["contours"])
    artists.optima.set_data(*data["optima"])
    for method, path in data["paths"].items():
        artists.paths[method].set_data(*path.T)
        artists.ends[method].set_data(*path[-1][:, None])
        artists.curves[method].set_data(range(len(path)), data["losses"][method])
    k = data["steps"]
    artists.titles.left.set_text(
        f"Query loss after k = {k} step{'s' * (k > 1)} from here"
        if k
        else "Query loss, nothing adapts (k = 0)"
    )
    last = {plane.METHODS[m]: losses[-1] for m, losses in data["losses"].items()}
    artists.titles.right.set_text(
        f"Now: MAML {last['MAML']:.2f}, union of tasks {last['union of tasks']:.2f}"
    )


def alt(data: dict) -> str:
    count = len(data["paths"]["maml"]) - 1
    ends = [
        f"{plane.METHODS[m]} at ({p[-1][0]:.2f}, {p[-1][1]:.2f}) with {data['losses'][m][-1]:.2f}"
        for m, p in data["paths"].items()
    ]
    return (
        f"The mean query loss of {NUM_TASKS} tasks after k = {data['steps']} steps of rate "
        f"{data['inner_lr']:.2g} over the "
        f"plane of initial weights (phase, amplitude); its lowest point on the grid is "
        f"{data['landscape'].min():.2f}. "
        f"After {count} outer steps: {'; '.join(ends)}."
    )


def demo() -> Demo:
    """The demo of notebook 02; its default view has one inner step, where the methods part most."""
    return Demo(
        "What the outer loop descends",
        controls=[
            Slider("steps", 0, 5, 1, "inner steps k"),
            *plane.rate_sliders(highest_inner=0.3, highest_outer=0.6, outer=0.3),
            Button("new_tasks", "other tasks"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(9.6, 4.8),
    )
