"""MAML, FOMAML and Reptile given the same time: each at its outer rate, from a shipped table, and live on this machine.

The table is that of ``course_lib.chapters.reptile.experiments.race``. The run button gives each method the same number
of seconds here, in turns; only training counts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import torch

from course_lib.algorithms import MAML
from course_lib.chapters.reptile.experiments import race as table
from course_lib.chapters.reptile.experiments.race import JUDGES, META_BATCH, OUTER_LRS, PARTS, TEST_STEPS
from course_lib.evaluation import evaluate
from course_lib.kit import plots
from course_lib.kit.demo import Choice, Notches, Run, Several, declare
from course_lib.kit.experiment import middle, middle_and_ends
from course_lib.kit.words import several
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks
from course_lib.tasks.sinusoid import ZERO_PREDICTOR_MSE
from course_lib.training import Diverged, outer_loop

NAMES = {"maml": "MAML", "fomaml": "FOMAML", "reptile": "Reptile"}
PUBLISHED = "as published"
BEST = 0.0  # for an outer rate that the validation tasks choose
BUDGETS = (1, 2, 5, 10, 30)  # seconds for each method
LOOKS, TEST_TASKS = 12, 50  # of a live race
SEEDS = len(table.runs.seeds)
LOW, HIGH = 0.1, 8.0  # of the errors shown


@lru_cache(maxsize=256)
def chosen(method: str, outer_lr: float, test_steps: int) -> tuple[float, float]:
    """The outer rate (the one given, or the best) and the test rate of the least median validation error."""
    found = {}
    for lr in [outer_lr] if outer_lr else OUTER_LRS:
        rows = table.runs.rows(method=method, outer_lr=lr, part=PARTS[-1])
        for index, (steps, test_lr) in enumerate(JUDGES):
            if steps == test_steps:
                found[lr, test_lr] = middle(row["validation"][index] for row in rows)
    return min(found, key=found.get)


@lru_cache(maxsize=512)
def spread(method: str, outer_lr: float, test_steps: int, part: float = PARTS[-1]) -> tuple[float, float, float]:
    """Median, least and greatest error of the seeds, at the test rate chosen for the run's end."""
    index = JUDGES.index((test_steps, chosen(method, outer_lr, test_steps)[1]))
    errors = [row["error"][index] for row in table.runs.rows(method=method, outer_lr=outer_lr, part=part)]
    return middle_and_ends(errors)


def recorded(outer_lr: float, test_steps: int) -> dict:
    """Errors when training ends against the outer rate, and of the chosen rates against time."""
    rates = {m: chosen(m, outer_lr, test_steps) for m in NAMES}
    over = lambda m, lr: np.array([spread(m, lr, test_steps, part) for part in PARTS])  # [parts, 3]
    return {
        "against": {m: np.array([spread(m, lr, test_steps) for lr in OUTER_LRS]) for m in NAMES},  # [rates, 3]
        "curves": {m: over(m, rates[m][0]) for m in NAMES},
        "times": {m: np.array(PARTS) for m in NAMES},
        "published": spread(PUBLISHED, 1.0, test_steps)[0],
        "rates": rates,
        "ends": {m: spread(m, rates[m][0], test_steps)[0] for m in NAMES},
        "live": 0.0,
        "diverged": [],
    }


class Racer:
    """One method in a live race: its network, its seconds of training so far, and what was seen on the way."""

    def __init__(self, method: str, outer_lr: float, test_lr: float, test_steps: int):
        self.learner, self.network = table.learner_of(method), MLP(seed=0)
        self.test = {"lr": test_lr, "steps": [test_steps], "num_tasks": TEST_TASKS, "seed": 12345}
        parameters = dict(self.network.named_parameters())
        how = table.outer_loop_of(method, outer_lr)
        tasks, generator = SinusoidTasks(), torch.Generator().manual_seed(0)
        endless = iter(lambda: tasks.sample(META_BATCH, generator=generator), None)
        gradient = lambda batch: self.learner.meta_gradient(self.network, batch)
        self.steps = outer_loop(gradient, parameters, how["optimizer"](parameters.values(), outer_lr), endless)
        self.seconds, self.seen, self.diverged = 0.0, [], False
        self.look()

    def look(self) -> None:
        error = evaluate(MAML(), self.network, SinusoidTasks(10, 50), **self.test).mean[0]
        self.diverged |= not np.isfinite(error)
        if not self.diverged:
            self.seen.append((self.seconds, error))

    def train(self, until: float) -> None:
        """Train to ``until`` seconds on this racer's clock."""
        started = time.perf_counter() - self.seconds
        try:
            while self.seconds < until and not self.diverged:
                next(self.steps)
                self.seconds = time.perf_counter() - started
        except Diverged:
            self.diverged = True
        self.look()


