"""The league table: its rules, its picture; and the tables that ship are not stale."""

import csv
from collections import OrderedDict

import pytest
from torch import nn

from course_lib import checkpoints
from course_lib.algorithms import ProtoNet
from course_lib.chapters.omniglot import league, league_figure
from course_lib.evaluation import evaluate
from course_lib.tasks import GlyphTasks


def test_nearest_neighbour_is_the_class_mean_when_there_is_one_shot():
    pixels = nn.Sequential(OrderedDict(features=nn.Flatten(), head=nn.Linear(784, 5)))
    tasks = GlyphTasks("test", ways=5, shots=1, queries=5)
    means = evaluate(ProtoNet(), pixels, tasks, num_tasks=20, steps=[0]).accuracies[0]
    assert league.nearest_neighbour(nn.Flatten(), tasks, 20).equal(means)


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
        assert weights == checkpoints.fingerprint(name), (
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
