"""Linear heads fitted to a support set in closed form or as a convex problem, for all tasks at once.

Each takes last-layer features z [T, S, D] and labels, and returns a head: weight [T, W, D], bias [T, W]. Each is
differentiable with respect to its inputs, so the outer loop can learn features through it.

    ridge_head   argmin_w |z w - y|^2 + lam |w|^2                              R2D2, arXiv 1805.08136
    svm_head     argmin_w |w|^2 / 2 + C sum of hinge losses, multi-class       MetaOptNet, arXiv 1904.03758, eq. 4 to 6
    mean_head    logits -|z - c_k|^2, c_k the mean of class k                  ProtoNet, arXiv 1703.05175, eq. 8

Bad input is a ValueError that names the tasks. Looking at values would make a GPU wait, so there the tasks
concerned come out as NaN, which training's check for a non-finite loss reports.
"""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.engine.interior_point import factor, interior_point, newton
from course_lib.validation import refuse

Head = tuple[Tensor, Tensor]  # weight [T, W, D], bias [T, W]

REFINED_PROXIMAL = 1e-8  # more than interior_point's: repeated steps shrink what it leaves, and rounding stays small
REFINEMENTS = 4
CORRECTIONS = 2  # of the active set
OPTIMALITY = 1e-4  # relative violation of the optimality conditions at which an answer is refused


