"""The multi-class support vector machine for many tasks at once: its dual by an interior-point method, differentiable.

The kernel couples points and never classes, so a Newton system is W matrices [S, S] joined by one more: W S^3, not
(W S)^3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.validation import known, refuse

PROXIMAL = 1e-11  # relative to the mean of the kernel's diagonal; bounds the condition of a Newton system
GAP = 1e-12  # mean complementarity, relative, at which the active set is taken as found
MAX_NEWTON_STEPS = 50  # 10 to 25 are usual
REFINED_PROXIMAL = 1e-8  # more than PROXIMAL: repeated steps shrink what it leaves, and rounding stays small
REFINEMENTS = 4
CORRECTIONS = 2  # of the active set
OPTIMALITY = 1e-4  # relative violation of the optimality conditions at which an answer is refused


def crammer_singer(kernel: Tensor, hot: Tensor, C: float | Tensor) -> Tensor:
    """The dual variables alpha [T, W, S] of the multi-class SVM, given the kernel z z^T [T, S, S], the labels one-hot
    [T, W, S] and C, a number or one per task [T, 1, 1]; differentiable in the kernel and in C.

        min_alpha  tr(alpha K alpha^T) / 2 - <hot, alpha>     alpha <= C hot,   sum over classes of alpha = 0

    Each point's slack C hot - alpha is C times a distribution over the classes. A primal-dual interior-point method
    finds which slacks are zero, up to a few on the border, which the solution of the others' linear system corrects
    (a primal-dual active-set step). The Newton steps that then solve it are recorded by autograd: they barely move
    alpha, but by the implicit function theorem carry its derivative.
    """
    size = kernel.detach().diagonal(dim1=1, dim2=2).mean(1)[:, None, None]  # [T, 1, 1]
    size = torch.where(size > 1e-30, size, 1)  # features that are all zero: alpha matters to nobody
    kernel, C = kernel / size, C * size  # then alpha is size times the one that is asked for
    with torch.no_grad():
        slack, dual, shift = interior_point(kernel, hot, C)
        free = slack > dual  # [T, W, S]: the slacks that are not zero
        for _ in range(CORRECTIONS):  # free what would gain by moving, fix what has moved too far
            alpha, level = _solve_free(kernel, hot, C, free, hot * C - slack, shift)
            free = torch.where(free, hot * C - alpha >= 0, hot - alpha @ kernel + level < 0)
    alpha, shift = _solve_free(kernel, hot, C, free, hot * C - slack, shift)
    with torch.no_grad():  # the conditions of Karush, Kuhn and Tucker: slack >= 0, dual >= 0, one of each pair zero
        slack, dual = hot * C - alpha, hot - alpha @ kernel + shift
        worst = torch.minimum(slack, torch.where(free, -dual.abs(), dual)).amin((1, 2))  # [T]
        lost = ~(worst >= -OPTIMALITY * C[:, 0, 0].clamp(max=1))  # [T]; a NaN is lost too
    refuse(lost, "no optimum of the SVM was found: C |z|^2 is too large or too small; scale the features or change C")
    return alpha.masked_fill(lost[:, None, None], torch.nan) / size


def _solve_free(
    kernel: Tensor, hot: Tensor, C: Tensor, free: Tensor, alpha: Tensor, shift: Tensor
) -> tuple[Tensor, Tensor]:
    """alpha [T, W, S] and shift [T, 1, S] at the optimum of the ``free`` ones, by Newton steps from those given."""
    with torch.no_grad():
        system = factor(kernel, free / REFINED_PROXIMAL)
    alpha = torch.where(free, alpha, hot * C)  # a slack of zero is alpha = C for the label's class, 0 for others
    for _ in range(REFINEMENTS):
        gradient = hot - alpha @ kernel + shift  # [T, W, S], zero at the optimum wherever free
        d_slack, d_shift = newton(system, gradient * free, -alpha.sum(1))
        alpha, shift = alpha - d_slack, shift + d_shift
    return alpha, shift


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
