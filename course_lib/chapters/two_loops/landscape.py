"""What the outer loop descends: the query loss after the inner loop, as a landscape over the initial weights.

    F_k(theta) = mean_i L_i(theta'_i; query),   theta'_i = k steps from theta on task i's support set

on the two-parameter problem of ``two_parameters``, with the path that each method takes through it. All
live: every point of the plane is an initialisation, and all of them are adapted to all tasks in one batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import torch
from contourpy import contour_generator
from matplotlib.colors import BoundaryNorm
from matplotlib.patheffects import withStroke
from torch import Tensor

from course_lib.inner_loop import adapt, predict
from course_lib.kit import plots
from course_lib.kit import two_parameters as plane
from course_lib.kit.demo import Button, Several, Slider, declare
from course_lib.kit.words import several
from course_lib.losses import mse

NUM_TASKS, OUTER_STEPS = 12, 40  # tasks, the same at every outer step
SIZE = 41  # points of the landscape a side
LEVELS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.2, 1.6, 2.4, 3.2)  # of its contours, mean squared error
HIGHEST = 4.0  # where its shades end
FRAME = 4  # outer steps between two pictures
ROOM = 1.5  # right of the outer steps, for the words at the lines' ends: panels keep their place while lines grow
HALO = [withStroke(linewidth=4.5, foreground="white")]


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


@lru_cache(maxsize=5_000)
def outer_step(places: tuple, steps: int, inner_lr: float, outer_lr: float, draw: int) -> tuple[tuple, tuple]:
    """F_k at each method's place, and where its next outer step on all tasks leads: four of each."""
    thetas = torch.tensor(places, dtype=torch.float64)  # [4, 2]
    ways, losses = plane.directions(thetas, tasks(draw), steps, inner_lr)
    return tuple(losses.tolist()), tuple(map(tuple, (thetas - outer_lr * ways).tolist()))


def descents(
    start: tuple[float, float], steps: int, inner_lr: float, outer_lr: float, draw: int
) -> Iterator[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]:
    """All methods' paths {method: [n + 1, 2]}, and F_k along each, after n = 0, FRAME, 2 FRAME, ... outer steps."""
    places, paths, losses = (start,) * len(plane.METHODS), [], []
    for count in range(OUTER_STEPS + 1):
        paths.append(places)
        here, places = outer_step(places, steps, inner_lr, outer_lr, draw)
        losses.append(here)
        if count % FRAME == 0:
            each = np.array(paths).swapaxes(0, 1), np.array(losses).T  # [4, n + 1, 2], [4, n + 1]
            yield tuple(dict(zip(plane.METHODS, values)) for values in each)


