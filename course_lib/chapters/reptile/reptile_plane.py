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
from collections import OrderedDict
from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from course_lib.kit import plots
from course_lib.kit.demo import Button, Demo, Notches, Slider
from course_lib.tasks import TaskBatch

STEPS = (1, 2, 3, 5, 10, 20, 50, 100)  # k
LENGTHS = np.array([1.0, 0.55, 0.35])  # |x_i|: the first task is steep, the last one flat
START = (-2.9, -1.2)  # theta before the first outer step
X_LIMITS, Y_LIMITS = (-3.2, 3.4), (-2.6, 2.9)
COLORS = (plots.BLUE, plots.GREEN, plots.AMBER)
NAMES = ("steep task", "middling task", "flat task")


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
    return np.linalg.solve((n.T * weights) @ n, (n.T * weights) @ d)


def inner_ends(theta: np.ndarray, weights: np.ndarray, seed: int) -> np.ndarray:
    """Where inner loops that go ``weights`` of their way end [3, 2]; theta [2]."""
    n, d = lines(seed)
    return theta - (weights * (n @ theta - d))[:, None] * n


def outer_path(steps: int, inner_lr: float, epsilon: float, outer_steps: int, seed: int) -> np.ndarray:
    """theta before, and after each outer step [outer_steps + 1, 2]."""
    weights, path = reptile_weights(steps, inner_lr), [np.array(START)]
    for _ in range(outer_steps):
        path.append(path[-1] + epsilon * (inner_ends(path[-1], weights, seed).mean(0) - path[-1]))
    return np.stack(path)


