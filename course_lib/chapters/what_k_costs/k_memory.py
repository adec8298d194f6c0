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
from course_lib.kit.first_edition import Choice, Demo, Notches
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks, TaskBatch

STEPS = [1, 2, 5, 10, 20, 50]
SHOTS = 10
METHODS = {  # what a person reads -> a learner for k steps
    "MAML, second order": lambda k: MAML(k),
    "the same, checkpointed": lambda k: CheckpointedMAML(k),
    "ANIL (the head alone)": lambda k: ANIL(k),
    "first order": lambda k: MAML(k, second_order=False),
    "ridge head (no steps)": lambda k: R2D2(),
}
COLORS = (plots.BLUE, plots.SKY, plots.GREEN, plots.ORANGE, plots.PINK)
MEGABYTE = 1e6
FLOOR_AND_CEILING = (0.02, 30)  # MB, of the left panel


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
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        calls = {m: lambda m=m: learner(m, steps).meta_gradient(model, batch) for m in METHODS}
        return [1000 * seconds for seconds in seconds_per_call(calls, repeats=2).values()]
    finally:
        torch.set_num_threads(threads)


def compute(values: SimpleNamespace) -> dict:
    """Bytes of all methods against k, and the times at the chosen k."""
    return {
        "at": STEPS.index(values.steps),
        "num_tasks": values.num_tasks,
        "megabytes": saved_megabytes(values.num_tasks),
        "milliseconds": milliseconds(values.num_tasks, values.steps),
    }


def figure(fig) -> SimpleNamespace:
    left, right = fig.subplots(1, 2, width_ratios=(1.3, 1))
    left.set(xlabel="inner steps k", ylabel="saved for backward (MB)", xscale="log", yscale="log")
    left.set(xlim=(0.85, 60), ylim=FLOOR_AND_CEILING)
    left.set_xticks(STEPS, labels=STEPS)
    left.minorticks_off()
    curves = [
        left.plot([], [], marker, linestyle=dash, color=color, label=method)[0]
        for method, color, marker, dash in zip(METHODS, COLORS, plots.MARKERS, plots.DASHES)
    ]
    chosen = left.plot([], [], color=plots.AMBER, linewidth=1.5, label="chosen k")[0]
    rows = range(len(METHODS))
    right.set(xlabel="one meta-gradient on this machine (ms)", xscale="log", xlim=(0.3, 3000))
    right.set_ylim(len(METHODS) - 0.4, -0.6)
    right.set_yticks(rows, labels=[""] * len(rows))
    stems = [right.plot([], [], color=color, linestyle="-", linewidth=6)[0] for color in COLORS]
    tips = [right.plot([], [], marker, color=color)[0] for color, marker in zip(COLORS, plots.MARKERS)]
    fig.legend(loc="outside lower center", ncols=3)
    titles = (left.set_title(" "), right.set_title(" "))
    return SimpleNamespace(curves=curves, chosen=chosen, stems=stems, tips=tips, titles=titles)


def draw(artists: SimpleNamespace, data: dict) -> None:
    at, megabytes = data["at"], list(data["megabytes"].values())
    for curve, values in zip(artists.curves, megabytes):
        curve.set_data(STEPS, values)
    artists.chosen.set_data([STEPS[at]] * 2, FLOOR_AND_CEILING)
    for row, (stem, tip, time) in enumerate(zip(artists.stems, artists.tips, data["milliseconds"])):
        stem.set_data([0.3, time], [row, row])
        tip.set_data([time], [row])
    plain, checkpointed = (values[at] for values in megabytes[:2])
    artists.titles[0].set_text(f"k = {STEPS[at]}: {plain:.2g} MB plainly, {checkpointed:.2g} MB checkpointed")
    times = data["milliseconds"]
    artists.titles[1].set_text(f"checkpointing takes {times[1] / times[0]:.1f} times as long")


def alt(data: dict) -> str:
    at = data["at"]
    parts = [
        f"{method} {values[at]:.3g} MB and {time:.2g} ms"
        for (method, values), time in zip(data["megabytes"].items(), data["milliseconds"])
    ]
    return f"{data['num_tasks']} tasks of {SHOTS} + {SHOTS} points, k = {STEPS[at]}: {'; '.join(parts)}."


def demo() -> Demo:
    """The third demo of notebook 03; its default view is k = 20."""
    return Demo(
        "What must be remembered",
        controls=[
            Notches("steps", STEPS, 20, "inner steps k"),
            Choice("num_tasks", [5, 25], 25, "tasks in a meta-batch"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(9.4, 4.6),
    )
