"""k = 0, alpha = 0 and the union of tasks are one gradient: MAML's beside that of supervised training.

Everything is computed live, in double precision, on the same points: the union sees them all, and MAML's
query set holds them all.
"""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from course_lib.algorithms import MAML, UnionOfTasks
from course_lib.algorithms.heads import StoredHeads
from course_lib.kit import plots
from course_lib.kit.first_edition import Button, Choice, Demo, Notches
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks, TaskBatch

STEPS = (0, 1, 2, 5)
RATES = tuple(round(0.002 * i, 3) for i in range(-5, 6))  # alpha, -0.01 to 0.01
TOP = 1.5  # of the axis of relative differences; curves leave it, and the ring stays at its edge
HEADS = {"a head for each task": "stored", "one shared head": "meta"}
COLORS = (plots.GREY, plots.SKY, plots.BLUE, plots.ORANGE)
NUM_TASKS = 25


def same_points(batch: TaskBatch) -> TaskBatch:
    """The batch with all of a task's points, support and query, in its query set."""
    x = torch.cat([batch.support_x, batch.query_x], 1)  # [T, S + Q, 1]
    y = torch.cat([batch.support_y, batch.query_y], 1)  # [T, S + Q, 1]
    return TaskBatch(batch.support_x, batch.support_y, x, y, batch.task_id)


@lru_cache(maxsize=8)
def problem(head: str, seed: int) -> tuple[MLP, str | StoredHeads, TaskBatch, Tensor]:
    """A fresh network in float64, its heads, a meta-batch, and the union's gradient [parameters]."""
    model = MLP(seed=seed).double()
    heads = StoredHeads(NUM_TASKS, 40, 1, seed=seed).double() if head == "stored" else head
    batch = SinusoidTasks(num_tasks=NUM_TASKS, seed=seed).sample(
        NUM_TASKS, generator=torch.Generator().manual_seed(seed)
    )
    batch = batch.map(lambda part: part.double() if part.is_floating_point() else part)
    return model, heads, same_points(batch), flat(UnionOfTasks(heads).meta_gradient(model, batch)[0])


@lru_cache(maxsize=512)
def maml_gradient(head: str, seed: int, steps: int, rate: float) -> Tensor:
    """MAML's meta-gradient, second derivatives included [parameters]."""
    model, heads, batch, _ = problem(head, seed)
    return flat(MAML(steps, rate, head=heads).meta_gradient(model, batch)[0])


def flat(grads: dict[str, Tensor]) -> Tensor:
    return torch.cat([grads[name].flatten() for name in sorted(grads)])


def compute(values: SimpleNamespace) -> dict:
    """The relative difference for all rates and k, and both gradients at the chosen ones."""
    union = problem(values.head, values.new_tasks)[-1]
    grid = [[maml_gradient(values.head, values.new_tasks, k, rate) for rate in RATES] for k in STEPS]
    chosen = grid[STEPS.index(values.steps)][RATES.index(values.inner_lr)]
    return {
        "rate": values.inner_lr,
        "steps": values.steps,
        "head": values.head,
        "differences": np.array(
            [[float((g - union).norm() / union.norm()) for g in row] for row in grid]
        ),  # [k, alpha]
        "difference": float((chosen - union).norm() / union.norm()),
        "cosine": float(torch.nn.functional.cosine_similarity(chosen, union, dim=0)),
        "union": (union / union.abs().max()).numpy(),
        "maml": (chosen / union.abs().max()).numpy(),
    }


def figure(fig) -> SimpleNamespace:
    left, right = fig.subplots(1, 2, width_ratios=(1.1, 1))
    left.set(xlabel="inner rate \N{GREEK SMALL LETTER ALPHA}", xlim=(-0.0105, 0.0105), ylim=(-0.05, TOP))
    left.set_ylabel("|MAML - union| / |union|")
    left.axvline(0, color=plots.GREY, linewidth=1)
    curves = [
        left.plot([], [], color=color, linestyle=dash, marker=mark, markersize=4, label=f"k = {k}")[0]
        for k, color, dash, mark in zip(STEPS, COLORS, plots.DASHES, plots.MARKERS)
    ]
    ring = {"color": plots.BLACK, "markerfacecolor": "white", "markersize": 10}
    here = left.plot([], [], "o", **ring, label="chosen")[0]
    right.set(xlabel="gradient of the union of tasks", ylabel="meta-gradient of MAML")
    right.set(xlim=(-1.1, 1.1), ylim=(-1.6, 1.6))
    right.plot([-2, 2], [-2, 2], **plots.REFERENCE, label="equal")
    weights = right.plot([], [], ".", color=plots.BLUE, markersize=4, label="a weight of the network")[0]
    fig.legend(loc="outside lower center", ncols=7, columnspacing=1.2, handletextpad=0.5)
    titles = (left.set_title(" "), right.set_title(" "))
    return SimpleNamespace(curves=curves, here=here, weights=weights, titles=titles)


def draw(artists: SimpleNamespace, data: dict) -> None:
    for curve, differences in zip(artists.curves, data["differences"]):
        curve.set_data(RATES, differences)
    artists.here.set_data([data["rate"]], [min(data["difference"], TOP)])
    artists.weights.set_data(data["union"], data["maml"].clip(-1.6, 1.6))
    chosen = f"k = {data['steps']}, \N{GREEK SMALL LETTER ALPHA} = {data['rate']:g}"
    artists.titles[0].set_text(f"{chosen}: difference {data['difference']:.2g}")
    artists.titles[1].set_text(f"cosine {data['cosine']:.4f}")


def alt(data: dict) -> str:
    heads = next(text for text, head in HEADS.items() if head == data["head"])
    off = max(data["differences"][0].max(), data["differences"][:, RATES.index(0.0)].max())
    return (
        f"MAML with k = {data['steps']} and alpha = {data['rate']:g} against supervised training on the same "
        f"points, {heads}: relative difference of the gradients {data['difference']:.2g}, cosine "
        f"{data['cosine']:.4f}. At alpha = 0 or k = 0 the difference is at most {off:.1g}."
    )


def demo() -> Demo:
    """The demo of notebook 06; in its default view one step of 0.006 keeps the two gradients apart."""
    return Demo(
        "Turn the inner loop off and the union of tasks is left",
        controls=[
            Notches("inner_lr", RATES, 0.006, "inner rate \N{GREEK SMALL LETTER ALPHA}"),
            Notches("steps", STEPS, 1, "inner steps k"),
            Choice("head", HEADS, "stored", "heads"),
            Button("new_tasks", "other tasks and weights"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(9.0, 4.4),
    )