def as_network(theta: np.ndarray, seed: int) -> tuple[nn.Sequential, TaskBatch]:
    """The same model and tasks for the library's learners, in float64."""
    head = nn.Linear(2, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        head.weight.copy_(torch.as_tensor(theta)[None])
    n, d = lines(seed)
    x = torch.tensor(n * LENGTHS[:, None])[:, None]  # [3, 1, 2]
    y = torch.tensor(d * LENGTHS)[:, None, None]  # [3, 1, 1]
    return nn.Sequential(OrderedDict(features=nn.Identity(), head=head)), TaskBatch(x, y, x, y)


def compute(values: SimpleNamespace) -> dict:
    """The outer path so far, the inner paths from its end, the places of rest, and weights against k."""
    k, rate, seed = values.steps, values.inner_lr, values.new_tasks
    path = outer_path(k, rate, values.epsilon, values.outer, seed)
    inner = np.stack([inner_ends(path[-1], reptile_weights(i, rate), seed) for i in range(k + 1)])
    shares = lambda weights: weights / weights.sum()
    return {
        "steps": k,
        "inner_lr": rate,
        "outer": values.outer,
        "lines": lines(seed),
        "path": path,
        "inner": inner,  # [k + 1, 3, 2]
        "next": path[-1] + values.epsilon * (inner[-1].mean(0) - path[-1]),
        "rest": rest(reptile_weights(k, rate), seed),
        "joint": rest(reptile_weights(1, rate), seed),
        "nearest": rest(np.ones(3), seed),
        "maml": rest(maml_weights(k, rate), seed),
        "shares": np.stack([shares(reptile_weights(i, rate)) for i in STEPS]),  # [K, 3]
        "now": shares(reptile_weights(k, rate)),
    }


def figure(fig) -> SimpleNamespace:
    left, right = fig.subplots(1, 2, width_ratios=(1.35, 1))
    left.set(xlim=X_LIMITS, ylim=Y_LIMITS, xlabel=r"$\theta_1$", ylabel=r"$\theta_2$", aspect="equal")
    right.set(xscale="log", xlim=(0.9, 115), ylim=(0, 1), xlabel="inner steps k")
    right.set_ylabel("share in Reptile's outer step")
    right.set_xticks([1, 10, 100], ["1", "10", "100"])
    right.axhline(1 / 3, **plots.REFERENCE)
    parts = SimpleNamespace(lines=[], inner=[], ends=[], shares=[], now=[])
    for name, color, dash, mark in zip(NAMES, COLORS, plots.DASHES, plots.MARKERS):
        parts.lines.append(left.plot([], [], color=color, linestyle=dash, linewidth=2.4, label=name)[0])
        parts.inner.append(left.plot([], [], ".-", color=color, linewidth=1.2, markersize=4)[0])
        parts.ends.append(left.plot([], [], mark, color=color, markersize=8, markeredgecolor="white")[0])
        parts.shares.append(right.plot([], [], color=color, linestyle=dash)[0])
        parts.now.append(right.plot([], [], mark, color=color, markersize=9, markeredgecolor="black")[0])
    mark = lambda shape, color, label, size=11: left.plot(
        [], [], shape, color=color, markersize=size, markeredgecolor="black", label=label, zorder=5
    )[0]
    parts.path = left.plot([], [], "o-", color=plots.BLACK, markersize=4, label=r"$\theta$, outer steps")[0]
    parts.step = left.plot([], [], color=plots.PINK, linewidth=4, label="next outer step", zorder=4)[0]
    parts.joint = mark("P", plots.GREY, "rest of joint training (k = 1)")
    parts.nearest = mark("*", "white", "nearest to all three lines", 16)
    parts.maml = mark("X", plots.SKY, "rest of MAML (this k)")
    parts.rest = mark("D", plots.ORANGE, "rest of Reptile (this k)", 8)
    parts.titles = (left.set_title(" "), right.set_title(" "))
    fig.legend(loc="outside lower center", ncols=3)
    return parts


def draw(artists: SimpleNamespace, data: dict) -> None:
    n, d = data["lines"]
    along = np.stack([-n[:, 1], n[:, 0]], 1)
    for i in range(3):
        ends = d[i] * n[i] + np.array([[-9], [9]]) * along[i]  # [2, 2]
        artists.lines[i].set_data(*ends.T)
        artists.inner[i].set_data(*data["inner"][:, i].T)
        artists.ends[i].set_data(*data["inner"][-1:, i].T)
        artists.shares[i].set_data(STEPS, data["shares"][:, i])
        artists.now[i].set_data([data["steps"]], [data["now"][i]])
    artists.path.set_data(*data["path"].T)
    artists.step.set_data(*np.stack([data["path"][-1], data["next"]]).T)
    for name in ("joint", "nearest", "maml", "rest"):
        getattr(artists, name).set_data(*data[name][:, None])
    far = math.dist(data["path"][-1], data["rest"])
    artists.titles[0].set_text(f"Outer step {data['outer']}: {far:.2f} from rest")
    shares = ", ".join(f"{share:.0%}" for share in data["now"])
    artists.titles[1].set_text(f"k = {data['steps']}: shares {shares}")


def alt(data: dict) -> str:
    shares = ", ".join(f"{name} {share:.0%}" for name, share in zip(NAMES, data["now"]))
    gap = {name: math.dist(data["rest"], data[name]) for name in ("joint", "nearest", "maml")}
    left = math.dist(data["path"][-1], data["rest"])
    return (
        f"Three lines in the plane, each the solutions of a task. After {data['outer']} outer steps of Reptile, "
        f"k = {data['steps']}, alpha = {data['inner_lr']:.2g}, theta is {left:.2f} from its place of rest. "
        f"Shares in the outer step: {shares}. That place is {gap['joint']:.2f} from that of joint training, "
        f"{gap['nearest']:.2f} from the point nearest to all lines and {gap['maml']:.2f} from MAML's."
    )


def demo() -> Demo:
    """The demo of notebook 08; in its default view twenty inner steps part Reptile from joint training."""
    return Demo(
        "Toward the solutions of all tasks",
        controls=[
            Notches("steps", STEPS, 20, "inner steps k"),
            Slider("outer", 0, 40, 1, "outer steps"),
            Slider("inner_lr", 0.05, 0.45, 0.2, "inner rate \N{GREEK SMALL LETTER ALPHA}", step=0.05),
            Slider("epsilon", 0.1, 1.0, 0.6, "outer rate \N{GREEK SMALL LETTER EPSILON}", step=0.1),
            Button("new_tasks", "other tasks"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(9.4, 5.4),
    )
