"""Random, remembered or meta-learned: bodies trained with each kind of head, early and late in meta-training.

The curves are the shipped table of ``experiments.training_heads`` (see its record); nothing is trained here.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np

from course_lib.chapters.task_heads.experiments import training_heads
from course_lib.kit import plots
from course_lib.kit.first_edition import Choice, Demo, Notches
from course_lib.tasks.sinusoid import ZERO_PREDICTOR_MSE

WORDS = {
    "random": "a fresh random head at every visit",
    "written back": "a head stored for the task and reused",
    "meta": "one meta-learned head for all tasks",
}
LOOK = {
    "random": (plots.ORANGE, "--", "s"),
    "written back": (plots.BLUE, "-", "o"),
    "meta": (plots.GREEN, "-.", "^"),
}
NUMBERS = {
    "ridge": "the body, with a head fitted to new tasks",
    "training_loss": "what training sees, heads and all",
}
AXIS = {"ridge": "error on new tasks, fitted head", "training_loss": "query loss in training"}
FIRST = {
    "ridge": 0,
    "training_loss": training_heads.STOPS[1],
}  # there is no training loss before the first iteration
T_95 = {2: 4.303}  # Student's t for a 95 % interval, by degrees of freedom: three seeds
FLOORS, CEILING = {"ridge": 0.05, "training_loss": 0.008}, 6.0


def intervals(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Geometric mean over seeds and its 95 % interval (Student's t of logarithms): [seeds, n] -> [n] each."""
    logs, seeds = np.log(values), len(values)
    middle, half = logs.mean(0), T_95[seeds - 1] * logs.std(0, ddof=1) / math.sqrt(seeds)
    return np.exp(middle), np.exp(middle - half), np.exp(middle + half)


def compute(values: SimpleNamespace) -> dict:
    """The three curves with intervals, for the chosen number of tasks and k."""
    rows = training_heads.table(values.number, num_tasks=values.num_tasks, steps=values.steps)
    first = training_heads.STOPS.index(FIRST[values.number])
    seeds = {head: row[:, first:].numpy() for head, row in rows.items()}  # [seeds, n] each
    curves = {head: np.stack(intervals(row)) for head, row in seeds.items()}  # mean, low, high [3, n]
    stops = training_heads.STOPS[first:]
    at = stops.index(values.iteration)
    return {
        "number": values.number,
        "num_tasks": values.num_tasks,
        "steps": values.steps,
        "iteration": values.iteration,
        "visits": training_heads.META_BATCH * values.iteration / values.num_tasks,
        "places": np.arange(first, len(training_heads.STOPS)),  # stops double: evenly spaced, on a logarithmic axis
        "seeds": seeds,
        "curves": curves,
        "now": {head: curve[0, at] for head, curve in curves.items()},
    }


def figure(fig) -> SimpleNamespace:
    axes = fig.subplots()
    axes.set(xlabel="iterations of meta-training", xlim=(-0.2, len(training_heads.STOPS) - 0.8), yscale="log")
    axes.set_xticks(range(len(training_heads.STOPS)), [f"{stop:,}" for stop in training_heads.STOPS])
    ticks = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.axhline(ZERO_PREDICTOR_MSE, **plots.REFERENCE, label="predicting zero")
    lines, bands, dots = {}, {}, {}
    for head, (color, dash, marker) in LOOK.items():
        bands[head] = axes.fill_between([0], [1], [1], color=color, alpha=0.18, linewidth=0)
        lines[head] = axes.plot([], [], color=color, linestyle=dash, marker=marker, label=WORDS[head])[0]
        dots[head] = axes.plot(
            [], [], linestyle="none", marker=marker, color=color, markersize=3.5, alpha=0.7
        )[0]
    here = axes.axvline(0, color=plots.GREY, linewidth=1.2, linestyle=":")
    fig.legend(loc="outside lower center", ncols=2)
    title, ylabel = axes.set_title(" "), axes.set_ylabel(" ")
    return SimpleNamespace(
        axes=axes, lines=lines, bands=bands, dots=dots, here=here, title=title, ylabel=ylabel
    )


def draw(artists: SimpleNamespace, data: dict) -> None:
    places, floor = data["places"], FLOORS[data["number"]]
    plots.set_limits(artists.axes, y=(floor, CEILING))
    for head, (middle, low, high) in data["curves"].items():
        artists.lines[head].set_data(places, middle)
        artists.bands[head].set_data(places, np.maximum(low, floor / 2), high)
        seeds = data["seeds"][head]
        artists.dots[head].set_data(np.tile(places, len(seeds)), seeds.ravel())
    artists.here.set_xdata([training_heads.STOPS.index(data["iteration"])] * 2)
    artists.title.set_text(in_words(data))
    artists.ylabel.set_text(AXIS[data["number"]])


def in_words(data: dict) -> str:
    now = data["now"]
    return (
        f"Iteration {data['iteration']:,}, {data['visits']:g} visits a task: "
        f"random {now['random']:.2f}, stored {now['written back']:.2f}, meta-learned {now['meta']:.2f}"
    )


def alt(data: dict) -> str:
    return (
        f"{AXIS[data['number']].capitalize()} with {data['num_tasks']} tasks and k = {data['steps']}, "
        f"geometric mean of three seeds. {in_words(data)}."
    )


def demo() -> Demo:
    """The demo of notebook 04; its default view has 50 tasks, which come back often."""
    return Demo(
        "Random, remembered or meta-learned heads",
        controls=[
            Notches("num_tasks", training_heads.NUM_TASKS, 50, "number of tasks"),
            Notches("steps", training_heads.STEPS, 1, "inner steps k"),
            Notches("iteration", training_heads.STOPS[1:], 100, "look at iteration"),
            Choice("number", {text: name for name, text in NUMBERS.items()}, "ridge", "show"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(9.0, 4.6),
        hint="A run diverged: choose fewer steps.",
    )
