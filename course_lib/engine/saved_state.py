"""The whole state of a training run in one file, so that a killed run goes on exactly where it was.

One .safetensors file: the tensors of the model, the learner, the optimiser and the random generator; in its header
the run's description and the losses so far. Written beside the target and renamed, so that it is whole or not there.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn


@dataclass
class History:
    """What happened: the meta-loss of every iteration, the seconds spent, and whether it was interrupted."""

    loss: list[float] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: bool = False

    @property
    def iterations(self) -> int:
        return len(self.loss)


def write_tensors(path: str | os.PathLike, tensors: dict[str, Tensor], header: dict) -> None:
    """Write tensors and a JSON header to ``path`` as safetensors, all or nothing.

    Raises:
        OSError: it cannot be written there.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    cpu = {name: t.detach().to("cpu").contiguous().clone() for name, t in tensors.items()}
    try:
        save_file(cpu, beside, metadata={"header": json.dumps(header)})
        os.replace(beside, path)
    except SafetensorError as error:
        raise OSError(f"{path} cannot be written: {error}") from error
    finally:
        beside.unlink(missing_ok=True)


def read_tensors(path: str | os.PathLike) -> tuple[dict[str, Tensor], dict]:
    """The tensors and the JSON header of a file written by ``write_tensors``.

    Raises:
        ValueError: the file is cut short or is something else.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            return tensors, json.loads((file.metadata() or {}).get("header", "{}"))
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{path} is not a whole .safetensors file ({error}): delete it, and train or fetch it again"
        ) from error


def save_state(path, run: dict, model: nn.Module, learner: nn.Module, optimizer, generator, history: History) -> None:
    """Write everything the next iteration depends on."""
    tensors = {f"model.{n}": t for n, t in model.state_dict().items()}
    tensors |= {f"learner.{n}": t for n, t in learner.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{n}": t for n, t in state.items() if isinstance(t, Tensor)}
    tensors["generator"] = generator.get_state()
    header = {"run": run, "loss": history.loss, "seconds": history.seconds}
    write_tensors(path, tensors, header)


def load_state(path, run: dict, model: nn.Module, learner: nn.Module, optimizer, generator) -> History:
    """Restore what ``save_state`` wrote, into the objects given; returns the history.

    Raises:
        ValueError: the file is damaged, or its run differs from ``run`` (says in what).
    """
    tensors, header = read_tensors(path)
    saved, run = _flat(header.get("run", {})), _flat(json.loads(json.dumps(run)))
    differs = [f"{k}: {saved.get(k)!r} there, {run.get(k)!r} here" for k in saved | run if saved.get(k) != run.get(k)]
    if differs:
        listed = "; ".join(differs)
        raise ValueError(f"{path} holds the state of another run ({listed}): delete it or name another file")
    model.load_state_dict(_under(tensors, "model."))
    learner.load_state_dict(_under(tensors, "learner."))
    states: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _under(tensors, "optimizer.").items():
        index, key = name.split(".", 1)
        states.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
    generator.set_state(tensors["generator"])
    return History(loss=header["loss"], seconds=header["seconds"])


def _flat(run: dict) -> dict:
    """{"shapes": {"head.weight": [1, 40]}} -> {"shapes head.weight": [1, 40]}."""
    flat = {}
    for name, value in run.items():
        flat |= {f"{name} {k}": v for k, v in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}
