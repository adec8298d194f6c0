"""Is the head enough? Fine-tuning everything against the head alone, from shipped checkpoints; a table of notebook 05.

    python -m course_lib experiments features/reuse

The claim of ANIL's paper (arXiv 1909.09157, table 1: MAML and the same network with the head alone adapted at test
time score alike on images), and the same on sinusoids. Both ways have the inner rate and the number of steps that give
the best median (of accuracy, of error) on validation tasks: rates are multiples of the checkpoint's own. A head needs
more steps than everything does, so the grids go on until more of them gain nothing. It needs Omniglot; the glyphs are
drawn.
"""

from __future__ import annotations

import math
from statistics import median

from course_lib import checkpoints
from course_lib.evaluation import Evaluation, evaluate
from course_lib.kit.experiment import Experiment
from course_lib.tasks import GlyphTasks, OmniglotTasks, SinusoidTasks

PARTS = {"everything": None, "head": "head"}  # what fine-tuning may change
CHECKPOINTS = {  # name: data it is judged on
    "sinusoid/maml_k1": "sinusoid",
    "sinusoid/maml_k5": "sinusoid",
    "omniglot/maml": "glyphs",
    "papers/maml_5way1shot": "omniglot",
}
MULTIPLES = {"sinusoid": (1, 5, 20), "glyphs": (0.3, 1), "omniglot": (0.3, 1, 3)}  # of the checkpoint's own inner rate
STEPS = {"sinusoid": (1, 10, 100, 300), "glyphs": (1, 3, 10), "omniglot": (1, 3, 10, 30)}


def family(data: str):
    """Tasks of ten sinusoid points, or five characters with one drawing each."""
    if data == "sinusoid":
        return SinusoidTasks(shots=10, queries=50)
    episodes = {"ways": 5, "shots": 1, "queries": 15}
    if data == "glyphs":
        return GlyphTasks("test", **episodes)
    return OmniglotTasks("test", splits="characters", download=False, **episodes)  # as the checkpoint was trained


def measure(seed: int, checkpoint: str, tasks: int) -> list[dict]:
    """A row for each part, multiple and number of steps: medians over ``tasks`` validation and test tasks."""
    data = CHECKPOINTS[checkpoint]
    drawn = family(data)
    model, learner, _ = checkpoints.load(checkpoint)
    rows = []
    for part, only in PARTS.items():
        for multiple in MULTIPLES[data]:
            options = {"num_tasks": tasks, "steps": STEPS[data], "only": only, "lr": multiple * learner.inner_lr}
            judged = [evaluate(learner, model, drawn, seed=s, **options) for s in (10_000 + seed, seed)]
            for steps, validation, score in zip(STEPS[data], *map(scores, judged)):
                row = {"part": part, "multiple": multiple, "steps": steps}
                rows.append(row | {"validation": validation, "score": score})
    return rows


def scores(judged: Evaluation) -> list[float]:
    """Mean accuracy in %, or for sinusoids the median error, after each number of steps."""
    return judged.mean if judged.accuracies is not None else judged.query_losses.median(1).values.tolist()


runs = Experiment(
    __file__,
    measure,
    seeds=range(20),
    cells=[{"checkpoint": name} for name in CHECKPOINTS],
    settings={"tasks": 24},
    small={"tasks": 2},
)


def best(checkpoint: str, part: str, seed: int | None = None) -> list[dict]:
    """The rows at the rate and number of steps that are best on validation tasks; of one seed, or of the table."""
    found: dict[tuple[int, int], list[float]] = {}
    for row in runs.rows(checkpoint=checkpoint, part=part):
        found.setdefault((row["multiple"], row["steps"]), []).append(row["validation"])
    better = (lambda score: -score) if CHECKPOINTS[checkpoint] == "sinusoid" else (lambda score: score)
    middle = lambda how: median(-math.inf if math.isnan(score) else better(score) for score in found[how])
    multiple, steps = max(found, key=middle)
    where = {"checkpoint": checkpoint, "part": part, "multiple": multiple, "steps": steps}
    return runs.rows(**where) if seed is None else runs.of(seed, **where)
