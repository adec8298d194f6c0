"""The check of the meta-gradient of notebook 02: in a training, with another loop, from a detached start."""

import pytest
import torch
from torch.func import functional_call

from course_lib.chapters.two_loops import exercises as two_loops
from course_lib.chapters.two_loops import solutions


def by_outer_backward(own_loop, model, batch, steps, lr, *, afresh=False):
    if afresh:
        model.zero_grad()
    theta = dict(model.named_parameters())
    for task in batch:
        params = own_loop(model, theta, task.support_x[0], task.support_y[0], steps, lr)
        loss = (functional_call(model, params, (task.query_x[0],)) - task.query_y[0]).square().mean()
        (loss / batch.num_tasks).backward()
    return {name: p.grad for name, p in theta.items()}


def all_as_one_task(own_loop, model, batch, *how):
    theta, points = dict(model.named_parameters()), (part.flatten(0, 1) for part in (batch.support_x, batch.support_y))
    params = own_loop(model, theta, *points, *how)
    loss = (functional_call(model, params, (batch.query_x.flatten(0, 1),)) - batch.query_y.flatten(0, 1)).square()
    return dict(zip(theta, torch.autograd.grad(loss.mean(), theta.values())))


def at_the_adapted_weights(own_loop, model, batch, *how):
    total = {name: 0.0 for name, _ in model.named_parameters()}
    for task in batch:
        params = own_loop(model, dict(model.named_parameters()), task.support_x[0], task.support_y[0], *how)
        loss = (functional_call(model, params, (task.query_x[0],)) - task.query_y[0]).square().mean()
        for name, grad in zip(total, torch.autograd.grad(loss, params.values())):
            total[name] = total[name] + grad / batch.num_tasks
    return total


@pytest.mark.parametrize(
    ("answer", "passed", "message"),
    [
        (lambda *a: by_outer_backward(*a, afresh=True), True, "line 8"),
        (by_outer_backward, False, "`backward` adds to it"),  # right the first time, wrong in a training
        (lambda _, *a: solutions.meta_gradient(solutions.inner_loop, *a), False, "use `inner_loop`"),
        (all_as_one_task, False, "a copy of its own"),
        (at_the_adapted_weights, False, "with respect to the adapted weights"),
    ],
)
def test_meta_gradient_in_a_training_and_with_another_loop(answer, passed, message):
    verdict = two_loops.check_meta_gradient(answer)
    assert verdict.passed is passed and message in str(verdict)


def detached_start(own_loop, model, batch, steps, lr, for_what=None, start=None, every_step=False, **options):
    """A meta-gradient whose inner loops start from copies that autograd knows nothing of."""
    theta = dict(model.named_parameters())
    fresh = start or (lambda params: {name: p.detach().clone().requires_grad_() for name, p in params.items()})
    begin, losses = fresh(theta), []
    total = {name: torch.zeros_like(p) for name, p in theta.items()}
    for x, y, query_x, query_y in zip(batch.support_x, batch.support_y, batch.query_x, batch.query_y):
        params = begin
        for _ in range(steps):
            last = params = fresh(params) if every_step else params
            params = own_loop(model, params, x, y, 1, lr)
        losses.append((functional_call(model, params, (query_x,)) - query_y).square().mean())
        if every_step:
            for name, grad in zip(total, torch.autograd.grad(losses[-1], last.values())):
                total[name] += grad / batch.num_tasks
    if every_step:
        return total
    return dict(zip(theta, torch.autograd.grad(torch.stack(losses).mean(), for_what(theta, begin), **options)))


OF_THETA, OF_START = (lambda theta, start: list(theta.values())), (lambda theta, start: list(start.values()))
DATA = lambda params: {name: p.data for name, p in params.items()}


@pytest.mark.parametrize(
    ("options", "passed", "message"),
    [
        ({"for_what": OF_START}, True, "line 8"),
        ({"for_what": OF_THETA}, False, "uncopied"),
        ({"for_what": OF_THETA, "start": DATA}, False, "uncopied"),
        ({"for_what": OF_THETA, "allow_unused": True}, False, "was it detached?"),
        ({"for_what": OF_THETA, "allow_unused": True, "materialize_grads": True}, False, "zero everywhere"),
        ({"every_step": True}, False, "Only the last inner step"),
    ],
)
def test_meta_gradient_from_a_detached_start(options, passed, message):
    verdict = two_loops.check_meta_gradient(lambda *a: detached_start(*a, **options))
    assert verdict.passed is passed and message in str(verdict)
