"""What the notebooks say about results is what the tables say, and what fresh draws say too."""

import re
from functools import cache
from pathlib import Path

import nbformat
import pytest

from course_lib.__main__ import main
from course_lib.commands import claims, experiments
from course_lib.kit.claim import chance, claims_in, gather, misquotes, quoted, read, table_of, try_once
from course_lib.kit.experiment import Experiment

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ANSWERS = sorted((ROOT / "course_lib/chapters").glob("*/exercises.py"))  # the model answers of open exercises are here
ANSWERS += sorted((ROOT / "course_lib/chapters").glob("*/solutions.py"))  # or here
MODULES = claims.claim_modules()
CLAIMS = {claim.key: (claim, read(table_of(module))) for module in MODULES for claim in claims_in(module)}
EXPERIMENTS = experiments.all_experiments()
QUICK = 0.7  # seconds a draw


@cache
def prose(path: Path) -> str:
    if path.suffix == ".py":
        return path.read_text("utf-8")
    return "\n\n".join(c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "markdown")


def its_name(path: Path) -> str:
    return path.stem if path in NOTEBOOKS else f"{path.parent.name}/{path.stem}"


@pytest.mark.parametrize("path", NOTEBOOKS + ANSWERS, ids=its_name)
def test_a_notebook_and_its_model_answers_quote_the_tables_truly(path):
    assert misquotes(prose(path), claims.shipped()) == []


@pytest.mark.parametrize("path", NOTEBOOKS + ANSWERS, ids=its_name)
def test_odds_are_never_quoted_without_their_claim(path):
    assert re.findall(r"[^.\n]*\b\d+ of \d+ (?:draws|seeds|runs)\b(?!<!--)[^.\n]*", prose(path)) == []


@pytest.mark.parametrize("key", CLAIMS)
def test_a_claim_ships_with_its_odds_and_a_notebook_quotes_it(key):
    claim, table = CLAIMS[key]
    assert claim.sentence.strip() and claim.check.__doc__, f"{key} says neither what it is nor how it is measured"
    assert claim.name in table, f"python -m course_lib claims {key} --save"
    assert len(table[claim.name].held) == claim.draws >= 20
    assert any(key in quoted(prose(path)) for path in NOTEBOOKS + ANSWERS), f"no notebook quotes {key}"


@pytest.mark.parametrize("key", CLAIMS)
def test_fresh_draws_do_not_speak_against_the_table(key, monkeypatch, request):
    claim, table = CLAIMS[key]
    if not request.config.getoption("--long"):
        if table[claim.name].seconds > QUICK:
            pytest.skip(f"takes {table[claim.name].seconds:.2g} s a draw: make test-all")
        trains = lambda *how: pytest.skip("a fresh draw trains networks: make test-all")
        monkeypatch.setattr(Experiment, "_measure", trains)
    fresh = gather(try_once(claim, draw) for draw in (1000, 1001))
    assert chance(table[claim.name], fresh) >= 0.01, f"{fresh} held; the table says {table[claim.name]}"
    assert fresh.numbers.keys() == table[claim.name].numbers.keys()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_and_its_table_are_of_one_edition(name):
    experiment = EXPERIMENTS[name]
    assert experiment.table["record"]["settings"] == _as_json(experiment.settings)
    have = {(row["seed"], *(str(row.get(k)) for k in experiment.cells[0])) for row in experiment.rows()}
    assert have == {(seed, *map(str, cell.values())) for seed in experiment.seeds for cell in experiment.cells}


@cache
def in_small(name: str) -> list[dict]:
    return EXPERIMENTS[name].reduced()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_whole_experiment_runs_in_small(name):
    rows = in_small(name)
    if not rows:
        pytest.skip("all of it measures on Omniglot, which is not here")
    assert {frozenset(row) for row in rows} == {frozenset(row) for row in EXPERIMENTS[name].rows()}


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if EXPERIMENTS[name].batched])
def test_a_seed_gives_the_same_whatever_seeds_are_measured_before_it(name):
    seeds = EXPERIMENTS[name].seeds
    behind = [row for row in EXPERIMENTS[name].reduced([seeds[1], seeds[0]]) if row["seed"] == seeds[0]]
    assert len(behind) == len(in_small(name))
    for row, alone in zip(behind, in_small(name)):
        assert numbers(row) == pytest.approx(numbers(alone), rel=1e-4, nan_ok=True)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["reptile.bogus"], "no claim 'reptile.bogus'; there are reptile."),
        (["reptile", "reptile.bogus"], "no claim 'reptile.bogus'"),
        (["bogus"], "no chapter with claims 'bogus'; there are "),
    ],
)
def test_a_claim_that_is_not_there_is_told(names, said, capsys):
    assert main(["claims", *names, "--shipped"]) == 1
    printed = capsys.readouterr()
    assert printed.out == "" and said in printed.err


def numbers(value, path: str = "") -> dict:
    """{path: number} of a row's entries, however deep."""
    if not isinstance(value, (dict, list, tuple)):
        return {path: value} if isinstance(value, (int, float)) else {}
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    return {place: number for key, part in parts for place, number in numbers(part, f"{path}/{key}").items()}


def _as_json(settings: dict) -> dict:
    return {name: list(value) if isinstance(value, (tuple, range)) else value for name, value in settings.items()}
