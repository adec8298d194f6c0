"""A learning problem with two parameters, so that theta is a point one can draw.

    f_theta(x) = amplitude * sin(x - phase),     theta = (phase, amplitude)

The network is a feature, sin(x - phase), and a head that multiplies it: ``features`` and ``head`` as in
every model of this course, so the library's own learners train it. A task is a curve of the same family,
and so a point of the plane too: the theta that solves it.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from functools import lru_cache

import numpy as np
import torch
from contourpy import contour_generator
from torch import Tensor, nn

from course_lib.algorithms import MAML, Reptile, UnionOfTasks
from course_lib.algorithms.base import Learner
from course_lib.inner_loop import adapt, predict
from course_lib.kit.demo import Point, Slider
from course_lib.losses import mse
from course_lib.tasks import TaskBatch
from course_lib.tasks.sinusoid import X_RANGE, sinusoid

NAMES = ("features.phase", "head.weight")  # of the two parameters, in the order of the plane's axes
PHASES, AMPLITUDES = (0.0, math.pi), (0.5, 3.0)  # of the tasks
PHASE_RANGE, AMPLITUDE_RANGE = (-0.6, 3.8), (-0.6, 3.6)  # of the plane
START = (0.5, 1.0)  # theta before the first update
METHODS = {"maml": "MAML", "fomaml": "FOMAML", "reptile": "Reptile", "union": "union of tasks"}


class Phase(nn.Module):
    """One feature with one parameter: x [N, 1] -> sin(x - phase) [N, 1]."""

    def __init__(self, phase: float):
        super().__init__()
        self.phase = nn.Parameter(torch.tensor([phase], dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(x - self.phase)


def wave(phase: float = START[0], amplitude: float = START[1]) -> nn.Sequential:
    """The two-parameter model at a point of the plane, in float64.

    >>> wave(phase=0.0, amplitude=2.0)(torch.tensor([[math.pi / 2]], dtype=torch.float64)).item()
    2.0
    """
    head = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.constant_(head.weight, amplitude)
    return nn.Sequential(OrderedDict(features=Phase(phase), head=head))


def sample(num_tasks: int, seed: int, shots: int = 5, queries: int = 10) -> TaskBatch:
    """A meta-batch of waves, float64: x, y [T, S, 1] and [T, Q, 1]; ``info`` has each task's theta."""
    generator = torch.Generator().manual_seed(seed)
    unit = torch.rand(2, num_tasks, generator=generator, dtype=torch.float64)
    phase = PHASES[0] + (PHASES[1] - PHASES[0]) * unit[1]  # [T]
    amplitude = AMPLITUDES[0] + (AMPLITUDES[1] - AMPLITUDES[0]) * unit[0]  # [T]
    unit = torch.rand(num_tasks, shots + queries, 1, generator=generator, dtype=torch.float64)
    x = X_RANGE[0] + (X_RANGE[1] - X_RANGE[0]) * unit  # [T, S + Q, 1]
    y = sinusoid(x, amplitude, phase)  # [T, S + Q, 1]
    info = {"phase": phase, "amplitude": amplitude}
    return TaskBatch(x[:, :shots], y[:, :shots], x[:, shots:], y[:, shots:], None, info)


def learner_for(method: str, steps: int, inner_lr: float) -> Learner | None:
    """The library's learner for one of METHODS; None for Reptile with k = 0, which does not move."""
    if method == "union":
        return UnionOfTasks(head="meta")  # one shared head: it is a coordinate of the plane
    if method == "reptile":
        return Reptile(steps, inner_lr) if steps else None
    return MAML(steps, inner_lr, second_order=method == "maml")


def direction(method: str, model: nn.Module, batch: TaskBatch, steps: int, inner_lr: float) -> Tensor:
    """What the outer loop descends, as a vector in the plane [2].

    Reptile's theta - mean theta' is divided by alpha k, which makes it the mean gradient along its paths:
    then all four are as long as a gradient, and one eta_outer serves them all.
    """
    learner = learner_for(method, steps, inner_lr)
    if learner is None:
        return torch.zeros(2, dtype=torch.float64)
    grads, _ = learner.meta_gradient(model, batch)
    vector = point(grads)
    return vector / (inner_lr * steps) if method == "reptile" else vector