def race(budget: float, outer_lr: float, test_steps: int) -> Iterator[dict]:
    """Give every method ``budget`` seconds, a slice at a time, and yield how the race stands."""
    record = recorded(outer_lr, test_steps)
    racers = {m: Racer(m, *record["rates"][m], test_steps) for m in NAMES}
    for look in range(LOOKS + 1):
        for racer in racers.values():
            racer.train(budget * look / LOOKS)
        seen = {m: np.array(racer.seen) for m, racer in racers.items()}  # [looks, 2]
        yield record | {
            "times": {m: rows[:, 0] for m, rows in seen.items()},
            "curves": {m: rows[:, [1, 1, 1]] for m, rows in seen.items()},
            "ends": {m: float(rows[-1, 1]) for m, rows in seen.items()},
            "live": float(budget),
            "diverged": [m for m, racer in racers.items() if racer.diverged],
        }


def compute(values: SimpleNamespace) -> Iterator[dict]:
    """A live race if the button was pressed, else the record."""
    if values.train:
        yield from race(values.budget, values.outer_lr, values.test_steps)
    else:
        yield recorded(values.outer_lr, values.test_steps)


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2, sharey=True)
    left.set(xlabel="outer rate, Adam", xscale="log", xlim=(8e-4, 3.8e-2), yscale="log", ylim=(LOW, HIGH))
    left.set_xticks(OUTER_LRS, [f"{lr:g}" for lr in OUTER_LRS])
    left.set(ylabel="error on new tasks")
    for panel in (left, right):
        panel.set_yticks([0.1, 0.2, 0.5, 1, 2, 5], ["0.1", "0.2", "0.5", "1", "2", "5"])
        panel.minorticks_off()
        show.level(panel, ZERO_PREDICTOR_MSE, "predicting zero", at=0.01)
    show.level(left, "published")
    until = lambda d: (0, 1.04 * (d.live or 1.0))
    show.limits(right, x=until)
    show.line(right, until, "published", **plots.REFERENCE, end="published Reptile")
    time_axis = right.xaxis.label
    show.also(lambda d: time_axis.set_text("seconds of training here" if d.live else "part of the time given"))
    for place, (m, text) in enumerate(NAMES.items()):
        look = {"markersize": 6} | plots.METHODS[m] | {"shown": lambda d, m=m: m in d.methods}
        aside = 1.03 ** (place - 1)
        show.whiskers(left, np.array(OUTER_LRS) * aside, lambda d, m=m: d.against[m], **look)
        at = lambda d, m=m, aside=aside: d.rates[m][0] * aside
        ring = {"markerfacecolor": "none", "markersize": 14, "markeredgewidth": 1.5, "linestyle": "none"}
        on = lambda d, m=m: d.against[m][OUTER_LRS.index(d.rates[m][0])][0]
        show.points(left, at, on, **look | ring)
        times, rows = (lambda d, m=m: d.times[m]), (lambda d, m=m: d.curves[m])
        show.whiskers(right, times, rows, **look, end=text)
    left.text(0.02, 0.02, "rings: the rates at right", transform=left.transAxes, fontsize=9)
    note = lambda d: "one run" if d.live else f"whiskers: all {SEEDS} seeds; off the top: diverged"
    show.text(right, 0.02, 0.02, note, transform=right.transAxes, fontsize=9)
    show.title(left, lambda d: "Each at its best outer rate" if not d.outer_lr else f"All at {d.outer_lr:g}")
    show.title(right, standing)


def standing(d) -> str:
    if d.diverged:
        return " and ".join(NAMES[m] for m in d.diverged) + " diverged"
    return ", ".join(f"{text} {d.ends[m]:.2f}" for m, text in NAMES.items())


def words(d) -> str:
    rows = (f"{text} {d.ends[m]:.2f} (outer rate {d.rates[m][0]:g})" for m, text in NAMES.items())
    return (
        f"{'One live run' if d.live else f'Medians over {SEEDS} seeds'}: error on new tasks after "
        f"{several(d.test_steps, 'step')}, the same time of training for each, k = 5: {'; '.join(rows)}. Reptile with "
        f"the outer loop of its paper {d.published:.2f}. Predicting zero costs {ZERO_PREDICTOR_MSE:.2f}."
    )


demo = declare(
    "Reptile beside MAML in the same time",
    [
        Choice("outer_lr", {BEST: "each its best"} | {lr: f"{lr:g}" for lr in OUTER_LRS}, BEST, "outer rate"),
        Notches("test_steps", TEST_STEPS, 10, "steps at test time"),
        Several("methods", NAMES, label="show"),
        Notches("budget", BUDGETS, 5, "seconds for each, live"),
        Run("train", "train all three live"),
    ],
    compute,
    picture,
    words,
    size=(9.8, 4.5),
    hint="A smaller outer rate is calmer.",
    views={
        "each at its best": {},
        "all at 0.001": {"outer_lr": 1e-3},
        "one step at test time": {"test_steps": 1},
    },
)
