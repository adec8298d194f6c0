"""A meta-batch in pieces of a few tasks, so that the memory of a meta-gradient need not grow with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from course_lib.engine.any_module import Params, set_buffers
from course_lib.tasks.base import TaskBatch

Sums = tuple[dict[str, Tensor], Tensor, Params]  # gradients, losses [T], what is kept {name: [T, ...]}
Compute = Callable[[nn.Module, TaskBatch, int], Sums]  # as ``Learner.gradient``
Runner = Callable[[Compute, nn.Module, list[TaskBatch], int], Iterator[tuple[Sums, list[Tensor]]]]


def one_after_another(
    compute: Compute, model: nn.Module, pieces: list[TaskBatch], num_tasks: int
) -> Iterator[tuple[Sums, list[Tensor]]]:
    """The pieces of a meta-batch in turn, each from the model's buffers as they are now; yields where they end too."""
    before = [buffer.clone() for buffer in model.buffers()]
    for piece in pieces:
        set_buffers(model, before)
        yield compute(model, piece, num_tasks), [buffer.clone() for buffer in model.buffers()]


def in_pieces(
    compute: Compute,
    tasks_at_once: int,
    model: nn.Module,
    batch: TaskBatch,
    num_tasks: int,
    run: Runner = one_after_another,
) -> Sums:
    """``compute``, ``tasks_at_once`` tasks at a time; the buffers end as their mean over the tasks."""
    pieces = batch.split(tasks_at_once)
    if len(pieces) == 1:
        return compute(model, batch, num_tasks)
    grads, losses, kept, buffers = None, [], [], []
    for part, ends in run(compute, model, pieces, num_tasks):
        grads = part[0] if grads is None else {name: grads[name] + g for name, g in part[0].items()}
        losses.append(part[1])
        kept.append(part[2])
        buffers.append(ends)
    set_buffers(model, *buffers, shares=[piece.num_tasks / batch.num_tasks for piece in pieces])
    return grads, torch.cat(losses), {name: torch.cat([k[name] for k in kept]) for name in kept[0]}
