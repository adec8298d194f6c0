"""Exploding gradients: the norm of the meta-gradient over inner rate and number of steps, with its border at
2 / lambda_max.

Computed live, for all rates as one stack: a network whose head alone adapts (the support loss is then a
convex quadratic, and the border is exact), and the whole network from random weights and from MAML's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.colors import TwoSlopeNorm
from torch import Tensor, nn

from course_lib import checkpoints
from course_lib.analysis.unrolling import product_meta_gradients, unroll
from course_lib.inner_loop import stack_params
from course_lib.kit import plots
from course_lib.kit.first_edition import Button, Choice, Demo, Notches
from course_lib.losses import mse
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks

DIGITS = (1, 1.5, 2.2, 3.3, 4.7, 6.8)  # each 10^(1/6) times the one before
RATES = [float(f"{digit}e{power}") for power in (-3, -2, -1) for digit in DIGITS] + [1.0]
STEPS = [0, 1, 2, 3, 5, 7, 10, 14, 20, 28, 38, 50]
NUM_TASKS, SHOTS, LANCZOS = 5, 10, 12
PROBLEMS = {  # what adapts, and where it starts
    "head": "The head alone (a quadratic)",
    "random": "All, from random weights",
    "maml": "All, from MAML's weights",
}
TIMES, STRETCH = (3e-2, 1e8), (2e-3, 1e4)  # limits of the norms, and of alpha lambda_max


@dataclass(frozen=True)
class Landscape:
    """Meta-gradient (mean over tasks) and curvature, A rates by K numbers of steps; NaN or inf: overflow."""

    norms: Tensor  # [A, K]
    first_order_norms: Tensor  # [A, K]
    lambda_max: Tensor  # [A, K], the largest over the tasks, at theta_k

    @property
    def border(self) -> float:
        """2 / lambda_max at theta_0."""
        return 2 / self.lambda_max[0, 0].item()


def network(problem: str) -> nn.Module:
    return MLP(seed=1) if problem == "random" else checkpoints.load("sinusoid/maml_k1")[0]


@lru_cache(maxsize=16)
def landscape(problem: str, draw: int = 0) -> Landscape:
    """All rates as one stack of A T runs; about two seconds."""
    model, generator = network(problem), torch.Generator().manual_seed(draw)
    batch = SinusoidTasks(SHOTS, SHOTS).sample(NUM_TASKS, generator=generator)
    by_rate = (len(RATES), NUM_TASKS)
    runs = batch[torch.arange(NUM_TASKS).repeat(len(RATES))]  # A T tasks
    rates = torch.tensor(RATES).repeat_interleave(NUM_TASKS)  # [A T]
    start, only = stack_params(model, len(rates)), "head" if problem == "head" else None
    how = {"loss_fn": mse, "steps": STEPS[-1], "lr": rates, "only": only}
    unrolled = unroll(model, start, runs.support_x, runs.support_y, **how)
    gradients = product_meta_gradients(unrolled, runs.query_x, runs.query_y, at=STEPS)  # [K, A T, P] each
    full, first_order = (g.unflatten(1, by_rate).mean(2).norm(dim=-1).T for g in gradients)  # [A, K]
    highest = [unrolled.curvatures[k].extreme_eigenvalues(LANCZOS)[1] for k in STEPS]  # [A T] each
    return Landscape(full, first_order, torch.stack(highest).unflatten(1, by_rate).amax(2).T)


def compute(values: SimpleNamespace) -> dict:
    """The landscape of the chosen problem, and its row and column at the chosen rate and k."""
    found = landscape(values.problem, values.new_tasks)
    at, k = RATES.index(values.inner_lr), STEPS.index(values.steps)
    times = found.norms / found.norms[:, :1]  # [A, K], 1 at k = 0
    return {
        "problem": values.problem,
        "at": (at, k),
        "times": times.numpy(),
        "first_order_times": (found.first_order_norms / found.norms[:, :1])[at].numpy(),
        "stretch": values.inner_lr * found.lambda_max[at].numpy(),  # alpha lambda_max at theta_k [K]
        "border": found.border,
        "borders": 2 / found.lambda_max[at].numpy(),  # [K]
    }


def figure(fig) -> SimpleNamespace:
    grid = fig.add_gridspec(2, 2, width_ratios=(1.25, 1))
    left, top, bottom = fig.add_subplot(grid[:, 0]), fig.add_subplot(grid[0, 1]), fig.add_subplot(grid[1, 1])
    ticks = {"ticks": range(len(STEPS)), "labels": STEPS}
    width = (RATES[-1] / RATES[0]) ** (0.5 / (len(RATES) - 1))  # half a cell, as a factor
    edges = np.geomspace(RATES[0] / width, RATES[-1] * width, len(RATES) + 1)
    rows = np.arange(len(STEPS) + 1) - 0.5
    cells = np.zeros((len(STEPS), len(RATES)))
    colors = mpl.colormaps["RdBu_r"].with_extremes(bad="#3b0010")
    mesh = left.pcolormesh(edges, rows, cells, cmap=colors, norm=TwoSlopeNorm(0, -1.0, 8.0))
    left.set(xscale="log", xlim=(edges[0], edges[-1]), ylim=(rows[0], rows[-1]))
    left.set(xlabel="inner rate α", ylabel="inner steps k")
    left.set_yticks(**ticks)
    left.grid(False)
    bar = fig.colorbar(mesh, ax=left, pad=0.02, aspect=30, ticks=[-1, 0, 2, 4, 6, 8])
    bar.ax.set_yticklabels(["0.1", "1", "$10^2$", "$10^4$", "$10^6$", "$10^8$"])
    border = left.plot([], [], color=plots.BLACK, linestyle="--")[0]
    border.set_label("$2\\,/\\,\\lambda_{max}$ at $\\theta_0$")
    moving = left.plot([], [], "o-", color=plots.GREEN, markersize=4, linewidth=1.5)[0]
    moving.set_label("$2\\,/\\,\\lambda_{max}$ at $\\theta_k$, for this α")
    cross = left.plot([], [], color=plots.AMBER, linewidth=1.5)[0]
    chosen = {"color": plots.AMBER, "marker": "s", "markeredgecolor": plots.BLACK}
    chosen |= {"linestyle": "none", "zorder": 5}
    here = left.plot([], [], **chosen, markersize=9, label="chosen α and k")[0]
    top.set(ylabel="relative norm", yscale="log", ylim=TIMES)
    bottom.set(ylabel="$\\alpha\\,\\lambda_{max}$ at $\\theta_k$", yscale="log", ylim=STRETCH)
    bottom.set_xlabel("inner steps k")
    for panel in (top, bottom):
        panel.set_xlim(-0.5, len(STEPS) - 0.5)
        panel.set_xticks(**ticks)
    top.set_xticklabels([])
    top.axhline(1, **plots.REFERENCE)
    full = top.plot([], [], "o-", color=plots.BLUE, markersize=4, label="meta-gradient")[0]
    first_order = top.plot([], [], "s--", color=plots.ORANGE, markersize=4)[0]
    first_order.set_label("its first-order part")
    bottom.axhspan(2, STRETCH[1], color=plots.ORANGE, alpha=0.15, linewidth=0)
    bottom.axhline(2, color=plots.BLACK, linestyle="--", linewidth=1.5)
    stretch = bottom.plot([], [], "o-", color=plots.GREEN, markersize=4)[0]
    marks = [panel.plot([], [], **chosen, markersize=8)[0] for panel in (top, bottom)]
    fig.legend(loc="outside lower center", ncols=3)
    left.set_title("Norm of the meta-gradient, relative to k = 0")
    lines = {"border": border, "moving": moving, "cross": cross, "here": here}
    curves = {"full": full, "first_order": first_order, "stretch": stretch}
    return SimpleNamespace(mesh=mesh, marks=marks, title=top.set_title(" "), **lines, **curves)


def draw(artists: SimpleNamespace, data: dict) -> None:
    at, k = data["at"]
    everything = np.arange(len(STEPS))
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log10(data["times"].T)  # [K, A]
    artists.mesh.set_array(np.ma.masked_invalid(logs).clip(-1, 8))
    artists.border.set_data([data["border"]] * 2, [-0.5, len(STEPS) - 0.5])
    artists.moving.set_data(data["borders"], everything)
    artists.cross.set_data([RATES[at]] * 2, [-0.5, len(STEPS) - 0.5])
    artists.here.set_data([RATES[at]], [k])
    full, stretch = within(data["times"][at], TIMES), within(data["stretch"], STRETCH)
    artists.full.set_data(everything, full)
    artists.first_order.set_data(everything, within(data["first_order_times"], TIMES))
    artists.stretch.set_data(everything, stretch)
    for mark, curve in zip(artists.marks, (full, stretch)):
        mark.set_data([k], [curve[k]])
    artists.title.set_text(f"α = {RATES[at]:g}, k = {STEPS[k]}: {in_words(data['times'][at, k])}")


def within(values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Clipped to the limits of a panel; what overflowed lies at its top."""
    return np.nan_to_num(values, nan=np.inf, posinf=np.inf).clip(*limits)


