"""ANIL beside MAML: what the shorter list of names costs in accuracy and saves in memory and time.

Sinusoids are measured live, with the shipped networks. Accuracy on images is the shipped table of
``course_lib.chapters.closed_form.experiments.anil_and_maml``. Memory is counted, times are this machine's.
"""

from __future__ import annotations

import time
from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import torch

from course_lib import checkpoints
from course_lib.algorithms import ANIL, MAML, R2D2
from course_lib.analysis.memory import meta_gradient_bytes
from course_lib.chapters.closed_form.experiments import anil_and_maml
from course_lib.checkpoints.recipes import STRIDED
from course_lib.evaluation import evaluate
from course_lib.kit import plots
from course_lib.kit.first_edition import Choice, Demo, Notches
from course_lib.losses import cross_entropy, mse
from course_lib.models import MLP, Conv4
from course_lib.tasks import GlyphTasks, SinusoidTasks

PROBLEMS = {"sinusoids, 10 shots": "sinusoid", "Omniglot, 5-way 1-shot": "omniglot"}
STEPS = (1, 2, 5, 10)
ROWS = {  # what adapts at test time: (name in the table, color)
    "MAML": plots.BLUE,
    "MAML's network, head only": plots.GREY,
    "ANIL": plots.GREEN,
}
COSTS = {"MAML": plots.BLUE, "ANIL": plots.GREEN, "ridge head": plots.PINK}
TASKS = 200  # live, on sinusoids
MEGABYTE = 1e6


