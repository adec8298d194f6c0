"""MAML, FOMAML and Reptile trained live, each with a clock of its own: error against seconds of training.

The run button gives each method the same number of seconds on this machine, in turns; only training counts.
The default view is a recorded run (``experiments.reptile_training``) against CPU seconds, with the course's
checkpoints on the right.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from course_lib import checkpoints
from course_lib.chapters.reptile.experiments import reptile_training
from course_lib.chapters.reptile.experiments.reptile_training import Method
from course_lib.inner_loop import predict
from course_lib.kit import plots
from course_lib.kit.demo import Notches, Run, Several, Slider, declare
from course_lib.losses import mse
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks, TaskBatch
from course_lib.tasks.sinusoid import X_RANGE, ZERO_PREDICTOR_MSE, sinusoid
from course_lib.training import Diverged, outer_loop

NAMES = {"maml": "MAML", "fomaml": "FOMAML", "reptile": "Reptile"}
BUDGETS = (1, 2, 5, 10, 30)  # seconds for each method
LOOKS = 12  # pictures a run
TEST_STEPS = 10
SEED, TEST_TASKS = 0, 50
AMPLITUDE, PHASE = 3.5, 2.0  # of the new curve on the right, that of notebook 02's training
GRID = torch.linspace(*X_RANGE, 101)[None, :, None]  # [1, 101, 1]


@lru_cache(maxsize=1)
def new_tasks() -> TaskBatch:
    """The tasks that errors are measured on: the first is the new curve on the right."""
    tasks = SinusoidTasks(shots=10, queries=50)
    batch = tasks.sample(TEST_TASKS, generator=torch.Generator().manual_seed(12345))
    amplitude, phase = batch.info["amplitude"].clone(), batch.info["phase"].clone()
    amplitude[0], phase[0] = AMPLITUDE, PHASE
    y = lambda x: sinusoid(x, amplitude, phase)
    return TaskBatch(batch.support_x, y(batch.support_x), batch.query_x, y(batch.query_x))


def judge(network: nn.Module, inner_lr: float) -> tuple[float, np.ndarray]:
    """Error on the new tasks after TEST_STEPS steps, and the network adapted to the first of them, on GRID."""
    tasks = new_tasks()
    plain = reptile_training.MAML(TEST_STEPS, inner_lr, second_order=False)
    adapted = plain.adapt(network, tasks.support_x, tasks.support_y)
    with torch.no_grad():
        error = mse(predict(network, adapted, tasks.query_x), tasks.query_y).mean()
        fit = predict(network, {name: p[:1] for name, p in adapted.items()}, GRID)[0, :, 0]  # [101]
    return float(error), fit.numpy()


class Racer:
    """One method in the race: its network, its seconds of training so far, and what was seen on the way."""

    def __init__(self, method: Method):
        self.method, self.network = method, MLP(seed=SEED)
        self.seconds, self.iterations, self.diverged = 0.0, 0, False
        error, self.fit = judge(self.network, method.learner.inner_lr)
        self.seen = [(0.0, error)]

    def train(self, until: float, budget: float) -> None:
        """Train to ``until`` seconds on this racer's clock; a schedule follows the clock to ``budget``."""
        if self.diverged or self.seconds >= until:
            return
        learner, method = self.method.learner, self.method
        parameters = dict(self.network.named_parameters())
        generator = torch.Generator().manual_seed(SEED + 1000 * len(self.seen))
        endless = iter(lambda: method.tasks.sample(method.meta_batch, generator=generator), None)
        if len(self.seen) == 1:
            self.updates = method.optimizer(parameters.values(), method.outer_lr)
        steps = outer_loop(lambda batch: learner.meta_gradient(self.network, batch), parameters, self.updates, endless)
        started = time.perf_counter() - self.seconds
        try:
            while self.seconds < until:
                if method.schedule is not None:
                    rate = method.outer_lr * method.schedule(min(self.seconds / budget, 1.0))
                    self.updates.param_groups[0]["lr"] = rate
                next(steps)
                self.iterations += 1
                self.seconds = time.perf_counter() - started
        except Diverged:
            self.diverged = True
        error, fit = judge(self.network, learner.inner_lr)
        self.diverged |= not np.isfinite(error)
        if not self.diverged:
            self.seen.append((self.seconds, error))
            self.fit = fit


def race(budget: float, steps: int) -> Iterator[dict]:
    """Give every method ``budget`` seconds, a slice at a time, and yield how the race stands."""
    chosen = reptile_training.methods(steps)
    racers = {name: Racer(chosen[name]) for name in NAMES}
    yield standing(racers)
    for look in range(1, LOOKS + 1):
        for racer in racers.values():
            racer.train(budget * look / LOOKS, budget)
        yield standing(racers)


