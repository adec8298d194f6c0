"""Snapshots along training, for the tangent features of notebook 05.

    python -m course_lib.chapters.features.experiments.tangent_training

Two ways to train the MLP 1-40-40-1 on sinusoids, three seeds each, from the same initial weights:

    maml    k = 1, alpha = 0.01 (MAML, arXiv 1703.03400, section 5.1)
    plain   alpha = 0: every gradient is then that of ordinary training on all tasks mixed, with one head

Adam 1e-3, 25 tasks of 10 + 10 points an iteration. Writes tangent_training.safetensors, {parameter: [iterations,
runs, ...]}, seeds fastest, and its record, tangent_training.json. After 70,000 iterations seed 0 is where the
checkpoints sinusoid/maml_k1 and sinusoid/pretrained come from: the same weights at the start and the same stream of
tasks.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from course_lib import checkpoints
from course_lib.algorithms import MAML
from course_lib.engine.files import read_tensors, write_tensors, write_whole
from course_lib.engine.provenance import provenance
from course_lib.engine.sweep import with_parameters
from course_lib.kit import many_seeds
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks

INNER_LRS = {"maml": 0.01, "plain": 0.0}
SEEDS = (0, 1, 2)
ITERATIONS = (0, 30, 100, 300, 1_000, 3_000, 10_000)
FINAL, CHECKPOINTS = 70_000, {"maml": "sinusoid/maml_k1", "plain": "sinusoid/pretrained"}  # of seed 0
META_BATCH, OUTER_LR = 25, 1e-3
FILE = Path(__file__).with_suffix(".safetensors")


def train(way: str, seeds: Sequence[int], iterations: Sequence[int]) -> Iterator[list[MLP]]:
    """The networks of all seeds, trained together, at each of ``iterations``, of which the first is 0."""
    yield [MLP(seed=seed) for seed in seeds]
    how = MAML(1, INNER_LRS[way]), SinusoidTasks(10, 10), seeds, OUTER_LR, iterations[1:], META_BATCH
    for _, _, networks in many_seeds.train(*how):
        yield networks


@lru_cache(maxsize=1)
def load() -> dict[str, Tensor]:
    """The shipped snapshots, {parameter: [7, 6, ...]}."""
    return read_tensors(FILE)[0]


def network(way: str, iteration: int, seed: int = 0) -> MLP:
    """The network of one snapshot; of seed 0 also after 70,000 iterations.

    >>> network("maml", 1000)(torch.zeros(3, 1)).shape
    torch.Size([3, 1])
    """
    if iteration == FINAL and seed == 0 and way in CHECKPOINTS:
        return checkpoints.load(CHECKPOINTS[way])[0]
    for name, value, known in (
        ("way", way, tuple(INNER_LRS)),
        ("iteration", iteration, ITERATIONS),
        ("seed", seed, SEEDS),
    ):
        if value not in known:
            raise ValueError(f"{name} must be one of {known}, not {value!r}")
    at, run = ITERATIONS.index(iteration), list(INNER_LRS).index(way) * len(SEEDS) + SEEDS.index(seed)
    return with_parameters(MLP(seed=seed), {name: values[at, run] for name, values in load().items()})


def main() -> None:
    """Train, and write the snapshots with their record."""
    started = time.perf_counter()
    both = zip(*(train(way, SEEDS, ITERATIONS) for way in INNER_LRS))
    states = [[network.state_dict() for networks in ways for network in networks] for ways in both]
    of = lambda name: torch.stack([torch.stack([state[name] for state in at]) for at in states])
    write_tensors(FILE, {name: of(name) for name in states[0][0]}, {})
    record = {"ways": INNER_LRS, "seeds": SEEDS, "iterations": ITERATIONS}
    record |= {"meta_batch": META_BATCH, "outer_lr": OUTER_LR}
    record |= {"tasks": {"class": "SinusoidTasks", **SinusoidTasks(shots=10, queries=10).settings()}}
    command = "python -m course_lib.chapters.features.experiments.tangent_training"
    record |= provenance(command, time.perf_counter() - started, threads=1)
    write_whole(FILE.with_suffix(".json"), json.dumps(record, indent=2) + "\n")
    print(f"{FILE.name}: {FILE.stat().st_size / 1e3:.0f} kB in {record['seconds']} s")


if __name__ == "__main__":
    main()
