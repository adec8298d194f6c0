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
from course_lib.kit.first_edition import Button, Choice, Demo, Slider
from course_lib.losses import mse
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks

NETWORKS = {"random weights": "random", "trained with one head": "pretrained", "MAML": "maml_k1"}
AGAINST = {"what a small step fixes": "fixable", "how wrong the network is": "loss"}
NUM_TASKS, SMALL = 60, 0.001  # SMALL: the step that says how fixable a task is
EXAMPLES = 20  # tasks whose examples are drawn on the left


@lru_cache(maxsize=256)
def after_step(network: str, rate: float, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """After one inner step: losses of support examples [T, S], query losses [T], |their gradients| [T]."""
    model = MLP(seed=1) if network == "random" else checkpoints.load(f"sinusoid/{network}")[0]
    batch = SinusoidTasks(shots=10, queries=10).sample(
        NUM_TASKS, generator=torch.Generator().manual_seed(seed)
    )
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
    """Losses of examples before and after, and the weight of every task."""
    before, loss, length = after_step(values.network, 0.0, values.new_tasks)
    after, _, scaled = after_step(values.network, values.inner_lr, values.new_tasks)
    _, eased, _ = after_step(values.network, SMALL, values.new_tasks)
    weights = scaled / length  # [T]
    measure = 1 - eased / loss if values.against == "fixable" else loss  # [T]
    return {
        "rate": values.inner_lr,
        "network": values.network,
        "against": values.against,
        "before": before[:EXAMPLES].flatten().numpy(),
        "after": after[:EXAMPLES].flatten().numpy(),
        "growth": float(after.mean() / before.mean()),
        "measure": measure.numpy(),
        "weights": weights.numpy(),
        "median": float(weights.median()),
        "correlation": rank_correlation(weights, measure) if values.inner_lr else 0.0,
    }


def figure(fig) -> SimpleNamespace:
    left, right = fig.subplots(1, 2)
    left.set(xlabel="loss of an example before the inner step", ylabel="after it", xscale="log", yscale="log")
    left.set(xlim=(1e-2, 100), ylim=(1e-2, 100))
    left.plot([1e-2, 100], [1e-2, 100], **plots.REFERENCE, label="unchanged")
    examples = left.plot([], [], ".", color=plots.BLUE, markersize=5, label="a support example")[0]
    right.set(ylabel="weight in the meta-gradient", yscale="log", ylim=(0.28, 3.6), xlim=(-0.01, 0.11))
    right.set_yticks([0.1, 0.3, 0.5, 1, 2, 3, 10], ["0.1", "0.3", "0.5", "1", "2", "3", "10"])
    right.minorticks_off()
    right.axhline(1, **plots.REFERENCE)
    tasks = right.plot([], [], "D", color=plots.ORANGE, alpha=0.7, markersize=5, label="a task")[0]
    fig.legend(loc="outside lower center", ncols=3)
    titles = (left.set_title(" "), right.set_title(" "))
    return SimpleNamespace(right=right, examples=examples, tasks=tasks, titles=titles)


def draw(artists: SimpleNamespace, data: dict) -> None:
    artists.examples.set_data(data["before"].clip(1e-2, 100), data["after"].clip(1e-2, 100))
    artists.tasks.set_data(data["measure"], data["weights"].clip(0.03, 12))
    maml = data["network"] == "maml_k1"
    if data["against"] == "loss":
        limits, label = (0, 26), "query loss before the inner step"
    else:
        limits, label = (
            (-0.05, 0.5) if maml else (-0.01, 0.11),
            f"share removed by a step of +{SMALL}",
        )
    plots.set_limits(artists.right, x=limits, y=(0.03, 12) if maml else (0.28, 3.6))
    if artists.right.get_xlabel() != label:
        artists.right.set_xlabel(label)
    sign = "\N{GREEK SMALL LETTER ALPHA}"
    artists.titles[0].set_text(f"{sign} = {data['rate']:g}: mean support loss x {data['growth']:.2f}")
    artists.titles[1].set_text(
        f"median weight {data['median']:.2f}, rank corr. {data['correlation']:+.2f}"
    )


def alt(data: dict) -> str:
    name = next(text for text, network in NETWORKS.items() if network == data["network"])
    against = next(text for text, measure in AGAINST.items() if measure == data["against"])
    return (
        f"{name}, one inner step of {data['rate']:g}: the mean support loss is multiplied by "
        f"{data['growth']:.2f}. In the meta-gradient the median task weighs {data['median']:.2f} times as "
        f"much as without it, from {np.min(data['weights']):.2f} to {np.max(data['weights']):.2f}; rank "
        f"correlation of the weight with {against}: {data['correlation']:+.2f}."
    )


def demo() -> Demo:
    """The demo of notebook 06; in its default view a negative rate turns up what a step could have fixed."""
    return Demo(
        "The sign of the inner rate: what it does to examples and tasks",
        controls=[
            Slider("inner_lr", -0.01, 0.01, -0.005, "inner rate \N{GREEK SMALL LETTER ALPHA}", step=0.001),
            Choice("network", NETWORKS, "pretrained", "network"),
            Choice("against", AGAINST, "fixable", "tasks against"),
            Button("new_tasks", "other tasks"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(9.0, 4.6),
    )
