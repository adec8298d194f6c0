"""Trained networks that ship with the course, each one .safetensors file with its record inside.

A record says how the numbers came about: command, commit, seed, device, time, score. Weights and record are one file
under one digest, so neither can change alone, and no file is ever unpickled. ``load`` rebuilds model and learner;
`python -m course_lib doctor NAME` prints a record.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from course_lib import tasks
from course_lib.algorithms import LEARNERS, Learner
from course_lib.engine.files import read_tensors, write_tensors
from course_lib.models import MLP, Conv4

FOLDER = Path(__file__).parent
LONGEST_NAME = 200  # characters; most file systems take 255 bytes, some of which are for what is put at its end
# The names that a record may hold; no other name in it is ever looked up.
MODELS = {cls.__name__: cls for cls in (MLP, Conv4)}
TASKS = {cls.__name__: cls for cls in (tasks.SinusoidTasks, tasks.OmniglotTasks, tasks.GlyphTasks)}
UNREADABLE = (AttributeError, KeyError, RuntimeError, TypeError, ValueError)  # what a record that does not fit raises


def available() -> list[str]:
    """Names of the checkpoints that ship with the course, such as "sinusoid/maml_k1"."""
    return sorted(str(p.relative_to(FOLDER).with_suffix("").as_posix()) for p in FOLDER.glob("**/*.safetensors"))


def save(path: str | os.PathLike, model: nn.Module, learner: Learner, record: dict) -> Path:
    """Write ``path``.safetensors, all or nothing; ``record`` is completed with how to rebuild model and learner.

    Raises:
        TypeError: ``load`` could not rebuild them, being of other classes, losses or shapes than the course's.
        ValueError: the record holds a number that is not finite (says where), or ``path`` names no file.
        OSError: it cannot be written there.
    """
    if odd := list(_not_finite(record)):
        raise ValueError(
            f"the checkpoint {path} was not written: of its record {', '.join(odd)} is not a finite number. Such a "
            "score is that of a network that explodes as it adapts: train with a smaller inner_lr, judge it with fewer "
            "steps; a number that is missing is None"
        )
    try:
        about = {
            "model": {"class": type(model).__name__, **model.config},
            "learner": {"class": type(learner).__name__, **learner.settings()},
        }
        tensors = {f"model.{n}": t for n, t in model.state_dict().items()}
        tensors |= {f"learner.{n}": t for n, t in learner.state_dict().items()}
        record = json.loads(json.dumps(about | record | about, allow_nan=False))
        again, learner_again = _rebuild(record, tensors)
        if _identity(again, learner_again) != _identity(model, learner):
            raise TypeError("another class, loss or layer would come back, or other parameters would be free to move")
    except UNREADABLE as error:
        raise TypeError(
            f"load could not rebuild this {type(model).__name__} and {type(learner).__name__} ({error}). A checkpoint "
            "holds a network of course_lib.models, a method of course_lib.algorithms with numbers for its rates and a "
            "loss of course_lib.losses, and a record of JSON values; of all else keep the state_dict yourself"
        ) from error
    file = file_at(path)
    write_tensors(file, tensors, record)
    return file


def load(name: str | os.PathLike) -> tuple[nn.Module, Learner, dict]:
    """The model, the learner and the record of a shipped checkpoint, or of a path to one.

    The name of a shipped checkpoint always means that one; a file of yours of the same path is "./sinusoid/maml_k1".
    Parameters come back as they were kept, or in PyTorch's default dtype where that is wider.

    Raises:
        FileNotFoundError: there is no such checkpoint; lists those there are.
        ValueError: the file is damaged, or is no checkpoint.

    >>> model, learner, record = load("sinusoid/maml_k1")
    >>> learner.inner_steps
    1
    """
    file = path_of(name)
    tensors, record = read_tensors(file)
    try:
        return *_rebuild(record, tensors), record
    except UNREADABLE as error:
        raise ValueError(f"the record in {file.name} does not describe the tensors beside it: {error}") from error


def _identity(model: nn.Module, learner: Learner) -> tuple:
    """What a record must bring back besides the values of tensors."""
    loss, frozen = learner.loss_fn, [name for name, p in model.named_parameters() if not p.requires_grad]
    loss = getattr(loss, "func", loss), getattr(loss, "keywords", {})
    return type(model), repr(model), frozen, type(learner), learner.only, loss


def _rebuild(record: dict, tensors: dict[str, Tensor]) -> tuple[nn.Module, Learner]:
    """What ``record`` describes, with the tensors in it; one of ``UNREADABLE`` where they do not fit."""
    model_settings, learner_settings = dict(record["model"]), dict(record["learner"])
    model = _known(MODELS, model_settings.pop("class"))(**model_settings)
    learner = _known(LEARNERS, learner_settings.pop("class").lower()).from_settings(learner_settings)
    for module, prefix in ((model, "model."), (learner, "learner.")):
        kept = {n[len(prefix) :]: t for n, t in tensors.items() if n.startswith(prefix)}
        for name, own in module.state_dict().items():
            if (
                name in kept
                and kept[name].dtype != own.dtype
                and not (kept[name].is_floating_point() and own.is_floating_point())
            ):
                raise TypeError(f"{prefix}{name} holds {kept[name].dtype} where numbers like {own.dtype} belong")
        module.load_state_dict(kept, assign=True)
        if torch.get_default_dtype() == torch.float64:  # then so are tasks and everything else
            module.double()
    return model, learner


def _known(names: dict, name: str):
    if name not in names:
        raise ValueError(f"{name!r} is none of {', '.join(names)}")
    return names[name]


def _not_finite(value, where: str = "") -> Iterator[str]:
    """Where in a record there is a NaN or an infinity: "score.mean.2"."""
    if isinstance(value, float) and not math.isfinite(value):
        yield where
    elif isinstance(value, (dict, list, tuple)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _not_finite(inner, f"{where}.{key}" if where else str(key))


def path_of(name: str | os.PathLike) -> Path:
    """The file of a shipped checkpoint, or of a path to one.

    Raises:
        FileNotFoundError: there is none; lists those that ship.
    """
    shipped = available()
    if str(name) in shipped:
        file, here = FOLDER / f"{name}.safetensors", Path(f"{name}.safetensors")
        if here.is_file() and not here.samefile(file):
            warnings.warn(f'"{name}" is the checkpoint that ships; the file here is "./{name}"', stacklevel=3)
        return file
    try:
        file = file_at(name)
        if file.is_file():
            return file
    except (OSError, ValueError):  # a name that no file can have
        pass
    said = repr(str(name)) if len(str(name)) < 200 else f"of a name of {len(str(name))} characters"
    known = "\n  ".join(shipped) or "(none)"
    raise FileNotFoundError(f"no checkpoint {said}. There are:\n  {known}\nor give a .safetensors file's path")


def file_at(path: str | os.PathLike) -> Path:
    """The path with .safetensors at its end.

    Raises:
        ValueError: it names no file, or with more letters than a file's name can have.
    """
    path = Path(path)
    if not path.name:
        raise ValueError(f"a checkpoint needs a file's name, which {str(path)!r} is not")
    if len(path.name) > LONGEST_NAME:
        raise ValueError(f"a file's name of {len(path.name)} characters is too long: {LONGEST_NAME} at most")
    return path if path.suffix == ".safetensors" else path.with_name(path.name + ".safetensors")


def read_record(name: str | os.PathLike) -> dict:
    """The record of a checkpoint alone; raises as ``load`` does."""
    return read_tensors(path_of(name))[1]


def fingerprint(name: str | os.PathLike) -> str:
    """What tells a checkpoint's weights from any others, whatever its record says: 12 hexadecimal digits."""
    sha = hashlib.sha256()
    for key, tensor in sorted(read_tensors(path_of(name))[0].items()):
        sha.update(f"{key} {tensor.dtype} {list(tensor.shape)}".encode() + tensor.numpy().tobytes())
    return sha.hexdigest()[:12]


def task_settings(record: dict) -> dict:
    """Class and settings of the tasks that a checkpoint was trained on; of all classes at once: of their pool.

    Raises:
        ValueError: the record says nothing of tasks.
    """
    trained_on = record.get("tasks")
    settings = trained_on.get("pool", trained_on) if isinstance(trained_on, dict) else None
    if not isinstance(settings, dict) or str(settings.get("class")) not in TASKS:
        raise ValueError("the record does not say on which tasks of the course the network was trained")
    return settings
