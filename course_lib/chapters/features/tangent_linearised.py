"""Fine-tuning the real network, the linearised one, and gradient flow: where they agree, where they part."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from course_lib.analysis.tangent import Duals, tangent_features
from course_lib.chapters.features import setup as setup
from course_lib.chapters.features.setup import STARTS
from course_lib.inner_loop import predict, stack_params, trajectory
from course_lib.kit import plots
from course_lib.kit.demo import Button, Several, Slider, declare
from course_lib.kit.growing import Growing
from course_lib.losses import mse

NUM_TASKS, SHOTS, MAX_STEPS = 50, 10, 50
EVERY = 2  # one grid point of two is enough here: 100 of them
ALPHA, LAMBDA = "\N{GREEK SMALL LETTER ALPHA}", "\N{GREEK SMALL LETTER LAMDA}"
MODELS = ("the network", "linearised", "linearised, gradient flow")
ENDS = ("network", "linearised", "gradient flow")
LOOKS = (
    {"color": plots.BLUE, "linestyle": "-", "linewidth": 2.4},
    {"color": plots.BLACK, "linestyle": "--", "linewidth": 1.8},
    {"color": plots.ORANGE, "linestyle": (0, (1, 1.2)), "linewidth": 2.4},
)


class Measured(NamedTuple):
    """Fifty tasks; the three MODELS in order."""

    fits: Tensor  # [3, steps + 1, 50, 100] outputs after every number of steps
    errors: Tensor  # [3, steps + 1, 50] held-out error
    border: Tensor  # [50] 2 / lambda_max of each task's linearised loss


@lru_cache(maxsize=3)
def linearised(network: nn.Module, draw: int) -> tuple[Duals, Tensor]:
    """The linearised network on the tasks, ready for any rate, and every task's border 2 / lambda_max [50]."""
    batch, _ = setup.test_tasks(NUM_TASKS, SHOTS, draw)
    x, y = batch.support_x, batch.support_y
    support = tangent_features(network, x.flatten(0, 1)).unflatten(0, (NUM_TASKS, SHOTS))  # [T, S, P]
    residual = (y - network(x)).detach()[..., 0]  # [T, S]
    duals = Duals(support, residual, tangent_features(network, setup.GRID[::EVERY]))
    largest = torch.linalg.eigvalsh(support @ support.mT)[:, -1] * 2 / SHOTS  # of the Hessian 2 J^T J / n
    return duals, 2 / largest


def outputs(network: nn.Module, inner_lr: float, draw: int) -> Iterator[np.ndarray]:
    """The network's on the grid after 0, 1, ... MAX_STEPS steps on every task [T, 100]."""
    batch, _ = setup.test_tasks(NUM_TASKS, SHOTS, draw)
    grid = setup.GRID[::EVERY].expand(NUM_TASKS, -1, -1)
    how = {"loss_fn": mse, "steps": MAX_STEPS, "lr": inner_lr}
    for params in trajectory(network, stack_params(network, NUM_TASKS), batch.support_x, batch.support_y, **how):
        yield predict(network, params, grid)[..., 0].numpy().copy()  # kept itself, it would split free memory


@lru_cache(maxsize=32)
def fine_tuning(network: nn.Module, inner_lr: float, draw: int) -> Growing:
    return Growing(lambda: outputs(network, inner_lr, draw))


def fine_tune(network: nn.Module, inner_lr: float, draw: int = 0, steps: int = MAX_STEPS) -> Measured:
    """The first ``steps`` steps of all three on the same tasks; fifty take about a tenth of a second."""
    _, truth = setup.test_tasks(NUM_TASKS, SHOTS, draw)
    real = torch.from_numpy(fine_tuning(network, inner_lr, draw).upto(steps + 1))  # [steps + 1, T, 100]
    duals, border = linearised(network, draw)
    moved = [duals.moved(steps, inner_lr, flow) for flow in (False, True)]  # [steps + 1, T, 100] each
    before = network(setup.GRID[::EVERY]).detach()[:, 0]  # [100]
    fits = torch.stack([real, before + moved[0], before + moved[1]])
    return Measured(fits, (fits - truth[:, ::EVERY]).square().mean(-1), border)


