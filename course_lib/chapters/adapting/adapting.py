"""Adapting at test time: three initialisations fine-tuned on the same few points of one sinusoid.

Everything is computed live. The trained initialisations are checkpoints of this course (see their records): some
trained by MAML, one trained on all tasks together with a single head.
"""

from __future__ import annotations

import math
from functools import lru_cache
from types import SimpleNamespace

import torch
from torch import Tensor

from course_lib import checkpoints
from course_lib.inner_loop import Params, predict, stack_params, trajectory
from course_lib.kit import plots
from course_lib.kit.demo import Button, Choice, Notches, Points, Slider, declare
from course_lib.losses import mse
from course_lib.models import MLP
from course_lib.tasks.sinusoid import X_RANGE, sinusoid

STARTS = {"random": "random weights", "pretrained": "pre-trained, one head", "maml": "MAML"}
MAML = {  # its checkpoints: inner steps, and iterations of training; tuned: 0.003 for 0.001
    "maml_k1": "k = 1, the paper's 70,000",
    "maml_k1_short": "k = 1, 5,000",
    "maml_k1_tuned": "k = 1, 10,000, Adam tuned",
    "maml_k5": "k = 5, 5,000",
    "maml_k5_tuned": "k = 5, 10,000, Adam tuned",
}
MAX_STEPS = 50
GRID = torch.linspace(*X_RANGE, 51)[None, :, None]  # [1, G, 1]
PUBLISHED = {1: 0.67, 5: 0.38, 10: 0.35}  # MAML, table 2 of arXiv 1703.03400: 5 shots, mean of 600 tasks
PAPER = "\N{BLACK DIAMOND} MAML paper, 5 shots"


@lru_cache(maxsize=len(MAML))
def initialisations(maml: str) -> tuple[MLP, Params]:
    """The three starts as three stacked "tasks": {name: [3, ...]}, in the order of STARTS."""
    nets = [MLP(seed=1), *(checkpoints.load(f"sinusoid/{name}")[0] for name in ("pretrained", maml))]
    stacked = [stack_params(net, 1) for net in nets]
    return nets[0], {name: torch.cat([p[name] for p in stacked]).detach() for name in stacked[0]}


def drawn_points(shots: int, draw: int) -> tuple[float, ...]:
    """Where the support points lie when none are set by hand; the first stay when another is added."""
    unit = torch.rand(20, generator=torch.Generator().manual_seed(draw))[:shots]
    return tuple((X_RANGE[0] + (X_RANGE[1] - X_RANGE[0]) * unit).tolist())


@lru_cache(maxsize=64)
def fine_tune(
    points: tuple[float, ...], inner_lr: float, amplitude: float, phase: float, maml: str = "maml_k1"
) -> tuple[Tensor, ...]:
    """50 steps of all three starts: support x, y [S], fits on the grid [51, 3, G], support errors [51, 3]."""
    x = torch.tensor(points)[None, :, None]  # [1, S, 1]
    y = sinusoid(x, torch.tensor([amplitude]), torch.tensor([phase]))  # [1, S, 1]
    model, params = initialisations(maml)
    support_x, support_y = x.expand(3, -1, -1), y.expand(3, -1, -1)  # [3, S, 1]
    trail = list(trajectory(model, params, support_x, support_y, loss_fn=mse, steps=MAX_STEPS, lr=inner_lr))
    after = {name: torch.cat([adapted[name] for adapted in trail]) for name in params}  # [51 * 3, ...]
    with torch.no_grad():
        fits = predict(model, after, GRID.expand(3 * len(trail), -1, -1))[..., 0]  # [51 * 3, G]
        at_support = predict(model, after, x.expand(3 * len(trail), -1, -1))[..., 0]  # [51 * 3, S]
    support_errors = (at_support - y[..., 0]).square().mean(-1)  # [51 * 3]
    return x[0, :, 0], y[0, :, 0], fits.view(-1, 3, fits.shape[1]), support_errors.view(-1, 3)


