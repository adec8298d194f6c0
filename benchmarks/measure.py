"""Time and memory, measured so that they can be compared on a machine with other work."""

from __future__ import annotations

import resource
import statistics
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one step: the least is what the code costs, the median what a person saw."""

    least: float
    median: float


def interleaved(steps: Mapping[str, Callable[[], object]], seconds: float = 2.0, least: int = 5) -> dict[str, Timing]:
    """Time the steps in turn, round after round, so that a slow moment of the machine falls on all of them.

    Each is called twice before, which warms caches and compiles. Rounds go on for ``seconds`` times the
    number of steps, and for ``least`` rounds.
    """
    for step in steps.values():
        step()
        step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    started = time.perf_counter()
    while time.perf_counter() - started < seconds * len(steps) or min(map(len, times.values())) < least:
        for name, step in steps.items():
            before = time.perf_counter()
            step()
            times[name].append(1e3 * (time.perf_counter() - before))
    return {name: Timing(min(t), statistics.median(t)) for name, t in times.items()}


def peak_memory(step: Callable[[], object]) -> float:
    """MiB that one step adds to the memory of this process at its highest; call it in a fresh process."""
    if not Path("/proc/self/statm").exists():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        step()
        unit = 2**20 if sys.platform == "darwin" else 2**10
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / unit
    done, highest, before = threading.Event(), 0, resident()

    def watch() -> None:
        nonlocal highest
        while not done.wait(0.002):
            highest = max(highest, resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    step()
    done.set()
    watcher.join()
    return max(0, max(highest, resident()) - before) / 2**20


def resident() -> int:
    """Bytes of memory this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
