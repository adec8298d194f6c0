"""A task that comes back: its head begins anew at every visit, or goes on from where the last visit left it.

The body stays as it is; each visit brings a few new points of the task and k gradient steps on the head. A
linear head takes its steps among the few residuals (``walk``), so that many visits are computed live.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from course_lib import checkpoints
from course_lib.algorithms.heads import BIAS, WEIGHT, random_heads
from course_lib.algorithms.solvers import ridge_head
from course_lib.kit import plots
from course_lib.kit.demo import Button, Choice, Notches, Several, Slider, declare
from course_lib.kit.words import several
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks
from course_lib.tasks.sinusoid import X_RANGE, ZERO_PREDICTOR_MSE, sinusoid

BODIES = {"maml": "trained by MAML", "random": "random weights"}
VISITS, MOST_POINTS, NUM_TASKS = 30, 20, 60
PENALTIES = (1e-3, 1e-2, 0.1, 1.0)  # of the ridge heads
GRID = torch.linspace(*X_RANGE, 101)[None, :, None]  # [1, 101, 1]
HEADS = {
    "fresh": "fresh head",
    "kept": "stored head",
    "solved_visit": "ridge, this visit",
    "solved_all": "ridge, all points",
}
LOOKS = {
    "fresh": {"color": plots.GREY, "linestyle": "-."},
    "kept": {"color": plots.ORANGE, "linestyle": "-"},
    "solved_visit": {"color": plots.PINK, "linestyle": ":"},
    "solved_all": {"color": plots.PINK, "linestyle": "-"},
}
FLOOR, CEILING = 3e-3, 30.0  # of the error axis


def with_one(z: Tensor) -> Tensor:
    """Features [T, S, D] with a column of ones, so that the bias is a weight too: [T, S, D + 1]."""
    return torch.cat([z, torch.ones_like(z[..., :1])], dim=-1)


def walk(z: Tensor, y: Tensor, w: Tensor, rate: float, steps: int, gram: Tensor) -> Tensor:
    """A linear head after ``steps`` gradient steps on the mean squared error, taken among the S residuals.

    With c = 2 rate / S a step takes c z^T r from w, and so c z z^T r from r = z w - y.

    Args:
        z: features with a column of ones [T, S, D + 1]. y: targets [T, S, 1].
        w: heads before [T, D + 1, H].
        gram: z z^T [T, S, S], which depends on neither rate nor steps.

    Returns:
        The heads after the steps [T, D + 1, H].
    """
    c, residual = 2 * rate / z.shape[1], z @ w - y  # [T, S, H]
    total = torch.zeros_like(residual)
    for _ in range(steps):
        total += residual
        residual = torch.baddbmm(residual, gram, residual, alpha=-c)
    return w - c * z.mT @ total


def draw_heads(num_heads: int, num_features: int, generator: torch.Generator) -> Tensor:
    """Random linear heads, as ``nn.Linear`` would draw them [heads, D + 1, 1]."""
    heads = random_heads(num_heads, num_features, 1, generator)
    return torch.cat([heads[WEIGHT].mT, heads[BIAS][..., None]], dim=1)


@lru_cache(maxsize=2)
def network(body: str) -> MLP:
    """The network whose body computes the features."""
    return MLP(seed=0) if body == "random" else checkpoints.load("sinusoid/maml_k1")[0]


@lru_cache(maxsize=16)
@torch.no_grad()
def visits(body: str, points: int, draw: int) -> dict[str, Tensor]:
    """What the visits bring: x, y [T, VISITS, S], features z [T, VISITS, S, D + 1]; and what judges them."""
    generator = torch.Generator().manual_seed(100 + draw)
    batch = SinusoidTasks(MOST_POINTS * VISITS).sample(NUM_TASKS, generator=generator)
    x, y = (p.view(NUM_TASKS, VISITS, MOST_POINTS)[:, :, :points] for p in (batch.support_x, batch.support_y))
    features = network(body).features
    z = with_one(features(x[..., None]))  # [T, V, S, D + 1]
    truth = sinusoid(GRID.expand(NUM_TASKS, -1, -1), batch.info["amplitude"], batch.info["phase"])  # [T, 101, 1]
    grid = with_one(features(GRID))  # [1, 101, D + 1]
    shown = batch.info["amplitude"].sub(3.5).abs().argmin()  # the task to look at: neither flat nor steep
    first = draw_heads(NUM_TASKS * VISITS, z.shape[-1] - 1, generator).view(NUM_TASKS, VISITS, -1, 1)
    points = {"x": x, "y": y, "z": z, "gram": z @ z.mT}
    return points | {"truth": truth, "grid": grid, "first": first, "shown": shown}


@lru_cache(maxsize=16)
@torch.no_grad()
def solved(body: str, points: int, draw: int, penalty: float) -> dict[str, Tensor]:
    """Errors of ridge heads on one visit's points and on all points so far: [VISITS, T] each."""
    data = visits(body, points, draw)
    z, y = data["z"], data["y"][..., None]  # [T, V, S, D + 1], [T, V, S, 1]
    weight, bias = ridge_head(z[..., :-1].flatten(0, 1), y.flatten(0, 1), penalty)  # it adds its own ones
    one = torch.cat([weight.mT, bias[..., None]], 1).unflatten(0, z.shape[:2])  # [T, V, D + 1, 1]
    every = ridge_so_far(z, y, penalty)
    return {"solved_visit": error_of(one, data).T, "solved_all": error_of(every, data).T}


