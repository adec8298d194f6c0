"""What was done to the course on purpose, how often, and how often it held: ``python -m course_lib trust [--long]``.

Each row is made of tests that carry the mark ``trust("the fault", cases=20, long=300)``: they inject the fault
``cases`` times, with ``--long`` as often as ``long`` says, through the fixture ``cases``. Some faults take too long for
``make test`` and are injected with ``--long`` alone. TRUST.md keeps the table; ``--save`` renews the rows run now.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from course_lib.engine.files import write_whole
from course_lib.engine.provenance import provenance

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "TRUST.md"
HEAD = """# Trust

What was done to the course on purpose, how often, and how often it held. Each row is made of tests that inject the
fault and look at what comes of it: nothing lost, nothing wrong in silence, an error in words where there must be one.

    python -m course_lib trust          # some faults, and less often: these tests are part of `make test`
    python -m course_lib trust --long   # all of them, as often as the tests say: hours on two cores

| fault | injected | survived | commit | tests |
|---|---:|---:|---|---|
"""


@dataclass
class Row:
    """A fault: how often it was injected and survived, and by which tests."""

    injected: int = 0
    survived: int = 0
    skipped: int = 0
    tests: list[str] = field(default_factory=list)


def number_of_cases(item: pytest.Item, most: int | None = None) -> int:
    """How often this test injects its fault, at most ``most`` times; 1 for a test that has no mark or says nothing."""
    mark = item.get_closest_marker("trust")
    about = mark.kwargs if mark else {}
    cases = about.get("cases", 1)
    if item.config.getoption("--long", default=False):
        cases = about.get("long", cases)
    return min(cases, most or cases)


class Counts:
    """Plugin of pytest that fills the table. A test may record how often it "injected" its fault, where that is not
    ``cases``, and a test that fails how often it "survived"."""

    def __init__(self, most: int | None):
        self.most = most
        self.rows: dict[str, Row] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo):
        report = yield
        if call.when == "call" or (call.when == "setup" and not report.passed):
            row = self.rows.setdefault(item.get_closest_marker("trust").args[0], Row())
            name = item.nodeid.partition("[")[0]
            row.tests += [] if name in row.tests else [name]
            recorded = dict(item.user_properties)
            cases = recorded.get("injected", number_of_cases(item, self.most))
            if report.skipped:
                row.skipped += cases
            else:
                row.injected += cases
                row.survived += cases if report.passed else recorded.get("survived", 0)
        return report


def table(page: str, rows: dict[str, Row], commit: str) -> str:
    """The page with these rows made anew; those that were not run stay."""
    lines = dict(re.findall(r"^(\| (.*?) \|.*)$", page.partition("---|\n")[2], re.M))
    lines = {fault: line for line, fault in lines.items()}
    for fault, row in rows.items():
        survived = f"{row.survived:,}" + f" ({row.skipped} not tried here)" * bool(row.skipped)
        tests = ", ".join(f"`{name}`" for name in row.tests)
        lines[fault] = f"| {fault} | {row.injected:,} | {survived} | {commit} | {tests} |"
    return HEAD + "".join(f"{line}\n" for line in lines.values())


def parser() -> argparse.ArgumentParser:
    trust = argparse.ArgumentParser(prog="python -m course_lib trust", description=__doc__.partition(":")[0] + ".")
    add = trust.add_argument
    add("--long", action="store_true", help="more often, and what takes long: hours on two cores")
    add("--most", type=int, metavar="N", help="inject no fault more than N times in one test")
    add("--only", default="", metavar="WORDS", help="the tests that these words choose (pytest's -k)")
    add("--save", action="store_true", help=f"write the table to {PAGE.name}")
    return trust


def main(argv: list[str]) -> int:
    """Run the tests and print the table; 1 if a fault was not survived.

    Raises:
        ValueError: the tests are not here, or these words choose none.
    """
    args = parser().parse_args(argv)
    if not (ROOT / "tests").is_dir():
        raise ValueError("the tests are no part of the installed package: run this in the course's own folder")
    counts = Counts(args.most)
    options = [str(ROOT / "tests"), "--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml"), "-q", "-m", "trust"]
    options += ["--long"] if args.long else []
    options += ["--most", str(args.most)] if args.most else []
    pytest.main([*options, "-k", args.only], plugins=[counts])
    if not counts.rows:
        raise ValueError("no such test: see the tests that TRUST.md names")
    print("\n".join(f"{row.injected:7,} injected {row.survived:7,} survived   {f}" for f, row in counts.rows.items()))
    if args.save:
        page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
        write_whole(PAGE, table(page, counts.rows, provenance("", 0)["commit"]))
        print(f"written to {PAGE}")
    return int(any(row.survived < row.injected for row in counts.rows.values()))
