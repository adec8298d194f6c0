"""Checkpoints and the command line."""

import math
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from course_lib import checkpoints
from course_lib.__main__ import main
from course_lib.algorithms import MAML
from course_lib.analysis.memory import CheckpointedMAML
from course_lib.engine import provenance
from course_lib.engine.files import read_tensors, write_tensors
from course_lib.losses import cross_entropy
from course_lib.models import MLP
from tests.faults import flip_a_bit, no_file_over


@pytest.fixture
def saved(tmp_path):
    model, learner = MLP(hidden=(8,), seed=3), MAML(inner_steps=2, inner_lr=0.05)
    path = checkpoints.save(tmp_path / "small_alpha_0.05", model, learner, {"note": "a test"})
    return path, model


def test_a_checkpoint_brings_back_model_learner_and_record(saved):
    path, model = saved
    for name in (path, path.with_suffix("")):
        loaded, learner, record = checkpoints.load(name)
        assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), model.parameters(), strict=True))
        assert (learner.inner_steps, learner.inner_lr, record["note"]) == (2, 0.05, "a test")


def test_an_unknown_checkpoint_gets_the_list_of_known_ones():
    with pytest.raises(FileNotFoundError, match="no checkpoint 'sinusoid/maml_k99'. There are:\n  "):
        checkpoints.load("sinusoid/maml_k99")


@pytest.mark.trust("a file of tensors damaged anywhere")
def test_a_truncated_checkpoint_is_named(saved):
    path, _ = saved
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="not a whole .safetensors file"):
        checkpoints.load(path)


MLP_OF_8, PLAIN = {"class": "MLP", "hidden": [8]}, {"class": "MAML", "loss_fn": "mse"}


@pytest.mark.trust("a checkpoint whose record names a class, loss or size that is not its own")
@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({}, "'model'"),
        ([], "indices must be"),
        ({"model": {"class": "Transformer"}, "learner": PLAIN}, "'Transformer' is none of MLP, Conv4"),
        ({"model": {"class": "seeded"}, "learner": PLAIN}, "'seeded' is none of"),  # models.seeded
        ({"model": {"class": ["MLP"]}, "learner": PLAIN}, "unhashable"),
        ({"model": MLP_OF_8, "learner": {"class": "SGD", "loss_fn": "mse"}}, "'sgd' is none of maml"),
        ({"model": MLP_OF_8, "learner": PLAIN | {"loss_fn": "accuracy"}}, "'accuracy' is not one of course_lib.losses"),
        ({"model": MLP_OF_8 | {"depth": 3}, "learner": PLAIN}, "depth"),
        ({"model": {"class": "MLP"}, "learner": PLAIN}, "size"),
    ],
)
def test_a_record_that_does_not_fit_is_named(saved, record, message):
    path, _ = saved
    write_tensors(path, read_tensors(path)[0], record)
    with pytest.raises(ValueError, match=f"(?s)record in small_alpha_0.05.safetensors does not describe.*{message}"):
        checkpoints.load(path)


@pytest.mark.trust("a checkpoint whose record names a class, loss or size that is not its own")
def test_whole_numbers_do_not_pass_for_weights(saved):
    path, _ = saved
    tensors, record = read_tensors(path)
    write_tensors(path, {name: tensor.to(torch.int8) for name, tensor in tensors.items()}, record)
    with pytest.raises(ValueError, match="model.features.0.weight holds torch.int8 where numbers like torch.float32"):
        checkpoints.load(path)


def test_a_network_in_float64_comes_back_in_float64(tmp_path):
    model = MLP(hidden=(8,), seed=3).double()
    path = checkpoints.save(tmp_path / "double", model, MAML(), {})
    loaded, _, _ = checkpoints.load(path)
    for before, after in zip(model.parameters(), loaded.parameters(), strict=True):
        assert after.dtype == torch.float64 and after.requires_grad and torch.equal(before, after)


@pytest.mark.trust("a checkpoint with one bit flipped", cases=300, long=3000)
def test_checkpoints_with_one_bit_flipped_are_all_refused(saved, cases):
    path, _ = saved
    whole, refused = path.read_bytes(), 0
    for seed in range(cases):
        flip_a_bit(path, seed)
        with pytest.raises(ValueError, match="not a whole .safetensors file"):
            checkpoints.load(path)
        path.write_bytes(whole)
        refused += 1
    assert refused == cases and checkpoints.load(path)


