"""Checks for notebook 07, solved heads."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor
from torch.func import functional_call

from course_lib.algorithms.solvers import mean_head, one_hot, ridge_head
from course_lib.chapters.closed_form import solutions
from course_lib.kit.checks import (
    WAITING,
    Verdict,
    answered,
    attempt,
    code,
    compare,
    exercise,
    model_answer,
    number,
    right,
    run,
    same,
    short,
    unanswered,
    wrong,
)
from course_lib.models import MLP

NEW_ONE = 'Leave it as it is and return a new dictionary: `params | {"head.weight": ..., "head.bias": ...}`.'
THROUGH = (
    "The numbers are right, but the outer loop must go through the solve: no `detach`, no `no_grad`, "
    "no `.data`, no new `Parameter`."
)
NAMES = ("features.0.weight", "head.weight", "head.bias", "features.head_norm.weight", "features.0.bias")


@exercise(
    "07",
    "ANIL's list",
    solution=solutions.names,
    why="The head's two tensors are all that a task may change; the outer loop's list stays whole.",
)
def check_names(names) -> Verdict:
    """``names(params) -> the names that ANIL's inner loop changes``, for params {name: [T, ...]}."""
    hints = {
        "named_parameters": "`params` is a dictionary: a loop over it gives its names.",
        "too many values": "A loop over a dictionary gives its names alone; `params.items()` gives pairs.",
    }
    result = run(names, {name: torch.zeros(2, 3) for name in NAMES}, hints=hints)
    if isinstance(result, str):
        return wrong("A list of names was expected, not one string: loops over it would go letter by letter.")
    try:
        chosen = set(islice(result, 1000))  # it need not end
    except TypeError:
        return wrong(f"A list of names was expected, not {code(type(result).__name__)}.")
    if any(not isinstance(name, str) for name in chosen):
        return wrong("Names were expected, the dictionary's keys, without their tensors.")
    if chosen == {"head.weight", "head.bias"} and isinstance(result, Iterator):
        return wrong("Each inner step goes through the names anew, and this is used up by the first: make it a list.")
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


@exercise(
    "07",
    "the ridge head",
    solution=solutions.ridge,
    why="Setting the gradient of the penalised sum of squares to zero gives a linear system of D unknowns.",
)
def check_ridge(ridge) -> Verdict:
    """``ridge(z, y, lam) -> w``: z [T, S, D], y [T, S, W] -> [T, D, W]; lam against the sum of squares."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(3, 6, 4, generator=generator, dtype=torch.float64)
    y = torch.randn(3, 6, 2, generator=generator, dtype=torch.float64)
    lam, eye = 0.7, torch.eye(4, dtype=torch.float64)
    hints = {
        r"b \(3\) at non-singleton dimension 0": "`.T` turns ALL dimensions around; use `.mT`.",
        "square matrices": "`torch.linalg.solve(A, B)` takes the square system first, then the right-hand side.",
        r"tensor a \(4\) must match the size of tensor b \(6\)": (
            "`z.mT @ z` is [T, D, D], so lambda goes on a diagonal of D: `torch.eye(z.shape[-1])`, not of S points."
        ),
        r"tensor a \(6\) must match the size of tensor b \(4\)": (
            "`z @ z.mT` is [T, S, S], so lambda goes on a diagonal of S: `torch.eye(z.shape[-2])`, not of D features."
        ),
        r"must match the size of tensor b \(3\)": (
            "That diagonal has an entry for each of the 3 tasks; lambda goes on one of D: `torch.eye(z.shape[-1])`."
        ),
        "Incompatible shapes": (
            "The right-hand side goes with the system: `z.mT @ y` [T, D, W] for the primal, `y` [T, S, W] for the dual."
        ),
        "numpy": "Stay in torch, all tasks at once: the outer loop must differentiate through this.",
        "": "(z.mT transposes the last two dimensions and leaves the tasks alone.)",
    }
    result = run(ridge, z, y, lam, hints=hints)

    def solution(weight: Tensor) -> Tensor:
        return torch.linalg.solve(z.mT @ z + weight, z.mT @ y)  # [T, D, W]

    right_w = solution(lam * eye)
    known_shapes = {
        (3, 2, 4): "The shape is [T, W, D]; return w as in z @ w, which is [T, D, W].",
        (3, 5, 2): "That has a column of ones in it: there is no bias here.",
        (4, 2): "That is one head for all tasks: each has its own, [T, D, W].",
    }
    if isinstance(result, Tensor) and tuple(result.shape) in known_shapes:
        return wrong(known_shapes[tuple(result.shape)])
    if isinstance(result, Tensor) and result.shape == y.shape:
        fitted = torch.allclose(result, z @ right_w)
        dual = "That is what the dual's system is solved for, [T, S, W]: the head is `z.mT @` it."
        return wrong("Those are the fitted targets z @ w; return w." if fitted else dual)
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
        (solution(eye), "Lambda is missing on the diagonal: lam times the identity."),
        (solution(torch.full_like(eye, lam)), "Lambda goes on the diagonal only: lam * torch.eye(D)."),
        (z.mT @ y, "The system was not solved: that is its right-hand side."),
        ((z.mT @ z + lam * eye) ** -1 @ z.mT @ y, "`** -1` inverts every entry by itself: use `torch.linalg.solve`."),
    ]
    verdict = compare(result, right_w, mistakes)
    if not verdict.passed:
        return verdict
    slopes = [_slope(answer, z, y, lam, hints) for answer in (ridge, solutions.ridge)]
    if slopes[0] is None or not same(*slopes):
        return wrong(THROUGH)
    return right("And autograd can go through it: the outer loop needs no more.")


def _slope(ridge, z: Tensor, y: Tensor, lam: float, hints: dict) -> Tensor | None:
    """How the sum of a head's weights depends on the features, [T, S, D]; None where it does not."""
    head, (features, *_) = attempt(ridge, z.requires_grad_(), y, lam, hints=hints)
    head = answered(head)
    return torch.autograd.grad(head.sum(), features, allow_unused=True)[0] if head.requires_grad else None


