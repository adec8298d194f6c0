"""Checks for notebook 03, what k costs."""

from __future__ import annotations

import torch

from course_lib.analysis.unrolling import clip
from course_lib.kit.checks import Verdict, compare, exercise, number, right, run, wrong

EIGENVALUES = (  # of Hessians, and a rate and k for each
    (torch.tensor([0.5, 2.0, 8.0], dtype=torch.float64), 0.3, 5),  # beyond the border, by lambda_max
    (torch.tensor([0.5, 2.0, 8.0], dtype=torch.float64), 0.2, 3),  # inside
    (torch.tensor([-1.0, 2.0, 8.0], dtype=torch.float64), 0.1, 5),  # inside, but lambda_min < 0
)


FROBENIUS = (  # norm
    "That is the root of a sum of squares over all directions (Frobenius). A vector is stretched most along one of "
    "them, so the norm asked for is the largest factor alone."
)
FOR_PARAMETERS = "`clip_grad_norm_` shortens the `.grad` of parameters; here g is the gradient itself"


@exercise("03")
def check_stretch(stretch) -> Verdict:
    """``stretch(eigenvalues, alpha, k)``: the norm of (I - alpha H)^k, H symmetric with these eigenvalues."""
    for eigenvalues, alpha, k in EIGENVALUES:
        result = run(stretch, eigenvalues, alpha, k)
        result = torch.as_tensor(result, dtype=torch.float64)
        factors = 1 - alpha * eigenvalues
        top = (1 - alpha * eigenvalues.max()).abs()
        mistakes = [
            (factors.max() ** k, "A factor of -1.4 stretches as much as 1.4: take absolute values first."),
            (factors.abs().max(), "That is one step. Each of the k steps multiplies once more."),
            (top**k, "lambda_max alone does not decide: of all |1 - alpha lambda| take the largest."),
            (factors.abs().sum() ** k, "The norm is the LARGEST stretch of any direction, not their sum."),
            (factors.abs().prod() ** k, "That is the determinant, the product over all directions."),
            ((factors**k).norm(), FROBENIUS),
            (factors.norm() ** k, FROBENIUS),
        ]
        verdict = compare(result, factors.abs().max() ** k, mistakes)
        if not verdict.passed:
            return verdict
    return right("Above 1 it explodes with k: by lambda_max beyond the border, by lambda_min < 0 anywhere.")


@exercise("03")
def check_clip(my_clip) -> Verdict:
    """``my_clip(g, max_norm) -> g``, shortened to ``max_norm`` where it is longer."""
    for g, norm in ((torch.tensor([3.0, 4.0]), 2.0), (torch.tensor([0.3, -0.4]), 2.0), (torch.tensor([3.0, 4.0]), 4.0)):
        result = run(my_clip, g, norm)
        if isinstance(result, torch.Tensor) and result.shape == ():
            return wrong(f"That is one number. Return the shortened gradient. ({FOR_PARAMETERS}.)")
        mistakes = [
            (g / g.norm() * norm, "Short gradients must stay as they are: the factor is at most 1."),
            (g.clamp(-norm, norm), "You clipped each entry, and that turns the gradient. Scale it as a whole."),
            (g / g.norm(), "The clipped gradient should have the norm max_norm, not 1."),
            (g * norm / g.square().sum(), "Divide by the norm, not by its square."),
        ]
        if g.norm() > norm:
            mistakes.append((g, f"This gradient is longer than max_norm and came back as it was. ({FOR_PARAMETERS}.)"))
        verdict = compare(result, clip(g, norm), mistakes)
        if not verdict.passed:
            return verdict
    return right("The same direction, at most that long.")


@exercise("03")
def check_segments(segments: int, steps: int, border_bytes: float, step_bytes: float) -> Verdict:
    """How many segments make the peak, m borders and one segment of k / m steps, smallest."""
    segments = number(segments)
    if segments != int(segments):
        return wrong("A whole number of segments was asked for: try those beside it.")
    best = (steps * step_bytes / border_bytes) ** 0.5
    if abs(segments - best) < 1.1:  # k / m steps are whole, so a neighbour may count less
        return right(f"The square root of k times what a step costs in borders: {best:.1f}.")
    if abs(segments - steps**0.5) < 0.6:
        return wrong("That is sqrt(k), right if a border cost as much as a step. Here a step costs more.")
    if abs(segments - best**2) < 0.6:
        return wrong("Set the derivative of m a + (k / m) b to zero: you lack a square root.")
    if abs(segments - (steps * border_bytes / step_bytes) ** 0.5) < 0.6:
        return wrong("The other way round: dear steps want short segments, and so more of them.")
    return wrong("Minimise m a + (k / m) b over m: a for each border kept, b for each step of one segment.")
