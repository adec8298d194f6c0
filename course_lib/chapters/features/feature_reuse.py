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
from course_lib.kit.demo import Button, Slider, declare
from course_lib.losses import mse

NUM_TASKS, SHOTS, MAX_STEPS, INNER_LR = 40, 10, 20, 0.01
EVERY = 2  # one grid point of two is enough here: 100 of them
KEPT = {
    "everything": ("features", "head"),
    "only the body's change": ("features",),
    "only the head's change": ("head",),
}
LOOK = {"extent": (-5, 5, 40, 0), "aspect": "auto", "interpolation": "nearest"}
LOOK |= {"vmin": 0, "vmax": 1.5, "cmap": "Blues"}
KEPT_LOOKS = {
    "everything": {"color": plots.BLUE, "linestyle": "-", "linewidth": 4},
    "only the body's change": {"color": plots.BLACK, "linestyle": "--"},
    "only the head's change": {"color": plots.GREEN, "linestyle": "-."},  # as ANIL, which changes the head alone
}


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
    dead = before.amax(1) == 0
    order = torch.where(dead, torch.inf, where).argsort()
    scale = before.amax(1, keepdim=True).clamp(min=1e-3)  # of each feature, before
    _, truth = setup.test_tasks(NUM_TASKS, SHOTS)
    return {
        "before": (before / scale)[order],
        "after": (after / scale)[order],
        "dead": int(dead.sum()),
        "medians": now.errors.median(-1).values.numpy(),  # [3, 21]
        "zero": truth.square().mean(-1).median().item(),
        "reuse": now.reuse[steps, task].item(),
        "mean_reuse": now.reuse[steps].mean().item(),
    }


def picture(fig, show) -> None:
    first, second, right = fig.subplots(1, 3, width_ratios=(0.8, 0.8, 1.25))
    for panel, name in ((first, "before"), (second, "after")):
        panel.grid(False)
        panel.set(xlabel="x", xticks=[-5, 0, 5], yticks=[])
        image = show.image(panel, name, **LOOK)
        dead = lambda d: f"{d.dead} were zero\neverywhere" if d.dead else ""
        show.text(panel, 0, lambda d: 40 - d.dead / 2, dead, ha="center", va="center", fontsize=9, style="italic")
    first.set_ylabel("last-layer features, one a row")
    bar = fig.colorbar(image, ax=(first, second), location="bottom", aspect=40, pad=0.02, ticks=[0, 0.5, 1, 1.5])
    bar.set_label("output, in parts of its maximum before", fontsize=9)
    right.set(xlabel="inner steps k", ylabel=f"held-out error, median of {NUM_TASKS} tasks", yscale="log")
    right.set(xlim=(-0.5, MAX_STEPS + 0.5), ylim=(0.04, 6), xticks=range(0, MAX_STEPS + 1, 5))
    show.level(right, "zero", "predicting zero")
    for row, (text, look) in enumerate(KEPT_LOOKS.items()):
        errors = lambda d, row=row: d.medians[row]
        show.line(right, range(MAX_STEPS + 1), errors, **look, end=text.removeprefix("only the "), pin=row == 0)
        show.points(right, "steps", lambda d, errors=errors: errors(d)[d.steps], **plots.HERE)
    show.title(first, "Before")
    show.title(second, lambda d: f"k = {d.steps}: CKA {d.reuse:.2f}")
    show.title(right, verdict)


def verdict(d) -> str:
    """Which part of the change does the work at this k: one that alone goes nine tenths of the way."""
    both, body, head = (d.medians[:, 0] - d.medians[:, d.steps]) / d.medians[:, 0]
    if both < 0.1:
        return "No change: nothing is learnt yet"
    enough = [part for part, gain in (("body", body), ("head", head)) if gain > 0.9 * both]
    if len(enough) == 1:
        return f"The {enough[0]}'s change alone does it"
    return "Either change alone does it" if enough else "It takes both changes"


def words(d) -> str:
    errors = ", ".join(f"{text} {e:.3g}" for text, e in zip(KEPT, d.medians[:, d.steps]))
    return (
        f"From {STARTS[d.start][0]}, k = {d.steps}. Two heat maps of the 40 last-layer features over x, before and "
        f"after; their similarity (linear CKA) is {d.reuse:.2f}, on average {d.mean_reuse:.2f}. Median held-out error, "
        f"keeping: {errors}; predicting zero {d.zero:.3g}. {verdict(d)}."
    )


demo = declare(
    "Which half of the network adapts?",
    [
        setup.start_choice("start from"),
        Slider("steps", 0, MAX_STEPS, 1, "inner steps k"),
        Button("task", "another task"),
    ],
    compute,
    picture,
    words,
    size=(9.6, 4.6),
    views={"one step of MAML": {}, "ten steps": {"steps": 10}, "random weights": {"start": "random", "steps": 10}},
)
