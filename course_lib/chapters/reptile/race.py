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
from course_lib.engine.run import threads_for
from course_lib.inner_loop import predict
from course_lib.kit import plots
from course_lib.kit.first_edition import Demo, Notches, Run, Slider
from course_lib.losses import mse
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks, TaskBatch
from course_lib.tasks.sinusoid import X_RANGE, ZERO_PREDICTOR_MSE, sinusoid
from course_lib.training import Diverged, outer_loop

NAMES = {"maml": "MAML", "fomaml": "FOMAML", "reptile": "Reptile"}
COLORS = dict(zip(NAMES, (plots.BLUE, plots.SKY, plots.ORANGE)))
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
        steps = outer_loop(
            lambda batch: learner.meta_gradient(self.network, batch), parameters, self.updates, endless
        )
        started = time.perf_counter() - self.seconds
        try:
            with threads_for(self.network, torch.device("cpu")):
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
    """Give every method ``budget`` seconds, a slice at a time, and yield what the picture shows."""
    chosen = reptile_training.methods(steps)
    racers = {name: Racer(chosen[name]) for name in NAMES}
    yield picture(racers, budget, steps)
    for look in range(1, LOOKS + 1):
        for racer in racers.values():
            racer.train(budget * look / LOOKS, budget)
        yield picture(racers, budget, steps)


def picture(racers: dict[str, Racer], budget: float, steps: int) -> dict:
    return {
        "live": True,
        "budget": budget,
        "steps": steps,
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
    last = max(curve[-1, 0] for curve in curves.values())
    iterations = {name: table["moments"][name][-1] for name in NAMES}
    shown = {"curves": curves, "fits": fits, "iterations": iterations, "diverged": []}
    return {"live": False, "budget": float(np.ceil(last)), "steps": reptile_training.K} | shown


def compute(values: SimpleNamespace) -> Iterator[dict]:
    """A live race if the button was pressed; the record for its k; else the start of a race."""
    if values.train:
        yield from race(values.budget, values.steps)
    elif values.steps == reptile_training.K and values.budget == 5:
        yield recorded()
    else:
        yield next(race(values.budget, values.steps))


def figure(fig) -> SimpleNamespace:
    left, right = fig.subplots(1, 2, width_ratios=(1.15, 1))
    left.set(xlabel="seconds of training", ylabel=f"error on new tasks after {TEST_STEPS} steps")
    left.set(yscale="log", ylim=(0.1, 12), xlim=(0, 10))
    left.set_yticks([0.1, 0.2, 0.5, 1, 2, 5, 10], ["0.1", "0.2", "0.5", "1", "2", "5", "10"])
    left.axhline(ZERO_PREDICTOR_MSE, **plots.REFERENCE, label="predicting zero")
    right.set(xlabel="x", ylabel="y", xlim=X_RANGE, ylim=(-6, 6))
    parts = SimpleNamespace(left=left, curves={}, fits={})
    x, tasks = GRID[0, :, 0].numpy(), new_tasks()
    truth = sinusoid(GRID, torch.tensor([AMPLITUDE]), torch.tensor([PHASE]))[0, :, 0].numpy()
    right.plot(x, truth, **plots.TRUTH, label="a new curve")
    for (name, text), dash, mark in zip(NAMES.items(), plots.DASHES, plots.MARKERS):
        look = {"color": COLORS[name], "linestyle": dash}
        parts.curves[name] = left.plot([], [], **look, marker=mark, markersize=4, label=text)[0]
        parts.fits[name] = right.plot([], [], **look)[0]
    right.plot(tasks.support_x[0, :, 0], tasks.support_y[0, :, 0], **plots.SUPPORT, label="its support")
    parts.titles = (left.set_title(" "), right.set_title(" "))
    fig.legend(loc="outside lower center", ncols=6)
    return parts


def draw(artists: SimpleNamespace, data: dict) -> None:
    plots.set_limits(artists.left, x=(0, data["budget"] * 1.04))
    for name in NAMES:
        artists.curves[name].set_data(*data["curves"][name].T)
        artists.fits[name].set_data(GRID[0, :, 0].numpy(), data["fits"][name])
    artists.titles[0].set_text(progress(data))
    artists.titles[1].set_text("Adapted to a new curve" if data["live"] else "The course's checkpoints, adapted")


def progress(data: dict) -> str:
    if data["diverged"]:
        return " and ".join(NAMES[name] for name in data["diverged"]) + " diverged"
    if data["live"] and not any(data["iterations"].values()):
        return "Not trained: press the button"
    counts = " / ".join(str(count) for count in data["iterations"].values())
    return f"k = {data['steps']}, " + (
        f"iterations {counts}" if data["live"] else f"recorded: {counts} iterations"
    )


def alt(data: dict) -> str:
    ends = ", ".join(f"{text} {data['curves'][name][-1, 1]:.2f}" for name, text in NAMES.items())
    seconds = ", ".join(f"{data['curves'][name][-1, 0]:.1f}" for name in NAMES)
    kind = "Trained live" if data["live"] else "Recorded runs, three seeds"
    return (
        f"{kind}, k = {data['steps']}: {progress(data)}. Error on new tasks after {TEST_STEPS} steps: {ends}, "
        f"after {seconds} seconds of training. Predicting zero costs {ZERO_PREDICTOR_MSE:.2f}."
    )


def demo() -> Demo:
    """The demo of notebook 08; its default view is the recorded race."""
    return Demo(
        "Reptile beside MAML against the clock",
        controls=[
            Notches("budget", BUDGETS, 5, "seconds for each"),
            Slider("steps", 1, 10, reptile_training.K, "inner steps k"),
            Run("train", "train all three live"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(9.4, 4.6),
        hint="Fewer inner steps are calmer.",
    )
