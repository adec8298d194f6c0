"""Lecture 1.2's two choices at test time: {ready, random} head x {fine-tune everything, head only}.

Measured live on several hundred tasks, with 95 % intervals; one cell at a time is shown adapting.
"""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import torch
from torch import Tensor

from course_lib import checkpoints
from course_lib.evaluation import Evaluation, interval95, test_start, two_by_two
from course_lib.inner_loop import predict, trajectory
from course_lib.kit import plots
from course_lib.kit.first_edition import Button, Choice, Demo, Slider
from course_lib.tasks import SinusoidTasks
from course_lib.tasks.sinusoid import X_RANGE, ZERO_PREDICTOR_MSE, sinusoid

CELLS = {  # (head, only): what a person reads
    ("ready", None): "ready head, fine-tune everything",
    ("ready", "head"): "ready head, fine-tune the head",
    ("random", None): "random head, fine-tune everything",
    ("random", "head"): "random head, fine-tune the head",
}
COLORS = (plots.BLUE, plots.SKY, plots.ORANGE, plots.AMBER)
STARTS = {"MAML": "sinusoid/maml_k1", "trained on all tasks, one head": "sinusoid/pretrained"}
MAX_STEPS, NUM_TASKS, SHOTS = 50, 200, 10
INNER_LR = 0.01  # as in training: MAML, appendix
GRID = torch.linspace(*X_RANGE, 101)[None, :, None]  # [1, 101, 1]


@lru_cache(maxsize=None)
def measure(checkpoint: str) -> dict[tuple[str, str | None], Evaluation]:
    """All four cells after 0, 1, ..., 50 steps on the same 200 tasks; about a second."""
    model, learner, _ = checkpoints.load(checkpoint)
    tasks = SinusoidTasks(shots=SHOTS, queries=50)
    return two_by_two(learner, model, tasks, num_tasks=NUM_TASKS, steps=range(MAX_STEPS + 1), lr=INNER_LR)


@lru_cache(maxsize=32)
def one_task(checkpoint: str, head: str, only: str | None, seed: int) -> dict[str, Tensor]:
    """One task: its true curve [101], support points [S], and the fit after every step [51, 101]."""
    model, learner, _ = checkpoints.load(checkpoint)
    generator = torch.Generator().manual_seed(1000 + seed)
    batch = SinusoidTasks(shots=SHOTS).sample(1, generator=generator)
    start = test_start(learner, model, batch, head, generator)
    options = {"loss_fn": learner.loss_fn, "steps": MAX_STEPS, "lr": INNER_LR, "only": only}
    tuned = trajectory(model, start, batch.support_x, batch.support_y, **options)
    fits = torch.stack([predict(model, params, GRID)[0, :, 0].detach() for params in tuned])
    truth = sinusoid(GRID, batch.info["amplitude"], batch.info["phase"])[0, :, 0]
    return {"x": batch.support_x[0, :, 0], "y": batch.support_y[0, :, 0], "truth": truth, "fits": fits}


def compute(values: SimpleNamespace) -> dict:
    """The four curves with intervals, and the chosen cell's fit on one task."""
    checkpoint = STARTS[values.start]
    results = measure(checkpoint)
    errors = torch.stack([results[cell].query_losses for cell in CELLS])  # [4, 51, tasks]
    head, only = values.cell
    task = one_task(checkpoint, head, only, values.new_task)
    return {
        "start": values.start,
        "cell": list(CELLS).index(values.cell),
        "steps": values.steps,
        "mean": errors.mean(2).numpy(),  # [4, 51]
        "half": interval95(errors).numpy(),  # [4, 51]
        "grid": GRID[0, :, 0].numpy(),
        "truth": task["truth"].numpy(),
        "support": (task["x"].numpy(), task["y"].numpy()),
        "fit": task["fits"][values.steps].numpy(),
    }


def figure(fig) -> SimpleNamespace:
    left, right = fig.subplots(1, 2, width_ratios=(1.15, 1))
    left.set(xlabel="inner steps k", ylabel="mean held-out error", yscale="log")
    left.set(xlim=(-1, 51), ylim=(0.05, 20))
    left.axhline(ZERO_PREDICTOR_MSE, **plots.REFERENCE, label="predicting zero")
    curves, bands = [], []
    for text, color, dash in zip(CELLS.values(), COLORS, plots.DASHES):
        curves.append(left.plot([], [], color=color, linestyle=dash, label=text)[0])
        bands.append(left.fill_between([0], [1], [1], color=color, alpha=0.25, linewidth=0))
    marker = left.plot([], [], "o", color=plots.BLACK, markerfacecolor="white", markersize=9)[0]
    right.set(xlabel="x", ylabel="y", xlim=X_RANGE, ylim=(-6.5, 6.5))
    truth = right.plot([], [], **plots.TRUTH, label="true curve")[0]
    fit = right.plot([], [], color=plots.BLACK, linestyle="-", label="after k steps")[0]
    support = right.plot([], [], **plots.SUPPORT, label="support points")[0]
    fig.legend(loc="outside lower center", ncols=3)
    titles = (left.set_title(" "), right.set_title(" "))
    return SimpleNamespace(
        curves=curves, bands=bands, marker=marker, truth=truth, fit=fit, support=support, titles=titles
    )


def draw(artists: SimpleNamespace, data: dict) -> None:
    steps = range(MAX_STEPS + 1)
    chosen = data["cell"]
    for index, (curve, band) in enumerate(zip(artists.curves, artists.bands)):
        mean, half = data["mean"][index], data["half"][index]
        curve.set_data(steps, mean)
        curve.set_linewidth(4 if index == chosen else 2)
        band.set_data(steps, mean - half, mean + half)
    artists.marker.set_data([data["steps"]], [data["mean"][chosen, data["steps"]]])
    artists.truth.set_data(data["grid"], data["truth"])
    artists.support.set_data(*data["support"])
    artists.fit.set_data(data["grid"], data["fit"])
    artists.fit.set_color(COLORS[chosen])
    mean, half = (data[name][chosen, data["steps"]] for name in ("mean", "half"))
    score = f"{mean:.2f} \N{PLUS-MINUS SIGN} {half:.2f}"
    artists.titles[0].set_text(f"{NUM_TASKS} tasks: {score} after k = {data['steps']}")
    artists.titles[1].set_text(list(CELLS.values())[chosen].capitalize())


def alt(data: dict) -> str:
    at = data["steps"]
    rows = zip(CELLS.values(), data["mean"], data["half"])
    cells = [f"{text} {mean[at]:.2f} +- {half[at]:.2f}" for text, mean, half in rows]
    return (
        f"Body: {data['start']}. Mean held-out error of {NUM_TASKS} tasks, k = {at}: {'; '.join(cells)}. "
        f"On the right one task, {list(CELLS.values())[data['cell']]}."
    )


def demo() -> Demo:
    """The demo of notebook 01; its default view shows MAML's body after ten steps."""
    return Demo(
        "The four ways to fine-tune",
        controls=[
            Choice("start", list(STARTS), "MAML", "body"),
            Choice("cell", {text: cell for cell, text in CELLS.items()}, ("ready", None), "watch"),
            Slider("steps", 0, MAX_STEPS, 10, "inner steps k"),
            Button("new_task", "another task"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(9.0, 4.6),
    )