@pytest.mark.trust("a disk that is full half-way through a write")
def test_a_write_that_breaks_off_leaves_the_checkpoint_that_was_there(saved):
    """No file may grow over 500 bytes, as on a full disk: weights and record stay those of one run."""
    path, model = saved
    before = path.read_bytes()
    with no_file_over(500), pytest.raises(OSError, match="File too large"):
        checkpoints.save(path, MLP(hidden=(9,)), MAML(inner_steps=7), {"note": "of another run"})
    assert path.read_bytes() == before and [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.trust("an odd name for a checkpoint")
@pytest.mark.parametrize("name", ["", ".", "..", "x" * 5000, "a/" * 2500, "\0", "~nobody-of-this-name/x", "sinusoid"])
def test_odd_names_get_the_list_of_checkpoints(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="no checkpoint .*There are:\n  ") as told:
        checkpoints.load(name)
    assert len(str(told.value)) < 3000


@pytest.mark.trust("a file of the reader's with the name of a shipped checkpoint")
def test_the_name_of_a_shipped_checkpoint_means_that_one_wherever_one_stands(saved, tmp_path, monkeypatch):
    path, model = saved
    monkeypatch.chdir(tmp_path)
    Path("sinusoid").mkdir()
    shutil.copy(path, "sinusoid/maml_k1.safetensors")
    with pytest.warns(UserWarning, match='is the checkpoint that ships; the file here is "./sinusoid/maml_k1"'):
        assert checkpoints.load("sinusoid/maml_k1")[2]["training"]["iterations"] == 70_000
    for mine in ("./sinusoid/maml_k1", "sinusoid/maml_k1.safetensors", tmp_path / "sinusoid/maml_k1"):
        assert checkpoints.load(mine)[2]["note"] == "a test"


@pytest.mark.trust("a record that holds NaN or infinity")
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_record_with_a_number_that_is_none_is_not_written(tmp_path, number):
    with pytest.raises(ValueError, match="score.mean.1, seconds is not a finite number.*smaller inner_lr"):
        checkpoints.save(tmp_path / "x", MLP(), MAML(), {"score": {"mean": [1.0, number]}, "seconds": number})
    assert not list(tmp_path.iterdir())


def mse(outputs, targets):
    """A student's own loss, of a name that the course has, too."""
    return (outputs - targets).abs().flatten(1).mean(1)


class Net(MLP):
    """A student's own network."""


def widened() -> MLP:
    model = MLP()
    model.head = torch.nn.Linear(40, 2)
    return model


def curved() -> MLP:
    model = MLP()
    model.features[1] = torch.nn.Tanh()
    return model


def half_frozen() -> MLP:
    model = MLP()
    model.features.requires_grad_(False)
    return model


def of_the_head() -> MAML:
    learner = MAML()
    learner.only = "head"
    return learner


@pytest.mark.parametrize(
    ("model", "learner", "record"),
    [
        (torch.nn.Sequential(), MAML(), {}),
        (curved(), MAML(), {}),
        (half_frozen(), MAML(), {}),
        (MLP(), of_the_head(), {}),
        (MLP(), MAML(loss_fn=partial(mse, weight=2.0)), {}),
        (Net(), MAML(), {}),
        (type("MLP", (MLP,), {})(), MAML(), {}),
        (widened(), MAML(), {}),
        (MLP(), CheckpointedMAML(), {}),
        (MLP(), MAML(loss_fn=mse), {}),
        (MLP(), MAML(loss_fn=lambda outputs, targets: mse(outputs, targets)), {}),
        (MLP(), MAML(inner_lr=torch.nn.Parameter(torch.tensor(0.1))), {}),
        (MLP(), MAML(), {"score": torch.ones(2)}),
    ],
)
def test_what_load_could_not_rebuild_is_not_saved(tmp_path, model, learner, record):
    with pytest.raises(TypeError, match="(?s)load could not rebuild this.*keep the state_dict yourself"):
        checkpoints.save(tmp_path / "x", model, learner, record)
    assert not list(tmp_path.iterdir())


def test_a_loss_with_a_setting_comes_back(tmp_path):
    learner = MAML(loss_fn=partial(cross_entropy, label_smoothing=0.1))
    again = checkpoints.load(checkpoints.save(tmp_path / "x", MLP(1, (4,), 3), learner, {}))[1]
    assert (again.loss_fn.func, again.loss_fn.keywords) == (cross_entropy, {"label_smoothing": 0.1})


@pytest.mark.trust("a checkpoint whose record names a class, loss or size that is not its own")
def test_the_record_of_another_checkpoint_does_not_describe_this_one(saved):
    path, _ = saved
    _, _, record = checkpoints.load(path)
    checkpoints.save(path, MLP(hidden=(5,)), MAML(inner_steps=7), record)
    model, learner, record = checkpoints.load(path)
    assert (model.head.in_features, learner.inner_steps, record["note"]) == (5, 7, "a test")


@pytest.mark.parametrize("tasks", [None, {}, {"class": "Tasks"}, "sinusoids"])
def test_without_its_tasks_a_checkpoint_cannot_be_judged_but_says_so(saved, tasks, capsys):
    path, _ = saved
    tensors, record = read_tensors(path)
    write_tensors(path, tensors, record | ({} if tasks is None else {"tasks": tasks}))
    assert main(["evaluate", str(path)]) == 1
    assert "does not say on which tasks" in capsys.readouterr().err


def test_a_commit_is_the_courses_own_or_unknown(tmp_path, monkeypatch):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=A", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "of another project"], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
    monkeypatch.setattr(provenance, "FOLDER", tmp_path / "course_lib" / "engine")
    provenance.FOLDER.mkdir(parents=True)
    assert provenance.provenance("train", 1.0)["commit"] == head[:12]
    monkeypatch.setattr(provenance, "FOLDER", tmp_path / "copy" / "course_lib" / "engine")
    provenance.FOLDER.mkdir(parents=True)
    assert provenance.provenance("train", 1.0)["commit"] == "unknown"


@pytest.mark.parametrize("command", ["train", "evaluate", "league", "data", "doctor"])
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0 and f"usage: python -m course_lib {command}" in capsys.readouterr().out


def test_a_record_names_the_device_and_threads_that_were_used_not_those_that_are_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device}")
    record = provenance.provenance("train", 1.0)
    assert record["device"].endswith(" CPU") and record["threads"] == torch.get_num_threads()
    record = provenance.provenance("train", 1.0, "cuda:1", 7)
    assert record["device"] == "GPU cuda:1" and record["threads"] == 7


