"""The transduction switch: may test images be normalised together, as a batch?

Batch norm with the statistics of the batch at hand lets every query image see the others, which come in equal
numbers from every class. That is transduction, and it is worth points: Reptile reports 97.68 with it and 95.39
without (5-way 1-shot, arXiv 1803.02999, table 2), and says that MAML's released code has it.

    running statistics     inductive as it is; ``with_statistics(model, "batch")`` makes it transductive
    batch statistics       transductive as it is; inductive by classifying each query image alone with the
                           support set, as in Reptile's released code
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from course_lib.algorithms.base import Learner
from course_lib.evaluation import evaluate
from course_lib.inner_loop import Params, predict
from course_lib.tasks.base import TaskBatch
from course_lib.validation import check_choice


def has_running_statistics(model: nn.Module) -> bool:
    """Whether batch norm can do without the batch at hand.

    >>> from course_lib.models import Conv4
    >>> has_running_statistics(Conv4(statistics="running")), has_running_statistics(Conv4(statistics="batch"))
    (True, False)
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    return all(norm.running_mean is not None for norm in norms)


def with_statistics(model: nn.Module, statistics: str) -> nn.Module:
    """The same weights in a network whose batch norm takes "batch" or "running" statistics.

    Raises:
        ValueError: "running" of a network that kept none while it trained.
    """
    check_choice("statistics", statistics, ("batch", "running"))
    if statistics == "running" and not has_running_statistics(model):
        raise ValueError('this network kept no running statistics: train it with statistics="running"')
    other = copy.deepcopy(model)
    if statistics == "batch":
        for norm in (part for part in other.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)):
            norm.track_running_stats = False
            norm.running_mean = norm.running_var = norm.num_batches_tracked = None
    return other


def predict_one_by_one(model: nn.Module, params: Params, support_x: Tensor, query_x: Tensor) -> Tensor:
    """Outputs [1, Q, W] for the query images of ONE task, each in a batch of its own with the support set.

    Args:
        params: {name: [1, ...]}. support_x: [1, S, ...]. query_x: [1, Q, ...].
    """
    return predict_in_groups(model, params, support_x, query_x, 1)


def predict_in_groups(model: nn.Module, params: Params, support_x: Tensor, query_x: Tensor, size: int) -> Tensor:
    """As ``predict_one_by_one``, but with ``size`` query images to a batch, in their order.

    Raises:
        ValueError: ``size`` does not divide the number of query images.
    """
    if query_x.shape[1] % size:
        raise ValueError(f"{query_x.shape[1]} query images do not make groups of {size}")
    groups = query_x.unflatten(1, (-1, size)).squeeze(0)  # [G, size, ...]
    batches = torch.cat([support_x.expand(len(groups), *support_x.shape[1:]), groups], 1)  # [G, S + size, ...]
    copies = {name: p.expand(len(groups), *p.shape[1:]) for name, p in params.items()}
    return predict(model, copies, batches)[:, -size:].flatten(0, 1).unsqueeze(0)  # [1, Q, W]


def accuracies(
    learner: Learner,
    model: nn.Module,
    tasks,
    transductive: bool,
    num_tasks: int = 600,
    steps: Sequence[int] = (0,),
    seed: int = 0,
) -> Tensor:
    """Accuracy in 0..1 on the query sets of new tasks, normalised together or not: [len(steps), num_tasks].

    One seed gives the same tasks either way, and the same as ``evaluate``, whose errors these are.
    """
    of_running, options = has_running_statistics(model), {}
    if transductive and of_running:
        model = with_statistics(model, "batch")
    elif not transductive and not of_running:
        options = {"predict_queries": each_alone, "tasks_at_once": 1}
    result = evaluate(learner, model, tasks, num_tasks, steps, seed, **options)
    return result.accuracies[[result.steps.index(k) for k in steps]]


def each_alone(model: nn.Module, params: Params, task: TaskBatch) -> Tensor:
    return predict_one_by_one(model, params, task.support_x, task.query_x)
