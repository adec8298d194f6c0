"""The inner loop as a recurrent network (figure 24.5), and what the gradient meets on its way back.

    v_k = grad L_query(theta_k),     v_t = (I - alpha H_t) v_{t+1},     v_0 = the meta-gradient

First-order MAML replaces every (I - alpha H_t) by I: its v_0 is v_k. Computed live in float64, with the
Hessians of ``course_lib.analysis.unrolling``, and held against autograd's meta-gradient through the same loop.
"""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import torch
from matplotlib.ticker import NullFormatter

from course_lib import checkpoints
from course_lib.algorithms import MAML
from course_lib.analysis.curvature import Curvature
from course_lib.analysis.unrolling import unroll
from course_lib.chapters.two_loops.lecture_figures import draw_unrolled
from course_lib.inner_loop import stack_params
from course_lib.kit import plots
from course_lib.kit.demo import Button, Choice, Slider, declare
from course_lib.kit.words import several
from course_lib.losses import mse
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks

STARTS = {"random": "random weights", "maml": "MAML's weights"}
MAX_STEPS, SHOTS = 12, 10
DIVERGED = 1e6  # a gradient this long comes from an inner loop that ran away


@lru_cache(maxsize=2)
def network(start: str) -> MLP:
    """The sinusoid network in float64, at random weights or where MAML (k = 1) left it."""
    model = MLP(seed=1) if start == "random" else checkpoints.load("sinusoid/maml_k1")[0]
    return model.double()


def one_task(draw: int):
    """A batch of one sinusoid task in float64."""
    batch = SinusoidTasks(shots=SHOTS, queries=20).sample(1, generator=torch.Generator().manual_seed(1 + draw))
    return batch.map(torch.Tensor.double)


@lru_cache(maxsize=64)
def backward(start: str, steps: int, inner_lr: float, draw: int) -> tuple[torch.Tensor, float]:
    """v_0, ..., v_k of one task [k + 1, P], and the difference of v_0 to autograd's over its length."""
    model, batch = network(start), one_task(draw)
    params = stack_params(model, 1)
    unrolled = unroll(model, params, batch.support_x, batch.support_y, loss_fn=mse, steps=steps, lr=inner_lr)
    last = Curvature(model, unrolled.points[-1], batch.query_x, batch.query_y, mse).gradient  # [1, P]
    messages = [last]
    for step in reversed(range(steps)):
        messages.append(unrolled.jacobian_times(step, messages[-1]))  # (I - alpha H_t) v_{t+1}
    product = torch.cat(messages[::-1])  # [k + 1, P]
    grads, _ = MAML(steps, inner_lr).meta_gradient(model, batch)
    autograd = torch.cat([g.flatten() for g in grads.values()])  # [P]
    return product, float((product[0] - autograd).abs().max() / autograd.norm())


def compute(values: SimpleNamespace) -> dict:
    """Length of every v_t and its cosine with v_k, the gradient that FOMAML would use."""
    product, difference = backward(values.start, values.steps, values.inner_lr, values.new_task)
    diverged = not product.norm(dim=1).max() < DIVERGED
    if diverged:
        product = torch.full_like(product, torch.nan)
    return {
        "norms": product.norm(dim=1),  # [k + 1]
        "cosines": torch.cosine_similarity(product, product[-1:], dim=1),  # [k + 1]
        "difference": difference,
        "diverged": diverged,
    }


