"""k = 0, alpha = 0 and the union of tasks are one gradient: MAML's beside that of supervised training.

Everything is computed live, in double precision, on the same points: the union sees them all, and MAML's
query set holds them all.
"""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import torch
from torch import Tensor

from course_lib.algorithms import MAML, UnionOfTasks
from course_lib.algorithms.heads import StoredHeads
from course_lib.kit import plots
from course_lib.kit.demo import Button, Choice, Notches, declare
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks, TaskBatch

STEPS = (0, 1, 2, 5)
RATES = tuple(round(0.002 * i, 3) for i in range(-5, 6))  # alpha, -0.01 to 0.01
TOP = 1.5  # of the axis of relative differences; curves leave it, and the ring stays at its edge
HEADS = {"stored": "a head for each task", "meta": "one shared head"}
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
    generator = torch.Generator().manual_seed(seed)
    batch = SinusoidTasks(num_tasks=NUM_TASKS, seed=seed).sample(NUM_TASKS, generator=generator)
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
    """The relative difference for all k and rates [4, 11], and both gradients at the chosen ones."""
    union = problem(values.head, values.new_tasks)[-1]
    grid = torch.stack(
        [torch.stack([maml_gradient(values.head, values.new_tasks, k, rate) for rate in RATES]) for k in STEPS]
    )  # [k, alpha, parameters]
    chosen = grid[STEPS.index(values.steps), RATES.index(values.inner_lr)]
    return {
        "differences": (grid - union).norm(dim=-1) / union.norm(),
        "difference": float((chosen - union).norm() / union.norm()),
        "cosine": float(torch.nn.functional.cosine_similarity(chosen, union, dim=0)),
        "weights": torch.stack([union, chosen], 1) / union.abs().max(),  # [parameters, 2]
    }


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2, width_ratios=(1.15, 1))
    left.set(xlabel="inner rate \N{GREEK SMALL LETTER ALPHA}", xlim=(-0.0105, 0.0105), ylim=(-0.04, TOP))
    left.set_ylabel("|MAML - union| / |union|")
    left.set_xticks([-0.01, -0.005, 0, 0.005, 0.01])
    show.mark(left, 0, linestyle="-", linewidth=1)
    plots.name_region(left, 0.12, 0.12, "uphill")
    plots.name_region(left, 0.87, 0.12, "downhill")
    for row, (k, dash, mark) in enumerate(zip(STEPS, plots.DASHES, plots.MARKERS)):
        chosen = lambda yes, no, k=k: lambda d: yes if d.steps == k else no
        look = {"color": chosen(plots.BLUE, "#9a9a9a"), "linewidth": chosen(2.8, 1.2), "zorder": 3}
        look |= {"linestyle": dash, "marker": mark, "markersize": 4}
        show.line(left, RATES, lambda d, row=row: d.differences[row], **look, end=f"k = {k}")
    show.points(left, "inner_lr", lambda d: min(d.difference, TOP), **plots.HERE, zorder=5, clip_on=False)
    show.title(left, lambda d: f"k = {d.steps}, \N{GREEK SMALL LETTER ALPHA} = {d.inner_lr:g}: {verdict(d)}")

    right.set(xlabel="a weight's gradient in the union of tasks", ylabel="its gradient in MAML")
    right.set(xlim=(-1.1, 1.1), xticks=[-1, -0.5, 0, 0.5, 1])
    right.axline((0, 0), slope=1, **plots.REFERENCE)
    right.text(0.02, 0.95, "dotted: equal", transform=right.transAxes, color=plots.QUIET, fontsize=9)
    show.limits(right, y=lambda d: (-reach(d), reach(d)))
    show.points(right, "weights", marker=".", markersize=4, color=plots.BLUE)
    show.title(right, lambda d: f"Weight by weight: cosine {d.cosine:.4f}")


def reach(d) -> float:
    return 1.1 * max(1.0, plots.nice_ceiling(float(d.weights[:, 1].abs().max())))


def verdict(d) -> str:
    return "one gradient" if d.difference < 1e-9 else f"{d.difference:.0%} away from the union's"


def words(d) -> str:
    off = max(d.differences[0].max(), d.differences[:, RATES.index(0.0)].max())
    return (
        f"MAML with k = {d.steps} and alpha = {d.inner_lr:g} against supervised training on the same points, "
        f"{HEADS[d.head]}: relative difference of the gradients {d.difference:.2g}, cosine {d.cosine:.4f}. "
        f"At alpha = 0 or k = 0 the difference is at most {off:.1g}."
    )


demo = declare(
    "Turn the inner loop off and the union of tasks is left",
    [
        Notches("inner_lr", RATES, 0.006, "inner rate \N{GREEK SMALL LETTER ALPHA}"),
        Notches("steps", STEPS, 1, "inner steps k"),
        Choice("head", HEADS, "stored", "heads"),
        Button("new_tasks", "other tasks and weights"),
    ],
    compute,
    picture,
    words,
    size=(9.4, 4.2),
    views={
        "one step": {},
        "a rate of zero": {"inner_lr": 0.0},
        "no steps": {"steps": 0},
        "five steps uphill": {"inner_lr": -0.004, "steps": 5},
    },
)
