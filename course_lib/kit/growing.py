"""Trainings that a picture follows as they go, each kept as far as it was ever asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from threading import Lock

import numpy as np


class Growing:
    """The numbers, or what else it gives, of the iterator that ``begin`` makes; it goes on where it was left when more
    are asked for."""

    def __init__(self, begin: Callable[[], Iterator]):
        self._begin, self._lock = begin, Lock()
        self._anew()

    def _anew(self) -> None:
        self._numbers, self._found, self._ended = self._begin(), [], False
        self._error: Exception | None = None

    def upto(self, count: int) -> np.ndarray:
        """The first ``count``; fewer if it ended before. What it raised it raises again."""
        with self._lock:  # a cell and a moved slider may ask at once
            if self._error is None and count > len(self._found):
                try:
                    self._found += islice(self._numbers, count - len(self._found))
                except Exception as error:
                    self._error = error
                except BaseException:  # interrupted: the iterator is over, and looks as if it had ended there
                    self._anew()
                    raise
                self._ended = len(self._found) < count
            if self._error is not None:
                raise self._error
            return np.array(self._found[:count])

    def reached(self, count: int) -> int:
        """How many of ``count`` can be had at once."""
        return count if self._ended else min(count, len(self._found))


def race(runs: Mapping[str, Growing], count: int, every: int) -> Iterator[dict]:
    """The runs' first ``count`` numbers side by side, ``every`` more at a time; ``at``: how many it would be by then.

    >>> runs = {"a": Growing(lambda: iter(range(99))), "b": Growing(lambda: iter(range(3)))}
    >>> [(frame["at"], len(frame["a"]), len(frame["b"])) for frame in race(runs, 10, 4)]
    [(4, 4, 3), (8, 8, 3), (10, 10, 3)]
    >>> [frame["at"] for frame in race(runs, 10, 4)]  # known by now
    [10]
    """
    first = min(run.reached(count) for run in runs.values()) // every * every + every
    for at in (*range(first, count, every), count):
        yield {name: run.upto(at) for name, run in runs.items()} | {"at": at}
