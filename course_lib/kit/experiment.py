"""Experiments: what takes minutes is measured once, and ships as a table with its record.

    def measure(seed, k, iterations):                     # -> rows, JSON values
        ...
        return [{"test_steps": s, "error": e} for ...]

    runs = Experiment(__file__, measure, seeds=range(20), cells=[{"k": 1}, {"k": 5}],
                      settings={"iterations": 3000}, small={"iterations": 20})

    runs.rows()              every row of the shipped table; each also has its "seed" and its cell's entries
    runs.of(3, k=1)          those of one seed; measured now where the table has none
    runs.run()               measures what is missing, cell by cell, and writes the table

With ``batched=True`` the function is given ``seeds`` and trains them together; its rows name their "seed". A table is
the module's name with ``.json``; its record's "seconds" are a core's, whatever else the machine did. While it is
being made it is ``.part.json``, from which a run that was stopped goes on. ``python -m course_lib experiments`` runs
them all.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from course_lib.engine.files import write_whole
from course_lib.engine.pool import process_pool
from course_lib.engine.provenance import provenance
from course_lib.tasks import OmniglotMissing


class Experiment:
    """One table of results, and how it is made.

    Args:
        file: the module's ``__file__``; its table stands beside it.
        measure: ``measure(seed, **cell, **settings)``, or with ``batched`` ``measure(seeds, **cell, **settings)``, to
            rows of JSON values. A number that is not finite is written as null and read as NaN.
        seeds: of the shipped table.
        cells: what is varied, a dict of keyword arguments each; every cell is measured for every seed.
        settings: keyword arguments that all share; they stand in the record.
        small: those of them that a reduced run, such as a test's, has instead.
    """

    def __init__(
        self,
        file: str,
        measure: Callable[..., list[dict]],
        *,
        seeds: Iterable[int],
        cells: Sequence[dict[str, Any]] = ({},),
        settings: dict[str, Any],
        small: dict[str, Any],
        batched: bool = False,
    ):
        self.path, self.measure, self.batched = Path(file).with_suffix(".json"), measure, batched
        self.seeds, self.cells, self.settings, self.small = list(seeds), list(cells), settings, small
        self.name = f"{self.path.parents[1].name}/{self.path.stem}"  # such as "reptile/race"
        self._measured: dict[tuple, list[dict]] = {}
        self._found: dict[frozenset, list[dict]] = {}  # in the table: a demo asks for the same rows at every move

    @cached_property
    def table(self) -> dict:
        """The shipped table: {"record": ..., "rows": [...]}.

        Raises:
            FileNotFoundError: it has not been made.
        """
        if not self.path.exists():
            raise FileNotFoundError(f"{self.path.name} is not there: python -m course_lib experiments {self.name}")
        return _read(self.path)

    def rows(self, **where: Any) -> list[dict]:
        """The rows of the shipped table whose entries are those of ``where``."""
        key = frozenset(where.items())
        if key not in self._found:
            self._found[key] = [row for row in self.table["rows"] if _is_of(row, where)]
        return list(self._found[key])

    def of(self, seed: int, **where: Any) -> list[dict]:
        """The rows of one seed, from the table or, where it has none, measured now (once in a session)."""
        if seed in self.seeds:
            return self.rows(seed=seed, **where)
        cells = [cell for cell in self.cells if all(where.get(name, value) == value for name, value in cell.items())]
        for cell in cells:
            if self._key(seed, cell) not in self._measured:
                self._measured[self._key(seed, cell)] = self._measure([seed], cell, self.settings)
        found = [row for cell in cells for row in self._measured[self._key(seed, cell)]]
        return [row for row in found if _is_of(row, where)]

    def reduced(self, seeds: Sequence[int] | None = None) -> list[dict]:
        """Rows of these seeds (the first alone), with the ``small`` settings: the whole experiment in seconds, but for
        cells that measure on Omniglot where it is not (``run`` and ``of`` say so)."""
        rows = []
        for cell in self.cells:
            with suppress(OmniglotMissing):
                rows += self._measure(seeds or self.seeds[:1], cell, self.settings | self.small)
        return rows

    def run(self, jobs: int = 1, afresh: bool = False, out: Path | None = None) -> Iterator[str]:
        """Measure what is missing (``afresh``: everything), write the table; yields a line for each piece of work.

        Stopped, it goes on from where it was; a part that was made with other settings is not used.
        """
        path = out or self.path
        part = path.with_suffix(".part.json")
        stopped = self._made_so(part)
        old = stopped or (not afresh and self._made_so(path)) or {"record": {"seconds": 0.0}, "rows": []}
        rows, seconds = old["rows"], old["record"]["seconds"]
        have = {self._key(row["seed"], self._cell_of(row)) for row in rows}
        work = []
        for cell in self.cells:
            seeds = [seed for seed in self.seeds if self._key(seed, cell) not in have]
            work += [(seeds, cell)] if self.batched and seeds else [([seed], cell) for seed in seeds]
        for number, (seeds, cell, new, took) in enumerate(self._do(work, jobs), 1):
            rows, seconds = rows + new, seconds + took
            self._write(part, rows, seconds)
            yield f"{self.name}: {number} of {len(work)}, {cell or ''} seeds {seeds} in {took:.0f} s of a core"
        if work or stopped:  # it may have been stopped after its last piece
            self._write(path, rows, seconds)
            self.__dict__.pop("table", None)
            self._found.clear()
        part.unlink(missing_ok=True)

    def _made_so(self, path: Path) -> dict | None:
        """The table at ``path``, if there is one and it was made with these settings."""
        table = _read(path) if path.exists() else None
        return table if table and table["record"]["settings"] == json.loads(json.dumps(self.settings)) else None

    def _do(self, work: list, jobs: int) -> Iterator[tuple]:
        if jobs == 1 or len(work) < 2:
            yield from (self.timed(*piece) for piece in work)
            return
        with process_pool(jobs) as pool:
            waiting = [pool.submit(self.timed, *piece) for piece in work]
            yield from (each.result() for each in waiting)

    def timed(self, seeds: list[int], cell: dict) -> tuple:
        started = time.process_time()
        return seeds, cell, self._measure(seeds, cell, self.settings), time.process_time() - started

    def _measure(self, seeds: list[int], cell: dict, settings: dict) -> list[dict]:
        if self.batched:
            return [{**cell, **row} for row in self.measure(seeds, **cell, **settings)]
        return [{"seed": s, **cell, **row} for s in seeds for row in self.measure(s, **cell, **settings)]

    def _write(self, path: Path, rows: list[dict], seconds: float) -> None:
        order = {self._key(s, cell): at for at, (cell, s) in enumerate((c, s) for c in self.cells for s in self.seeds)}
        wanted = [row for row in rows if self._key(row["seed"], self._cell_of(row)) in order]  # not an older edition's
        wanted.sort(key=lambda row: order[self._key(row["seed"], self._cell_of(row))])
        command = f"python -m course_lib experiments {self.name}"
        record = {"settings": self.settings} | provenance(command, seconds, threads=torch.get_num_threads())
        lines = ",\n".join(json.dumps(_plain(row), allow_nan=False) for row in wanted)
        write_whole(path, f'{{"record": {json.dumps(record)},\n"rows": [\n{lines}\n]}}\n')

    def _cell_of(self, row: dict) -> dict:
        return {name: row.get(name) for name in self.cells[0]}

    @staticmethod
    def _key(seed: int, cell: dict) -> tuple:
        return seed, json.dumps(cell, sort_keys=True)


DIVERGED = 100.0  # what an error is counted as that is NaN, infinite or larger


def counted(error: float) -> float:
    """An error that can be compared and written down, at most DIVERGED.

    >>> counted(0.3), counted(math.nan)
    (0.3, 100.0)
    """
    return error if error < DIVERGED else DIVERGED


def middle(errors: Iterable[float]) -> float:
    """The median of errors, each as ``counted``.

    >>> middle([0.1, math.nan, 0.3]), middle([math.nan, 0.3, math.inf])
    (0.3, 100.0)
    """
    return statistics.median(map(counted, errors))


def middle_and_ends(errors: Iterable[float]) -> tuple[float, float, float]:
    """Median, least and greatest of errors, each as ``counted``: a mark and its whisker."""
    errors = [counted(error) for error in errors]
    return middle(errors), min(errors), max(errors)


def _is_of(row: dict, where: dict) -> bool:
    return all(row.get(name) == value for name, value in where.items())


def _plain(value: Any) -> Any:
    """JSON values: five digits of a number, null where it is not finite.

    >>> _plain({"error": [0.123456789, float("inf"), 3]})
    {'error': [0.12346, None, 3]}
    """
    if isinstance(value, dict):
        return {name: _plain(v) for name, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    return value


def _read(path: Path) -> dict:
    table = json.loads(path.read_text("utf-8"))
    return {"record": table["record"], "rows": [_numbers(row) for row in table["rows"]]}


def _numbers(value: Any) -> Any:
    """What ``_plain`` wrote, with NaN for null."""
    if isinstance(value, dict):
        return {name: _numbers(v) for name, v in value.items()}
    if isinstance(value, list):
        return [_numbers(v) for v in value]
    return math.nan if value is None else value
