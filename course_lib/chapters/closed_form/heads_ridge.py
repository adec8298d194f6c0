"""The ridge head on learnt features, lambda as a slider, and gradient descent on the same problem.

Live: a task's fit, the error over 100 tasks against lambda, and 10,000 steps of descent to the same head.
"""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from course_lib import checkpoints
from course_lib.algorithms.solvers import ridge_head
from course_lib.kit import plots
from course_lib.kit.first_edition import Button, Choice, Demo, Notches, Slider
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks, TaskBatch

BODIES = {"trained with a ridge head (R2D2)": "r2d2", "MAML": "maml_k1", "untrained": "random"}
SHOTS, QUERIES, TASKS = (2, 3, 5, 10, 20), 50, 100
NOISES = (0.0, 0.2, 0.5, 1.0)  # standard deviations, of the support set's y
LAMBDAS = np.logspace(-4, 3, 29)
GRID = torch.linspace(-5, 5, 201).double()[:, None]  # [201, 1]
DESCENT = 10_000  # steps
AT = np.unique(np.logspace(0, 4, 60).round().astype(int))  # after which of them the distance is drawn
ANIL_STEPS = 5
FIRST_TASK = 26  # a seed of tasks


@lru_cache(maxsize=None)
def body(name: str):
    """The features of a network, in float64."""
    model = MLP(seed=1) if name == "random" else checkpoints.load(f"sinusoid/{name}")[0]
    return model.double().features.requires_grad_(False)


def draw_tasks(shots: int, count: int, seed: int, noise: float) -> TaskBatch:
    """Tasks whose first ``shots`` support points stay the same when ``shots`` moves, in float64."""
    generator = torch.Generator().manual_seed(seed)
    batch = SinusoidTasks(shots=max(SHOTS), queries=QUERIES).sample(count, generator=generator)
    batch = batch.map(lambda part: part.double() if part.is_floating_point() else part)
    y = batch.support_y + noise * torch.randn(batch.support_y.shape, generator=generator)
    return TaskBatch(batch.support_x[:, :shots], y[:, :shots], batch.query_x, batch.query_y, info=batch.info)


@lru_cache(maxsize=None)
def errors(name: str, shots: int, noise: float) -> np.ndarray:
    """Mean held-out error over TASKS tasks at every lambda [29]."""
    batch = draw_tasks(shots, TASKS, seed=0, noise=noise)
    z, query = body(name)(batch.support_x), body(name)(batch.query_x)  # [T, S, D], [T, Q, D]
    heads = (ridge_head(z, batch.support_y, float(lam)) for lam in LAMBDAS)
    return np.array([float((query @ w.mT + b[:, None] - batch.query_y).square().mean()) for w, b in heads])


def two_solves(z: Tensor, y: Tensor, lam: float) -> tuple[Tensor, Tensor]:
    """w [D + 1, 1] by the primal and the dual (Woodbury): features z [S, D + 1] with the ones, y [S, 1]."""
    points, weights = z.shape
    primal = torch.linalg.solve(z.T @ z + lam * torch.eye(weights, dtype=z.dtype), z.T @ y)
    dual = z.T @ torch.linalg.solve(z @ z.T + lam * torch.eye(points, dtype=z.dtype), y)
    return primal, dual


def descend(z: Tensor, y: Tensor, lam: float, best: Tensor) -> tuple[np.ndarray, np.ndarray, float]:
    """Gradient descent from w = 0 with the rate 1 / (largest curvature).

    Returns:
        The relative distance to ``best`` after the steps AT, w after ANIL_STEPS, and the smallest curvature
        over the largest, among the directions that the points can move.
    """
    system, right = (z.T @ z + lam * torch.eye(z.shape[1], dtype=z.dtype)).numpy(), (z.T @ y)[:, 0].numpy()
    curvatures = np.linalg.eigvalsh((z @ z.T).numpy())[-min(z.shape) :] + lam  # of those directions
    rate, goal = 1 / curvatures[-1], best[:, 0].numpy()
    system, right = rate * system, rate * right
    w, distance, wanted = np.zeros_like(goal), [], set(AT.tolist())
    for step in range(1, DESCENT + 1):
        w = w - system @ w + right  # w - rate (z^T (z w - y) + lam w)
        if step == ANIL_STEPS:
            early = w
        if step in wanted:
            distance.append(np.linalg.norm(w - goal) / np.linalg.norm(goal))
    return np.array(distance), early, max(float(curvatures[0] / curvatures[-1]), 0.0)


@lru_cache(maxsize=256)
def solve(name: str, shots: int, lam: float, noise: float, task: int) -> dict:
    """One task: its points, the fit on GRID, both solves, and the descent."""
    batch = draw_tasks(shots, 1, seed=FIRST_TASK + task, noise=noise)
    x, y = batch.support_x[0], batch.support_y[0]  # [S, 1] each
    z, query, on_grid = (with_ones(body(name)(part)) for part in (x, batch.query_x[0], GRID))  # [N, D + 1]
    primal, dual = two_solves(z, y, lam)
    distance, early, ratio = descend(z, y, lam, dual)
    return {
        "x": x[:, 0].numpy(),
        "y": y[:, 0].numpy(),
        "truth": (batch.info["amplitude"][0] * torch.sin(GRID[:, 0] - batch.info["phase"][0])).numpy(),
        "fit": (on_grid @ dual)[:, 0].numpy(),
        "early": on_grid.numpy() @ early,
        "error": float((query @ dual - batch.query_y[0]).square().mean()),
        "apart": float((primal - dual).norm() / dual.norm()),
        "distance": distance,
        "ratio": ratio,
    }


