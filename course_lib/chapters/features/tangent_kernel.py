"""The tangent kernel: push the output up at one point, and see which other outputs come along."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from course_lib.chapters.features import setup as setup
from course_lib.chapters.features.setup import GRID, PROGRESS, WAYS, X
from course_lib.inner_loop import adapt, predict, stack_params
from course_lib.kit import plots
from course_lib.kit.demo import Choice, Notches, Slider, declare
from course_lib.losses import mse

NUM_VALUES = 20
EVERY = 3  # one point of three in the heat map: the eye sees no more
LOOK = {"cmap": "RdBu_r", "vmin": -1, "vmax": 1, "aspect": "auto", "interpolation": "nearest"}
ALPHA, X0 = "\N{GREEK SMALL LETTER ALPHA}", "x\N{SUBSCRIPT ZERO}"


def compute(values: SimpleNamespace) -> dict:
    """The kernel of a snapshot, its spectrum, and one gradient step on one point whose target is 1 higher."""
    now = setup.spectrum(values.way, values.iteration)
    network = setup.network(values.way, values.iteration)
    x = torch.tensor([[[values.x]]], dtype=GRID.dtype)  # [1, 1, 1]
    output = network(x).detach()
    options = {"loss_fn": mse, "steps": 1, "lr": values.inner_lr, "second_order": False}
    adapted = adapt(network, stack_params(network, 1), x, output + 1, **options)
    moved = (predict(network, adapted, GRID[None]) - network(GRID[None])).detach()[0, :, 0]  # [200]
    nearest = (GRID[:, 0] - values.x).abs().argmin()
    column = 2 * values.inner_lr * now.kernel[:, nearest]  # [200] what the linearised network does
    family = torch.cos(GRID[:, 0] - values.x)  # [200] E f(x) f(x0) / E f(x0)^2: the best guess from one point
    return {
        "kernel": (now.kernel / now.kernel.abs().max())[::EVERY, ::EVERY],  # [67, 67]
        "values": now.values[:NUM_VALUES].clamp(min=1e-6).numpy(),
        "before": setup.spectrum(values.way, 0).values[:NUM_VALUES].clamp(min=1e-6).numpy(),
        "moved": moved.numpy(),
        "linear": column.numpy(),
        "family": family,
        "similar": torch.nn.functional.cosine_similarity(column, family, dim=0).item(),
        "aligned": now.aligned,
        "here": moved[nearest].item(),
    }


def picture(fig, show) -> None:
    heat, push, values = fig.subplots(1, 3, width_ratios=(1, 1.15, 0.75))
    heat.set(xlabel="x", ylabel=X0, xlim=(-5, 5), ylim=(-5, 5), xticks=[-5, 0, 5], yticks=[-5, 0, 5])
    heat.grid(False)
    image = show.image(heat, "kernel", origin="lower", extent=(-5, 5, -5, 5), **LOOK)
    bar = fig.colorbar(image, ax=heat, location="bottom", aspect=30, ticks=[-1, 0, 1])
    bar.ax.set_xticklabels(["against", "alone", "along"])
    show.line(heat, (-5, 5), lambda d: (d.x, d.x), color=plots.BLACK, linestyle="-", linewidth=1.2)
    show.handle(heat, "x", "x", moves=(None, "x"), label=X0, color=plots.BLACK)
    show.title(heat, lambda d: f"Alignment {d.aligned:.2f}")

    push.set(xlabel="x", ylabel="change of the output", xlim=(-5, 5), ylim=(-1.6, 1.9), xticks=[-5, 0, 5])
    push.axhline(0, **plots.REFERENCE)
    show.line(push, X, "family", **plots.TRUTH, end="family")
    show.line(push, X, "linear", color=plots.BLACK, linestyle=":", end="linear")
    look = setup.LOOKS["maml"] | {"color": lambda d: setup.LOOKS[d.way]["color"]}
    show.line(push, X, "moved", **look, end="network", pin=True)
    show.handle(push, "x", 1, moves=("x", None), label=X0, color=plots.BLACK)
    beside = {"ha": "center", "fontsize": 9, "bbox": plots.BOXED}
    show.text(push, lambda d: min(max(d.x, -3), 3), 1.25, f"drag {X0}: 1 higher", **beside)
    show.title(push, lambda d: f"A push at {d.x:.1f} lifts it by {d.here:.2f}")

    values.set(xlabel="index", ylabel="eigenvalue \N{GREEK SMALL LETTER LAMDA}", yscale="log")
    values.set(xlim=(0, NUM_VALUES + 1), ylim=(1e-4, 3e2), xticks=[1, 10, 20])
    index = range(1, NUM_VALUES + 1)
    show.line(values, index, "before", color=plots.GREY, linestyle="-.", end="before")
    show.line(values, index, "values", **look, marker="o", markersize=4, end="now", pin=True)
    grown = lambda d: d["values"][0] / d.before[0]
    show.title(values, lambda d: f"\N{GREEK SMALL LETTER LAMDA}\N{SUBSCRIPT ONE}: {grown(d):.2g} × before")


def words(d) -> str:
    return (
        f"{WAYS[d.way]}, after {d.iteration:,} iterations. The tangent kernel's alignment with the family of sinusoids "
        f"is {d.aligned:.2f}, its largest eigenvalue {d['values'][0]:.3g} (before training {d.before[0]:.3g}). One "
        f"step on a point at x = {d.x:.1f} moves the output there by {d.here:.2f}; the linearised network's change has "
        f"cosine {d.similar:.2f} with cos(x - x0)."
    )


demo = declare(
    "Push one output, and others follow",
    [
        Choice("way", WAYS, "maml", "trained by"),
        Notches("iteration", PROGRESS, PROGRESS[-1], "training iterations"),
        Slider("x", -5.0, 5.0, 1.0, f"the point {X0}", step=0.1),
        Slider("inner_lr", 1e-4, 0.02, 0.003, f"inner rate {ALPHA}", log=True),
    ],
    compute,
    picture,
    words,
    size=(9.6, 4.6),
    hint="The step was too large: choose a smaller inner rate.",
    views={
        "before training": {"iteration": 0},
        "after MAML": {},
        "after ordinary training": {"way": "plain"},
        "too long a step": {"inner_lr": 0.01},
    },
    play="x",
)
