"""Is the head enough? Fine-tuning everything, its two halves, and the head alone: at any rate, for long, or solved."""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from course_lib import checkpoints
from course_lib.algorithms.solvers import ridge_head
from course_lib.analysis.tangent import linear_finetune
from course_lib.chapters.features import setup as setup
from course_lib.chapters.features.setup import GRID
from course_lib.inner_loop import predict, stack_params, trajectory
from course_lib.kit import plots
from course_lib.kit.demo import Button, Choice, Notches, Slider, declare
from course_lib.kit.words import several
from course_lib.losses import mse

NUM_TASKS, SHOTS, INNER_LR = 40, 10, 0.01
STEPS, FULL_STEPS, MOST_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000), 100, 1000
NAMED_STEPS, DIVERGED = (1, 5, 20, 100, 1000), 100.0  # what stands at the axis, and an error called so
EVERY = 2  # one grid point of two is enough here: 100 of them
PENALTIES = (1e-4, 1e-3, 1e-2, 0.1, 1.0)
KEPT = {"everything": ("features", "head"), "body": ("features",), "head": ("head",)}  # what of the change is kept
STARTS = {"random": "random weights", "plain": "ordinary training, one head", "maml": "MAML, k = 1"}
STARTS |= {"maml_k5": "MAML, k = 5", "anil_k5": "ANIL, k = 5"}
LOOKS = {
    "everything": {"color": plots.BLUE, "linestyle": "-", "linewidth": 3.5},
    "body": {"color": plots.BLACK, "linestyle": "--", "linewidth": 1.4},
    "head": {"color": plots.GREY, "linestyle": ":", "linewidth": 1.8},
    "alone": {"color": plots.GREEN, "linestyle": "-.", "linewidth": 2.4},  # as ANIL, which changes the head alone
}
ENDS = {"everything": "everything", "body": "body's change", "head": "head's change", "alone": "head alone"}
ALPHA, LAMBDA = "\N{GREEK SMALL LETTER ALPHA}", "\N{GREEK SMALL LETTER LAMDA}"


def network_of(start: str) -> nn.Module:
    """The network of one of STARTS, in float64."""
    if start in setup.STARTS:
        return setup.network_at(start)
    return checkpoints.load(f"sinusoid/{start}")[0].double()


class Tuned(NamedTuple):
    """Fine-tuning everything for 0 to 100 steps, then keeping all of the change or one half."""

    fits: Tensor  # [3 of KEPT, 101, T, 100]
    errors: Tensor  # [3 of KEPT, 101, T] held-out


