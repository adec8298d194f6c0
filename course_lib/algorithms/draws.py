"""What a learner draws at random while it trains: a resumed run draws what an uninterrupted one would."""

from __future__ import annotations

import random

import torch
from torch import Tensor, nn


class Draws(nn.Module):
    """A seed and a count of the draws made so far. It is in the state dict, as ``_extra_state``.

    It is a plain number rather than a buffer, which would move to a GPU and stall it at every reading.

    >>> draws = Draws(seed=0)
    >>> first, second = (torch.rand(1, generator=draws.next()) for _ in range(2))
    >>> resumed = Draws(seed=0)
    >>> resumed.set_extra_state(torch.tensor(1))
    >>> bool(first != second), bool(torch.rand(1, generator=resumed.next()) == second)
    (True, True)
    """

    def __init__(self, seed: int):
        super().__init__()
        self.seed, self.count = seed, 0

    def next(self) -> torch.Generator:
        """A generator (CPU) for one meta-batch."""
        self.count += 1
        return self._generator(self.count)

    def at_test_time(self) -> torch.Generator:
        """The same generator every time, apart from those of training: an evaluation repeats exactly."""
        return self._generator("test")

    def _generator(self, which: int | str) -> torch.Generator:
        return torch.Generator().manual_seed(random.Random(f"{self.seed} {which}").getrandbits(32))

    def get_extra_state(self) -> Tensor:
        return torch.tensor(self.count)

    def set_extra_state(self, state: Tensor) -> None:
        self.count = int(state)
