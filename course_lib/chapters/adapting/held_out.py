"""Held-out data is what counts: support and query error part ways as k grows, the more so with few shots."""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import torch
from torch import Tensor

from course_lib.chapters.adapting import adapting
from course_lib.inner_loop import predict, trajectory
from course_lib.kit import plots
from course_lib.kit.demo import Button, Choice, Slider, declare
from course_lib.kit.words import several
from course_lib.losses import mse
from course_lib.tasks import SinusoidTasks
from course_lib.tasks.sinusoid import ZERO_PREDICTOR_MSE

MAX_STEPS, NUM_TASKS, QUERIES = 30, 25, 20
VALIDATION = 10_000  # validation tasks' draws begin here
WORST, LEAST = 1e2, 1e-15  # errors count as these beyond them: a task may diverge, and single precision rounds


@lru_cache(maxsize=64)
def measure(start: str, shots: int, inner_lr: float, draw: int, maml: str = "maml_k1") -> tuple[Tensor, Tensor]:
    """Support and query error of 25 tasks after 0, 1, ..., 30 steps [31, 25]; WORST where a task diverged."""
    model, stacked = adapting.initialisations(maml)
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
    support, query = (error.nan_to_num(WORST, WORST).clip(LEAST, WORST) for error in errors)
    return support, query


def chosen_steps(start: str, shots: int, inner_lr: float, draw: int, maml: str = "maml_k1") -> int:
    """The number of steps with the lowest median query error on 25 other tasks: meta-validation."""
    return int(measure(start, shots, inner_lr, VALIDATION + draw, maml)[1].median(1).values.argmin())


def compute(values: SimpleNamespace) -> dict:
    """Median support and query error against k, and both errors of every task after ``values.steps``."""
    settings = values.start, values.shots, values.inner_lr, values.new_tasks, values.maml
    support, query = measure(*settings)  # [31, 25] each
    curve = support.median(1).values
    return {
        "floors": [power_of_ten_below(errors.min()) for errors in (curve, support)],
        "support_curve": curve,
        "query_curve": query.median(1).values,
        "stop": chosen_steps(*settings),
        "tasks": torch.stack([support[values.steps], query[values.steps]], 1),  # [25, 2]
        "worse": int((query[values.steps] > support[values.steps]).sum()),
    }


def power_of_ten_below(error: Tensor) -> float:
    return float(10.0 ** error.log10().floor())


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2, width_ratios=(1.15, 1))
    left.set(xlabel="inner steps k", ylabel="median error", yscale="log", xlim=(0, MAX_STEPS + 1))
    show.limits(left, y=lambda d: (d.floors[0], 30))
    show.level(left, ZERO_PREDICTOR_MSE, "predicting zero")
    looks = {"support_curve": plots.SUPPORT, "query_curve": plots.QUERY}
    for (curve, look), dash, end in zip(looks.items(), ("-", "--"), ("support set", "held out")):
        show.line(left, range(MAX_STEPS + 1), curve, color=look["color"], linestyle=dash, end=end, pin=True)
        at = lambda d, curve=curve: d[curve][d.steps]
        show.points(left, "steps", at, **look | {"markersize": 8}, zorder=5, clip_on=False)
    stop = lambda d: f"k = {d.stop}: best on\nother tasks"
    show.mark(left, "stop", color=plots.GREEN, linestyle="--", linewidth=1.2)
    early = lambda d: d.stop <= MAX_STEPS / 2  # then there is room on the right
    beside = {"transform": left.get_xaxis_transform(), "va": "bottom", "color": plots.GREEN, "fontsize": 9}
    beside |= {"bbox": plots.BOXED, "ha": lambda d: "left" if early(d) else "right"}
    show.text(left, lambda d: d.stop + (0.4 if early(d) else -0.4), 0.64, stop, **beside)
    here = lambda d: f"{d.support_curve[d.steps]:.2g} on the support set, {d.query_curve[d.steps]:.2g} held out"
    show.title(left, lambda d: f"k = {d.steps}: {here(d)}")

    right.set(xlabel="support error of a task", ylabel="its query error", xscale="log", yscale="log")
    right.set_ylim(2e-3, WORST)
    show.limits(right, x=lambda d: (d.floors[1], WORST))
    show.line(right, [LEAST, WORST], [LEAST, WORST], **plots.REFERENCE)
    plots.name_region(right, 0.02, 0.05, "above the line: worse held out", ha="left")
    show.scatter(right, "tasks", color=plots.BLUE, alpha=0.6, clip_on=False, s=lambda d: 36, zorder=4)
    show.title(right, lambda d: f"Held out is worse in {d.worse} of {NUM_TASKS}")


def words(d) -> str:
    return (
        f"{adapting.STARTS[d.start]}, {several(d.shots, 'shot')}, k = {d.steps}: median support error "
        f"{d.support_curve[d.steps]:.2g}, median query error {d.query_curve[d.steps]:.2g}; the query error "
        f"is the larger one in {d.worse} of {NUM_TASKS} tasks. On {NUM_TASKS} other tasks k = {d.stop} has the lowest "
        f"median query error. Errors above {WORST:g} count as that."
    )


demo = declare(
    "The support set trains, the query set judges",
    [
        Choice("start", adapting.STARTS, "maml", "start from"),
        Choice("maml", adapting.MAML, "maml_k1", "MAML trained with, iterations"),
        Slider("steps", 0, MAX_STEPS, 20, "inner steps k"),
        Slider("shots", 1, 20, 3, "support points"),
        Slider("inner_lr", 1e-3, 0.02, 0.01, "inner rate \N{GREEK SMALL LETTER ALPHA}", log=True),
        Button("new_tasks", "other tasks"),
    ],
    compute,
    picture,
    words,
    size=(9.6, 4.6),
    views={
        "three points, MAML": {"start": "maml", "steps": 20},
        "twenty points": {"shots": 20},
        "three points, random weights": {"start": "random", "steps": 30},
    },
)
