"""The league table: it measures what it says, on drawn glyphs; and the tables that ship are not stale."""

import csv
from collections import OrderedDict
from operator import itemgetter

import pytest
import torch
from torch import nn

from course_lib import checkpoints
from course_lib.__main__ import main
from course_lib.algorithms import MAML, ProtoNet
from course_lib.analysis.transduction import accuracies, predict_one_by_one, with_statistics
from course_lib.chapters.omniglot import league, league_figure
from course_lib.checkpoints import recipes
from course_lib.evaluation import evaluate
from course_lib.inner_loop import predict, stack_params
from course_lib.losses import cross_entropy
from course_lib.models import Conv4
from course_lib.tasks import GlyphTasks


def network(statistics: str) -> Conv4:
    model = Conv4(filters=4, downsample="stride", statistics=statistics, seed=0)
    if statistics == "running":
        model(
            torch.rand(64, 1, 28, 28, generator=torch.Generator().manual_seed(1))
        )  # so that there is something to keep
    return model.eval()


def episodes(num_tasks: int = 1, **settings):
    return GlyphTasks("test", **settings).sample(num_tasks, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_one_by_one_no_query_sees_another():
    batch, model = episodes(queries=2), network("batch")
    params = stack_params(model, 1)
    changed = batch.query_x.clone()
    changed[:, 1:] = 0  # every query but the first
    alone = [predict_one_by_one(model, params, batch.support_x, x)[0, 0] for x in (batch.query_x, changed)]
    together = [predict(model, params, x)[0, 0] for x in (batch.query_x, changed)]
    torch.testing.assert_close(alone[0], alone[1], rtol=0, atol=1e-6)
    assert (together[0] - together[1]).abs().max() > 1e-3
    by_hand = model(torch.cat([batch.support_x[0], batch.query_x[0, :1]]))[-1]
    torch.testing.assert_close(alone[0], by_hand, rtol=0, atol=1e-5)


@torch.no_grad()
def test_with_running_statistics_alone_and_together_are_one():
    batch, model = episodes(queries=2), network("running")
    params = stack_params(model, 1)
    alone = predict_one_by_one(model, params, batch.support_x, batch.query_x)
    torch.testing.assert_close(alone, predict(model, params, batch.query_x), rtol=0, atol=1e-5)


@torch.no_grad()
def test_with_statistics_changes_the_statistics_alone():
    x, model = torch.rand(8, 1, 28, 28, generator=torch.Generator().manual_seed(0)), network("running")
    of_batch = with_statistics(model, "batch")
    assert (of_batch(x) - model(x)).abs().max() > 1e-3
    torch.testing.assert_close(of_batch(x), model.train()(x))  # training mode takes the batch's too
    with pytest.raises(ValueError, match="kept no running statistics"):
        with_statistics(of_batch, "running")


@pytest.mark.parametrize("statistics", ["batch", "running"])
def test_accuracies_agree_with_evaluate(statistics):
    model, tasks = network(statistics), GlyphTasks("test", queries=2)
    learner = ProtoNet() if statistics == "running" else MAML(inner_lr=0.1, loss_fn=cross_entropy)
    plain = evaluate(learner, model, tasks, num_tasks=3, steps=[0, 1]).accuracies
    same = accuracies(learner, model, tasks, statistics == "batch", 3, [0, 1])
    other = accuracies(learner, model, tasks, statistics != "batch", 3, [0, 1])
    assert same.equal(plain) and other.shape == plain.shape
    for switch in (True, False):  # rows in the order asked for, and the model as it was
        in_order = accuracies(learner, model.train(), tasks, switch, 3, [0, 1])
        assert accuracies(learner, model, tasks, switch, 3, [1, 0, 1]).equal(in_order[[1, 0, 1]]) and model.training
    with pytest.raises(ValueError, match="at least one number of steps"):
        accuracies(learner, model, tasks, True, 3, [])


def test_nearest_neighbour_is_the_class_mean_when_there_is_one_shot():
    pixels = nn.Sequential(OrderedDict(features=nn.Flatten(), head=nn.Linear(784, 5)))
    tasks = GlyphTasks("test", ways=5, shots=1, queries=5)
    means = evaluate(ProtoNet(), pixels, tasks, num_tasks=20, steps=[0]).accuracies[0]
    assert league.nearest_neighbour(nn.Flatten(), tasks, 20).equal(means)


@pytest.fixture
def two_networks(tmp_path):
    record = {
        "tasks": {"class": "GlyphTasks", "ways": 5, "shots": 1},
        "training": {"iterations": 0},
        "score": {"steps": [0, 1]},
        "commit": "none",
        "command": "none",
    }
    checkpoints.save(tmp_path / "solved", network("running"), ProtoNet(), record | {"score": {"steps": [0]}})
    checkpoints.save(
        tmp_path / "stepped", network("batch"), MAML(inner_lr=0.1, loss_fn=cross_entropy), record
    )
    return tmp_path


def test_one_command_measures_writes_and_draws(two_networks, monkeypatch):
    cells = (league.Cell(5, 1), league.Cell(20, 1), league.Cell(20, 1, within_alphabet=True))
    monkeypatch.setattr(league, "IMAGE_CELLS", cells)
    names = [str(two_networks / name) for name in ("solved", "stepped")]
    command = ["league", "glyphs", "--tasks", "2", "--out", str(two_networks), "--checkpoints", *names]
    assert main(command) == 0
    table, picture = two_networks / "league_glyphs.csv", two_networks / "league_glyphs.svg"
    rows, first = league.read(table), table.read_bytes()
    assert {row["family"] for row in rows} == {GlyphTasks.name} and "stand-in" in picture.read_text()
    solved, stepped = ([r for r in rows if r["checkpoint"] == name] for name in names)
    assert len(solved) == 2 * len(cells)
    assert {(r["ways"], r["steps"]) for r in stepped} == {
        ("5", "0"),
        ("5", "1"),
    }  # its head has 5 outputs: no 20 ways
    pixels = [r for r in rows if r["method"] == "nearest neighbour, pixels"]
    assert [r["transductive"] for r in pixels] == ["no"] * len(cells)
    whole = league.accuracies(*checkpoints.load(names[0])[1::-1], GlyphTasks("test"), True, 2)
    assert solved[0]["mean"] == f"{100 * whole.mean():.4g}"

    assert main(command) == 0 and table.read_bytes() == first  # nothing is measured twice
    few = ["league", "glyphs", "--tasks", "2", "--out", str(two_networks / "few"), "--checkpoints", names[0]]
    assert main([*few, "--ways", "5", "--shots", "1"]) == 0
    assert {r["ways"] for r in league.read(two_networks / "few" / "league_glyphs.csv")} == {"5"}
    assert main([*command[:-1]]) == 0 and table.read_bytes() == first  # other networks' rows stay
    again = ["--afresh", "--ways", "5", "--checkpoints", names[0]]
    assert main([*command[: command.index("--checkpoints")], *again]) == 0
    key = itemgetter("method", "checkpoint", "ways", "within_alphabet", "transductive", "steps")
    assert sorted(league.read(table), key=key) == sorted(rows, key=key)  # measured again, the rest left alone
    model, learner, record = checkpoints.load(names[1])
    checkpoints.save(names[1], Conv4(**model.config | {"seed": 5}), learner, record)
    assert main(command) == 0
    assert {r["weights"] for r in league.read(table) if r["checkpoint"] == names[1]} == {
        league.fingerprint(names[1])
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["sinusoid", "--checkpoints", "omniglot/r2d2"], "has no place in the table of sinusoid"),
        (["omniglot", "--checkpoints", "sinusoid/r2d2"], "has no place in the table of omniglot"),
        (["sinusoid", "--ways", "5"], "no tasks of 5 ways"),
    ],
)
def test_what_has_no_place_in_a_table_is_refused(options, message, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["league", *options, "--out", str(tmp_path)])
    assert message in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_no_checkpoint_trains_nothing_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(league, "IMAGE_CELLS", (league.Cell(5, 1),))
    monkeypatch.setattr(checkpoints, "FOLDER", tmp_path)
    assert main(["league", "glyphs", "--tasks", "2", "--out", str(tmp_path)]) == 0
    assert "--train" in capsys.readouterr().err
    assert {row["checkpoint"] for row in league.read(tmp_path / "league_glyphs.csv")} == {""}


