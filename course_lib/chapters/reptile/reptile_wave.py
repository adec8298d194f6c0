"""Reptile on the two-parameter wave: inner loops that walk to their own solutions, and the way between them.

Everything is computed live. The wave and its tasks are those of ``kit.two_parameters``; the inner loops here are the
library's, with the gradient written out, since where Reptile rests takes thousands of their steps.
"""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import numpy as np

from course_lib.kit import plots
from course_lib.kit import two_parameters as plane
from course_lib.kit.demo import Button, Notches, Slider, declare
from course_lib.kit.words import several
from course_lib.tasks import TaskBatch

STEPS = (1, 2, 5, 10, 20, 50, 100)  # k
NUM_TASKS, POINTS, OUTER_STEPS = 4, 20, 60
SETTLED = 1e-6  # an outer step shorter than this has come to rest
GRID = np.linspace(-5, 5, 101)
COLORS = (plots.GREEN, plots.PINK, plots.BLUE, plots.VIOLET)
REPTILE, JOINT = plots.METHODS["reptile"]["color"], plots.METHODS["pretrained"]["color"]


@lru_cache(maxsize=64)
def tasks(draw: int) -> TaskBatch:
    return plane.sample(NUM_TASKS, seed=40 + draw, shots=POINTS)


def stars(draw: int) -> np.ndarray:
    """The theta that solves each task [T, 2]."""
    info = tasks(draw).info
    return np.stack([info["phase"], info["amplitude"]], 1)


def inner_loops(theta: np.ndarray, steps: int, inner_lr: float, draw: int) -> np.ndarray:
    """k steps of gradient descent from ``theta`` [2] on every task's support set: their paths [k + 1, T, 2]."""
    x, y = (part[..., 0].numpy() for part in (tasks(draw).support_x, tasks(draw).support_y))  # [T, S]
    phase, amplitude = (np.full((NUM_TASKS, 1), value) for value in theta)
    path = [np.hstack([phase, amplitude])]
    for _ in range(steps):
        error = amplitude * np.sin(x - phase) - y  # [T, S]
        by_phase = -2 * (error * amplitude * np.cos(x - phase)).mean(1, keepdims=True)  # [T, 1]
        by_amplitude = 2 * (error * np.sin(x - phase)).mean(1, keepdims=True)
        phase, amplitude = phase - inner_lr * by_phase, amplitude - inner_lr * by_amplitude
        path.append(np.hstack([phase, amplitude]))
    return np.stack(path)


