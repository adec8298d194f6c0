"""Exploding gradients: the norm of the meta-gradient over inner rate and number of steps, with its border at
2 / lambda_max.

Computed live, for all rates as one stack: the two-parameter wave, a network whose head alone adapts (the support
loss is then a convex quadratic, and the border is exact), and the whole network from random weights and from MAML's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import torch
from matplotlib.colors import LinearSegmentedColormap, Normalize
from torch import Tensor, nn

from course_lib import checkpoints
from course_lib.analysis.unrolling import product_meta_gradients, unroll
from course_lib.inner_loop import stack_params
from course_lib.kit import plots
from course_lib.kit import two_parameters as plane
from course_lib.kit.demo import Button, Choice, Notches, declare
from course_lib.losses import mse
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks, TaskBatch

DIGITS = (1, 1.5, 2.2, 3.3, 4.7, 6.8)  # each 10^(1/6) times the one before
RATES = [float(f"{digit}e{power}") for power in (-3, -2, -1) for digit in DIGITS] + [1.0, 1.5, 2.2]
STEPS = [0, 1, 2, 3, 5, 7, 10, 14, 20, 28, 38, 50]
NUM_TASKS, SHOTS, LANCZOS = 5, 10, 12
PROBLEMS = {  # what adapts, and where it starts
    "wave": "The wave (two parameters)",
    "head": "The head alone (a quadratic)",
    "random": "All, from random weights",
    "maml": "All, from MAML's weights",
}
LABELLED = [0, 2, 4, 6, 8, 11]  # of STEPS, on the small panels
MOST_TIMES, MOST_STRETCH = 1e8, 6.0  # at the top of their panels: what is larger, or has overflowed, lies there
LOGS = (-2.0, 9.0)  # of the colours: powers of ten of the norm relative to k = 0, 9 for what overflowed
SHADES = {-2: "#2b6ca3", -1: "#69addb", 0: "#a9d1ea", 1: "#fdf1d8", 3.5: "#ef8a62", 7: "#9b1c2c", 9: "#3b0010"}
COLORS = LinearSegmentedColormap.from_list("times", [((log + 2) / 11, shade) for log, shade in SHADES.items()])
SHORTEST = {True: 1e-3, False: 0.03}  # at the foot of the upper panel, where the gradient vanishes and elsewhere


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
    if problem == "wave":
        return plane.wave()
    return MLP(seed=1) if problem == "random" else checkpoints.load("sinusoid/maml_k1")[0]


def tasks(problem: str, draw: int) -> TaskBatch:
    """Waves for the wave, sinusoids for the network."""
    if problem == "wave":
        return plane.sample(NUM_TASKS, seed=1000 * draw, shots=SHOTS, queries=SHOTS)
    return SinusoidTasks(SHOTS, SHOTS).sample(NUM_TASKS, generator=torch.Generator().manual_seed(draw))


@lru_cache(maxsize=32)
def landscape(problem: str, draw: int = 0) -> Landscape:
    """All rates as one stack of A T runs; about two seconds."""
    model, batch = network(problem), tasks(problem, draw)
    by_rate = (len(RATES), NUM_TASKS)
    runs = batch[torch.arange(NUM_TASKS).repeat(len(RATES))]  # A T tasks
    rates = torch.tensor(RATES, dtype=batch.support_x.dtype).repeat_interleave(NUM_TASKS)  # [A T]
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
    times = (found.norms / found.norms[:, :1]).numpy()  # [A, K], 1 at k = 0
    stays = (times < 10).all(1)  # [A] for all 50 steps; an overflow does not
    return {
        "at": at,
        "k": k,
        "logs": np.log10(within(times, 10.0 ** LOGS[0], 10.0 ** LOGS[1])).T,  # [K, A]
        "times": times[at],  # [K]
        "first_order_times": (found.first_order_norms / found.norms[:, :1])[at].numpy(),
        "stretch": values.inner_lr * found.lambda_max[at].numpy(),  # alpha lambda_max at theta_k [K]
        "border": found.border,
        "borders": (2 / found.lambda_max[at]).numpy(),  # [K]
        "calm": RATES[stays.argmin() - 1] if stays[0] and not stays.all() else RATES[-1] * bool(stays[0]),
        "below": float(times[np.array(RATES) < found.border, -1].max(initial=0)),
    }


def picture(fig, show) -> None:
    grid = fig.add_gridspec(2, 2, width_ratios=(1.3, 1))
    left, top, bottom = fig.add_subplot(grid[:, 0]), fig.add_subplot(grid[0, 1]), fig.add_subplot(grid[1, 1])
    ks = np.arange(len(STEPS))
    half = np.log10(RATES[-1] / RATES[0]) / (len(RATES) - 1) / 2  # of a cell
    extent = (np.log10(RATES[0]) - half, np.log10(RATES[-1]) + half, -0.5, len(STEPS) - 0.5)
    look = {"cmap": COLORS, "norm": Normalize(*LOGS), "interpolation": "bilinear"}
    image = show.image(left, "logs", origin="lower", aspect="auto", extent=extent, **look)
    left.set(xlabel="inner rate α", ylabel="inner steps k", xlim=extent[:2], ylim=extent[2:])
    left.set_xticks([-3, -2, -1, 0], labels=["0.001", "0.01", "0.1", "1"])
    left.set_yticks(ks, labels=STEPS)
    left.grid(False)
    bar = fig.colorbar(image, ax=left, pad=0.02, aspect=30, ticks=[-2, 0, 2, 4, 6, 9])
    bar.ax.set_yticklabels(["0.01", "1", "$10^2$", "$10^4$", "$10^6$", "∞"])
    bar.set_label("norm of the meta-gradient (1: as at k = 0)", fontsize=9.5)
    log_border = lambda d: np.log10(d.border)
    show.mark(left, log_border, color=plots.BLACK, linestyle="--")
    borders = lambda d: np.log10(within(d.borders, 1e-9, 1e9))
    look = {"color": plots.GREEN, "linestyle": "-", "markeredgecolor": "white"}
    show.line(left, borders, ks, marker="o", markersize=5, **look)
    for x, y, words, color in (
        (borders, 3, lambda d: r"$2\,/\,\lambda_{max}$ at $\theta_k$", "#00634a"),
        (log_border, -0.25, lambda d: rf"$2\,/\,\lambda_{{max}}$ = {d.border:.2g} at $\theta_0$", plots.BLACK),
    ):
        at = lambda d, x=x: float(np.clip(np.atleast_1d(x(d))[min(3, np.size(x(d)) - 1)], -2.9, 0))
        side = {"ha": lambda d, at=at: "right" if at(d) > -1.6 else "left", "va": "center", "fontsize": 9}
        beside = lambda d, at=at: at(d) + (-0.07 if at(d) > -1.6 else 0.07)
        show.text(left, beside, y, words, color=color, bbox=plots.BOXED, **side)
    middle = {"ha": "center", "va": "center", "style": "italic", "fontsize": 12}
    show.text(left, lambda d: (extent[0] + log_border(d)) / 2, 5.6, "calm", color="#123a55", **middle)
    show.text(left, extent[1] - 0.14, 8.2, lambda d: "explodes", color="white", rotation=90, **middle)
    log_rate = lambda d: np.log10(RATES[d.at])
    show.mark(left, log_rate, color=plots.INK, linestyle="-", linewidth=1)
    show.points(left, log_rate, "k", **plots.HERE)
    show.title(left, in_one_line)

    for panel in (top, bottom):
        panel.set_xlim(-0.5, len(STEPS) - 0.5)
        panel.set_xticks(ks[LABELLED], labels=np.array(STEPS)[LABELLED])
    top.set(ylabel="norm at this α", yscale="log")
    full = lambda d: within(d.times, SHORTEST[True], MOST_TIMES)
    first_order = lambda d: within(d.first_order_times, SHORTEST[True], MOST_TIMES)
    highest = lambda d: next(4 * most for most in (30, 1e4, MOST_TIMES) if full(d).max() <= most)
    show.limits(top, y=lambda d: (SHORTEST[bool(full(d).min() < 0.05)], highest(d)))
    show.level(top, 1)
    look = {"marker": "o", "markersize": 4}
    show.line(top, ks, first_order, color=plots.SKY, linestyle="--", **look, end="first order")
    show.line(top, ks, full, color=plots.BLUE, linestyle="-", **look, end="exact", pin=True)
    show.points(top, "k", lambda d: full(d)[d.k], **plots.HERE)
    show.title(top, lambda d: f"k = {d.steps}: {in_words(d)}")
    bottom.set(xlabel="inner steps k", ylabel=r"$\alpha\,\lambda_{max}$ at $\theta_k$", ylim=(0, MOST_STRETCH))
    bottom.axhspan(2, MOST_STRETCH, color=plots.ORANGE, alpha=0.12, linewidth=0)
    stretch = lambda d: within(d.stretch, 0, MOST_STRETCH)
    show.line(bottom, ks, stretch, color=plots.GREEN, linestyle="-", **look)
    show.points(bottom, "k", lambda d: stretch(d)[d.k], **plots.HERE)
    show.title(bottom, "Above 2 a step overshoots")


def within(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Clipped; what overflowed lies at the top."""
    return np.nan_to_num(values, nan=np.inf, posinf=np.inf).clip(low, high)


