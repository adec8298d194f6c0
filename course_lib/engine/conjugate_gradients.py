"""Linear systems of many tasks at once, each met through its products with vectors alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.validation import check_count


def conjugate_gradients(times: Callable[[Tensor], Tensor], g: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """v with A v = g, for one symmetric matrix a task, by conjugate gradients from v = g (Hestenes and Stiefel 1952).

    Args:
        times: v [T, P] -> A v [T, P].
        g: [T, P]. steps: products beyond the first; P of them are exact, but for rounding.

    Returns:
        v [T, P]; and the lowest curvature p.Ap / p.p met [T] (infinite if ``steps`` is 0). A task stays where it is
        once that is not positive (Steihaug 1983), or once it has converged.

    >>> matrix, g = torch.tensor([[2.0, 1.0], [1.0, 3.0]]), torch.tensor([[1.0, 2.0]])
    >>> v, lowest = conjugate_gradients(lambda v: v @ matrix, g, steps=2)
    >>> (v @ matrix).round(decimals=4)
    tensor([[1., 2.]])
    """
    lowest = g.new_full((len(g),), torch.inf)
    if check_count("steps", steps, 0) == 0:
        return g, lowest
    tiny = torch.finfo(g.dtype).eps ** 2 * dot(g, g)  # [T, 1]
    image = times(g)
    v, rest, lowest = g, g - image, curvature(g, image)
    p, size = rest, dot(rest, rest)
    for _ in range(steps):
        image = times(p)
        lowest = torch.where((size > tiny)[:, 0], torch.minimum(lowest, curvature(p, image)), lowest)
        go = (size > tiny) & (lowest > 0)[:, None]  # [T, 1]
        length = torch.where(go, size / dot(p, image), 0)
        v, rest = v + length * p, rest - length * image
        before, size = size, dot(rest, rest)
        p = rest + torch.where(go, size / before, 0) * p
    return v, lowest


def dot(a: Tensor, b: Tensor) -> Tensor:
    """a.b for each task [T, 1]."""
    return (a * b).sum(1, keepdim=True)


def curvature(p: Tensor, image: Tensor) -> Tensor:
    """p.Ap / p.p for each task [T]; 1 where p is zero."""
    size = dot(p, p)
    return torch.where(size > 0, dot(p, image) / size, 1)[:, 0]
