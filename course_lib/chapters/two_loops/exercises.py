"""Checks for notebook 02, the two loops, and the size of what a wrong loop gets wrong."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor
from torch.func import functional_call

from course_lib.algorithms import MAML
from course_lib.inner_loop import adapt, stack_params
from course_lib.kit.checks import (
    WAITING,
    Settled,
    Verdict,
    answered,
    attempt,
    compare,
    exercise,
    number,
    right,
    unanswered,
    wrong,
)
from course_lib.losses import mse
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks, TaskBatch

STEPS, INNER_LR = 3, 0.05


def meta_batch(num_tasks: int = 25, seed: int = 0) -> TaskBatch:
    """Sinusoid tasks in float64, 10 support and 10 query points each."""
    batch = SinusoidTasks(10, 10).sample(num_tasks, generator=torch.Generator().manual_seed(seed))
    return batch.map(lambda part: part.double())


def small_model() -> MLP:
    return MLP(hidden=(8, 8), activation="Tanh", seed=0).double()


def measure(loop, steps: int, inner_lr: float) -> tuple[float, float]:
    """How wrong ``loop(model, batch, steps, inner_lr) -> {name: gradient}`` is: (relative error, cosine).

    Both against the library's meta-gradient, on the sinusoid network at random weights and 25 tasks.
    """
    model, batch = MLP(seed=0).double(), meta_batch()
    expected = flat(MAML(steps, inner_lr).meta_gradient(model, batch)[0])
    got = flat(loop(model, batch, steps, inner_lr))
    return ((got - expected).norm() / expected.norm()).item(), torch.cosine_similarity(got, expected, 0).item()


def flat(values: dict[str, Tensor]) -> Tensor:
    return torch.cat([value.detach().flatten() for value in values.values()])


CUT_OFF = (
    "cut off from `params` (detach, no_grad, .data or backward?), so the outer loop gets no gradient. "
    "Write new = old - lr * grad with tensors that remember."
)
STEP_HINTS = {
    "not have been used in the graph|NoneType": (
        "The loss and what it is differentiated for must be the same weights, those in `params`: "
        "`functional_call(model, params, (x,))` and `torch.autograd.grad(loss, params.values(), ...)`. `model(x)` and "
        "`model.parameters()` are the model's own, and `.grad` is kept for the first weights only."
    ),
    "does not require grad": f"The weights of the step before are {CUT_OFF}",
    "in-place operation": "All other tasks start from `params`. Build a new dictionary: new = old - lr * grad.",
}


@exercise("02")
def check_inner_loop(inner_loop) -> Verdict:
    """``inner_loop(model, params, x, y, steps, inner_lr) -> params`` for one task."""
    model, batch = small_model(), meta_batch(1)
    x, y = batch.support_x[0], batch.support_y[0]  # [10, 1] each
    start = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
    before = flat(start)
    result, (_, start, *_) = attempt(inner_loop, model, start, x, y, STEPS, INNER_LR, hints=STEP_HINTS)
    answered(result)
    if not isinstance(result, dict) or list(result) != list(start):
        return wrong("Return a dictionary with the same names as `params`.")
    if not torch.equal(flat(start), before):
        return wrong("Your steps changed `params` itself: all other tasks start from it. Build a new dictionary.")
    once = _adapted(batch, 1, INNER_LR)
    mistakes = [
        (once, "That is one step. Repeat it `steps` times, each from the newest weights."),
        (_adapted(batch, STEPS, -INNER_LR), "The steps go uphill: mind the sign."),
        (_adapted(batch, STEPS, 10 * INNER_LR), "You summed the squared errors of the points; the loss is their mean."),
        (
            before + STEPS * (once - before),
            "All your gradients are taken at the start: `model(x)` does not know the newest `params`.",
        ),
        (before, "Nothing changed: return the new weights."),
    ]
    verdict = compare(flat(result), _adapted(batch, STEPS, INNER_LR), mistakes)
    return _check_graph(result, start, batch) if verdict.passed else verdict


def _check_graph(result: dict, start: dict, batch: TaskBatch) -> Verdict:
    """Whether the outer loop can differentiate through the result, second derivatives included."""
    outputs = functional_call(small_model(), result, (batch.query_x[0],))  # [10, 1]
    loss = (outputs - batch.query_y[0]).square().mean()
    reaches = loss.requires_grad
    got = torch.autograd.grad(loss, start.values(), allow_unused=True) if reaches else [None]
    if any(part is None for part in got):
        return wrong(f"The steps are right, but {CUT_OFF}")
    full, first = (_gradient(batch, second_order=order) for order in (True, False))
    mistake = "The steps are right, but second derivatives are missing: create_graph=True is missing."
    got = torch.cat([g.flatten() for g in got])
    return compare(got, full, [(first, mistake)], "The steps, and the gradient through them.")


def _adapted(batch: TaskBatch, steps: int, inner_lr: float) -> Tensor:
    model = small_model()
    options = {"loss_fn": mse, "steps": steps, "lr": inner_lr}
    return flat(adapt(model, stack_params(model, 1), batch.support_x, batch.support_y, **options))


def _gradient(batch: TaskBatch, steps: int = STEPS, second_order: bool = True) -> Tensor:
    return flat(MAML(steps, INNER_LR, second_order).meta_gradient(small_model(), batch)[0])


@exercise("02")
def check_meta_gradient(meta_gradient) -> Verdict:
    """``meta_gradient(model, batch, steps, inner_lr) -> {name: gradient}``, the mean over the tasks."""
    model, batch = small_model(), meta_batch(4)
    hints = {"not have been used in the graph|does not require grad": DETACHED}
    result = _gradient_of(meta_gradient, model, batch, STEPS, hints)
    expected, last = _gradient(batch), "That is the last task alone. Every task of the batch counts."
    mistakes = [
        *_flawed(batch),
        (-expected, "The sign is turned. Return the gradient; descending it comes later."),
        (_gradient(batch, steps=0), "You judged the weights before they adapted. Predict with the adapted ones."),
        (_gradient(batch[3:]), last),
        (_gradient(batch[3:]) / 4, last),
        (_chained(batch), "Each of your tasks starts where the one before ended. All start from the same weights."),
        (0 * expected, f"The gradient is zero everywhere. {DETACHED}"),
        (_through_last_step(batch), f"Only the last inner step is differentiated. {DETACHED}"),
    ]
    return compare(flat(result), expected, mistakes, "This is line 8 of algorithm 1, before the step.")


DETACHED = (
    "The outer loop asks how the query loss depends on the model's own parameters. A `detach`, `.data` or fresh "
    "`requires_grad_()` on the way cuts that off: start from `dict(model.named_parameters())`, uncopied."
)
_INCOMPLETE = (
    "Return a dictionary {name: gradient} with the names of model.named_parameters(), none of them None. "
    "(A None says that the loss does not depend on that parameter: was it detached?)"
)


def _flawed(batch: TaskBatch) -> list[tuple[Tensor, str]]:
    """The gradients with one, two or all of three flaws, and what to say to each."""
    on_support = TaskBatch(batch.support_x, batch.support_y, batch.support_x, batch.support_y)
    found = []
    for total, support, first in product((False, True), repeat=3):
        hints = {
            "That is the sum over the tasks. Take the mean, as the library does.": total,
            "You judged on the support set. The query set judges.": support,
            "The second derivatives are missing: is there a create_graph=True?": first,
        }
        gradient = _gradient(on_support if support else batch, second_order=not first)
        hint = " And another thing: ".join(words for words, holds in hints.items() if holds)
        found.append((gradient * batch.num_tasks if total else gradient, hint))
    return found[1:]


def _through_last_step(batch: TaskBatch) -> Tensor:
    """The meta-gradient if every inner step begins with a detached copy, for the last of these."""
    model, total = small_model(), 0.0
    for i in range(batch.num_tasks):
        task = batch[i : i + 1]
        params = MAML(STEPS - 1, INNER_LR).adapt(model, task.support_x, task.support_y)
        model_there = small_model()
        model_there.load_state_dict({name: p[0].detach() for name, p in params.items()})
        total = total + flat(MAML(1, INNER_LR).meta_gradient(model_there, task)[0]) / batch.num_tasks
    return total


def _gradient_of(loop, model: MLP, batch: TaskBatch, steps: int, hints: dict | None = None) -> dict[str, Tensor]:
    """What ``loop`` returns, where that is a gradient for every parameter and the model is as it was; else Settled."""
    result, (used, *_) = attempt(loop, model, batch, steps, INNER_LR, hints=hints)
    answered(result)
    names = [name for name, _ in model.named_parameters()]
    complete = isinstance(result, dict) and list(result) == names
    if not complete or not all(isinstance(gradient, Tensor) for gradient in result.values()):
        raise Settled(wrong(_INCOMPLETE))
    if not torch.equal(flat(dict(used.named_parameters())), flat(dict(model.named_parameters()))):
        raise Settled(wrong("The model has other weights than before. Return the gradient; the step comes later."))
    return result


def _chained(batch: TaskBatch) -> Tensor:
    """The gradient if every task begins with the weights adapted to the one before."""
    model, total = small_model(), 0.0
    params = stack_params(model, 1)
    for i in range(batch.num_tasks):
        task = batch[i : i + 1]
        params = MAML(STEPS, INNER_LR).adapt(model, task.support_x, task.support_y, params)
        outputs = functional_call(model, {name: p[0] for name, p in params.items()}, (task.query_x[0],))
        total = total + (outputs - task.query_y[0]).square().mean() / batch.num_tasks
    return torch.cat([g.flatten() for g in torch.autograd.grad(total, model.parameters())])


@exercise("02", "bug 2, repaired")
def check_repaired(loop) -> Verdict:
    """A repaired ``loop(model, batch, steps, inner_lr)`` must equal the library's for any k."""
    model, batch = small_model(), meta_batch(4)
    for steps in (1, 2, 5):
        result = _gradient_of(loop, model, batch, steps)
        expected = _gradient(batch, steps)
        verdict = compare(flat(result), expected, [(_gradient(batch, steps, False), _STILL["first order"]),
                                          (_gradient(batch, 0), _STILL["before"])])  # fmt: skip
        if not verdict.passed:
            known = any(hint in verdict.message for hint in _STILL.values())
            return verdict if known else wrong(f"For k = {steps} it is still off. {verdict.message}")
    return right("Equal to the library for k = 1, 2 and 5.")


