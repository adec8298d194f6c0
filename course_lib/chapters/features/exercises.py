"""Checks for notebook 05, features and tangent features."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from course_lib.analysis.tangent import eigenfunctions, energy_share, tangent_features
from course_lib.chapters.features import fourier, solutions
from course_lib.kit.checks import (
    Verdict,
    answered,
    attempt,
    compare,
    exercise,
    model_answer,
    number,
    right,
    run,
    same,
    wrong,
)
from course_lib.models import MLP

ONE_GRAPH = (
    "All points share one graph here, and a gradient uses it up: call the model on one point at a time, or say "
    "`retain_graph=True`."
)


@exercise(
    "05",
    "tangent features",
    solution=solutions.tangent_features,
    why="One gradient of one output for each point: no loss is in sight.",
)
def check_tangent_features(answer) -> Verdict:
    """``answer(model, x) -> J`` [N, P] for a model with one output, x [N, 1]."""
    model = MLP(hidden=(3, 4), activation=nn.Tanh, seed=0).double()
    x = torch.linspace(-2, 2, 5, dtype=torch.float64)[:, None]  # [5, 1]
    hints = {
        "second time": ONE_GRAPH,
        "scalar outputs": "A gradient is of one number: take one point's output at a time.",
        "number of dimensions|equal size|Sizes of tensors": (
            "The parameters have different shapes: flatten each one's gradient, and `torch.cat` them to one row."
        ),
        "does not require grad": "The output was detached from the parameters: use `model(...)` as it comes.",
    }
    result, (used, _) = attempt(answer, model, x, hints=hints)
    answered(result)
    left_behind = any(p.grad is not None for p in used.parameters())
    rows = tangent_features(model, x)  # [5, P]
    shape = tuple(result.shape) if isinstance(result, Tensor) else None
    num_params, num_head = rows.shape[1], 5
    one_row = "That is one row for all points together. Each point's output has a gradient of its own."
    by_shape = {
        (num_params,): one_row,
        (1, num_params): one_row,
        (num_params, 5): "You have a column for each point. J has a row for each: [N, P].",
        (5, 1): "That is the derivative for the input x. Differentiate for `model.parameters()`.",
        (5, 4): "These are the features of the usual view. The tangent features are derivatives of the output.",
        (5, 6): "That is one number for each parameter tensor. Keep all of its entries: `flatten`, no sum.",
        (5 * num_params,): "All rows in one line: put them one below the other with `torch.stack`.",
        (5, num_head): "These are the head's columns alone: take every parameter.",
        (5, num_params - num_head): "The head's columns are missing.",
    }
    if shape in by_shape:
        return wrong(by_shape[shape])
    outputs = model(x).detach()
    mistakes = [
        (
            2 * outputs * rows,
            "You differentiated the square of the output. J holds the gradients of the output itself.",
        ),
        (rows.sum(0).expand_as(rows), "All rows are the same: differentiate one output at a time, not their sum."),
        (rows.cumsum(0), "Each row contains the rows before it: gradients were added up. Start each from zero."),
    ]
    verdict = compare(result, rows, mistakes, "Row i says how f(x_i) answers to a small move of each parameter.")
    if left_behind and not verdict.passed:
        return wrong("Gradients were left behind in the model's .grad. Use torch.autograd.grad, which returns them.")
    if left_behind:
        return right(f"{verdict.message} (`torch.autograd.grad` would leave nothing behind in the model's .grad.)")
    return verdict


@exercise(
    "05",
    "how much energy?",
    solution=solutions.energy_share,
    why="The functions have mean square 1, so a curve's coordinate is the mean of its product with one.",
)
def check_energy_share(answer) -> Verdict:
    """``answer(functions, curves, r)``: the top r's share; functions [N, R], mean square 1, curves [M, N]."""
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(40, 12, generator=generator, dtype=torch.float64)
    functions = eigenfunctions(root @ root.T).functions[:, :12]  # [40, 12]: not all, so that some energy is in none
    curves = torch.randn(6, 40, generator=generator, dtype=torch.float64) * torch.arange(1, 7).double()[:, None]
    r = 5
    columns = "`functions` is [N, R]: the first r of them are columns, `functions[:, :r]`."
    result = run(answer, functions, curves, r, hints={"mat1 and mat2": columns})
    result = torch.as_tensor(result, dtype=torch.float64)
    coordinates = curves @ functions / 40  # [6, 12]
    energy, total = coordinates[:, :r].square(), curves.square().mean(1)  # [6, 5], [6]
    share, both_means = energy.sum() / total.sum(), "Take both as means: the coordinates and the curves' energy."
    by_points = "A coordinate is a mean over the points: divide by their number N, which is `len(functions)`."
    count = "That is the share of the first {}: r functions are the columns 0 to r - 1, which is `functions[:, :r]`."
    if isinstance(result, Tensor) and result.shape in ((6,), (r,)):
        return wrong("The family has one share: sum the energies over the functions and over the curves, then divide.")
    mistakes = [
        (
            energy.sum() / coordinates.square().sum(),
            "The whole energy is the curves' own, with what none of these functions holds.",
        ),
        (share / r, "Sum over the r functions: the energies they hold add up."),
        (coordinates[:, r].square().sum() / total.sum(), "That is column r alone. The first r are `functions[:, :r]`."),
        (coordinates[:, r - 1].square().sum() / total.sum(), "That is what the r-th function holds alone."),
        (coordinates[:, : r + 1].square().sum() / total.sum(), count.format("r + 1")),
        (coordinates[:, : r - 1].square().sum() / total.sum(), count.format("r - 1")),
        (share * 40**2, "Coordinates are means over the N points, not sums: each function has mean square 1."),
        (share * 40, both_means),
        (share / 40, both_means),
        (
            (energy.sum(1) / total).mean(),
            "You averaged the shares of the curves. Large ones count for more: sum first.",
        ),
        *((share * (40 / other) ** 2, by_points) for other in (6, 12)),
        *((share * scale, "Over the curves take both as sums, or both as means.") for scale in (6, 1 / 6)),
        (
            (coordinates.square().sum() / total.sum()),
            "That is the share of all the functions: take the first r columns.",
        ),
        (1 / share, "Turned round: what the functions hold, divided by the whole energy."),
        (energy.sum(), "That is the energy itself; the share divides it by the curves' own."),
        (share / (6 * r), "Sum the energies over functions and curves; a mean stands over the points alone."),
        (energy.sum() / curves.square().mean(0).sum(), "A curve's energy is the mean over its points: `mean(1)`."),
        (share.sqrt(), "Energy is the square; no root is taken."),
        (coordinates[:, :r].abs().sum() / total.sum(), "Square the coordinates."),
        (coordinates[:, :r].sum() / total.sum(), "Square the coordinates."),
        (
            (curves.square() @ functions[:, :r] / 40).sum() / total.sum(),
            "Square after the mean: first the coordinate, then its square.",
        ),
    ]
    praise = "A share of 1 in the top two is all that this family could ask for."
    return compare(result, energy_share(functions, curves)[r - 1], mistakes, praise)