def standing(racers: dict[str, Racer]) -> dict:
    return {
        "live": True,
        "curves": {name: np.array(racer.seen) for name, racer in racers.items()},  # [looks, 2]
        "fits": {name: racer.fit for name, racer in racers.items()},
        "iterations": {name: racer.iterations for name, racer in racers.items()},
        "diverged": [name for name, racer in racers.items() if racer.diverged],
    }


@lru_cache(maxsize=1)
def recorded() -> dict:
    """The shipped runs, geometric mean of the seeds, at their CPU seconds; checkpoints adapted to the curve."""
    table, curves, fits = reptile_training.load(), {}, {}
    for name in NAMES:
        error = np.exp(np.log(np.array(table["scores"][name]["after_10"])).mean(1))  # [moments]
        curves[name] = np.stack([np.array(table["moments"][name]) * table["seconds_each"][name], error], 1)
        network, learner, _ = checkpoints.load(f"sinusoid/{name}_k5")
        fits[name] = judge(network, learner.inner_lr)[1]
    iterations = {name: table["moments"][name][-1] for name in NAMES}
    return {"live": False, "curves": curves, "fits": fits, "iterations": iterations, "diverged": []}


def compute(values: SimpleNamespace) -> Iterator[dict]:
    """A live race if the button was pressed; the record for its k; else the start of a race."""
    if values.train:
        yield from race(values.budget, values.steps)
    elif values.steps == reptile_training.K and values.budget == 5:
        yield recorded()
    else:
        yield next(race(values.budget, values.steps))


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2, width_ratios=(1.15, 1))
    left.set(xlabel="seconds of training", ylabel=f"error on new tasks after {TEST_STEPS} steps")
    left.set(yscale="log", ylim=(0.1, 12))
    left.set_yticks([0.1, 0.2, 0.5, 1, 2, 5, 10], ["0.1", "0.2", "0.5", "1", "2", "5", "10"])
    show.limits(left, x=lambda d: (0, 1.04 * (d.budget if d.live else np.ceil(max(ends(d, 0).values())))))
    show.level(left, ZERO_PREDICTOR_MSE, "predicting zero")
    right.set(xlabel="x", ylabel="y", xlim=X_RANGE, ylim=(-6, 6))
    x, tasks = GRID[0, :, 0], new_tasks()
    truth = AMPLITUDE * torch.sin(x - PHASE)
    show.line(right, x, truth, **plots.TRUTH, end="a new curve")
    for name, text in NAMES.items():
        look, shown = plots.METHODS[name], lambda d, name=name: name in d.methods
        curve, fit = (lambda d, name=name: d.curves[name]), (lambda d, name=name: d.fits[name])
        show.line(left, curve, **look, markersize=4, shown=shown, end=text, pin=True)
        show.line(right, x, fit, **look | {"marker": ""}, shown=shown, end=text)
    show.points(right, tasks.support_x[0, :, 0], tasks.support_y[0, :, 0], **plots.SUPPORT)
    show.title(left, progress)
    show.title(right, lambda d: "Adapted to a new curve" if d.live else "The course's checkpoints, adapted")


def ends(d, column: int) -> dict[str, float]:
    """Seconds (0) or error (1) at the last moment seen, by method."""
    return {name: curve[-1, column] for name, curve in d.curves.items()}


def progress(d) -> str:
    if d.diverged:
        return " and ".join(NAMES[name] for name in d.diverged) + " diverged"
    if not any(d.iterations.values()):
        return "Not trained: press the button"
    error = ends(d, 1)
    best = min(error, key=error.get)
    return f"k = {d.steps}{'' if d.live else ', recorded'}: {NAMES[best]} is ahead, {error[best]:.2f}"


def words(d) -> str:
    error, seconds = ends(d, 1), ends(d, 0)
    rows = (f"{NAMES[n]} {error[n]:.2f} after {d.iterations[n]:,} iterations, {seconds[n]:.1f} s" for n in NAMES)
    return (
        f"{'One run' if d.live else 'Runs of three seeds'}. {progress(d)}. Error on new tasks after {TEST_STEPS} "
        f"steps: {'; '.join(rows)}. Predicting zero costs {ZERO_PREDICTOR_MSE:.2f}."
    )


demo = declare(
    "Reptile beside MAML against the clock",
    [
        Notches("budget", BUDGETS, 5, "seconds for each"),
        Slider("steps", 1, 10, reptile_training.K, "inner steps k"),
        Several("methods", NAMES, label="show"),
        Run("train", "train all three live"),
    ],
    compute,
    picture,
    words,
    size=(9.6, 4.6),
    hint="Fewer inner steps are calmer.",
    views={"the recorded race": {}, "Reptile beside MAML": {"methods": ("maml", "reptile")}},
)
