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

from course_lib.analysis.unrolling import clip, product_meta_gradients, unroll
from course_lib.chapters.what_k_costs.k_border import network, within
from course_lib.inner_loop import stack_params
from course_lib.kit import plots
from course_lib.kit.first_edition import Button, Choice, Demo, Notches, Slider
from course_lib.losses import mse
from course_lib.tasks import SinusoidTasks

RATES = [0.001, 0.0015, 0.0022, 0.0033, 0.0047, 0.0068, 0.01, 0.015, 0.022, 0.033, 0.047, 0.068, 0.1, 0.15]
STEPS = [1, 2, 3, 5, 10]
NUM_TASKS, SHOTS = 20, 10
STARTS = {"MAML's weights": "maml", "random weights": "random"}
NORMS = (1e-2, 1e8)  # limits of the left panel


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


@lru_cache(maxsize=64)
def directions(start: str, steps: int, max_norm: float, draw: int = 0) -> dict[str, Tensor]:
    """Against the rate [A]: cosines with the first-order meta-gradient, the longest gradient's share of all.

    "mean" is the mean of the tasks' gradients, clipped or not; in "each" every gradient is clipped before the
    mean. NaN where a gradient overflowed.
    """
    full, first_order = (g[STEPS.index(steps)].double() for g in gradients(start, draw))  # [A, T, P]
    norms, reference = full.norm(dim=-1), first_order.mean(1)  # [A, T], [A, P]
    return {
        "norms": norms,
        "share": norms.amax(1) / norms.sum(1),
        "mean": torch.cosine_similarity(full.mean(1), reference, dim=-1),
        "each": torch.cosine_similarity(clip(full, max_norm).mean(1), reference, dim=-1),
    }


def compute(values: SimpleNamespace) -> dict:
    """The norms of all tasks at the chosen rate and k, and the directions at every rate."""
    found = directions(values.start, values.steps, values.max_norm, values.new_tasks)
    at = RATES.index(values.inner_lr)
    mean = gradients(values.start, values.new_tasks)[0][STEPS.index(values.steps), at].double().mean(0)  # [P]
    return {
        "at": at,
        "steps": values.steps,
        "max_norm": values.max_norm,
        "norms": found["norms"][at].sort(descending=True).values.numpy(),  # [T]
        "mean_norm": float(mean.norm()),
        **{name: found[name].numpy() for name in ("share", "mean", "each")},
    }


def figure(fig) -> SimpleNamespace:
    left, right = fig.subplots(1, 2, width_ratios=(1, 1.15))
    left.set(xlabel="tasks, longest gradient first", ylabel="norm of the task's meta-gradient")
    left.set(xlim=(0, NUM_TASKS + 1), ylim=NORMS, yscale="log")
    tasks = left.plot([], [], "o", color=plots.BLUE, label="a task's meta-gradient")[0]
    mean = left.plot([], [], color=plots.BLACK, linestyle="-", label="norm of their mean")[0]
    limit = left.plot([], [], color=plots.ORANGE, linestyle="--", label="clipped to this norm")[0]
    right.set(xlabel="inner rate α", ylabel="cosine with first-order; share", xscale="log")
    right.set(xlim=(RATES[0] * 0.85, RATES[-1] * 1.18), ylim=(-1.05, 1.05))
    right.axhline(0, **plots.REFERENCE)
    share = right.plot([], [], "^:", color=plots.GREY, label="longest gradient's share")[0]
    whole = right.plot([], [], "o-", color=plots.BLACK, label="cosine, mean, clipped or not")[0]
    each = right.plot([], [], "s--", color=plots.GREEN, label="cosine, each task clipped first")[0]
    chosen = right.plot([], [], color=plots.AMBER, linewidth=1.5, label="chosen α")[0]
    fig.legend(loc="outside lower center", ncols=3)
    titles = (left.set_title(" "), right.set_title(" "))
    lines = {"tasks": tasks, "mean": mean, "limit": limit, "share": share, "whole": whole, "each": each}
    return SimpleNamespace(chosen=chosen, titles=titles, **lines)


def draw(artists: SimpleNamespace, data: dict) -> None:
    at, ends = data["at"], [0, NUM_TASKS + 1]
    artists.tasks.set_data(range(1, NUM_TASKS + 1), within(data["norms"], NORMS))
    artists.mean.set_data(ends, [within(np.array(data["mean_norm"]), NORMS)] * 2)
    artists.limit.set_data(ends, [data["max_norm"]] * 2)
    artists.share.set_data(RATES, data["share"])
    artists.whole.set_data(RATES, data["mean"])
    artists.each.set_data(RATES, data["each"])
    artists.chosen.set_data([RATES[at]] * 2, [-1.05, 1.05])
    artists.titles[0].set_text(f"α = {RATES[at]:g}, k = {data['steps']}: {in_words(data)}")
    artists.titles[1].set_text("Clipping shortens the mean, never turns it")


def in_words(data: dict) -> str:
    share = data["share"][data["at"]]
    return f"one task is {share:.0%} of the sum" if np.isfinite(share) else "overflowed"


def alt(data: dict) -> str:
    at = data["at"]
    cosines = (
        f"The cosine with the first-order meta-gradient is {data['mean'][at]:.2f} for the mean, clipped or "
        f"not, and {data['each'][at]:.2f} with each task clipped to {data['max_norm']:.2g}."
    )
    return f"alpha = {RATES[at]:g}, k = {data['steps']}: {in_words(data)}. " + (
        cosines if np.isfinite(data["mean"][at]) else "No clipping helps against an infinite gradient."
    )


def demo() -> Demo:
    """The second demo of notebook 03; its default view is a rate beyond the border."""
    return Demo(
        "What clipping does",
        controls=[
            Choice("start", STARTS, "maml", "start from"),
            Notches("inner_lr", RATES, 0.022, "inner rate α"),
            Notches("steps", STEPS, 2, "inner steps k"),
            Slider("max_norm", 0.1, 1000.0, 10.0, "clip to norm", log=True),
            Button("new_tasks", "other tasks"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(9.4, 4.6),
        may_diverge=("norms", "mean_norm", "share", "mean", "each"),
    )
