"""A whole meta-step as one program: compiled for a CPU, captured as a CUDA graph on a GPU."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from course_lib.algorithms.base import Learner
from course_lib.engine.compiler import compiler_name
from course_lib.engine.pieces import Compute, Sums
from course_lib.tasks.base import TaskBatch

Function = Callable[..., tuple[Tensor, ...]]  # of tensors


class Step(nn.Module):
    """The whole step as a module, so that all of its tensors can be made inputs."""

    def __init__(self, learner: Learner, model: nn.Module):
        super().__init__()
        self.learner, self.model = learner, model

    def forward(self, batch: TaskBatch) -> Sums:
        return self.learner.gradient(self.model, batch, batch.num_tasks)


def compiled(learner: Learner, model: nn.Module) -> Compute:
    """The step traced once per shape of batch, inner loop and both derivatives unrolled, then compiled."""
    check_compiler()
    step = Step(learner, model)
    programs: dict[tuple, Callable] = {}

    def compute(model: nn.Module, batch: TaskBatch, num_tasks: int) -> Sums:
        tensors = unpack(batch)
        key = (model.training, *((t.shape, t.dtype, t.device) for t in tensors))
        if key not in programs:
            programs[key] = compile_step(step, batch)
        return programs[key](*step.parameters(), *step.buffers(), *tensors)

    return compute


def compile_step(step: Step, batch: TaskBatch) -> Callable[..., Sums]:
    """A compiled function (parameters, buffers, tensors of the batch) -> (gradients, task losses, what is kept)."""
    names = [name for name, _ in (*step.named_parameters(), *step.named_buffers())]
    learnt, kept_names = [], []  # names, known once the step has been traced

    def run(*tensors: Tensor) -> tuple[Tensor, ...]:
        state, of_batch = dict(zip(names, tensors)), tensors[len(names) :]
        grads, losses, kept = functional_call(step, state, (pack(batch, of_batch),))
        learnt[:], kept_names[:] = grads, kept
        return *grads.values(), losses, *kept.values()

    example = [p.detach().clone().requires_grad_(p.requires_grad) for p in step.parameters()]
    example += [buffer.clone() for buffer in step.buffers()] + unpack(batch)
    program = compile_function(run, example)

    def compute(*tensors: Tensor) -> Sums:
        outputs = iter(program(*tensors))
        return dict(zip(learnt, outputs)), next(outputs), dict(zip(kept_names, outputs))

    return compute


def compile_function(run: Function, example: list[Tensor]) -> Function:
    """``run``, which takes its derivatives itself, compiled for tensors like ``example``."""
    from torch._inductor import compile
    from torch.fx.experimental.proxy_tensor import make_fx

    one_output = {torch.ops.aten.baddbmm.default: sum_of_products}
    with torch.enable_grad():
        graph = make_fx(run, one_output, tracing_mode="fake")(*example)  # autograd's own operations are traced too
    with torch.no_grad():
        return torch.no_grad()(compile(graph, example, options={"cpp_wrapper": True}))


def sum_of_products(c: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """c + a b, where b [T, m, 1] is one column: as a sum, which the compiler fuses with what stands beside it."""
    plain = b.shape[2] == 1 and beta == alpha == 1
    return c + (a * b.mT).sum(2, keepdim=True) if plain else NotImplemented


def captured(learner: Learner, model: nn.Module) -> Compute:
    """The step recorded once per shape of batch as a CUDA graph, then replayed: hundreds of kernels, one launch.

    What is drawn at random is drawn by ``prepare``, before. The gradients returned are overwritten by the next call.
    """
    replays: dict[tuple, Callable] = {}

    def compute(model: nn.Module, batch: TaskBatch, num_tasks: int) -> Sums:
        tensors = unpack(batch)
        key = (model.training, *((t.shape, t.dtype) for t in tensors))
        if key not in replays:
            replays[key] = record_step(learner, model, batch)
        return replays[key](tensors)

    return compute


def record_step(learner: Learner, model: nn.Module, batch: TaskBatch) -> Callable[[list[Tensor]], Sums]:
    """A function (tensors of the batch) -> (grads, losses, what is kept) that replays the step."""
    held = batch.map(lambda tensor: tensor.detach().clone().requires_grad_(tensor.requires_grad))
    buffers = [*model.buffers(), *learner.buffers()]
    before = [buffer.clone() for buffer in buffers]
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):  # libraries make what they keep, and choose their algorithms
            learner.gradient(model, held, held.num_tasks)
    torch.cuda.current_stream().wait_stream(stream)
    for buffer, value in zip(buffers, before):
        buffer.copy_(value)
    with torch.cuda.graph(graph):
        grads, losses, kept = learner.gradient(model, held, held.num_tasks)

    def replay(tensors: list[Tensor]) -> Sums:
        with torch.no_grad():
            for mine, new in zip(unpack(held), tensors):
                mine.copy_(new, non_blocking=True)
        graph.replay()
        return grads, losses.clone(), {name: value.clone() for name, value in kept.items()}

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
