"""What a task is: a support set to adapt on and a query set (held out) to be judged on."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from course_lib.validation import check_count

POINTS = ("support_x", "support_y", "query_x", "query_y")  # what every task has


@dataclass
class TaskBatch:
    """A meta-batch: T tasks, each with S support points and Q query points.

    ``support_x`` [T, S, ...], ``support_y`` [T, S, ...], ``query_x`` [T, Q, ...], ``query_y`` [T, Q, ...].
    ``task_id`` [T] says which task of a finite set each one is, where tasks come back (else None).
    ``info`` keeps what generated a task, such as its amplitude [T], so that a demo can draw the true curve.

    ``num_tasks``, also its length, is T.

    Raises:
        ValueError: tensors that disagree in the number of tasks or of points.
    """

    support_x: Tensor
    support_y: Tensor
    query_x: Tensor
    query_y: Tensor
    task_id: Tensor | None = None
    info: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self):
        self.num_tasks = len(self.support_x)
        parts = {name: getattr(self, name) for name in (*POINTS, "task_id")} | self.info
        sizes = {name: len(part) for name, part in parts.items() if part is not None}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"the first dimension of every tensor must be the number of tasks, but it is {sizes}")
        for x, y in ((self.support_x, self.support_y), (self.query_x, self.query_y)):
            if min(x.ndim, y.ndim) < 2 or x.shape[:2] != y.shape[:2]:
                raise ValueError(f"x {list(x.shape)} and y {list(y.shape)} must agree in tasks and points, [T, N, ...]")

    def __len__(self) -> int:
        return self.num_tasks

    def __iter__(self) -> Iterator[TaskBatch]:
        """Its tasks one by one, each a meta-batch of one."""
        return (self[i] for i in range(self.num_tasks))

    def map(self, change: Callable[[Tensor], Tensor]) -> TaskBatch:
        """The batch with ``change`` applied to each of its tensors."""
        return TaskBatch(
            *(change(getattr(self, name)) for name in POINTS),
            None if self.task_id is None else change(self.task_id),
            {name: change(value) for name, value in self.info.items()},
        )

    def __getitem__(self, tasks: int | slice | Tensor) -> TaskBatch:
        """Some of the tasks. Their dimension stays: ``batch[0]`` is a meta-batch of one task."""
        if not isinstance(tasks, (slice, Tensor, list)):
            index = operator.index(tasks)
            if not -self.num_tasks <= index < self.num_tasks:
                raise IndexError(f"there is no task {index} in a meta-batch of {self.num_tasks}")
            tasks = slice(index, index + 1 or None)
        return self.map(lambda tensor: tensor[tasks])

    def split(self, tasks_at_once: int | None) -> list[TaskBatch]:
        """The meta-batch in pieces of at most ``tasks_at_once`` tasks; None is one piece."""
        if tasks_at_once is None:
            return [self]
        size = check_count("tasks_at_once", tasks_at_once, 1)
        return [self[i : i + size] for i in range(0, self.num_tasks, size)]

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> TaskBatch:
        """The batch on another device; its floating-point tensors in another precision."""
        on_gpu = device is not None and torch.device(device).type != "cpu"  # a CPU would read before a copy arrives

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device, dtype if tensor.is_floating_point() else None, non_blocking=on_gpu)

        return self.map(move)

    def with_info(self, **more: Tensor) -> TaskBatch:
        """The batch with more tensors in ``info``, [T, ...] each, which are sliced along with it."""
        return replace(self, info=self.info | more)

    @staticmethod
    def cat(batches: list[TaskBatch]) -> TaskBatch:
        """The tasks of several meta-batches as one."""
        first = batches[0]
        return TaskBatch(
            *(torch.cat([getattr(b, name) for b in batches]) for name in POINTS),
            task_id=None if first.task_id is None else torch.cat([b.task_id for b in batches]),
            info={name: torch.cat([b.info[name] for b in batches]) for name in first.info},
        )