_STILL = {
    "first order": "This is first-order MAML: somewhere the graph of the inner gradient is dropped.",
    "before": "This is the gradient without any adaptation: which weights made the judged prediction?",
}


_SHARED = {  # lines that the loops have in common, and why they are innocent
    "theta": "Line 1 takes the model's own parameters, uncopied: the outer gradient is theirs.",
    "start": "Line 4 starts every task from the same weights, as it should. Nothing changes them in place.",
    "support loss": "That line takes the loss that the inner loop descends: support set, present weights.",
    "inner gradient": "That line takes the inner gradient, with a graph of its own. It is complete.",
    "step": "That line is the step of the formula, into a new dictionary. Do the gradients it gets remember "
    "where they came from?",
    "outer gradient": "That line differentiates the mean query loss for theta, as line 8 of algorithm 1 says.",
}
_BUGS = {  # loop: the wrong line, why, and a hint for each innocent one
    1: (
        7,
        "Without `create_graph=True` the inner gradients are constants to the outer loop: this is FOMAML.",
        {1: "theta", 4: "start", 6: "support loss", 8: "step", 10: "outer gradient"}
        | {9: "Line 9 judges the adapted weights on the query set, as it should. What do these weights remember?"},
    ),
    2: (
        7,
        "`backward` adds every support loss's gradient to `.grad`, where the meta-gradient is collected.",
        {1: "theta", 4: "start", 6: "support loss", 8: "inner gradient", 9: "step"}
        | {10: "Line 10 puts the meta-gradient into `.grad`, as it should. What else was put there before?"}
        | {11: "Line 11 reads the meta-gradient where line 10 has put it. Is it alone there?"},
    ),
    3: (
        5,
        "The prediction that is judged was made before adapting; line 5 belongs after the inner loop.",
        {1: "theta", 4: "start", 7: "support loss", 8: "inner gradient", 9: "step", 11: "outer gradient"}
        | {10: "Line 10 judges the `outputs` it is given. Which weights made them?"},
    ),
}