def compute(values: SimpleNamespace) -> Iterator[dict]:
    """The landscape, and every method's path through it as it grows, with F_k along each."""
    settings = (values.steps, values.inner_lr, values.new_tasks)
    info = tasks(values.new_tasks).info
    phases, amplitudes, _ = plane.grid(SIZE)
    lines = contour_generator(phases, amplitudes, landscape(*settings))
    heights = landscape(*settings)
    low = int(heights.argmin())
    fixed = {
        "landscape": heights,
        "contours": [line for level in LEVELS for line in lines.lines(level)],
        "optima": torch.stack([info["phase"], info["amplitude"]], 1).numpy(),  # [T, 2]
        "lowest": float(heights.min()),
        "bottom": (phases[low % SIZE], amplitudes[low // SIZE]),
    }
    for paths, losses in descents(values.theta, values.steps, values.inner_lr, values.outer_lr, values.new_tasks):
        yield fixed | {"paths": paths, "losses": losses}


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2, width_ratios=(1.35, 1))
    left.set(xlabel="phase", ylabel="amplitude")
    extent = (*plane.PHASE_RANGE, *plane.AMPLITUDE_RANGE)
    shades = BoundaryNorm([0, *LEVELS, HIGHEST], 256, extend="max")  # as in a map: one between two contours
    look = {"cmap": "Purples", "norm": shades, "interpolation": "bilinear", "interpolation_stage": "data"}
    show.image(left, "landscape", **look, origin="lower", extent=extent, aspect="auto", alpha=0.5)
    left.grid(False)
    show.paths(left, "contours", colors=plots.VIOLET, linewidths=0.6, alpha=0.6)
    left.set(xlim=plane.PHASE_RANGE, ylim=plane.AMPLITUDE_RANGE)
    show.points(left, "optima", marker="*", color=plots.INK, markersize=10, markeredgecolor="white")
    plots.name_region(left, 0.98, 0.04, "dark is high; a star solves a task", ha="right", path_effects=HALO)
    show.points(left, lambda d: d.bottom, marker="+", color=plots.INK, markersize=13, markeredgewidth=2)
    beside = {"fontsize": 9, "ha": "center", "va": "top", "path_effects": HALO, "clip_on": True, "zorder": 6}
    show.text(left, lambda d: np.add(d.bottom, (0, 0.3)), None, "lowest", **beside)
    right.set(xlabel="outer step", ylabel=r"$F_k(\theta)$", xlim=(0, ROOM * OUTER_STEPS), yscale="log")
    right.set_xticks(range(0, OUTER_STEPS + 1, 10))
    right.set_yticks(
        [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10], ["0.05", "0.10", "0.20", "0.50", "1.00", "2.00", "5.00", "10.0"]
    )
    right.minorticks_off()
    show.limits(right, y=around)
    show.level(right, "lowest", xmax=1 / ROOM)
    under = {"fontsize": 9, "ha": "right", "va": "top", "color": plots.QUIET}
    show.text(right, OUTER_STEPS, lambda d: 0.9 * d.lowest, "lowest on a grid", **under)
    for method, name in plane.METHODS.items():
        look, shown = plots.METHODS[method], lambda d, method=method: method in d.methods
        path, losses = (lambda d, method=method: d.paths[method]), (lambda d, method=method: d.losses[method])
        show.line(
            left, path, color=look["color"], linestyle="-", linewidth=2.5, path_effects=HALO, shown=shown, pin=True
        )
        end = {"marker": look["marker"], "color": look["color"], "markeredgecolor": "white", "markersize": 10}
        show.points(left, lambda d, path=path: path(d)[-1], **end, zorder=5, shown=shown)
        steps = lambda d, losses=losses: np.arange(len(losses(d)))
        show.line(right, steps, losses, **look, markevery=5, shown=shown, end=name, clip_on=False)
    show.handle(left, "theta", moves="theta", label="start of theta", color=plots.BLACK)
    beside |= {"ha": "right", "va": "center"}
    show.text(left, lambda d: np.add(d.theta, (-0.12, 0)), None, r"drag $\theta$", **beside)
    show.title(left, lambda d: f"Query loss after k = {several(d.steps, 'step')} from here")
    show.title(right, lambda d: "Lowest now: {}, {:.2f}".format(*lowest(d)))


def around(d) -> tuple[float, float]:
    """Limits around all losses, in steps of a fifth of a decade, with room for words below."""
    low, high = 0.75 * d.lowest, 1.05 * max(map(max, d.losses.values()))
    return tuple(10 ** (round_to(5 * np.log10(end)) / 5) for round_to, end in ((np.floor, low), (np.ceil, high)))


def lowest(d) -> tuple[str, float]:
    best = min(d.losses, key=lambda method: d.losses[method][-1])
    return plane.METHODS[best], d.losses[best][-1]


def words(d) -> str:
    ends = [
        f"{name} at ({d.paths[m][-1][0]:.2f}, {d.paths[m][-1][1]:.2f}) with {d.losses[m][-1]:.2f}"
        for m, name in plane.METHODS.items()
    ]
    after = several(len(d.paths["maml"]) - 1, "outer step")
    return (
        f"The mean query loss of {NUM_TASKS} tasks after k = {several(d.steps, 'step')} of rate {d.inner_lr:.2g} over "
        f"the plane of initial weights (phase, amplitude); its lowest point on the grid is {d.lowest:.2f}. After "
        f"{after} from ({d.theta[0]:.2f}, {d.theta[1]:.2f}): {'; '.join(ends)}."
    )


demo = declare(
    "What the outer loop descends",
    [
        Slider("steps", 0, 5, 1, "inner steps k"),
        *plane.rate_sliders(highest_inner=0.3, highest_outer=0.6, outer=0.3),
        Several("methods", plane.METHODS, label="show"),
        Button("new_tasks", "other tasks"),
        plane.start_point(),
    ],
    compute,
    picture,
    words,
    size=(9.4, 4.6),
    views={
        "one inner step": {},
        "nothing adapts": {"steps": 0},
        "a wide valley": {"steps": 3},
        "MAML is caught by a wrinkle": {"steps": 5, "inner_lr": 0.3},
    },
)
