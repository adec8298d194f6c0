"""Checkpoints and the command line."""

import json

import pytest
import torch

from course_lib import checkpoints
from course_lib.__main__ import main
from course_lib.algorithms import MAML
from course_lib.models import MLP


@pytest.fixture
def saved(tmp_path):
    model, learner = MLP(hidden=(8,), seed=3), MAML(inner_steps=2, inner_lr=0.05)
    path = checkpoints.save(tmp_path / "small_alpha_0.05", model, learner, {"note": "a test"})
    return path, model


def test_a_checkpoint_brings_back_model_learner_and_record(saved):
    path, model = saved
    for name in (path, path.with_suffix(""), path.with_suffix(".json")):
        loaded, learner, record = checkpoints.load(name)
        assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), model.parameters(), strict=True))
        assert (learner.inner_steps, learner.inner_lr, record["note"]) == (2, 0.05, "a test")


def test_an_unknown_checkpoint_gets_the_list_of_known_ones():
    with pytest.raises(FileNotFoundError, match="no checkpoint 'sinusoid/maml_k99'. There are:\n  "):
        checkpoints.load("sinusoid/maml_k99")


def test_a_truncated_checkpoint_is_named(saved):
    path, _ = saved
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="not a whole .safetensors file"):
        checkpoints.load(path)


def test_a_damaged_record_is_named(saved):
    path, _ = saved
    path.with_suffix(".json").write_text("{")
    with pytest.raises(ValueError, match="small_alpha_0.05.json beside the checkpoint cannot be read"):
        checkpoints.load(path)


def test_a_model_that_cannot_be_rebuilt_is_refused(tmp_path):
    with pytest.raises(TypeError, match="give it `config`"):
        checkpoints.save(tmp_path / "x", torch.nn.Sequential(), MAML(), {})


@pytest.mark.parametrize("name", checkpoints.available())
def test_every_shipped_checkpoint_loads_and_says_how_it_was_made(name):
    model, learner, record = checkpoints.load(name)
    assert all(p.isfinite().all() for p in model.parameters())
    assert record["command"].startswith("python -m course_lib train ")
    assert {"commit", "seconds", "device", "torch", "score", "training", "tasks"} <= set(record)
    assert (checkpoints.FOLDER / f"{name}.safetensors").stat().st_size < 1_000_000


def test_train_then_evaluate_from_the_command_line(tmp_path, capsys):
    out = tmp_path / "maml"
    command = ["train", "sinusoid", "--method", "maml", "--inner-steps", "2", "--iterations", "20", "--seed", "4"]
    assert main([*command, "--model", "hidden=[16, 16]", "--out", str(out)]) == 0
    record = json.loads((tmp_path / "maml.json").read_text())
    assert record["learner"]["inner_steps"] == 2 and record["training"]["iterations"] == 20
    assert record["score"]["steps"] == [0, 1, 5, 10] and record["model"]["hidden"] == [16, 16]
    assert not (tmp_path / "maml.state").exists()
    capsys.readouterr()
    assert main(["evaluate", str(out), "--steps", "0", "1", "5", "10", "--tasks", "600"]) == 0
    printed = capsys.readouterr().out
    assert f"10   {record['score']['mean'][3]:8.3f}" in printed


def test_fomaml_is_maml_without_second_derivatives(tmp_path):
    assert main(["train", "sinusoid", "--method", "fomaml", "--iterations", "1", "--out", str(tmp_path / "f")]) == 0
    assert checkpoints.read_record(tmp_path / "f")["learner"]["second_order"] is False


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["evaluate", "nowhere"], "no checkpoint 'nowhere'"),
        (["train", "sinusoid", "--shots", "0"], "shots must be a whole number of at least 1"),
        (["train", "sinusoid", "--inner-steps", "-1"], "inner_steps must be"),
        (["train", "sinusoid", "--set", "lam"], "NAME=VALUE"),
        (["train", "sinusoid", "--set", "colour=red"], "colour"),
    ],
)
def test_mistakes_on_the_command_line_are_explained(command, message, capsys):
    assert main(command) == 1
    assert message in capsys.readouterr().err
