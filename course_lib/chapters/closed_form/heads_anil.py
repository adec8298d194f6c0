"""ANIL beside MAML: what the shorter list of names costs in accuracy and saves in memory and time.

Errors are the shipped tables of ``experiments``: sinusoids with networks of twenty seeds, Omniglot with the shipped
networks on twenty draws of tasks. Memory is counted, times are this machine's.
"""

from __future__ import annotations

import time
from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import torch

from course_lib.algorithms import ANIL, MAML, R2D2
from course_lib.analysis.memory import meta_gradient_bytes
from course_lib.chapters.closed_form.experiments import anil_and_maml, images
from course_lib.engine.recipes import STRIDED
from course_lib.kit import plots
from course_lib.kit.demo import Choice, Notches, Several, declare
from course_lib.kit.words import several
from course_lib.losses import cross_entropy, mse
from course_lib.models import MLP, Conv4
from course_lib.tasks import GlyphTasks, SinusoidTasks

PROBLEMS = {"sinusoid": "sinusoids, 10 shots", "omniglot": "Omniglot, 5-way 1-shot"}
STEPS = (1, 2, 5, 10)
RATES = {"best": "each method's best"} | {str(rate): f"{rate:g}" for rate in anil_and_maml.OUTER_LRS}
ROWS = {  # what adapts at test time: (in the tables on sinusoids, on images; at its line's end, look)
    "MAML": (("MAML", "everything"), "MAML", "MAML", plots.METHODS["maml"]),
    "head": (("MAML", "head"), "head", "MAML, head only", {"color": plots.GREY, "marker": "v", "linestyle": ":"}),
    "ANIL": (("ANIL", "head"), "ANIL", "ANIL", plots.METHODS["anil"]),
    "body": (("MAML", "body"), "body", "MAML, body only", {"color": plots.BROWN, "marker": "^", "linestyle": ":"}),
    "BOIL": (("BOIL", "body"), None, "BOIL", {"color": plots.VIOLET, "marker": "D", "linestyle": "--"}),
}
COSTS = {"MAML": "maml", "ANIL": "anil", "ridge head": "ridge"}
UNITS = {"megabytes": "Memory kept (MB)", "milliseconds": "Time here (ms)"}
LIMITS = {"sinusoid": (0.005, 8), "omniglot": (15, 101)}  # error; accuracy in %
MEGABYTE = 1e6


@lru_cache(maxsize=None)
def scores(problem: str, rate: str) -> dict[str, np.ndarray]:
    """{row: [runs, steps + 1]}, error on sinusoids, accuracy in % on images; and the solved "ridge" head [runs, 1]."""
    if problem == "omniglot":
        names = {row: name for row, (_, name, *_) in ROWS.items() if name} | {"ridge": "R2D2"}
        return {row: np.array([r["accuracy"] for r in images.runs.rows(row=name)]) for row, name in names.items()}
    names = {row: of for row, (of, *_) in ROWS.items()} | {"ridge": ("R2D2", "head")}
    table = {}
    for row, (method, only) in names.items():
        outer_lr = anil_and_maml.chosen(method) if rate == "best" else float(rate)
        rows = anil_and_maml.runs.rows(method=method, outer_lr=outer_lr, only=only)
        table[row] = np.array([r["errors"] for r in rows])
    return table


def setting(problem: str):
    """(network, meta-batch, loss) to take memory and time on: 25 sinusoids, or one episode of pictures."""
    generator = torch.Generator().manual_seed(0)
    if problem == "sinusoid":
        return MLP(seed=0), SinusoidTasks(10, 10).sample(25, generator=generator), mse
    model = Conv4(**STRIDED | {"statistics": "batch"})
    return model, GlyphTasks(ways=5, shots=1, queries=5).sample(1, generator=generator), cross_entropy


def methods(steps: int, loss_fn) -> dict:
    rate = 0.01 if loss_fn is mse else 0.4
    learners = MAML(steps, rate, loss_fn=loss_fn), ANIL(steps, rate, loss_fn=loss_fn), R2D2(loss_fn=loss_fn)
    return dict(zip(COSTS, learners))


@lru_cache(maxsize=None)
def costs(problem: str, steps: int) -> dict[str, dict[str, float]]:
    """Of one meta-gradient: {"megabytes" | "milliseconds": {method: value}}."""
    model, batch, loss_fn = setting(problem)
    learners = methods(steps, loss_fn)
    saved = {name: meta_gradient_bytes(learner, model, batch) / MEGABYTE for name, learner in learners.items()}
    calls = {name: lambda of=learner: of.meta_gradient(model, batch) for name, learner in learners.items()}
    return {"megabytes": saved, "milliseconds": cpu_milliseconds(calls)}


def cpu_milliseconds(calls: dict, repeats: int = 3) -> dict[str, float]:
    """Least processor time of this thread in each call; calls take turns, and what else runs does not count."""
    best = dict.fromkeys(calls, np.inf)
    for _ in range(repeats):
        for name, call in calls.items():
            started = time.thread_time()
            call()
            best[name] = min(best[name], 1000 * (time.thread_time() - started))
    return best


