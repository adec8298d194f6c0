"""The whole state of a training run in one file, so that a killed run goes on exactly where it was.

One sealed .safetensors file: the tensors of the model, the learner, the optimiser and the random generators; in its
header the run's description, the optimiser's plain numbers and the losses so far.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from course_lib.engine.files import read_tensors, write_tensors

Generators = torch.Generator | Mapping[str, torch.Generator]  # one alone, or each with its name
TENSOR, NUMBER = "$tensor", "$number"  # in a header: the name of a tensor, and a number that JSON cannot say


@dataclass
class History:
    """What happened: the meta-loss of every iteration, the seconds spent, and whether it was interrupted."""

    loss: list[float] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: bool = False

    @property
    def iterations(self) -> int:
        return len(self.loss)


def describe_run(learner: nn.Module, model: nn.Module, tasks, optimizer: torch.optim.Optimizer) -> dict:
    """What is trained, by what and on what, as JSON values; not where the model starts, since a state says where it
    is."""
    config = getattr(model, "config", None)
    config = config if isinstance(config, dict) else {}
    return {
        "learner": type(learner).__name__,
        "learner_settings": plain_attributes(learner) | learner.settings(),
        "model": type(model).__name__,
        "model_settings": {name: value for name, value in config.items() if name != "seed"},
        "shapes": {n: list(t.shape) for n, t in (*model.named_parameters(), *model.named_buffers())},
        "parts": {name: f"{type(p).__name__}({p.extra_repr()})" for name, p in model.named_modules() if name},
        "frozen": [name for name, p in model.named_parameters() if not p.requires_grad],
        "evaluating": [name for name, part in model.named_modules() if not part.training],
        "tasks": type(tasks).__name__,
        "tasks_settings": tasks.settings() if hasattr(tasks, "settings") else plain_attributes(tasks),
        "optimizer": type(optimizer).__name__,
        "optimizer_settings": optimizer_settings(optimizer),
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


def optimizer_settings(optimizer: torch.optim.Optimizer) -> dict:
    """The settings of a new optimiser, for a run's description; not the rate, which is set at every step."""
    settings = {}
    for number, group in enumerate(optimizer.param_groups):
        prefix = f"group {number} " if len(optimizer.param_groups) > 1 else ""
        settings |= {prefix + name: _plain(v) for name, v in group.items() if name not in ("params", "lr")}
    return settings


def _plain(value):
    """A setting as a JSON value; of what JSON has no word for, its text or at least its class."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        return str(value) if isinstance(value, (float, Tensor)) else type(value).__name__


def save_state(
    path,
    run: dict,
    model: nn.Module,
    learner: nn.Module,
    optimizer: torch.optim.Optimizer,
    generators: Generators,
    history: History,
) -> None:
    """Write everything the next iteration depends on.

    Args:
        run: describes the run in JSON values; ``load_state`` wants the same.
        generators: {name: generator}; ``torch.default_generator`` among them where a module draws (dropout).

    Raises:
        TypeError: the optimiser keeps something besides tensors, numbers, texts, lists and dicts of them.
    """
    tensors = {f"model.{n}": t for n, t in model.state_dict().items()}
    tensors |= {f"learner.{n}": t for n, t in learner.state_dict().items()}
    tensors |= {f"generator.{n}": g.get_state() for n, g in _named(generators).items()}
    kept = optimizer.state_dict()
    groups = [{n: v for n, v in g.items() if n != "params" and not callable(v)} for g in kept["param_groups"]]
    header = {
        "run": run,
        "loss": history.loss,
        "seconds": history.seconds,
        "optimizer": {
            "state": {str(i): _put_away(state, f"optimizer.{i}", tensors) for i, state in kept["state"].items()},
            "groups": _put_away(groups, "optimizer.groups", tensors),
        },
    }
    write_tensors(path, tensors, header)


def load_state(
    path,
    run: dict,
    model: nn.Module,
    learner: nn.Module,
    optimizer: torch.optim.Optimizer,
    generators: Generators,
) -> History:
    """Restore what ``save_state`` wrote, into the objects given; returns the history.

    Raises:
        ValueError: the file is damaged, its run differs from ``run`` (says in what), or it does not fit these objects.
    """
    tensors, header = read_tensors(path)
    states = _under(tensors, "generator.")
    saved = _flat(header.get("run", {}) | {"generators": sorted(states)})
    run = _flat(json.loads(json.dumps(run)) | {"generators": sorted(_named(generators))})
    differs = [f"{k}: {saved.get(k)!r} there, {run.get(k)!r} here" for k in saved | run if saved.get(k) != run.get(k)]
    if differs:
        listed = "; ".join(differs)
        raise ValueError(f"{path} holds the state of another run ({listed}): delete it or name another file")
    try:
        model.load_state_dict(_under(tensors, "model."))
        learner.load_state_dict(_under(tensors, "learner."))
        _restore(optimizer, header["optimizer"], tensors)
        for name, generator in _named(generators).items():
            generator.set_state(states[name])
        return History(loss=header["loss"], seconds=header["seconds"])
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} does not hold the whole state of this run ({type(error).__name__}: {error}): delete it"
        ) from error


def _restore(optimizer: torch.optim.Optimizer, kept: dict, tensors: dict[str, Tensor]) -> None:
    """Bring back an optimiser's state with the exact numbers: PyTorch's own loading would turn whole numbers kept in
    tensors into floats, so it only says on which device each tensor belongs."""
    states = {int(i): _take_out(state, tensors) for i, state in kept["state"].items()}
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for index, state in states.items():
        placed = optimizer.state[parameters[index]]
        for name, value in state.items():
            placed[name] = _to(value, placed[name].device if isinstance(value, Tensor) else parameters[index].device)
    for group, settings in zip(optimizer.param_groups, kept["groups"], strict=True):
        for name, value in _take_out(settings, tensors).items():
            group[name] = tuple(value) if isinstance(group.get(name), tuple) else value


def _put_away(value, name: str, tensors: dict[str, Tensor]):
    """``value`` as JSON; the tensors in it go into ``tensors`` under names that begin with ``name``."""
    if isinstance(value, Tensor):
        tensors[name] = value
        return {TENSOR: name}
    if isinstance(value, float) and not math.isfinite(value):
        return {NUMBER: str(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _put_away(v, f"{name}.{key}", tensors) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_put_away(v, f"{name}.{i}", tensors) for i, v in enumerate(value)]
    raise TypeError(f"the state of a run cannot keep {name}, a {type(value).__name__}: train without state_file")


def _take_out(value, tensors: dict[str, Tensor]):
    """What ``_put_away`` put away."""
    if isinstance(value, dict):
        if TENSOR in value:
            return tensors[value[TENSOR]]
        if NUMBER in value:
            return float(value[NUMBER])
        return {key: _take_out(v, tensors) for key, v in value.items()}
    return [_take_out(v, tensors) for v in value] if isinstance(value, list) else value


def _to(value, device: torch.device):
    """``value`` with the tensors in it on ``device``."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: _to(v, device) for key, v in value.items()}
    return [_to(v, device) for v in value] if isinstance(value, list) else value


def _named(generators: Generators) -> Mapping[str, torch.Generator]:
    return {"tasks": generators} if isinstance(generators, torch.Generator) else generators


def _flat(run: dict) -> dict:
    """{"shapes": {"head.weight": [1, 40]}} -> {"shapes head.weight": [1, 40]}."""
    flat = {}
    for name, value in run.items():
        flat |= {f"{name} {k}": v for k, v in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}
