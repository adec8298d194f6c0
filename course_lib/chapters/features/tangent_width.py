"""Width: the wider a network, the more exactly its linearisation fine-tunes, with whatever features are on top.

The left two panels are computed live on networks with random weights. What meta-training does at each width is the
shipped table of ``experiments.meta_features``.
"""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from course_lib.analysis.tangent import finetune_weights
from course_lib.chapters.features import setup as setup
from course_lib.chapters.features.experiments import meta_features
from course_lib.chapters.features.tangent_layers import layer_kernels
from course_lib.inner_loop import predict, stack_params, trajectory
from course_lib.kit import plots
from course_lib.kit.demo import Button, Notches, Slider, declare
from course_lib.kit.words import several
from course_lib.losses import mse
from course_lib.models import MLP

WIDTHS = (10, 20, 40, 80, 160, 320)
NUM_TASKS, SHOTS, MAX_STEPS, SEEDS, EVERY = 8, 10, 50, 4, 2
OF_BORDER = 0.5  # the rate, in parts of 2 / lambda_max of the steepest task


class Tuned(NamedTuple):
    """A random network and its linearisation, fine-tuned on eight tasks."""

    real: Tensor  # [51, T, 100] outputs after 0 to 50 steps
    linear: Tensor  # [51, T, 100]
    top_two: float  # share of the sinusoids' energy in the top two eigenfunctions of the tangent kernel

    def gap(self, steps: int) -> Tensor:
        """How far the two end apart, in parts of how far the linearised one has moved [T]."""
        apart, moved = self.real[steps] - self.linear[steps], self.linear[steps] - self.linear[0]
        return apart.norm(dim=-1) / moved.norm(dim=-1).clamp(min=1e-12)


@lru_cache(maxsize=128)
def tune(width: int, seed: int) -> Tuned:
    """Both from random weights, with one rate for all tasks; 30 ms to half a second."""
    network = MLP(hidden=(width, width), seed=seed).double()
    batch, _ = setup.test_tasks(NUM_TASKS, SHOTS, seed)
    x, y, grid = batch.support_x, batch.support_y, setup.GRID
    kernel = layer_kernels(network, torch.cat([x.flatten(0, 1), grid])).sum(0)  # [T S + 200, T S + 200]
    own_points = [slice(i, i + SHOTS) for i in range(0, NUM_TASKS * SHOTS, SHOTS)]
    support = torch.stack([kernel[mine, mine] for mine in own_points])  # [T, S, S]
    across = kernel[: NUM_TASKS * SHOTS, NUM_TASKS * SHOTS :: EVERY].unflatten(0, (NUM_TASKS, SHOTS))  # [T, S, 100]
    values, vectors = torch.linalg.eigh(support)  # [T, S], [T, S, S]
    rate = OF_BORDER * SHOTS / values.max().item()  # 2 / lambda_max of the loss's Hessian 2 K / n is n / values[-1]
    residual = vectors.mT @ (y - network(x)).detach()  # [T, S, 1]
    duals = vectors @ (finetune_weights(values, MAX_STEPS, 2 * rate / SHOTS)[..., None] * residual)  # [51, T, S, 1]
    before = network(grid[::EVERY]).detach()[:, 0]  # [100]
    linear = before + (duals.mT @ across)[:, :, 0]  # [51, T, 100]
    walk = trajectory(network, stack_params(network, NUM_TASKS), x, y, loss_fn=mse, steps=MAX_STEPS, lr=rate)
    shown = grid[::EVERY].expand(NUM_TASKS, -1, -1)
    real = torch.stack([predict(network, params, shown)[..., 0].detach() for params in walk])  # [51, T, 100]
    own = kernel[NUM_TASKS * SHOTS :, NUM_TASKS * SHOTS :]
    return Tuned(real, linear, float(setup.describe(own).shares[1]))


def median_gap(width: int, steps: int, seed: int = 0) -> float:
    """Over eight tasks each of four networks."""
    return float(torch.cat([tune(width, s).gap(steps) for s in range(seed, seed + SEEDS)]).median())


