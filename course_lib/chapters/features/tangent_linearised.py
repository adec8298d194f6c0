"""Fine-tuning the real network, the linearised one, and gradient flow: where they agree, where they part."""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch import Tensor

from course_lib.analysis.tangent import linear_finetune, tangent_features
from course_lib.chapters.features import setup as setup
from course_lib.chapters.features.setup import STARTS
from course_lib.inner_loop import predict, stack_params, trajectory
from course_lib.kit import plots
from course_lib.kit.first_edition import Button, Demo, Slider
from course_lib.losses import mse

NUM_TASKS, SHOTS, MAX_STEPS = 50, 10, 50
EVERY = 2  # one grid point of two is enough here: 100 of them
ALPHA, LAMBDA = "\N{GREEK SMALL LETTER ALPHA}", "\N{GREEK SMALL LETTER LAMDA}"
MODELS = ("the network", "linearised", "linearised, gradient flow")


class Measured(NamedTuple):
    """Fifty tasks; the three MODELS in order."""

    fits: Tensor  # [3, 51, 50, 100] outputs after every number of steps
    errors: Tensor  # [3, 51, 50] held-out error
    border: Tensor  # [50] 2 / lambda_max of each task's linearised loss


@lru_cache(maxsize=32)
def measure(start: str, inner_lr: float) -> Measured:
    """All 50 steps of all three on the same tasks; about a third of a second."""
    network = setup.network_at(start)
    batch, truth = setup.test_tasks(NUM_TASKS, SHOTS)
    grid, truth = setup.GRID[::EVERY], truth[:, ::EVERY]  # [100, 1], [T, 100]
    x, y = batch.support_x, batch.support_y
    params = stack_params(network, NUM_TASKS)
    stepped = list(trajectory(network, params, x, y, loss_fn=mse, steps=MAX_STEPS, lr=inner_lr))
    stages = {name: torch.cat([p[name] for p in stepped]) for name in params}  # [51 * T, ...]
    with torch.no_grad():
        outputs = predict(network, stages, grid.expand(len(stepped) * NUM_TASKS, -1, -1))  # [51 * T, 100, 1]
    real = outputs[..., 0].unflatten(0, (len(stepped), NUM_TASKS))  # [51, T, 100]
    support = tangent_features(network, x.flatten(0, 1)).unflatten(0, (NUM_TASKS, SHOTS))  # [T, S, P]
    residual = (y - network(x)).detach()[..., 0]  # [T, S]
    options = {"steps": MAX_STEPS, "lr": inner_lr}
    moved = [
        linear_finetune(support, residual, tangent_features(network, grid), flow=flow, **options)
        for flow in (False, True)
    ]  # [51, T, 100] each
    before = network(grid).detach()[:, 0]  # [100]
    fits = torch.stack([real, before + moved[0], before + moved[1]])
    largest = torch.linalg.eigvalsh(support @ support.mT)[:, -1] * 2 / SHOTS  # of the Hessian 2 J^T J / n
    return Measured(fits, (fits - truth).square().mean(-1), 2 / largest)


def compute(values: SimpleNamespace) -> dict:
    """One task's three fits after k steps, and the median error of all tasks against k."""
    now = measure(values.start, values.inner_lr)
    batch, truth = setup.test_tasks(NUM_TASKS, SHOTS)
    task = values.task % NUM_TASKS
    medians = now.errors.nan_to_num(nan=torch.inf).median(-1).values  # [3, 51]
    return {
        "start": values.start,
        "steps": values.steps,
        "inner_lr": values.inner_lr,
        "fits": now.fits[:, values.steps, task].clamp(-1e3, 1e3).numpy(),  # [3, 100]
        "truth": truth[task, ::EVERY].numpy(),
        "support": (batch.support_x[task, :, 0].numpy(), batch.support_y[task, :, 0].numpy()),
        "medians": medians.numpy(),
        "zero": float(truth.square().mean(-1).median()),
        "border": now.border.median().item(),
        "over": (values.inner_lr > now.border).double().mean().item(),
    }


def figure(fig) -> SimpleNamespace:
    left, right = fig.subplots(1, 2, width_ratios=(1.1, 1))
    left.set(xlabel="x", ylabel="y", xlim=(-5, 5), ylim=(-6.5, 6.5))
    truth = left.plot([], [], **plots.TRUTH, label="true curve")[0]
    right.set(xlabel="inner steps k", ylabel=f"held-out error, median of {NUM_TASKS} tasks", yscale="log")
    right.set(xlim=(-1, MAX_STEPS + 1), ylim=(0.02, 60))
    zero = right.plot([], [], **plots.REFERENCE, label="predicting zero")[0]
    looks = [(plots.BLUE, "-", 2.4), (plots.BLACK, "--", 1.8), (plots.ORANGE, (0, (1, 1.2)), 2.4)]
    fits, curves, marks = [], [], []
    for text, (color, dash, width) in zip(MODELS, looks):
        fits.append(left.plot([], [], color=color, linestyle=dash, linewidth=width)[0])
        curves.append(right.plot([], [], color=color, linestyle=dash, linewidth=width, label=text)[0])
        marks.append(right.plot([], [], "o", color=color, markerfacecolor="white", markersize=8)[0])
    support = left.plot([], [], **plots.SUPPORT, label="support points")[0]
    fig.legend(loc="outside lower center", ncols=3)
    titles = (left.set_title(" "), right.set_title(" "))
    return SimpleNamespace(
        truth=truth, zero=zero, fits=fits, curves=curves, marks=marks, support=support, titles=titles
    )


def draw(artists: SimpleNamespace, data: dict) -> None:
    at, steps = data["steps"], range(MAX_STEPS + 1)
    grid = setup.X[::EVERY]
    artists.truth.set_data(grid, data["truth"])
    artists.support.set_data(*data["support"])
    artists.zero.set_data([-1, MAX_STEPS + 1], [data["zero"]] * 2)
    for fit, curve, mark, outputs, errors in zip(
        artists.fits, artists.curves, artists.marks, data["fits"], data["medians"]
    ):
        fit.set_data(grid, outputs)
        curve.set_data(steps, errors)
        mark.set_data([at], [errors[at]])
    artists.titles[0].set_text(f"From {STARTS[data['start']][0]}, k = {at}")
    artists.titles[1].set_text(f"{ALPHA} above 2 / {LAMBDA}max in {data['over']:.0%} of the tasks")


def alt(data: dict) -> str:
    errors = ", ".join(
        f"{text} {error:.3g}" for text, error in zip(MODELS, data["medians"][:, data["steps"]])
    )
    return (
        f"From {STARTS[data['start']][0]}, k = {data['steps']} with rate {data['inner_lr']:g}. Median "
        f"held-out error: {errors}; predicting zero {data['zero']:.3g}. The border 2 / lambda_max has median "
        f"{data['border']:.2g}, and the rate lies above it in {data['over']:.0%} of the tasks."
    )


def demo() -> Demo:
    """The third demo of notebook 05; its default view is MAML's network, ten steps, far below the border."""
    return Demo(
        "The linearised network against the real one",
        controls=[
            setup.start_choice("start from"),
            Slider("steps", 0, MAX_STEPS, 10, "inner steps k"),
            Slider("inner_lr", 1e-4, 0.1, 0.001, f"inner rate {ALPHA}", log=True),
            Button("task", "another task"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(9.0, 4.6),
        may_diverge=("fits", "medians"),
    )
