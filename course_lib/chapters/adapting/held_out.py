"""Held-out data is what counts: support and query error part ways as k grows, the more so with few shots."""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import torch
from torch import Tensor

from course_lib.chapters.adapting import adapting
from course_lib.inner_loop import predict, trajectory
from course_lib.kit import plots
from course_lib.kit.first_edition import Button, Choice, Demo, Slider
from course_lib.losses import mse
from course_lib.tasks import SinusoidTasks
from course_lib.tasks.sinusoid import ZERO_PREDICTOR_MSE

MAX_STEPS, NUM_TASKS, QUERIES = 30, 25, 20
WORST = 1e3  # errors are cut off here: a task may diverge


@lru_cache(maxsize=64)
def measure(start: str, shots: int, inner_lr: float, draw: int) -> tuple[Tensor, Tensor]:
    """Support and query error of 25 tasks after 0, 1, ..., 30 steps [31, 25]; WORST where a task diverged."""
    model, stacked = adapting.initialisations()
    chosen = list(adapting.STARTS).index(start)
    params = {name: p[chosen].expand(NUM_TASKS, *p.shape[1:]) for name, p in stacked.items()}
    generator = torch.Generator().manual_seed(draw)
    batch = SinusoidTasks(shots=20, queries=QUERIES).sample(NUM_TASKS, generator=generator)
    x, y = batch.support_x[:, :shots], batch.support_y[:, :shots]
    all_x, all_y = torch.cat([x, batch.query_x], 1), torch.cat([y, batch.query_y], 1)  # [25, S + Q, 1]
    outputs = []
    for tuned in trajectory(model, params, x, y, loss_fn=mse, steps=MAX_STEPS, lr=inner_lr):
        with torch.no_grad():
            outputs.append(predict(model, tuned, all_x))
    squares = (torch.stack(outputs) - all_y)[..., 0].square()  # [31, 25, S + Q]
    errors = squares[..., :shots].mean(-1), squares[..., shots:].mean(-1)  # [31, 25] each
    support, query = (error.nan_to_num(WORST, WORST).clip(max=WORST) for error in errors)
    return support, query


def compute(values: SimpleNamespace) -> dict:
    """Median support and query error against k, and both errors of every task after ``values.steps``."""
    support, query = measure(values.start, values.shots, values.inner_lr, values.new_tasks)
    return {
        "start": values.start,
        "shots": values.shots,
        "steps": values.steps,
        "support_curve": support.median(1).values.numpy(),
        "query_curve": query.median(1).values.numpy(),
        "support": support[values.steps].numpy(),
        "query": query[values.steps].numpy(),
    }


def figure(fig) -> SimpleNamespace:
    left, right = fig.subplots(1, 2, width_ratios=(1.15, 1))
    left.set(xlabel="inner steps k", ylabel="median error (bottom: 1e-6 or less)", yscale="log")
    left.set(xlim=(-1, MAX_STEPS + 1), ylim=(1e-6, 30))
    left.axhline(ZERO_PREDICTOR_MSE, **plots.REFERENCE, label="predicting zero")
    curves = (
        left.plot([], [], color=plots.BLACK, linestyle="-", label="on the support set")[0],
        left.plot([], [], color=plots.PINK, linestyle="--", label="on the query set (held out)")[0],
    )
    markers = (left.plot([], [], **plots.SUPPORT)[0], left.plot([], [], **plots.QUERY)[0])
    right.set(xlabel="support error (left edge: 1e-6 or less)", ylabel="query error")
    right.set(xscale="log", yscale="log", xlim=(1e-6, WORST), ylim=(1e-4, WORST))
    equal = "as good held out as on the support set"
    right.plot([1e-6, WORST], [1e-6, WORST], **plots.REFERENCE, label=equal)
    tasks = right.plot([], [], "o", color=plots.BLUE, alpha=0.6, label="a task")[0]
    fig.legend(loc="outside lower center", ncols=3)
    right.set_title(f"{NUM_TASKS} tasks after k steps")
    return SimpleNamespace(curves=curves, markers=markers, tasks=tasks, title=left.set_title(" "))


def draw(artists: SimpleNamespace, data: dict) -> None:
    steps, at = range(MAX_STEPS + 1), data["steps"]
    for curve, marker, name in zip(artists.curves, artists.markers, ("support_curve", "query_curve")):
        curve.set_data(steps, data[name].clip(1e-6))
        marker.set_data([at], [max(data[name][at], 1e-6)])
    artists.tasks.set_data(data["support"].clip(1e-6), data["query"])
    artists.title.set_text(
        f"k = {at}: support {data['support_curve'][at]:.2g}, held out {data['query_curve'][at]:.2g}"
    )


def alt(data: dict) -> str:
    at = data["steps"]
    worse = int((data["query"] > data["support"]).sum())
    return (
        f"{adapting.STARTS[data['start']]}, {data['shots']} shots, k = {at}: median support error "
        f"{data['support_curve'][at]:.2g}, median query error {data['query_curve'][at]:.2g}; the query error "
        f"is the larger one in {worse} of {NUM_TASKS} tasks."
    )


def demo() -> Demo:
    """The demo of notebook 01; its default view has three shots, where the two errors part."""
    return Demo(
        "The support set trains, the query set judges",
        controls=[
            Choice("start", {text: name for name, text in adapting.STARTS.items()}, "maml", "start from"),
            Slider("steps", 0, MAX_STEPS, 20, "inner steps k"),
            Slider("shots", 1, 20, 3, "support points"),
            Slider("inner_lr", 1e-3, 0.02, 0.01, "inner rate \N{GREEK SMALL LETTER ALPHA}", log=True),
            Button("new_tasks", "other tasks"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(9.0, 4.6),
    )