def one_hot(labels: Tensor, ways: int | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """Labels [T, S] in 0 .. ways - 1 -> [T, S, W] of zeros and ones.

    ``ways=None`` takes the largest label + 1, for which a GPU must be waited for.

    Raises:
        ValueError: labels that are not integers [T, S], negative ones, or ones of ``ways`` and more.

    >>> one_hot(torch.tensor([[0, 2]]))
    tensor([[[1., 0., 0.],
             [0., 0., 1.]]])
    """
    if labels.is_floating_point() or labels.ndim != 2:
        raise ValueError(
            f"class labels must be integers [T, S], not {labels.dtype} {list(labels.shape)}: "
            "this head classifies; for regression use R2D2 or MAML"
        )
    if ways is None:
        ways = int(labels.max()) + 1
    known = (labels >= 0) & (labels < ways)  # [T, S]
    refuse(~known, f"labels must lie in 0 .. {ways - 1}")
    hot = (labels[..., None] == torch.arange(ways, device=labels.device)).to(dtype or torch.get_default_dtype())
    return hot.masked_fill(~known[..., None], torch.nan)  # [T, S, W]


def ridge_head(z: Tensor, y: Tensor, lam: float | Tensor, ways: int | None = None) -> Head:
    """Ridge regression to real targets y [T, S, W], or to one-hot labels y [T, S]. The bias is a column of ones in z,
    penalised like any other weight, as in the paper.

    Solves in the space of features (D + 1 unknowns) or of points (S unknowns, Woodbury), whichever is smaller.
    ``lam`` weighs |w|^2 against the SUM of squared errors. ``lam=0`` is the limit lam -> 0: least squares if points
    outnumber features, the interpolating head of least norm if not, the pseudo-inverse in every case.

    Raises:
        ValueError: lam < 0, values that are not finite, or a lam too small for the features' precision.

    >>> weight, bias = ridge_head(torch.tensor([[[1.0], [2.0]]]), torch.tensor([[[3.0], [5.0]]]), lam=0)
    >>> weight.round(decimals=4).item(), bias.round(decimals=4).item()  # 2 z + 1
    (2.0, 1.0)
    """
    targets = y.to(z.dtype) if y.is_floating_point() else one_hot(y, ways, z.dtype)  # [T, S, W]
    _check_support(z, targets)
    fixed = not isinstance(lam, Tensor)
    if fixed and not lam >= 0:
        raise ValueError(f"lam must be at least 0, not {lam}: a negative penalty has no minimum")
    ones = z.new_ones(*z.shape[:2], 1)  # [T, S, 1]
    z = torch.cat([z, ones], dim=-1)  # [T, S, D + 1]
    num_points, num_weights = z.shape[1:]
    if fixed and lam == 0:
        w = torch.linalg.pinv(z) @ targets  # [T, D + 1, W]
    elif num_points < num_weights:
        w = z.mT @ _solve(z @ z.mT, lam, targets)  # z^T (z z^T + lam I)^-1 y
    else:
        w = _solve(z.mT @ z, lam, z.mT @ targets)  # (z^T z + lam I)^-1 z^T y
    return w[:, :-1].mT, w[:, -1]  # [T, W, D], [T, W]


def mean_head(z: Tensor, labels: Tensor, ways: int | None = None) -> Head:
    """Class means as a linear head: -|z - c|^2 = 2 c.z - |c|^2 - |z|^2, whose last term no softmax sees.

    Raises:
        ValueError: a class in 0 .. W - 1 without an example, or values that are not finite.

    >>> mean_head(torch.tensor([[[1.0], [3.0], [5.0]]]), torch.tensor([[0, 0, 1]]))
    (tensor([[[ 4.],
             [10.]]]), tensor([[ -4., -25.]]))
    """
    hot = one_hot(labels, ways, z.dtype)  # [T, S, W]
    _check_support(z, hot)
    count = hot.sum(1)  # [T, W]
    refuse(count == 0, "a class has no example in the support set, so it has no mean")
    mean = hot.mT @ z / count[..., None]  # [T, W, D]
    return 2 * mean, -mean.square().sum(-1)


def svm_head(z: Tensor, labels: Tensor, C: float | Tensor, ways: int | None = None) -> Head:
    """The multi-class support vector machine of Crammer and Singer, without bias (its bias comes back as zeros).

    Solved in float64 whatever the features are, to about 1e-8 in the weights or better.

    Raises:
        ValueError: C <= 0, values that are not finite, or a problem so badly scaled that no optimum is found.

    >>> weight, bias = svm_head(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]), torch.tensor([[0, 1]]), C=10.0)
    >>> weight  # margins of exactly 1: w_0.z - w_1.z = 1
    tensor([[[ 0.5000, -0.5000],
             [-0.5000,  0.5000]]])
    """
    if not isinstance(C, Tensor):
        check_C(C)
    hot = one_hot(labels, ways, torch.float64)  # [T, S, W]
    _check_support(z, hot)
    z64 = z.double()
    weight = (crammer_singer(z64 @ z64.mT, hot.mT, C) @ z64).to(z.dtype)  # [T, W, S] @ [T, S, D] -> [T, W, D]
    return weight, weight.new_zeros(weight.shape[:2])


def check_C(C: float) -> float:
    """``C`` if it is a positive number; else a ValueError."""
    if not 0 < C < float("inf"):
        raise ValueError(f"C must be positive and finite, not {C}: it weighs the hinge losses against |w|^2 / 2")
    return C


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


def _solve(gram: Tensor, lam: float | Tensor, right: Tensor) -> Tensor:
    """(gram + lam I)^-1 right, for gram [T, M, M] and right [T, M, W]."""
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    lower, failed = torch.linalg.cholesky_ex(gram + lam * eye)  # [T, M, M], [T]
    failed = failed != 0
    refuse(failed, f"the ridge system is singular in {gram.dtype}: raise lam, or use float64 (lam=0 is the limit)")
    below = torch.linalg.solve_triangular(lower, right, upper=False)  # (cholesky_solve has no place in a CUDA graph)
    return torch.linalg.solve_triangular(lower.mT, below, upper=True).masked_fill(failed[:, None, None], torch.nan)


def _check_support(z: Tensor, targets: Tensor) -> None:
    if z.ndim != 3 or targets.ndim != 3 or z.shape[:2] != targets.shape[:2]:
        raise ValueError(
            f"a head is fitted to features [T, S, D] and as many targets, not {list(z.shape)} and "
            f"{list(targets.shape)} (targets [T, S, W], or labels [T, S])"
        )
    if 0 in z.shape:
        raise ValueError(f"the support set is empty: features {list(z.shape)}; at least one shot is needed")
    message = "NaN or infinity in the support set: in its x, its y, or the features of a training that diverged"
    refuse(~z.isfinite() | ~targets.isfinite().all(-1, keepdim=True), message)
