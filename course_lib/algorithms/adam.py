"""Adam in the inner loop, as in Reptile's Omniglot (Nichol, Achiam, Schulman 2018, arXiv 1803.02999, appendix A)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from course_lib.inner_loop import Params, per_task

ADAM_BETA2, ADAM_EPSILON = 0.999, 1e-8  # the defaults that Reptile's released code leaves in place


class AdamRate:
    """Adam with beta1 = 0 as a rate: alpha / (sqrt(v) + eps), v the mean square of past gradients.

    Args:
        lr: alpha, one for all or one per task [T].
        squares: v to begin with, {name: [T, ...]}; none is zero, and a first step is then alpha in every parameter,
            up or down.
        seen: how many gradients are in ``squares``, a number or one per task [T].
    """

    def __init__(self, lr: float | Tensor, squares: Params | None = None, seen: float | Tensor = 0.0):
        self.lr, self.seen = lr, seen
        self.squares: dict[str, Tensor] = dict(squares or {})
        self.steps: dict[str, int] = {}

    def __call__(self, name: str, grad: Tensor) -> Tensor:
        step = self.steps[name] = self.steps.get(name, 0) + 1
        past = self.squares.get(name, torch.zeros_like(grad))
        square = self.squares[name] = ADAM_BETA2 * past + (1 - ADAM_BETA2) * grad.square()  # [T, ...]
        v = square / (1 - ADAM_BETA2 ** (per_task(self.seen, grad) + step))  # without the bias of a start at zero
        return per_task(self.lr, grad) / (v.sqrt() + ADAM_EPSILON)


class CarriedSquares(nn.Module):
    """Adam's mean squares as they pass from meta-batch to meta-batch: the mean of where its tasks ended.

    In the state dict as one vector, how many gradients they have seen first: ``_extra_state`` [1 + P].
    """

    def __init__(self):
        super().__init__()
        self.seen = 0
        self.register_buffer("squares", torch.zeros(0), persistent=False)  # [P], in the order of the model's parameters

    def now(self, model: nn.Module) -> Tensor:
        """What every task begins with [P]; zeros before the first meta-batch."""
        like, size = next(model.parameters()), sum(p.numel() for p in model.parameters())
        return (self.squares if len(self.squares) else self.squares.new_zeros(size)).to(like)

    def remember(self, ended: Params, steps: int) -> None:
        """Keep the mean of the squares that tasks ended with, {name: [T, ...]}, after ``steps`` gradients each."""
        self.squares = torch.cat([square.mean(0).flatten() for square in ended.values()])
        self.seen += steps

    def get_extra_state(self) -> Tensor:
        return torch.cat([self.squares.new_tensor([self.seen]), self.squares])

    def set_extra_state(self, state: Tensor) -> None:
        self.seen, self.squares = int(state[0]), state[1:].clone()
