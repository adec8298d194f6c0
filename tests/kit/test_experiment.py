"""Experiments: a table is made piece by piece, goes on where it was stopped, and measures a fresh seed when asked."""

import json
import math

import pytest

from course_lib.kit.experiment import Experiment
from course_lib.tasks import OmniglotMissing


def make(tmp_path, calls, batched=False, stop_at=None, factor=2):
    def measure(seed, k, factor, tasks):
        calls.append((seed, k))
        if stop_at is not None and len(calls) > stop_at:
            raise KeyboardInterrupt
        seeds = seed if batched else [seed]
        return [{"value": factor * k + s / 3, "broken": math.inf} | ({"seed": s} if batched else {}) for s in seeds]

    folder = tmp_path / "chapter" / "experiments"
    cells, settings = [{"k": 1}, {"k": 5}], {"factor": factor, "tasks": 100}
    options = {"cells": cells, "settings": settings, "small": {"tasks": 1}, "batched": batched}
    return Experiment(str(folder / "race.py"), measure, seeds=range(3), **options)


@pytest.mark.parametrize("batched", [False, True])
def test_a_table_and_its_rows(tmp_path, batched):
    calls = []
    runs = make(tmp_path, calls, batched)
    with pytest.raises(FileNotFoundError, match="experiments chapter/race"):
        runs.rows()
    assert len(list(runs.run())) == len(calls) == (2 if batched else 6)
    assert [(row["seed"], row["k"]) for row in runs.rows()] == [(s, k) for k in (1, 5) for s in range(3)]
    (row,) = runs.rows(seed=1, k=5)
    assert row["value"] == 10.333 and math.isnan(row["broken"])
    runs.rows(seed=1).clear()  # a list of one's own
    assert len(runs.rows(seed=1)) == 2
    record = json.loads((tmp_path / "chapter/experiments/race.json").read_text())["record"]
    assert record["settings"] == {"factor": 2, "tasks": 100} and "experiments chapter/race" in record["command"]

    del calls[:]
    assert list(runs.run()) == [] and runs.of(2, k=1) == runs.rows(seed=2, k=1) and calls == []
    (fresh,) = runs.of(1000, k=1)
    assert fresh["value"] == 2 + 1000 / 3 and len(calls) == 1
    assert runs.of(1000, k=1) == [fresh] and len(calls) == 1  # measured once
    assert {row["seed"] for row in runs.reduced()} == {0}


def test_a_stopped_run_goes_on(tmp_path):
    whole = make(tmp_path / "whole", [])
    list(whole.run())
    calls = []
    with pytest.raises(KeyboardInterrupt):
        list(make(tmp_path, calls, stop_at=3).run())
    assert not (tmp_path / "chapter/experiments/race.json").exists()
    del calls[:]
    runs = make(tmp_path, calls)
    list(runs.run())
    values = lambda of: [row["value"] for row in of.rows(k=5)]
    assert len(calls) == 3 and values(runs) == values(whole)
    assert [p.name for p in (tmp_path / "chapter/experiments").iterdir()] == ["race.json"]

    del calls[:]
    other = make(tmp_path, calls, factor=3)  # other settings: what is there does not serve
    list(other.run())
    assert len(calls) == 6 and other.rows(seed=0, k=1)[0]["value"] == 3
    other.settings["factor"] = 4
    list(other.run(afresh=True))
    assert len(calls) == 12 and other.rows(seed=0, k=1)[0]["value"] == 4  # not what was found before


def test_what_was_begun_with_other_settings_costs_the_table_nothing(tmp_path):
    calls = []
    list(make(tmp_path, []).run())
    with pytest.raises(KeyboardInterrupt):
        list(make(tmp_path, [], stop_at=1, factor=3).run())
    again = make(tmp_path, calls)
    assert list(again.run()) == [] and calls == [] and len(again.rows()) == 6
    assert [p.name for p in (tmp_path / "chapter/experiments").iterdir()] == ["race.json"]


def test_a_run_that_was_stopped_after_its_last_piece_has_its_table(tmp_path):
    runs, calls = make(tmp_path, []), []
    for number, _ in enumerate(runs.run(), 1):
        if number == 6:
            break
    again = make(tmp_path, calls)
    assert list(again.run()) == [] and calls == [] and len(again.rows()) == 6


def test_what_measures_on_omniglot_says_so_where_it_is_not(tmp_path):
    def measure(seed, data, tasks):
        if data == "omniglot":
            raise OmniglotMissing("it is not here")
        return [{"value": seed}]

    cells = [{"data": "omniglot"}, {"data": "glyphs"}]
    runs = Experiment(str(tmp_path / "a/b/c.py"), measure, seeds=[0], cells=cells, settings={"tasks": 9}, small={})
    assert [row["data"] for row in runs.reduced()] == ["glyphs"]  # a test's
    with pytest.raises(OmniglotMissing):
        list(runs.run())
    assert not runs.path.exists()


def squares(seed, power):
    return [{"value": seed**power}]


def test_processes_share_the_work(tmp_path):
    runs = Experiment(str(tmp_path / "a/b/c.py"), squares, seeds=range(4), settings={"power": 2}, small={})
    assert len(list(runs.run(jobs=2))) == 4 and [row["value"] for row in runs.rows()] == [0, 1, 4, 9]
