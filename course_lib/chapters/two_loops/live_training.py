"""Meta-train on sinusoids and watch the loss of every outer step, and one new curve being adapted.

Live: the run button starts 400 outer steps of the library's own outer loop with the two learning rates
chosen; the same settings give the same run. The default view is such a run, made when the demo is first
shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import torch

from course_lib.algorithms import MAML
from course_lib.inner_loop import predict, stack_params
from course_lib.kit import plots
from course_lib.kit.demo import Button, Demo, Run, Slider, Switch, declare
from course_lib.kit.words import several
from course_lib.losses import mse
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks
from course_lib.tasks.sinusoid import X_RANGE, ZERO_PREDICTOR_MSE, sinusoid
from course_lib.training import Diverged, adam, outer_loop

ITERATIONS, META_BATCH, SEED = 400, 25, 0
LOOK_EVERY, WINDOW = 5, 25  # outer steps between pictures, and of the running mean
DEFAULT = {"steps": 1, "inner_lr": 0.01, "outer_lr": 0.01, "second_order": True}
AMPLITUDE, PHASE = 3.5, 2.0  # of the new curve on the right
TASKS = SinusoidTasks(shots=10, queries=10)
GRID = torch.linspace(*X_RANGE, 101)[None, :, None]  # [1, 101, 1]


def train(steps: int, inner_lr: float, outer_lr: float, second_order: bool) -> Iterator[dict]:
    """Meta-train from seed 0 and yield its state every few outer steps."""
    model, learner = MLP(seed=SEED), MAML(steps, inner_lr, second_order)
    generator = torch.Generator().manual_seed(SEED)
    batches = (TASKS.sample(META_BATCH, generator=generator) for _ in range(ITERATIONS))
    parameters = dict(model.named_parameters())
    updates = adam(parameters.values(), outer_lr)
    losses: list[float] = []
    yield state(model, learner, losses)
    updated = outer_loop(lambda batch: learner.meta_gradient(model, batch), parameters, updates, batches)
    try:
        for iteration, info in updated:
            losses.append(info["loss"].item())
            if iteration % LOOK_EVERY == 0:
                yield state(model, learner, losses)
    except Diverged:
        yield state(model, learner, losses, diverged=True)


def state(model: MLP, learner: MAML, losses: list[float], diverged: bool = False) -> dict:
    """The losses so far, and the new curve before and after the inner loop."""
    unit = torch.rand(1, 10, 1, generator=torch.Generator().manual_seed(5))
    x = X_RANGE[0] + (X_RANGE[1] - X_RANGE[0]) * unit  # [1, 10, 1]
    curve = {"amplitude": torch.tensor([AMPLITUDE]), "phase": torch.tensor([PHASE])}
    y, truth = sinusoid(x, **curve), sinusoid(GRID, **curve)  # [1, 10, 1], [1, 101, 1]
    adapted = learner.adapt(model, x, y)
    with torch.no_grad():
        before, after = (
            predict(model, stack_params(model, 1), GRID),
            predict(model, adapted, GRID),
        )  # [1, 101, 1]
    return {
        "losses": np.array(losses),
        "support": torch.cat([x, y], 2)[0],  # [10, 2]
        "truth": truth[0, :, 0],
        "before": before[0, :, 0],
        "after": after[0, :, 0],
        "error": float(mse(after, truth)),
        "diverged": diverged,
        "live": True,
    }


@lru_cache(maxsize=1)
def default_run() -> dict:
    """The last picture of a run with the default settings; a second or two."""
    *_, last = train(**DEFAULT)
    return last


@lru_cache(maxsize=64)
def untrained(steps: int, inner_lr: float, second_order: bool) -> dict:
    return state(MLP(seed=SEED), MAML(steps, inner_lr, second_order), [])


def compute(values: SimpleNamespace) -> Iterator[dict]:
    """A live run if the button was pressed; else the default run, or the untrained network."""
    settings = {name: getattr(values, name) for name in DEFAULT}
    if values.train:
        yield from train(**settings)
    elif settings == DEFAULT:
        yield default_run() | {"live": False}
    else:
        yield untrained(values.steps, values.inner_lr, values.second_order)


def running_mean(losses: np.ndarray) -> np.ndarray:
    """Mean of the last WINDOW losses at every outer step [n]."""
    sums = np.concatenate([[0.0], losses.cumsum()])
    first = np.maximum(np.arange(1, len(losses) + 1) - WINDOW, 0)
    last = np.arange(1, len(losses) + 1)
    return (sums[last] - sums[first]) / (last - first)


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2, width_ratios=(1.15, 1))
    left.set(xlabel=f"outer step, of {META_BATCH} tasks", ylabel="query loss after the inner loop", yscale="log")
    left.set(xlim=(0, ITERATIONS), ylim=(0.2, 20))
    left.set_yticks([0.2, 0.5, 1, 2, 5, 10, 20], ["0.2", "0.5", "1", "2", "5", "10", "20"])
    show.level(left, ZERO_PREDICTOR_MSE, "predicting zero")
    color = lambda d: plots.METHODS["maml" if d.second_order else "fomaml"]["color"]
    steps = lambda d: np.arange(1, len(d.losses) + 1)
    show.line(left, steps, "losses", color=color, linestyle="-", linewidth=0.8, alpha=0.4)
    mean = lambda d: running_mean(d.losses)
    words = f"mean of\nthe last {WINDOW}"
    show.line(left, steps, mean, color=color, linestyle="-", linewidth=2.6, end=words, pin=True)
    plots.name_region(left, 0.97, 0.97, "thin: each meta-batch", ha="right", va="top")
    show.title(left, progress)

    right.set(xlabel="x", ylabel="y", xlim=X_RANGE, ylim=(-6, 6))
    x = GRID[0, :, 0]
    show.line(right, x, "truth", **plots.TRUTH, end="a new curve")
    show.line(right, x, "before", color=color, linestyle=":", linewidth=1.6, end=r"$f_\theta$, before")
    show.line(right, x, "after", color=color, linestyle="-", linewidth=2.6, end=r"$f_{\theta'}$, adapted", pin=True)
    show.points(right, "support", **plots.SUPPORT)
    show.title(right, lambda d: f"New curve, k = {d.steps}: error {d.error:.2f}")


def watch(network: MLP, losses: list[float], inner_lr: float = 0.01) -> Demo:
    """A network that a reader has trained: the losses of its outer steps, and new curves that it adapts to."""
    x = GRID[0, :, 0]

    def adapted(values: SimpleNamespace) -> dict:
        generator = torch.Generator().manual_seed(5 + values.new_task)
        task = TASKS.sample(1, generator=generator)
        params = MAML(values.steps, inner_lr).adapt(network, task.support_x, task.support_y)
        with torch.no_grad():
            after = predict(network, params, GRID)[0, :, 0]
            before = predict(network, stack_params(network, 1), GRID)[0, :, 0]
        truth = sinusoid(GRID, **task.info)
        found = {
            "truth": truth[0, :, 0],
            "before": before,
            "after": after,
            "error": float((after - truth[0, :, 0]).square().mean()),
        }
        return found | {"support": torch.cat([task.support_x, task.support_y], 2)[0]}

    def picture(fig, show) -> None:
        left, right = fig.subplots(1, 2, width_ratios=(1, 1.15))
        left.set(xlabel="outer step", ylabel=f"query loss, mean of {WINDOW}", ylim=(0, 5), xlim=(0, len(losses)))
        show.level(left, ZERO_PREDICTOR_MSE, "predicting zero")
        steps = np.arange(1, len(losses) + 1)
        mean = running_mean(np.array(losses)).clip(0, 5)
        show.line(left, steps, mean, color=plots.BLUE, linestyle="-", linewidth=2.6)
        show.title(left, f"Your loop: {np.mean(losses[-WINDOW:]):.2f} in its last {WINDOW} steps")
        right.set(xlabel="x", ylabel="y", xlim=X_RANGE, ylim=(-6, 6))
        show.line(right, x, "truth", **plots.TRUTH, end="a new curve")
        show.line(right, x, "before", color=plots.BLUE, linestyle=":", linewidth=1.6, end="before")
        show.line(right, x, "after", color=plots.BLUE, linestyle="-", linewidth=2.6, end="adapted", pin=True)
        show.points(right, "support", **plots.SUPPORT)
        show.title(right, lambda d: f"After {several(d.steps, 'inner step')}: error {d.error:.2f}")

    def in_words(d) -> str:
        return (
            f"A network after {len(losses)} outer steps of the loop of this page; the last {WINDOW} cost "
            f"{np.mean(losses[-WINDOW:]):.2f}. On a new curve its error is {d.error:.2f} after "
            f"{several(d.steps, 'inner step')}."
        )

    controls = [Slider("steps", 0, 10, 1, "inner steps k"), Button("new_task", "another curve")]
    named = {"key": "your_network", "typed": "live_training.watch(network, losses).set"}
    return Demo("Your own network", controls, adapted, picture, in_words, size=(8.6, 3.2), **named)


def progress(d) -> str:
    count = len(d.losses)
    if count == 0:
        return "Not trained: press the button"
    if d.diverged:
        return f"Diverged at outer step {count + 1}"
    when = f"Outer step {count}" if d.live else f"A run of {several(count, 'outer step')}"
    return f"{when}: loss {running_mean(d.losses)[-1]:.2f}"


def words(d) -> str:
    return (
        f"{progress(d)}; predicting zero costs {ZERO_PREDICTOR_MSE:.2f}. On a new curve the network's error after "
        f"k = {several(d.steps, 'step')} of rate {d.inner_lr:.2g} on ten points is {d.error:.2f}."
    )


demo = declare(
    "Train MAML live",
    [
        Slider("inner_lr", 1e-3, 0.1, DEFAULT["inner_lr"], "α = η inner", log=True),
        Slider("outer_lr", 1e-4, 0.1, DEFAULT["outer_lr"], "β = η outer (Adam)", log=True),
        Slider("steps", 0, 5, DEFAULT["steps"], "inner steps k"),
        Switch("second_order", DEFAULT["second_order"], "second derivatives (off: FOMAML)"),
        Run("train", f"train {ITERATIONS} outer steps"),
    ],
    compute,
    picture,
    words,
    size=(8.8, 3.8),
    may_diverge=("after", "before", "error"),
    hint="The training diverged: choose smaller rates.",
    views={
        "a finished run": {},
        "train: small β": {"outer_lr": 1e-3, "train": True},
        "train: long inner step": {"inner_lr": 0.1, "train": True},
        "train: k = 0": {"steps": 0, "train": True},
    },
)
