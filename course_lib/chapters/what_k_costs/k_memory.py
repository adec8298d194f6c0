"""What backpropagation through k steps must remember: bytes that autograd saves, counted, with the time.

Counted live with hooks on saved tensors (see ``course_lib.analysis.memory``): the same numbers on every machine. The
times are this machine's, taken when the demo asks for them.
"""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import torch

from course_lib.algorithms import ANIL, MAML, R2D2
from course_lib.algorithms.base import Learner
from course_lib.analysis.memory import CheckpointedMAML, meta_gradient_bytes, seconds_per_call
from course_lib.kit import plots
from course_lib.kit.demo import Choice, Notches, Several, declare
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks, TaskBatch

STEPS = [1, 2, 5, 10, 20, 50]
SHOTS = 10
METHODS = {  # what a person reads -> a learner for k steps; of ANIL the head alone takes them, ridge takes none
    "MAML, second order": lambda k: MAML(k),
    "MAML, checkpointed": lambda k: CheckpointedMAML(k),
    "ANIL": lambda k: ANIL(k),
    "MAML, first order": lambda k: MAML(k, second_order=False),
    "ridge head": lambda k: R2D2(),
}
LOOKS = [plots.METHODS[name] for name in ("maml", "maml", "anil", "fomaml", "ridge")]
LOOKS[1] = LOOKS[0] | {"marker": "v", "linestyle": ":"}
MEGABYTE = 1e6


def setting(num_tasks: int) -> tuple[MLP, TaskBatch]:
    generator = torch.Generator().manual_seed(0)
    return MLP(seed=0), SinusoidTasks(SHOTS, SHOTS).sample(num_tasks, generator=generator)


def learner(method: str, steps: int) -> Learner:
    return METHODS[method](steps)


@lru_cache(maxsize=None)
def saved_megabytes(num_tasks: int) -> dict[str, list[float]]:
    """MB saved for backward by one meta-gradient, for every method and k in STEPS; a second for 25 tasks."""
    model, batch = setting(num_tasks)
    return {
        method: [meta_gradient_bytes(learner(method, k), model, batch) / MEGABYTE for k in STEPS]
        for method in METHODS
    }


@lru_cache(maxsize=None)
def milliseconds(num_tasks: int, steps: int) -> list[float]:
    """Time of one meta-gradient of each method here: the least of two, methods taking turns."""
    model, batch = setting(num_tasks)
    calls = {m: lambda m=m: learner(m, steps).meta_gradient(model, batch) for m in METHODS}
    return [1000 * seconds for seconds in seconds_per_call(calls, repeats=2).values()]


def compute(values: SimpleNamespace) -> dict:
    """Bytes of all methods against k, and the times at the chosen k."""
    return {
        "at": STEPS.index(values.steps),
        "megabytes": saved_megabytes(values.num_tasks),
        "milliseconds": milliseconds(values.num_tasks, values.steps),
    }


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2, width_ratios=(1, 1))
    left.set(xlabel="inner steps k", ylabel="saved for backward (MB)", xscale="log", yscale="log")
    left.set(xlim=(0.9, 55))
    show.limits(left, y=lambda d: (0.004 * d.num_tasks, 0.8 * d.num_tasks))
    left.set_xticks(STEPS, labels=STEPS)
    left.set_yticks([0.1, 1, 10], labels=["0.1", "1", "10"])
    left.minorticks_off()
    show.mark(left, "steps", color=plots.INK, linestyle="-", linewidth=1)
    right.set(xlabel="a meta-gradient on this machine (ms)", ylim=(len(METHODS) - 0.4, -0.6))
    right.set_yticks(range(len(METHODS)), labels=[method.replace(", ", ",\n") for method in METHODS])
    right.grid(axis="y", visible=False)
    most = lambda d: plots.nice_ceiling(1.2 * max(d.milliseconds))
    show.limits(right, x=lambda d: (0, most(d)))
    for row, (method, look) in enumerate(zip(METHODS, LOOKS)):
        shown = lambda d, method=method: method in d.methods
        saved = lambda d, method=method: d.megabytes[method]
        show.line(left, STEPS, saved, **look, shown=shown, end=method.removeprefix("MAML, "))
        time = lambda d, row=row: [d.milliseconds[row]]
        bar = {"height": 0.6, "color": look["color"], "hatch": "///" if row == 1 else "", "edgecolor": "white"}
        show.bars(right, [row], time, across=True, shown=shown, **bar)
        number = lambda d, row=row: f" {d.milliseconds[row]:{'.2g' if d.milliseconds[row] < 10 else '.0f'}}"
        show.text(right, lambda d, row=row: d.milliseconds[row], row, number, va="center", shown=shown)
    show.title(left, lambda d: "k = {}: {:.2g} MB, checkpointed {:.2g}".format(d.steps, *plainly(d)))
    show.title(right, lambda d: f"Checkpointed: {d.milliseconds[1] / d.milliseconds[0]:.1f} × as long")


def plainly(d) -> list[float]:
    """MB of second-order MAML and of the checkpointed one."""
    return [values[d.at] for values in list(d.megabytes.values())[:2]]


def words(d) -> str:
    parts = [
        f"{method} {values[d.at]:.3g} MB and {time:.2g} ms"
        for (method, values), time in zip(d.megabytes.items(), d.milliseconds)
    ]
    return f"{d.num_tasks} tasks of {SHOTS} + {SHOTS} points, k = {d.steps}: {'; '.join(parts)}."


demo = declare(
    "What must be remembered",
    [
        Notches("steps", STEPS, 20, "inner steps k"),
        Choice("num_tasks", [5, 25], 25, "tasks in a meta-batch"),
        Several("methods", {method: method for method in METHODS}, label="show"),
    ],
    compute,
    picture,
    words,
    size=(9.6, 4.6),
    views={"twenty steps": {}, "fifty steps": {"steps": 50}, "one step": {"steps": 1}},
)