@lru_cache(maxsize=None)
def scores(problem: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """{row: (means, half widths)} after 0, 1, ... steps: error on sinusoids, accuracy in % on images; and the
    ridge head, which takes none."""
    if problem == "omniglot":
        rows = anil_and_maml.load()["accuracy"]
        return {row: tuple(np.array(part) for part in zip(*rows[row])) for row in rows}
    tasks, rows = SinusoidTasks(shots=10, queries=20), {}
    for row, (name, only) in anil_and_maml.ROWS.items():
        model, learner, _ = checkpoints.load("sinusoid/" + anil_and_maml.SINUSOID[name])
        steps = range(1 if name == "r2d2" else max(STEPS) + 1)
        result = evaluate(learner, model, tasks, TASKS, steps=steps, only=only)
        rows[row] = np.array(result.mean), np.array(result.ci95)
    return rows


def setting(problem: str):
    """(network, meta-batch, loss) to take memory and time on: 25 sinusoids, or one episode of pictures."""
    generator = torch.Generator().manual_seed(0)
    if problem == "sinusoid":
        return MLP(seed=0), SinusoidTasks(10, 10).sample(25, generator=generator), mse
    model = Conv4(**STRIDED | {"statistics": "batch"})
    return model, GlyphTasks(ways=5, shots=1, queries=5).sample(1, generator=generator), cross_entropy


def methods(steps: int, loss_fn) -> dict:
    rate = 0.01 if loss_fn is mse else 0.4
    return dict(
        zip(
            COSTS,
            (MAML(steps, rate, loss_fn=loss_fn), ANIL(steps, rate, loss_fn=loss_fn), R2D2(loss_fn=loss_fn)),
        )
    )


@lru_cache(maxsize=None)
def costs(problem: str, steps: int) -> dict[str, dict[str, float]]:
    """Of one meta-gradient: {"megabytes" | "milliseconds": {method: value}}."""
    model, batch, loss_fn = setting(problem)
    learners = methods(steps, loss_fn)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        saved = {
            name: meta_gradient_bytes(learner, model, batch) / MEGABYTE for name, learner in learners.items()
        }
        calls = {
            name: lambda of=learner: of.meta_gradient(model, batch) for name, learner in learners.items()
        }
        times = cpu_milliseconds(calls)
    finally:
        torch.set_num_threads(threads)
    return {"megabytes": saved, "milliseconds": times}


def cpu_milliseconds(calls: dict, repeats: int = 3) -> dict[str, float]:
    """Least processor time of each call; calls take turns, and other programs do not count."""
    best = dict.fromkeys(calls, np.inf)
    for _ in range(repeats):
        for name, call in calls.items():
            started = time.process_time()
            call()
            best[name] = min(best[name], 1000 * (time.process_time() - started))
    return best


def compute(values: SimpleNamespace) -> dict:
    """Scores against the steps at test time, and the costs of a meta-gradient with k steps."""
    return {"problem": values.problem, "steps": values.steps, "scores": scores(values.problem)} | costs(
        values.problem, values.steps
    )


def figure(fig) -> SimpleNamespace:
    grid = fig.add_gridspec(2, 2, width_ratios=(1.45, 1))
    left, memory, clock = (
        fig.add_subplot(grid[:, 0]),
        fig.add_subplot(grid[0, 1]),
        fig.add_subplot(grid[1, 1]),
    )
    left.set(xlabel="steps k at test time", xlim=(-0.3, 10.3), yscale="log")
    left.set_xticks(range(0, 11, 2))
    lines, bands = {}, {}
    for (row, color), dash, mark in zip(ROWS.items(), ("-", ":", "--"), ("o", "v", "s")):
        lines[row] = left.plot([], [], color=color, linestyle=dash, marker=mark, markersize=5, label=row)[0]
        bands[row] = left.fill_between([0], [1], [1], color=color, alpha=0.2, linewidth=0)
    ridge = left.plot([], [], color=plots.PINK, linestyle="-.", label="ridge head, no steps")[0]
    chosen = left.plot([], [], color=plots.AMBER, linewidth=1.5, linestyle="-", label="chosen k")[0]
    bars, texts = {}, {}
    for panel, unit in ((memory, "megabytes"), (clock, "milliseconds")):
        panel.set(ylim=(2.5, -0.5))
        panel.set_yticks(range(3), labels=list(COSTS))
        panel.grid(False, axis="y")
        for i, (name, color) in enumerate(COSTS.items()):
            bars[unit, name] = panel.plot(
                [], [], color=color, linestyle="-", linewidth=9, solid_capstyle="butt"
            )[0]
            texts[unit, name] = panel.text(1, i, "", va="center", size="small")
    memory.set_title("kept for backward (MB)")
    clock.set_title("a meta-gradient here (ms)")
    fig.legend(loc="outside lower center", ncols=3)
    return SimpleNamespace(
        left=left, memory=memory, clock=clock, lines=lines, bands=bands, ridge=ridge, chosen=chosen,
        bars=bars, texts=texts, title=left.set_title(" "),
    )  # fmt: skip


SCORES = {"sinusoid": (0.003, 8), "omniglot": (15, 105)}  # limits


def draw(artists: SimpleNamespace, data: dict) -> None:
    images = data["problem"] == "omniglot"
    if artists.left.get_yscale() != (scale := "linear" if images else "log"):
        artists.left.set_yscale(scale)
    plots.set_limits(artists.left, y=SCORES[data["problem"]])
    for panel, unit in ((artists.memory, "megabytes"), (artists.clock, "milliseconds")):
        plots.set_limits(panel, x=(0, plots.nice_ceiling(1.15 * max(data[unit].values()))))
    label = "accuracy on held-out images (%)" if images else "error on held-out points"
    if artists.left.get_ylabel() != label:
        artists.left.set_ylabel(label)
    for row in ROWS:
        mean, half = data["scores"][row]
        steps = np.arange(len(mean))
        artists.lines[row].set_data(steps, mean)
        artists.bands[row].set_data(steps, mean - half, mean + half)
    artists.ridge.set_data([-1, 11], [data["scores"]["ridge head"][0][0]] * 2)
    artists.chosen.set_data([data["steps"]] * 2, SCORES[data["problem"]])
    for (unit, name), bar in artists.bars.items():
        value, row = data[unit][name], list(COSTS).index(name)
        room = plots.nice_ceiling(1.15 * max(data[unit].values()))
        bar.set_data([0, value], [row, row])
        text = f"{value:.2g}" if value < 100 else f"{value:.0f}"
        artists.texts[unit, name].set(position=(value + 0.02 * room, row), text=text)
    artists.title.set_text(
        f"after k = {data['steps']}: " + ", ".join(f"{r} {score_at(data, r)}" for r in ("MAML", "ANIL"))
    )


def score_at(data: dict, row: str) -> str:
    mean, half = (part[data["steps"]] for part in data["scores"][row])
    digits = 1 if data["problem"] == "omniglot" else 2
    return f"{mean:.{digits}f} \N{PLUS-MINUS SIGN} {half:.{digits}f}"


def alt(data: dict) -> str:
    what = next(text for text, problem in PROBLEMS.items() if problem == data["problem"])
    kind = "accuracy in %" if data["problem"] == "omniglot" else "error"
    rows = ", ".join(f"{row} {score_at(data, row)}" for row in ROWS)
    memory = ", ".join(f"{name} {value:.2g}" for name, value in data["megabytes"].items())
    return (
        f"{what}: {kind} after {data['steps']} steps: {rows}; ridge head without a step "
        f"{data['scores']['ridge head'][0][0]:.3g}. "
        f"One meta-gradient with k = {data['steps']} saves {memory} MB."
    )


def demo() -> Demo:
    """The demo of notebook 07; in its default view ANIL keeps up with MAML and costs less."""
    return Demo(
        "MAML and ANIL: accuracy, memory, time",
        controls=[
            Choice("problem", PROBLEMS, "sinusoid", "problem"),
            Notches("steps", STEPS, 5, "inner steps k"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(9.0, 4.8),
    )
