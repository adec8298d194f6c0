"""Four ways to learn hills, against the outer steps, for notebook 10.

MAML, ANIL, R2D2 and a network pre-trained with one head on all squares, which is fine-tuned like MAML's. Adam's rate,
and the inner rate at test time, are each method's best on the validation part of the map (ten points, ten steps; R2D2
takes none). Errors are means over test squares in the part of the map that nothing was trained or chosen on.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import median

from torch import nn

from course_lib.algorithms import ANIL, MAML, R2D2, Learner
from course_lib.chapters.your_own.template import Hills, load_map, make_model
from course_lib.evaluation import evaluate
from course_lib.kit.experiment import Experiment
from course_lib.kit.many_seeds import train
from course_lib.training import meta_train

OUTER_LRS, TEST_LRS = (1e-3, 3e-3, 1e-2), (0.02, 0.05, 0.1)
INNER_STEPS, INNER_LR, STEPS = 5, 0.05, 10
SHOTS = (3, 5, 10, 20)
METHODS = {
    "MAML": lambda: MAML(INNER_STEPS, INNER_LR),
    "ANIL": lambda: ANIL(INNER_STEPS, INNER_LR),
    "R2D2": lambda: R2D2(),
    "one head": lambda: MAML(0, INNER_LR),  # no inner step in training: supervised on all query points
}
VALIDATION, TEST = 10_000, 20_000  # added to the seed of the tasks
regions = cache(load_map)


def measure(seeds: Sequence[int], method: str, outer_lr: float, looks: list[int], test_tasks: int) -> list[dict]:
    """Train one network a seed; its test error at every number of outer steps in ``looks``, and at the last for all
    shots."""
    rows = {seed: {"seed": seed, "curve": {}} for seed in seeds}
    for iteration, seed, learner, network in trained(method, seeds, outer_lr, looks):
        errors = Errors(learner, network, seed, test_tasks)
        rows[seed]["curve"][str(iteration)] = errors.test(10)
        if iteration == looks[-1]:
            rows[seed]["validation"] = errors.best(10)[0]
            rows[seed]["by_shots"] = {str(shots): errors.test(shots) for shots in SHOTS}
    return list(rows.values())


def trained(
    method: str, seeds: Sequence[int], outer_lr: float, looks: list[int]
) -> Iterator[tuple[int, int, Learner, nn.Module]]:
    """(iteration, seed, learner, network) at each of ``looks``. R2D2 learns numbers of its own, so it trains alone."""
    tasks = Hills(regions()["train"])
    if method != "R2D2":
        learner = METHODS[method]()
        for iteration, _, networks in train(learner, tasks, seeds, outer_lr, looks, 25, make=make_model):
            yield from ((iteration, seed, learner, network) for seed, network in zip(seeds, networks))
        return
    for seed in seeds:
        learner, network = METHODS[method](), make_model(seed)
        seen = []

        def keep(iteration: int, _) -> None:
            if iteration in looks:
                seen.append((iteration, seed, *copy.deepcopy((learner, network))))

        meta_train(learner, network, tasks, looks[-1], outer_lr=outer_lr, seed=seed, on_step=keep, progress=False)
        yield from seen


@dataclass
class Errors:
    """Mean errors of one network on squares that it was not trained on."""

    learner: Learner
    network: nn.Module
    seed: int
    num_tasks: int

    def test(self, shots: int) -> float:
        """At the inner rate that is best on validation squares."""
        return self.of("test", shots, self.best(shots)[1])

    def best(self, shots: int) -> tuple[float, float | None]:
        """The lowest validation error, and the inner rate that gave it."""
        rates = (None,) if isinstance(self.learner, R2D2) else TEST_LRS
        return min((self.of("validation", shots, lr), lr) for lr in rates)

    def of(self, part: str, shots: int, lr: float | None) -> float:
        first, steps = VALIDATION if part == "validation" else TEST, 0 if isinstance(self.learner, R2D2) else STEPS
        how = {"steps": [steps], "seed": first + self.seed, "lr": lr}
        return evaluate(self.learner, self.network, Hills(regions()[part], shots), self.num_tasks, **how).mean[0]


runs = Experiment(
    __file__,
    measure,
    seeds=range(20),
    cells=[{"method": method, "outer_lr": rate} for method in METHODS for rate in OUTER_LRS],
    settings={"looks": [10, 30, 100, 300, 1000], "test_tasks": 200},
    small={"looks": [1, 2], "test_tasks": 5},
    batched=True,
)


@cache
def chosen(method: str) -> float:
    """The outer rate with the lowest median validation error."""
    score = lambda rate: median(row["validation"] for row in runs.rows(method=method, outer_lr=rate))
    return min(OUTER_LRS, key=score)


def row(seed: int, method: str) -> dict:
    """One seed of a method at its chosen rate."""
    return runs.of(seed, method=method, outer_lr=chosen(method))[0]
