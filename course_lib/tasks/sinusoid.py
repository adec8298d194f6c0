"""Sinusoid regression: y = A sin(x - phase), a family of curves the learner must tell apart from a few points.

MAML (Finn, Abbeel, Levine 2017, arXiv 1703.03400), section 5.1: A ~ U[0.1, 5], phase ~ U[0, pi], x ~ U[-5, 5].
A task is two numbers, and the family is a two-dimensional space: A sin(x - phase) = a sin x + b cos x.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from course_lib.tasks.base import TaskBatch
from course_lib.validation import check_count

AMPLITUDE = (0.1, 5.0)
PHASE = (0.0, math.pi)  # radians; Reptile's demonstration goes to 2 pi
X_RANGE = (-5.0, 5.0)

# What predicting 0 everywhere costs on average: E[A^2] E[sin^2(x - phase)]. The second factor is 1/2 because
# the phase is uniform over half a period, so this is E[A^2] / 2 = 4.2517 exactly, whatever x is.
ZERO_PREDICTOR_MSE = (AMPLITUDE[1] ** 3 - AMPLITUDE[0] ** 3) / (3 * (AMPLITUDE[1] - AMPLITUDE[0])) / 2


def sinusoid(x: Tensor, amplitude: Tensor, phase: Tensor) -> Tensor:
    """The true curves: x [T, N, 1], amplitude [T], phase [T] -> y [T, N, 1]."""
    return amplitude[:, None, None] * torch.sin(x - phase[:, None, None])


class SinusoidTasks:
    """A family of sinusoids to draw tasks from.

    Args:
        shots: support points per task, S (at least 1).
        queries: query points per task, Q (at least 1).
        num_tasks: None draws a new curve for every task. A number makes a finite set of that many curves,
            fixed by ``seed``, which come back: ``batch.task_id`` [T] says which curve each task is. Their
            points are new on every visit.
        seed: draws the finite set.

    Raises:
        ValueError: for a count below 1.

    >>> batch = SinusoidTasks(shots=10, queries=5).sample(25, generator=torch.Generator().manual_seed(0))
    >>> batch.support_x.shape, batch.query_y.shape, batch.info["amplitude"].shape
    (torch.Size([25, 10, 1]), torch.Size([25, 5, 1]), torch.Size([25]))
    """

    name = "sinusoid"

    def __init__(self, shots: int = 10, queries: int = 10, num_tasks: int | None = None, seed: int = 0):
        self.shots = check_count("shots", shots, 1)
        self.queries = check_count("queries", queries, 1)
        self.num_tasks = None if num_tasks is None else check_count("num_tasks", num_tasks, 1)
        self.seed = seed
        if num_tasks is not None:
            self.amplitudes, self.phases = self._curves(num_tasks, torch.Generator().manual_seed(seed))

    @staticmethod
    def _curves(num_tasks: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        unit = torch.rand(2, num_tasks, generator=generator)
        amplitude = AMPLITUDE[0] + (AMPLITUDE[1] - AMPLITUDE[0]) * unit[0]  # [T]
        phase = PHASE[0] + (PHASE[1] - PHASE[0]) * unit[1]  # [T]
        return amplitude, phase

    def sample(self, num_tasks: int, *, generator: torch.Generator) -> TaskBatch:
        """A meta-batch of ``num_tasks`` tasks: x and y are [T, S, 1] and [T, Q, 1]."""
        check_count("num_tasks", num_tasks, 1)
        if self.num_tasks is None:
            task_id = None
            amplitude, phase = self._curves(num_tasks, generator)
        else:
            task_id = torch.randint(self.num_tasks, (num_tasks,), generator=generator)  # [T]
            amplitude, phase = self.amplitudes[task_id], self.phases[task_id]
        unit = torch.rand(num_tasks, self.shots + self.queries, 1, generator=generator)
        x = X_RANGE[0] + (X_RANGE[1] - X_RANGE[0]) * unit  # [T, S + Q, 1]
        y = sinusoid(x, amplitude, phase)  # [T, S + Q, 1]
        split = self.shots
        info = {"amplitude": amplitude, "phase": phase}
        return TaskBatch(x[:, :split], y[:, :split], x[:, split:], y[:, split:], task_id, info)

    def settings(self) -> dict:
        """The constructor's arguments, for a checkpoint's record."""
        return {"shots": self.shots, "queries": self.queries, "num_tasks": self.num_tasks, "seed": self.seed}

    def describe(self) -> str:
        which = "new curves every time" if self.num_tasks is None else f"{self.num_tasks} curves that come back"
        return f"sinusoid regression, {self.shots} support and {self.queries} query points, {which}"