@lru_cache(maxsize=32)
def measure(start: str, inner_lr: float) -> Measured:
    return fine_tune(setup.network_at(start), inner_lr)


def compute(values: SimpleNamespace) -> Iterator[dict]:
    """One task's three fits after k steps, and the median error of all tasks against k: up to that k, then further."""
    network = setup.network_at(values.start)
    if fine_tuning(network, values.inner_lr, 0).reached(MAX_STEPS + 1) <= values.steps:
        for steps in range(values.steps, MAX_STEPS, 20):
            yield shown(fine_tune(network, values.inner_lr, steps=steps), values)
    yield shown(measure(values.start, values.inner_lr), values)


def shown(now: Measured, values: SimpleNamespace) -> dict:
    batch, truth = setup.test_tasks(NUM_TASKS, SHOTS)
    task = values.task % NUM_TASKS
    return {
        "fits": now.fits[:, values.steps, task].clamp(-1e3, 1e3),  # [3, 100]
        "truth": truth[task, ::EVERY],
        "support": torch.stack([batch.support_x[task, :, 0], batch.support_y[task, :, 0]], 1),  # [S, 2]
        "medians": now.errors.nan_to_num(nan=torch.inf).median(-1).values.numpy(),  # [3, steps + 1]
        "zero": float(truth[:, ::EVERY].square().mean(-1).median()),
        "border": now.border.median().item(),
        "over": (values.inner_lr > now.border).double().mean().item(),
    }


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2, width_ratios=(1.1, 1))
    left.set(xlabel="x", ylabel="y", xlim=(-5, 5), ylim=(-6.5, 6.5))
    right.set(xlabel="inner steps k", ylabel=f"held-out error, median of {NUM_TASKS} tasks", yscale="log")
    right.set(xlim=(-1, MAX_STEPS + 1))
    show.limits(right, y=lambda d: (0.02, 5 if d.medians.max() <= 5 else 60))
    grid = setup.X[::EVERY]
    show.line(left, grid, "truth", color=plots.FAINT, linestyle="-", linewidth=5, end="true curve")
    show.level(right, "zero", "predicting zero")
    for row, (name, end, look) in enumerate(zip(MODELS, ENDS, LOOKS)):
        shown = lambda d, name=name: name in d.models
        look = look | {"end": end, "shown": shown, "pin": row == 0}
        show.line(left, grid, lambda d, row=row: d.fits[row], **look)
        errors = lambda d, row=row: d.medians[row]
        show.line(right, lambda d: np.arange(d.medians.shape[1]), errors, **look)
        show.points(right, "steps", lambda d, e=errors: e(d)[d.steps], **plots.HERE, shown=shown)
    show.points(left, "support", **plots.SUPPORT)
    show.title(left, lambda d: f"From {STARTS[d.start][0]}, k = {d.steps}")
    show.title(right, lambda d: f"{ALPHA} is above 2 / {LAMBDA}max in {d.over:.0%} of tasks")


def words(d) -> str:
    errors = ", ".join(f"{text} {error:.3g}" for text, error in zip(MODELS, d.medians[:, d.steps]))
    return (
        f"From {STARTS[d.start][0]}, k = {d.steps} with rate {d.inner_lr:g}. Median held-out error: {errors}; "
        f"predicting zero {d.zero:.3g}. The border 2 / lambda_max has median {d.border:.2g}; the rate lies above it "
        f"in {d.over:.0%} of the tasks."
    )


demo = declare(
    "The linearised network against the real one",
    [
        setup.start_choice("start from"),
        Slider("steps", 0, MAX_STEPS, 10, "inner steps k"),
        Slider("inner_lr", 1e-4, 0.1, 0.001, f"inner rate {ALPHA}", log=True),
        Several("models", {name: name for name in MODELS}, label="show"),
        Button("task", "another task"),
    ],
    compute,
    picture,
    words,
    size=(9.6, 4.6),
    may_diverge=("fits", "medians"),
    views={
        "small steps: they agree": {},
        "and part later": {"steps": 50},
        "MAML's own rate": {"inner_lr": 0.01, "steps": 50},
        "beyond the border": {"inner_lr": 0.03, "steps": 5},
    },
)
