"""The outputs of each layer are features too: the tangent kernel is a sum over layers, and each has its share."""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from course_lib.analysis.tangent import alignment
from course_lib.chapters.features import setup as setup
from course_lib.chapters.features.setup import FAMILY, GRID, PROGRESS, WAYS
from course_lib.kit import plots
from course_lib.kit.demo import Choice, Notches, declare

LAYERS = {"first": "first layer", "second": "second layer", "head": "head", "all": "all layers"}
EVERY = 3  # one point of three in the heat map: the eye sees no more
LOOK = {"cmap": "RdBu_r", "vmin": -1, "vmax": 1, "aspect": "auto", "interpolation": "nearest"}


def layer_kernels(network: nn.Module, x: Tensor) -> Tensor:
    """Each linear layer's part of the tangent kernel of a network with features and head: x [N, D] -> [L, N, N].

    The derivative of the output by a weight is the layer's input times the derivative by the layer's output, hence
    K_l(x, x') = (delta_l(x) . delta_l(x')) (a_l(x) . a_l(x') + 1), where the one is the bias's.
    """
    signal, inputs, outputs = x, [], []
    for module in [*network.features, network.head]:
        if isinstance(module, nn.Linear):
            inputs.append(signal)
        signal = module(signal)
        if isinstance(module, nn.Linear):
            outputs.append(signal)
    deltas = torch.autograd.grad(signal.sum(), outputs)
    return torch.stack([(d @ d.T) * (a @ a.T + 1) for d, a in zip(deltas, inputs)]).detach()


@lru_cache(maxsize=32)
def kernels(way: str, iteration: int) -> Tensor:
    """The layers' kernels of a snapshot on the grid, and their sum: [4, 200, 200]."""
    parts = layer_kernels(setup.network(way, iteration), GRID)
    return torch.cat([parts, parts.sum(0, keepdim=True)])


def shares(parts: Tensor) -> Tensor:
    """Of each layer's kernel [L, N, N], its part of the squared length of the tangent features [L]."""
    length = parts.diagonal(dim1=1, dim2=2).sum(1)
    return length / length.sum()


def compute(values: SimpleNamespace) -> dict:
    """The layers' shares now and before training; the chosen layer's kernel, and its alignment with the family."""
    now, before = kernels(values.way, values.iteration), kernels(values.way, 0)
    chosen = now[list(LAYERS).index(values.layer)]
    return {
        "now": shares(now[:-1]).numpy(),
        "before": shares(before[:-1]).numpy(),
        "kernel": (chosen / chosen.abs().max())[::EVERY, ::EVERY],
        "aligned": [alignment(kernel, FAMILY).item() for kernel in now],
        "grown": float(now[-1].trace() / before[-1].trace()),
    }


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2, width_ratios=(1.2, 1))
    places = [2, 1, 0]  # as the signal flows, from the top down
    left.set(xlabel="share of the tangent features' squared length", xlim=(0, 1.12), ylim=(-0.7, 2.75))
    left.set_yticks(places, list(LAYERS.values())[:-1])
    left.set_xticks([0, 0.5, 1], ["0", "50 %", "all"])
    show.bars(left, [p - 0.18 for p in places], "now", across=True, height=0.34, color=plots.BLUE)
    show.bars(left, [p + 0.18 for p in places], "before", across=True, height=0.34, color=plots.FAINT)
    for i, place in enumerate(places):
        beside = {"va": "center", "fontsize": 9.5}
        show.text(left, lambda d, i=i: d.now[i] + 0.015, place - 0.18, lambda d, i=i: f"now {d.now[i]:.0%}", **beside)
        old = lambda d, i=i: f"before {d.before[i]:.0%}"
        show.text(left, lambda d, i=i: d.before[i] + 0.015, place + 0.18, old, color=plots.QUIET, **beside)
    show.title(left, lambda d: f"{WAYS[d.way].split(',')[0]}: {most(d)} holds most")
    right.set(xlabel="x", ylabel="x'", xticks=[-5, 0, 5], yticks=[-5, 0, 5])
    right.grid(False)
    image = show.image(right, "kernel", origin="lower", extent=(-5, 5, -5, 5), **LOOK)
    bar = fig.colorbar(image, ax=right, ticks=[-1, 0, 1])
    bar.ax.set_yticklabels(["against", "alone", "along"])
    show.title(right, lambda d: f"{LAYERS[d.layer].capitalize()}: alignment {aligned(d):.2f}")


def most(d) -> str:
    return list(LAYERS.values())[int(d.now.argmax())]


def aligned(d) -> float:
    return d.aligned[list(LAYERS).index(d.layer)]


def words(d) -> str:
    parts = ", ".join(
        f"{name} {now:.0%} (before {old:.0%}), alignment {a:.2f}"
        for name, now, old, a in zip(LAYERS.values(), d.now, d.before, d.aligned)
    )
    return (
        f"{WAYS[d.way]}, after {d.iteration:,} iterations. Shares of the tangent features' squared length: {parts}. "
        f"All layers together: alignment {d.aligned[-1]:.2f}, {d.grown:.2g} times as long as before."
    )


demo = declare(
    "Every layer has tangent features",
    [
        Choice("way", WAYS, "maml", "trained by"),
        Notches("iteration", PROGRESS, PROGRESS[-1], "training iterations"),
        Choice("layer", LAYERS, "first", "kernel of"),
    ],
    compute,
    picture,
    words,
    size=(9.6, 4.2),
    views={
        "before training": {"iteration": 0},
        "after MAML": {},
        "after ordinary training": {"way": "plain"},
        "the head's kernel": {"layer": "head"},
    },
)