def compute(values: SimpleNamespace) -> dict:
    """Scores against the steps at test time, and the costs of a meta-gradient with k steps."""
    return {"scores": scores(values.problem, values.rate)} | costs(values.problem, values.steps)


def middle(d, row: str) -> np.ndarray:
    """The median over runs after each number of steps; of twenty draws of images their mean."""
    runs = d.scores.get(row, np.full((1, 11), np.nan))
    return runs.mean(0) if d.problem == "omniglot" else np.median(runs, 0)


def picture(fig, show) -> None:
    grid = fig.add_gridspec(2, 2, width_ratios=(1.5, 1))
    left = fig.add_subplot(grid[:, 0])
    left.set(xlabel="steps k at test time", xlim=(-0.15, max(STEPS) + 0.15), xticks=range(0, 11, 2))
    show.also(lambda d: fit_axes(left, d.problem))
    show.mark(left, "steps", linestyle="-", linewidth=1)
    show.level(
        left, lambda d: middle(d, "ridge")[0], "ridge head, no steps", at=0.99, color=plots.METHODS["ridge"]["color"]
    )
    for row, (_, _, name, look) in ROWS.items():
        shown = lambda d, row=row: row in d.rows and row in d.scores
        runs = lambda d, row=row: [np.stack([np.arange(11), run], 1) for run in d.scores.get(row, [])]
        show.paths(left, runs, color=look["color"], linewidth=0.7, alpha=0.35, shown=shown)
        show.line(left, range(11), lambda d, row=row: middle(d, row), **look, markersize=5, end=name, shown=shown)
    show.title(left, verdict)

    for row, (unit, title) in enumerate(UNITS.items()):
        panel = fig.add_subplot(grid[row, 1])
        panel.set(ylim=(2.5, -0.5), title=title)
        panel.set_yticks(range(3), labels=list(COSTS))
        panel.grid(False, axis="y")
        room = lambda d, unit=unit: plots.nice_ceiling(1.25 * max(d[unit].values()))
        show.limits(panel, x=lambda d, room=room: (0, room(d)))
        for i, (name, method) in enumerate(COSTS.items()):
            cost = lambda d, unit=unit, name=name: d[unit][name]
            color = plots.METHODS[method]["color"]
            show.bars(panel, [i], lambda d, cost=cost: [cost(d)], across=True, height=0.55, color=color)
            beside = lambda d, cost=cost, room=room: cost(d) + 0.02 * room(d)
            show.text(panel, beside, i, lambda d, cost=cost: number(cost(d)), va="center", fontsize=9)


def fit_axes(left, problem: str) -> None:
    """Errors on a logarithmic axis, accuracies on a linear one."""
    scale, label = ("linear", "accuracy on held-out images (%)") if problem == "omniglot" else ("log", "held-out error")
    if left.get_yscale() != scale:
        left.set_yscale(scale)
        left.yaxis.set_major_formatter("{x:g}")
    if left.get_ylabel() != label:
        left.set_ylabel(label)
    plots.set_limits(left, y=LIMITS[problem])


def number(value: float) -> str:
    return f"{value:.2g}" if value < 100 else f"{value:.0f}"


def verdict(d) -> str:
    """Of what is shown, MAML and the nearest to it in the method's idea."""
    unit, digits = (" %", 1) if d.problem == "omniglot" else ("", 2)
    shown = [row for row in ("MAML", "ANIL", "BOIL", "head", "body") if row in d.rows and row in d.scores]
    ends = [f"{ROWS[row][2]} {middle(d, row)[d.steps]:.{digits}f}{unit}" for row in shown[:2]]
    return f"After {several(d.steps, 'step')}: {', '.join(ends)}"


def words(d) -> str:
    kind = "accuracy in %" if d.problem == "omniglot" else "error"
    rows = ", ".join(
        f"{ROWS[row][2]} {middle(d, row)[d.steps]:.3g}" for row in ROWS if row in d.rows and row in d.scores
    )
    memory = ", ".join(f"{name} {value:.2g}" for name, value in d.megabytes.items())
    return (
        f"{PROBLEMS[d.problem]}: {kind} after {several(d.steps, 'step')}: {rows}; ridge head without a step "
        f"{middle(d, 'ridge')[0]:.3g}. One meta-gradient with k = {d.steps} saves {memory} MB."
    )


demo = declare(
    "MAML and ANIL: accuracy, memory, time",
    [
        Choice("problem", PROBLEMS, "sinusoid", "problem"),
        Choice("rate", RATES, "best", "outer rate (sinusoids)"),
        Notches("steps", STEPS, 5, "inner steps k"),
        Several("rows", {row: name for row, (_, _, name, _) in ROWS.items()}, ("MAML", "head", "ANIL"), label="show"),
    ],
    compute,
    picture,
    words,
    size=(9.4, 4.5),
    views={
        "sinusoids, five steps": {},
        "ten steps cost MAML most": {"steps": 10},
        "images": {"problem": "omniglot"},
        "the other half: BOIL": {"rows": ("MAML", "body", "BOIL")},
    },
)
