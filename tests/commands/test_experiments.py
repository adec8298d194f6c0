"""The command that remakes the tables: not twice at one commit, so that a stopped remake goes on."""

import pytest

from course_lib.__main__ import main
from course_lib.commands import experiments
from course_lib.engine import provenance
from course_lib.kit.experiment import Experiment

CLEAN = "0123456789ab"


@pytest.mark.parametrize(
    ("first", "then", "again"),
    [(CLEAN, CLEAN, 0), (CLEAN, "ba9876543210", 2), (CLEAN + "+", CLEAN + "+", 2), ("unknown", "unknown", 2)],
    ids=["this commit", "another", "changed since", "no checkout"],
)
def test_afresh_keeps_what_this_very_commit_measured(first, then, again, tmp_path, monkeypatch, capsys):
    measured = []
    count = lambda seed: measured.append(seed) or [{"value": seed}]
    table = Experiment(str(tmp_path / "chapter/experiments/count.py"), count, seeds=range(2), settings={}, small={})
    table.path.parent.mkdir(parents=True)
    monkeypatch.setattr(experiments, "all_experiments", lambda: {table.name: table})
    for at in (first, then):
        monkeypatch.setattr(provenance, "commit", lambda: at)
        assert experiments.main(["--afresh"]) == 0
    assert len(measured) == 2 + again
    assert "chapter/count: 2 rows" in capsys.readouterr().out


@pytest.mark.parametrize("names", [["unionn"], ["reptile/race", "unionn"]])
def test_an_experiment_that_is_not_there_is_told_before_any_is_run(names, monkeypatch, capsys):
    monkeypatch.setattr(Experiment, "run", lambda *how: [])
    assert main(["experiments", *names]) == 1
    said = capsys.readouterr()
    assert said.out == "" and "no experiment 'unionn'; there are " in said.err and "reptile/race" in said.err