def with_ones(z: Tensor) -> Tensor:
    """Features [N, D] -> [N, D + 1]: the bias is the weight of a column of ones."""
    return torch.cat([z, torch.ones(len(z), 1, dtype=z.dtype)], 1)


def compute(values: SimpleNamespace) -> dict:
    """One task solved and descended, and the mean error against lambda."""
    one = solve(values.body, values.shots, values.lam, values.noise, values.new_task)
    curve = errors(values.body, values.shots, values.noise)
    return one | {"lam": values.lam, "shots": values.shots, "body": values.body, "errors": curve}


def figure(fig) -> SimpleNamespace:
    grid = fig.add_gridspec(2, 2, width_ratios=(1.25, 1))
    left, top, bottom = fig.add_subplot(grid[:, 0]), fig.add_subplot(grid[0, 1]), fig.add_subplot(grid[1, 1])
    left.set(xlabel="x", ylabel="y", xlim=(-5.1, 5.1), ylim=(-6, 6))
    truth = left.plot([], [], **plots.TRUTH, label="true curve")[0]
    fit = left.plot([], [], color=plots.PINK, linestyle="-", label="ridge head")[0]
    early = left.plot(
        [], [], color=plots.GREEN, linestyle="--", label=f"after {ANIL_STEPS} steps of descent"
    )[0]
    points = left.plot([], [], **plots.SUPPORT, label="support points")[0]
    greek = "\N{GREEK SMALL LETTER LAMDA}"
    top.set(xscale="log", yscale="log", xlim=(1e-4, 1e3), ylim=(0.003, 30))
    top.set_ylabel("error, 100 tasks", size="small")
    curve = top.plot([], [], color=plots.PINK, linestyle="-")[0]
    here = top.plot([], [], "D", color=plots.AMBER, markersize=9)[0]
    bottom.set(
        xscale="log", yscale="log", xlim=(0.9, 1.1e4), ylim=(1e-16, 10), xlabel="steps of gradient descent"
    )
    bottom.set_ylabel("distance to solution", size="small")
    bottom.set_yticks([1e-15, 1e-10, 1e-5, 1])
    bottom.axvline(ANIL_STEPS, color=plots.GREEN, linestyle="--", linewidth=1.5)
    descent = bottom.plot([], [], color=plots.BLUE, linestyle="-", label="gradient descent to the same head")[
        0
    ]
    slowest = bottom.plot([], [], **plots.REFERENCE, label="its slowest direction")[0]
    fig.legend(loc="outside lower center", ncols=3)
    return SimpleNamespace(
        truth=truth, fit=fit, early=early, points=points, curve=curve, here=here, descent=descent,
        slowest=slowest,
        titles=(left.set_title(" "), top.set_title(f"held-out error against {greek}"), bottom.set_title(" ")),
    )  # fmt: skip


def draw(artists: SimpleNamespace, data: dict) -> None:
    artists.truth.set_data(GRID[:, 0].numpy(), data["truth"])
    artists.fit.set_data(GRID[:, 0].numpy(), data["fit"].clip(-20, 20))
    artists.early.set_data(GRID[:, 0].numpy(), data["early"].clip(-20, 20))
    artists.points.set_data(data["x"], data["y"])
    artists.curve.set_data(LAMBDAS, data["errors"].clip(0.003, 30))
    artists.here.set_data(
        [data["lam"]], [np.interp(np.log(data["lam"]), np.log(LAMBDAS), data["errors"]).clip(0.003, 30)]
    )
    artists.descent.set_data(AT, data["distance"].clip(1e-17, 10))
    artists.slowest.set_data(AT, np.exp(AT * np.log1p(-min(data["ratio"], 1 - 1e-12))).clip(1e-17))
    artists.titles[0].set_text(f"{data['shots']} points; held-out error {data['error']:.3g}")
    artists.titles[2].set_text(f"primal and Woodbury differ by {data['apart']:.0e}")


def steps_needed(data: dict, distance: float = 0.01) -> str:
    reached = AT[data["distance"] < distance]
    return f"{reached[0]}" if len(reached) else f"more than {DESCENT:,}"


def alt(data: dict) -> str:
    name = next(text for text, body in BODIES.items() if body == data["body"])
    return (
        f"A ridge head with lambda {data['lam']:.2g} on {data['shots']} points of a sinusoid, body: {name}. "
        f"Held-out error {data['error']:.3g}; over 100 tasks the best lambda gives "
        f"{data['errors'].min():.3g}. Primal and dual differ by {data['apart']:.0e}; gradient descent "
        f"is within 1 % of them after {steps_needed(data)} steps, and after {ANIL_STEPS} still "
        f"{100 * data['distance'][ANIL_STEPS - 1]:.0f} % away."
    )


def demo() -> Demo:
    """The demo of notebook 07; in its default view five points are enough, and five steps are not."""
    return Demo(
        "The ridge head: one solve, or thousands of steps",
        controls=[
            Slider("lam", 1e-4, 1e3, 0.01, "\N{GREEK SMALL LETTER LAMDA}", log=True),
            Notches("shots", SHOTS, 5, "support points"),
            Notches("noise", NOISES, 0.0, "noise"),
            Choice("body", BODIES, "r2d2", "body"),
            Button("new_task", "another task"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(9.0, 4.8),
    )
