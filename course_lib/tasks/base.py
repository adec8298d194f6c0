"""What a task is: a support set to adapt on and a query set (held out) to be judged on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class TaskBatch:
    """A meta-batch: T tasks, each with S support points and Q query points.

    ``support_x`` [T, S, ...], ``support_y`` [T, S, ...], ``query_x`` [T, Q, ...], ``query_y`` [T, Q, ...].
    ``task_id`` [T] says which task of a finite set each one is, where tasks come back (else None).
    ``info`` keeps what generated a task, such as its amplitude [T], so that a demo can draw the true curve.
    """

    support_x: Tensor
    support_y: Tensor
    query_x: Tensor
    query_y: Tensor
    task_id: Tensor | None = None
    info: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self):
        parts = {"support_x": self.support_x, "support_y": self.support_y}
        parts |= {"query_x": self.query_x, "query_y": self.query_y, "task_id": self.task_id}
        sizes = {name: part.shape[0] for name, part in parts.items() if part is not None}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"the first dimension of every tensor must be the number of tasks, but it is {sizes}")

    @property
    def num_tasks(self) -> int:
        return self.support_x.shape[0]

    def map(self, change: Callable[[Tensor], Tensor]) -> TaskBatch:
        """The batch with ``change`` applied to each of its tensors."""
        return TaskBatch(
            change(self.support_x),
            change(self.support_y),
            change(self.query_x),
            change(self.query_y),
            None if self.task_id is None else change(self.task_id),
            {name: change(value) for name, value in self.info.items()},
        )

    def __getitem__(self, tasks: slice | Tensor) -> TaskBatch:
        """Some of the tasks; their dimension stays, so index with a slice or a tensor, not an integer."""
        return self.map(lambda tensor: tensor[tasks])

    def to(self, device: torch.device | str) -> TaskBatch:
        on_gpu = torch.device(device).type != "cpu"  # which waits for a copy before it reads; a CPU would read too soon
        return self.map(lambda tensor: tensor.to(device, non_blocking=on_gpu))

    @staticmethod
    def cat(batches: list[TaskBatch]) -> TaskBatch:
        """The tasks of several meta-batches as one."""
        first = batches[0]
        names = ("support_x", "support_y", "query_x", "query_y")
        return TaskBatch(
            *(torch.cat([getattr(b, name) for b in batches]) for name in names),
            task_id=None if first.task_id is None else torch.cat([b.task_id for b in batches]),
            info={name: torch.cat([b.info[name] for b in batches]) for name in first.info},
        )
