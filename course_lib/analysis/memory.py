"""What k costs in memory and time: the bytes autograd saves for backward, and a loop that saves fewer.

Backpropagating through k inner steps keeps every step's activations and parameters: bytes grow like k.
``adapt_checkpointed`` keeps theta at about sqrt(k) borders, and runs one segment again when backward reaches
it: about 2 sqrt(k) pieces instead of k, for one more forward pass (Chen et al. 2016, arXiv 1604.06174).

Sinusoid MLP in float32, 25 tasks of 10 + 10 points, k = 50: 14.4 MB plainly, 3.2 MB checkpointed; 0.25 MB for
first order and 0.22 MB for a ridge head, whatever k.
"""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from course_lib.algorithms.base import Learner
from course_lib.algorithms.maml import MAML
from course_lib.engine.fast_layers import running_norms
from course_lib.engine.hot_path import draws_at_random
from course_lib.inner_loop import Params, adapt
from course_lib.losses import LossFn
from course_lib.tasks.base import TaskBatch
from course_lib.validation import check_count, check_model


def saved_bytes(run: Callable[[], object], given: Iterable[Tensor] = ()) -> int:
    """The most bytes that autograd holds for backward at any one time while ``run`` runs.

    Counted: every distinct storage in which a node of the graph has saved a tensor, at its full size, once
    however many tensors are views of it, from when the first is saved until the last is released. Not
    counted: storages of ``given`` (parameters and data, which are there anyway), gradients, and scratch that
    no node saves. So this is what a method must remember, the same on every device, and not the process's
    peak memory.

    >>> x = torch.ones(1000, requires_grad=True)
    >>> saved_bytes(lambda: x.exp().sum())  # exp saves its result: 1000 numbers of 4 bytes
    4000
    """
    count = _SavedStorages(given)
    with torch.autograd.graph.saved_tensors_hooks(count.pack, count.unpack):
        run()
    return count.peak


class _Saved:
    """A saved tensor, alive as long as the graph's node that saved it."""

    def __init__(self, tensor: Tensor):
        self.tensor = tensor


class _SavedStorages:
    def __init__(self, given: Iterable[Tensor]):
        self.given = list(given)  # kept alive, so that their addresses stay theirs
        self.excluded = {t.untyped_storage().data_ptr() for t in self.given}
        self.holders: dict[int, int] = {}  # address of a storage -> how many saved tensors lie in it
        self.now = self.peak = 0

    def pack(self, tensor: Tensor) -> _Saved:
        saved = _Saved(tensor)
        storage = tensor.untyped_storage()
        address, size = storage.data_ptr(), storage.nbytes()
        if address not in self.excluded:
            if address not in self.holders:
                self.now += size
                self.peak = max(self.peak, self.now)
            self.holders[address] = self.holders.get(address, 0) + 1
            weakref.finalize(saved, self.release, address, size)
        return saved

    def release(self, address: int, size: int) -> None:
        self.holders[address] -= 1
        if self.holders[address] == 0:
            del self.holders[address]
            self.now -= size

    @staticmethod
    def unpack(saved: _Saved) -> Tensor:
        return saved.tensor


def meta_gradient_bytes(learner: Learner, model: nn.Module, batch: TaskBatch, tasks_at_once: int | None = None) -> int:
    """``saved_bytes`` of one meta-gradient, backward included, beside the parameters and the meta-batch."""
    data = [batch.support_x, batch.support_y, batch.query_x, batch.query_y]
    given = [*model.parameters(), *model.buffers(), *learner.parameters(), *learner.buffers(), *data]
    return saved_bytes(lambda: learner.meta_gradient(model, batch, tasks_at_once), given)


