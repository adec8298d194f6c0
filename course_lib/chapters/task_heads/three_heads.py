"""Random, stored or meta-learned: bodies trained with each kind of head, early and late in meta-training.

The curves are the shipped table of ``experiments.training_heads`` (see its record); nothing is trained here.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from course_lib.chapters.task_heads.experiments import training_heads
from course_lib.chapters.task_heads.experiments.training_heads import META_BATCH, OUTER_LRS, PENALTIES, STOPS
from course_lib.kit import plots
from course_lib.kit.demo import Choice, Notches, declare
from course_lib.tasks.sinusoid import ZERO_PREDICTOR_MSE

HEADS = {"random": "fresh random", "written back": "stored", "meta": "meta-learned"}
LOOKS = {name: plots.METHODS[look] for name, look in zip(HEADS, ("random", "union", "maml"))}
SETTINGS = {"few": "50 tasks, k = 1", "many": "5,000 tasks, k = 1", "five": "50 tasks, k = 5"}
CELLS = {"few": (50, 1), "many": (5000, 1), "five": (50, 5)}  # number of tasks, k
NUMBERS = {"errors": "the body, with a head fitted to new tasks", "training_loss": "what training sees, heads and all"}
FLOORS, CEILING = {"errors": 0.004, "training_loss": 0.001}, 8.0
TICKS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
LAMBDA = "\N{GREEK SMALL LETTER LAMDA}"


def compute(values: SimpleNamespace) -> dict:
    """Every seed's curve of the three kinds, for the chosen numbers of tasks and steps, rate and penalty."""
    outer, penalty = (None if value == "best" else value for value in (values.outer_lr, values.penalty))
    num_tasks, steps = CELLS[values.setting]
    seeds = training_heads.curves(num_tasks, steps, None, values.number, outer, penalty)
    seeds = {head: row.numpy() for head, row in seeds.items()}  # [seeds, stops] each
    return {
        "visits": META_BATCH * values.iteration / num_tasks,
        "seeds": seeds,
        "medians": {head: np.median(np.nan_to_num(row, nan=np.inf), 0) for head, row in seeds.items()},  # [stops]
        "at": STOPS.index(values.iteration),
    }


def picture(fig, show) -> None:
    axes, bars = fig.subplots(1, 2, width_ratios=(2.2, 1))
    axes.set(xlabel="iterations of meta-training", yscale="log")
    show.also(lambda d: axes.yaxis.label.set_text("held-out error" if d.number == "errors" else "error in training"))
    axes.set(xlim=(-0.2, len(STOPS) - 0.8))
    axes.set_xticks(range(len(STOPS)), [f"{stop:,}" for stop in STOPS])
    axes.set_yticks(TICKS, [f"{tick:g}" for tick in TICKS])
    axes.minorticks_off()
    show.limits(axes, y=lambda d: (FLOORS[d.number], CEILING))
    show.mark(axes, "at")
    show.level(axes, ZERO_PREDICTOR_MSE, "predicting zero", at=0.95)
    for head, text in HEADS.items():
        color = LOOKS[head]["color"]
        each = lambda d, head=head: [np.stack([np.arange(len(STOPS)), row], 1) for row in d.seeds[head]]
        show.paths(axes, each, color=color, linewidth=0.8, alpha=0.4)
        middle = lambda d, head=head: d.medians[head]
        show.line(axes, range(len(STOPS)), middle, **LOOKS[head], markersize=5, end=text, pin=True)
    show.title(axes, lambda d: f"{d.visits:g} visits a task: {leader(d)}")
    seeds = len(training_heads.runs.seeds)
    bars.set(xlabel="place, if not shared", xlim=(-0.6, 2.6))
    bars.set(ylabel="seeds", ylim=(0, 1.07 * seeds), yticks=range(0, seeds + 1, 5))
    bars.set_xticks(range(3), ["first", "second", "third"])
    for row, head in enumerate(HEADS):
        below = lambda d, row=row: sum(list(places(d).values())[:row], np.zeros(3))
        count = lambda d, head=head: places(d)[head]
        show.bars(bars, range(3), count, base=below, width=0.6, color=LOOKS[head]["color"])
    show.title(bars, lambda d: f"Places at {d.iteration:,}")


def places(d) -> dict[str, np.ndarray]:
    """In how many seeds each kind is first, second, third at the chosen iteration; where two are alike, neither is."""
    now = np.nan_to_num(now_of(d), nan=np.inf)
    better, worse = (beats(now[:, None], now[..., None]).sum(2) for beats in (np.less, np.greater))  # [seeds, 3]
    alone = better + worse == 2
    return {head: np.bincount(better[alone[:, i], i], minlength=3) for i, head in enumerate(HEADS)}


def now_of(d) -> np.ndarray:
    """Every seed's numbers at the chosen iteration [seeds, 3]."""
    return np.stack([d.seeds[head][:, d.at] for head in HEADS], 1)


def leader(d) -> str:
    """Who is first, and in how many seeds."""
    now, first = now_of(d), {head: int(count[0]) for head, count in places(d).items()}
    if np.isnan(now).all():
        return "not measured"
    most = max(first.values())
    if most == 0:
        return "all alike"
    best = [HEADS[head] for head in HEADS if first[head] == most]
    return f"{' and '.join(best)} heads lead in {most} of {len(now)} seeds{' each' if len(best) > 1 else ''}"


def words(d) -> str:
    now = ", ".join(f"{text} {d.medians[head][d.at]:.2g}" for head, text in HEADS.items())
    medians = "" if leader(d) == "not measured" else f"; medians: {now}"
    penalty = "its best on validation tasks" if d.penalty == "best" else f"{d.penalty:g}"
    return (
        f"Error of {NUMBERS[d.number]}; {SETTINGS[d.setting]}, outer rate {d.outer_lr}, the judge's ridge "
        f"penalty {penalty}. Iteration {d.iteration:,}, {d.visits:g} visits a task: {leader(d)}{medians}."
    )


demo = declare(
    "Random, stored or meta-learned heads",
    [
        Choice("setting", SETTINGS, "few", "tasks and inner steps"),
        Notches("iteration", STOPS, STOPS[-1], "look at iteration"),
        Notches("penalty", ("best", *PENALTIES), "best", f"the judge's penalty {LAMBDA}"),
        Notches("outer_lr", ("best", *OUTER_LRS), "best", "outer rate β"),
        Choice("number", NUMBERS, "errors", "error of"),
    ],
    compute,
    picture,
    words,
    size=(9.4, 4.6),
    may_diverge=("seeds", "medians"),
    views={
        "early": {"iteration": 100},
        "late": {},
        "tasks seldom return": {"setting": "many"},
        "five inner steps": {"setting": "five"},
        "a strict judge": {"penalty": 10.0},
        "what training sees": {"number": "training_loss"},
    },
    play="iteration",
)
