"""Reptile where all of it can be drawn: two parameters, three tasks, and a line of solutions for each.

The model is y = theta . x with theta in the plane. A task is ONE point (x_i, y_i), so that every theta on the
line theta . x_i = y_i solves it. With n_i = x_i / |x_i| and d_i = y_i / |x_i| an inner step on the squared
error leaves the part 1 - 2 alpha |x_i|^2 of theta's distance n_i . theta - d_i to the line, so that

    theta'_i = theta - w_i (n_i . theta - d_i) n_i,        w_i = 1 - (1 - 2 alpha |x_i|^2)^k

and Reptile comes to rest where sum_i w_i (n_i . theta - d_i) n_i = 0: at the least sum of squared distances,
weighted by w_i. k = 1 gives w_i = 2 alpha |x_i|^2, joint training; k to infinity gives 1, the point nearest to
all solutions (Reptile paper, arXiv 1803.02999, section 5.2). MAML, judged on the same point, weighs a task by
|x_i|^2 (1 - 2 alpha |x_i|^2)^(2k): what its inner loop solves anyway counts nothing.
"""

from __future__ import annotations

import math
from functools import lru_cache
from types import SimpleNamespace

import numpy as np
from matplotlib.lines import Line2D

from course_lib.kit import plots
from course_lib.kit.demo import Button, Notches, Point, Several, Slider, declare
from course_lib.kit.words import several

STEPS = (1, 2, 3, 5, 10, 20, 50, 100)  # k
LENGTHS = np.array([1.0, 0.55, 0.35])  # |x_i|: the first task is steep, the last one flat
START = (-2.9, -1.2)  # theta before the first outer step
X_LIMITS, Y_LIMITS = (-3.2, 3.4), (-2.6, 2.9)
COLORS = (plots.GREEN, plots.PINK, plots.BROWN)
NAMES = ("steep task", "middling task", "flat task")
RESTS = {
    "rest": "Reptile rests, this k",
    "joint": "joint training rests (k = 1)",
    "maml": "MAML rests, this k",
    "nearest": "nearest to all three lines",
}
LOOKS = {
    "rest": {"color": plots.METHODS["reptile"]["color"], "marker": "D", "markersize": 9},
    "joint": {"color": plots.GREY, "marker": "P", "markersize": 10},
    "maml": {"color": plots.METHODS["maml"]["color"], "marker": "X", "markersize": 10},
    "nearest": {"color": "white", "marker": "*", "markersize": 15},
}


