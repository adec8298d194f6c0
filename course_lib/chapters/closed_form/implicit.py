"""Implicit MAML: its meta-gradient against the unrolled one as its spring stiffens.

The curves of the first draws are the shipped table of ``experiments.implicit_gradient`` (see its record); those of
other tasks are measured live, in seconds.
"""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import numpy as np

from course_lib.algorithms import IMAML
from course_lib.analysis.memory import meta_gradient_bytes
from course_lib.chapters.closed_form.experiments.implicit_gradient import (
    CG_STEPS,
    INNER_LR,
    LAMBDAS,
    STEPS,
    Unrolled,
    problem,
    runs,
)
from course_lib.kit import plots
from course_lib.kit.demo import Button, Choice, Notches, declare
from course_lib.kit.words import several

STARTS = {"random": "random weights", "maml_k5": "MAML, trained"}
BYTES_AT = (1, 5, 20, 50, 100)  # inner steps at which the memory is counted


@lru_cache(maxsize=1)
def bytes_kept() -> dict[str, np.ndarray]:
    """Megabytes that autograd saves of one meta-gradient, against the inner steps."""
    model, batch = problem("random", 0)
    count = lambda make: np.array([meta_gradient_bytes(make(k, INNER_LR, 100.0), model, batch) / 1e6 for k in BYTES_AT])
    return {"flat": count(IMAML), "growing": count(Unrolled)}


def compute(values: SimpleNamespace) -> dict:
    """The cosines against lambda, with and without conjugate gradients, and where the matrix fails."""
    rows = {row["cg_steps"]: row for row in runs.of(values.draw, start=values.start, steps=values.steps)}
    fails = max((lam for lam, low in zip(LAMBDAS, rows[0]["lowest"]) if lam <= -low), default=LAMBDAS[0])
    implicit, first = (np.array(rows[products]["cosines"]) for products in (values.cg_steps, 0))
    return {"implicit": implicit, "first": first, "fails": fails} | bytes_kept()


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2, width_ratios=(1.6, 1))
    left.set(xscale="log", xlim=(0.9 * LAMBDAS[0], 1.1 * LAMBDAS[-1]), ylim=(-0.05, 1.32))
    left.set(xlabel="\N{GREEK SMALL LETTER LAMDA}, the stiffness of the spring", yticks=[0, 0.2, 0.4, 0.6, 0.8, 1])
    left.set(ylabel="cosine to the unrolled gradient")
    show.band(left, lambda d: np.array([LAMBDAS[0], d.fails]), -0.05, 1.32, color=plots.ORANGE, alpha=0.12)
    show.text(left, LAMBDAS[0] * 1.15, 1.06, fails, fontsize=9, color=plots.ORANGE, va="bottom")
    show.line(left, LAMBDAS, "first", **plots.METHODS["fomaml"], end="first order")
    show.line(left, LAMBDAS, "implicit", color=plots.BLUE, marker="o", linestyle="-", end="implicit", pin=True)
    show.title(left, verdict)
    right.set(xscale="log", yscale="log", xlabel="inner steps k", ylabel="memory kept (MB)", xlim=(0.9, 110))
    right.set_xticks(BYTES_AT, BYTES_AT)
    right.minorticks_off()
    show.line(right, BYTES_AT, "growing", color=plots.GREY, marker="s", linestyle="--", end="unrolled")
    show.line(right, BYTES_AT, "flat", color=plots.BLUE, marker="o", linestyle="-", end="implicit")
    show.limits(right, y=lambda d: (d.flat[0] / 2, 2 * d.growing[-1]))
    show.title(right, "Memory does not grow with k")


def fails(d) -> str:
    return "I + H/\N{GREEK SMALL LETTER LAMDA} not\npositive definite" if d.fails > LAMBDAS[0] else ""


def verdict(d) -> str:
    bad = [lam for lam, cosine in zip(LAMBDAS, d.implicit) if not cosine >= 0.99]
    lam = "\N{GREEK SMALL LETTER LAMDA}"
    if not len(bad):
        return f"k = {d.steps}, {several(d.cg_steps, 'product')}: right for every {lam} here"
    if bad[-1] == LAMBDAS[-1]:
        return f"k = {d.steps}, {several(d.cg_steps, 'product')}: never over 0.99"
    first = LAMBDAS[LAMBDAS.index(bad[-1]) + 1]
    return f"k = {d.steps}, {several(d.cg_steps, 'product')}: over 0.99 from {lam} = {float(f'{first:.2g}'):g}"


def words(d) -> str:
    pairs = ", ".join(f"{lam:.2g}: {c:.3f}" for lam, c in zip(LAMBDAS, d.implicit))
    return (
        f"Cosine between the implicit and the unrolled meta-gradient after {several(d.steps, 'inner step')} with "
        f"{several(d.cg_steps, 'product')}, by lambda: {pairs}. I + H / lambda is not positive definite up to lambda = "
        f"{d.fails:.2g}. Memory of the implicit one is {d.flat[0]:.2g} MB for any k, of the unrolled one up to "
        f"{d.growing[-1]:.2g} MB."
    )


demo = declare(
    "Implicit MAML: the gradient at the end, not along the way",
    [
        Notches("steps", STEPS, 20, "inner steps k"),
        Notches("cg_steps", CG_STEPS, 5, "conjugate gradient steps"),
        Choice("start", STARTS, "maml_k5", "start from"),
        Button("draw", "other tasks"),
    ],
    compute,
    picture,
    words,
    size=(9.4, 3.9),
    may_diverge=("implicit", "first"),
    views={
        "twenty steps": {},
        "too few steps": {"steps": 1},
        "long enough": {"steps": 100, "cg_steps": 20},
        "random weights": {"start": "random", "steps": 100},
    },
)
