"""What clipping does to an exploding meta-gradient, and what it cannot do: it shortens, and never turns.

Twenty tasks, computed live at all rates as one stack. Beyond the border one task's gradient is far longer
than the others', so the mean points where that task points, and so does the clipped mean. Clipping each
task's gradient before the mean bounds what one task can do to the direction.
"""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from course_lib.analysis.unrolling import product_meta_gradients, unroll
from course_lib.chapters.what_k_costs.k_border import network, within
from course_lib.inner_loop import stack_params
from course_lib.kit import plots
from course_lib.kit.demo import Button, Choice, Notches, Slider, declare
from course_lib.losses import mse
from course_lib.tasks import SinusoidTasks

RATES = [0.001, 0.0015, 0.0022, 0.0033, 0.0047, 0.0068, 0.01, 0.015, 0.022, 0.033, 0.047, 0.068, 0.1, 0.15]
STEPS = [1, 2, 3, 5, 10]
NUM_TASKS, SHOTS = 20, 10
STARTS = {"maml": "MAML's weights", "random": "random weights"}
LEAST, MOST = 0.08, 1e6  # of a norm; what is longer, or has overflowed, lies at the top


@lru_cache(maxsize=8)
def gradients(start: str, draw: int = 0) -> tuple[Tensor, Tensor]:
    """Each task's meta-gradient and its first-order part [K, A, T, P]; a second."""
    model, generator = network(start), torch.Generator().manual_seed(draw)
    batch = SinusoidTasks(SHOTS, SHOTS).sample(NUM_TASKS, generator=generator)
    runs = batch[torch.arange(NUM_TASKS).repeat(len(RATES))]  # A T tasks
    how = {"loss_fn": mse, "steps": STEPS[-1], "lr": torch.tensor(RATES).repeat_interleave(NUM_TASKS)}
    unrolled = unroll(model, stack_params(model, len(runs.support_x)), runs.support_x, runs.support_y, **how)
    full, first_order = product_meta_gradients(unrolled, runs.query_x, runs.query_y, at=STEPS)
    return tuple(g.unflatten(1, (len(RATES), NUM_TASKS)) for g in (full, first_order))


