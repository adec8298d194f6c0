"""``league``: it measures what it says and nothing twice, and trains what is missing when asked."""

from operator import itemgetter

import pytest

from course_lib import checkpoints
from course_lib.__main__ import main
from course_lib.algorithms import MAML, ProtoNet
from course_lib.analysis.transduction import accuracies
from course_lib.chapters.omniglot import league
from course_lib.engine import recipes
from course_lib.losses import cross_entropy
from course_lib.models import Conv4
from course_lib.tasks import GlyphTasks

SMALL = {"filters": 4, "downsample": "stride", "seed": 0}


@pytest.fixture
def two_networks(tmp_path):
    record = {
        "tasks": {"class": "GlyphTasks", "ways": 5, "shots": 1},
        "training": {"iterations": 0},
        "score": {"steps": [0, 1]},
        "commit": "none",
        "command": "none",
    }
    solved, stepped = ProtoNet(), MAML(inner_lr=0.1, loss_fn=cross_entropy)
    checkpoints.save(tmp_path / "stepped", Conv4(**SMALL, statistics="batch"), stepped, record)
    record["score"] = {"steps": [0]}
    checkpoints.save(tmp_path / "solved", Conv4(**SMALL, statistics="running"), solved, record)
    return tmp_path


def test_one_command_measures_writes_and_draws(two_networks, monkeypatch):
    cells = (league.Cell(5, 1), league.Cell(20, 1), league.Cell(20, 1, within_alphabet=True))
    monkeypatch.setattr(league, "IMAGE_CELLS", cells)
    names = [str(two_networks / name) for name in ("solved", "stepped")]
    command = ["league", "glyphs", "--tasks", "2", "--out", str(two_networks), "--checkpoints", *names]
    assert main(command) == 0
    table, picture = two_networks / "league_glyphs.csv", two_networks / "league_glyphs.svg"
    rows, first, drawn = league.read(table), table.read_bytes(), picture.read_bytes()
    assert {row["family"] for row in rows} == {GlyphTasks.name} and "stand-in" in picture.read_text()
    solved, stepped = ([r for r in rows if r["checkpoint"] == name] for name in names)
    assert len(solved) == 2 * len(cells)
    assert {(r["ways"], r["steps"]) for r in stepped} == {
        ("5", "0"),
        ("5", "1"),
    }  # its head has 5 outputs: no 20 ways
    pixels = [r for r in rows if r["method"] == "nearest neighbour, pixels"]
    assert [r["transductive"] for r in pixels] == ["no"] * len(cells)
    whole = accuracies(*checkpoints.load(names[0])[1::-1], GlyphTasks("test"), True, 2)
    assert solved[0]["mean"] == f"{100 * whole.mean():.4g}"

    assert main(command) == 0 and table.read_bytes() == first  # nothing is measured twice
    assert picture.read_bytes() == drawn
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
        checkpoints.fingerprint(names[1])
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
    tiny = {"tiny": recipes.Recipe("maml", "a test", {"inner_steps": 1}, iterations=2, meta_batch=2, steps=(0, 1))}
    monkeypatch.setattr(recipes, "SINUSOID", tiny)
    monkeypatch.setitem(recipes.RECIPES, "sinusoid", tiny)
    monkeypatch.setattr(checkpoints, "FOLDER", tmp_path)
    command = ["league", "sinusoid", "--train", "--tasks", "3", "--out", str(tmp_path)]
    assert main(command) == 0
    rows = league.read(tmp_path / "league_sinusoid.csv")
    assert [r["steps"] for r in rows if r["checkpoint"] == "sinusoid/tiny"] == ["0", "1", "0", "1"]
    weights = checkpoints.fingerprint(tmp_path / "sinusoid" / "tiny")
    assert main(command) == 0 and checkpoints.fingerprint(tmp_path / "sinusoid" / "tiny") == weights
    (tmp_path / "sinusoid" / "tiny.safetensors").unlink()

    def stopped(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(SystemExit, match="sinusoid/tiny was not trained to its end"):
        patch.setattr("course_lib.commands.train.main", lambda argv: 1)
        main(command)
    with monkeypatch.context() as patch:
        patch.setattr("course_lib.commands.train.evaluate", stopped)  # trained, but nothing is written yet
        assert main(command) == 130
    assert main(command) == 0  # goes on
    assert checkpoints.fingerprint(tmp_path / "sinusoid" / "tiny") == weights
