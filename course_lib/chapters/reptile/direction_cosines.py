"""Which way MAML, FOMAML, Reptile and joint training go, against k and alpha, beside theory's two terms.

Everything is computed live, in double precision: see ``course_lib.chapters.reptile.directions``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from types import SimpleNamespace

import numpy as np

from course_lib.chapters.reptile.directions import (
    METHODS,
    NETWORKS,
    Directions,
    coefficient,
    measure,
    minibatches,
    network,
    two_terms,
)
from course_lib.kit import plots
from course_lib.kit.demo import Choice, Notches, Several, Slider, declare

RATES = (3e-4, 1e-3, 2e-3, 4e-3, 7e-3, 1e-2, 1.5e-2, 2e-2, 3e-2)  # alpha
NAMES = {"maml": "MAML", "fomaml": "FOMAML", "reptile": "Reptile", "joint": "joint training"}
LOOKS = {m: plots.METHODS["pretrained" if m == "joint" else m] | {"linestyle": "-", "markersize": 5} for m in METHODS}
ALPHA = "\N{GREEK SMALL LETTER ALPHA}"
NUM_TASKS = 5
LOW_COSINE = -0.25


@lru_cache(maxsize=64)
def measuring(which: str, steps: int) -> tuple[Callable[[float], Directions], dict[float, Directions]]:
    """What measures the directions at a rate, on the same minibatches for all; and what it measured, by rate."""
    model, (x, y) = network(which, 0), (points[:, :steps] for points in minibatches(0, NUM_TASKS))
    terms = two_terms(model, x, y)
    return lambda rate: measure(model, x, y, rate, terms), {}


@lru_cache(maxsize=256)
def theory(which: str, steps: int, to: str) -> dict[str, np.ndarray]:
    """Theory's cosines of all methods with one at every rate [alpha]: its terms are those of any that was measured."""
    _, row = measuring(which, steps)
    at = [replace(next(iter(row.values())), inner_lr=rate) for rate in RATES]
    return {m: np.array([d.cosine(m, to, theory=True) for d in at]) for m in METHODS}


def compute(values: SimpleNamespace) -> Iterator[dict]:
    """What there is to see at the chosen rate; then as the lines grow from the largest, where they end."""
    directions, row = measuring(values.network, values.steps)
    if values.inner_lr not in row:
        row[values.inner_lr] = directions(values.inner_lr)
    for rate in reversed(RATES):
        if rate not in row:
            yield seen(values, row)
            row[rate] = directions(rate)
    yield seen(values, row)


def seen(values: SimpleNamespace, row: dict[float, Directions]) -> dict:
    """Cosines with one method and fitted coefficients against alpha, of theory and, where ``row`` has the rate, real;
    and what theory misses."""
    here = row[values.inner_lr]
    pairs = max(values.steps - 1, 1)  # minibatches before the last one: all coefficients grow with them
    real = lambda number: np.array([number(row[rate]) if rate in row else np.nan for rate in RATES])  # [alpha]
    return {
        "real": {m: real(lambda d, m=m: d.cosine(m, values.to)) for m in METHODS},
        "theory": theory(values.network, values.steps, values.to),
        "inner": {m: real(lambda d, m=m: d.fits[m][1]) / pairs for m in METHODS},
        "now": {m: here.cosine(m, values.to) for m in METHODS},
        "fitted": here.fits,  # (AvgGrad's, AvgGradInner's over alpha)
        "missed": {m: here.missed(m) for m in METHODS},
    }


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2)
    for axes in (left, right):
        axes.set(xscale="log", xlim=(0.95 * RATES[0], 1.05 * RATES[-1]), xlabel=f"inner rate {ALPHA}")
        axes.set_xticks([1e-3, 1e-2], ["0.001", "0.01"])
        show.mark(axes, "inner_lr", color=plots.INK, linestyle="-", linewidth=1)
    left.set(ylim=(LOW_COSINE, 1.05), ylabel="cosine")
    plots.name_region(left, 0.03, 0.5, "dotted:\ntheory", ha="left", fontsize=9)
    right.set(ylim=(-2.6, 0.6), yticks=(-2, -1, -0.5, 0))
    right.set_ylabel(f"coefficient of {ALPHA} AvgGradInner / (k \N{MINUS SIGN} 1)")
    for m, look in LOOKS.items():
        shown = lambda d, m=m: m in d.methods
        dotted = {"color": look["color"], "linestyle": ":", "linewidth": 1.6, "shown": shown}
        show.line(left, RATES, lambda d, m=m: d.theory[m].clip(LOW_COSINE, 1), **dotted)
        show.line(left, RATES, lambda d, m=m: d.real[m].clip(LOW_COSINE, 1), **look, shown=shown, end=NAMES[m])
        show.level(right, lambda d, m=m: coefficient(m, min(d.steps, 2)), **dotted)
        show.line(right, RATES, lambda d, m=m: d.inner[m].clip(-2.6, 0.6), **look, shown=shown, end=NAMES[m])
    show.title(left, nearest)
    show.title(right, missed)


def nearest(d) -> str:
    others = {m: cosine for m, cosine in d.now.items() if m != d.to and np.isfinite(cosine)}
    if d.steps == 1:
        return "k = 1: all four are one direction"
    if not others:
        return f"{ALPHA} = {d.inner_lr:g}: the inner loop runs away"
    best = max(others, key=others.get)
    return f"k = {d.steps}: {NAMES[best]} is nearest to {NAMES[d.to]}, {others[best]:.2f}"


def missed(d) -> str:
    of_maml, of_reptile = (percent(d.missed[m]) for m in ("maml", "reptile"))
    return f"Theory's two terms miss {of_maml} of\nMAML's direction, {of_reptile} of Reptile's"


def percent(part: float) -> str:
    """A share in words that stay short where it explodes."""
    return f"{part:.1%}" if part < 0.1 else f"{part:.0%}" if part < 9.99 else "> 999%"


def words(d) -> str:
    real = ", ".join(f"{NAMES[m]} {d.now[m]:.3f}" for m in METHODS if m != d.to)
    fits = ", ".join(
        f"{NAMES[m]} {d.fitted[m][1]:.2f} (theory {coefficient(m, d.steps) + 0.0:g}) with {d.fitted[m][0]:.2f} AvgGrad"
        for m in METHODS[:3]
    )
    return (
        f"Network: {NETWORKS[d.network]}; k = {d.steps}, alpha = {d.inner_lr:g}. Cosine with {NAMES[d.to]}: {real}. "
        f"Fitted coefficient of alpha AvgGradInner: {fits}. Theory's two terms miss {percent(d.missed['maml'])} of "
        f"MAML's direction and {percent(d.missed['reptile'])} of Reptile's."
    )


demo = declare(
    "Four directions and the two terms of theory",
    [
        Slider("steps", 1, 6, 5, "gradients k"),
        Notches("inner_lr", RATES, 1.5e-2, f"inner rate {ALPHA}"),
        Choice("network", NETWORKS, "tanh", "network"),
        Choice("to", NAMES, "maml", "cosine with"),
        Several("methods", NAMES, label="show"),
    ],
    compute,
    picture,
    words,
    size=(9.6, 4.6),
    may_diverge=("real", "theory", "inner", "now", "fitted", "missed"),
    views={
        "theory holds for Reptile": {},
        "small steps: it holds for all": {"inner_lr": 1e-3},
        "one gradient": {"steps": 1},
        "around trained weights": {"network": "reptile"},
    },
)
