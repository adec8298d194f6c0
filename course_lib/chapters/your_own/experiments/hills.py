"""Four ways to learn hills, against the outer steps, for notebook 10.

MAML, ANIL, R2D2 and a network pre-trained with one head on all squares, which is fine-tuned like MAML's. Adam's rate,
and the inner rate at test time, are each method's best on the validation part of the map (ten points, ten steps; R2D2
takes none). Errors are means over test squares in the part of the map that nothing was trained or chosen on.
"""

from __future__ import annotations

from functools import cache
from statistics import median

from course_lib.algorithms import ANIL, MAML, R2D2
from course_lib.chapters.your_own.template import Hills, load_map, make_model
from course_lib.evaluation import evaluate
from course_lib.kit.experiment import Experiment
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


def measure(seed: int, method: str, outer_lr: float, looks: list[int], test_tasks: int) -> list[dict]:
    """Train one network; its test error at every number of outer steps in ``looks``, and at the last for all shots."""
    learner, model, regions = METHODS[method](), make_model(seed), load_map()
    steps = 0 if method == "R2D2" else STEPS

    def error(part: str, shots: int, lr: float | None) -> float:
        first = VALIDATION if part == "validation" else TEST
        how = {"steps": [steps], "seed": first + seed, "lr": lr}
        return evaluate(learner, model, Hills(regions[part], shots), test_tasks, **how).mean[0]

    def best(shots: int) -> tuple[float, float | None]:
        """The lowest validation error, and the inner rate that gave it."""
        return min((error("validation", shots, lr), lr) for lr in ((None,) if method == "R2D2" else TEST_LRS))

    curve = {}

    def look(iteration: int, info: dict) -> None:
        if iteration in looks:
            curve[str(iteration)] = error("test", 10, best(10)[1])

    how = {"outer_lr": outer_lr, "seed": seed, "on_step": look, "progress": False}
    meta_train(learner, model, Hills(regions["train"]), max(looks), **how)
    few = {str(shots): error("test", shots, best(shots)[1]) for shots in SHOTS}
    return [{"validation": best(10)[0], "curve": curve, "by_shots": few}]


runs = Experiment(
    __file__,
    measure,
    seeds=range(20),
    cells=[{"method": method, "outer_lr": rate} for method in METHODS for rate in OUTER_LRS],
    settings={"looks": [10, 30, 100, 300, 1000], "test_tasks": 200},
    small={"looks": [1, 2], "test_tasks": 5},
)


@cache
def chosen(method: str) -> float:
    """The outer rate with the lowest median validation error."""
    score = lambda rate: median(row["validation"] for row in runs.rows(method=method, outer_lr=rate))
    return min(OUTER_LRS, key=score)


def row(seed: int, method: str) -> dict:
    """One seed of a method at its chosen rate."""
    return runs.of(seed, method=method, outer_lr=chosen(method))[0]
