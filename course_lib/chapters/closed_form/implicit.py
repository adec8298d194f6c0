"""Implicit MAML's meta-gradient beside that of the unrolled loop, as its spring stiffens, live in float64.

Eight sinusoid tasks, once for each lambda, in one batch: the proximal steps are taken, kept and differentiated;
conjugate gradients then see no more of them than where they ended. The lowest curvature there says below which lambda
the matrix I + H / lambda is not positive definite.
"""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn

from course_lib import checkpoints
from course_lib.algorithms import IMAML
from course_lib.algorithms.implicit import moving
from course_lib.analysis.curvature import Curvature
from course_lib.analysis.memory import meta_gradient_bytes
from course_lib.inner_loop import Params, adapt, per_task, predict, stack_params
from course_lib.kit import plots
from course_lib.kit.demo import Button, Choice, Notches, declare
from course_lib.kit.words import several
from course_lib.losses import mse
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks, TaskBatch

STARTS = {"random": "random weights", "maml_k5": "MAML, trained"}
LAMBDAS = tuple(np.logspace(-1, 3, 9).tolist())
STEPS, CG_STEPS = (1, 5, 20, 100), (0, 1, 5, 20)
TASKS, SHOTS, INNER_LR = 8, 10, 0.01
LANCZOS = 20  # products for the lowest curvature
BYTES_AT = (1, 5, 20, 50, 100)  # inner steps at which the memory is counted


class Unrolled(IMAML):
    """The same proximal steps, all of them kept: autograd goes back through each."""

    def adapt(self, model: nn.Module, x: Tensor, y: Tensor, start: Params | None = None) -> Params:
        here = start = self.start(model, x, y) if start is None else start
        pull = {name: per_task(self.lam * self.inner_lr, start[name]) for name in moving(start, self.only)}
        how = {"loss_fn": self.loss_fn, "steps": 1, "lr": self.inner_lr, "only": self.only}
        for _ in range(self.inner_steps):
            stepped = adapt(model, here, x, y, **how)
            here = here | {n: (stepped[n] + pull[n] * start[n]) / (1 + pull[n]) for n in pull}
        return here


def problem(start: str, draw: int) -> tuple[MLP, TaskBatch]:
    """A network and its tasks, in float64; the random network is drawn with the tasks."""
    model = MLP(seed=draw) if start == "random" else checkpoints.load(f"sinusoid/{start}")[0]
    batch = SinusoidTasks(SHOTS, SHOTS).sample(TASKS, generator=torch.Generator().manual_seed(draw))
    return model.double(), batch.to(dtype=torch.float64)


def stacked(start: str, draw: int, lambdas: tuple[float, ...]) -> tuple[MLP, TaskBatch, Tensor]:
    """The network, its tasks once for each lambda, and the lambda of each [L T]."""
    model, batch = problem(start, draw)
    each = torch.tensor(lambdas, dtype=torch.float64).repeat_interleave(TASKS)
    return model, batch[torch.arange(TASKS).repeat(len(lambdas))], each


def meta_gradients(learner: IMAML, model: MLP, batch: TaskBatch) -> tuple[Tensor, Params]:
    """The meta-gradient with each lambda [L, P], and where the tasks' inner loops ended."""
    start = stack_params(model, batch.num_tasks)
    adapted = learner.adapt(model, batch.support_x, batch.support_y, start)
    losses = mse(predict(model, adapted, batch.query_x), batch.query_y)  # [L T]
    grads = torch.autograd.grad(losses.sum(), list(start.values()))
    grads = torch.cat([g.flatten(1) for g in grads], 1)  # [L T, P]
    return grads.unflatten(0, (-1, TASKS)).mean(1), {name: p.detach() for name, p in adapted.items()}


@lru_cache(maxsize=None)
def unrolled(start: str, steps: int, draw: int, lambdas: tuple = LAMBDAS) -> tuple[Tensor, Params, np.ndarray]:
    """For each lambda the meta-gradient of the unrolled loop [L, P], its ends, and the lowest curvature there [L]."""
    model, batch, each = stacked(start, draw, lambdas)
    learner = Unrolled(steps, INNER_LR)
    learner.lam = each
    grads, ends = meta_gradients(learner, model, batch)
    lowest = Curvature(model, ends, batch.support_x, batch.support_y, mse).extreme_eigenvalues(LANCZOS)[0]
    return grads, ends, lowest.view(-1, TASKS).amin(1).numpy()


@lru_cache(maxsize=None)
def cosines(start: str, steps: int, cg_steps: int, draw: int, lambdas: tuple = LAMBDAS) -> np.ndarray:
    """Between the implicit meta-gradient and the unrolled one, of the same inner loop, for each lambda [L]."""
    model, batch, each = stacked(start, draw, lambdas)
    exact, ends, _ = unrolled(start, steps, draw, lambdas)
    learner = IMAML(steps, INNER_LR, cg_steps=cg_steps)
    learner.lam = each[:, None]
    learner.descend = lambda *_: ends
    learner.warned = True  # where the matrix is not positive definite the picture says so
    return torch.cosine_similarity(meta_gradients(learner, model, batch)[0], exact, 1).numpy()


@lru_cache(maxsize=1)
def bytes_kept() -> dict[str, np.ndarray]:
    """Megabytes that autograd saves of one meta-gradient, against the inner steps."""
    model, batch = problem("random", 0)
    count = lambda make: np.array([meta_gradient_bytes(make(k, INNER_LR, 100.0), model, batch) / 1e6 for k in BYTES_AT])
    return {"flat": count(IMAML), "growing": count(Unrolled)}


def compute(values: SimpleNamespace) -> dict:
    """The cosines against lambda, with and without conjugate gradients, and where the matrix fails."""
    at = values.start, values.steps
    lowest = unrolled(*at, values.draw)[2]
    fails = max((lam for lam, low in zip(LAMBDAS, lowest) if lam <= -low), default=LAMBDAS[0])
    implicit, first = (cosines(*at, products, values.draw) for products in (values.cg_steps, 0))
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