@exercise(
    "07",
    "your MAML, its head solved",
    solution=solutions.solved_head,
    why="Everything is differentiable in the body's parameters: autograd goes through the solve, and no step is taken.",
)
def check_solved_head(solved_head) -> Verdict:
    """``solved_head(model, params, x, y, lam) -> params`` with "head.weight" and "head.bias" solved for by ridge
    regression on the features of x [S, 1] and a column of ones; lam weighs against the SUM of squares."""
    torch.manual_seed(0)
    model, lam = MLP(hidden=(6, 4), seed=0).double(), 0.3
    params = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
    with torch.no_grad():
        for p in params.values():  # so that the model's own parameters are not those of the loop
            p += 0.3 * torch.randn_like(p)
    old = dict(params)
    x, y = torch.randn(7, 1, dtype=torch.float64), torch.randn(7, 1, dtype=torch.float64)
    hints = {
        "must match the size": "With 7 points and 4 features the ones make Z [7, 5]: the primal's diagonal is 5.",
        "in-place operation": NEW_ONE,
        "no attribute .?features": "`model.features` knows its weights by names without `features.`, as above.",
        "singular": "Without a penalty the system need not have a solution: add lambda on the diagonal.",
        "Sizes of tensors|same number of dimensions": (
            "The ones are one more feature: `torch.cat([z, torch.ones_like(z[:, :1])], 1)` is [S, D + 1]."
        ),
    }
    result, (_, params, *_) = attempt(solved_head, model, params, x, y, lam, hints=hints)
    answered(result)
    if not isinstance(result, dict) or not set(result) == set(params) == set(old):
        return wrong("Return a dictionary with the same names as `params`: `params | {...}`.")
    if any(not torch.equal(params[name], old[name]) for name in old if name.startswith("features.")):
        return wrong(
            "You changed the body's parameters in `params`: only the outer loop does that. Solve for the head."
        )
    if any(result[name] is not params[name] for name in params if name.startswith("features.")):
        return wrong("The body's parameters go on as they are: only the head's two change.")

    def head(z: Tensor, lam: float) -> Tensor:
        weight, bias = ridge_head(z[None], y[None], lam)
        return torch.cat([weight.flatten(), bias.flatten()])  # [D + 1]

    z = _features(model, params, x)  # [S, D]
    got = [result["head.weight"], result["head.bias"]]
    wrong_width = {
        3: "A column of ones is missing: the last entry of W is then no bias.",
        7: "One column of ones is enough: `torch.ones_like(z[:, :1])`.",
        1: "That is a head on the network's output, or a part of one: the features are those of `model.features`.",
    }
    if isinstance(got[0], Tensor) and got[0].ndim == 2 and len(got[0]) == 1 and got[0].shape[1] in wrong_width:
        return wrong(wrong_width[got[0].shape[1]])
    for name, part, shape in zip(("head.weight", "head.bias"), got, ((1, 4), (1,))):
        if not isinstance(part, Tensor) or part.shape != shape:
            have = list(part.shape) if isinstance(part, Tensor) else type(part).__name__
            return wrong(f'"{name}" must be of shape {list(shape)}, as the model has it, not {code(str(have))}.')
    solve = lambda z, penalty: torch.linalg.solve(z.T @ z + lam * torch.diag(penalty), z.T @ y).flatten()
    ones, all_five = torch.ones_like(z[:, :1]), torch.ones(5, dtype=z.dtype)
    no_ones, ones_first = solve(z, all_five[:4]), solve(torch.cat([ones, z], 1), all_five)
    wide = torch.cat([z, ones], 1)
    everywhere = torch.linalg.solve(wide.T @ wide + lam, wide.T @ y).flatten()
    free_bias = solve(wide, torch.tensor([1.0, 1, 1, 1, 0], dtype=z.dtype))
    no_bias = "The bias is missing: give the features a column of ones."
    mistakes = [
        (head(model.features(x), lam), "Those are the features of `model`; the task's own are those with `params`."),
        (head(z, lam * 7), "Here lambda weighs against the SUM of squared errors; you took their mean."),
        (head(z, lam**2), "The penalty is lambda |w|^2, not lambda^2 |w|^2."),
        (torch.cat([no_ones, 0 * no_ones[:1]]), no_bias),
        (torch.cat([no_ones, params["head.bias"]]), no_bias),
        (everywhere, "Lambda goes on the diagonal only: lam * torch.eye(D + 1)."),
        (ones_first, "The column of ones comes first in your features, so the bias is the first entry of W."),
        (free_bias, "Lambda goes on the whole diagonal here, that of the bias included."),
        (torch.cat([old[name].flatten() for name in ("head.weight", "head.bias")]), "The head is the old one still."),
        ((torch.linalg.pinv(wide) @ y).flatten(), "That is least squares: lambda is missing."),
    ]
    flat = torch.cat([part.flatten() for part in got])
    verdict = compare(flat, head(z, lam), mistakes)
    if not verdict.passed:
        return verdict
    body = [params[name] for name in params if name.startswith("features.")]
    if not flat.requires_grad or torch.autograd.grad(flat.sum(), body, allow_unused=True)[0] is None:
        return wrong(THROUGH)
    kept = "" if result is not params else f" But `params` is where the next task starts from. {NEW_ONE}"
    return right(f"Two lines where the k steps were, and the outer loop stays as you wrote it.{kept}")