def in_one_line(d) -> str:
    return f"The meta-gradient stays calm up to α = {d.calm:g}" if d.calm else "No rate is calm"


def in_words(d) -> str:
    times = d.times[d.k]
    if not np.isfinite(times):
        return "overflowed"
    told = f"{times:,.0f}" if 100 <= times < 1e6 else f"{times:.2g}"
    return f"{told} times{', it vanishes' * bool(times < 0.1)}"


def words(d) -> str:
    return (
        f"{PROBLEMS[d.problem]}. The border 2 / lambda_max at theta_0 lies at {d.border:.2g}. {in_one_line(d)}. For "
        f"all rates below the border the meta-gradient after {STEPS[-1]} steps is at most {d.below:.2g} times its norm "
        f"at k = 0. At alpha = {d.inner_lr:g}, k = {d.steps}: {in_words(d)}; there alpha lambda_max is "
        f"{d.stretch[d.k]:.2g}, and above 2 a step overshoots."
    )


demo = declare(
    "Where the meta-gradient explodes",
    [
        Choice("problem", PROBLEMS, "wave", "what adapts"),
        Notches("inner_lr", RATES, 0.68, "inner rate α"),
        Notches("steps", STEPS, 10, "inner steps k"),
        Button("new_tasks", "other tasks"),
    ],
    compute,
    picture,
    words,
    size=(9.6, 5.0),
    may_diverge=("times", "first_order_times", "stretch", "borders", "below"),
    views={
        "the wave, beyond the border": {},
        "below it: the gradient vanishes": {"inner_lr": 0.1, "steps": 50},
        "a quadratic": {"problem": "head", "inner_lr": 0.33},
        "a whole network": {"problem": "random", "inner_lr": 0.1},
        "MAML at its own rate": {"problem": "maml", "inner_lr": 0.01},
    },
)
