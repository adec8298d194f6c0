"""The union of tasks beside MAML at equal compute, for notebook 06.

    python -m course_lib.chapters.union.experiments.equal_compute

The MLP 1-40-40-1 on sinusoids, Adam 1e-3, 25 tasks of 10 + 10 points an iteration, three seeds:

    maml          k = 1, alpha = 0.01, second order; new tasks every time
    union         supervised training on 1,000 tasks that come back, a stored head for each
    one_head      supervised training on new tasks every time under one shared head: the strawman

One meta-gradient of MAML costs twice the floating-point operations of the union's on the same points
(counted, not guessed), so the union takes two iterations for MAML's one. Scored at four moments on 300 new
tasks of 5 and 10 shots: with a ridge head (lambda 0.1) on the body, and after 1 and 10 steps of 0.01 on
everything.
Writes equal_compute.json: errors {method: {shots: {score: [moments, seeds]}}}, and the record.
"""

from __future__ import annotations

import json
import time
from functools import lru_cache
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from course_lib import checkpoints
from course_lib.algorithms import MAML, Learner, UnionOfTasks
from course_lib.algorithms.heads import StoredHeads
from course_lib.chapters.union.experiments.inner_rate_sign import META_BATCH, SEEDS, score, train
from course_lib.engine.files import write_whole
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks

METHODS = {  # inner steps in training, tasks that come back with a head each (None: new tasks, one head)
    "maml": (1, None),
    "union": (0, 1000),
    "one_head": (0, None),
}
MOMENTS = (100, 300, 1_000, 3_000)  # in iterations of MAML
SHOTS, TEST_TASKS, OUTER_LR = (5, 10), 300, 1e-3
FILE = Path(__file__).with_suffix(".json")


def operations(learner: Learner, num_tasks: int | None = None) -> int:
    """Floating-point operations of one meta-gradient, as PyTorch counts them: those of matrix products.

    >>> round(operations(MAML(inner_steps=1)) / operations(UnionOfTasks("meta")), 1)
    2.0
    """
    batch = SinusoidTasks(num_tasks=num_tasks).sample(META_BATCH, generator=torch.Generator().manual_seed(0))
    with FlopCounterMode(display=False) as counter:
        learner.meta_gradient(MLP(seed=0), batch)
    return counter.get_total_flops()


def iterations(method: str) -> list[int]:
    """How many iterations of ``method`` cost as much as MAML's at the moments."""
    steps, num_tasks = METHODS[method]
    if steps > 0:
        return list(MOMENTS)
    head = "meta" if num_tasks is None else StoredHeads(num_tasks, 40, 1)
    ratio = operations(MAML(inner_steps=1)) / operations(UnionOfTasks(head), num_tasks)
    return [round(ratio) * moment for moment in MOMENTS]


@lru_cache(maxsize=1)
def load() -> dict:
    """The shipped table: "moments", "seeds", and "errors" {method: {shots: {score: [moments, seeds]}}}.

    >>> sorted(load()["errors"]["maml"]["10"])
    ['after_1', 'after_10', 'ridge']
    """
    return json.loads(FILE.read_text())


def main() -> None:
    """Train and score everything, and write the table with its record."""
    started, cpu = time.perf_counter(), time.process_time()
    errors = {method: {str(shots): {} for shots in SHOTS} for method in METHODS}
    for method, (steps, num_tasks) in METHODS.items():
        for _, networks in train([0.01], SEEDS, num_tasks, iterations(method), steps, OUTER_LR):
            for shots in SHOTS:
                for network in networks:
                    for key, error in score(network, shots, TEST_TASKS).items():
                        errors[method][str(shots)].setdefault(key, []).append(error)
    for of_method in errors.values():
        for scores in of_method.values():
            for key, values in scores.items():
                scores[key] = torch.tensor(values).view(len(MOMENTS), len(SEEDS)).tolist()
    table = {
        "moments": MOMENTS,
        "seeds": SEEDS,
        "iterations": {method: iterations(method) for method in METHODS},
    }
    table |= {"meta_batch": META_BATCH, "outer_lr": OUTER_LR, "test_tasks": TEST_TASKS, "errors": errors}
    table |= checkpoints.provenance(
        "python -m course_lib.chapters.union.experiments.equal_compute", time.perf_counter() - started, threads=1
    )
    table |= {"cpu_seconds": round(time.process_time() - cpu, 1)}
    write_whole(FILE, json.dumps(table, indent=2) + "\n")
    print(f"{FILE.name} in {table['seconds']} s, {table['cpu_seconds']} s of CPU")


if __name__ == "__main__":
    main()
