"""A task that comes back: its head begins anew at every visit, or goes on from where the last visit left it.

The body stays as it is; each visit brings a few new points of the task and k gradient steps on the head. A
linear head's gradient descent has a closed form (``walk``), so that many visits are computed live.
"""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from course_lib import checkpoints
from course_lib.algorithms.heads import BIAS, WEIGHT, random_heads
from course_lib.algorithms.solvers import ridge_head
from course_lib.kit import plots
from course_lib.kit.first_edition import Button, Choice, Demo, Slider
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks
from course_lib.tasks.sinusoid import X_RANGE, ZERO_PREDICTOR_MSE, sinusoid

BODIES = {"trained by MAML": "maml", "random weights": "random"}
VISITS, MOST_POINTS, NUM_TASKS, LAMBDA = 30, 20, 60, 0.1
GRID = torch.linspace(*X_RANGE, 101)[None, :, None]  # [1, 101, 1]
LINES = {  # what a person reads, colour, dash
    "fresh": ("fresh random head each visit", plots.ORANGE, "--"),
    "kept": ("remembered head", plots.BLUE, "-"),
    "solved_visit": ("ridge head, this visit's points", plots.GREY, ":"),
    "solved_all": ("ridge head, all points so far", plots.GREEN, "-."),
}
FLOOR, CEILING = 3e-3, 30.0  # of the error axis


def with_one(z: Tensor) -> Tensor:
    """Features [T, S, D] with a column of ones, so that the bias is a weight too: [T, S, D + 1]."""
    return torch.cat([z, torch.ones_like(z[..., :1])], dim=-1)


