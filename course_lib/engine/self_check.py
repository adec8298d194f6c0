"""Looked at once, at the first step of a run: do the networks of many tasks at once compute what the plain module does,
and does the inner loop explode?"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

from course_lib.algorithms.base import Learner
from course_lib.engine.any_module import ONE_BY_ONE, TOGETHER, kinds, set_buffers, take_one_by_one
from course_lib.engine.run import modes
from course_lib.inner_loop import Params, predict, stack_params
from course_lib.tasks.base import TaskBatch

EXPLODED = 1000
GRADIENTS = "gradients differ"
Compared = tuple[Tensor, list[Tensor]]  # outputs [T, N, ...] and the gradients of a weighed sum of them


def check_predict(model: nn.Module, x: Tensor) -> None:
    """Compare ``predict`` and its gradient with ``model``'s own, on up to two tasks of x [T, N, ...] whose parameters
    differ a little. What disagrees under vmap is taken one task after another from then on.

    Gradients in float32 may disagree by chance: what rounding decides may put a whole plain background on the other
    side of a ReLU. Float64 then says which it is. The model, its buffers and the state of PyTorch's random numbers are
    left as they were.

    Raises:
        ValueError: they disagree all the same, so that training would silently compute something else than the model.
    """
    x, generator = x[:2].detach(), torch.Generator().manual_seed(0)
    params = {name: _near(p, len(x), generator) for name, p in model.named_parameters()}
    buffers = [buffer.clone() for buffer in model.buffers()]
    with torch.random.fork_rng(devices=[x.device] if x.device.type == "cuda" else []), without_tf32():
        first, again = (_plainly(model, params, x, buffers, seed) for seed in (0, 1))
        predict(model, params, x)  # in this mode it is known from now on how each part takes its tasks
        random = not _same(first[0], again[0])
        with modes(model, training=False) if random else nullcontext():  # compared without dropout
            plain = _plainly(model, params, x, buffers, 0) if random else first

            def difference() -> str:
                found = _difference(plain, model, params, x, buffers)
                by_chance = found.startswith(GRADIENTS) and not _difference_in_float64(model, params, x, buffers)
                return "" if by_chance else found

            problem = difference()
            if problem:
                at_fault, left = _at_fault(model, difference)
                for part in at_fault:
                    take_one_by_one(part, problem)
                problem = left
    set_buffers(model, buffers)
    if problem:
        raise ValueError(
            f"for many tasks at once {type(model).__name__} computes something else than it does for one: {problem}. "
            "Nothing was trained. A model may keep state in its parameters and buffers alone, its output for a point "
            "may depend on the points of the same task but on nothing else, and it must differentiate twice"
        )


@torch.no_grad()
def warn_of_explosion(learner: Learner, model: nn.Module, batch: TaskBatch, loss: Tensor) -> None:
    """A warning where gradient steps make the first meta-batch's loss ``EXPLODED`` times what it was without them."""
    if learner.head is not None or type(learner).start is not Learner.start:
        return
    buffers = [buffer.clone() for buffer in model.buffers()]
    with torch.random.fork_rng(devices=[loss.device] if loss.device.type == "cuda" else []):
        before = learner.judge(model, stack_params(model, batch.num_tasks), batch).mean()
    set_buffers(model, buffers)
    if not loss <= EXPLODED * before:  # a NaN is not
        warnings.warn(
            f"the inner loop explodes: without it the first meta-batch's loss is {float(before):.3g}, after it "
            f"{float(loss):.3g}. Numbers that follow mean nothing: try a smaller inner_lr ({learner.describe()})",
            stacklevel=3,
        )


@contextmanager
def without_tf32() -> Iterator[None]:
    """Inside, a GPU computes float32 in full. Rounded to TF32 in one form and not in the other, a number may fall on
    the other side of a ReLU or a pooling, and gradients differ by more than rounding."""
    kinds = (torch.backends.cudnn.conv, torch.backends.cudnn.rnn, torch.backends.cuda.matmul)
    before = [kind.fp32_precision for kind in kinds]
    for kind in kinds:
        kind.fp32_precision = "ieee"
    try:
        yield
    finally:
        for kind, precision in zip(kinds, before):
            kind.fp32_precision = precision