def compute(values: SimpleNamespace) -> dict:
    """One network's two fits; the gap against width; the energy in the top two before and after meta-training."""
    seed = values.draw
    now = tune(values.width, seed)
    batch, truth = setup.test_tasks(NUM_TASKS, SHOTS, seed)
    before = [np.median([tune(width, s).top_two for s in range(seed, seed + SEEDS)]) for width in WIDTHS]
    gaps = np.array([median_gap(width, values.steps, seed) for width in WIDTHS])
    after = {
        width: [row["after"]["shares"][1] for row in meta_features.best(way="maml", width=width, inner_lr=0.01)]
        for width in meta_features.WIDTHS
    }
    return {
        "real": now.real[values.steps, 0],
        "linear": now.linear[values.steps, 0],
        "truth": truth[0, ::EVERY],
        "support": torch.stack([batch.support_x[0, :, 0], batch.support_y[0, :, 0]], 1),
        "gaps": gaps,  # [6]
        "gap": gaps[WIDTHS.index(values.width)],
        "before": np.array(before),  # [6]
        "after": np.array([np.median(row) for row in after.values()]),  # [4]
        "each": np.array([(width, share) for width, row in after.items() for share in row]),  # [32, 2]
    }


def picture(fig, show) -> None:
    left, middle, right = fig.subplots(1, 3, width_ratios=(1.1, 1, 1))
    left.set(xlabel="x", ylabel="y", xlim=(-5, 5), ylim=(-6.5, 6.5))
    grid = setup.X[::EVERY]
    show.line(left, grid, "truth", color=plots.FAINT, linestyle="-", linewidth=5, end="true")
    show.line(left, grid, "real", color=plots.GREY, linestyle="-", end="network", pin=True)
    show.line(left, grid, "linear", color=plots.BLACK, linestyle="--", end="linearised")
    show.points(left, "support", **plots.SUPPORT)
    show.title(left, lambda d: f"Width {d.width}, k = {d.steps}")
    middle.set(ylabel="gap, in parts of the way", yscale="log", ylim=(0.004, 3))
    middle.set_yticks([0.01, 0.03, 0.1, 0.3, 1], ["1 %", "3 %", "10 %", "30 %", "100 %"])
    show.line(middle, WIDTHS, "gaps", color=plots.BLACK, linestyle="-", marker="o", markersize=5, pin=True)
    show.points(middle, "width", "gap", **plots.HERE)
    show.title(middle, lambda d: f"Apart: {d.gap:.0%} (median)")
    right.set(ylabel="energy in the top two", ylim=(0, 1.05))
    right.set_yticks([0, 0.5, 1], ["0", "50 %", "all"])
    show.points(right, "each", color=plots.BLUE, markersize=3.5, alpha=0.5)
    maml, random = (plots.METHODS[name] for name in ("maml", "random"))
    show.line(right, meta_features.WIDTHS, "after", **maml, markersize=5, end="MAML")
    show.line(right, WIDTHS, "before", **random, markersize=5, end="random")
    show.title(right, "Width lifts no wave")
    for panel in (middle, right):
        panel.set(xlabel="width of both layers", xscale="log", xlim=(8, 420))
        panel.set_xticks(WIDTHS, [str(w) if w != WIDTHS[-2] else "" for w in WIDTHS], fontsize=8.5)
        panel.minorticks_off()
        show.mark(panel, "width")


def words(d) -> str:
    gaps = ", ".join(f"{width}: {gap:.0%}" for width, gap in zip(WIDTHS, d.gaps))
    before = ", ".join(f"{width}: {share:.0%}" for width, share in zip(WIDTHS, d.before))
    after = ", ".join(f"{width}: {share:.0%}" for width, share in zip(meta_features.WIDTHS, d.after))
    return (
        f"A random network of width {d.width} and its linearisation after {several(d.steps, 'step')}: {d.gap:.0%} "
        f"apart at the median. The gap by width, over {SEEDS} networks and {NUM_TASKS} tasks: {gaps}. Energy of the "
        f"sinusoids in the top two eigenfunctions: random weights {before}; after MAML {after}."
    )


demo = declare(
    "The wider, the more linear",
    [
        Notches("width", WIDTHS, 40, "width"),
        Slider("steps", 0, MAX_STEPS, 50, "inner steps k"),
        Button("draw", "another network and task"),
    ],
    compute,
    picture,
    words,
    size=(9.8, 4.2),
    may_diverge=("gaps", "gap"),
    views={"narrow": {"width": 10}, "as in this notebook": {}, "wide": {"width": 320}},
)
