"""Anyone's module as the network of many tasks: called with other parameters, one task after another if need be, and
what it must be for its head to be solved for.

``inner_loop.predict`` comes here for what fast_layers.py has no rule for.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from course_lib.validation import tracing

Params = dict[str, Tensor]


def each_task(module: nn.Module, params: Params, x: Tensor) -> Tensor:
    """The plain module on each task with that task's parameters: x [T, N, ...] -> [T, N, ...]."""
    made_of = kinds(module)
    if len(x) == 1 or made_of in ONE_BY_ONE:
        return one_by_one(module, params, x)
    before = [buffer.clone() for buffer in module.buffers()]
    try:
        if made_of in TOGETHER:  # one module of a class may do what another, or itself in another mode, does not
            return together(module, params, x)
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "There is a performance drop")  # vmap would loop too, and warn each time
            outputs = together(module, params, x)
        TOGETHER.add(made_of)
        return outputs
    except (RuntimeError, UserWarning) as error:
        reason = (str(error).strip() or repr(error)).splitlines()[0][:200]
    set_buffers(module, before)  # as if it had not been tried
    outputs = one_by_one(module, params, x)
    take_one_by_one(module, reason)
    return outputs


TOGETHER: set[frozenset[type]] = set()  # what modules that vmap serves are made of
ONE_BY_ONE: set[frozenset[type]] = set()  # and those it does not: recurrent layers, an `if` on values, ...


def kinds(module: nn.Module) -> frozenset[type]:
    """The classes of a module and all its parts: an nn.Sequential with an LSTM in it says nothing of the others."""
    return frozenset(map(type, module.modules()))


def take_one_by_one(module: nn.Module, reason: str) -> None:
    """From now on modules made of the same classes take their tasks one after another; it is told once."""
    TOGETHER.discard(kinds(module))
    ONE_BY_ONE.add(kinds(module))
    name = type(module).__name__
    warnings.warn(f"{name} takes its tasks one after another: the same numbers, slower ({reason})", stacklevel=3)


def together(module: nn.Module, params: Params, x: Tensor) -> Tensor:
    """``each_task`` by vmap; dropout draws anew for each task."""
    return vmap(lambda p, x: call_with(module, p, x), randomness="different")(params, x)


def one_by_one(module: nn.Module, params: Params, x: Tensor) -> Tensor:
    """``each_task`` as a loop. Buffers that a forward pass moves end as the mean over the tasks."""
    tasks = zip(*(p.unbind() for p in params.values())) if params else ((),) * len(x)
    outputs, ends = [], []
    for values, task_x in zip(tasks, x.unbind()):
        buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
        outputs.append(call_with(module, dict(zip(params, values)), task_x, buffers))
        ends.append(list(buffers.values()))
    set_buffers(module, *ends)
    return torch.stack(outputs)


def child_params(params: Params) -> defaultdict[str, Params]:
    """The parameters of each child module, its name stripped: "head.weight" is "weight" of "head"."""
    children = defaultdict(dict)
    for name, p in params.items():
        child, _, inside = name.partition(".")
        children[child][inside] = p
    return children


def hooked(module: nn.Module) -> bool:
    """Whether calling ``module`` does more than its class's ``forward``."""
    return bool(module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module))


def call_with(module: nn.Module, params: dict[str, Tensor], x: Tensor, buffers: dict[str, Tensor] = {}) -> Tensor:
    """``module(x)`` with other tensors in the places of its parameters and buffers, by name.

    As ``torch.func.functional_call``, but right for a module that stands in several places; attention is computed in
    the form that can be differentiated twice. A buffer that the forward pass replaces is replaced in ``buffers``.

    Raises:
        RuntimeError: a buffer is replaced that is not in ``buffers``.
    """
    new = {id(p): params[name] for name, p in module.named_parameters()}
    names = {id(b): name for name, b in module.named_buffers()}
    new |= {tensor: buffers[name] for tensor, name in names.items() if name in buffers}
    kept = [part.__dict__[kind] for part in module.modules() for kind in ("_parameters", "_buffers")]
    before = [(where, dict(where)) for where in kept if where]
    with plain_attention():
        try:
            for where, tensors in before:
                where.update((name, new.get(id(tensor), tensor)) for name, tensor in tensors.items())
            outputs = module(x)
            for where, tensors in before:
                for key, tensor in tensors.items():
                    if id(tensor) in names and where[key] is not new.get(id(tensor), tensor):
                        if names[id(tensor)] not in buffers:
                            raise RuntimeError(f"the buffer {names[id(tensor)]} is replaced in a forward pass")
                        buffers[names[id(tensor)]] = where[key].detach()
            return outputs
        finally:
            for where, tensors in before:
                where.update(tensors)


@contextmanager
def plain_attention() -> Iterator[None]:
    """Inside, attention takes no fused kernel: those have no second derivative, or none under vmap."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@torch.no_grad()
def set_buffers(module: nn.Module, *ends: Sequence[Tensor], shares: Sequence[float] | None = None) -> None:
    """Make the module's buffers the mean of where several passes left them, weighed by ``shares`` (else equally)."""
    shares = shares or [1 / len(ends)] * len(ends)
    for buffer, first, *others in zip(module.buffers(), *ends):
        if buffer.is_floating_point() and others:  # as a distance from the first: equal ones stay what they are
            apart = (torch.where(value == first, 0, value - first) for value in others)  # infinite ones too
            first = first + sum(share * distance for share, distance in zip(shares[1:], apart))
        buffer.copy_(first if buffer.is_floating_point() or not others else others[-1])


def is_chain(model: nn.Module) -> bool:
    """Whether its outputs are head(features(x)) by the way it is built."""
    chain = type(model).forward is nn.Sequential.forward and list(model._modules) == ["features", "head"]
    return chain and not hooked(model)


ON_TOP: WeakSet[nn.Module] = WeakSet()  # models of which ``check_head_on_top`` has been seen to hold


@torch.no_grad()
def check_head_on_top(model: nn.Module, x: Tensor) -> None:
    """A TypeError if ``model``'s outputs are not head(features(x)) with a plain linear head, tried once on the first
    of x [T, N, ...], with other parameters than it has: a head is solved for on top of the features, so nothing may
    stand between them or behind."""
    if type(model.head) is not nn.Linear or hooked(model.head):
        raise TypeError(
            f"a head that is solved for is one plain nn.Linear, but this model's is a {type(model.head).__name__}"
            f"{' with hooks' if hooked(model.head) else ''}; use a method of gradient steps (MAML, ANIL)"
        )
    if is_chain(model) or model in ON_TOP or tracing():
        return
    before = [buffer.clone() for buffer in model.buffers()]
    generator = torch.Generator().manual_seed(0)
    params = {n: p + torch.randn(p.shape, generator=generator).to(p) / 30 for n, p in model.named_parameters()}
    gpus = [x.device] if x.device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        whole = call_with(model, params, x[0])
    set_buffers(model, before)
    with torch.random.fork_rng(devices=gpus):  # dropout draws the same twice
        z = call_with(model.features, child_params(params)["features"], x[0])
        parts = call_with(model.head, child_params(params)["head"], z)
    set_buffers(model, before)
    if whole.shape != parts.shape or not torch.allclose(whole, parts, rtol=1e-4, atol=1e-6):
        raise TypeError(
            f"this head is solved for on top of the features, but the outputs of {type(model).__name__} are not "
            "head(features(x)): move what stands between the two, or between the input and the features, into "
            "`features`, and what stands behind the head into the loss; or use a method of gradient steps (MAML, ANIL)"
        )
    ON_TOP.add(model)
