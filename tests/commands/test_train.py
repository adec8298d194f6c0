"""``train`` and ``evaluate``: what the command line says wins, and a checkpoint is judged on new tasks."""

from dataclasses import replace

from course_lib import checkpoints
from course_lib.__main__ import main
from course_lib.commands import train
from course_lib.engine import recipes


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
