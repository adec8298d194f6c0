"""What a training run needs around its loop: a device, threads, its own randomness, interrupts that cut no step."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from course_lib.models import has_convolutions


def pick_device(device: str | torch.device, model: nn.Module) -> torch.device:
    """The device to train on. "auto" is a GPU for convolutions where there is one; tiny networks are faster on a CPU.

    Raises:
        ValueError: a GPU was asked for by name and none is there.
    """
    if str(device) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() and has_convolutions(model) else "cpu")
    device = torch.device(device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("device='cuda', but torch finds no CUDA GPU here; use device='auto' or 'cpu'")
    return device


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, this thread's operations use one core: a second would be waited for whenever another program has it (a
    picture of 0.6 s took 17), and small networks gain nothing from it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def threads_for(model: nn.Module, device: torch.device) -> AbstractContextManager[None]:
    """``one_thread`` for a small network on a CPU."""
    return one_thread() if device.type == "cpu" and not has_convolutions(model) else nullcontext()


@contextmanager
def own_randomness(seed: int, device: torch.device) -> Iterator[Callable[..., None]]:
    """Inside, what layers draw (dropout) comes from ``seed`` and the number of the step, given to the function that
    this yields (in all processes but the first with their own number): whatever else is drawn meanwhile changes
    nothing. The caller's random state stays as it was."""

    def begin(*step: int) -> None:
        number = random.Random(" ".join(map(str, (seed, *step)))).getrandbits(63)
        torch.default_generator.manual_seed(number)  # ``torch.manual_seed`` seeds every GPU too, and takes 0.5 ms
        for gpu in gpus:
            with torch.cuda.device(gpu):
                torch.cuda.manual_seed(number)

    gpus = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        yield begin


class Draws(nn.Module):
    """A seed and a count of the meta-batches drawn for so far. It is in the state dict, as ``_extra_state``, so that a
    resumed run draws what an uninterrupted one would.

    The count is a plain number rather than a buffer, which would move to a GPU and stall it at every reading.

    >>> draws, resumed = Draws(seed=0), Draws(seed=0)
    >>> draws.advance()
    >>> resumed.set_extra_state(draws.get_extra_state())
    >>> bool(torch.rand(1, generator=draws.now()) == torch.rand(1, generator=resumed.now()))
    True
    """

    def __init__(self, seed: int):
        super().__init__()
        self.seed, self.count = seed, 0

    def now(self) -> torch.Generator:
        """A generator (CPU) for this meta-batch, the same until ``advance``."""
        return self._generator(self.count + 1)

    def advance(self) -> None:
        self.count += 1

    def at_test_time(self) -> torch.Generator:
        """The same generator every time, apart from those of training: an evaluation repeats exactly."""
        return self._generator("test")

    def _generator(self, which: int | str) -> torch.Generator:
        return torch.Generator().manual_seed(random.Random(f"{self.seed} {which}").getrandbits(32))

    def get_extra_state(self) -> Tensor:
        return torch.tensor(self.count)

    def set_extra_state(self, state: Tensor) -> None:
        self.count = int(state)


@contextmanager
def keyboard_interrupt() -> Iterator[Callable[[], bool]]:
    """Inside, the first interrupt only raises a flag, so that a step is never cut in two; the second one stops at once.

    Outside the main thread, where Python delivers no signals, the flag stays down.
    """
    count = 0

    def note(signum, frame):
        nonlocal count
        count += 1
        if count > 1:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: count > 0
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def modes(model: nn.Module, training: bool) -> Iterator[None]:
    """Inside, ``model`` is all in training or all in evaluation; afterwards each part as it was."""
    before = {part: part.training for part in model.modules()}
    model.train(training)
    try:
        yield
    finally:
        for part, mode in before.items():
            part.training = mode