@exercise(
    "05",
    "the eigenvalue MAML wants",
    solution="`one_step_eigenvalue = 1 / (2 * 0.01)`, which is 50",
    why="1 - 2 alpha lambda = 0.",
)
def check_one_step_rate(answer: float) -> Verdict:
    """The kernel's eigenvalue (as an integral operator) whose residual one step with alpha = 0.01 removes."""
    answer = number(answer)
    hints = {
        100.0: "Nearly: the square in the loss gives another factor of 2.",
        200.0: "At 2 / alpha the residual would come back with the other sign, and larger.",
        0.02: "That is 2 alpha; solve 1 - 2 alpha lambda = 0 for lambda.",
    }
    if math.isclose(answer, 50, rel_tol=1e-3):
        return right("1 / (2 alpha) = 50. Compare it with MAML's first eigenvalues above.")
    for value, hint in hints.items():
        if math.isclose(answer, value, rel_tol=1e-3):
            return wrong(hint)
    return wrong("One step multiplies the residual along an eigenfunction by 1 - 2 alpha lambda. When is that zero?")


check_open = model_answer(
    "05",
    "where is the family learnt first?",
    """near the ends. At 300 iterations the kernel K(x, x) at |x| = 4
    is 7.0<!--features.the_ends_learn_first.after--> times that in the middle
    (5.1 to 10.7<!--features.the_ends_learn_first.after--> times
    over twenty networks; four times or more in 20 of 20<!--features.the_ends_learn_first-->), and the bump there looks
    like a wave first. A reason: the random network's tangent features are longest where |x| is large
    (11<!--features.the_ends_learn_first.before--> times), since the outputs of its ReLUs are; only there does one inner
    step move the output much, so there the meta-gradient has something to hold on to. It would be wrong if a network
    whose inputs all have one length, such as (cos, sin) of x / 5, learnt the ends first too.""",
)


