"""Which way MAML, FOMAML, Reptile and joint training go, against k and alpha, beside theory's two terms.

Everything is computed live, in double precision: see ``course_lib.chapters.reptile.experiments.reptile_directions``.
"""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import numpy as np

from course_lib.chapters.reptile.experiments.reptile_directions import (
    METHODS,
    NETWORKS,
    Directions,
    coefficient,
    measure,
    minibatches,
    network,
)
from course_lib.kit import plots
from course_lib.kit.first_edition import Choice, Demo, Notches, Slider

RATES = (3e-4, 1e-3, 2e-3, 4e-3, 7e-3, 1e-2, 1.5e-2, 2e-2, 3e-2)  # alpha
NAMES = {"maml": "MAML", "fomaml": "FOMAML", "reptile": "Reptile", "joint": "joint training"}
COLORS = dict(zip(METHODS, (plots.BLUE, plots.SKY, plots.ORANGE, plots.GREY)))
MARKS = dict(zip(METHODS, plots.MARKERS))
NUM_TASKS = 5
LOW_COSINE = -0.25


@lru_cache(maxsize=512)
def at(which: str, steps: int, rate: float) -> Directions:
    """The directions of one network; the minibatches are the same ones for all k and alpha."""
    x, y = minibatches(0, NUM_TASKS)
    return measure(network(which, 0), x[:, :steps], y[:, :steps], rate)


def compute(values: SimpleNamespace) -> dict:
    """Cosines with one method against alpha, real and of theory, and the fitted coefficients."""
    row = [at(values.network, values.steps, rate) for rate in RATES]
    here = row[RATES.index(values.inner_lr)]
    fitted = {m: here.fitted(m) for m in METHODS}  # (AvgGrad's, AvgGradInner's over alpha)
    return {
        "network": values.network,
        "steps": values.steps,
        "rate": values.inner_lr,
        "to": values.to,
        "real": {m: np.array([d.cosine(m, values.to) for d in row]) for m in METHODS},  # [alpha]
        "theory": {m: np.array([d.cosine(m, values.to, theory=True) for d in row]) for m in METHODS},
        "now": {m: here.cosine(m, values.to) for m in METHODS},
        "fitted": fitted,
        "expected": {m: coefficient(m, values.steps) for m in METHODS},
        "missed": {m: here.missed(m) for m in METHODS},
    }


def figure(fig) -> SimpleNamespace:
    left, right = fig.subplots(1, 2, width_ratios=(1.25, 1))
    alpha = "\N{GREEK SMALL LETTER ALPHA}"
    left.set(xscale="log", xlim=(RATES[0] / 1.3, RATES[-1] * 1.3), ylim=(LOW_COSINE, 1.05))
    left.set(xlabel=f"inner rate {alpha}", ylabel="cosine")
    right.set(xlabel="coefficient of AvgGrad", xlim=(-0.1, 1.5), ylim=(-3, 1))
    right.set_ylabel(f"coefficient of {alpha} AvgGradInner")
    right.axhline(0, color=plots.GREY, linewidth=0.8)
    right.axvline(1, **plots.REFERENCE)
    parts = SimpleNamespace(left=left, right=right, real={}, theory={}, hollow={}, filled={}, now={})
    for m in METHODS:
        look = {"color": COLORS[m], "marker": MARKS[m]}
        parts.theory[m] = left.plot([], [], color=COLORS[m], linestyle=":", linewidth=1.4)[0]
        parts.real[m] = left.plot([], [], **look, markersize=5, linestyle="-", label=NAMES[m])[0]
        parts.hollow[m] = right.plot([], [], **look, markersize=13, markerfacecolor="none", linestyle="none")[
            0
        ]
        parts.filled[m] = right.plot([], [], **look, markersize=8, linestyle="none")[0]
    parts.here = left.axvline(RATES[0], color=plots.BLACK, linewidth=1)
    left.plot([], [], color=plots.GREY, linestyle=":", label="two terms of theory")
    right.plot(
        [], [], "o", color=plots.GREY, markersize=11, markerfacecolor="none", label="coefficients in theory"
    )
    right.plot([], [], "o", color=plots.GREY, markersize=7, label="fitted to the real direction")
    parts.titles = (left.set_title(" "), right.set_title(" "))
    fig.legend(loc="outside lower center", ncols=4)
    return parts


def draw(artists: SimpleNamespace, data: dict) -> None:
    deepest = max(2.3 * (data["steps"] - 1), 1.0)  # a little below MAML's
    plots.set_limits(artists.right, y=(-deepest, 0.3 * deepest))
    for m in METHODS:
        artists.real[m].set_data(RATES, np.clip(data["real"][m], LOW_COSINE, 1))
        artists.theory[m].set_data(RATES, np.clip(data["theory"][m], LOW_COSINE, 1))
        first, second = data["fitted"][m]
        artists.filled[m].set_data([np.clip(first, -0.08, 1.48)], [np.clip(second, -deepest, 0.3 * deepest)])
        artists.hollow[m].set_data([1], [data["expected"][m]])
    artists.here.set_xdata([data["rate"]] * 2)
    artists.titles[0].set_text(f"Cosine with {NAMES[data['to']]}, k = {data['steps']}")
    missed = ", ".join(f"{NAMES[m]} {percent(data['missed'][m])}" for m in ("maml", "reptile"))
    artists.titles[1].set_text(f"Missed: {missed}")


def percent(part: float) -> str:
    """A share in words that stay short where it explodes."""
    return f"{part:.1%}" if part < 0.1 else f"{part:.0%}" if part < 9.99 else "> 999%"


def alt(data: dict) -> str:
    others = [m for m in METHODS if m != data["to"]]
    real = ", ".join(f"{NAMES[m]} {data['now'][m]:.3f}" for m in others)
    fits = ", ".join(
        f"{NAMES[m]} {data['fitted'][m][1]:.2f} (theory {data['expected'][m]:g})" for m in METHODS[:3]
    )
    return (
        f"Network: {NETWORKS[data['network']]}; k = {data['steps']}, alpha = {data['rate']:g}. Cosine with "
        f"{NAMES[data['to']]}: {real}. Fitted coefficient of alpha AvgGradInner: {fits}. Theory's two terms "
        f"miss {percent(data['missed']['maml'])} of MAML's direction and "
        f"{percent(data['missed']['reptile'])} of Reptile's."
    )


def demo() -> Demo:
    """The demo of notebook 08; in its default view theory is about to fail for MAML and still holds for Reptile."""
    return Demo(
        "Four directions and the two terms of theory",
        controls=[
            Slider("steps", 1, 6, 4, "gradients k"),
            Notches("inner_lr", RATES, 1.5e-2, "inner rate \N{GREEK SMALL LETTER ALPHA}"),
            Choice("network", {text: name for name, text in NETWORKS.items()}, "tanh", "network"),
            Choice("to", {text: name for name, text in NAMES.items()}, "maml", "cosine with"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(9.4, 4.8),
        may_diverge=("real", "theory", "now", "fitted", "missed"),
    )
