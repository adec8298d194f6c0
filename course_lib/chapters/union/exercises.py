"""Checks for notebook 06, the union of tasks and negative inner rates."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.chapters.union import solutions
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
    wrong,
)

ALL_HEADS = (
    "`z @ heads.T` is every head's output for every point. Each task has one head of its own: pick the rows "
    "`heads[task_id]` [T, D] and multiply each with the features of its task alone."
)
OUTPUT_SHAPE = (
    "Features z [T, N, D] and the tasks' heads `heads[task_id]` [T, D] meet as "
    "`(z * heads[task_id][:, None]).sum(-1)`, or as `z @ heads[task_id][:, :, None]`, which is [T, N, 1]: drop the "
    "last dimension before it meets y [T, N]."
)
ENTRY_BY_ENTRY = "`*` and `**` work entry by entry; matrices are multiplied with `@`."


@exercise(
    "06",
    "the union's loss",
    solution=solutions.union_loss,
    why="Nothing adapts. One backward pass gives the gradient of the body, and of the heads of the tasks in the batch; "
    "the other heads wait for their tasks to come by.",
)
def check_union_loss(union_loss) -> Verdict:
    """``union_loss(z, y, heads, task_id) -> loss``: z [T, N, D], y [T, N], heads [tasks, D], task_id [T]."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(4, 6, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    y = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    heads = torch.randn(10, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    task_id = torch.tensor([7, 2, 2, 9])
    hints = {"must match .* dimension 2": ALL_HEADS, "must match|cannot be multiplied": OUTPUT_SHAPE}
    result, copies = attempt(union_loss, z, y, heads, task_id, hints=hints)
    if not getattr(answered(result), "requires_grad", not isinstance(result, float)):
        return wrong("No gradient can flow through this loss: leave out `detach`, `item`, `no_grad` and new tensors.")

    def errors(rows: Tensor) -> Tensor:
        return (z * rows[:, None]).sum(-1) - y  # [T, N]

    def squares(rows: Tensor) -> Tensor:
        return errors(rows).square()

    own = squares(heads[task_id])
    mistakes = [
        (squares(heads[:4]).mean(), "Task i of the batch is not task i of the set: look its head up with task_id."),
        (squares(heads[:1].expand(4, -1)).mean(), "Every task uses the first head: that is one shared head."),
        (squares(heads.mean(0).expand(4, -1)).mean(), "You used the mean of the heads. Each task has its own."),
        ((z @ heads.T - y[:, :, None]).square().mean(), ALL_HEADS),
        ((z @ heads[task_id].T - y[:, :, None]).square().mean(), ALL_HEADS),
        (
            (z * heads[task_id][:, None] - y[..., None]).square().mean(),
            "An output is a sum over the D features: `.sum(-1)`.",
        ),
        (
            ((z * heads[task_id][:, None]).mean(-1) - y).square().mean(),
            "An output is a sum over the D features, no mean.",
        ),
        ((own.mean() / 2), "That is half the loss: here it is the mean square itself."),
        (own.sum(), "That is a sum; take means."),
        (own.mean(1).sum(), "You summed the tasks; the outer loss is their mean."),
        (own.sum(1).mean(), "You summed over the points of a task; take their mean."),
        (own[-1].mean(), "That is the loss of the last task alone: collect all of them, then take the mean."),
        (errors(heads[task_id]).mean(), "Square the errors first: here those of opposite sign cancel."),
        (errors(heads[task_id]).abs().mean(), "That is the absolute error; the squared one is asked for."),
    ]
    if isinstance(result, Tensor) and result.shape == (4,) and torch.allclose(result, own.mean(1)):
        return wrong("Nearly: that is one loss for each task. The outer loss is their mean.")
    verdict = compare(result, own.mean(), mistakes, "Nothing adapts, and one backward pass trains body and heads.")
    if verdict.passed:
        body, _, own_heads, _ = copies
        for name, part in (("body", body), ("heads", own_heads)):
            if torch.autograd.grad(result, part, retain_graph=True, allow_unused=True)[0] is None:
                return wrong(f"The number is right, but the {name} would not learn: no `detach`, no `.data`.")
    return verdict


@exercise(
    "06",
    "the weight of a direction",
    solution=solutions.weight,
    why="The step leaves the error $(1 - \\alpha h)(\\theta - w)$, so the loss after it is "
    "$\\frac{h}{2}(1 - \\alpha h)^2(\\theta - w)^2$. Its derivative has the factor twice: once because the error is "
    "smaller, once by the chain rule.",
)
def check_weight(weight) -> Verdict:
    """``weight(alpha, h)``: the meta-gradient of a MAML step on h/2 (theta - w)^2, relative to alpha = 0."""
    curvature = torch.tensor([0.0, 0.5, 2.0], dtype=torch.float64)
    for alpha in torch.tensor([-0.3, 0.2], dtype=torch.float64):  # either sign
        hints = {"'(theta|w)' is not defined": "In the ratio theta - w cancels: alpha and h are all that is left."}
        result = run(weight, alpha, curvature, hints=hints)
        left = 1 - alpha * curvature  # what a step leaves of the error
        mistakes = [
            (left, "One factor is missing: the error shrinks by 1 - alpha h; the chain rule repeats it."),
            ((1 + alpha * curvature).square(), "Mind the sign: the step is theta - alpha h (theta - w)."),
            (1 + alpha * curvature, "Mind the sign, and the chain rule's second factor."),
            (curvature * left, "Divide the gradient by what it is at alpha = 0; the chain rule repeats 1 - alpha h."),
            (curvature * left.square(), "That is the gradient itself; divide by what it is at alpha = 0."),
            (1 - 2 * alpha * curvature, "That is the first order in alpha; the square is exact."),
            (curvature * left.square() / 2, "That is the loss after the step; its derivative by theta is wanted."),
            (2 * left, "The factor 1 - alpha h comes twice as a product, its square; not two times."),
            ((alpha * curvature).square(), "That is what the step takes away, squared; what it leaves is 1 - alpha h."),
            (-left.square(), "No sign: relative to alpha = 0 the meta-gradient keeps its direction."),
        ]
        if isinstance(result, Tensor) and result.shape == (3,) and result[0].isnan():
            return wrong("Where the curvature is 0 this divides zero by zero: cancel h first.")
        verdict = compare(result, left.square(), mistakes)
        if not verdict.passed:
            return verdict
    return right("A curvature of 0, which no step can change, always weighs 1.")


