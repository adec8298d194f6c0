"""``train`` and ``evaluate``: what the command line says wins, and a checkpoint is judged on new tasks."""

from dataclasses import replace

import pytest
import torch

from course_lib import checkpoints
from course_lib.__main__ import main
from course_lib.algorithms import MAML
from course_lib.commands import train
from course_lib.engine import recipes
from course_lib.losses import cross_entropy
from course_lib.models import Conv4
from course_lib.tasks import GlyphTasks


def test_command_line_wins_over_the_recipe(tmp_path):
    out = tmp_path / "short"
    options = "--recipe maml_k5 --iterations 4 --inner-lr 0.002 --shots 7".split()
    assert main(["train", "sinusoid", *options, "--out", str(out)]) == 0
    _, learner, record = checkpoints.load(out)
    assert (learner.inner_steps, learner.inner_lr) == (5, 0.002)
    assert record["training"]["iterations"] == 4 and record["tasks"]["shots"] == 7
    assert record["recipe"]["name"] == "maml_k5" and 0 <= record["cpu_seconds"] < 60


def test_without_a_recipe_the_methods_defaults_hold():
    options = ["glyphs", "--method", "r2d2", "--ways", "3", "--model", "filters=4"]
    recipe = train.build_recipe(train.parser().parse_args(options))
    assert (recipe.iterations, recipe.meta_batch, recipe.outer_lr, recipe.schedule) == (5000, 32, 1e-3, None)
    assert recipe.build_model("glyphs").head.out_features == 3


def test_unknown_recipe_names_those_there_are(capsys):
    assert main(["train", "sinusoid", "--recipe", "nonsense"]) == 1
    assert "maml_k5" in capsys.readouterr().err


def test_a_network_trained_on_all_classes_is_judged_on_episodes(tmp_path, capsys):
    recipe = replace(recipes.TWO_CORES["union"], model={"filters": 4, "statistics": "running"}, pool=16)
    learner, model, tasks = recipe.build("glyphs")
    learner = recipes.keep(learner)
    record = {"tasks": {"class": type(tasks).__name__, **tasks.settings()}}
    path = checkpoints.save(tmp_path / "union", model, learner, record)
    assert main(["evaluate", str(path), "--ways", "3", "--tasks", "2", "--steps", "0"]) == 0
    assert "3-way 1-shot" in capsys.readouterr().out


def test_a_solved_head_is_judged_without_gradient_steps(tmp_path, capsys):
    command = ["train", "sinusoid", "--method", "r2d2", "--iterations", "2", "--out", str(tmp_path / "r2d2")]
    assert main(command) == 0
    assert checkpoints.read_record(tmp_path / "r2d2")["score"]["steps"] == [0]
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "r2d2"), "--tasks", "1"]) == 0
    assert "\n    0 " in capsys.readouterr().out


def test_train_then_evaluate_from_the_command_line(tmp_path, capsys, request):
    request.addfinalizer(lambda before=torch.get_num_threads(): torch.set_num_threads(before))
    torch.set_num_threads(2)
    out = tmp_path / "maml"
    command = ["train", "sinusoid", "--method", "maml", "--inner-steps", "2", "--iterations", "20", "--seed", "4"]
    assert main([*command, "--model", "hidden=[16, 16]", "--out", str(out)]) == 0
    record = checkpoints.read_record(out)
    assert record["learner"]["inner_steps"] == 2 and record["training"]["iterations"] == 20
    assert record["threads"] == 1 and torch.get_num_threads() == 2  # a small network on a CPU takes one
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
        (["train", "sinusoid", "--set", "loss_fn=mse"], "loss_fn"),
        (["train", "sinusoid", "--set", "second_order=no"], "second_order must be True or False, not 'no'"),
        (["train", "sinusoid", "--model", "activation=relu"], "activation must name a class of torch.nn"),
        (["train", "sinusoid", "--device", "gpu"], "gpu"),
        (["train", "sinusoid", "--device", "mps", "--iterations", "1"], "mps"),
        (["train", "sinusoid", "--compile"], "compile=True needs a C++ compiler"),
        (["train", "sinusoid", "--method", "unionoftasks"], "--recipe union"),
        (["train", "glyphs", "--method", "unionoftasks"], "--recipe union"),
        (["train", "sinusoid", "--ways", "5"], "--ways is not for sinusoid"),
        (["train", "glyphs", "--num-tasks", "5"], "--num-tasks is not for glyphs"),
        (["train", "sinusoid", "--out", "/dev/null/maml"], "/dev/null cannot be written to"),
        (["train", "sinusoid", "--out", ""], "a checkpoint needs a file's name, which '.' is not"),
        (["train", "sinusoid", "--out", "x" * 5000], "a file's name of 5000 characters is too long"),
        (["league", "sinusoid", "--tasks", "0"], "tasks must be a whole number of at least 1"),
        (["train", "sinusoid", "--resume"], "there is no stopped run to resume (runs/sinusoid/maml.state)"),
    ],
)
def test_mistakes_on_the_command_line_are_explained(command, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))  # where no compiler is
    monkeypatch.delenv("CXX", raising=False)
    assert main(command) == 1
    assert message in capsys.readouterr().err


def test_more_ways_than_a_network_has_outputs_are_explained(tmp_path, capsys):
    record = {"tasks": {"class": "GlyphTasks", **GlyphTasks().settings()}}
    path = checkpoints.save(tmp_path / "five", Conv4(ways=5, filters=4), MAML(loss_fn=cross_entropy), record)
    assert main(["evaluate", str(path), "--ways", "20", "--tasks", "1"]) == 1
    assert "one output for each of a task's ways" in capsys.readouterr().err