def compute(values: SimpleNamespace) -> dict:
    """The fit of the chosen start after ``values.steps`` steps; the error of all three after every step."""
    points = values.points or drawn_points(values.shots, values.new_points)
    x, y, fits, support_errors = fine_tune(points, values.inner_lr, values.amplitude, values.phase, values.maml)
    truth = sinusoid(GRID, torch.tensor([values.amplitude]), torch.tensor([values.phase]))[0, :, 0]  # [G]
    errors = (fits - truth).square().mean(-1)  # [51, 3], over a grid nobody trained on
    chosen = list(STARTS).index(values.start)
    return {
        "truth": truth,
        "support": torch.stack([x, y], 1),  # [S, 2]
        "before": fits[0, chosen],
        "fit": fits[values.steps, chosen],
        "errors": errors,
        "error": float(errors[values.steps, chosen]),
        "support_error": float(support_errors[values.steps, chosen]),
        "zero": float(truth.square().mean()),
    }


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2, width_ratios=(1.15, 1))
    left.set(xlabel="x", ylabel="y", xlim=X_RANGE, ylim=(-6.5, 6.5))
    grid = GRID[0, :, 0]
    show.line(left, grid, "truth", color=plots.INK, linestyle="-", linewidth=1, end="true curve")
    color = lambda d: plots.METHODS[d.start]["color"]
    show.line(left, grid, "before", color=plots.AMBER, linestyle=":", linewidth=1.8, end="before")
    show.line(left, grid, "fit", color=color, linestyle="-", linewidth=2.6, end="adapted", pin=True)
    show.handle(left, "support", moves="points", label="support point", **plots.SUPPORT, markersize=8)
    short = lambda d: in_words(d).split(",")[0].removeprefix("held-out ")
    show.title(left, lambda d: f"{STARTS[d.start].split(',')[0]}, k = {d.steps}: {short(d)}")

    right.set(xlabel="inner steps k", ylabel="error on held-out x", yscale="log")
    right.set(xlim=(0, MAX_STEPS), ylim=(3e-3, 40))
    show.level(right, "zero", "predicting zero")
    for column, (start, text) in enumerate(STARTS.items()):
        look = {"color": plots.METHODS[start]["color"], "linestyle": "-"}
        chosen = lambda d, start=start: 3.2 if d.start == start else 1.4
        errors = lambda d, column=column: d.errors[:, column]
        show.line(right, range(MAX_STEPS + 1), errors, **look, linewidth=chosen, end=text, pin=start == "maml")
    show.points(right, [*PUBLISHED], [*PUBLISHED.values()], color=plots.BLACK, marker="D", markersize=5)
    right.text(0.98, 0.98, PAPER, transform=right.transAxes, ha="right", va="top", fontsize=9)
    show.points(right, "steps", "error", **plots.HERE, zorder=5)
    right.text(0.98, 0.02, "an oracle's error is 0", transform=right.transAxes, ha="right", fontsize=9)
    show.title(right, "Held-out error after every step")


def in_words(d) -> str:
    return f"held-out error {d.error:.2g}" if math.isfinite(d.error) else "diverged, the steps are too large"


def words(d) -> str:
    before = float(d.errors[0, list(STARTS).index(d.start)])
    paper = ", ".join(f"{error} at k = {k}" for k, error in PUBLISHED.items())
    return (
        f"{STARTS[d.start]}, k = {d.steps}, {len(d.support)} support points: {in_words(d)}, support error "
        f"{d.support_error:.2g}. Before adapting the held-out error was {before:.2g}; predicting zero costs "
        f"{d.zero:.2g}, and an oracle that knows A and the phase has no error. "
        f"The MAML paper's means over 600 tasks, 5 shots: {paper}."
    )


demo = declare(
    "Adapt to a new sinusoid",
    [
        Choice("start", STARTS, "maml", "start from"),
        Notches("maml", MAML, "maml_k1", "MAML"),
        Slider("steps", 0, MAX_STEPS, 1, "inner steps k"),
        Slider("inner_lr", 1e-4, 0.1, 0.01, "inner rate \N{GREEK SMALL LETTER ALPHA}", log=True),
        Slider("shots", 1, 20, 10, "support points"),
        Slider("amplitude", 0.1, 5.0, 3.0, "amplitude A", step=0.1),
        Slider("phase", 0.0, 3.14, 1.0, "phase (radians)", step=0.02),
        Button("new_points", "other points"),
        Points("points", X_RANGE, until=("shots", "new_points")),
    ],
    compute,
    picture,
    words,
    size=(9.4, 4.6),
    may_diverge=("errors", "fit", "error", "support_error"),
    views={
        "one step of MAML": {},
        "from random weights": {"start": "random", "steps": 10},
        "from one head for all": {"start": "pretrained", "steps": 10},
        "three points": {"shots": 3},
        "too large a step": {"inner_lr": 0.1, "steps": 5},
    },
)
