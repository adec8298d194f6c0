"""Checks for notebook 07, closed-form heads."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.algorithms.solvers import mean_head, one_hot
from course_lib.kit.checks import (
    WAITING,
    Verdict,
    code,
    compare,
    exercise,
    number,
    right,
    run,
    short,
    unanswered,
    wrong,
)

NAMES = ("features.0.weight", "head.weight", "head.bias", "features.head_norm.weight", "features.0.bias")


@exercise("07", "ANIL's list")
def check_names(names) -> Verdict:
    """``names(params) -> the names that ANIL's inner loop changes``, for params {name: [T, ...]}."""
    result = run(names, {name: torch.zeros(2, 3) for name in NAMES})
    if isinstance(result, str):
        return wrong("A list of names was expected, not one string: loops over it would go letter by letter.")
    try:
        chosen = set(result)
    except TypeError:
        return wrong(f"A list of names was expected, not {code(type(result).__name__)}.")
    if chosen == {"head.weight", "head.bias"}:
        return right("Everything else of MAML stays as it is, the outer loop's list included.")
    if chosen == set(NAMES):
        return wrong("Those are all names: that is MAML.")
    if chosen == {name for name in NAMES if name.startswith("features")}:
        return wrong("Those are the features. ANIL leaves them alone in the inner loop and changes the head.")
    if chosen == {"head.weight"}:
        return wrong("The head has a bias, too.")
    if "features.head_norm.weight" in chosen:
        return wrong('"head" is in the middle of a name of the features here: ask how the name begins.')
    if not chosen:
        return wrong("The list is empty: nothing would adapt, which is the union of tasks of notebook 06.")
    return wrong(f"Expected the names that begin with 'head.', got {code(short(sorted(map(str, chosen))))}.")


@exercise("07", "the ridge head")
def check_ridge(ridge) -> Verdict:
    """``ridge(z, y, lam) -> w``: z [T, S, D], y [T, S, W] -> [T, D, W]; lam against the sum of squares."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(3, 6, 4, generator=generator, dtype=torch.float64)
    y = torch.randn(3, 6, 2, generator=generator, dtype=torch.float64)
    lam, eye = 0.7, torch.eye(4, dtype=torch.float64)
    hints = {
        r"tensor a \(4\) must match the size of tensor b \(6\)": (
            "`z.mT @ z` is [T, D, D], so lambda goes on a diagonal of D: `torch.eye(z.shape[-1])`, not of S points."
        ),
        r"tensor a \(6\) must match the size of tensor b \(4\)": (
            "`z @ z.mT` is [T, S, S], so lambda goes on a diagonal of S: `torch.eye(z.shape[-2])`, not of D features."
        ),
        "": "(z.mT transposes the last two dimensions and leaves the tasks alone.)",
    }
    result = run(ridge, z, y, lam, hints=hints)

    def solution(weight: Tensor) -> Tensor:
        return torch.linalg.solve(z.mT @ z + weight, z.mT @ y)  # [T, D, W]

    if isinstance(result, Tensor) and result.shape == (3, 2, 4):
        return wrong("The shape is [T, W, D]; return w as in z @ w, which is [T, D, W].")
    mistakes = [
        (solution(0 * eye), "That is least squares: lambda is missing."),
        (solution(lam * 6 * eye), "Here lambda weighs against the SUM of squared errors; you took their mean."),
        (
            solution(lam / 6 * eye),
            "Lambda was divided by the number of points; the sum of squares needs no such thing.",
        ),
        (solution(lam**2 * eye), "The penalty is lambda |w|^2, not lambda^2 |w|^2."),
        (solution(2 * lam * eye), "A factor of 2 too many: both terms have it in the gradient, so it cancels."),
        (solution(-lam * eye), "Mind the sign of lambda: a penalty adds to the diagonal."),
        (solution(torch.full_like(eye, lam)), "Lambda goes on the diagonal only: lam * torch.eye(D)."),
        (z.mT @ y, "The system was not solved: that is its right-hand side."),
    ]
    praise = "And autograd can go through it: the outer loop needs no more."
    return compare(result, solution(lam * eye), mistakes, praise)


@exercise("07", "the smaller system")
def check_sizes(sizes) -> Verdict:
    """Sides of the smaller system, for 5 ways, 1 shot, 256 features and for 20 ways, 5 shots, 64 features,
    with a column of ones for the bias."""
    if unanswered(sizes):
        return WAITING
    if not isinstance(sizes, (tuple, list)) or len(sizes) != 2:
        return wrong("Two numbers were expected, such as (7, 7).")
    few, many = map(number, sizes)
    if few in (256, 257):
        return wrong("That is the primal, one unknown for each feature. Woodbury has one for each support image.")
    if few == 1:
        return wrong("One shot of each class, but five classes: count all support images.")
    if many == 100:
        return wrong("100 support images are more than there are features: here the primal is smaller.")
    if many == 64:
        return wrong("Nearly: the column of ones is an unknown like any other.")
    if (few, many) == (5, 65):
        return right("A solve of a 5 x 5 system, where MAML would step through a whole network.")
    return wrong("The primal has as many unknowns as features (and the ones), the dual as many as support images.")


@exercise("07", "class means as a head")
def check_means(means) -> Verdict:
    """``means(z, y) -> (weight [W, D], bias [W])`` with logits -|z - c_k|^2, up to what all classes share."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(9, 4, generator=generator, dtype=torch.float64)
    y = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2, 2])
    result = run(means, z, y)
    if not isinstance(result, tuple) or len(result) != 2:
        return wrong("Two tensors were expected: weight [W, D] and bias [W].")
    weight, bias = (part[0] for part in mean_head(z[None], y[None]))
    centers, sums = weight / 2, one_hot(y[None], 3, z.dtype)[0].T @ z
    known = [
        (centers, 0 * bias, "The bias is missing: long means would win everywhere. Expand the square."),
        (weight, 0 * bias, "The bias is missing: long means would win everywhere. Expand the square."),
        (centers, bias / 2, "The decisions are right, but the logits are half of -|z - c|^2, so a softmax is softer."),
        (centers, bias, "The mixed term of the square is 2 z c: the weight is twice the mean, the bias is right."),
        (weight, -bias, "Mind the sign of the bias: long means must be handicapped, not helped."),
        (-weight, -bias, "Those are distances; logits are their negatives, so that the nearest mean wins."),
        (2 * sums, -sums.square().sum(1), "Those are sums over the class; divide by how many there are."),
    ]
    for wrong_weight, wrong_bias, hint in known:
        if compare(result[0], wrong_weight, []).passed and compare(result[1], wrong_bias, []).passed:
            return wrong(hint)
    for name, got, expected in (("weight", result[0], weight), ("bias", result[1], bias)):
        verdict = compare(got, expected, [])
        if not verdict.passed:
            return wrong(f"In the {name}: {verdict.message}")
    return right("A linear head like any other, and no system to solve.")
