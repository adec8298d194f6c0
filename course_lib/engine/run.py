"""What a training run needs around its loop: a device, threads, its own randomness, interrupts that cut no step."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
def threads_for(model: nn.Module, device: torch.device) -> Iterator[None]:
    """One thread for a small network on a CPU, where handing work to a second costs more than it saves."""
    before = torch.get_num_threads()
    if device.type == "cpu" and not has_convolutions(model):
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
def modes(model: nn.Module, training: bool | None) -> Iterator[None]:
    """Inside, ``model`` is all in training or all in evaluation (None: as it is); afterwards each part as it was."""
    before = {part: part.training for part in model.modules()}
    if training is not None:
        model.train(training)
    try:
        yield
    finally:
        for part, mode in before.items():
            part.training = mode


def describe_run(learner: nn.Module, model: nn.Module, tasks) -> dict:
    """What is trained on what, as JSON values; where the model starts is not in it, since a state says where it is."""
    config = getattr(model, "config", None)
    config = config if isinstance(config, dict) else {}
    return {
        "learner": type(learner).__name__,
        "learner_settings": plain_attributes(learner) | learner.settings(),
        "model": type(model).__name__,
        "model_settings": {name: value for name, value in config.items() if name != "seed"},
        "shapes": {n: list(t.shape) for n, t in (*model.named_parameters(), *model.named_buffers())},
        "frozen": [name for name, p in model.named_parameters() if not p.requires_grad],
        "evaluating": [name for name, part in model.named_modules() if not part.training],
        "tasks": type(tasks).__name__,
        "tasks_settings": tasks.settings() if hasattr(tasks, "settings") else plain_attributes(tasks),
    }


def plain_attributes(thing) -> dict:
    """Its public attributes that are plain values, its class's among them: what tells one own method from another."""
    names = {name: value for cls in reversed(type(thing).__mro__) for name, value in vars(cls).items()} | vars(thing)
    plain = (bool, int, float, str, type(None))
    simple = {n: v for n, v in names.items() if not n.startswith("_") and n not in ("training", "dump_patches")}
    return {
        name: list(value) if isinstance(value, (list, tuple)) else value
        for name, value in simple.items()
        if isinstance(value, plain) or (isinstance(value, (list, tuple)) and all(isinstance(v, plain) for v in value))
    }