def svd(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Thin singular value decomposition of the last two dimensions: u, s, vh."""
    return torch.linalg.svd(z, full_matrices=False)


def walk(z: Tensor, y: Tensor, w: Tensor, rate: float, steps: int, parts: tuple | None = None) -> Tensor:
    """A linear head after ``steps`` gradient steps on the mean squared error, in closed form.

    Along singular direction i of z a step multiplies the distance to the minimum by 1 - rate * 2 s_i^2 / S.

    Args:
        z: features with a column of ones [T, S, D + 1]. y: targets [T, S, 1].
        w: the head before [T, D + 1, 1].
        parts: ``svd(z)``, if it is known already; it depends on neither rate nor steps.

    Returns:
        The head after the steps [T, D + 1, 1].
    """
    u, s, vh = svd(z) if parts is None else parts  # [T, S, r], [T, r], [T, r, D + 1]
    s = s[..., None]  # [T, r, 1]
    shrink = (1 - rate * 2 * s.square() / z.shape[1]) ** steps
    before = vh @ w  # [T, r, 1]
    pull = torch.where(s > 1e-4, (1 - shrink) / s.clamp_min(1e-4), torch.zeros_like(s))
    return w + vh.mT @ (shrink * before + pull * (u.mT @ y) - before)


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
    truth = sinusoid(
        GRID.expand(NUM_TASKS, -1, -1), batch.info["amplitude"], batch.info["phase"]
    )  # [T, 101, 1]
    grid = with_one(features(GRID))  # [1, 101, D + 1]
    shown = int(
        batch.info["amplitude"].sub(3.5).abs().argmin()
    )  # the task to look at: neither flat nor steep
    first = draw_heads(NUM_TASKS * VISITS, z.shape[-1] - 1, generator).view(NUM_TASKS, VISITS, -1, 1)
    return {
        "x": x,
        "y": y,
        "z": z,
        "parts": svd(z),
        "truth": truth,
        "grid": grid,
        "first": first,
        "shown": torch.tensor(shown),
    }


@lru_cache(maxsize=16)
@torch.no_grad()
def solved(body: str, points: int, draw: int) -> dict[str, Tensor]:
    """Errors of ridge heads on one visit's points and on all points so far: [VISITS, T] each."""
    data = visits(body, points, draw)
    z, y = data["z"][..., :-1], data["y"][..., None]  # ridge_head adds its own ones
    error = lambda head: error_of(torch.cat([head[0].mT, head[1][..., None]], dim=1), data)
    one = [error(ridge_head(z[:, v], y[:, v], LAMBDA)) for v in range(VISITS)]
    every = [
        error(ridge_head(z[:, : v + 1].flatten(1, 2), y[:, : v + 1].flatten(1, 2), LAMBDA))
        for v in range(VISITS)
    ]
    return {"solved_visit": torch.stack(one), "solved_all": torch.stack(every)}


def error_of(w: Tensor, data: dict[str, Tensor]) -> Tensor:
    """Held-out error of heads w [T, D + 1, 1] on a fine grid: [T]."""
    return (data["grid"] @ w - data["truth"]).square().mean((1, 2))


@lru_cache(maxsize=64)
@torch.no_grad()
def learn(body: str, points: int, steps: int, rate: float, draw: int) -> dict[str, Tensor]:
    """Errors [VISITS, T] and the shown task's fits [VISITS, 101] of fresh and of remembered heads."""
    data = visits(body, points, draw)
    kept, errors, fits = data["first"][:, 0], {"fresh": [], "kept": []}, {"fresh": [], "kept": []}
    for v in range(VISITS):
        z, y, parts = data["z"][:, v], data["y"][:, v, :, None], [part[:, v] for part in data["parts"]]
        fresh, kept = (walk(z, y, w, rate, steps, parts) for w in (data["first"][:, v], kept))
        for name, w in (("fresh", fresh), ("kept", kept)):
            errors[name].append(error_of(w, data))
            fits[name].append((data["grid"][0] @ w[data["shown"]])[:, 0])
    stacked = {name: torch.stack(values) for name, values in errors.items()}
    return stacked | {f"{name}_fit": torch.stack(values) for name, values in fits.items()}


def compute(values: SimpleNamespace) -> dict:
    """Mean errors after every visit, and the shown task after ``values.visit`` visits."""
    settings = values.body, values.points
    data, results = (
        visits(*settings, values.new_tasks),
        learn(*settings, values.steps, values.rate, values.new_tasks),
    )
    errors = results | solved(*settings, values.new_tasks)
    shown, v = data["shown"], values.visit - 1
    return {
        "visit": values.visit,
        "steps": values.steps,
        "errors": {name: errors[name].mean(1).numpy() for name in LINES},
        "grid": GRID[0, :, 0].numpy(),
        "truth": data["truth"][shown, :, 0].numpy(),
        "fits": {name: results[f"{name}_fit"][v].numpy() for name in ("fresh", "kept")},
        "now": (data["x"][shown, v].numpy(), data["y"][shown, v].numpy()),
        "earlier": (data["x"][shown, :v].flatten().numpy(), data["y"][shown, :v].flatten().numpy()),
    }


def figure(fig) -> SimpleNamespace:
    left, right = fig.subplots(1, 2, width_ratios=(1.1, 1))
    left.set(xlabel="x", ylabel="y", xlim=X_RANGE, ylim=(-6, 6))
    truth = left.plot([], [], **plots.TRUTH, label="true curve")[0]
    earlier = left.plot([], [], ".", color="#9a9a9a", markersize=4, label="points of earlier visits")[0]
    now = left.plot([], [], **plots.SUPPORT, label="points of this visit")[0]
    right.set(
        xlabel="visit", ylabel="held-out error", xlim=(0, VISITS + 1), ylim=(FLOOR, CEILING), yscale="log"
    )
    right.axhline(
        ZERO_PREDICTOR_MSE, color=plots.BLACK, linestyle=(0, (1, 1)), linewidth=1.2, label="predicting zero"
    )
    fits = {
        name: left.plot([], [], color=LINES[name][1], linestyle=LINES[name][2])[0]
        for name in ("fresh", "kept")
    }
    curves = {
        n: right.plot([], [], color=color, linestyle=dash, label=text)[0]
        for n, (text, color, dash) in LINES.items()
    }
    here = right.plot([], [], "o", color=plots.BLACK, markerfacecolor="white", markersize=8)[0]
    fig.legend(loc="outside lower center", ncols=3)
    titles = (left.set_title(" "), right.set_title(" "))
    return SimpleNamespace(
        truth=truth, earlier=earlier, now=now, fits=fits, curves=curves, here=here, titles=titles
    )


def draw(artists: SimpleNamespace, data: dict) -> None:
    at, v = range(1, VISITS + 1), data["visit"]
    on_axis = {name: _on_axis(values) for name, values in data["errors"].items()}
    for name, curve in artists.curves.items():
        curve.set_data(at, on_axis[name])
    artists.here.set_data([v, v], [on_axis["fresh"][v - 1], on_axis["kept"][v - 1]])
    artists.truth.set_data(data["grid"], data["truth"])
    for name, fit in artists.fits.items():
        fit.set_data(data["grid"], np.clip(np.nan_to_num(data["fits"][name]), -100, 100))
    artists.now.set_data(*data["now"])
    artists.earlier.set_data(*data["earlier"])
    artists.titles[0].set_text(f"One task at visit {v}, {data['steps']} steps a visit")
    artists.titles[1].set_text(f"{NUM_TASKS} tasks: {in_words(data)}")


def _on_axis(values: np.ndarray) -> np.ndarray:
    return np.clip(np.nan_to_num(values, nan=1e6, posinf=1e6), FLOOR / 10, 1e6)


def in_words(data: dict) -> str:
    at = data["visit"] - 1
    return f"fresh {data['errors']['fresh'][at]:.2g}, remembered {data['errors']['kept'][at]:.2g}"


def alt(data: dict) -> str:
    at = data["visit"] - 1
    return (
        f"Visit {data['visit']}, {data['steps']} steps on {len(data['now'][0])} new points each. "
        f"Mean held-out error of {NUM_TASKS} tasks: {in_words(data)}; a ridge head (lambda = {LAMBDA}) "
        f"on this visit's points {data['errors']['solved_visit'][at]:.2g}, on all points so far "
        f"{data['errors']['solved_all'][at]:.2g}."
    )


def demo() -> Demo:
    """The demo of notebook 04: its default view is the tenth visit, five steps each."""
    return Demo(
        "A task that comes back",
        controls=[
            Choice("body", BODIES, "maml", "body (it stays as it is)"),
            Slider("visit", 1, VISITS, 10, "visit"),
            Slider("steps", 1, 20, 5, "steps a visit k"),
            Slider("points", 5, MOST_POINTS, 10, "points a visit"),
            Slider("rate", 1e-3, 0.1, 0.1, "head rate", log=True),
            Button("new_tasks", "other tasks"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(9.0, 4.8),
        may_diverge=("errors", "fits"),
    )