@exercise(
    "05",
    "the border",
    solution=solutions.border,
    why="A step multiplies the residual along an eigenvector of J J^T by 1 - 2 alpha lambda / n; its size is below 1 "
    "while 2 alpha lambda / n is below 2.",
)
def check_border(answer) -> Verdict:
    """``answer(J)``: the largest alpha at which fine-tuning on J's n rows, mean squared error, converges."""
    features = torch.randn(8, 30, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    hints = {
        "not implemented for 'Complex": "`torch.linalg.eigvalsh` is for symmetric matrices: real, from small to large.",
        "batches of square matrices": "J is not square. The kernel of the n points is `J @ J.T`.",
    }
    result = run(answer, features, hints=hints)
    result = torch.as_tensor(result, dtype=torch.float64)
    if result.shape == (8,):
        return wrong("That is a rate for each eigenvalue. One of them diverges first: return its rate alone.")
    largest = torch.linalg.eigvalsh(features @ features.T)[-1]
    smallest = torch.linalg.eigvalsh(features @ features.T)[0]
    mistakes = [
        (2 / largest, "That forgets the loss: with the mean over n points a step leaves 1 - 2 alpha lambda / n."),
        (2 * 8 / largest, "The square's derivative brings a 2: a step leaves 1 - 2 alpha lambda / n. When is it -1?"),
        (largest / 8, "Turned round: a steep direction wants a small rate."),
        (1 / largest, "Mind both: the factor's size may reach 1 on the negative side too, and the loss is a mean."),
        (8 / (2 * largest), "At this rate the largest error is gone in one step. It shrinks up to twice that rate."),
        (8 / largest.sqrt(), "Eigenvalues of K are needed; singular values of J are their roots."),
        (30 / largest, "The mean is over the n support points, `len(J)`, not over the parameters."),
        (8 / features.square().sum(), "That is the sum of all eigenvalues. The largest alone decides."),
        (8 / smallest, "The largest eigenvalue diverges first, not the smallest."),
    ]
    praise = "The same number is 2 / lambda_max of the loss's Hessian, 2 J^T J / n."
    return compare(result, 8 / largest, mistakes, praise)


@exercise(
    "05",
    "weights in closed form",
    solution=solutions.feature_weights,
    why="The weight is the mean square: how much power the family has at that frequency.",
)
def check_feature_weights(answer) -> Verdict:
    """``answer(coefficients)``: training tasks' a_1..a_D, b_1..b_D [T, 2 D] -> one weight a frequency [D]."""
    family = fourier.FourierFamily(fourier.bump_spectrum(10))
    coefficients = family.sample(200, 1, 0, torch.Generator().manual_seed(2)).coefficients  # [200, 20]
    result = run(answer, coefficients)
    expected = fourier.spectrum_from_coefficients(coefficients)  # [10]
    if isinstance(result, Tensor) and result.shape == (20,):
        return wrong("One weight for each frequency: its cosine and its sine share it.")
    if isinstance(result, Tensor) and result.shape == (200,):
        return wrong(
            "That is one number for each task. Average over the tasks, `mean(0)`: a weight for each frequency."
        )
    mean = coefficients.mean(0).unflatten(0, (2, -1)).mean(0)
    order = "The order is a_1 .. a_D, b_1 .. b_D: d and d + D belong together."
    root = "That is the root: the features are multiplied by it, but the weight is the mean square."
    mistakes = [
        (mean, "The mean coefficient is near zero for every frequency. How large are they, whatever their sign?"),
        (coefficients.mean(0).square().view(2, 10).mean(0), "That is the square of the mean: square first."),
        (coefficients[0].square().view(2, 10).mean(0), "That is the first task alone: average over the tasks."),
        (1 / expected, "The weight divides in the sum: a *large* one makes a frequency cheap. No 1 / is needed."),
        (expected.sqrt(), root),
        (coefficients[:, :10].square().mean(0), "You used the cosines alone; the sines tell as much."),
        (coefficients[:, 10:].square().mean(0), "You used the sines alone; the cosines tell as much."),
        (
            coefficients.var(0).view(2, 10).mean(0),
            "That measures from the tasks' own mean. Take the mean square as it is.",
        ),
        (coefficients.abs().mean(0).view(2, 10).mean(0), "Square each coefficient before you average, not its size."),
        (coefficients[:, ::2].square().mean(0), order),
        (coefficients.square().mean(0).view(10, 2).mean(1), order),
    ]
    verdict = compare(result, expected, mistakes, "Closed form: no gradient was taken.")
    if not verdict.passed and isinstance(result, Tensor) and result.shape == expected.shape and (result > 0).all():
        if same(result / result.mean(), expected / expected.mean()):
            return right("Up to a common factor, that is, which changes no interpolating fit.")
        if same(result / result.mean(), expected.sqrt() / expected.sqrt().mean()):
            return wrong(root)
    return verdict
