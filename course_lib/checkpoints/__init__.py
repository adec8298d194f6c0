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
from torch import Tensor, nn

from course_lib import models, tasks
from course_lib.algorithms import LEARNERS, Learner
from course_lib.engine.saved_state import read_tensors, write_tensors

FOLDER = Path(__file__).parent
UNREADABLE = (AttributeError, KeyError, RuntimeError, TypeError, ValueError)  # what a record that does not fit raises


def available() -> list[str]:
    """Names of the checkpoints that ship with the course, such as "sinusoid/maml_k1"."""
    return sorted(str(p.relative_to(FOLDER).with_suffix("").as_posix()) for p in FOLDER.glob("**/*.safetensors"))


def save(path: str | os.PathLike, model: nn.Module, learner: Learner, record: dict) -> Path:
    """Write ``path``.safetensors and ``path``.json; ``record`` is completed with how to rebuild model and learner.

    Raises:
        TypeError: ``load`` could not rebuild them, being of other classes, losses or shapes than the course's.
    """
    try:
        about = {
            "model": {"class": type(model).__name__, **model.config},
            "learner": {"class": type(learner).__name__, **learner.settings()},
        }
        tensors = {f"model.{n}": t for n, t in model.state_dict().items()}
        tensors |= {f"learner.{n}": t for n, t in learner.state_dict().items()}
        text = json.dumps(about | record | about, indent=2) + "\n"
        again, learner_again = _rebuild(json.loads(text), tensors)
        if (type(again), type(learner_again), learner_again.loss_fn) != (type(model), type(learner), learner.loss_fn):
            raise TypeError("the course has another class or loss of this name")
    except UNREADABLE as error:
        raise TypeError(
            f"load could not rebuild this {type(model).__name__} and {type(learner).__name__} ({error}). A checkpoint "
            "holds a network of course_lib.models, a method of course_lib.algorithms with numbers for its rates and a "
            "loss of course_lib.losses, and a record of JSON values; of all else keep the state_dict yourself"
        ) from error
    base = _base(path)
    write_tensors(base.with_name(base.name + ".safetensors"), tensors, {})
    base.with_name(base.name + ".json").write_text(text)
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
    try:
        return *_rebuild(record, tensors), record
    except UNREADABLE as error:
        raise ValueError(f"the record {base.name}.json does not describe what lies beside it: {error}") from error


def _rebuild(record: dict, tensors: dict[str, Tensor]) -> tuple[nn.Module, Learner]:
    """What ``record`` describes, with the tensors in it; one of ``UNREADABLE`` where they do not fit."""
    model_settings, learner_settings = dict(record["model"]), dict(record["learner"])
    model = getattr(models, model_settings.pop("class"))(**model_settings)
    learner = LEARNERS[learner_settings.pop("class").lower()].from_settings(learner_settings)
    for module, prefix in ((model, "model."), (learner, "learner.")):
        module.load_state_dict({n[len(prefix) :]: t for n, t in tensors.items() if n.startswith(prefix)})
    return model, learner


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
    except (OSError, ValueError) as error:  # ValueError: not JSON, or not even text
        raise ValueError(f"the record {path.name} beside the checkpoint cannot be read: {error}") from error


def task_settings(record: dict) -> dict:
    """Class and settings of the tasks that a checkpoint was trained on; of all classes at once: of their pool.

    Raises:
        ValueError: the record says nothing of tasks.
    """
    trained_on = record.get("tasks")
    settings = trained_on.get("pool", trained_on) if isinstance(trained_on, dict) else None
    if not isinstance(settings, dict) or not hasattr(tasks, str(settings.get("class"))):
        raise ValueError("the record does not say on which tasks of the course the network was trained")
    return settings


def load_tasks(record: dict, **changes):
    """The task family a checkpoint was trained on, with some of its settings changed (``shots=5``).

    Of a network trained on all classes of a pool at once: episodes from that pool.
    """
    settings = {**task_settings(record), **changes}
    return getattr(tasks, settings.pop("class"))(**settings)


def provenance(command: str, seconds: float, device: torch.device | str = "cpu", threads: int | None = None) -> dict:
    """Where and how a run was made, for its record.

    ``threads`` is how many an operation of the training had, where that was not PyTorch's number (``threads_for``).
    """
    kind = torch.device(device).type
    return {
        "command": command,
        "commit": _commit(),
        "seconds": round(seconds, 1),
        "device": torch.cuda.get_device_name(device) if kind == "cuda" else f"{platform.machine()} {kind.upper()}",
        "threads": threads or torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _commit() -> str:
    """The commit of the code that ran, "+" if Python files had been changed since; "unknown" outside a checkout."""
    git = ["git", "-C", str(FOLDER.parent)]
    try:
        asked = [*git, "rev-parse", "--show-toplevel", "HEAD"]
        top, head = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()
        if Path(top).resolve() != FOLDER.parents[1]:  # a copy of the course inside another project's checkout
            return "unknown"
        changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", "*.py"]).returncode
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head[:12] + "+" * bool(changed)


def _base(path: str | os.PathLike) -> Path:
    """The path without .safetensors or .json."""
    path = Path(path)
    return path.with_suffix("") if path.suffix in (".safetensors", ".json") else path


def _find(name: str | os.PathLike) -> Path:
    for base in (_base(name), FOLDER / _base(name)):
        if base.with_name(base.name + ".safetensors").is_file():
            return base
    known = "\n  ".join(available()) or "(none)"
    raise FileNotFoundError(f"no checkpoint {str(name)!r}. There are:\n  {known}\nor give a .safetensors file's path")
