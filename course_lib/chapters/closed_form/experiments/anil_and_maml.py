"""MAML, ANIL and MAML's network with the head alone, on real images after 0 to 10 steps, for notebook 07.

    python -m course_lib.chapters.closed_form.experiments.anil_and_maml

The shipped networks on 5-way 1-shot episodes of Omniglot's test characters, with the rate they were trained
with; beside them the ridge head of R2D2's network, which takes no step. MAML and ANIL normalise each batch by
that batch (transductive), R2D2 uses running averages. The networks were trained for different numbers of
iterations (their records say how many). Writes anil_and_maml.json: {row: [[mean, half width of the 95 %
interval] after 0, 1, ... steps]} in %, and the record. ``--rows`` measures some rows and keeps the others.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import torch

from course_lib import checkpoints
from course_lib.engine.files import write_whole
from course_lib.evaluation import evaluate
from course_lib.tasks import OmniglotTasks

ROWS = {  # row: (network, what adapts at test time)
    "MAML": ("maml", None),
    "MAML's network, head only": ("maml", "head"),
    "ANIL": ("anil", "head"),
    "ridge head": ("r2d2", None),
}
SINUSOID = {"maml": "maml_k5", "anil": "anil_k5", "r2d2": "r2d2"}  # names of the networks for sinusoids
STEPS, TEST_TASKS, QUERIES = range(11), 200, 5
FILE = Path(__file__).with_suffix(".json")


def measure(tasks, chosen: Iterable[str] = ROWS, num_tasks: int = TEST_TASKS) -> dict[str, list[list[float]]]:
    """{row: [[mean, half width] after each number of steps]}."""
    rows = {}
    for row in chosen:
        name, only = ROWS[row]
        model, learner, _ = checkpoints.load(f"omniglot/{name}")
        result = evaluate(learner, model, tasks, num_tasks, steps=STEPS if name != "r2d2" else [0], only=only)
        rows[row] = [[round(m, 2), round(h, 2)] for m, h in zip(result.mean, result.ci95)]
        print(f"{row:>26s}: " + ", ".join(f"{m:.1f}" for m, _ in rows[row]), flush=True)
    return rows


@lru_cache(maxsize=1)
def load() -> dict:
    """The shipped table.

    >>> len(load()["accuracy"]["MAML"])
    11
    """
    return json.loads(FILE.read_text())


def main(argv: list[str] | None = None) -> None:
    """Measure, and write the table with its record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rows", nargs="+", choices=ROWS, default=list(ROWS), help="which to measure (default: all)"
    )
    args = parser.parse_args(argv)
    started = time.perf_counter()
    torch.set_num_threads(1)
    tasks = OmniglotTasks("test", ways=5, shots=1, queries=QUERIES)
    rows = measure(tasks, args.rows)
    kept = {} if set(args.rows) == set(ROWS) else load()
    rows = kept.get("accuracy", {}) | rows
    table = {"family": "Omniglot", "ways": 5, "shots": 1, "test_tasks": TEST_TASKS}
    table["accuracy"] = {row: rows[row] for row in ROWS if row in rows}
    seconds = kept.get("seconds", 0) + time.perf_counter() - started
    table |= checkpoints.provenance("python -m course_lib.chapters.closed_form.experiments.anil_and_maml", seconds)
    write_whole(FILE, json.dumps(table, indent=1) + "\n")
    print(f"{FILE.name} in {table['seconds']} s")


if __name__ == "__main__":
    main()