@lru_cache(maxsize=512)
def rest(steps: int, inner_lr: float, draw: int, start: tuple[float, float] = plane.START) -> tuple[float, float]:
    """Where Reptile comes to rest: outer steps of epsilon = 1 until they are shorter than SETTLED."""
    theta = np.array(start)
    for _ in range(20_000 // steps):
        move = inner_loops(theta, steps, inner_lr, draw)[-1].mean(0) - theta
        theta = theta + move
        if np.linalg.norm(move) < SETTLED:
            break
    return tuple(theta)


def outer_path(steps: int, inner_lr: float, epsilon: float, outer_steps: int, draw: int, start=plane.START):
    """theta before, and after each outer step [outer_steps + 1, 2]."""
    path = [np.array(start)]
    for _ in range(outer_steps):
        end = inner_loops(path[-1], steps, inner_lr, draw)[-1].mean(0)  # [2], the mean over tasks
        path.append(path[-1] + epsilon * (end - path[-1]))
    return np.stack(path)


def compute(values: SimpleNamespace) -> dict:
    """The outer path so far, the inner paths from its end, and where this k and k = 1 come to rest."""
    settings = (values.inner_lr, values.new_tasks)
    path = outer_path(values.steps, values.inner_lr, values.epsilon, values.outer, values.new_tasks, values.theta)
    inner = inner_loops(path[-1], values.steps, *settings)  # [k + 1, T, 2]
    return {
        "stars": stars(values.new_tasks),
        "middle": stars(values.new_tasks).mean(0),
        "path": path,
        "inner": inner,
        "next": np.stack([path[-1], path[-1] + values.epsilon * (inner[-1].mean(0) - path[-1])]),
        "rest": np.array(rest(values.steps, *settings, values.theta)),
        "joint": np.array(rest(1, *settings, values.theta)),
    }


def curve(theta: np.ndarray) -> np.ndarray:
    return theta[1] * np.sin(GRID - theta[0])


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2, width_ratios=(1.5, 1))
    left.set(xlim=plane.PHASE_RANGE, ylim=plane.AMPLITUDE_RANGE, xlabel="phase", ylabel="amplitude")
    right.set(xlim=(-5, 5), ylim=(-3.4, 3.4), xlabel="x", ylabel="y")
    for i, color in enumerate(COLORS):
        show.line(left, lambda d, i=i: d.inner[:, i], color=color, linestyle="-", linewidth=1.1, marker=".")
        star = {"marker": "*", "color": color, "markersize": 14, "markeredgecolor": "white"}
        show.points(left, lambda d, i=i: d.stars[i], **star)
        show.line(right, GRID, lambda d, i=i: curve(d.stars[i]), color=color, linestyle="-", linewidth=0.9, alpha=0.7)
    plots.name_region(left, 0.98, 0.04, "a star solves a task", ha="right")
    show.line(left, "path", color=plots.BLACK, linestyle="-", linewidth=1.5, marker="o", markersize=3, pin=True)
    show.line(left, "next", color=plots.ORANGE, linestyle="-", linewidth=4, zorder=4)
    for place, text, look in (
        ("middle", "middle of the stars", {"marker": "+", "color": plots.INK, "markeredgewidth": 2}),
        ("joint", "joint training rests", {"marker": "P", "color": JOINT, "markeredgecolor": "white"}),
        ("rest", "Reptile rests", {"marker": "D", "color": REPTILE, "markeredgecolor": "black"}),
    ):
        show.points(left, place, **look, markersize=10, zorder=5, label=text)
    left.legend(loc="lower left", frameon=False)  # where no task is: beside the points the inner loops cross the words
    for place, color, dash in (("joint", JOINT, "--"), ("rest", REPTILE, "-")):
        show.line(right, GRID, lambda d, place=place: curve(d[place]), color=color, linestyle=dash, linewidth=3)
    right.text(0.02, 0.95, "thick: Reptile; dashed: joint", transform=right.transAxes, fontsize=9)
    show.handle(left, "theta", moves="theta", label="theta before the first outer step", color=plots.BLACK)
    beside = lambda d: np.add(d.theta, (0, -0.14))
    show.text(left, beside, None, r"drag $\theta$", fontsize=9, ha="center", va="top", clip_on=True)
    show.title(left, lambda d: f"k = {d.steps}: it rests {gap(d):.2f} from the middle of the stars")
    show.title(right, lambda d: f"At rest: {d.rest[1]:.2f} high, joint {d.joint[1]:.2f}")


def gap(d) -> float:
    return float(np.linalg.norm(d.rest - d.middle))


def words(d) -> str:
    return (
        f"{NUM_TASKS} waves in the plane of phase and amplitude, each solved by its star. After "
        f"{several(d.outer, 'outer step')} of Reptile, k = {d.steps}, alpha = {d.inner_lr:.2g}, theta is at "
        f"({d.path[-1][0]:.2f}, {d.path[-1][1]:.2f}). It comes to rest at ({d.rest[0]:.2f}, {d.rest[1]:.2f}), "
        f"{gap(d):.2f} from the middle of the stars at ({d.middle[0]:.2f}, {d.middle[1]:.2f}); joint training "
        f"rests at ({d.joint[0]:.2f}, {d.joint[1]:.2f})."
    )


demo = declare(
    "Walk, look back, go part of the way",
    [
        Notches("steps", STEPS, 20, "inner steps k"),
        Slider("outer", 0, OUTER_STEPS, 1, "outer steps"),
        Slider("inner_lr", 0.02, 0.2, 0.1, "inner rate \N{GREEK SMALL LETTER ALPHA}", step=0.02),
        Slider("epsilon", 0.1, 1.0, 0.5, "outer rate \N{GREEK SMALL LETTER EPSILON}", step=0.1),
        Button("new_tasks", "other tasks"),
        plane.start_point(),
    ],
    compute,
    picture,
    words,
    size=(9.8, 4.8),
    play="outer",
    views={
        "twenty inner steps": {},
        "at rest": {"outer": 40},
        "one inner step: joint training": {"steps": 1, "outer": 60},
        "a hundred inner steps": {"steps": 100, "outer": 10},
    },
)
