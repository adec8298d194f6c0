"""What an inner step of either sign does to the loss of each example and to the weight of each task.

Everything is computed live. A task's weight is the length of its share of the meta-gradient, relative to
alpha = 0:

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

NETWORKS = {"random": "random weights", "pretrained": "trained with one head", "maml_k1": "MAML"}
AGAINST = {"fixable": "what a small step fixes", "loss": "how wrong the network is"}
NUM_TASKS, SMALL = 60, 0.001  # SMALL: the step that says how fixable a task is
MOST = NUM_TASKS // 5  # of the tasks, those furthest to the right are marked
SUPERLATIVES = {"fixable": "most fixable", "loss": "most wrong"}


@lru_cache(maxsize=256)
def after_step(network: str, rate: float, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """After one inner step: losses of support examples [T, S], query losses [T], |their gradients| [T]."""
    model = MLP(seed=1) if network == "random" else checkpoints.load(f"sinusoid/{network}")[0]
    generator = torch.Generator().manual_seed(seed)
    batch = SinusoidTasks(shots=10, queries=10).sample(NUM_TASKS, generator=generator)
    params = {name: p.detach().requires_grad_() for name, p in stack_params(model, NUM_TASKS).items()}
    adapted = adapt(model, params, batch.support_x, batch.support_y, loss_fn=mse, steps=1, lr=rate)
    query = mse(predict(model, adapted, batch.query_x), batch.query_y)  # [T]
    grads = torch.autograd.grad(query.sum(), list(params.values()))  # of each task alone: they share nothing
    lengths = sum(g.flatten(1).square().sum(1) for g in grads).sqrt()  # [T]
    examples = (predict(model, adapted, batch.support_x) - batch.support_y)[..., 0].square()  # [T, S]
    return examples.detach(), query.detach(), lengths


def rank_correlation(a: Tensor, b: Tensor) -> float:
    """Spearman's: 1 if both put the tasks in the same order, 0 if the orders have nothing in common."""
    ranks = torch.stack([v.argsort().argsort().double() for v in (a, b)])
    return float(torch.corrcoef(ranks)[0, 1])


def compute(values: SimpleNamespace) -> dict:
    """Losses of examples before and after, the weight of every task, and which tasks are marked."""
    before, loss, length = after_step(values.network, 0.0, values.new_tasks)
    after, _, scaled = after_step(values.network, values.inner_lr, values.new_tasks)
    _, eased, _ = after_step(values.network, SMALL, values.new_tasks)
    weights = scaled / length  # [T]
    measure = 1 - eased / loss if values.against == "fixable" else loss  # [T]
    marked = torch.zeros(NUM_TASKS, dtype=torch.bool)
    marked[measure.topk(MOST).indices] = True
    return {
        "examples": torch.stack([before, after], -1).sqrt().numpy(),  # [T, S, 2]: errors
        "growth": float(after.mean() / before.mean()),
        "tasks": torch.stack([measure, weights], 1).numpy(),  # [T, 2]
        "marked": marked.numpy(),
        "median": float(weights.median()),
        "marked_median": float(weights[marked].median()),
        "shares": [float(part[marked].sum() / part.sum()) for part in (length, scaled)],  # without the step, with it
        "correlation": rank_correlation(weights, measure) if values.inner_lr else 0.0,
    }


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2)
    left.set(xlabel="error of an example before the inner step", ylabel="after it")
    left.axline((0, 0), slope=1, **plots.REFERENCE)
    left.text(0.98, 0.02, "below: improved", transform=left.transAxes, fontsize=9, ha="right", color=plots.QUIET)
    left.text(0.02, 0.93, "above: made worse", transform=left.transAxes, fontsize=9, color=plots.QUIET)
    room = lambda d: (0, 2 * np.ceil(d.examples.max() / 2))
    show.limits(left, room, room)

    right.set(ylabel="weight in the meta-gradient", yscale="log")
    right.set_yticks([0.03, 0.1, 0.3, 0.5, 1, 2, 3, 10], ["0.03", "0.1", "0.3", "0.5", "1", "2", "3", "10"])
    right.minorticks_off()
    show.level(right, 1, "as without the step")
    show.limits(right, wide, high)
    measured = {"fixable": f"share of loss that +{SMALL} removes", "loss": "loss before the step"}
    show.also(lambda d: right.set_xlabel(f"a task's {measured[d.against]}"))

    for marked, color in ((False, "#9a9a9a"), (True, plots.ORANGE)):
        of = lambda d, marked=marked: d.marked == marked
        show.points(left, lambda d, of=of: d.examples[of(d)].reshape(-1, 2), marker=".", markersize=4, color=color)
        show.points(right, lambda d, of=of: d.tasks[of(d)], marker="D", markersize=5, color=color, alpha=0.8)
    name = lambda d: f"orange: the {SUPERLATIVES[d.against]} fifth of the tasks,\nand their examples on the left"
    show.text(right, lambda d: wide(d)[1], lambda d: high(d)[0] * 1.05, name, ha="right", va="bottom", fontsize=9)
    correlation = lambda d: f"rank correlation {d.correlation:+.2f}"
    show.text(right, 0.02, 0.94, correlation, fontsize=9, transform=right.transAxes)
    show.title(left, lambda d: f"\N{GREEK SMALL LETTER ALPHA} = {d.inner_lr:g}: the mean loss times {d.growth:.2f}")
    show.title(right, lambda d: f"Weight: {SUPERLATIVES[d.against]} {d.marked_median:.2f}, all {d.median:.2f}")


def wide(d) -> tuple[float, float]:
    """Limits of what the tasks are drawn against; in steps, since a new limit redraws all."""
    low, top = d.tasks[:, 0].min(), plots.nice_ceiling(1.02 * d.tasks[:, 0].max())
    return -top / 10 if low >= 0 or low > -top / 10 else -plots.nice_ceiling(-low), top


def high(d) -> tuple[float, float]:
    """Limits of the weights: as far below 1 as above it."""
    reach = max(2.0, plots.nice_ceiling(1.1 * float(np.exp(np.abs(np.log(d.tasks[:, 1])).max()))))
    return 1 / reach, reach


def words(d) -> str:
    return (
        f"{NETWORKS[d.network]}, one inner step of {d.inner_lr:g}: the mean support loss is multiplied by "
        f"{d.growth:.2f}. In the meta-gradient the median task weighs {d.median:.2f} times as much as without it, from "
        f"{d.tasks[:, 1].min():.2f} to {d.tasks[:, 1].max():.2f}; rank correlation of the weight with "
        f"{AGAINST[d.against]}: {d.correlation:+.2f}. The fifth of the tasks that is {SUPERLATIVES[d.against]} has "
        f"{d.shares[1]:.0%} of the gradient, without the step {d.shares[0]:.0%}."
    )


demo = declare(
    "The sign of the inner rate: what it does to examples and tasks",
    [
        Slider("inner_lr", -0.01, 0.01, -0.005, "inner rate \N{GREEK SMALL LETTER ALPHA}", step=0.001),
        Choice("network", NETWORKS, "pretrained", "network"),
        Choice("against", AGAINST, "fixable", "tasks against"),
        Button("new_tasks", "other tasks"),
    ],
    compute,
    picture,
    words,
    size=(9.4, 4.3),
    views={
        "a negative rate": {},
        "a positive rate": {"inner_lr": 0.005},
        "are the wrongest turned up?": {"against": "loss"},
        "on MAML's network": {"network": "maml_k1"},
    },
)
