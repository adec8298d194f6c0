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
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn
from torch.func import functional_call

from course_lib.algorithms.base import Learner, chunks, loss_info, trainable
from course_lib.engine.compiler import compiler_name
from course_lib.models import has_convolutions
from course_lib.tasks.base import TaskBatch
from course_lib.validation import check_count, check_model

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
        RuntimeError: ``compile`` on a CPU without a C++ compiler, or on a GPU for a learner that waits for it (a
            head fitted to a number of classes not known beforehand).
        ValueError: ``compile`` together with ``tasks_at_once`` or "bfloat16", ``tasks_at_once`` below 1, or
            another precision.

    >>> from course_lib.algorithms import MAML
    >>> from course_lib.models import MLP
    >>> from course_lib.tasks import SinusoidTasks
    >>> meta_gradient = make_meta_gradient(MAML(), MLP(seed=0))
    >>> grads, info = meta_gradient(SinusoidTasks().sample(25, generator=torch.Generator().manual_seed(0)))
    >>> grads["head.weight"].shape, info["task_losses"].shape
    (torch.Size([1, 40]), torch.Size([25]))
    """
    check_model(model)
    if tasks_at_once is not None:
        check_count("tasks_at_once", tasks_at_once, 1)
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}; not {precision!r}")
    mixed = precision == "bfloat16"
    if compile:
        if tasks_at_once is not None or mixed:
            raise ValueError(
                "a compiled step takes all tasks at once, in float32: leave out tasks_at_once and precision, "
                "or leave out compile"
            )
        on_gpu = next(model.parameters()).device.type == "cuda"
        return captured(learner, model) if on_gpu else compiled(learner, model)
    device = next(model.parameters()).device.type
    compute = autocast_forward(learner.meta_gradient, device) if mixed else learner.meta_gradient
    if device == "cpu" and has_convolutions(model):
        return in_threads(learner, model, tasks_at_once, compute)
    return lambda batch: compute(model, batch, tasks_at_once)


def autocast_forward(meta_gradient: Callable, device: str) -> Callable:
    """``meta_gradient`` with its forward passes in bfloat16 (``inner_loop.backward`` leaves autocast).

    Casts are not cached, since each piece of a meta-batch frees its own graph.
    """

    def compute(*arguments):
        with torch.autocast(device, torch.bfloat16, cache_enabled=False):
            return meta_gradient(*arguments)

    return compute


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(
    learner: Learner, model: nn.Module, tasks_at_once: int | None, compute: Callable
) -> MetaGradient:
    """A worker thread to each core, each taking ``tasks_at_once`` tasks at a time.

    ``compute`` is ``learner.meta_gradient``, or that in another precision. PyTorch leaves the interpreter free
    while it computes, so the threads do run side by side.
    """
    pool = ThreadPoolExecutor(cores(), thread_name_prefix="meta-gradient")

    def work(chunk: TaskBatch, share: float) -> tuple[dict[str, Tensor], Tensor, dict[str, Tensor]]:
        torch.set_num_threads(1)  # of this worker, for the kernels inside
        worker_model = copy_sharing_parameters(model)
        grads, info = compute(worker_model, chunk)
        buffers = dict(worker_model.named_buffers())
        return {name: share * grad for name, grad in grads.items()}, info["task_losses"], buffers

    def meta_gradient(batch: TaskBatch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        pieces = chunks(batch := learner.prepare(model, batch), tasks_at_once or few_tasks(batch))
        if len(pieces) == 1:  # nothing to share out: leave the cores to the kernels
            return compute(model, batch)
        shares = [piece.num_tasks / batch.num_tasks for piece in pieces]
        threads_before = torch.get_num_threads()
        sums, arrived, task_losses = None, {}, []
        try:
            results = pool.map(work, pieces, shares)  # in order, whichever ends first
            for share, (grads, losses, buffers) in zip(shares, results):
                sums = grads if sums is None else add_(sums, grads)
                for name, value in buffers.items():  # running statistics: the mean over the workers
                    mean = arrived.get(name, 0) + share * value
                    arrived[name] = mean if value.is_floating_point() else value
                task_losses.append(losses)
        finally:
            torch.set_num_threads(threads_before)
        for name, buffer in model.named_buffers():
            buffer.copy_(arrived[name])
        return sums, loss_info(task_losses)

    return meta_gradient


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


def add_(total: dict[str, Tensor], part: dict[str, Tensor]) -> dict[str, Tensor]:
    """``total`` += ``part``, name by name, in place."""
    for name, value in part.items():
        total[name] += value
    return total


class Step(nn.Module):
    """The whole step as a module, so that all of its tensors can be made inputs."""

    def __init__(self, learner: Learner, model: nn.Module):
        super().__init__()
        self.learner, self.model = learner, model

    def forward(self, batch: TaskBatch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        return self.learner.meta_gradient(self.model, batch)


def compiled(learner: Learner, model: nn.Module) -> MetaGradient:
    """The step traced once per shape of batch, inner loop and both derivatives unrolled, then compiled."""
    check_compiler()
    step = Step(learner, model)
    programs: dict[tuple, Callable] = {}

    def meta_gradient(batch: TaskBatch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        batch = learner.prepare(model, batch)
        state = [*step.named_parameters(), *step.named_buffers()]
        tensors = unpack(batch)
        key = (model.training, *((t.shape, t.dtype, t.device) for t in tensors))
        if key not in programs:
            programs[key] = compile_step(step, batch)
        with torch.no_grad():
            grads, task_losses = programs[key]([tensor for _, tensor in state], tensors)
        return dict(zip(trainable(learner, model), grads)), loss_info([task_losses])

    return meta_gradient


def compile_step(step: Step, batch: TaskBatch) -> Callable[..., tuple[list[Tensor], Tensor]]:
    """A compiled function (parameters and buffers, tensors of the batch) -> (gradients, task losses)."""
    from torch.fx.experimental.proxy_tensor import make_fx

    names = [name for name, _ in (*step.named_parameters(), *step.named_buffers())]

    def run(state: list[Tensor], tensors: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        grads, info = functional_call(step, dict(zip(names, state)), (pack(batch, tensors),))
        return list(grads.values()), info["task_losses"]

    example = [p.detach().clone().requires_grad_(p.requires_grad) for p in step.parameters()]
    example += [buffer.clone() for buffer in step.buffers()]
    graph = make_fx(run)(example, unpack(batch))  # autograd's own operations are traced too
    return torch.compile(graph, fullgraph=True, dynamic=False, options={"cpp_wrapper": True})


def captured(learner: Learner, model: nn.Module) -> MetaGradient:
    """The step recorded once per shape of batch as a CUDA graph, then replayed: hundreds of kernels, one launch.

    What is drawn at random is drawn by ``prepare``, before. The gradients returned are overwritten by the next call.
    """
    replays: dict[tuple, Callable] = {}

    def meta_gradient(batch: TaskBatch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        tensors = unpack(batch := learner.prepare(model, batch))
        key = (model.training, *((t.shape, t.dtype) for t in tensors))
        if key not in replays:
            replays[key] = record_step(learner, model, batch)
        return replays[key](tensors)

    return meta_gradient


def record_step(learner: Learner, model: nn.Module, batch: TaskBatch) -> Callable:
    """A function (tensors of the batch) -> (grads, info) that replays the step."""
    held = batch.map(lambda tensor: tensor.detach().clone().requires_grad_(tensor.requires_grad))
    buffers = [*model.buffers(), *learner.buffers()]
    before = [buffer.clone() for buffer in buffers]
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):  # libraries make what they keep, and choose their algorithms
            learner.meta_gradient(model, held)
    torch.cuda.current_stream().wait_stream(stream)
    for buffer, value in zip(buffers, before):
        buffer.copy_(value)
    with torch.cuda.graph(graph):
        grads, info = learner.meta_gradient(model, held)

    def replay(tensors: list[Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        with torch.no_grad():
            for mine, new in zip(unpack(held), tensors):
                mine.copy_(new, non_blocking=True)
        graph.replay()
        return grads, {name: value.clone() for name, value in info.items()}

    return replay


def unpack(batch: TaskBatch) -> list[Tensor]:
    """Every tensor of the batch, in the order of ``TaskBatch.map``."""
    tensors: list[Tensor] = []
    batch.map(lambda tensor: tensors.append(tensor) or tensor)
    return tensors


def pack(like: TaskBatch, tensors: list[Tensor]) -> TaskBatch:
    """The batch that ``unpack`` took apart, with other values."""
    values = iter(tensors)
    return like.map(lambda _: next(values))


def check_compiler() -> None:
    """Raises RuntimeError, with what to do, where no C++ compiler is found."""
    name = compiler_name()
    if not shutil.which(name):
        raise RuntimeError(
            f"compile=True needs a C++ compiler, and {name!r} is not there. Install it (Debian and Ubuntu: apt install "
            "g++; macOS: xcode-select --install), name another in CXX, or leave compile=False"
        )
