"""What k costs: the unrolled inner loop, its gradients, its curvature and its memory.

Backpropagating through k steps  theta_{t+1} = theta_t - alpha grad L(theta_t)  multiplies k Jacobians:

    d L_query(theta_k) / d theta_0 = (I - alpha H_0) (I - alpha H_1) ... (I - alpha H_{k-1}) grad L_query

with grad L_query taken at theta_k and H_t the Hessian of the support loss at theta_t (MAML, arXiv 1703.03400,
equation 1, by the chain rule). With every factor replaced by I it is first-order MAML.

Along an eigenvector of H_t a factor stretches by |1 - alpha lambda|. Beyond alpha = 2 / lambda_max that is
above 1: the inner loop overshoots, and gradients explode as in recurrent networks (Pascanu et al. 2013, arXiv
1211.5063). Where lambda < 0 it is above 1 for every alpha > 0: never on a convex loss, but in a network while
its residuals are large. And lambda_max moves with theta_t (on sinusoids it may grow more than threefold in 20
steps): a rate may cross the border on the way, or survive beyond it by moving to where lambda_max is smaller.

Sinusoid MLP, 5 tasks, 8 rates, 12 values of k up to 50: 1 s on one CPU core. Memory is counted in
``course_lib.analysis.memory``.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_lib.analysis.curvature import Curvature
from course_lib.inner_loop import Params, trajectory
from course_lib.losses import LossFn


@dataclass
class Unrolled:
    """The inner loop of T tasks laid out: its ``points`` theta_0..theta_k and the ``curvatures`` there.

    It keeps the graph of every gradient, as backpropagation through the loop would. A run that diverges has
    infinite or NaN entries from there on; it does not disturb its neighbours.
    """

    points: list[Params]  # k + 1 of {name: [T, ...]}
    curvatures: list[Curvature]  # k + 1, of the support loss
    model: nn.Module
    loss_fn: LossFn
    lr: float | Tensor
    only: str | Sequence[str] | None

    @property
    def steps(self) -> int:
        return len(self.points) - 1

    @property
    def losses(self) -> Tensor:
        """Support losses [k + 1, T]."""
        return torch.stack([here.losses for here in self.curvatures])

    @property
    def gradient_norms(self) -> Tensor:
        """||grad L|| of the support loss [k + 1, T]."""
        return torch.stack([here.gradient.norm(dim=1) for here in self.curvatures])

    def jacobian_times(self, step: int, v: Tensor) -> Tensor:
        """(I - alpha H_step) v: v [T, P] or [B, T, P]. The Jacobian of one step is symmetric."""
        rate = self.lr.view(-1, 1) if isinstance(self.lr, Tensor) and self.lr.ndim else self.lr  # [T, 1]
        return v - rate * self.curvatures[step].hessian_times(v)


def unroll(
    model: nn.Module,
    params: Params,
    x: Tensor,
    y: Tensor,
    *,
    loss_fn: LossFn,
    steps: int,
    lr: float | Tensor,
    only: str | Sequence[str] | None = None,
) -> Unrolled:
    """Run ``adapt`` one step at a time and keep every point. Arguments as there, but for lr a function."""
    points = list(trajectory(model, params, x, y, loss_fn=loss_fn, steps=steps, lr=lr, only=only))
    curvatures = [Curvature(model, point, x, y, loss_fn, only) for point in points]
    return Unrolled(points, curvatures, model, loss_fn, lr, only)


def product_meta_gradients(
    unrolled: Unrolled, query_x: Tensor, query_y: Tensor, at: Sequence[int] | None = None
) -> tuple[Tensor, Tensor]:
    """Each task's meta-gradient by the product of (I - alpha H_t), without backpropagation through the loop.

    Args:
        at: the numbers of steps k wanted, ascending; None is 0, 1, ..., all. The cost is their sum in
        products H v.

    Returns:
        full [K, T, P], and first_order [K, T, P], in which every factor is I: grad L_query(theta_k) itself.
        The P coordinates are the parameters that adapt.
    """
    u, at = unrolled, list(range(unrolled.steps + 1)) if at is None else list(at)
    if not at or at != sorted(set(at)) or at[0] < 0 or at[-1] > u.steps:
        raise ValueError(f"at must be ascending numbers of steps from 0 to {u.steps}, not {at}")
    ends = [Curvature(u.model, u.points[k], query_x, query_y, u.loss_fn, u.only).gradient for k in at]
    first_order = torch.stack(ends)  # [K, T, P]
    full = first_order.clone()
    for step in reversed(range(at[-1])):
        longer = bisect.bisect_right(at, step)  # all runs of more than `step` steps pass this Jacobian
        full[longer:] = u.jacobian_times(step, full[longer:])
    return full, first_order


def clip(gradient: Tensor, max_norm: float) -> Tensor:
    """g min(1, max_norm / ||g||) on the last dimension: a shorter step in the same direction."""
    return gradient * (max_norm / gradient.norm(dim=-1, keepdim=True)).clamp(max=1)
