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
from course_lib.engine.run import threads_for
from course_lib.inner_loop import predict, stack_params
from course_lib.kit import plots
from course_lib.kit.first_edition import Demo, Run, Slider, Switch
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
    """Meta-train from seed 0 and yield what the picture shows, every few outer steps."""
    model, learner = MLP(seed=SEED), MAML(steps, inner_lr, second_order)
    generator = torch.Generator().manual_seed(SEED)
    batches = (TASKS.sample(META_BATCH, generator=generator) for _ in range(ITERATIONS))
    parameters = dict(model.named_parameters())
    updates = adam(parameters.values(), outer_lr)
    losses: list[float] = []
    yield picture(model, learner, losses)
    updated = outer_loop(lambda batch: learner.meta_gradient(model, batch), parameters, updates, batches)
    try:
        with threads_for(model, torch.device("cpu")):
            for iteration, info in updated:
                losses.append(info["loss"].item())
                if iteration % LOOK_EVERY == 0:
                    yield picture(model, learner, losses)
    except Diverged:
        yield picture(model, learner, losses, diverged=True)


def picture(model: MLP, learner: MAML, losses: list[float], diverged: bool = False) -> dict:
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
        "support": (x[0, :, 0].numpy(), y[0, :, 0].numpy()),
        "truth": truth[0, :, 0].numpy(),
        "before": before[0, :, 0].numpy(),
        "after": after[0, :, 0].numpy(),
        "error": float(mse(after, truth)),
        "diverged": diverged,
        "settings": {"steps": learner.inner_steps, "inner_lr": learner.inner_lr},
    }


@lru_cache(maxsize=1)
def default_run() -> dict:
    """The last picture of a run with the default settings; a second or two."""
    *_, last = train(**DEFAULT)
    return last


@lru_cache(maxsize=64)
def untrained(steps: int, inner_lr: float, second_order: bool) -> dict:
    return picture(MLP(seed=SEED), MAML(steps, inner_lr, second_order), [])


def compute(values: SimpleNamespace) -> Iterator[dict]:
    """A live run if the button was pressed; else the default run, or the untrained network."""
    settings = {name: getattr(values, name) for name in DEFAULT}
    if values.train:
        yield from train(**settings)
    elif settings == DEFAULT:
        yield default_run()
    else:
        yield untrained(values.steps, values.inner_lr, values.second_order)


def running_mean(losses: np.ndarray) -> np.ndarray:
    """Mean of the last WINDOW losses at every outer step [n]."""
    sums = np.concatenate([[0.0], losses.cumsum()])
    first = np.maximum(np.arange(1, len(losses) + 1) - WINDOW, 0)
    last = np.arange(1, len(losses) + 1)
    return (sums[last] - sums[first]) / (last - first)


def figure(fig) -> SimpleNamespace:
    left, right = fig.subplots(1, 2, width_ratios=(1.15, 1))
    left.set(
        xlabel="outer step",
        ylabel="query loss after the inner loop",
        xlim=(0, ITERATIONS),
        ylim=(0.2, 20),
        yscale="log",
    )
    left.axhline(ZERO_PREDICTOR_MSE, **plots.REFERENCE, label="predicting zero")
    losses = left.plot([], [], color=plots.SKY, linestyle="-", linewidth=0.8, label="meta-batch of 25 tasks")[
        0
    ]
    mean = left.plot([], [], color=plots.BLUE, linestyle="-", label=f"mean of the last {WINDOW}")[0]
    right.set(xlabel="x", ylabel="y", xlim=X_RANGE, ylim=(-6, 6))
    artists = SimpleNamespace(
        losses=losses,
        mean=mean,
        truth=right.plot([], [], **plots.TRUTH, label="a new curve")[0],
        before=right.plot([], [], color=plots.SKY, linestyle=":", label=r"$f_\theta$, before")[0],
        after=right.plot([], [], color=plots.ORANGE, linestyle="-", label=r"$f_{\theta'}$, adapted")[0],
        support=right.plot([], [], **plots.SUPPORT, label="support")[0],
        titles=(left.set_title(" "), right.set_title(" ")),
    )
    fig.legend(loc="outside lower center", ncols=4)
    return artists


def draw(artists: SimpleNamespace, data: dict) -> None:
    steps = np.arange(1, len(data["losses"]) + 1)
    artists.losses.set_data(steps, data["losses"])
    artists.mean.set_data(steps, running_mean(data["losses"]))
    x = GRID[0, :, 0].numpy()
    for name in ("truth", "before", "after"):
        getattr(artists, name).set_data(x, data[name])
    artists.support.set_data(*data["support"])
    artists.titles[0].set_text(progress(data))
    k = data["settings"]["steps"]
    artists.titles[1].set_text(f"Error on the new curve after k = {k}: {data['error']:.2f}")


def progress(data: dict) -> str:
    count = len(data["losses"])
    if count == 0:
        return "Not trained: press the button"
    if data["diverged"]:
        return f"Diverged at outer step {count + 1}"
    return f"Outer step {count}: loss {running_mean(data['losses'])[-1]:.2f}"


def alt(data: dict) -> str:
    k, rate = data["settings"]["steps"], data["settings"]["inner_lr"]
    return (
        f"{progress(data)}; predicting zero costs {ZERO_PREDICTOR_MSE:.2f}. On a new curve the "
        f"network's error after "
        f"k = {k} steps of rate {rate:.2g} on ten points is {data['error']:.2f}."
    )


def demo() -> Demo:
    """The demo of notebook 02; its default view is a finished run."""
    return Demo(
        "Train MAML live",
        controls=[
            Slider(
                "inner_lr",
                1e-3,
                0.1,
                DEFAULT["inner_lr"],
                "\N{GREEK SMALL LETTER ALPHA} = \N{GREEK SMALL LETTER ETA} inner",
                log=True,
            ),
            Slider(
                "outer_lr",
                1e-4,
                0.1,
                DEFAULT["outer_lr"],
                "\N{GREEK SMALL LETTER BETA} = \N{GREEK SMALL LETTER ETA} outer (Adam)",
                log=True,
            ),
            Slider("steps", 0, 5, DEFAULT["steps"], "inner steps k"),
            Switch("second_order", DEFAULT["second_order"], "second derivatives (off: FOMAML)"),
            Run("train", f"train {ITERATIONS} outer steps"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(9.4, 4.6),
        may_diverge=("after", "before", "error"),
        hint="The training diverged: choose smaller rates.",
    )