def picture(fig, show) -> None:
    upper, lower = fig.add_gridspec(2, 1, height_ratios=(1.3, 1))
    network_axes = fig.add_subplot(upper)
    drawn = []  # the numbers of steps drawn so far, since drawing a network takes as long as all the rest

    def unrolled(d) -> None:
        if drawn[-1:] != [d.steps]:
            draw_unrolled(network_axes, d.steps)
            drawn.append(d.steps)

    show.also(unrolled)
    left, right = (fig.add_subplot(cell) for cell in lower.subgridspec(1, 2))
    for axes in (left, right):
        axes.set(xlabel=r"t: the gradient has come back to $\theta_t$")
        axes.set_xticks(range(MAX_STEPS + 1))
        show.limits(axes, x=lambda d: (-0.3, next(most for most in (4, 8, MAX_STEPS) if d.steps <= most) + 0.3))
    steps = lambda d: np.arange(d.steps + 1)
    maml, fomaml = plots.METHODS["maml"], plots.METHODS["fomaml"]
    left.set(ylabel="length of the gradient", yscale="log")
    left.yaxis.set_minor_formatter(NullFormatter())  # of one decade Matplotlib 3.10 names too many parts
    show.limits(left, y=limits)
    show.line(left, steps, lambda d: d.norms[-1].expand(d.steps + 1), **fomaml)
    show.line(left, steps, "norms", **maml, pin=True)
    grows = lambda d: d.norms[0] > d.norms[-1]  # then the upper right corner is free, else the lower one
    for row, (text, look) in enumerate(((r"MAML: times $I - \alpha H_t$", maml), (r"FOMAML: times $I$", fomaml))):
        height = lambda d, row=row: (0.95 if grows(d) else 0.28) - 0.15 * row
        place = {"transform": left.transAxes, "ha": "right", "va": "top", "color": look["color"], "fontsize": 9.5}
        show.text(left, 0.98, height, text, **place)
    right.set(ylabel="cosine to FOMAML", ylim=(-1.1, 1.1))
    show.level(right, 0, "at right angles")
    show.line(right, steps, "cosines", **maml, pin=True)
    show.title(left, lambda d: "The inner loop diverged: α is too large" if d.diverged else lengths(d))
    show.title(right, lambda d: "" if d.diverged else f"Its cosine at $\\theta_0$: {d.cosines[0]:.2f}")


def limits(d) -> tuple[float, float]:
    """Whole powers of ten around all lengths, with room for words."""
    if d.diverged:
        return 0.1, 10.0
    low, high = (d.norms.min() / 2).log10().floor(), (2 * d.norms.max()).log10().ceil()
    return float(10.0**low), float(10.0**high)


def lengths(d) -> str:
    ratio = float(d.norms[0] / d.norms[-1])
    if d.steps == 0:
        return f"Nothing to go back through: {d.norms[0]:.3g}"
    return f"From {short(d.norms[-1], 3)} to {short(d.norms[0], 3)}: {short(ratio, 2)} times"


def short(number: float, digits: int) -> str:
    """So many digits, and no powers of ten."""
    return f"{float(f'{number:.{digits}g}'):,g}"


def words(d) -> str:
    if d.diverged:
        return f"{several(d.steps, 'step')} of rate {d.inner_lr:.2g} from {STARTS[d.start]}: the loop diverges."
    return (
        f"The inner loop unrolled over {several(d.steps, 'step')} from {STARTS[d.start]}, rate "
        f"{d.inner_lr:.2g}. The query gradient is {d.norms[-1]:.3g} long at theta {d.steps} and {d.norms[0]:.3g} at "
        f"theta 0, with a cosine of {d.cosines[0]:.2f} between the two. The product of (I - alpha H_t) and autograd "
        f"differ by {d.difference:.0e} of its length."
    )


demo = declare(
    "The inner loop is a recurrent network",
    [
        Choice("start", STARTS, "random", "inner loop from"),
        Slider("steps", 0, MAX_STEPS, 4, "inner steps k"),
        Slider("inner_lr", 1e-3, 0.1, 0.03, "inner rate \N{GREEK SMALL LETTER ALPHA}", log=True),
        Button("new_task", "another task"),
    ],
    compute,
    picture,
    words,
    size=(9.4, 5.6),
    hint="The inner loop diverged: choose a smaller inner rate or fewer steps.",
    may_diverge=("norms", "cosines", "difference"),
    views={
        "shorter, and turned": {},
        "a small rate: nearly FOMAML": {"inner_lr": 1e-3},
        "from MAML's weights it grows": {"start": "maml"},
        "two steps more: it explodes": {"start": "maml", "steps": 6},
    },
)
