"""What an inner step of either sign does to the loss of each task and to its weight in the meta-gradient.

Everything is computed live. A task's weight is the length of its share of the meta-gradient, relative to alpha = 0:

    w_i(alpha) = |grad_theta L_i(theta - alpha grad L_i)| / |grad_theta L_i(theta)|
"""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from course_lib import checkpoints
from course_lib.inner_loop import adapt, predict, stack_params
from course_lib.kit import plots
from course_lib.kit.demo import Button, Choice, Slider, declare
from course_lib.losses import mse
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks

NETWORKS = {"maml_k1": "MAML's", "pretrained": "pre-trained, one head", "random": "random weights"}
AGAINST = {"loss": "how wrong the network is", "fixable": "what a small step fixes"}
NUM_TASKS, SMALL = 60, 0.001  # SMALL: the step that says how fixable a task is
MOST = NUM_TASKS // 5  # of the tasks, those furthest to the right are marked
SUPERLATIVES = {"fixable": "most fixable", "loss": "most wrong"}


@lru_cache(maxsize=256)
def after_step(network: str, rate: float, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """After one inner step, of each task: its support loss, its query loss, the length of its gradient, [T] each."""
    model = MLP(seed=1 + seed) if network == "random" else checkpoints.load(f"sinusoid/{network}")[0]
    generator = torch.Generator().manual_seed(seed)
    batch = SinusoidTasks(shots=10, queries=10).sample(NUM_TASKS, generator=generator)
    params = {name: p.detach().requires_grad_() for name, p in stack_params(model, NUM_TASKS).items()}
    adapted = adapt(model, params, batch.support_x, batch.support_y, loss_fn=mse, steps=1, lr=rate)
    support, query = (
        mse(predict(model, adapted, x), y)
        for x, y in ((batch.support_x, batch.support_y), (batch.query_x, batch.query_y))
    )
    grads = torch.autograd.grad(query.sum(), list(params.values()))  # of each task alone: they share nothing
    lengths = sum(g.flatten(1).square().sum(1) for g in grads).sqrt()  # [T]
    return support.detach(), query.detach(), lengths


def rank_correlation(a: Tensor, b: Tensor) -> float:
    """Spearman's: 1 if both put the tasks in the same order, 0 if the orders have nothing in common."""
    ranks = torch.stack([v.argsort().argsort().double() for v in (a, b)])
    return float(torch.corrcoef(ranks)[0, 1])


def weigh(network: str, rate: float, against: str, seed: int) -> dict:
    """Support losses before and after the step, the weight of every task, and which tasks are marked."""
    before, loss, length = after_step(network, 0.0, seed)
    after, _, scaled = after_step(network, rate, seed)
    measure = 1 - after_step(network, SMALL, seed)[1] / loss if against == "fixable" else loss  # [T]
    marked = torch.zeros(NUM_TASKS, dtype=torch.bool)
    marked[measure.topk(MOST).indices] = True
    weights = scaled / length  # [T]
    return {
        "before": before.numpy(),
        "after": after.numpy(),
        "growth": float(after.mean() / before.mean()),
        "tasks": torch.stack([measure, weights], 1).numpy(),  # [T, 2]
        "marked": marked.numpy(),
        "median": float(weights.median()),
        "marked_median": float(weights[marked].median()),
        "shares": [float(part[marked].sum() / part.sum()) for part in (length, scaled)],  # without the step, with it
        "correlation": rank_correlation(weights, measure) if rate else 0.0,
    }


def compute(values: SimpleNamespace) -> dict:
    return weigh(values.network, values.inner_lr, values.against, values.new_tasks)


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2, width_ratios=(1, 1.9))
    left.set(xlim=(-0.15, 1.15), ylabel="support loss of a task", yscale="log", ylim=(0.02, 60))
    left.set_xticks([0, 1], ["before\nthe inner step", "after it"])
    left.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
    left.minorticks_off()
    right.set(ylabel="weight in the meta-gradient", yscale="log")
    right.set_yticks([0.03, 0.1, 0.3, 0.5, 1, 2, 3, 10], ["0.03", "0.1", "0.3", "0.5", "1", "2", "3", "10"])
    right.minorticks_off()
    show.level(right, 1, "as without the step")
    show.limits(right, wide, high)
    measured = {"fixable": f"share of loss that +{SMALL} removes", "loss": "loss before the step"}
    show.also(lambda d: right.xaxis.label.set_text(f"a task's {measured[d.against]}"))
    for marked, color in ((False, "#a8a8a8"), (True, plots.ORANGE)):
        of = lambda d, marked=marked: d.marked == marked
        slopes = lambda d, of=of: [
            np.array([[0, a], [1, b]]).clip(0.02, 60) for a, b in zip(d.before[of(d)], d.after[of(d)])
        ]
        show.paths(left, slopes, color=color, linewidth=1.2, alpha=0.8)
        stems = lambda d, of=of: [np.array([[x, 1], [x, weight]]) for x, weight in d.tasks[of(d)]]
        show.paths(right, stems, color=color, linewidth=1.2, alpha=0.8)
        show.points(right, lambda d, of=of: d.tasks[of(d)], marker="D", markersize=5, color=color)
    name = lambda d: f"orange: the {SUPERLATIVES[d.against]} fifth of the tasks,\nin both panels"
    note = {"fontsize": 9, "transform": right.transAxes}  # above or below the tasks
    show.text(right, 0.99, lambda d: 0.02 if d.median >= 1 else 0.87, name, ha="right", va="bottom", **note)
    correlation = lambda d: f"rank correlation {d.correlation:+.2f}"
    show.text(
        right, 0.02, lambda d: 0.94 if d.median >= 1 else 0.03, correlation, fontsize=9, transform=right.transAxes
    )
    show.title(left, lambda d: f"The mean loss times {d.growth:.2f}")
    show.title(right, lambda d: f"The {SUPERLATIVES[d.against]} weigh {d.marked_median:.2f}, all tasks {d.median:.2f}")