def ridge_so_far(z: Tensor, y: Tensor, penalty: float) -> Tensor:
    """``ridge_head`` on the points of the first 1, 2, ... visits, bias last, from sums over visits [T, V, D + 1, 1].

    z [T, V, S, D + 1] has the column of ones, y [T, V, S, 1]. In float64, since sums of a few points say little.
    """
    gram, right, heads = penalty * torch.eye(z.shape[-1], dtype=torch.float64), 0, []
    for z_now, y_now in zip(z.double().unbind(1), y.double().unbind(1)):
        gram, right = gram + z_now.mT @ z_now, right + z_now.mT @ y_now  # [T, D + 1, D + 1], [T, D + 1, 1]
        heads.append(torch.cholesky_solve(right, torch.linalg.cholesky(gram)))
    return torch.stack(heads, 1).to(z)


def error_of(w: Tensor, data: dict[str, Tensor]) -> Tensor:
    """Held-out error of heads w [T, ..., D + 1, 1] on a fine grid: [T, ...]."""
    truth = data["truth"].view(len(w), *[1] * (w.ndim - 3), -1)  # [T, ..., 101]
    return (on_grid(w, data) - truth).square().mean(-1)


def on_grid(w: Tensor, data: dict[str, Tensor]) -> Tensor:
    """Outputs of heads w [..., D + 1, 1]: [..., 101]."""
    return w.squeeze(-1) @ data["grid"][0].mT


@lru_cache(maxsize=64)
@torch.no_grad()
def learn(body: str, points: int, steps: int, rate: float, draw: int) -> dict[str, Tensor]:
    """Errors [VISITS, T] and the shown task's fits [VISITS, 101] of fresh and of stored heads."""
    data, heads = visits(body, points, draw), []
    kept = data["first"][:, 0]
    for v in range(VISITS):
        z, y, gram = data["z"][:, v], data["y"][:, v, :, None], data["gram"][:, v]
        heads.append(walk(z, y, torch.cat([data["first"][:, v], kept], -1), rate, steps, gram))
        kept = heads[-1][..., 1:]
    each = dict(zip(("fresh", "kept"), torch.stack(heads, 1).split(1, -1)))  # [T, VISITS, D + 1, 1] each
    fits = {f"{name}_fit": on_grid(w[data["shown"]], data) for name, w in each.items()}
    return fits | {name: error_of(w, data).T for name, w in each.items()}


