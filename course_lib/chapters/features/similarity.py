"""What CKA measures: the cosine between two pictures of which inputs look alike, before and after the inner loop."""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from course_lib.analysis.tangent import linear_cka
from course_lib.chapters.features import feature_reuse, setup
from course_lib.inner_loop import features, stack_params, trajectory
from course_lib.kit import plots
from course_lib.kit.demo import Button, Slider, declare
from course_lib.losses import mse

MAX_STEPS = 20
LOOK = {"cmap": "RdBu_r", "vmin": -1, "vmax": 1, "interpolation": "nearest", "origin": "lower"}
LOOK |= {"extent": (-5, 5, -5, 5), "aspect": "auto"}


class Seen(NamedTuple):
    """Forty tasks, after 0 to 20 steps of 0.01 on everything."""

    features: Tensor  # [21, T, 100, D] last-layer features on the grid, float32
    cka: Tensor  # [21, T] with the features before
    errors: Tensor  # [21, T] held-out


@lru_cache(maxsize=4)
def measure(start: str) -> Seen:
    return see(setup.network_at(start))


def see(network: nn.Module, draw: int = 0) -> Seen:
    """About half a second."""
    x, y, grid, _ = feature_reuse.points(draw)
    before = {name: p.detach() for name, p in stack_params(network, len(x)).items()}
    walk = trajectory(network, before, x, y, loss_fn=mse, steps=MAX_STEPS, lr=feature_reuse.INNER_LR)
    seen = torch.stack([features(network, after, grid.expand(len(x), -1, -1)).detach() for after in walk])
    errors = feature_reuse.tune(network, draw, MAX_STEPS).errors[0]
    return Seen(seen.float(), linear_cka(seen[:1], seen), errors)


def alike(z: Tensor) -> Tensor:
    """Which inputs look alike: the inner products of the centred features, z [N, D] -> [N, N], of largest entry 1."""
    centred = z - z.mean(0)
    products = centred @ centred.T
    return products / products.abs().max().clamp(min=1e-9)


def compute(values: SimpleNamespace) -> dict:
    """One task's two pictures, and all tasks' CKA beside what they have learnt."""
    now = measure(values.start)
    task, steps = values.task % now.cka.shape[1], values.steps
    return {
        "before": alike(now.features[0, task]),
        "after": alike(now.features[steps, task]),
        "cka": now.cka[steps, task].item(),
        "mean": now.cka[steps].mean().item(),
        "each": torch.stack([now.cka[steps], now.errors[steps] / now.errors[0]], 1).numpy(),  # [T, 2]
        "here": (now.cka[steps, task].item(), (now.errors[steps, task] / now.errors[0, task]).item()),
    }


def picture(fig, show) -> None:
    first, second, right = fig.subplots(1, 3, width_ratios=(1, 1, 1.1))
    for panel, name in ((first, "before"), (second, "after")):
        panel.grid(False)
        panel.set(xlabel="x", xticks=[-5, 0, 5], yticks=[-5, 0, 5])
        image = show.image(panel, name, **LOOK)
    first.set_ylabel("x'")
    bar = fig.colorbar(image, ax=(first, second), location="bottom", aspect=40, pad=0.02, ticks=[-1, 0, 1])
    bar.ax.set_xticklabels(["opposite features", "unrelated", "alike"], fontsize=9)
    plots.name_region(right, 0.03, 0.03, "a dot is a task", ha="left", va="bottom")
    show.title(first, "Alike before")
    show.title(second, lambda d: f"After k = {d.steps}: CKA {d.cka:.2f}")
    right.set(xlabel="CKA with the features before", ylabel="error left, in parts of before", yscale="log")
    right.set(xlim=(-0.03, 1.03), ylim=(0.004, 4))
    right.set_yticks([0.01, 0.1, 1], ["1 %", "10 %", "all"])
    right.minorticks_off()
    show.level(right, 1.0, "nothing learnt", at=0.02)
    show.points(right, "each", color=plots.BLUE, markersize=5, alpha=0.6, markeredgecolor="white")
    show.points(right, lambda d: d.here, **plots.HERE)
    show.title(right, lambda d: f"Mean CKA {d.mean:.2f}")


def words(d) -> str:
    return (
        f"From {setup.STARTS[d.start][0]}, k = {d.steps}. The centred inner products of the 40 last-layer features at "
        f"all pairs of inputs, before and after the inner loop; the cosine between the two is CKA, {d.cka:.2f} for "
        f"this task and {d.mean:.2f} on average. This task's error is {d.here[1]:.0%} of what it was before."
    )


demo = declare(
    "How similar are the features?",
    [
        setup.start_choice("start from"),
        Slider("steps", 0, MAX_STEPS, 10, "inner steps k"),
        Button("task", "another task"),
    ],
    compute,
    picture,
    words,
    size=(9.8, 4.4),
    views={"ten steps of MAML": {}, "random weights": {"start": "random"}, "ordinary training": {"start": "plain"}},
)
