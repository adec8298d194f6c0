"""MAML, ANIL, BOIL and R2D2 trained alike on sinusoids, for notebook 07.

Adam's rate, and the inner rate at test time, are each method's best by one rule: the lowest median error after ten
steps on tasks of their own (R2D2 takes none). All rows of the grid are kept. MAML's network is judged with everything,
with the head alone and with the body alone; the others as they were trained.
"""

from __future__ import annotations

from functools import cache
from statistics import median

from course_lib.algorithms import ANIL, MAML, R2D2, Learner
from course_lib.engine.sweep import meta_train_sweep
from course_lib.evaluation import evaluate
from course_lib.kit.experiment import Experiment
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks
from course_lib.training import meta_train

OUTER_LRS, TEST_LRS = (1e-3, 3e-3, 1e-2), (0.005, 0.01, 0.02, 0.05)
INNER_STEPS, INNER_LR, STEPS = 5, 0.01, 10
SHOTS = (2, 3, 5, 10, 20)
VALIDATION, TEST = 10_000, 20_000  # added to the seed: validation tasks and test tasks are no training tasks


class BOIL(MAML):
    """The body alone adapts (Oh, Yoo, Kim, Yun 2020, "BOIL", arXiv 2008.08882)."""

    only = "features"


METHODS = {"MAML": MAML, "ANIL": ANIL, "BOIL": BOIL, "R2D2": R2D2}
ONLY = {"everything": None, "head": "head", "body": "features"}
JUDGED = {"MAML": tuple(ONLY), "ANIL": ("head",), "BOIL": ("body",), "R2D2": ("head",)}  # what adapts at test time
AS_TRAINED = {method: parts[0] for method, parts in JUDGED.items()}


def measure(seeds: list[int], method: str, outer_lr: float, iterations: int, test_tasks: int) -> list[dict]:
    """Train one network a seed; a row for each, and for each of what may adapt at test time."""
    how = {"iterations": iterations, "outer_lr": outer_lr, "progress": False}
    models, tasks = [MLP(seed=seed) for seed in seeds], SinusoidTasks(shots=10)
    if method == "R2D2":
        learners = [R2D2() for _ in seeds]  # each learns a penalty of its own, which is judged with it
        for learner, model, seed in zip(learners, models, seeds):
            meta_train(learner, model, tasks, seed=seed, **how)
    else:
        learners = [METHODS[method](INNER_STEPS, INNER_LR)] * len(seeds)
        models = meta_train_sweep(learners[0], models, tasks, [INNER_LR] * len(seeds), seeds, **how)[0]
    return [
        {"seed": seed, "only": part} | judge(learner, model, seed, ONLY[part], test_tasks)
        for seed, learner, model in zip(seeds, learners, models)
        for part in JUDGED[method]
    ]


def judge(learner: Learner, model: MLP, seed: int, only: str | None, num_tasks: int) -> dict:
    """Median errors on new tasks: after 0, 1, ... steps with ten points, and after the last with few to many."""
    solved = isinstance(learner, R2D2)
    steps = [0] if solved else range(STEPS + 1)

    def errors(shots: int, lr: float | None, first: int) -> list[float]:
        only_now = None if solved else only
        tasks = SinusoidTasks(shots=shots, queries=20)
        result = evaluate(learner, model, tasks, num_tasks, steps=steps, seed=first + seed, only=only_now, lr=lr)
        return result.query_losses.median(1).values.tolist()

    def best(shots: int) -> tuple[float, float | None]:
        """The lowest validation error, and the rate that gave it."""
        return min((errors(shots, lr, VALIDATION)[-1], lr) for lr in ((None,) if solved else TEST_LRS))

    found = {shots: best(shots) for shots in SHOTS}
    few = {str(shots): errors(shots, lr, TEST)[-1] for shots, (_, lr) in found.items()}
    validation, rate = found[10]
    return {"validation": validation, "test_lr": rate, "errors": errors(10, rate, TEST), "by_shots": few}


runs = Experiment(
    __file__,
    measure,
    seeds=range(20),
    cells=[{"method": method, "outer_lr": rate} for method in METHODS for rate in OUTER_LRS],
    settings={"iterations": 1000, "test_tasks": 150},
    small={"iterations": 10, "test_tasks": 5},
    batched=True,
)


@cache
def chosen(method: str) -> float:
    """The outer rate of ``method`` by the rule of this file's head."""
    rows = runs.rows(method=method, only=AS_TRAINED[method])
    return min(OUTER_LRS, key=lambda rate: median(r["validation"] for r in rows if r["outer_lr"] == rate))


def row(seed: int, method: str, only: str | None = None) -> dict:
    """The row of one seed at the method's chosen rate; ``only`` as trained, unless given."""
    only = only or AS_TRAINED[method]
    return next(r for r in runs.of(seed, method=method, outer_lr=chosen(method)) if r["only"] == only)
