"""Where the optimum of the multi-class support vector machine lies: ``solvers.crammer_singer`` begins there.

The kernel couples points and never classes, so a Newton system is W matrices [S, S] joined by one more: W S^3, not
(W S)^3. Shapes are those of ``crammer_singer``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.validation import known

PROXIMAL = 1e-11  # relative to the mean of the kernel's diagonal; bounds the condition of a Newton system
GAP = 1e-12  # mean complementarity, relative, at which the active set is taken as found
MAX_NEWTON_STEPS = 50  # 10 to 25 are usual


def interior_point(kernel: Tensor, hot: Tensor, C: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Slack [T, W, S], its multiplier (dual) [T, W, S] and the shift [T, 1, S] of each point's constraint: Mehrotra's
    predictor-corrector (Nocedal and Wright, Numerical Optimization, section 16.6) from a feasible start. A task that
    has converged stands still, so the result does not depend on its neighbours."""
    ways = hot.shape[1]
    small = C.clamp(max=1) / ways  # [T, 1, 1]
    slack = small + hot * (C - ways * small)  # [T, W, S], sums to C over the classes
    gradient = hot - (hot * C - slack) @ kernel  # [T, W, S]
    shift = C.clamp(max=1) - gradient.amin(1, keepdim=True)  # [T, 1, S]
    dual = gradient + shift
    for _ in range(MAX_NEWTON_STEPS):
        gap = (slack * dual).mean((1, 2))  # [T]
        rounding = 1e-14 * C * (1 + shift.abs().amax(2, keepdim=True))  # [T, 1, 1]
        done = gap <= (GAP * C.clamp(max=1) ** 2 + rounding)[:, 0, 0]
        if known(done) and done.all():
            break
        system = factor(kernel, 1 / (dual / slack + PROXIMAL))
        excess = slack.sum(1) - C[:, 0]  # [T, S], rounding errors
        d_slack, d_shift = newton(system, dual, excess)  # predictor: straight to a gap of zero
        d_dual = d_slack @ kernel + d_shift
        step = torch.minimum(_longest(slack, d_slack), _longest(dual, d_dual))
        aim = ((slack + step * d_slack) * (dual + step * d_dual)).mean((1, 2))
        centre = ((aim / gap) ** 3 * gap)[:, None, None]  # [T, 1, 1]
        d_slack, d_shift = newton(system, dual - (centre - d_slack * d_dual) / slack, excess)  # corrector
        d_dual = d_slack @ kernel + d_shift
        step = 0.99 * torch.minimum(_longest(slack, d_slack), _longest(dual, d_dual))
        step = torch.where(done[:, None, None], 0, step)
        slack, dual, shift = slack + step * d_slack, dual + step * d_dual, shift + step * d_shift
    return slack, dual, shift


def factor(kernel: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
    """The inverses [T, W, S, S] of (K + 1 / free) for every class, and a Cholesky factor of their sum [T, S, S].

    Written as root (I + root K root)^-1 root with root = sqrt(free), which exists even where free is zero."""
    root = free.sqrt()  # [T, W, S]
    inner = root[..., :, None] * kernel[:, None] * root[..., None, :]  # [T, W, S, S]
    inner.diagonal(dim1=-2, dim2=-1).add_(1)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky_ex(inner)[0])
    inverse = root[..., :, None] * inverse * root[..., None, :]
    return inverse, torch.linalg.cholesky_ex(inverse.sum(1))[0]


def newton(system: tuple[Tensor, Tensor], gradient: Tensor, excess: Tensor) -> tuple[Tensor, Tensor]:
    """d_slack [T, W, S] and d_shift [T, 1, S] that solve (K + 1 / free) d_slack + d_shift = -gradient, for every class,
    with sum over classes of d_slack = -excess."""
    inverse, factor = system
    step = (inverse @ gradient[..., None]).squeeze(-1)  # [T, W, S]
    d_shift = -torch.cholesky_solve((step.sum(1) - excess)[..., None], factor).mT  # [T, 1, S]
    return -step - (inverse @ d_shift[..., None]).squeeze(-1), d_shift


def _longest(value: Tensor, change: Tensor) -> Tensor:
    """The longest step [T, 1, 1], at most 1, that keeps value + step * change from going negative."""
    return torch.where(change < 0, -value / change, 1).amin((1, 2), keepdim=True).clamp(max=1)
