"""What the inner rate of meta-training does to the tangent kernel, for notebook 05.

    python -m course_lib.chapters.features.experiments.tangent_rates

One linearised step multiplies the residual along an eigenfunction by 1 - 2 alpha lambda: it is gone at once
where lambda = 1 / (2 alpha). So MAML with one step should bring the two eigenvalues that the sinusoids need
near that value. MAML is trained at three inner rates with three seeds each, all as one batched run, and the
kernel's eigenvalues over [-5, 5] are written to tangent_rates.json with the record.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

from course_lib import checkpoints
from course_lib.algorithms import MAML
from course_lib.analysis.tangent import tangent_features
from course_lib.chapters.features import setup
from course_lib.engine.files import write_whole
from course_lib.engine.sweep import meta_train_sweep
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks

INNER_LRS, SEEDS, ITERATIONS, TOP = (0.003, 0.01, 0.03), (0, 1, 2), 4_000, 4
FILE = Path(__file__).with_suffix(".json")


def measure(
    inner_lrs: Sequence[float] = INNER_LRS,
    seeds: Sequence[int] = SEEDS,
    iterations: int = ITERATIONS,
    progress: bool = True,
) -> list[dict]:
    """A row for each rate and seed: the kernel's top eigenvalues, and the share of energy of the top two."""
    rates = [rate for rate in inner_lrs for _ in seeds]
    streams = [seed for _ in inner_lrs for seed in seeds]
    networks = [MLP(seed=seed) for seed in streams]
    options = {"iterations": iterations, "progress": progress}
    tasks = SinusoidTasks(shots=10, queries=10)
    trained, losses = meta_train_sweep(MAML(inner_steps=1), networks, tasks, rates, streams, **options)
    rows = []
    for rate, seed, network, loss in zip(rates, streams, trained, losses[-500:].mean(0).tolist()):
        features = tangent_features(network.double(), setup.GRID)
        spectrum = setup.describe(features @ features.T)
        values = [round(value, 3) for value in spectrum.values[:TOP].tolist()]
        row = {"inner_lr": rate, "seed": seed, "iterations": iterations, "eigenvalues": values}
        rows.append(row | {"top_two": round(spectrum.shares[1].item(), 4), "meta_loss": round(loss, 4)})
    return rows


def load() -> list[dict]:
    """The shipped rows.

    >>> sorted({row["inner_lr"] for row in load()})
    [0.003, 0.01, 0.03]
    """
    return json.loads(FILE.read_text())["rows"]


def main() -> None:
    """Train, measure, and write the rows with their record."""
    started = time.perf_counter()
    rows = measure()
    command = "python -m course_lib.chapters.features.experiments.tangent_rates"
    record = checkpoints.provenance(command, time.perf_counter() - started, threads=1)
    write_whole(FILE, json.dumps({**record, "rows": rows}, indent=1) + "\n")
    for row in rows:
        print(row)


if __name__ == "__main__":
    main()