@exercise("02", parts=3)
def check_bug(loop: int, answer: int) -> Verdict:
    """Loop 1, 2 or 3 of the notebook: the number of the line that is wrong."""
    if unanswered(answer):
        return WAITING
    line, why, innocent = _BUGS[loop]
    if answer == line:
        return right(why)
    if not isinstance(answer, int):
        return wrong("Give the number of a line, such as 4.")
    if answer not in innocent:
        return wrong(f"Lines with a number may be wrong: {', '.join(map(str, sorted([line, *innocent])))}.")
    return wrong(_SHARED.get(innocent[answer], innocent[answer]))


@exercise("02", "a sum for a mean")
def check_sum_rate(inner_lr: float) -> Verdict:
    """The rate for a sum over ten points that takes the steps of rate 0.01 for their mean."""
    inner_lr = number(inner_lr)
    if abs(inner_lr - 0.001) < 1e-9:
        return right("The sum's gradient is ten times the mean's: a tenth of the rate takes the same step.")
    if abs(inner_lr - 0.1) < 1e-9:
        return wrong("The other way round: the sum's gradient is the longer one.")
    if abs(inner_lr - 0.01) < 1e-9:
        return wrong("With the same rate every step is too long. How much longer is the gradient of the sum?")
    return wrong("How many times the mean is the sum? The gradient grows by the same factor.")
