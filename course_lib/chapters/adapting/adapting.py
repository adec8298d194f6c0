"""Adapting at test time: three initialisations fine-tuned on the same few points of one sinusoid.

Everything is computed live. The two trained initialisations are checkpoints of this course (see their
records): one trained by MAML with k = 1, one trained on all tasks together with a single head.
"""

from __future__ import annotations

import math
from functools import lru_cache
from types import SimpleNamespace

import torch
from torch import Tensor

from course_lib import checkpoints
from course_lib.evaluation import path
from course_lib.inner_loop import Params, predict, stack_params
from course_lib.kit import plots
from course_lib.kit.demo import Button, Choice, Demo, Slider
from course_lib.losses import mse
from course_lib.models import MLP
from course_lib.tasks.sinusoid import X_RANGE, sinusoid

STARTS = {"random": "random weights", "pretrained": "trained on all tasks, one head", "maml": "MAML"}
COLORS = {"random": plots.GREY, "pretrained": plots.ORANGE, "maml": plots.BLUE}
MAX_STEPS = 50
GRID = torch.linspace(*X_RANGE, 51)[None, :, None]  # [1, G, 1]
PUBLISHED = {1: 0.67, 5: 0.38, 10: 0.35}  # MAML, table 2 of arXiv 1703.03400: 5 shots, mean of 600 tasks


@lru_cache(maxsize=1)
def initialisations() -> tuple[MLP, Params]:
    """The three starts as three stacked "tasks": {name: [3, ...]}, in the order of STARTS."""
    nets = [MLP(seed=1), *(checkpoints.load(f"sinusoid/{name}")[0] for name in ("pretrained", "maml_k1"))]
    stacked = [stack_params(net, 1) for net in nets]
    return nets[0], {name: torch.cat([p[name] for p in stacked]).detach() for name in stacked[0]}