@lru_cache(maxsize=16)
def lines(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Normals n [3, 2] and distances d [3] from the origin: three lines around a triangle."""
    wobble = np.random.default_rng(seed).uniform(-1, 1, (2, 3)) if seed else np.zeros((2, 3))
    angles = np.radians([100, 215, 340]) + 0.3 * wobble[0]
    return np.stack([np.cos(angles), np.sin(angles)], 1), np.array([0.9, 1.1, 1.2]) + 0.3 * wobble[1]


def reptile_weights(steps: int, inner_lr: float) -> np.ndarray:
    """w_i [3]: the part of its distance that each task's inner loop goes."""
    return 1 - (1 - 2 * inner_lr * LENGTHS**2) ** steps


def maml_weights(steps: int, inner_lr: float) -> np.ndarray:
    """What each task's squared distance counts for MAML [3]."""
    return LENGTHS**2 * (1 - 2 * inner_lr * LENGTHS**2) ** (2 * steps)


def rest(weights: np.ndarray, seed: int) -> np.ndarray:
    """theta [2] of the least sum of weighted squared distances to the lines."""
    n, d = lines(seed)
    root = np.sqrt(weights / weights.max())  # MAML's weights fall below 1e-30: then the heaviest tasks decide
    return np.linalg.lstsq(n * root[:, None], d * root)[0]


def inner_ends(theta: np.ndarray, weights: np.ndarray, seed: int) -> np.ndarray:
    """Where inner loops that go ``weights`` of their way end [3, 2]; theta [2]."""
    n, d = lines(seed)
    return theta - (weights * (n @ theta - d))[:, None] * n


def outer_path(steps: int, inner_lr: float, epsilon: float, outer_steps: int, seed: int, start=START) -> np.ndarray:
    """theta before, and after each outer step [outer_steps + 1, 2]."""
    weights, path = reptile_weights(steps, inner_lr), [np.array(start)]
    for _ in range(outer_steps):
        path.append(path[-1] + epsilon * (inner_ends(path[-1], weights, seed).mean(0) - path[-1]))
    return np.stack(path)


def compute(values: SimpleNamespace) -> dict:
    """The outer path so far, the inner paths from its end, the places of rest, and weights against k."""
    k, rate, seed = values.steps, values.inner_lr, values.new_tasks
    path = outer_path(k, rate, values.epsilon, values.outer, seed, values.theta)
    inner = np.stack([inner_ends(path[-1], reptile_weights(i, rate), seed) for i in range(k + 1)])
    shares = lambda weights: weights / weights.sum()
    n, d = lines(seed)
    along = np.stack([-n[:, 1], n[:, 0]], 1)
    return {
        "lines": (d[:, None] * n)[:, None] + np.array([[-9], [9]]) * along[:, None],  # ends [3, 2, 2]
        "path": path,
        "inner": inner,  # [k + 1, 3, 2]
        "next": np.stack([path[-1], path[-1] + values.epsilon * (inner[-1].mean(0) - path[-1])]),
        "rest": rest(reptile_weights(k, rate), seed),
        "joint": rest(reptile_weights(1, rate), seed),
        "nearest": rest(np.ones(3), seed),
        "maml": rest(maml_weights(k, rate), seed),
        "shares": np.stack([shares(reptile_weights(i, rate)) for i in STEPS]),  # [K, 3]
        "now": shares(reptile_weights(k, rate)),
    }


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2, width_ratios=(1.7, 1))
    left.set(xlim=X_LIMITS, ylim=Y_LIMITS, xlabel=r"$\theta_1$", ylabel=r"$\theta_2$", aspect="equal")
    right.set(xscale="log", xlim=(1, 100), ylim=(0, 1), xlabel="inner steps k")
    right.set_ylabel("share in Reptile's outer step")
    right.set_xticks([1, 10, 100], ["1", "10", "100"])
    show.level(right, 1 / 3, "one third each", at=0.02)
    for i, (name, color, dash, mark) in enumerate(zip(NAMES, COLORS, plots.DASHES, plots.MARKERS)):
        end = {"color": color, "marker": mark, "markersize": 8, "markeredgecolor": "white"}
        show.line(left, lambda d, i=i: d.lines[i], color=color, linestyle=dash, linewidth=2.4, alpha=0.8)
        show.line(left, lambda d, i=i: d.inner[:, i], color=color, linestyle="-", linewidth=1.2, marker=".")
        show.points(left, lambda d, i=i: d.inner[-1, i], **end)
        show.line(right, STEPS, lambda d, i=i: d.shares[:, i], color=color, linestyle=dash, end=name)
        show.points(right, "steps", lambda d, i=i: d.now[i], **end)
    show.line(left, "path", color=plots.BLACK, linestyle="-", marker="o", markersize=4, pin=True)
    show.line(left, "next", color=plots.ORANGE, linestyle="-", linewidth=4, zorder=4)
    keys = []  # beside the marks the words would cross lines
    for name, text in RESTS.items():
        shown = lambda d, name=name: name in d.rests
        look = LOOKS[name] | {"markeredgecolor": "black"}
        show.points(left, name, **look, zorder=5, shown=shown)
        keys.append(Line2D([], [], linestyle="none", **look, label=text))
    fig.legend(handles=keys, loc="outside lower left", ncols=2, frameon=False, fontsize=9)
    show.handle(left, "theta", moves="theta", label="theta before the first outer step", color=plots.BLACK)
    beside = lambda d: np.add(d.theta, (0.15, 0))
    show.text(left, beside, None, r"drag $\theta$", fontsize=9, va="top", clip_on=True)
    show.title(left, lambda d: f"Outer step {d.outer}: {gap(d, d.path[-1]):.2f} from where Reptile rests")
    show.title(right, lambda d: f"k = {d.steps}: " + ", ".join(f"{share:.0%}" for share in d.now))


def gap(d, point: np.ndarray) -> float:
    return math.dist(d.rest, point)


def words(d) -> str:
    shares = ", ".join(f"{name} {share:.0%}" for name, share in zip(NAMES, d.now))
    return (
        f"Three lines in the plane, each the solutions of a task. After {several(d.outer, 'outer step')} of Reptile, "
        f"k = {d.steps}, alpha = {d.inner_lr:.2g}, theta is {gap(d, d.path[-1]):.2f} from its place of rest. Shares in "
        f"the outer step: {shares}. That place is {gap(d, d.joint):.2f} from that of joint training, "
        f"{gap(d, d.nearest):.2f} from the point nearest to all lines and {gap(d, d.maml):.2f} from MAML's."
    )


demo = declare(
    "Toward the solutions of all tasks",
    [
        Notches("steps", STEPS, 20, "inner steps k"),
        Slider("outer", 0, 40, 1, "outer steps"),
        Slider("inner_lr", 0.05, 0.45, 0.2, "inner rate \N{GREEK SMALL LETTER ALPHA}", step=0.05),
        Slider("epsilon", 0.1, 1.0, 0.6, "outer rate \N{GREEK SMALL LETTER EPSILON}", step=0.1),
        Several("rests", RESTS, label="show where"),
        Button("new_tasks", "other tasks"),
        Point("theta", START, X_LIMITS, Y_LIMITS),
    ],
    compute,
    picture,
    words,
    size=(9.6, 5.0),
    views={
        "twenty inner steps": {},
        "one inner step: joint training": {"steps": 1, "outer": 10},
        "many steps: equal shares": {"steps": 100, "outer": 10},
    },
)
