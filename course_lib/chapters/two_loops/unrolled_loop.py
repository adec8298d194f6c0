"""The inner loop as a recurrent network (figure 24.5), and what the gradient meets on its way back.

    v_k = grad L_query(theta_k),     v_t = (I - alpha H_t) v_{t+1},     v_0 = the meta-gradient

First-order MAML replaces every (I - alpha H_t) by I: its v_0 is v_k. Computed live in float64, with the
Hessians of ``course_lib.analysis.unrolling``, and held against autograd's meta-gradient through the same loop.
"""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import torch

from course_lib import checkpoints
from course_lib.algorithms import MAML
from course_lib.analysis.curvature import Curvature
from course_lib.analysis.unrolling import unroll
from course_lib.chapters.two_loops.lecture_figures import draw_unrolled
from course_lib.inner_loop import stack_params
from course_lib.kit import plots
from course_lib.kit.first_edition import Button, Choice, Demo, Slider
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
    batch = SinusoidTasks(shots=SHOTS, queries=20).sample(
        1, generator=torch.Generator().manual_seed(1 + draw)
    )
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
        "start": values.start,
        "steps": values.steps,
        "inner_lr": values.inner_lr,
        "norms": product.norm(dim=1).numpy(),
        "cosines": torch.cosine_similarity(product, product[-1:], dim=1).numpy(),
        "difference": difference,
        "diverged": diverged,
    }


def figure(fig) -> SimpleNamespace:
    upper, lower = fig.add_gridspec(2, 1, height_ratios=(1.55, 1))
    picture = fig.add_subplot(upper)
    norm_axes, cosine_axes = (fig.add_subplot(cell) for cell in lower.subgridspec(1, 2))
    for axes in (norm_axes, cosine_axes):
        axes.set(
            xlabel=r"t: the gradient has come back to $\theta_t$",
            xlim=(-0.5, MAX_STEPS + 0.5),
            xticks=range(0, MAX_STEPS + 1, 2),
        )
    norm_axes.set(ylabel="length of the gradient", yscale="log", ylim=(0.1, 1e3))
    cosine_axes.set(ylabel="cosine to FOMAML", ylim=(-1.1, 1.1))
    cosine_axes.axhline(0, **plots.REFERENCE)
    curves = SimpleNamespace(
        norms=norm_axes.plot(
            [], [], "o-", color=plots.BLUE, label=r"MAML: times $I - \alpha H_t$ at every step back"
        )[0],
        flat=norm_axes.plot([], [], "s--", color=plots.ORANGE, markersize=4, label=r"FOMAML: times $I$")[0],
        cosines=cosine_axes.plot([], [], "o-", color=plots.BLUE)[0],
    )
    fig.legend(loc="outside lower center", ncols=2)
    titles = SimpleNamespace(norms=norm_axes.set_title(" "), cosines=cosine_axes.set_title(" "))
    return SimpleNamespace(picture=picture, curves=curves, titles=titles, drawn=[None])


def draw(artists: SimpleNamespace, data: dict) -> None:
    k = data["steps"]
    if artists.drawn[0] != k:
        draw_unrolled(artists.picture, k)
        artists.drawn[0] = k
    steps = range(k + 1)
    artists.curves.norms.set_data(steps, data["norms"])
    artists.curves.flat.set_data(steps, [data["norms"][-1]] * (k + 1))
    artists.curves.cosines.set_data(steps, data["cosines"])
    if data["diverged"]:
        artists.titles.norms.set_text("The inner loop diverged: alpha is too large")
        return artists.titles.cosines.set_text(" ")
    artists.titles.norms.set_text(
        f"Length at $\\theta_0$: {data['norms'][0]:.3g}; FOMAML {data['norms'][-1]:.3g}"
    )
    artists.titles.cosines.set_text(f"Cosine at $\\theta_0$: {data['cosines'][0]:.2f}")


def alt(data: dict) -> str:
    k = data["steps"]
    if data["diverged"]:
        return f"{k} steps of rate {data['inner_lr']:.2g} from {STARTS[data['start']]}: the loop diverges."
    return (
        f"The inner loop unrolled over {k} step{'s' * (k != 1)} from {STARTS[data['start']]}, rate "
        f"{data['inner_lr']:.2g}. "
        f"The query gradient is {data['norms'][-1]:.3g} long at theta {k} and "
        f"{data['norms'][0]:.3g} at theta 0, with a "
        f"cosine of {data['cosines'][0]:.2f} between the two. The product of (I - alpha H_t) and "
        f"autograd differ by "
        f"{data['difference']:.0e} of its length."
    )


def demo() -> Demo:
    """The demo of notebook 02; its default view is four steps from random weights: the gradient turns."""
    return Demo(
        "The inner loop is a recurrent network",
        controls=[
            Choice("start", {text: name for name, text in STARTS.items()}, "random", "inner loop from"),
            Slider("steps", 0, MAX_STEPS, 4, "inner steps k"),
            Slider("inner_lr", 1e-3, 0.1, 0.03, "inner rate \N{GREEK SMALL LETTER ALPHA}", log=True),
            Button("new_task", "another task"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(9.0, 6.2),
        hint="The inner loop diverged: choose a smaller inner rate or fewer steps.",
        may_diverge=("norms", "cosines", "difference"),
    )