@pytest.mark.parametrize("name", checkpoints.available())
def test_every_shipped_checkpoint_loads_and_says_how_it_was_made(name):
    model, learner, record = checkpoints.load(name)
    assert all(p.isfinite().all() for p in model.parameters())
    assert record["command"].startswith("python -m course_lib train ")
    assert {"commit", "seconds", "device", "torch", "score", "training", "tasks"} <= set(record)
    assert (checkpoints.FOLDER / f"{name}.safetensors").stat().st_size < 1_000_000


SLEEPER = """
import sys, time
from course_lib.engine.files import only_writer
with only_writer(sys.argv[1]):
    print("inside", flush=True)
    time.sleep(600)
"""


@pytest.mark.trust("two processes that write one output", cases=2)
def test_the_second_of_two_runs_with_one_output_is_told_so_and_a_dead_one_is_in_nobodys_way(tmp_path, capsys):
    out = tmp_path / "maml"
    command = ["train", "sinusoid", "--iterations", "2", "--out", str(out)]
    with subprocess.Popen([sys.executable, "-c", SLEEPER, f"{out}.safetensors"], stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"inside\n"
        for again in (command, [*command[:-1], f"{out}.safetensors"]):
            assert main(again) == 1
            assert f"is being written by another run (process {other.pid})" in capsys.readouterr().err
        other.kill()
    assert main(command) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["maml.safetensors"]


@pytest.mark.trust("a run that is killed between its last step and its checkpoint")
def test_a_stopped_run_goes_on_when_asked_and_is_not_thrown_away_unasked(tmp_path, monkeypatch, capsys):
    out = tmp_path / "maml"
    command = ["train", "sinusoid", "--iterations", "3", "--out", str(out)]
    assert main(command) == 0
    finished = checkpoints.fingerprint(out)
    assert main([*command, "--resume"]) == 1 and "no stopped run" in capsys.readouterr().err
    assert checkpoints.fingerprint(out) == finished

    with monkeypatch.context() as patch:
        patch.setattr("course_lib.commands.train.evaluate", lambda *a, **k: 1 / 0)  # killed before it was written
        with pytest.raises(ZeroDivisionError):
            main(command)
    assert main(command) == 1 and "add --resume" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0 and checkpoints.fingerprint(out) == finished
    assert not out.with_name("maml.state").exists()