def test_train_makes_what_is_missing_by_recipe(tmp_path, monkeypatch):
    tiny = {
        "tiny": recipes.Recipe("maml", "a test", {"inner_steps": 1}, iterations=2, meta_batch=2, steps=(0, 1))
    }
    monkeypatch.setattr(recipes, "SINUSOID", tiny)
    monkeypatch.setitem(recipes.RECIPES, "sinusoid", tiny)
    monkeypatch.setattr(checkpoints, "FOLDER", tmp_path)
    command = ["league", "sinusoid", "--train", "--tasks", "3", "--out", str(tmp_path)]
    assert main(command) == 0
    rows = league.read(tmp_path / "league_sinusoid.csv")
    assert [r["steps"] for r in rows if r["checkpoint"] == "sinusoid/tiny"] == ["0", "1", "0", "1"]
    weights = (tmp_path / "sinusoid" / "tiny.safetensors").read_bytes()
    assert main(command) == 0 and (tmp_path / "sinusoid" / "tiny.safetensors").read_bytes() == weights
    (tmp_path / "sinusoid" / "tiny.safetensors").unlink()

    def stopped(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(SystemExit, match="sinusoid/tiny was not trained to its end"):
        patch.setattr("course_lib.commands.train.main", lambda argv: 1)
        main(command)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("course_lib.commands.train.evaluate", stopped)  # trained, but nothing is written yet
        main(command)
    assert main(command) == 0  # goes on
    assert (tmp_path / "sinusoid" / "tiny.safetensors").read_bytes() == weights


def row(method: str, mean: float, transductive: str = "yes", **changes: object) -> league.Row:
    task = {"ways": 5, "shots": 1, "within_alphabet": "no", "transductive": transductive}
    values = {"method": method, "mean": mean, "ci95": 1, "steps": 0, "tasks": 600} | task | changes
    return dict.fromkeys(league.COLUMNS, "") | {name: str(value) for name, value in values.items()}


def test_rank_agreement_is_spearmans():
    stats = pytest.importorskip("scipy.stats")
    names, first, second = "abcde", [90.0, 95.0, 97.0, 40.0, 55.0], [80.0, 91.0, 90.0, 50.0, 45.0]
    here = [row(name, mean) for name, mean in zip(names, first)]
    there = [row(name, mean) for name, mean in zip(names, second)]
    rho, count = league.rank_agreement(here, there, "yes")
    assert count == 5 and rho == pytest.approx(stats.spearmanr(first, second).statistic)
    tied = [row(name, mean) for name, mean in zip(names, (80.0, 91.0, 80.0, 50.0, 80.0))]
    expected = stats.spearmanr(first, [float(r["mean"]) for r in tied]).statistic
    assert league.rank_agreement(here, tied, "yes")[0] == pytest.approx(expected)
    elsewhere = [row("a", 0.0, ways=20), row("b", 0.0, "no"), row("alone", 1.0)]  # none of these takes part
    assert league.rank_agreement(here + elsewhere, there, "yes") == (rho, count)
    assert league.rank_agreement(here[:1], there, "yes")[1] == 1


def test_more_tasks_and_more_steps_are_what_is_reported():
    rows = [row("a", 1), row("a", 2, tasks=10_000), row("a", 3), row("b", 4, steps=3), row("b", 5)]
    assert [r["mean"] for r in league_figure.reported(rows)] == ["2", "4"]

    about = {"family": "sinusoid", "ways": "", "shots": 10, "checkpoint": "sinusoid/a"}
    errors = [row("a", tasks - k, steps=k, tasks=tasks, **about) for tasks in (600, 10_000, 60) for k in (0, 1)]
    curve, *_ = league_figure.draw(errors, []).axes[0].containers[0]
    assert curve.get_xydata().tolist() == [[0, 10_000], [1, 9_999]]


def test_the_picture_says_how_long_a_network_was_trained():
    rows = [row("a", 50, checkpoint="x", cpu_seconds=130.0), row("floor", 40)]
    labels = league_figure.draw(rows, []).axes[0].get_yticklabels()
    assert [label.get_text() for label in labels] == ["floor", "a (trained 2 min)"]
    rows += [row("a", 40, checkpoint=f"{ways} ways", ways=ways, cpu_seconds=s) for ways, s in ((20, 590), (30, 300))]
    labels = league_figure.draw(rows, []).axes[0].get_yticklabels()
    assert "a (trained 2 to 10 min)" in [label.get_text() for label in labels]


def test_the_picture_says_how_many_iterations_a_gpu_took():
    networks = [row("a", 50, checkpoint="x", iterations=60000, shots=s, trained_shots=1) for s in (1, 5)]
    labels = league_figure.draw([*networks, row("floor", 40)], []).axes[0].get_yticklabels()
    assert [label.get_text() for label in labels] == ["floor", "a (60,000 iterations)"]


def test_a_network_trained_for_the_shots_speaks_for_its_method():
    one, five = (row("a", mean, checkpoint=str(s), shots=5, trained_shots=s) for s, mean in ((1, 60), (5, 50)))
    assert league_figure.reported([one, five]) == [five]
    assert league_figure.reported([one]) == [one]


def test_published_values_have_sources():
    with league.PUBLISHED.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows and all(row["source"] for row in rows)
    assert all(0 < float(row["mean"]) <= 100 for row in rows)


@pytest.mark.parametrize("family", ["omniglot", "sinusoid", "glyphs", "papers"])
def test_shipped_tables_are_of_the_shipped_networks(family):
    rows = league.read(league.FOLDER / f"league_{family}.csv")
    measured = {row["checkpoint"]: row["weights"] for row in rows if row["checkpoint"]}
    assert measured, f"league_{family}.csv is missing: python -m course_lib league {family}"
    for name, weights in measured.items():
        assert weights == league.fingerprint(name), (
            f"{name} is newer than the table: python -m course_lib league {family}"
        )
        record = checkpoints.read_record(name)
        assert {row["commit"] for row in rows if row["checkpoint"] == name} == {record["commit"]}
    assert all(row["tasks"] == "exact" or int(row["tasks"]) >= 600 for row in rows)
    keys = [tuple(row[c] for c in ("method", "checkpoint", *league.TASK)) for row in rows]
    assert len(keys) == len(set(keys))
    assert all(name in league_figure.describe(rows) for name in {row["method"] for row in rows})
    figure = league_figure.draw(rows, league.read(league.PUBLISHED))
    (name,) = {row["family"] for row in rows}
    assert name == "sinusoid" or name in figure.get_suptitle()
    assert ("networks trained on Omniglot" in figure.get_suptitle()) == (family == "glyphs")


@pytest.mark.parametrize("transductive", ["yes", "no"])
def test_methods_rank_on_glyphs_as_on_omniglot(transductive):
    glyphs, omniglot = (league.read(league.FOLDER / f"league_{name}.csv") for name in ("glyphs", "omniglot"))
    rho, count = league.rank_agreement(glyphs, omniglot, transductive)
    assert rho > 0.8 and count >= 5