def _at_fault(model: nn.Module, difference: Callable[[], str]) -> tuple[list[nn.Module], str]:
    """The parts that vmap gets wrong, one if it is one, else all that it serves; or none, and what differs without."""
    parts = {kinds(part): part for part in model.modules() if kinds(part) in TOGETHER}
    for suspects in [*([kind] for kind in parts), list(parts)]:
        ONE_BY_ONE.update(suspects)
        left = difference()
        ONE_BY_ONE.difference_update(suspects)
        if not left:
            return [parts[kind] for kind in suspects], ""
    return [], left


def _difference(plain: Compared, model: nn.Module, params: Params, x: Tensor, buffers: list[Tensor]) -> str:
    """In what ``predict`` differs, in words; "" if in nothing."""
    set_buffers(model, buffers)
    leaves = [p for p in params.values() if p.requires_grad]
    try:
        with torch.enable_grad():
            outputs = predict(model, params, x)
        gradients = _gradients(outputs, leaves)
    except RuntimeError as error:
        return (str(error).strip() or repr(error)).splitlines()[0][:200]
    if plain[0].shape != outputs.shape:
        return f"outputs of shape {list(outputs.shape)} instead of {list(plain[0].shape)}"
    if not _same(plain[0], outputs):
        return f"outputs differ by up to {(plain[0] - outputs).abs().max():.2g}"
    scale = max((g.abs().max().item() for g in plain[1]), default=0.0)  # that of a bias before a norm is rounding alone
    far = [(a - b).abs().max().item() for a, b in zip(plain[1], gradients) if not _same(a, b, scale)]
    return f"{GRADIENTS} by up to {max(far):.2g}" if far else ""


def _difference_in_float64(model: nn.Module, params: Params, x: Tensor, buffers: list[Tensor]) -> str:
    """``_difference`` of a copy in float64; what keeps the model from it, where something does."""
    double = lambda tensor: tensor.double() if tensor.is_floating_point() else tensor
    try:
        model, x, buffers = copy.deepcopy(model).double(), double(x), [double(buffer) for buffer in buffers]
        params = {name: p.detach().double().requires_grad_(p.requires_grad) for name, p in params.items()}
        return _difference(_plainly(model, params, x, buffers, 0), model, params, x, buffers)
    except (RuntimeError, TypeError) as error:  # it cannot be copied, or asks for float32
        return str(error) or repr(error)


def _near(parameter: Tensor, num_tasks: int, generator: torch.Generator) -> Tensor:
    """``num_tasks`` copies [T, ...], each a few per cent away."""
    noise = torch.randn(num_tasks, *parameter.shape, generator=generator).to(parameter)
    near = parameter.detach() + 0.03 * parameter.detach().abs().mean() * noise
    return near.requires_grad_(parameter.requires_grad)


def _plainly(model: nn.Module, params: Params, x: Tensor, buffers: list[Tensor], seed: int) -> Compared:
    """The model itself, its parameters set in place to each task's in turn."""
    own = dict(model.named_parameters())
    before = {name: p.detach().clone() for name, p in own.items()}
    leaves = [p for p in own.values() if p.requires_grad]
    outputs, gradients = [], []
    try:
        for task, task_x in enumerate(x):
            set_buffers(model, buffers)
            _set(own, {name: p[task] for name, p in params.items()})
            torch.manual_seed(seed)
            with torch.enable_grad():
                outputs.append(model(task_x))
            gradients.append(_gradients(outputs[-1][None], leaves))
    finally:
        _set(own, before)
        set_buffers(model, buffers)
    return torch.stack(outputs).detach(), [torch.stack(task) for task in zip(*gradients)]


@torch.no_grad()
def _set(own: dict[str, nn.Parameter], values: dict[str, Tensor]) -> None:
    for name, parameter in own.items():
        parameter.copy_(values[name])


def _gradients(outputs: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    """Of a sum of the outputs [T, ...] in which each counts differently, the same in every task."""
    weights = torch.cos(torch.arange(outputs[0].numel(), device=outputs.device)).view(outputs.shape[1:])
    total = (outputs * weights).sum()
    if not (leaves and total.requires_grad):
        return []
    return list(torch.autograd.grad(total, leaves, materialize_grads=True))


def _same(a: Tensor, b: Tensor, scale: float | None = None) -> bool:
    """Whether a and b agree to what their precision allows, beside ``scale`` (None: the largest of a)."""
    if a.shape != b.shape:
        return False
    tolerance = 1e-9 if a.dtype == torch.float64 else 2e-3
    scale = a.abs().max().item() if scale is None else scale
    return torch.allclose(a, b, rtol=tolerance, atol=tolerance * scale, equal_nan=True)
