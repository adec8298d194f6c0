"""Which way MAML, FOMAML, Reptile and joint training go, beside what theory says, for notebook 08.

Section 5.1 of the Reptile paper (arXiv 1803.02999). k minibatches of a task are used one after another; g_i
and H_i are gradient and Hessian of minibatch i at the initial theta, averaged over tasks and orders:

    AvgGrad = mean_i g_i            AvgGradInner = mean over i != j of H_i g_j = grad mean(g_i . g_j) / 2

    joint training          AvgGrad                                        exactly
    Reptile / (alpha k)     AvgGrad - (k-1)/2 alpha AvgGradInner            + O(alpha^2)
    FOMAML                  AvgGrad -   (k-1) alpha AvgGradInner            + O(alpha^2)
    MAML                    AvgGrad - 2 (k-1) alpha AvgGradInner            + O(alpha^2)

As in the paper k counts GRADIENTS: MAML and FOMAML take k - 1 steps, and minibatch k judges. Every draw of k
minibatches is used in 2 k orders, the k rotations of it and of its reverse. Then each minibatch is first and
last, and each pair comes in either order, equally often, so that the formulas hold for this very draw and no
noise of sampling hides the series' own error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from course_lib import checkpoints
from course_lib.analysis.curvature import Curvature, flatten
from course_lib.inner_loop import Params, adapt, predict, stack_params
from course_lib.losses import mse
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks

METHODS = ("maml", "fomaml", "reptile", "joint")
NETWORKS = {"random": "random, ReLU", "tanh": "random, tanh", "reptile": "Reptile's, ReLU"}
NUM_TASKS, INNER_BATCH, MAX_STEPS = 10, 10, 8


@dataclass(frozen=True)
class Directions:
    """The mean direction of each of METHODS as a vector [P]; Reptile's divided by alpha k.

    ``avg_grad`` and ``avg_grad_inner`` [P] are those of theory; the latter is zero for k = 1.
    """

    steps: int
    inner_lr: float
    vectors: dict[str, Tensor]
    avg_grad: Tensor
    avg_grad_inner: Tensor

    def theory(self, method: str) -> Tensor:
        """The two terms of the series [P]."""
        return self.avg_grad + self.inner_lr * coefficient(method, self.steps) * self.avg_grad_inner

    def fitted(self, method: str) -> tuple[float, float]:
        """Least squares of the real direction on both terms: coefficients of AvgGrad and alpha AvgGradInner."""
        if self.steps == 1:
            return 1.0, 0.0  # there is no second term
        real = self.vectors[method]
        if not real.isfinite().all():
            return math.nan, math.nan
        terms = torch.stack([self.avg_grad, self.inner_lr * self.avg_grad_inner], 1)  # [P, 2]
        lengths = terms.norm(dim=0)  # the second is tiny for small alpha
        found = torch.linalg.lstsq(terms / lengths, real[:, None]).solution[:, 0] / lengths
        return float(found[0]), float(found[1])

    @cached_property
    def fits(self) -> dict[str, tuple[float, float]]:
        """What ``fitted`` finds, by method: a picture asks for it at every move."""
        return {method: self.fitted(method) for method in METHODS}

    def missed(self, method: str) -> float:
        """Length of what theory's two terms leave out, relative to the real direction."""
        real = self.vectors[method]
        return float((real - self.theory(method)).norm() / real.norm())

    def cosine(self, one: str, other: str, theory: bool = False) -> float:
        """Cosine of the angle between two methods' directions, real or theory's."""
        vectors = [self.theory(m) if theory else self.vectors[m] for m in (one, other)]
        return float(cosine_similarity(*vectors, dim=0))


def coefficient(method: str, steps: int) -> float:
    """Theory's coefficient of alpha AvgGradInner beside one AvgGrad.

    >>> [coefficient(m, steps=2) for m in METHODS]
    [-2.0, -1.0, -0.5, 0.0]
    """
    return {"maml": -2.0, "fomaml": -1.0, "reptile": -0.5, "joint": 0.0}[method] * (steps - 1)


def all_orders(x: Tensor) -> Tensor:
    """k minibatches of each task in 2 k orders, the rotations of them and of their reverse.

    Args:
        x: [T, k, B, ...]

    Returns:
        [2 k T, k, B, ...], T tasks of one order after another.
    """
    k = x.shape[1]
    return torch.cat([way.roll(shift, 1) for way in (x, x.flip(1)) for shift in range(k)])