def wide(d) -> tuple[float, float]:
    """Limits of what the tasks are drawn against; in steps, since a new limit redraws all."""
    low, top = d.tasks[:, 0].min(), plots.nice_ceiling(1.05 * d.tasks[:, 0].max())
    return -top / 20 if low > -top / 20 else -plots.nice_ceiling(-1.05 * low), top


def high(d) -> tuple[float, float]:
    """Limits of the weights: as far below 1 as above it."""
    reach = max(2.0, plots.nice_ceiling(1.5 * float(np.exp(np.abs(np.log(d.tasks[:, 1])).max()))))
    return 1 / reach, reach


def words(d) -> str:
    return (
        f"{NETWORKS[d.network]} network, one inner step of {d.inner_lr:g}: the mean support loss is multiplied by "
        f"{d.growth:.2f}. In the meta-gradient the median task weighs {d.median:.2f} times as much as without it, from "
        f"{d.tasks[:, 1].min():.2f} to {d.tasks[:, 1].max():.2f}; rank correlation of the weight with "
        f"{AGAINST[d.against]}: {d.correlation:+.2f}. The fifth of the tasks that is {SUPERLATIVES[d.against]} has "
        f"{d.shares[1]:.0%} of the gradient, without the step {d.shares[0]:.0%}."
    )


demo = declare(
    "The sign of the inner rate: what it does to tasks",
    [
        Slider("inner_lr", -0.01, 0.01, -0.005, "inner rate \N{GREEK SMALL LETTER ALPHA}", step=0.001),
        Choice("network", NETWORKS, "maml_k1", "network"),
        Choice("against", AGAINST, "loss", "tasks against"),
        Button("new_tasks", "other tasks"),
    ],
    compute,
    picture,
    words,
    size=(9.6, 4.4),
    views={
        "are the wrongest turned up?": {},
        "the most fixable are": {"against": "fixable"},
        "a positive rate": {"inner_lr": 0.005, "against": "fixable"},
        "on another network": {"network": "pretrained"},
    },
)