def compute(values: SimpleNamespace) -> dict:
    """Mean errors after every visit, and the shown task after ``values.visit`` visits."""
    which = values.body, values.points
    data, draw = visits(*which, values.new_tasks), values.new_tasks
    results = learn(*which, values.steps, values.rate, draw) | solved(*which, draw, values.penalty)
    task, v = data["shown"], values.visit - 1
    return {
        "errors": {name: results[name].mean(1).numpy() for name in HEADS},  # [VISITS] each
        "truth": data["truth"][task, :, 0],
        "fits": {name: results[f"{name}_fit"][v].numpy() for name in ("fresh", "kept")},
        "now": torch.stack([data["x"][task, v], data["y"][task, v]], 1),  # [S, 2]
        "earlier": torch.stack([data["x"][task, :v].flatten(), data["y"][task, :v].flatten()], 1),
    }


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2, width_ratios=(1.05, 1))
    left.set(xlabel="x", ylabel="y", xlim=X_RANGE, ylim=(-6, 6))
    right.set(xlabel="visit", ylabel="held-out error", xlim=(0, VISITS + 1), yscale="log")
    most = lambda d: CEILING if max(on_axis(d.errors[name]).max() for name in HEADS) > 8 else 8
    show.limits(right, y=lambda d: (FLOOR, most(d)))
    grid = GRID[0, :, 0]
    show.line(left, grid, "truth", color=plots.FAINT, linestyle="-", linewidth=5, end="true curve")
    show.points(left, "earlier", color="#9a9a9a", marker=".", markersize=4)
    show.points(left, "now", **plots.SUPPORT)
    for name in ("fresh", "kept"):
        fit, shown = (lambda d, name=name: np.nan_to_num(d.fits[name]).clip(-100, 100)), shows(name)
        show.line(left, grid, fit, **LOOKS[name], end=HEADS[name].split()[0], shown=shown)
    show.title(left, lambda d: f"One task at visit {d.visit}, k = {d.steps}")
    show.level(right, ZERO_PREDICTOR_MSE, "predicting zero", color=plots.BLACK)
    for name, text in HEADS.items():
        errors, shown = (lambda d, name=name: on_axis(d.errors[name])), shows(name)
        show.line(right, range(1, VISITS + 1), errors, **LOOKS[name], end=text, shown=shown, pin=name == "kept")
        if name in ("fresh", "kept"):
            show.points(right, "visit", lambda d, e=errors: e(d)[d.visit - 1], **plots.HERE, shown=shown)
    show.title(right, beaten)


def shows(name: str) -> Callable:
    return lambda d: name in d.heads


def on_axis(values: np.ndarray) -> np.ndarray:
    return np.clip(np.nan_to_num(values, nan=1e6, posinf=1e6), FLOOR / 10, 1e6)


def beaten(d) -> str:
    """From which visit on the stored head stays ahead of a ridge head on one visit's points."""
    first = overtakes(d.errors)
    return f"Remembering beats ridge from visit {first}" if first <= VISITS else "Remembering does not beat ridge"


def overtakes(errors: dict[str, np.ndarray]) -> int:
    """The visit from which the stored head's error stays below a single visit's ridge; VISITS + 1 if it does not."""
    behind = ~(errors["kept"] < errors["solved_visit"].mean())
    return int(behind.nonzero()[0].max(initial=-1)) + 2


def words(d) -> str:
    fresh, kept, solved_visit, solved_all = (d.errors[name][d.visit - 1] for name in HEADS)
    return (
        f"Visit {d.visit}, {several(d.steps, 'step')} on {len(d.now)} new points each. Mean held-out error of "
        f"{NUM_TASKS} tasks: fresh {fresh:.2g}, stored {kept:.2g}; a ridge head (lambda = {d.penalty:g}) on this "
        f"visit's points {solved_visit:.2g}, on all points so far {solved_all:.2g}. {beaten(d)}."
    )


demo = declare(
    "A task that comes back",
    [
        Choice("body", BODIES, "maml", "body (it stays as it is)"),
        Slider("visit", 1, VISITS, 10, "visit"),
        Slider("steps", 1, 20, 5, "steps a visit k"),
        Slider("points", 5, MOST_POINTS, 10, "points a visit"),
        Slider("rate", 1e-3, 0.1, 0.1, "head rate", log=True),
        Notches("penalty", PENALTIES, 0.1, "penalty \N{GREEK SMALL LETTER LAMDA} of ridge"),
        Several("heads", HEADS, label="show"),
        Button("new_tasks", "other tasks"),
    ],
    compute,
    picture,
    words,
    size=(9.4, 4.8),
    may_diverge=("errors", "fits"),
    views={
        "the first visit": {"visit": 1},
        "the tenth visit": {},
        "twenty steps a visit": {"steps": 20},
        "small steps": {"rate": 0.01},
    },
)