@lru_cache(maxsize=8)
def products(start: str, draw: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Inner products of the tasks' gradients, whatever clips them: with each other [K, A, T, T], with the mean
    first-order part [K, A, T], and of that with itself [K, A]."""
    full, first_order = (g.double() for g in gradients(start, draw))
    reference = first_order.mean(2)  # [K, A, P]
    return full @ full.mT, (full @ reference.unsqueeze(-1)).squeeze(-1), reference.square().sum(-1)


def cosine(weights: Tensor, step: int, start: str, draw: int) -> Tensor:
    """Against the rate [A]: of the sum of the tasks' gradients, each times its weight [A, T], with the reference."""
    pairs, along, own = (each[step] for each in products(start, draw))
    length = (weights.unsqueeze(1) @ pairs @ weights.unsqueeze(2)).flatten().sqrt()  # [A]
    return (weights * along).sum(1) / (length * own.sqrt())


@lru_cache(maxsize=256)
def directions(start: str, steps: int, max_norm: float, draw: int = 0) -> dict[str, Tensor]:
    """Against the rate [A]: cosines with the first-order meta-gradient, the longest gradient's share of all.

    "mean" is the mean of the tasks' gradients, clipped or not; in "each" every gradient is clipped before the
    mean. NaN where a gradient overflowed.
    """
    step = STEPS.index(steps)
    pairs = products(start, draw)[0][step]
    norms = pairs.diagonal(dim1=1, dim2=2).sqrt()  # [A, T]
    clipped = (max_norm / norms).clamp(max=1)
    return {
        "norms": norms,
        "mean_norm": pairs.mean((1, 2)).sqrt(),
        "share": norms.amax(1) / norms.sum(1),
        "mean": cosine(torch.ones_like(norms), step, start, draw),
        "each": cosine(clipped, step, start, draw),
    }


def compute(values: SimpleNamespace) -> dict:
    """The norms of all tasks at the chosen rate and k, and the directions at every rate."""
    found = directions(values.start, values.steps, values.max_norm, values.new_tasks)
    at = RATES.index(values.inner_lr)
    return {
        "at": at,
        "norms": found["norms"][at].sort(descending=True).values.numpy(),  # [T]
        "mean_norm": float(found["mean_norm"][at]),
        **{name: found[name].numpy() for name in ("share", "mean", "each")},
    }


def picture(fig, show) -> None:
    panels = fig.subplot_mosaic([["tasks", "cosine"], ["tasks", "share"]], height_ratios=(1.6, 1))
    tasks, cosine, share = (panels[name] for name in ("tasks", "cosine", "share"))
    tasks.set(xlabel="tasks, the longest gradient first", ylabel="norm of its meta-gradient", yscale="log")
    tasks.set(xlim=(0, NUM_TASKS + 1), xticks=(1, 5, 10, 15, 20), ylim=(LEAST, 2 * MOST))
    norms = lambda d: within(d.norms, LEAST, MOST)
    show.points(tasks, range(2, NUM_TASKS + 1), lambda d: norms(d)[1:], color=plots.BLUE)
    show.points(tasks, 1, lambda d: norms(d)[0], color=plots.ORANGE, marker="^", markersize=9)
    mean, across = (lambda d: [within(d.mean_norm, LEAST, MOST)] * 2), (0, NUM_TASKS + 1)
    show.line(tasks, across, mean, color=plots.BLACK, linestyle="-", end="mean")
    show.line(tasks, across, lambda d: [d.max_norm] * 2, color=plots.GREEN, linestyle="--", end="clip")
    show.title(tasks, lambda d: in_words(d).capitalize())

    for panel in (cosine, share):
        panel.set(xscale="log", xlim=(RATES[0] * 0.85, RATES[-1] * 1.18))
        show.mark(panel, "inner_lr", color=plots.INK, linestyle="-", linewidth=1)
    cosine.set(ylabel="cosine with first order", ylim=(-1.05, 1.05), xticklabels=[])
    show.level(cosine, 0)
    small = {"marker": "o", "markersize": 4}
    show.line(cosine, RATES, "mean", color=plots.BLACK, linestyle="-", **small, end="mean")
    show.line(cosine, RATES, "each", color=plots.GREEN, linestyle="--", **small, end="each clipped")
    show.title(cosine, turned)
    share.set(xlabel="inner rate α", ylabel="share of sum", ylim=(0, 1.05))
    share.set_yticks([0, 0.5, 1], ["0", "50 %", "100 %"])
    look = {"color": plots.ORANGE, "linestyle": "-", "marker": "^", "markersize": 4}
    show.line(share, RATES, "share", **look, end="longest")


def in_words(d) -> str:
    share = d.share[d.at]
    return f"one task is {share:.0%} of the sum" if np.isfinite(share) else "overflowed"


def turned(d) -> str:
    cosine = d["mean"][d.at]
    return f"Clipping leaves the cosine at {cosine:.2f}" if np.isfinite(cosine) else "Overflowed: no clipping helps"


def words(d) -> str:
    cosines = (
        f"The cosine with the first-order meta-gradient is {d['mean'][d.at]:.2f} for the mean, clipped or not, and "
        f"{d['each'][d.at]:.2f} with each task clipped to {d.max_norm:.2g}."
    )
    hopeless = "No clipping helps against an infinite gradient."
    return f"From {STARTS[d.start]}, alpha = {d.inner_lr:g}, k = {d.steps}: {in_words(d)}. " + (
        cosines if np.isfinite(d["mean"][d.at]) else hopeless
    )


demo = declare(
    "What clipping does",
    [
        Choice("start", STARTS, "maml", "start from"),
        Notches("inner_lr", RATES, 0.022, "inner rate α"),
        Notches("steps", STEPS, 2, "inner steps k"),
        Slider("max_norm", 0.1, 1000.0, 10.0, "clip to norm", log=True),
        Button("new_tasks", "other tasks"),
    ],
    compute,
    picture,
    words,
    size=(9.4, 4.6),
    may_diverge=("norms", "mean_norm", "share", "mean", "each"),
    views={
        "calm": {"inner_lr": 0.0022},
        "beyond the border": {},
        "clipped hard": {"max_norm": 0.1},
        "overflowed": {"inner_lr": 0.15, "steps": 5},
    },
)
