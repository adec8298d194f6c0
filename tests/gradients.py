"""Small float64 problems, and gradients by routes that share nothing with the library's."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_lib.models import MLP
from course_lib.tasks import TaskBatch

TIGHT = dict(rtol=1e-10, atol=1e-12)
EVERY_CHUNK = (None, 1, 2, 3, 5, 7)  # tasks_at_once for five tasks


def tiny_model(seed: int = 0) -> MLP:
    """1-4-3-1, tanh: smooth, so that finite differences mean something, and few parameters."""
    return MLP(hidden=(4, 3), activation=nn.Tanh, seed=seed).double()


def regression(num_tasks: int = 5, shots: int = 4, queries: int = 3, seed: int = 0) -> TaskBatch:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(num_tasks, shots + queries, 1, generator=g, dtype=torch.float64)
    y = torch.randn(num_tasks, shots + queries, 1, generator=g, dtype=torch.float64)
    task_id = torch.arange(num_tasks)
    return TaskBatch(x[:, :shots], y[:, :shots], x[:, shots:], y[:, shots:], task_id)


@torch.no_grad()
def finite_differences(f: Callable[[], Tensor], parameter: Tensor, step: float = 1e-5) -> Tensor:
    """d f() / d parameter by central differences, changing the parameter in place."""
    grad = torch.empty_like(parameter)
    for index in range(parameter.numel()):
        flat = parameter.data.view(-1)
        value = flat[index].item()
        ends = []
        for shifted in (value + step, value - step):
            flat[index] = shifted
            with torch.enable_grad():  # f may run an inner loop
                ends.append(f().item())
        flat[index] = value
        grad.view(-1)[index] = (ends[0] - ends[1]) / (2 * step)
    return grad


def largest_difference(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    assert a.keys() == b.keys()
    return max((a[name] - b[name]).abs().max().item() for name in a)


def gradient(loss: Tensor, model: nn.Module) -> dict[str, Tensor]:
    names, parameters = zip(*model.named_parameters())
    return dict(zip(names, torch.autograd.grad(loss, parameters, materialize_grads=True)))


class Constant(nn.Module):
    """A head that answers with its own parameter, whatever comes in."""

    def __init__(self, theta: Tensor):
        super().__init__()
        self.theta = nn.Parameter(theta)

    def forward(self, x: Tensor) -> Tensor:
        return self.theta.expand(x.shape[0], -1)


class Quadratic:
    """L_i(theta) = 1/2 (theta - c_i)^T H_i (theta - c_i), another c and H for the query set: all in closed form.

    Its c and H travel as a task's one target.
    """

    def __init__(self, num_tasks: int = 5, size: int = 3, seed: int = 0):
        g = torch.Generator().manual_seed(seed)
        self.size, self.num_tasks = size, num_tasks
        self.c = torch.randn(2, num_tasks, size, generator=g, dtype=torch.float64)  # support and query
        root = torch.randn(2, num_tasks, size, size, generator=g, dtype=torch.float64)
        self.H = root @ root.mT / size  # [2, T, P, P]
        self.theta = torch.randn(size, generator=g, dtype=torch.float64)
        self.model = nn.Sequential(OrderedDict(features=nn.Identity(), head=Constant(self.theta.clone())))

    def batch(self) -> TaskBatch:
        x = torch.zeros(self.num_tasks, 1, 1, dtype=torch.float64)
        support_y, query_y = (torch.cat([c, H.flatten(1)], 1).unsqueeze(1) for c, H in zip(self.c, self.H))
        return TaskBatch(x, support_y, x, query_y)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        c, H = targets[:, 0, : self.size], targets[:, 0, self.size :].unflatten(1, (self.size, self.size))
        distance = outputs[:, 0] - c  # [T, P]
        return 0.5 * torch.einsum("tp,tpq,tq->t", distance, H, distance)

    def shrink(self, steps: int, lr: float) -> Tensor:
        """(I - alpha H)^k [T, P, P] of the support sets."""
        return torch.linalg.matrix_power(torch.eye(self.size, dtype=torch.float64) - lr * self.H[0], steps)

    def adapted(self, steps: int, lr: float) -> Tensor:
        """theta'_i = c_i + (I - alpha H_i)^k (theta - c_i)  [T, P]."""
        return self.c[0] + torch.einsum("tpq,tq->tp", self.shrink(steps, lr), self.theta - self.c[0])

    def meta_gradient(self, steps: int, lr: float, second_order: bool = True) -> Tensor:
        """mean_i (I - alpha H_i)^k H'_i (theta'_i - c'_i); first order leaves the power out."""
        last = torch.einsum("tpq,tq->tp", self.H[1], self.adapted(steps, lr) - self.c[1])
        return (torch.einsum("tpq,tq->tp", self.shrink(steps, lr), last) if second_order else last).mean(0)
