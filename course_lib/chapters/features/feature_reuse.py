"""Last-layer features before and after the inner loop: how much is reuse, and which half adapts."""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch import Tensor

from course_lib.analysis.tangent import feature_reuse
from course_lib.chapters.features import setup as setup
from course_lib.chapters.features.setup import GRID, STARTS
from course_lib.inner_loop import features, predict, stack_params, trajectory
from course_lib.kit import plots
from course_lib.kit.first_edition import Button, Demo, Slider
from course_lib.losses import mse

NUM_TASKS, SHOTS, MAX_STEPS, INNER_LR = 40, 10, 20, 0.01
EVERY = 2  # one grid point of two is enough here: 100 of them
KEPT = {
    "everything": ("features", "head"),
    "only the body's change": ("features",),
    "only the head's change": ("head",),
}
LOOK = {"extent": (-5, 5, 40, 0), "aspect": "auto", "interpolation": "nearest"}
LOOK |= {"vmin": 0, "vmax": 1.5, "cmap": "magma"}
LOOKS = ((plots.BLUE, "-"), (plots.GREEN, "--"), (plots.ORANGE, "-."))


class Measured(NamedTuple):
    """Forty tasks, ten points each."""

    features: Tensor  # [21, 40 tasks, 100, 40 features] float32
    errors: Tensor  # [3 of KEPT, 21, 40 tasks] held-out
    reuse: Tensor  # [21, 40 tasks] linear CKA with the features before


@lru_cache(maxsize=len(STARTS))
def measure(start: str) -> Measured:
    """Fine-tune everything; then undo the head's part of the change, or the body's. About half a second."""
    network = setup.network_at(start)
    batch, truth = setup.test_tasks(NUM_TASKS, SHOTS)
    grid, truth = GRID[::EVERY].expand(NUM_TASKS, -1, -1), truth[:, ::EVERY]
    before = {name: p.detach() for name, p in stack_params(network, NUM_TASKS).items()}
    options = {"loss_fn": mse, "steps": MAX_STEPS, "lr": INNER_LR}
    seen, errors, reuse = [], [], []
    for after in trajectory(network, before, batch.support_x, batch.support_y, **options):
        mixed = [
            {name: (after if name.split(".")[0] in kept else before)[name] for name in after}
            for kept in KEPT.values()
        ]
        seen.append(features(network, after, grid).float())
        errors.append(torch.stack([mse(predict(network, p, grid), truth[..., None]) for p in mixed]))
        reuse.append(feature_reuse(network, before, after, grid))
    return Measured(torch.stack(seen), torch.stack(errors, 1), torch.stack(reuse))


def compute(values: SimpleNamespace) -> dict:
    """One task's features before and after k steps; the median error with both changes or with one alone."""
    now = measure(values.start)
    task, steps = values.task % NUM_TASKS, values.steps
    before, after = now.features[0, task].T, now.features[steps, task].T  # [40, 100] each
    where = (before * torch.arange(1, 101)).sum(1) / (before.sum(1) + 1e-6)  # [40] on x a feature is active
    order = where.argsort()
    scale = before.amax(1, keepdim=True).clamp(min=1e-3)  # of each feature, before
    _, truth = setup.test_tasks(NUM_TASKS, SHOTS)
    return {
        "start": values.start,
        "steps": steps,
        "before": (before / scale)[order].numpy(),
        "after": (after / scale)[order].numpy(),
        "medians": now.errors.median(-1).values.numpy(),  # [3, 21]
        "zero": truth.square().mean(-1).median().item(),
        "reuse": now.reuse[steps, task].item(),
        "mean_reuse": now.reuse[steps].mean().item(),
    }


def figure(fig) -> SimpleNamespace:
    first, second, right = fig.subplots(1, 3, width_ratios=(0.8, 0.8, 1.3))
    images = []
    for panel in (first, second):
        panel.grid(False)
        panel.set(xlabel="x", xticks=[-5, 0, 5], yticks=[])
        images.append(panel.imshow(torch.zeros(2, 2).numpy(), **LOOK))
    first.set_ylabel("last-layer features, one a row")
    right.set(xlabel="inner steps k", ylabel=f"held-out error, median of {NUM_TASKS} tasks", yscale="log")
    right.set(xlim=(-0.5, MAX_STEPS + 0.5), ylim=(0.02, 10), xticks=range(0, MAX_STEPS + 1, 5))
    zero = right.plot([], [], **plots.REFERENCE, label="predicting zero")[0]
    curves = [
        right.plot([], [], color=color, linestyle=dash, label=f"keep {text}")[0]
        for text, (color, dash) in zip(KEPT, LOOKS)
    ]
    marks = [
        right.plot([], [], "o", color=color, markerfacecolor="white", markersize=8)[0] for color, _ in LOOKS
    ]
    fig.legend(loc="outside lower center", ncols=2)
    titles = (first.set_title("Before"), second.set_title(" "), right.set_title(" "))
    return SimpleNamespace(images=images, zero=zero, curves=curves, marks=marks, titles=titles)


def draw(artists: SimpleNamespace, data: dict) -> None:
    for image, name in zip(artists.images, ("before", "after")):
        image.set_data(data[name])
    artists.zero.set_data([-0.5, MAX_STEPS + 0.5], [data["zero"]] * 2)
    for curve, mark, errors in zip(artists.curves, artists.marks, data["medians"]):
        curve.set_data(range(MAX_STEPS + 1), errors)
        mark.set_data([data["steps"]], [errors[data["steps"]]])
    artists.titles[1].set_text(f"After k = {data['steps']}")
    artists.titles[2].set_text(f"CKA of this task {data['reuse']:.2f}, mean {data['mean_reuse']:.2f}")


def alt(data: dict) -> str:
    errors = ", ".join(f"{text} {e:.3g}" for text, e in zip(KEPT, data["medians"][:, data["steps"]]))
    return (
        f"From {STARTS[data['start']][0]}, k = {data['steps']}. Two heat maps of the 40 last-layer features "
        f"over x, before and after; their similarity (linear CKA) is {data['reuse']:.2f}, on average "
        f"{data['mean_reuse']:.2f}. Median held-out error, keeping: {errors}; "
        f"predicting zero {data['zero']:.3g}."
    )


def demo() -> Demo:
    """The first demo of notebook 05; its default view is MAML's network after one step."""
    return Demo(
        "Which half of the network adapts?",
        controls=[
            setup.start_choice("start from"),
            Slider("steps", 0, MAX_STEPS, 1, "inner steps k"),
            Button("task", "another task"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(9.0, 4.6),
    )
