"""What backpropagation through k steps must remember: bytes that autograd saves, counted, with the time.

Counted live with hooks on saved tensors (see ``course_lib.analysis.memory``): the same numbers on every machine. The
times are this machine's, taken once for all k when the demo opens.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from types import SimpleNamespace

import numpy as np
import torch

from course_lib.algorithms import ANIL, MAML, R2D2
from course_lib.algorithms.base import Learner
from course_lib.algorithms.implicit import IMAML
from course_lib.analysis.memory import CheckpointedMAML, meta_gradient_bytes, saved_bytes, seconds_per_call
from course_lib.kit import plots
from course_lib.kit.demo import Choice, Demo, Notches, Several, declare
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks, TaskBatch


def implicit(steps: int) -> IMAML:
    """Its warning not given: a random network has no minimum near the start, but here its costs alone are counted."""
    learner = IMAML(steps)
    learner.warned = True
    return learner


STEPS = [1, 2, 5, 10, 20, 50]
SHOTS, INNER_LR = 10, 0.01
METHODS = {  # what a person reads -> a learner for k steps; of ANIL the head alone takes them, ridge takes none
    "MAML, second order": lambda k: MAML(k),
    "MAML, checkpointed": lambda k: CheckpointedMAML(k),
    "ANIL": lambda k: ANIL(k),
    "implicit MAML": implicit,
    "MAML, first order": lambda k: MAML(k, second_order=False),
    "ridge head": lambda k: R2D2(),
}
LOOKS = [plots.METHODS[name] for name in ("maml", "maml", "anil", "svm", "fomaml", "ridge")]
LOOKS[1] = LOOKS[0] | {"marker": "v", "linestyle": ":"}
MEGABYTE = 1e6
LIMITS = {"megabytes": (0.03, 30.0), "milliseconds": (0.3, 500.0)}  # of the axes, whatever the machine


def setting(num_tasks: int) -> tuple[MLP, TaskBatch]:
    generator = torch.Generator().manual_seed(0)
    return MLP(seed=0), SinusoidTasks(SHOTS, SHOTS).sample(num_tasks, generator=generator)


def learner(method: str, steps: int) -> Learner:
    return METHODS[method](steps)


@lru_cache(maxsize=None)
def saved_megabytes(num_tasks: int) -> dict[str, list[float]]:
    """MB saved for backward by one meta-gradient, for every method and k in STEPS; a second for 25 tasks."""
    model, batch = setting(num_tasks)
    count = lambda method, k: meta_gradient_bytes(learner(method, k), model, batch) / MEGABYTE
    return {method: [count(method, k) for k in STEPS] for method in METHODS}


@lru_cache(maxsize=None)
def milliseconds(num_tasks: int) -> dict[str, list[float]]:
    """Time of one meta-gradient of each method for every k here: the least of three; a second or two."""
    model, batch = setting(num_tasks)
    calls = {(m, k): partial(learner(m, k).meta_gradient, model, batch) for m in METHODS for k in STEPS}
    seconds = seconds_per_call(calls, repeats=3)
    return {method: [1000 * seconds[method, k] for k in STEPS] for method in METHODS}


def compute(values: SimpleNamespace) -> dict:
    """Bytes and times of all methods against k."""
    return {
        "at": STEPS.index(values.steps),
        "megabytes": saved_megabytes(values.num_tasks),
        "milliseconds": milliseconds(values.num_tasks),
    }


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2)
    left.set(ylabel="saved for backward (MB)")
    right.set(ylabel="time of a meta-gradient here (ms)")
    for axes, ticks, limits in (
        (left, (0.1, 1, 10), LIMITS["megabytes"]),
        (right, (1, 10, 100), LIMITS["milliseconds"]),
    ):
        axes.set(xlabel="inner steps k", xscale="log", yscale="log", xlim=(0.9, 55), ylim=limits)
        axes.set_xticks(STEPS, labels=STEPS)
        axes.set_yticks(ticks, labels=[f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        show.mark(axes, "steps", color=plots.INK, linestyle="-", linewidth=1)
    for method, look in zip(METHODS, LOOKS):
        shown = lambda d, method=method: method in d.methods
        name = method.removeprefix("MAML, ").removesuffix(" MAML")
        for axes, entry in ((left, "megabytes"), (right, "milliseconds")):
            values = lambda d, method=method, entry=entry: np.clip(d[entry][method], *LIMITS[entry])
            show.line(axes, STEPS, values, **look, shown=shown, end=name)
    show.title(left, lambda d: "k = {}: {:.2g} MB, checkpointed {:.2g}".format(d.steps, *plainly(d)))
    show.title(right, lambda d: f"Checkpointed: {later(d):.1f} × as long")


def plainly(d) -> list[float]:
    """MB of second-order MAML and of the checkpointed one."""
    return [values[d.at] for values in list(d.megabytes.values())[:2]]


def later(d) -> float:
    """Time of checkpointed MAML over that of the plain one."""
    plain, checkpointed, *_ = (times[d.at] for times in d.milliseconds.values())
    return checkpointed / plain


def words(d) -> str:
    parts = [
        f"{method} {d.megabytes[method][d.at]:.3g} MB and {d.milliseconds[method][d.at]:.2g} ms" for method in d.methods
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
    size=(9.6, 4.4),
    views={"twenty steps": {}, "fifty steps": {"steps": 50}, "one step": {"steps": 1}},
)


# A reader's own loop ----------------------------------------------------------------------------------------------


def cost_of(meta_gradient: Callable, inner_loop: Callable, num_tasks: int = 5) -> Demo:
    """What notebook 02's own MAML costs for k = 1 to 20, beside the library's, which adapts all tasks at once."""
    model, batch = setting(num_tasks)
    steps = STEPS[:-1]
    own = {k: partial(meta_gradient, inner_loop, model, batch, k, INNER_LR) for k in steps}
    library = {k: partial(MAML(k, INNER_LR).meta_gradient, model, batch) for k in steps}
    given = [*model.parameters(), batch.support_x, batch.support_y, batch.query_x, batch.query_y]
    runs = {"yours": own, "the library's": library}
    data = {
        "megabytes": {
            name: [saved_bytes(run, given) / MEGABYTE for run in calls.values()] for name, calls in runs.items()
        },
        "milliseconds": {
            name: [1000 * s for s in seconds_per_call(calls, repeats=1).values()] for name, calls in runs.items()
        },
    }

    def drawn(fig, show) -> None:
        panels = zip(fig.subplots(1, 2), data, ("saved for backward (MB)", "time here (ms)"))
        for axes, entry, label in panels:
            axes.set(xlabel="inner steps k", ylabel=label, xlim=(0, steps[-1]), xticks=steps, ylim=(0, None))
            top = max(max(values) for values in data[entry].values())
            axes.set_ylim(0, 1.05 * top)
            for name, color, mark in zip(runs, (plots.BLUE, plots.GREY), plots.MARKERS):
                values = lambda d, entry=entry, name=name: d[entry][name]
                show.line(axes, steps, values, color=color, marker=mark, linestyle="-", end=name, clip_on=False)
        first, last = (data["megabytes"]["yours"][at] for at in (0, -1))
        fig.axes[0].set_title(f"k = {steps[-1]} keeps {last / first:.0f} times as much")

    def told(d) -> str:
        rows = (f"{name}: {', '.join(f'{value:.2g}' for value in d.megabytes[name])} MB" for name in runs)
        return f"Bytes saved and time of one meta-gradient of {num_tasks} tasks for k = {steps}. {'; '.join(rows)}."

    named = {"key": "your_cost", "typed": "k_memory.cost_of(maml, mine).set"}
    return Demo("What your own loop costs", [], lambda values: data, drawn, told, size=(9.2, 3.2), **named)
