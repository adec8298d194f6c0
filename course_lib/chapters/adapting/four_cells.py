"""Lecture 1.2's two choices at test time: {ready, random} head x {fine-tune everything, head only}.

Measured live on several hundred tasks, with 95 % intervals; one cell at a time is shown adapting.
"""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import torch
from torch import Tensor

from course_lib import checkpoints
from course_lib.chapters.adapting import adapting
from course_lib.evaluation import Evaluation, evaluate, interval95, test_start, two_by_two
from course_lib.inner_loop import predict, trajectory
from course_lib.kit import plots
from course_lib.kit.demo import Button, Choice, Slider, declare
from course_lib.kit.words import several
from course_lib.tasks import SinusoidTasks
from course_lib.tasks.sinusoid import X_RANGE, ZERO_PREDICTOR_MSE, sinusoid

CELLS = {  # (head, only): what a person reads
    ("ready", None): "ready head, everything",
    ("ready", "head"): "ready head, head only",
    ("random", None): "random head, everything",
    ("random", "head"): "random head, head only",
}
STARTS = {name: f"MAML, {how}" for name, how in adapting.MAML.items()} | {"pretrained": "pre-trained, one head"}
MAX_STEPS, NUM_TASKS, SHOTS = 50, 200, 10
INNER_LR = 0.01  # as in training: MAML, appendix
GRID = torch.linspace(*X_RANGE, 101)[None, :, None]  # [1, 101, 1]


@lru_cache(maxsize=None)
def measure(start: str, seed: int = 0) -> dict[tuple[str, str | None], Evaluation]:
    """All four cells after 0, 1, ..., 50 steps on the same 200 tasks; about a second."""
    model, learner, _ = checkpoints.load(f"sinusoid/{start}")
    tasks = SinusoidTasks(shots=SHOTS, queries=50)
    return two_by_two(learner, model, tasks, num_tasks=NUM_TASKS, steps=range(MAX_STEPS + 1), seed=seed, lr=INNER_LR)


@lru_cache(maxsize=None)
def solved_union(seed: int = 0) -> float:
    """The mean held-out error of the union of tasks' body when its head is solved on the same points; no steps."""
    model, learner, _ = checkpoints.load("sinusoid/union")
    tasks = SinusoidTasks(shots=SHOTS, queries=50)
    return evaluate(learner, model, tasks, num_tasks=NUM_TASKS, steps=[0], seed=seed).mean[0]


@lru_cache(maxsize=32)
def one_task(start: str, head: str, only: str | None, seed: int) -> dict[str, Tensor]:
    """One task: its true curve [101], support points [S], and the fit after every step [51, 101]."""
    model, learner, _ = checkpoints.load(f"sinusoid/{start}")
    generator = torch.Generator().manual_seed(1000 + seed)
    batch = SinusoidTasks(shots=SHOTS).sample(1, generator=generator)
    theta = test_start(learner, model, batch, head, generator)
    options = {"loss_fn": learner.loss_fn, "steps": MAX_STEPS, "lr": INNER_LR, "only": only}
    tuned = trajectory(model, theta, batch.support_x, batch.support_y, **options)
    fits = torch.stack([predict(model, params, GRID)[0, :, 0].detach() for params in tuned])
    truth = sinusoid(GRID, batch.info["amplitude"], batch.info["phase"])[0, :, 0]
    return {"x": batch.support_x[0, :, 0], "y": batch.support_y[0, :, 0], "truth": truth, "fits": fits}


def compute(values: SimpleNamespace) -> dict:
    """The four curves with intervals, and the chosen cell's fit on one task."""
    errors = torch.stack([measure(values.start)[cell].query_losses for cell in CELLS])  # [4, 51, tasks]
    task = one_task(values.start, *values.cell, values.new_task)
    chosen, mean, half = list(CELLS).index(values.cell), errors.mean(2), interval95(errors)  # [4, 51] each
    return {
        "chosen": chosen,
        "mean": mean,
        "half": half,
        "union": solved_union(),
        "here": (float(mean[chosen, values.steps]), float(half[chosen, values.steps])),
        "truth": task["truth"],
        "support": torch.stack([task["x"], task["y"]], 1),  # [S, 2]
        "fit": task["fits"][values.steps],
    }


