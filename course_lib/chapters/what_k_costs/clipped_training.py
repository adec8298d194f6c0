"""MAML trained for 120 outer steps with a long inner loop: calmly, beyond the border, and there with clipping.

Computed live, k = 5, Adam 1e-3, 25 tasks a step, from random weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import torch

from course_lib.algorithms import MAML
from course_lib.analysis.unrolling import clip
from course_lib.kit import plots
from course_lib.kit.demo import Button, Notches, declare
from course_lib.kit.growing import Growing, race
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks
from course_lib.tasks.sinusoid import ZERO_PREDICTOR_MSE
from course_lib.training import adam

STEPS, ITERATIONS, META_BATCH, CALM_LR, WINDOW = 5, 120, 25, 0.01, 20
LOOK_EVERY = 2  # outer steps between two pictures
RATES, NORMS = [0.01, 0.022, 0.047, 0.1], [1.0, 10.0, 100.0]
HIGHEST = 12.0  # loss shown


def train(inner_lr: float, max_norm: float | None, seed: int) -> Iterator[float]:
    """Meta-losses, until the gradient is no number any more."""
    model, learner, tasks = MLP(seed=seed), MAML(STEPS, inner_lr), SinusoidTasks()
    generator, optimizer = torch.Generator().manual_seed(seed), adam(model.parameters(), 1e-3)
    while True:
        grads, info = learner.meta_gradient(model, tasks.sample(META_BATCH, generator=generator))
        flat = torch.cat([grads[name].flatten() for name, _ in model.named_parameters()])  # [P]
        if not flat.isfinite().all():
            return
        flat = flat if max_norm is None else clip(flat, max_norm)
        for p, g in zip(model.parameters(), flat.split([p.numel() for p in model.parameters()])):
            p.grad = g.view_as(p)
        optimizer.step()
        yield info["loss"].item()


@lru_cache(maxsize=128)
def training(inner_lr: float, max_norm: float | None, seed: int) -> Growing:
    return Growing(lambda: train(inner_lr, max_norm, seed))


def compute(values: SimpleNamespace) -> Iterator[dict]:
    """Losses of the three trainings, as they go."""
    each = {"calm": (CALM_LR, None), "plain": (values.inner_lr, None), "clipped": (values.inner_lr, values.max_norm)}
    runs = {name: training(*how, values.new_seed) for name, how in each.items()}
    yield from race(runs, ITERATIONS, LOOK_EVERY)


def smooth(losses: np.ndarray) -> np.ndarray:
    """Mean of up to WINDOW losses before each, within what is shown."""
    return np.array([losses[max(0, i - WINDOW + 1) : i + 1].clip(0, 1e3).mean() for i in range(len(losses))])


def picture(fig, show) -> None:
    axes = fig.subplots()
    axes.set(xlabel="outer step", ylabel=f"query loss, mean of {WINDOW}", xlim=(0, ITERATIONS), ylim=(0, HIGHEST))
    show.level(axes, ZERO_PREDICTOR_MSE)
    under = {"ha": "right", "va": "top", "color": plots.QUIET, "fontsize": 9}
    axes.text(0.99 * ITERATIONS, ZERO_PREDICTOR_MSE - 0.15, "predicting zero", **under)
    looks = {
        "calm": (plots.BLUE, "-", f"α = {CALM_LR:g}"),
        "clipped": (plots.GREEN, "--", "clipped"),
        "plain": (plots.ORANGE, "-", "not clipped"),
    }
    for name, (color, dash, words_) in looks.items():
        steps = lambda d, name=name: np.arange(1, len(d[name]) + 1)
        curve = lambda d, name=name: smooth(d[name]).clip(0, HIGHEST)
        end = None if name == "plain" else words_  # it ends where other lines are
        show.line(axes, steps, curve, color=color, linestyle=dash, linewidth=2.4, end=end)
    at = lambda d: (len(d.plain), min(smooth(d.plain)[-1], HIGHEST) if len(d.plain) else 0.0)
    died = lambda d: len(d.plain) < d.at
    look = {"color": plots.ORANGE, "marker": "X", "markersize": 11, "shown": died}
    show.points(axes, lambda d: np.array([at(d)]), **look)
    below = lambda d: 0.8 if not len(d.plain) else max(at(d)[1] - 1.8, 0.8)
    beside = lambda d: min(at(d)[0], 0.85 * ITERATIONS)
    show.text(axes, beside, below, "not clipped", color=plots.ORANGE, ha="left", va="top")
    show.title(axes, headline)


def headline(d) -> str:
    if len(d.plain) < d.at:
        return f"α = {d.inner_lr:g}: dead after {len(d.plain)} updates without clipping"
    return f"α = {d.inner_lr:g}: alive without clipping{so_far(d)}"


def so_far(d) -> str:
    return f" after {d.at} updates" if d.at < ITERATIONS else ""


def words(d) -> str:
    last = {name: smooth(d[name])[-1] if len(d[name]) else float("nan") for name in ("calm", "clipped", "plain")}
    return (
        f"MAML with k = {STEPS}: at alpha = {CALM_LR:g} the loss ends at {last['calm']:.2f}{so_far(d)}; at "
        f"{d.inner_lr:g} clipped to {d.max_norm:g} at {last['clipped']:.2f} after {len(d.clipped)} updates; "
        f"{headline(d)}. "
        f"Predicting zero costs {ZERO_PREDICTOR_MSE:.2f}."
    )


demo = declare(
    "What clipping does to a training",
    [
        Notches("inner_lr", RATES, 0.1, "inner rate α"),
        Notches("max_norm", NORMS, 10.0, "clip to norm"),
        Button("new_seed", "another seed"),
    ],
    compute,
    picture,
    words,
    size=(8.6, 3.6),
    views={"beyond the border": {}, "closer to it": {"inner_lr": 0.022}},
)
