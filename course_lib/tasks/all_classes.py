"""A pool of characters as one classification problem over all its classes: what the union of tasks trains on."""

from __future__ import annotations

import torch

from course_lib.tasks.base import TaskBatch
from course_lib.tasks.episodes import CharacterTasks, with_channel
from course_lib.validation import check_count


class AllClasses:
    """One task, number 0: tell all classes of ``pool`` apart. A batch is ``points`` drawings of any classes.

    Train with ``meta_batch=1``. More tasks to a meta-batch are further batches of the same problem.

    Args:
        pool: whose ``images`` [num_classes, D, 28, 28] and ``num_classes`` are taken; its ways and shots do
            not count.
        points: drawings in a batch, at least 2. Half are called support and half query; the union of tasks
            trains on both.
    """

    name = "all classes"

    def __init__(self, pool: CharacterTasks, points: int = 256):
        self.pool = pool
        self.points = check_count("points", points, 2)
        self.num_classes = pool.num_classes
        self.is_standin = pool.is_standin

    def to(self, device: torch.device | str) -> AllClasses:
        """These tasks with their pictures on ``device``, where ``sample`` then makes its batches."""
        return AllClasses(self.pool.to(device), self.points)

    def sample(self, num_tasks: int = 1, *, generator: torch.Generator | None = None) -> TaskBatch:
        """x [T, N, 1, 28, 28] in [0, 1], labels y [T, N] from 0 to num_classes - 1, ``task_id`` zero."""
        check_count("num_tasks", num_tasks, 1)
        images = self.pool.images  # uint8 [num_classes, D, 28, 28]
        source = generator.device if generator is not None else "cpu"
        shape = (num_tasks, self.points)
        drawing = torch.randint(images.shape[:2].numel(), shape, generator=generator, device=source)  # [T, N]
        drawing = drawing.to(images.device, non_blocking=images.device.type != "cpu")
        x = with_channel(images.flatten(0, 1)[drawing]) / 255  # [T, N, 1, 28, 28]
        y = drawing // images.shape[1]  # [T, N]
        half, task_id = self.points // 2, torch.zeros(num_tasks, dtype=torch.long, device=images.device)
        return TaskBatch(x[:, :half], y[:, :half], x[:, half:], y[:, half:], task_id)

    def settings(self) -> dict:
        """What these tasks are made of, for a record."""
        return {"pool": {"class": type(self.pool).__name__, **self.pool.settings()}, "points": self.points}

    def describe(self) -> str:
        return f"all {self.num_classes} classes at once, {self.points} drawings a batch, from {self.pool.name}"