def color_of(d, cell: tuple[str, str | None]) -> str:
    """That of the body's method with its own head, grey with a random one."""
    body = "pretrained" if d.start == "pretrained" else "maml"
    return plots.METHODS["random" if cell[0] == "random" else body]["color"]


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2, width_ratios=(1.15, 1))
    left.set(xlabel="inner steps k", ylabel="mean held-out error", yscale="log")
    left.set(xlim=(0, MAX_STEPS + 1), ylim=(0.02, 10))
    left.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
    show.level(left, ZERO_PREDICTOR_MSE, "predicting zero")
    look = {"color": plots.METHODS["union"]["color"], "linestyle": ":"}
    show.level(left, "union", "union, solved head", at=0.98, **look)
    steps = range(MAX_STEPS + 1)
    for i, cell in enumerate(CELLS):
        ends = [lambda d, i=i, sign=sign: d.mean[i] + sign * d.half[i] for sign in (-1, 1)]
        show.band(left, steps, *ends, color=lambda d, cell=cell: color_of(d, cell))
        look = {"color": lambda d, cell=cell: color_of(d, cell), "linestyle": "--" if cell[1] else "-"}
        look["linewidth"] = lambda d, i=i: 3.2 if d.chosen == i else 1.4
        show.line(left, steps, lambda d, i=i: d.mean[i], **look, end=CELLS[cell])
    show.points(left, "steps", lambda d: d.here[0], **plots.HERE, zorder=5, clip_on=False)
    show.title(left, verdict)

    right.set(xlabel="x", ylabel="y", xlim=X_RANGE, ylim=(-6, 6), xticks=(-4, -2, 0, 2, 4))
    grid = GRID[0, :, 0]
    show.line(right, grid, "truth", **plots.TRUTH, end="true curve")
    look = {"color": lambda d: color_of(d, d.cell), "linewidth": 2.6, "linestyle": "-"}
    show.line(right, grid, "fit", **look, end=lambda d: f"after {several(d.steps, 'step')}", pin=True)
    show.points(right, "support", **plots.SUPPORT)
    show.title(right, lambda d: CELLS[d.cell].capitalize())


def number(mean_and_half: tuple[float, float]) -> str:
    return "{:.2f} \N{PLUS-MINUS SIGN} {:.2f}".format(*mean_and_half)


def verdict(d) -> str:
    if d.steps == 0:
        return f"k = 0: {number(d.here)}, nothing tuned yet"
    best = d.mean[:, d.steps].min()
    rest = "the best of the four" if d.here[0] == best else f"the best has {best:.2f}"
    return f"k = {d.steps}: {number(d.here)}, {rest}"


def words(d) -> str:
    rows = zip(CELLS.values(), d.mean[:, d.steps], d.half[:, d.steps])
    cells = "; ".join(f"{text} {number((mean, half))}" for text, mean, half in rows)
    return (
        f"Body: {STARTS[d.start]}. Mean held-out error of {NUM_TASKS} tasks with its 95 % interval, k = {d.steps}: "
        f"{cells}. The union of tasks' body with a head solved on the same points, no steps: {d.union:.2f}. "
        f"On the right one task, {CELLS[d.cell]}."
    )


demo = declare(
    "The four ways to fine-tune",
    [
        Choice("start", STARTS, "maml_k1", "body"),
        Choice("cell", CELLS, ("ready", None), "watch"),
        Slider("steps", 0, MAX_STEPS, 10, "inner steps k"),
        Button("new_task", "another task"),
    ],
    compute,
    picture,
    words,
    size=(9.6, 4.6),
    views={
        "ready head, all weights": {},
        "the head alone": {"cell": ("ready", "head")},
        "a random head, fifty steps": {"cell": ("random", None), "steps": 50},
        "trained with five steps": {"start": "maml_k5_tuned"},
        "a body that is not ready": {"start": "pretrained"},
    },
)
