"""What the checks of notebook 02 compare with: the right weights and gradients, and those of the commonest mistakes."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor
from torch.func import functional_call

from course_lib.algorithms import MAML
from course_lib.inner_loop import adapt, stack_params
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


def flat(values: dict[str, Tensor]) -> Tensor:
    return torch.cat([value.detach().flatten() for value in values.values()])


def adapted(batch: TaskBatch, steps: int, inner_lr: float, loss_fn=mse) -> Tensor:
    model = small_model()
    options = {"loss_fn": loss_fn, "steps": steps, "lr": inner_lr}
    return flat(adapt(model, stack_params(model, 1), batch.support_x, batch.support_y, **options))


def gradient(batch: TaskBatch, steps: int = STEPS, second_order: bool = True) -> Tensor:
    return flat(MAML(steps, INNER_LR, second_order).meta_gradient(small_model(), batch)[0])


def all_pairs(outputs: Tensor, targets: Tensor) -> Tensor:
    """The loss where one of the two was squeezed: broadcasting then subtracts every target from every output."""
    return (outputs - targets.mT).square().mean((1, 2))


def mean_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).mean((1, 2))


def absolute_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).abs().mean((1, 2))


def adapted_on_query(batch: TaskBatch) -> tuple[TaskBatch, TaskBatch]:
    """The tasks adapted on their query set, and judged there too, or on their support set."""
    query, support = (batch.query_x, batch.query_y), (batch.support_x, batch.support_y)
    return TaskBatch(*query, *query), TaskBatch(*query, *support)


def as_one(batch: TaskBatch) -> TaskBatch:
    """The points of all tasks as one task."""
    return batch.map(lambda points: points.reshape(1, -1, points.shape[-1]))


def joined(batch: TaskBatch) -> TaskBatch:
    """The tasks judged on all their points."""
    x, y = torch.cat([batch.support_x, batch.query_x], 1), torch.cat([batch.support_y, batch.query_y], 1)
    return TaskBatch(batch.support_x, batch.support_y, x, y)


def through_last_step(batch: TaskBatch) -> Tensor:
    """The meta-gradient if every inner step begins with a detached copy, for the last of these."""
    model, total = small_model(), 0.0
    for i in range(batch.num_tasks):
        task = batch[i : i + 1]
        params = MAML(STEPS - 1, INNER_LR).adapt(model, task.support_x, task.support_y)
        model_there = small_model()
        model_there.load_state_dict({name: p[0].detach() for name, p in params.items()})
        total = total + flat(MAML(1, INNER_LR).meta_gradient(model_there, task)[0]) / batch.num_tasks
    return total


def chained(batch: TaskBatch) -> Tensor:
    """The gradient if every task begins with the weights adapted to the one before."""
    model, total = small_model(), 0.0
    params = stack_params(model, 1)
    for i in range(batch.num_tasks):
        task = batch[i : i + 1]
        params = MAML(STEPS, INNER_LR).adapt(model, task.support_x, task.support_y, params)
        outputs = functional_call(model, {name: p[0] for name, p in params.items()}, (task.query_x[0],))
        total = total + (outputs - task.query_y[0]).square().mean() / batch.num_tasks
    return torch.cat([g.flatten() for g in torch.autograd.grad(total, model.parameters())])


FIRST_ORDER = (
    "That is first order: the derivative with respect to the adapted weights. Differentiate with respect to theta, "
    "through the inner loop: were the adapted weights detached, or is a create_graph=True missing?"
)


def flawed(batch: TaskBatch) -> list[tuple[Tensor, str]]:
    """The gradients with one, two or all of three flaws, and what to say to each."""
    on_support = TaskBatch(batch.support_x, batch.support_y, batch.support_x, batch.support_y)
    found = []
    for total, support, first in product((False, True), repeat=3):
        hints = {
            "That is the sum over the tasks. Take the mean, as the library does.": total,
            "You judged on the support set. The query set judges.": support,
            FIRST_ORDER: first,
        }
        flawed = gradient(on_support if support else batch, second_order=not first)
        hint = " And another thing: ".join(words for words, holds in hints.items() if holds)
        found.append((flawed * batch.num_tasks if total else flawed, hint))
    return found[1:]
