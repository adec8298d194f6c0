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
from course_lib.kit.demo import Button, Choice, Notches, Slider, declare
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks, TaskBatch

BODIES = {"r2d2": "trained with a ridge head (R2D2)", "maml_k1": "MAML", "random": "untrained"}
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
def errors(name: str, shots: int, noise: float, seed: int = 0) -> np.ndarray:
    """Mean held-out error over TASKS tasks at every lambda [29]."""
    batch = draw_tasks(shots, TASKS, seed=seed, noise=noise)
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
    here = np.interp(np.log(values.lam), np.log(LAMBDAS), curve)
    slowest = np.exp(AT * np.log1p(-min(one["ratio"], 1 - 1e-12)))  # what its slowest direction leaves
    return one | {"errors": curve, "here": here, "slowest": slowest}


def picture(fig, show) -> None:
    grid = fig.add_gridspec(2, 2, width_ratios=(1.3, 1))
    left, top, bottom = fig.add_subplot(grid[:, 0]), fig.add_subplot(grid[0, 1]), fig.add_subplot(grid[1, 1])
    left.set(xlabel="x", ylabel="y", xlim=(-5, 5), ylim=(-6, 6))
    x, solved, stepped = GRID[:, 0], plots.METHODS["ridge"]["color"], plots.METHODS["anil"]["color"]
    show.line(left, x, "truth", **plots.TRUTH, end="true curve")
    early = {"color": stepped, "linestyle": "--", "end": f"{ANIL_STEPS} steps"}
    show.line(left, x, lambda d: d.early.clip(-20, 20), **early)
    fit = {"color": solved, "linestyle": "-", "linewidth": 2.6, "end": "solved", "pin": True}
    show.line(left, x, lambda d: d.fit.clip(-20, 20), **fit)
    show.points(left, "x", "y", **plots.SUPPORT, markersize=8, zorder=5)
    apart = lambda d: f"primal and dual solve differ by {d.apart:.0e}"
    show.text(left, -4.9, -5.8, apart, fontsize=9, color=plots.QUIET)
    show.title(left, lambda d: f"{d.shots} points, solved: held-out error {d.error:.2g}")

    top.set(xscale="log", yscale="log", xlim=(1e-4, 1e3), ylabel="error, 100 tasks")
    top.set_xticks([1e-4, 1e-2, 1, 100])
    errors_of = lambda d: d.errors.clip(*error_limits(d))
    show.limits(top, y=error_limits)
    show.line(top, LAMBDAS, errors_of, color=solved, linestyle="-", pin=True)
    show.points(top, "lam", lambda d: d.here.clip(*error_limits(d)), **plots.HERE)
    greek = "\N{GREEK SMALL LETTER LAMDA}"
    show.title(top, lambda d: f"The best {greek} is {float(f'{LAMBDAS[d.errors.argmin()]:.1g}'):g}")

    bottom.set(xscale="log", yscale="log", xlim=(1, DESCENT), xlabel="steps of gradient descent")
    bottom.set_ylabel("distance left")
    show.limits(bottom, y=lambda d: (10.0 ** -floor(d), 5))
    show.mark(bottom, ANIL_STEPS, color=stepped, linestyle="--")
    above = lambda d, what: np.maximum(d[what], 0.1 * 10.0 ** -floor(d))
    show.line(bottom, AT, lambda d: above(d, "slowest"), **plots.REFERENCE, end="slowest direction")
    show.line(bottom, AT, lambda d: above(d, "distance"), color=plots.BLUE, linestyle="-", end="descent", pin=True)
    show.title(bottom, lambda d: f"1 % away after {steps_needed(d)} steps")


def error_limits(d) -> tuple[float, float]:
    """Whole powers of ten about the errors, which for an untrained body may be large."""
    low, high = d.errors.min(), min(d.errors.max(), 30.0)
    return 10.0 ** np.floor(np.log10(low)), 10.0 ** np.ceil(np.log10(max(high, 10 * low)))


def floor(d) -> int:
    """The power of ten at which the axis of distances ends: one of three, so that it seldom changes."""
    return next(power for power in (4, 8, 16) if d.distance.min() > 10.0**-power or power == 16)


def steps_needed(d, distance: float = 0.01) -> str:
    reached = AT[d["distance"] < distance]
    return f"{reached[0]:,}" if len(reached) else f"over {DESCENT:,}"


def words(d) -> str:
    return (
        f"A ridge head with lambda {d.lam:.2g} on {d.shots} points of a sinusoid, body: {BODIES[d.body]}. Held-out "
        f"error {d.error:.3g}; over 100 tasks the best lambda gives {d.errors.min():.3g}. Primal and dual differ by "
        f"{d.apart:.0e}; gradient descent is within 1 % of them after {steps_needed(d)} steps, and after {ANIL_STEPS} "
        f"still {100 * d.distance[ANIL_STEPS - 1]:.0f} % away."
    )


demo = declare(
    "The ridge head: one solve, or thousands of steps",
    [
        Slider("lam", 1e-4, 1e3, 0.01, "\N{GREEK SMALL LETTER LAMDA}", log=True),
        Notches("shots", SHOTS, 5, "support points"),
        Notches("noise", NOISES, 0.0, "noise"),
        Choice("body", BODIES, "r2d2", "body"),
        Button("new_task", "another task"),
    ],
    compute,
    picture,
    words,
    size=(9.4, 4.6),
    views={
        "solved at once": {},
        "firm: \N{GREEK SMALL LETTER LAMDA} = 10": {"lam": 10},
        "noise": {"noise": 0.5},
        "an untrained body": {"body": "random"},
    },
)