class _Segment(torch.autograd.Function):
    """Some inner steps that save only where they started; backward runs them again, with a graph."""

    @staticmethod
    def forward(ctx, run: Callable[[Sequence[Tensor], int, bool], list[Tensor]], steps: int, *theta: Tensor):
        ctx.run, ctx.steps = run, steps
        ctx.save_for_backward(*theta)
        with torch.enable_grad():  # the steps need their own gradients, one at a time
            ahead = run([t.detach().requires_grad_() for t in theta], steps, False)
        return tuple(t.detach() for t in ahead)

    @staticmethod
    def backward(ctx, *gradients: Tensor):
        if torch.is_grad_enabled():
            raise RuntimeError("adapt_checkpointed can be differentiated only once; use adapt instead")
        theta = [t.detach().requires_grad_() for t in ctx.saved_tensors]
        with torch.enable_grad():
            ahead = ctx.run(theta, ctx.steps, True)
        return None, None, *torch.autograd.grad(ahead, theta, gradients)


def adapt_checkpointed(
    model: nn.Module,
    params: Params,
    x: Tensor,
    y: Tensor,
    *,
    loss_fn: LossFn,
    steps: int,
    lr: float | Tensor,
    only: str | Sequence[str] | None = None,
    segments: int | None = None,
) -> Params:
    """``adapt`` with second derivatives: the same parameters and gradient, in memory that grows like sqrt(k).

    Args:
        segments: into how many pieces to cut the k steps; None is about sqrt(k). The rest is as in ``adapt``.

    Returns:
        {name: [T, ...]}, differentiable once, with respect to ``params`` alone.

    Raises:
        ValueError: as ``adapt``; segments below 1; a rate that is a function; data or a rate that requires a
            gradient; a model that does not do the same twice (dropout, batch norm that moves running statistics).
    """
    check_count("steps", steps, 0)
    pieces = max(1, round(math.sqrt(steps))) if segments is None else check_count("segments", segments, 1)
    if any(isinstance(t, Tensor) and t.requires_grad for t in (x, y, lr)):
        raise ValueError("adapt_checkpointed gives gradients to params alone; x, y and lr must not require any")
    if callable(lr):
        raise ValueError("adapt_checkpointed runs each step twice: lr must be numbers, not a function")
    if draws_at_random(model) or any(norm.training for norm in running_norms(model)):
        raise ValueError(
            "adapt_checkpointed runs each step twice, but this model does not do the same twice: it has dropout or "
            "running statistics; use adapt, or model.eval()"
        )
    frozen = {name: p for name, p in params.items() if not p.requires_grad}
    names = [name for name in params if name not in frozen]

    def run(theta: Sequence[Tensor], length: int, second_order: bool) -> list[Tensor]:
        here = frozen | dict(zip(names, theta))
        how = {"loss_fn": loss_fn, "steps": length, "lr": lr, "only": only, "second_order": second_order}
        adapted = adapt(model, here, x, y, **how)
        return [adapted[name] for name in names]

    borders = [steps * piece // pieces for piece in range(pieces + 1)]
    for start, end in zip(borders, borders[1:]):
        params = params | dict(zip(names, _Segment.apply(run, end - start, *(params[name] for name in names))))
    return params


class CheckpointedMAML(MAML):
    """MAML whose inner loop is checkpointed: the same meta-gradient in memory like sqrt(k)."""

    def adapt(self, model: nn.Module, x: Tensor, y: Tensor, start: Params | None = None) -> Params:
        if not self.second_order:  # nothing is kept to begin with
            return super().adapt(model, x, y, start)
        start = self.start(check_model(model), x, y) if start is None else start
        how = {"loss_fn": self.loss_fn, "steps": self.inner_steps, "lr": self.rate(model), "only": self.only}
        return adapt_checkpointed(model, start, x, y, **how)


def seconds_per_call(calls: dict[str, Callable[[], object]], repeats: int = 5) -> dict[str, float]:
    """Least wall time of each call, in seconds; calls take turns, so that a busy machine hits them alike."""
    check_count("repeats", repeats, 1)
    best = dict.fromkeys(calls, math.inf)
    for call in calls.values():
        call()  # warm up
    for _ in range(repeats):
        for name, call in calls.items():
            _wait()
            start = time.perf_counter()
            call()
            _wait()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def _wait() -> None:
    """A GPU runs behind the program: where one is at work, let it finish before reading the clock."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