def directions(points: Tensor, batch: TaskBatch, steps: int, inner_lr: float) -> tuple[Tensor, Tensor]:
    """``direction`` of each of METHODS at a point of its own [4, 2], and F_k there [4]: all adapt as one batch."""
    model, count = wave(), batch.num_tasks
    every = batch[torch.arange(count).repeat(len(points))]  # [4 T] tasks
    theta = points.repeat_interleave(count, 0).requires_grad_()  # [4 T, 2]
    start = at_points(theta)
    options = {"loss_fn": mse, "steps": steps, "lr": inner_lr, "second_order": True}
    adapted = adapt(model, start, every.support_x, every.support_y, **options)
    losses = mse(predict(model, adapted, every.query_x), every.query_y)  # [4 T]
    all_x, all_y = torch.cat([every.support_x, every.query_x], 1), torch.cat([every.support_y, every.query_y], 1)
    together = mse(predict(model, start, all_x), all_y)  # [4 T]
    first_order = torch.autograd.grad(losses.sum(), list(adapted.values()), retain_graph=True)
    maml, fomaml, reptile, union = (slice(i * count, (i + 1) * count) for i in range(len(METHODS)))
    exact = torch.autograd.grad(losses[maml].sum() + together[union].sum(), theta)[0]  # [4 T, 2]
    moved = (theta.detach() - point(adapted))[reptile] / (inner_lr * max(steps, 1))
    ways = [exact[maml], point(dict(zip(adapted, first_order)))[fomaml], moved, exact[union]]
    return torch.stack([way.mean(0) for way in ways]), losses.detach().view(-1, count).mean(1)


def point(params: dict[str, Tensor]) -> Tensor:
    """(phase, amplitude) from parameters, gradients or stacked parameters: [2] or [T, 2]."""
    phase, amplitude = (params[name].detach() for name in NAMES)
    return torch.stack([phase[..., 0], amplitude[..., 0, 0]], -1)


def at_points(points: Tensor) -> dict[str, Tensor]:
    """Stacked parameters, one "task" a point of the plane: [G, 2] -> {name: [G, ...]}."""
    return {NAMES[0]: points[:, :1], NAMES[1]: points[:, 1, None, None]}


def rate_sliders(highest_inner: float, highest_outer: float, outer: float) -> tuple[Slider, Slider]:
    """Both learning rates, alpha 0.2 at first and beta ``outer``, each with the lecture's name beside it."""
    return (
        Slider("inner_lr", 0.02, highest_inner, 0.2, "α = η inner", 0.02),
        Slider("outer_lr", 0.05, highest_outer, outer, "β = η outer", 0.05),
    )


def start_point(theta: tuple[float, float] = START) -> Point:
    """theta before the first update, which is dragged in the plane."""
    return Point("theta", theta, PHASE_RANGE, AMPLITUDE_RANGE)


@lru_cache(maxsize=4)
def grid(size: int) -> tuple[np.ndarray, np.ndarray, Tensor]:
    """The two axes [size] each, and all points of the plane [size * size, 2], amplitude by amplitude."""
    phases = torch.linspace(*PHASE_RANGE, size, dtype=torch.float64)
    amplitudes = torch.linspace(*AMPLITUDE_RANGE, size, dtype=torch.float64)
    second, first = torch.meshgrid(amplitudes, phases, indexing="ij")
    return phases.numpy(), amplitudes.numpy(), torch.stack([first.flatten(), second.flatten()], -1)


def losses(x: Tensor, y: Tensor, size: int = 61) -> np.ndarray:
    """The loss of one task, x and y [N, 1], all over the plane [size, size], amplitude by amplitude."""
    points = grid(size)[2]
    with torch.no_grad():
        outputs = predict(wave(), at_points(points), x.expand(len(points), -1, -1))  # [G, N, 1]
        return mse(outputs, y.expand(len(points), -1, -1)).view(size, size).numpy()


def contours(x: Tensor, y: Tensor, levels: tuple[float, ...], size: int = 61) -> list[np.ndarray]:
    """Lines of equal loss of one task, x and y [N, 1], each line [points, 2]."""
    phases, amplitudes, _ = grid(size)
    lines = contour_generator(phases, amplitudes, losses(x, y, size))
    return [line for level in levels for line in lines.lines(level)]
