"""Trained networks that ship with the course: a .safetensors file and a JSON record beside it.

A record says how the numbers came about: command, commit, seed, device, time, score. ``load`` rebuilds the model and
the learner from it, and no file is ever unpickled.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from pathlib import Path

import torch
from torch import nn

from course_lib import models, tasks
from course_lib.algorithms import LEARNERS, Learner
from course_lib.training_state import read_tensors, write_tensors

FOLDER = Path(__file__).parent


def available() -> list[str]:
    """Names of the checkpoints that ship with the course, such as "sinusoid/maml_k1"."""
    return sorted(str(p.relative_to(FOLDER).with_suffix("").as_posix()) for p in FOLDER.glob("**/*.safetensors"))


def save(path: str | os.PathLike, model: nn.Module, learner: Learner, record: dict) -> Path:
    """Write ``path``.safetensors and ``path``.json; ``record`` is completed with how to rebuild model and learner.

    Raises:
        TypeError: the model has no ``config``, so a record could not rebuild it.
    """
    if not hasattr(model, "config"):
        raise TypeError(
            f"a {type(model).__name__} cannot be rebuilt from a record: give it `config`, a dict of its constructor's "
            "arguments, or keep its state_dict yourself"
        )
    record = {
        "model": {"class": type(model).__name__, **model.config},
        "learner": {"class": type(learner).__name__, **learner.settings()},
        **record,
    }
    base = _base(path)
    tensors = {f"model.{n}": t for n, t in model.state_dict().items()}
    tensors |= {f"learner.{n}": t for n, t in learner.state_dict().items()}
    write_tensors(base.with_name(base.name + ".safetensors"), tensors, {})
    base.with_name(base.name + ".json").write_text(json.dumps(record, indent=2) + "\n")
    return base.with_name(base.name + ".safetensors")


def load(name: str | os.PathLike) -> tuple[nn.Module, Learner, dict]:
    """The model, the learner and the record of a shipped checkpoint, or of a path to one.

    Raises:
        FileNotFoundError: there is no such checkpoint; lists those there are.
        ValueError: the file or its record is damaged.

    >>> model, learner, record = load("sinusoid/maml_k1")
    >>> learner.inner_steps
    1
    """
    base = _find(name)
    tensors, _ = read_tensors(base.with_name(base.name + ".safetensors"))
    record = read_record(base)
    model_settings, learner_settings = dict(record["model"]), dict(record["learner"])
    model = getattr(models, model_settings.pop("class"))(**model_settings)
    learner = LEARNERS[learner_settings.pop("class").lower()].from_settings(learner_settings)
    for module, prefix in ((model, "model."), (learner, "learner.")):
        module.load_state_dict({n[len(prefix) :]: t for n, t in tensors.items() if n.startswith(prefix)})
    return model, learner, record


def path_of(name: str | os.PathLike) -> Path:
    """The .safetensors file of a shipped checkpoint, or of a path to one."""
    base = _find(name)
    return base.with_name(base.name + ".safetensors")


def read_record(name: str | os.PathLike) -> dict:
    """The record of a checkpoint alone."""
    base = _find(name)
    path = base.with_name(base.name + ".json")
    try:
        return json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"the record {path.name} beside the checkpoint cannot be read: {error}") from error


def load_tasks(record: dict, **changes):
    """The task family a checkpoint was trained on, with some of its settings changed (``shots=5``).

    Of a network trained on all classes of a pool at once: episodes from that pool.
    """
    settings = {**record["tasks"].get("pool", record["tasks"]), **changes}
    return getattr(tasks, settings.pop("class"))(**settings)


def provenance(command: str, seconds: float) -> dict:
    """Where and how a run was made, for its record."""
    return {
        "command": command,
        "commit": _commit(),
        "seconds": round(seconds, 1),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine() + " CPU",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _commit() -> str:
    """The commit of the code that ran, "+" if it had been changed since; "unknown" outside a checkout."""
    git = ["git", "-C", str(FOLDER), "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _base(path: str | os.PathLike) -> Path:
    """The path without .safetensors or .json."""
    path = Path(path)
    return path.with_suffix("") if path.suffix in (".safetensors", ".json") else path


def _find(name: str | os.PathLike) -> Path:
    for base in (_base(name), FOLDER / _base(name)):
        if base.with_name(base.name + ".safetensors").is_file():
            return base
    known = "\n  ".join(available()) or "(none)"
    raise FileNotFoundError(f"no checkpoint {str(name)!r}. There are:\n  {known}\nor give the path of a .safetensors file")