@lru_cache(maxsize=64)
def fine_tune(
    shots: int, inner_lr: float, amplitude: float, phase: float, draw: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """50 steps of all three starts: support x, y [S], fits on the grid [51, 3, G], support errors [51, 3]."""
    generator = torch.Generator().manual_seed(draw)
    unit = torch.rand(20, generator=generator)[:shots]  # the first points stay when another is added
    x = (X_RANGE[0] + (X_RANGE[1] - X_RANGE[0]) * unit)[None, :, None]  # [1, S, 1]
    y = sinusoid(x, torch.tensor([amplitude]), torch.tensor([phase]))  # [1, S, 1]
    model, params = initialisations()
    support_x, support_y = x.expand(3, -1, -1), y.expand(3, -1, -1)  # [3, S, 1]
    trail = list(path(model, params, support_x, support_y, loss_fn=mse, steps=MAX_STEPS, lr=inner_lr))
    after = {name: torch.cat([adapted[name] for adapted in trail]) for name in params}  # [51 * 3, ...]
    with torch.no_grad():
        fits = predict(model, after, GRID.expand(3 * len(trail), -1, -1))[..., 0]  # [51 * 3, G]
        at_support = predict(model, after, x.expand(3 * len(trail), -1, -1))[..., 0]  # [51 * 3, S]
    support_errors = (at_support - y[..., 0]).square().mean(-1)  # [51 * 3]
    return x[0, :, 0], y[0, :, 0], fits.view(-1, 3, fits.shape[1]), support_errors.view(-1, 3)


def compute(values: SimpleNamespace) -> dict:
    """The fit of the chosen start after ``values.steps`` steps; the error of all three after every step."""
    x, y, fits, support_errors = fine_tune(
        values.shots, values.inner_lr, values.amplitude, values.phase, values.new_points
    )
    truth = sinusoid(GRID, torch.tensor([values.amplitude]), torch.tensor([values.phase]))[0, :, 0]  # [G]
    errors = (fits - truth).square().mean(-1)  # [51, 3], over a grid nobody trained on
    chosen = list(STARTS).index(values.start)
    return {
        "start": values.start,
        "steps": values.steps,
        "grid": GRID[0, :, 0].numpy(),
        "truth": truth.numpy(),
        "support": (x.numpy(), y.numpy()),
        "before": fits[0, chosen].numpy(),
        "fit": fits[values.steps, chosen].numpy(),
        "errors": errors.numpy(),
        "error": float(errors[values.steps, chosen]),
        "support_error": float(support_errors[values.steps, chosen]),
        "zero": float(truth.square().mean()),
    }


def figure(fig) -> SimpleNamespace:
    left, right = fig.subplots(1, 2, width_ratios=(1.15, 1))
    left.set(xlabel="x", ylabel="y", xlim=X_RANGE, ylim=(-6.5, 6.5))
    truth = left.plot([], [], **plots.TRUTH, label="true curve")[0]
    before = left.plot([], [], color=plots.SKY, linestyle=":", label="before (k = 0)")[0]
    fit = left.plot([], [], color=plots.BLUE, linestyle="-", label="after k steps")[0]
    support = left.plot([], [], **plots.SUPPORT, label="support points")[0]
    right.set(xlabel="inner steps k", ylabel="error on held-out x", yscale="log")
    right.set(xlim=(-1, 51), ylim=(3e-3, 40))
    zero = right.plot([], [], **plots.REFERENCE, label="predicting zero")[0]
    curves = [
        right.plot([], [], color=COLORS[start], linestyle=dash, label=text)[0]
        for (start, text), dash in zip(STARTS.items(), ("-.", "--", "-"))
    ]
    right.plot(
        *zip(*PUBLISHED.items()), "D", color=plots.BLACK, markersize=5, label="MAML paper, 5 shots, mean"
    )
    here = right.plot([], [], "o", color=plots.BLACK, markerfacecolor="white", markersize=9)[0]
    right.text(50.5, 3.3e-3, "an oracle that knows A and phase: 0", ha="right", va="bottom", fontsize="small")
    fig.legend(loc="outside lower center", ncols=3)
    titles = (left.set_title(" "), right.set_title(" "))
    moving = {"truth": truth, "before": before, "fit": fit, "support": support}
    return SimpleNamespace(**moving, zero=zero, curves=curves, here=here, titles=titles)


def draw(artists: SimpleNamespace, data: dict) -> None:
    steps = range(MAX_STEPS + 1)
    artists.truth.set_data(data["grid"], data["truth"])
    artists.before.set_data(data["grid"], data["before"])
    artists.fit.set_data(data["grid"], data["fit"])
    artists.support.set_data(*data["support"])
    artists.zero.set_data([-1, 51], [data["zero"]] * 2)
    for curve, errors in zip(artists.curves, data["errors"].T):
        curve.set_data(steps, errors)
    artists.here.set_data([data["steps"]], [data["error"]])
    artists.titles[0].set_text(f"From {STARTS[data['start']]}, k = {data['steps']}")
    artists.titles[1].set_text(in_words(data))


def in_words(data: dict) -> str:
    if not math.isfinite(data["error"]):
        return "Diverged: the steps are too large"
    return f"Held-out error {data['error']:.2g}, support error {data['support_error']:.2g}"


def alt(data: dict) -> str:
    before = float(data["errors"][0, list(STARTS).index(data["start"])])
    return (
        f"{STARTS[data['start']]}, k = {data['steps']}, {len(data['support'][0])} support points. "
        f"{in_words(data)}. Before adapting the held-out error was {before:.2g}; predicting zero costs "
        f"{data['zero']:.2g}."
    )


def demo() -> Demo:
    """The demo of notebook 01, as in its default view: MAML's initialisation after one step."""
    return Demo(
        "Adapt to a new sinusoid",
        controls=[
            Choice("start", {text: name for name, text in STARTS.items()}, "maml", "start from"),
            Slider("steps", 0, MAX_STEPS, 1, "inner steps k"),
            Slider("shots", 1, 20, 10, "support points"),
            Slider("inner_lr", 1e-4, 0.1, 0.01, "inner rate \N{GREEK SMALL LETTER ALPHA}", log=True),
            Slider("amplitude", 0.1, 5.0, 3.0, "amplitude A", step=0.1),
            Slider("phase", 0.0, 3.14, 1.0, "phase (radians)", step=0.02),
            Button("new_points", "other points"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(9.0, 4.6),
        may_diverge=("errors", "fit", "error", "support_error"),
    )