@exercise(
    "06",
    "choose a rate",
    solution=solutions.RATE,
    why="$(1 - 4\\alpha)^2 = 4$ has the roots $\\alpha = -1/4$ and $\\alpha = 3/4$.",
)
def check_rate_for_weight(alpha: float) -> Verdict:
    """The negative rate at which a direction of curvature 4 weighs four times as much as a flat one."""
    alpha = number(alpha)
    if abs(alpha + 0.25) < 1e-6:
        return right("1 - alpha h = 2, squared. Curvature 0.4 weighs 1.21 then: the steep ones gain most.")
    if abs(alpha - 0.75) < 1e-6:
        return wrong("(1 - 0.75 * 4)^2 is 4 as well, but that step overshoots. Find the negative one.")
    if abs(alpha - 0.25) < 1e-6:
        return wrong("At +0.25 the step removes this error entirely and the weight is 0. Mind the sign.")
    if abs(alpha + 0.75) < 1e-6:
        return wrong("At -0.75 the weight is 16: you solved 1 - 4 alpha = 4; the weight is the square of that.")
    return wrong("Solve (1 - 4 alpha)^2 = 4.")


check_open = model_answer(
    "06",
    "where does the sign turn?",
    "the less the outer loop sees, the longer a negative rate holds on. In the medians of twenty seeds it is best with "
    "five tasks of two query points, as the network is or after one step (there the seeds disagree: without noise it "
    "is in 8 of 20 seeds<!--union.negative_pays_on_few_data-->); with ten query points, or twenty "
    "tasks, one step turns it positive; after ten steps at test time it is positive everywhere. Our reading: few "
    "query points mislead, and a negative rate follows them with smaller changes; whoever "
    "may adapt for long wants a network that is made for it.",
)


@exercise(
    "06",
    "two Hessians",
    solution=solutions.share,
    why="$(I - \\alpha H)\\, H_q\\, (I - \\alpha H)(\\theta - w)$: the support set's Hessian stands on both sides, "
    "the query set's in the middle. Where the two are equal, each direction has its weight $(1 - \\alpha h)^2$.",
)
def check_share(share) -> Verdict:
    """``share(theta, w, support_hessian, query_hessian, alpha) -> [D]``: a task's part of the meta-gradient, k = 1."""
    generator = torch.Generator().manual_seed(0)
    theta, w = torch.randn(2, 4, generator=generator, dtype=torch.float64)
    h, hq = (x.mT @ x / 3 for x in torch.randn(2, 3, 4, generator=generator, dtype=torch.float64))  # [4, 4] each
    alpha, eye = -0.3, torch.eye(4, dtype=torch.float64)
    result = run(share, theta, w, h, hq, alpha)
    step, error = eye - alpha * h, theta - w
    mistakes = [
        (
            (1 - alpha * h) @ hq @ (1 - alpha * h) @ error,
            "`1 - alpha * H` subtracts from every entry: the identity is `torch.eye`.",
        ),
        (hq @ step @ error, "That is first-order MAML: pull the gradient back through the step, times I - alpha H."),
        (step @ hq @ error, "The gradient is taken at theta', where the error is (I - alpha H)(theta - w)."),
        (step @ h @ step @ error, "The loss that judges has the query set's Hessian, the one in the middle."),
        (step @ step @ hq @ error, "Matrices do not commute: the query set's Hessian stands in the middle."),
        (hq @ step @ step @ error, "Matrices do not commute: the query set's Hessian stands in the middle."),
        ((eye + alpha * h) @ hq @ (eye + alpha * h) @ error, "Mind the sign: the step goes against the gradient."),
        (
            step @ hq @ (eye + alpha * h) @ error,
            "Mind the sign of the inner step: theta' - w = (I - alpha H)(theta - w).",
        ),
        ((eye + alpha * h) @ hq @ step @ error, "Mind the sign on the way back: the step's Jacobian is I - alpha H."),
        (
            (eye - alpha * hq) @ hq @ step @ error,
            "The way back goes through the step, so with the support set's Hessian.",
        ),
        (
            step @ hq @ (eye - alpha * hq) @ error,
            "The inner step descends the support loss: its Hessian is the support set's.",
        ),
        (-step @ hq @ step @ error, "Mind the sign: the error is theta - w, and the gradient grows with it."),
        (hq @ error, "That is the gradient without an inner step, at alpha = 0."),
        (step @ hq @ step @ error / 2, "The derivative of the square brings a 2, which cancels the half."),
        (step @ step @ error, "The query set's Hessian is missing: the judge's curvature stands in the middle."),
        (step.square() @ hq @ error, ENTRY_BY_ENTRY),
        (step * hq * step @ error, ENTRY_BY_ENTRY),
        (
            (eye - alpha * hq) @ h @ (eye - alpha * hq) @ error,
            "You exchanged them: the inner step sees the support set.",
        ),
    ]
    return compare(result, step @ hq @ step @ error, mistakes, "Its length, relative to alpha = 0, is a task's weight.")
