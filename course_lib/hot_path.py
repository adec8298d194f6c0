"""The fast way to a meta-gradient, chosen by device and model."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from course_lib.algorithms.base import Learner
from course_lib.tasks.base import TaskBatch


def make_meta_gradient(
    learner: Learner, model: nn.Module, tasks_at_once: int | None = None, compile: bool = False
) -> Callable[[TaskBatch], tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """A function batch -> (grads, info), equal to ``learner.meta_gradient(model, batch)`` and as fast as we know how."""
    return lambda batch: learner.meta_gradient(model, batch, tasks_at_once)