def in_words(times: float) -> str:
    return f"{times:.2g} times" if np.isfinite(times) else "overflowed"


def alt(data: dict) -> str:
    at, k = data["at"]
    inside = data["times"][:, -1][np.array(RATES) < data["border"]]
    largest = np.max(within(inside, (0, 1e30)), initial=0)
    return (
        f"{PROBLEMS[data['problem']]}. The border 2 / lambda_max at theta_0 lies at {data['border']:.2g}. "
        f"For all rates below it the meta-gradient after {STEPS[-1]} steps is at most {largest:.2g} times "
        f"its norm at k = 0. At alpha = {RATES[at]:g}, k = {STEPS[k]}: {in_words(data['times'][at, k])}; "
        f"there alpha lambda_max is {data['stretch'][k]:.2g}, and above 2 a step overshoots."
    )


def demo() -> Demo:
    """The showpiece of notebook 03; its default view is the exact border, crossed by a step of the slider."""
    return Demo(
        "Where the meta-gradient explodes",
        controls=[
            Choice("problem", {text: name for name, text in PROBLEMS.items()}, "head", "what adapts"),
            Notches("inner_lr", RATES, 0.33, "inner rate α"),
            Notches("steps", STEPS, 20, "inner steps k"),
            Button("new_tasks", "other tasks"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(9.6, 5.0),
        may_diverge=("times", "first_order_times", "stretch", "borders"),
    )
