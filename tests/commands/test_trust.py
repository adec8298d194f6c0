"""The trust table: what it counts, and that its page has every row."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from course_lib.__main__ import main
from course_lib.commands import trust

ROOT = Path(__file__).parents[2]
TESTS = """
import pytest

@pytest.mark.trust("a storm", cases=3, long=30)
@pytest.mark.parametrize("wind", [1, 2])
def test_storm(wind, cases):
    assert cases in (3, 5)

@pytest.mark.trust("a flood", cases=7)
def test_flood(record_property):
    record_property("survived", 4)
    assert False

@pytest.mark.trust("a drought")
def test_drought():
    pytest.skip("it rains")

@pytest.mark.long
@pytest.mark.trust("an ice age", cases=9)
def test_ice_age(record_property):
    record_property("injected", 2)

def test_no_fault():
    assert False
"""


@pytest.fixture
def course(tmp_path, monkeypatch) -> Path:
    """A course with four faults."""
    (tmp_path / "tests").mkdir()
    options = "from tests.conftest import cases, pytest_addoption, pytest_collection_modifyitems\n"
    (tmp_path / "tests" / "conftest.py").write_text(options)
    (tmp_path / "tests" / "test_weather.py").write_text(TESTS)
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\naddopts = '--import-mode=importlib'\n")
    monkeypatch.setattr(trust, "ROOT", tmp_path)
    monkeypatch.setattr(trust, "PAGE", tmp_path / "TRUST.md")
    return tmp_path


def rows(page: Path) -> dict[str, list[str]]:
    """{fault: [injected, survived]} of the page."""
    found = re.findall(r"^\| (?!fault)(.*?) \| ([\d,]+) \| ([\d,]+)", page.read_text(encoding="utf-8"), re.M)
    return {fault: counts for fault, *counts in found}


def test_injected_and_survived_are_counted_from_the_tests(course, capsys):
    assert main(["trust", "--save"]) == 1
    counted = {"a storm": ["6", "6"], "a flood": ["7", "4"], "a drought": ["0", "0"]}
    assert rows(course / "TRUST.md") == counted
    assert "| a drought | 0 | 0 (1 not tried here) |" in (course / "TRUST.md").read_text()
    assert "7 injected       4 survived   a flood" in capsys.readouterr().out
    assert main(["trust", "--save", "--long", "--most", "5", "--only", "storm or ice_age"]) == 0
    assert rows(course / "TRUST.md") == counted | {"a storm": ["10", "10"], "an ice age": ["2", "2"]}


def test_without_tests_it_says_so(course, monkeypatch, capsys):
    assert main(["trust", "--only", "earthquake"]) == 1 and "no such test" in capsys.readouterr().err
    monkeypatch.setattr(trust, "ROOT", course / "installed")
    assert main(["trust"]) == 1 and "no part of the installed package" in capsys.readouterr().err


def test_the_page_has_every_fault_and_no_other():
    faults = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.trust":
                faults.add(node.args[0].value)
    assert faults == set(rows(ROOT / "TRUST.md"))