def in_sequence(model: nn.Module, x: Tensor, y: Tensor, inner_lr: float) -> dict[str, Tensor]:
    """Each method's direction from k minibatches used in this order, averaged over the tasks: {method: [P]}.

    One unrolled inner loop serves all: FOMAML is the last gradient, Reptile the mean of all k along the way, and MAML
    is FOMAML's pulled back through the k - 1 steps. (Joint training has no order: it is AvgGrad.)

    Args:
        x, y: minibatches [T, k, B, ...].
    """
    num_tasks, k = x.shape[:2]
    theta = {name: p.detach().requires_grad_() for name, p in stack_params(model, num_tasks).items()}
    params, names = theta, list(theta)
    for i in range(k - 1):
        params = adapt(model, params, x[:, i], y[:, i], loss_fn=mse, steps=1, lr=inner_lr)
    last = mse(predict(model, params, x[:, -1]), y[:, -1]).sum()
    at_end = dict(zip(names, torch.autograd.grad(last, params.values())))
    at_start = dict(zip(names, torch.autograd.grad(params.values(), theta.values(), at_end.values())))
    moved = {name: theta[name] - params[name] + inner_lr * at_end[name] for name in names}
    flat = lambda tree: flatten(detached(tree), names)  # [T, P]
    found = {"maml": flat(at_start), "fomaml": flat(at_end), "reptile": flat(moved) / (inner_lr * k)}
    return {name: vectors.mean(0) for name, vectors in found.items()}


def detached(params: Params) -> Params:
    return {name: p.detach() for name, p in params.items()}


def two_terms(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """AvgGrad and AvgGradInner [P] each, of minibatches x, y [T, k, B, ...]; the order does not matter."""
    num_tasks, k = x.shape[:2]
    theta = stack_params(model, num_tasks * k)
    every = Curvature(model, detached(theta), x.flatten(0, 1), y.flatten(0, 1), mse)  # a minibatch a "task"
    g = every.gradient.unflatten(0, (num_tasks, k))  # [T, k, P]
    others = g.sum(1, keepdim=True) - g  # [T, k, P]: for each minibatch the sum of the others' gradients
    pairs = max(k * (k - 1), 1)
    inner = every.hessian_times(others.flatten(0, 1)).unflatten(0, (num_tasks, k)).sum(1) / pairs  # [T, P]
    return g.mean((0, 1)), inner.mean(0)


def measure(
    model: nn.Module, x: Tensor, y: Tensor, inner_lr: float, terms: tuple[Tensor, Tensor] | None = None
) -> Directions:
    """All directions and theory's terms, from minibatches x, y [T, k, B, ...] in all orders.

    Args:
        terms: those of ``two_terms``, where they are known: they are the same at every rate.
    """
    terms = terms or two_terms(model, x, y)
    vectors = in_sequence(model, all_orders(x), all_orders(y), inner_lr) | {"joint": terms[0]}
    return Directions(x.shape[1], inner_lr, vectors, *terms)


def network(name: str, seed: int) -> nn.Module:
    """One of NETWORKS in float64: freshly drawn from ``seed``, or the shipped one that Reptile trained."""
    if name == "reptile":
        return checkpoints.load("sinusoid/reptile_k5")[0].double()
    return MLP(activation="Tanh" if name == "tanh" else "ReLU", seed=seed).double()


def minibatches(seed: int, num_tasks: int = NUM_TASKS) -> tuple[Tensor, Tensor]:
    """MAX_STEPS minibatches of INNER_BATCH points of new tasks: x, y [T, MAX_STEPS, B, 1], float64."""
    family = SinusoidTasks(shots=MAX_STEPS * INNER_BATCH, queries=1)
    batch = family.sample(num_tasks, generator=torch.Generator().manual_seed(seed))
    cut = lambda points: points.double().unflatten(1, (MAX_STEPS, INNER_BATCH))
    return cut(batch.support_x), cut(batch.support_y)


def sharpness(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """lambda_max of each task's loss on all its minibatches x, y [T, k, B, ...], the mean over tasks."""
    theta = detached(stack_params(model, x.shape[0]))
    return float(Curvature(model, theta, x.flatten(1, 2), y.flatten(1, 2), mse).extreme_eigenvalues()[1].mean())
