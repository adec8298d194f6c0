"""Adapting two numbers: a wave's phase and amplitude descend the loss of a few points, in a plane one can look at.

    f_theta(x) = amplitude * sin(x - phase),     theta = (phase, amplitude)

The steps are a function ``fine_tune(theta, x, y, steps, alpha) -> theta``; the reader's own serves as well as ours.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import torch
from matplotlib.colors import BoundaryNorm
from torch import Tensor

from course_lib.chapters.adapting import solutions
from course_lib.kit import plots
from course_lib.kit import two_parameters as plane
from course_lib.kit.demo import Button, Demo, Slider, declare
from course_lib.kit.words import several
from course_lib.tasks.sinusoid import X_RANGE

MOST_STEPS, SHOTS, QUERIES = 20, 10, 50
MIDDLE, CORNER = (1.57, 1.75), (0.0, 0.5)  # of the family: its mean phase and amplitude, and its least
LEVELS = (0.05, 0.2, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)  # of the contours, mean squared error
GRID = torch.linspace(*X_RANGE, 101, dtype=torch.float64)  # [G]

FineTune = Callable[[Tensor, Tensor, Tensor, int, float], Tensor]  # (theta [2], x [S], y [S], steps, alpha) -> theta


def task(draw: int) -> tuple[Tensor, ...]:
    """One wave of the family: its theta [2], support x and y [S], query x and y [Q]."""
    batch = plane.sample(1, seed=draw, shots=SHOTS, queries=QUERIES)
    theta = torch.stack([batch.info["phase"], batch.info["amplitude"]], 1)[0]
    return theta, *(part[0, :, 0] for part in (batch.support_x, batch.support_y, batch.query_x, batch.query_y))


def curve(theta: Tensor, x: Tensor) -> Tensor:
    return theta[1] * torch.sin(x - theta[0])


def descend(fine_tune: FineTune, theta: tuple[float, float], draw: int, steps: int, alpha: float) -> Tensor:
    """Where 0, 1, ..., ``steps`` steps lead from ``theta`` on the task of ``draw`` [steps + 1, 2]."""
    _, x, y, _, _ = task(draw)
    start = torch.tensor(theta, dtype=torch.float64)
    ends = [fine_tune(start.clone().requires_grad_(), x, y, k, alpha).detach() for k in range(steps + 1)]
    return torch.stack(ends)


def held_out(theta: Tensor, draw: int) -> float:
    """The mean squared error of a theta on the query points of a task."""
    *_, x, y = task(draw)
    return float((curve(theta, x) - y).square().mean())


def demo_of(fine_tune: FineTune) -> Callable[..., Demo]:
    """The demo with somebody's steps."""

    def compute(values: SimpleNamespace) -> dict:
        """The landscape of one task, the path through it, and the wave at both ends."""
        solved, x, y, _, _ = task(values.new_task)
        path = descend(fine_tune, values.theta, values.new_task, values.steps, values.inner_lr)
        columns = x[:, None], y[:, None]
        return {
            "landscape": plane.losses(*columns),
            "contours": plane.contours(*columns, LEVELS),
            "solved": solved,
            "path": path,
            "support": torch.stack([x, y], 1),
            "truth": curve(solved, GRID),
            "before": curve(path[0], GRID),
            "fit": curve(path[-1], GRID),
            "error": held_out(path[-1], values.new_task),
            "first": held_out(path[0], values.new_task),
        }

    return declare(
        "Two numbers learn a wave",
        [
            Slider("steps", 0, MOST_STEPS, 1, "inner steps k"),
            Slider("inner_lr", 0.02, 1.0, 0.2, "inner rate \N{GREEK SMALL LETTER ALPHA}", 0.02),
            plane.start_point(MIDDLE),
            Button("new_task", "another wave"),
        ],
        compute,
        picture,
        words,
        size=(9.4, 4.4),
        key="one_wave",
        may_diverge=("path", "fit", "error"),
        views={
            "one step": {"steps": 1},
            "ten steps": {"steps": 10},
            "from a corner": {"steps": 10, "theta": CORNER},
            "steps too long": {"steps": 10, "inner_lr": 0.9},
        },
    )


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2, width_ratios=(1.05, 1))
    left.set(xlabel="phase (dark: a high loss; star: the wave's own)", ylabel="amplitude")
    extent = (*plane.PHASE_RANGE, *plane.AMPLITUDE_RANGE)
    shades = BoundaryNorm([0, *LEVELS, 8.0], 256, extend="max")
    look = {"cmap": "Purples", "norm": shades, "interpolation": "bilinear", "interpolation_stage": "data"}
    show.image(left, "landscape", **look, origin="lower", extent=extent, aspect="auto", alpha=0.5)
    left.grid(False)
    show.paths(left, "contours", colors=plots.VIOLET, linewidths=0.6, alpha=0.6)
    left.set(xlim=plane.PHASE_RANGE, ylim=plane.AMPLITUDE_RANGE)
    show.points(left, lambda d: d.solved[None], marker="*", color=plots.INK, markersize=13, markeredgecolor="white")
    show.line(left, "path", color=plots.ORANGE, linestyle="-", marker=".", markersize=7, linewidth=1.6)
    show.points(left, lambda d: d.path[-1:], color=plots.ORANGE, markersize=9, markeredgecolor="white")
    show.handle(left, lambda d: d.path[:1], moves="theta", label="theta before the first step", color=plots.BLUE)
    show.title(left, lambda d: f"k = {several(d.steps, 'step')} on the loss of ten points")

    right.set(xlabel="x", ylabel="y", xlim=X_RANGE, ylim=(-4, 4))
    show.line(right, GRID, "truth", **plots.TRUTH, end="true wave")
    show.line(right, GRID, "before", color=plots.BLUE, linestyle=":", linewidth=1.4, end="before")
    show.line(right, GRID, "fit", color=plots.ORANGE, linestyle="-", linewidth=2.6, end="adapted", pin=True)
    show.points(right, "support", **plots.SUPPORT)
    show.title(right, lambda d: f"Held-out error {d.first:.2g} before, {ending(d)}")


def ending(d) -> str:
    return f"{d.error:.2g} after" if np.isfinite(d.error) else "then it diverges"


def words(d) -> str:
    (phase, amplitude), (right_phase, right_amplitude) = d.path[-1].tolist(), d.solved.tolist()
    return (
        f"From phase {d.theta[0]:.2f} and amplitude {d.theta[1]:.2f}, k = {several(d.steps, 'step')} of {d.inner_lr:g} "
        f"lead to phase {phase:.2f} and amplitude {amplitude:.2f}; the wave has {right_phase:.2f} and "
        f"{right_amplitude:.2f}. Held-out error {d.first:.2g} before, {ending(d)}."
    )


demo = demo_of(solutions.fine_tune)
