"""MAML, ANIL and MAML's network with a part alone, on real images after 0 to 10 steps, for notebook 07.

The shipped networks on 5-way 1-shot episodes of Omniglot's test characters; beside them the ridge head of R2D2's
network, which takes no step. The inner rate at test time is each row's best after five steps, on episodes of training
characters. MAML and ANIL normalise each batch by that batch (transductive), R2D2 uses running averages. MAML's and
ANIL's networks had 2,500 iterations each, R2D2's 6,000. A seed draws the test episodes. It needs Omniglot; the reduced
run takes drawn glyphs.
"""

from __future__ import annotations

from functools import cache

from course_lib import checkpoints
from course_lib.evaluation import evaluate
from course_lib.kit.experiment import Experiment
from course_lib.tasks import GlyphTasks, OmniglotTasks

ROWS = {  # row: (network, what adapts at test time)
    "MAML": ("maml", None),
    "head": ("maml", "head"),
    "body": ("maml", "features"),
    "ANIL": ("anil", "head"),
    "R2D2": ("r2d2", None),
}
STEPS, FACTORS, QUERIES = 10, (0.5, 1.0, 2.0), 5  # factors of the rate in training
FAMILIES = {"omniglot": OmniglotTasks, "glyphs": GlyphTasks}


def score(row: str, family: str, split: str, num_tasks: int, seed: int, factor: float, steps) -> list[float]:
    """Accuracy in % after each number of ``steps``."""
    name, only = ROWS[row]
    model, learner, _ = checkpoints.load(f"omniglot/{name}")
    tasks = FAMILIES[family](split, ways=5, shots=1, queries=QUERIES)
    how = {"seed": seed, "only": only, "lr": None if name == "r2d2" else factor * learner.inner_lr}
    return evaluate(learner, model, tasks, num_tasks, steps=[0] if name == "r2d2" else steps, **how).mean


@cache
def choose(row: str, family: str, num_tasks: int) -> float:
    """The factor of the training rate that does best after five steps on episodes of training characters."""
    factors = (1.0,) if row == "R2D2" else FACTORS
    return max(factors, key=lambda factor: score(row, family, "train", num_tasks, 1, factor, [5])[-1])


def measure(seed: int, row: str, family: str, test_tasks: int, tuning_tasks: int) -> list[dict]:
    """One row of ROWS: accuracies in % after 0, 1, ... steps, and the factor chosen."""
    factor = choose(row, family, tuning_tasks)
    return [{"factor": factor, "accuracy": score(row, family, "test", test_tasks, seed, factor, range(STEPS + 1))}]


runs = Experiment(
    __file__,
    measure,
    seeds=range(20),
    cells=[{"row": row} for row in ROWS],
    settings={"family": "omniglot", "test_tasks": 12, "tuning_tasks": 12},
    small={"family": "glyphs", "test_tasks": 2, "tuning_tasks": 2},
)
