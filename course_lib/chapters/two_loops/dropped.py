"""What first-order MAML drops in a ReLU network: the Hessian's part with first derivatives, and that with second ones.

    H = (2 / S) J^T J  +  (2 / S) sum_s r_s Hessian of f(x_s),      J = df / d theta [S, P],  r = f - y

The first part (Gauss-Newton) has first derivatives of the network alone; the second vanishes where the network is
linear in its weights. A ReLU network is linear in each LAYER's weights, so its second part is not zero: it couples
different layers. Each meta-gradient here is the product of (I - alpha H_t) with one part or both; float64, live.
"""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import torch
from torch import Tensor
from torch.func import functional_call, jvp, vjp

from course_lib.analysis.curvature import Curvature, unflatten
from course_lib.analysis.unrolling import unroll
from course_lib.chapters.two_loops.unrolled_loop import STARTS, network, one_task
from course_lib.inner_loop import stack_params
from course_lib.kit import plots
from course_lib.kit.demo import Button, Choice, Slider, declare
from course_lib.losses import mse

MAX_STEPS = 5
KEPT = {  # what is kept of H -> words on the picture
    "first": "first derivatives alone",
    "second": "second derivatives alone",
    "none": "nothing (FOMAML)",
}
LONGEST = 2.0  # of the bars on the right


def gauss_newton_times(model, params: dict, x: Tensor, v: Tensor) -> Tensor:
    """(2 / S) J^T J v of one task: params {name: [1, ...]}, x [1, S, 1], v [1, P]."""
    own = {name: p[0].detach() for name, p in params.items()}
    call = lambda weights: functional_call(model, weights, (x[0],))  # [S, 1]
    way = {name: part[0] for name, part in unflatten(v, params, list(params)).items()}
    pushed = jvp(call, (own,), (way,))[1]  # J v [S, 1]
    pulled = vjp(call, own)[1](pushed)[0]  # J^T J v
    return 2 / x.shape[1] * torch.cat([pulled[name].flatten() for name in own])[None]


@lru_cache(maxsize=64)
def meta_gradients(start: str, steps: int, inner_lr: float, draw: int) -> dict[str, Tensor]:
    """{"all": exact, and one for each of KEPT}: [P] each, by the product with that part of every Hessian."""
    model, batch = network(start), one_task(draw)
    how = {"loss_fn": mse, "steps": steps, "lr": inner_lr}
    unrolled = unroll(model, stack_params(model, 1), batch.support_x, batch.support_y, **how)
    last = Curvature(model, unrolled.points[-1], batch.query_x, batch.query_y, mse).gradient  # [1, P]
    found = {kept: last for kept in ("all", *KEPT)}
    for step in reversed(range(steps)):
        for kept in ("all", "first", "second"):
            v = found[kept]
            whole = unrolled.curvatures[step].hessian_times(v) if kept != "first" else 0.0
            part = gauss_newton_times(model, unrolled.points[step], batch.support_x, v) if kept != "all" else 0.0
            times = {"all": whole, "first": part, "second": whole - part}[kept]
            found[kept] = v - inner_lr * times
    return {kept: v[0] for kept, v in found.items()}


def compute(values: SimpleNamespace) -> dict:
    """Cosine with the exact meta-gradient and relative length, for each way to shorten the Hessian."""
    found = meta_gradients(values.start, values.steps, values.inner_lr, values.new_task)
    exact = found["all"]
    return {
        "cosines": [torch.cosine_similarity(found[kept], exact, 0).item() for kept in KEPT],
        "lengths": [(found[kept].norm() / exact.norm()).item() for kept in KEPT],
        "missed": [((found[kept] - exact).norm() / exact.norm()).item() for kept in KEPT],
    }


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2, sharey=True)
    rows = range(len(KEPT))
    left.set(xlabel="cosine with the exact meta-gradient", xlim=(0, 1.05), ylim=(len(KEPT) - 0.4, -0.6))
    names = [words.replace(" (", "\n(").replace("derivatives ", "derivatives\n") for words in KEPT.values()]
    left.set_yticks(rows, labels=names)
    right.set(xlabel="its difference, in lengths of the exact one", xlim=(0, LONGEST))
    for axes, name, most in ((left, "cosines", 1.0), (right, "missed", LONGEST)):
        axes.grid(axis="y", visible=False)
        for row, color in zip(rows, (plots.BLUE, plots.VIOLET, plots.SKY)):
            value = lambda d, name=name, row=row: float(d[name][row])
            bar = lambda d, value=value, most=most: [min(max(value(d), 0.0), most)]
            show.bars(axes, [row], bar, across=True, color=color, height=0.6)
            text = lambda d, value=value: f"  {value(d):.2f}  "
            inside = lambda d, value=value, most=most: value(d) > 0.86 * most
            light = color == plots.SKY
            ink = lambda d, inside=inside, light=light: "white" if inside(d) and not light else plots.INK
            side = lambda d, inside=inside: "right" if inside(d) else "left"
            show.text(axes, lambda d, bar=bar: bar(d)[0], row, text, va="center", ha=side, color=ink)
    show.title(left, lambda d: f"Kept of the Hessian, k = {d.steps}")
    show.title(right, headline)


def headline(d) -> str:
    """Which part of the Hessian, kept alone, mends how much of the difference that is there with nothing kept."""
    first, second, none = d.missed
    if none <= min(first, second):
        return "Neither alone beats nothing"
    part = "First" if first < second else "Second"
    return f"{part} derivatives mend {1 - min(first, second) / none:.0%} of it".replace("%", " %")


def words(d) -> str:
    rows = zip(KEPT.values(), d.cosines, d.missed)
    told = [f"{name}: cosine {cosine:.2f}, difference {missed:.2f}" for name, cosine, missed in rows]
    return (
        f"From {STARTS[d.start]}, k = {d.steps}, alpha = {d.inner_lr:.2g}. Of the Hessian is kept {'; '.join(told)} "
        "(in lengths of the exact meta-gradient)."
    )


demo = declare(
    "What first-order MAML drops",
    [
        Choice("start", STARTS, "maml", "inner loop from"),
        Slider("steps", 1, MAX_STEPS, 5, "inner steps k"),
        Slider("inner_lr", 1e-3, 0.1, 0.01, "inner rate α", log=True),
        Button("new_task", "another task"),
    ],
    compute,
    picture,
    words,
    size=(9.2, 3.4),
    may_diverge=("cosines", "lengths", "missed"),
    hint="The inner loop diverged: choose a smaller inner rate or fewer steps.",
    views={
        "MAML's weights": {},
        "random weights": {"start": "random"},
        "one step": {"start": "random", "steps": 1},
    },
)
