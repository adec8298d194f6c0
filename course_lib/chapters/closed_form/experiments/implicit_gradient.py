"""Implicit MAML's meta-gradient against the unrolled one as the spring stiffens, in float64; for notebook 07.

Eight sinusoid tasks, once for each lambda, in one batch: the proximal steps are taken, kept and differentiated;
conjugate gradients then see no more of them than where they ended. The lowest curvature there says below which lambda
the matrix I + H / lambda is not positive definite.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn

from course_lib import checkpoints
from course_lib.algorithms import IMAML
from course_lib.algorithms.implicit import moving
from course_lib.analysis.curvature import Curvature
from course_lib.inner_loop import Params, adapt, per_task, predict, stack_params
from course_lib.kit.experiment import Experiment
from course_lib.losses import mse
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks, TaskBatch

LAMBDAS = tuple(np.logspace(-1, 3, 9).round(4).tolist())  # to the last bit the same on every machine
STARTS, STEPS, CG_STEPS = ("random", "maml_k5"), (1, 5, 20, 100), (0, 1, 5, 20)
TASKS, SHOTS, INNER_LR = 8, 10, 0.01
LANCZOS = 20  # products for the lowest curvature


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


@lru_cache(maxsize=2)
def unrolled(start: str, steps: int, draw: int, lambdas: tuple[float, ...]) -> tuple[Tensor, Params, np.ndarray]:
    """For each lambda the meta-gradient of the unrolled loop [L, P], its ends, and the lowest curvature there [L]."""
    model, batch, each = stacked(start, draw, lambdas)
    learner = Unrolled(steps, INNER_LR)
    learner.lam = each
    grads, ends = meta_gradients(learner, model, batch)
    lowest = Curvature(model, ends, batch.support_x, batch.support_y, mse).extreme_eigenvalues(LANCZOS)[0]
    return grads, ends, lowest.view(-1, TASKS).amin(1).numpy()


@lru_cache(maxsize=64)
def cosines(start: str, steps: int, cg_steps: int, draw: int, lambdas: tuple[float, ...]) -> np.ndarray:
    """Between the implicit meta-gradient and the unrolled one, of the same inner loop, for each lambda [L]."""
    model, batch, each = stacked(start, draw, lambdas)
    exact, ends, _ = unrolled(start, steps, draw, lambdas)
    learner = IMAML(steps, INNER_LR, cg_steps=cg_steps)
    learner.lam = each[:, None]
    learner.descend = lambda *_: ends
    learner.warned = True  # where the matrix is not positive definite the picture says so
    return torch.cosine_similarity(meta_gradients(learner, model, batch)[0], exact, 1).numpy()


def measure(draw: int, start: str, steps: int, lambdas: tuple[float, ...]) -> list[dict]:
    """A row for each number of products: the cosines, and the lowest curvature, for each lambda."""
    lowest = unrolled(start, steps, draw, lambdas)[2].tolist()
    found = {products: cosines(start, steps, products, draw, lambdas).tolist() for products in CG_STEPS}
    return [{"cg_steps": n, "cosines": each, "lowest": lowest} for n, each in found.items()]


runs = Experiment(
    __file__,
    measure,
    seeds=range(4),
    cells=[{"start": start, "steps": steps} for start, steps in product(STARTS, STEPS)],
    settings={"lambdas": LAMBDAS},
    small={"lambdas": (1.0, 100.0)},
)