def _features(model: MLP, params: dict, x: Tensor) -> Tensor:
    body = {name.removeprefix("features."): p for name, p in params.items() if name.startswith("features.")}
    return functional_call(model.features, body, (x,))


check_open = model_answer("07", "which penalty would you ship?", solutions.OPEN)


@exercise(
    "07",
    "which system is smaller?",
    solution=solutions.SIZES,
    why="(a) Woodbury's system has one unknown for each of the S = 5 support images. (b) The primal has D + 1 = 65 "
    "unknowns, the column of ones counted, and there are 20 x 5 = 100 support images.",
)
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
    if few == 6 or many == 101:
        return wrong("The ones are one more feature, so one more unknown of the primal; the dual's are the images.")
    if few == 1:
        return wrong("One shot of each class, but five classes: count all support images.")
    if many == 100:
        return wrong("100 support images are more than there are features: here the primal is smaller.")
    if many == 64:
        return wrong("Nearly: the column of ones is an unknown like any other.")
    if (few, many) == (5, 65):
        return right("A solve of a 5 x 5 system, where MAML would step through a whole network.")
    return wrong("The primal has as many unknowns as features (and the ones), the dual as many as support images.")


@exercise(
    "07",
    "class means are a linear head",
    solution=solutions.means,
    why="-|z - c|^2 = 2 c.z - |c|^2 - |z|^2, and the last term is the same for every class.",
)
def check_means(means) -> Verdict:
    """``means(z, y) -> (weight [W, D], bias [W])`` with logits -|z - c_k|^2, up to what all classes share."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(9, 4, generator=generator, dtype=torch.float64)
    y = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2, 2])
    result = run(means, z, y)
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        return wrong("Two tensors were expected: weight [W, D] and bias [W].")
    weight, bias = (part[0] for part in mean_head(z[None], y[None]))
    centers, sums = weight / 2, one_hot(y[None], 3, z.dtype)[0].T @ z
    in_order = z.view(3, 3, 4).mean(1)
    known = [
        (centers, 0 * bias, "The bias is missing: long means would win everywhere. Expand the square."),
        (weight, 0 * bias, "The bias is missing: long means would win everywhere. Expand the square."),
        (centers, bias / 2, "The decisions are right, but the logits are half of -|z - c|^2, so a softmax is softer."),
        (centers, bias, "The mixed term of the square is 2 z c: the weight is twice the mean, the bias is right."),
        (weight, -(-bias).sqrt(), "The bias is the SQUARE of the mean's length, with a minus."),
        (weight, -bias, "Mind the sign of the bias: long means must be handicapped, not helped."),
        (-weight, -bias, "Those are distances; logits are their negatives, so that the nearest mean wins."),
        (2 * sums, -sums.square().sum(1), "Those are sums over the class; divide by how many there are."),
        (-weight, bias, "Mind the sign of the mixed term: the square is taken with a minus, so it is + 2 z c."),
        (weight, bias / 4, "A square of a length is a SUM over the 4 features, no mean."),
        (weight, -centers.sum(1), "The bias is the SQUARE of the mean's length, with a minus."),
        (
            2 * in_order,
            -in_order.square().sum(1),
            "The drawings need not come in equal numbers: `y` says whose they are.",
        ),
    ]
    for wrong_weight, wrong_bias, hint in known:
        if compare(result[0], wrong_weight, []).passed and compare(result[1], wrong_bias, []).passed:
            return wrong(hint)
    for name, got, expected in (("weight", result[0], weight), ("bias", result[1], bias)):
        verdict = compare(got, expected, [])
        if not verdict.passed:
            return wrong(f"In the {name}: {verdict.message}")
    return right("A linear head like any other, and no system to solve.")
