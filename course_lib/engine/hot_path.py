"""The fast way to a meta-gradient, chosen by device and model.

    small network, CPU   all tasks at once, one thread      handing work to a second costs more than it saves
    convolutions, CPU    a few tasks at a time, a thread    what a few tasks need stays in the caches, and
                         to each core                       memory does not grow with the meta-batch
    GPU                  all tasks at once                  nothing waits for the device
    compile=True, CPU    all tasks at once, one kernel      several times faster on small networks, after
                         after another, no Python           10 to 60 s of compiling
    compile=True, GPU    the step as one CUDA graph         hundreds of kernels cost one launch
    precision="bfloat16" forward passes in half the bits    meant for images on a GPU; no faster on a CPU

All but the last are ``learner.meta_gradient`` and differ from it by rounding at most; sums have a fixed order, so
the same seed gives the same bits. ``benchmarks/run.py`` measures what the first four are worth.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import cache, partial

import torch
from torch import Tensor, nn

from course_lib.algorithms.base import Learner
from course_lib.engine.any_module import ON_TOP, plain_attention, set_buffers
from course_lib.engine.compiled import captured, compiled
from course_lib.engine.distributed import processes, shared_out
from course_lib.engine.pieces import Compute, Sums, in_pieces, one_after_another
from course_lib.engine.run import one_thread
from course_lib.engine.self_check import check_predict, warn_of_explosion
from course_lib.models import has_convolutions
from course_lib.tasks.base import TaskBatch
from course_lib.validation import check_choice, check_count, check_model

MetaGradient = Callable[[TaskBatch], tuple[dict[str, Tensor], dict[str, Tensor]]]
PRECISIONS = ("float32", "bfloat16")

IMAGES_AT_ONCE = 80  # support and query images that one core works on together


def make_meta_gradient(
    learner: Learner,
    model: nn.Module,
    tasks_at_once: int | None = None,
    compile: bool = False,
    precision: str = "float32",
) -> MetaGradient:
    """A function batch -> (grads, info), equal to ``learner.meta_gradient(model, batch)`` up to rounding.

    Its first call compares the model for many tasks at once with the plain module (see self_check.py).

    Args:
        tasks_at_once: tasks held in memory together, by each worker thread where there are several; None
            chooses by device and model.
        compile: on a CPU run the whole step through torch.compile: a batch of shapes not met before takes 10 to
            60 s. On a GPU replay it as a CUDA graph, which takes no compiler and a second. The learner's settings are
            those of that moment.
        precision: "float32", or "bfloat16" to run forward passes under ``torch.autocast``: convolutions and
            matrix products in bfloat16; parameters, inner steps, losses, solved heads and the gradients
            returned stay in float32.

    Raises:
        RuntimeError: ``compile`` on a CPU without a C++ compiler.
        ValueError: ``compile`` together with ``tasks_at_once`` or "bfloat16", ``tasks_at_once`` below 1, another
            precision; at the first call a model that computes something else for many tasks than for one.

    >>> from course_lib.algorithms import MAML
    >>> from course_lib.models import MLP
    >>> from course_lib.tasks import SinusoidTasks
    >>> meta_gradient = make_meta_gradient(MAML(), MLP(seed=0))
    >>> grads, info = meta_gradient(SinusoidTasks().sample(25, generator=torch.Generator().manual_seed(0)))
    >>> grads["head.weight"].shape, info["task_losses"].shape
    (torch.Size([1, 40]), torch.Size([25]))
    """
    check_model(model)
    compute, (rank, count) = choose_compute(learner, model, tasks_at_once, compile, precision), processes()
    step = partial(learner.meta_gradient, model, compute=shared_out(compute) if count > 1 else compute)
    checked = False

    def meta_gradient(batch: TaskBatch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        nonlocal checked
        if checked:
            return step(batch)
        check_predict(model, batch.support_x)
        grads, info = step(batch)
        if rank == 0:
            warn_of_explosion(learner, model, batch, info["loss"])
        checked = True
        return grads, info

    return meta_gradient


def choose_compute(
    learner: Learner, model: nn.Module, tasks_at_once: int | None, compile: bool, precision: str
) -> Compute:
    """The table above, in one process; arguments as for ``make_meta_gradient``."""
    if tasks_at_once is not None:
        check_count("tasks_at_once", tasks_at_once, 1)
    check_choice("precision", precision, PRECISIONS)
    mixed, device = precision == "bfloat16", next(model.parameters()).device.type
    if compile:
        if tasks_at_once is not None or mixed:
            raise ValueError(
                "a compiled step takes all tasks at once, in float32: leave out tasks_at_once and precision, "
                "or leave out compile"
            )
        return captured(learner, model) if device == "cuda" else compiled(learner, model)
    threads = device == "cpu" and has_convolutions(model)
    if not (threads or mixed):
        return learner.gradient if tasks_at_once is None else partial(in_pieces, learner.gradient, tasks_at_once)

    def compute(model: nn.Module, batch: TaskBatch, num_tasks: int) -> Sums:
        run = in_threads if threads and not draws_at_random(model) else one_after_another
        at_once = tasks_at_once or (few_tasks(batch) if threads else num_tasks)
        with torch.autocast(device, torch.bfloat16, cache_enabled=False) if mixed else nullcontext():
            return in_pieces(learner.gradient, at_once, model, batch, num_tasks, run)

    return compute


def draws_at_random(model: nn.Module) -> bool:
    """Whether a layer drops out: all threads share one generator, so the same seed would not give the same bits."""
    parts = (part for part in model.modules() if part.training)
    shares = (getattr(part, "p" if "Dropout" in type(part).__name__ else "dropout", 0) for part in parts)
    return any(isinstance(share, (int, float)) and share > 0 for share in shares)


def cores() -> int:
    """Cores that this process may use; those that torchrun started on one machine share them."""
    of_all = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, of_all // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))


def in_threads(
    compute: Compute, model: nn.Module, pieces: list[TaskBatch], num_tasks: int
) -> Iterator[tuple[Sums, list[Tensor]]]:
    """The pieces of a meta-batch shared out over a worker thread to each core, in order whichever ends first.

    PyTorch leaves the interpreter free while it computes, so the threads do run side by side. Each has a copy of the
    model around the same parameters: called functionally, a module serves one thread at a time.
    """
    try:
        idle = [copy_sharing_parameters(model) for _ in range(cores())]
    except (RuntimeError, TypeError):  # pruned modules cannot be copied, nor what holds a lock or a file
        yield from one_after_another(compute, model, pieces, num_tasks)
        return
    ON_TOP.update(idle if model in ON_TOP else ())  # what is known of the model is known of its copies
    before, mixed = [buffer.clone() for buffer in model.buffers()], torch.is_autocast_enabled("cpu")

    def in_worker(piece: TaskBatch) -> tuple[Sums, list[Tensor]]:
        copied = idle.pop()
        set_buffers(copied, before)
        try:
            with torch.autocast("cpu", torch.bfloat16, cache_enabled=False) if mixed else nullcontext():
                return compute(copied, piece, num_tasks), [buffer.clone() for buffer in copied.buffers()]
        finally:
            idle.append(copied)

    with workers() as pool, plain_attention():  # a switch of the whole process, which no worker may turn back
        yield from pool.map(in_worker, pieces)


@contextmanager
def workers() -> Iterator[ThreadPoolExecutor]:
    """A worker thread to each core, whose kernels run in that thread alone. So do those of this thread meanwhile: a
    second thread of its own would spin beside the workers."""
    with one_thread():
        keep_freed_memory()
        yield make_pool()


@cache
def make_pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cores(), "meta-gradient", initializer=torch.set_num_threads, initargs=(1,))


@cache
def keep_freed_memory() -> None:
    """Make glibc keep up to 64 MiB of what a step frees: memory that it gives back costs a page fault for every 4 KiB
    of the next step. How much it keeps follows the largest block freed so far, up to 32 MiB."""
    torch.empty(31 * 2**20, dtype=torch.uint8)


def few_tasks(batch: TaskBatch) -> int:
    """Tasks that one core should take together: about ``IMAGES_AT_ONCE``, and no more than its share."""
    images = batch.support_x.shape[1] + batch.query_x.shape[1]  # of one task
    return max(1, min(IMAGES_AT_ONCE // images, -(-batch.num_tasks // cores())))


def copy_sharing_parameters(model: nn.Module) -> nn.Module:
    """Another module around the same parameters: called functionally, a module serves one thread at a time.

    >>> model = nn.Linear(2, 2)
    >>> copied = copy_sharing_parameters(model)
    >>> copied is model, copied.weight is model.weight
    (False, True)
    """
    return copy.deepcopy(model, memo={id(p): p for p in model.parameters()})