def points(draw: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Support x, y [T, S, 1], the grid [100, 1], and the true curves on it [T, 100], of 40 tasks."""
    batch, truth = setup.test_tasks(NUM_TASKS, SHOTS, draw)
    return batch.support_x, batch.support_y, GRID[::EVERY], truth[:, ::EVERY]


def tune(network: nn.Module, draw: int = 0, steps: int = FULL_STEPS) -> Tuned:
    """Fine-tune everything with rate 0.01; then undo the head's part of the change, or the body's. About a second."""
    x, y, grid, truth = points(draw)
    grid = grid.expand(NUM_TASKS, -1, -1)
    before = {name: p.detach() for name, p in stack_params(network, NUM_TASKS).items()}
    fits = []
    for after in trajectory(network, before, x, y, loss_fn=mse, steps=steps, lr=INNER_LR):
        mixed = [
            {name: (after if name.split(".")[0] in kept else before)[name] for name in after} for kept in KEPT.values()
        ]
        fits.append(torch.stack([predict(network, params, grid)[..., 0] for params in mixed]))  # [3, T, 100]
    fits = torch.stack(fits, 1).detach()
    return Tuned(fits, (fits - truth).square().mean(-1))


@torch.no_grad()
def head_alone(network: nn.Module, rate: float, steps: int, draw: int = 0) -> Tensor:
    """Held-out error after 0, 1, ..., ``steps`` gradient steps on the head [steps + 1, T].

    In closed form: with the body held fixed, the head is linear regression on the features and a one.
    """
    x, y, grid, truth = points(draw)
    ones = lambda z: torch.cat([z, torch.ones_like(z[..., :1])], -1)
    support, held_out = ones(network.features(x)), ones(network.features(grid))  # [T, S, D + 1], [100, D + 1]
    residual = (y - network(x))[..., 0]  # [T, S]
    moved = linear_finetune(support, residual, held_out, steps=steps, lr=rate)  # [steps + 1, T, 100]
    return moved.add_(network(grid)[:, 0] - truth).square_().mean(-1)  # 32 MB, so no second of its size


@torch.no_grad()
def solved_head(network: nn.Module, penalty: float, draw: int = 0) -> Tensor:
    """The curves of a ridge head on the features [T, 100]."""
    x, y, grid, _ = points(draw)
    weight, bias = ridge_head(network.features(x), y, penalty)  # [T, 1, D], [T, 1]
    return (network.features(grid) @ weight.mT + bias[:, None])[..., 0]


@lru_cache(maxsize=len(STARTS))
def tuned(start: str) -> Tuned:
    return tune(network_of(start))


@lru_cache(maxsize=64)
def alone(start: str, rate: float) -> Tensor:
    """Median held-out error of the head alone after 0 to 1,000 steps [1001]."""
    return head_alone(network_of(start), rate, MOST_STEPS).nan_to_num(nan=torch.inf).median(-1).values


def compute(values: SimpleNamespace) -> dict:
    """One task's curves, and the median errors against the number of steps."""
    now, (x, y, _, truth) = tuned(values.start), points(0)
    task, full = values.task % NUM_TASKS, min(values.steps, FULL_STEPS)
    medians = now.errors.median(-1).values  # [3, 101]
    longer = alone(values.start, values.rate).clamp(max=1e3)  # [1001]
    solved = solved_head(network_of(values.start), values.penalty)  # [T, 100]
    return {
        "truth": truth[task],
        "everything": now.fits[0, full, task].clamp(-1e3, 1e3),
        "solved": solved[task],
        "support": torch.stack([x[task, :, 0], y[task, :, 0]], 1),  # [S, 2]
        "medians": dict(zip(KEPT, medians[:, 1:].clamp(max=1e3).numpy())) | {"alone": longer[1:].numpy()},
        "before": medians[0, 0].item(),
        "ridge": (solved - truth).square().mean(-1).median().item(),
        "zero": truth.square().mean(-1).median().item(),
        "full": full,
    }


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2, width_ratios=(0.85, 1.15))
    left.set(xlabel="x", ylabel="y", xlim=(-5, 5), ylim=(-6.5, 6.5))
    grid = setup.X[::EVERY]
    show.line(left, grid, "truth", color=plots.FAINT, linestyle="-", linewidth=5, end="true")
    show.line(left, grid, "everything", **LOOKS["everything"] | {"linewidth": 2}, end="everything")
    show.line(left, grid, "solved", color=plots.PINK, linestyle="-", end="ridge head", pin=True)
    show.points(left, "support", **plots.SUPPORT)
    show.title(left, lambda d: f"After {several(d.full, 'step')} on everything")
    right.set(xlabel="steps", ylabel=f"held-out error, median of {NUM_TASKS} tasks", xscale="log", yscale="log")
    right.set(xlim=(0.9, 1150), ylim=(0.03, 8))
    right.set_xticks(STEPS, [f"{k:,}" if k in NAMED_STEPS else "" for k in STEPS])
    right.set_yticks([0.05, 0.1, 0.2, 0.5, 1, 2, 5], ["0.05", "0.1", "0.2", "0.5", "1", "2", "5"])
    right.minorticks_off()
    show.level(right, "zero", "predicting zero", at=0.02)
    show.level(right, "ridge", "a ridge head on the same features", at=0.02, color=plots.PINK)
    for part, look in LOOKS.items():
        steps = range(1, (MOST_STEPS if part == "alone" else FULL_STEPS) + 1)
        curve = lambda d, part=part: d.medians[part]
        show.line(right, steps, curve, **look, end=ENDS[part], pin=part == "alone")
    here = lambda d: d.medians["alone"][d.steps - 1]
    show.points(right, "steps", here, **plots.HERE)
    show.points(right, "full", lambda d: d.medians["everything"][d.full - 1], **plots.HERE)
    error = lambda d: f"error {here(d):#.2g}" if here(d) < DIVERGED else "diverged"
    show.title(right, lambda d: f"Head alone: {error(d)} after {several(d.steps, 'step')}")


def words(d) -> str:
    now = {part: curve[(d.full if part in KEPT else d.steps) - 1] for part, curve in d.medians.items()}
    return (
        f"From {STARTS[d.start]}. Median held-out error before {d.before:.2g}; after {several(d.full, 'step')} of 0.01 "
        f"on everything {now['everything']:.2g}, its body's change alone {now['body']:.2g}, its head's change alone "
        f"{now['head']:.2g}; the head alone for {several(d.steps, 'step')} of {d.rate:.2g}: {now['alone']:.2g}; a "
        f"ridge head ({LAMBDA} = {d.penalty:g}) {d.ridge:.2g}; predicting zero {d.zero:.2g}."
    )


demo = declare(
    "Is the head enough?",
    [
        Choice("start", STARTS, "maml", "start from"),
        Notches("steps", STEPS, 20, "steps"),
        Slider("rate", 0.01, 0.3, 0.01, f"rate {ALPHA} of the head alone", log=True),
        Notches("penalty", PENALTIES, 1e-3, f"penalty {LAMBDA} of the ridge head"),
        Button("task", "another task"),
    ],
    compute,
    picture,
    words,
    size=(9.8, 4.6),
    views={
        "twenty small steps": {},
        "a thousand larger ones": {"rate": 0.2, "steps": 1000},
        "random weights": {"start": "random", "rate": 0.05, "steps": 1000},
        "trained to adapt the head": {"start": "anil_k5"},
    },
)
