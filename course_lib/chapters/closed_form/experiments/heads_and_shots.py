"""The same body under every head, few shots to many, for notebook 07.

    python -m course_lib.chapters.closed_form.experiments.heads_and_shots

The shipped Conv4 bodies and an untrained one, 5-way episodes of test characters that no body has seen, from
1 to 10 drawings of each. On the features of one episode every convex head is solved for; so all heads see the
same features of the same drawings, and differences between heads can be paired by episode. Features are
centred and scaled with the mean and the mean square length of training drawings, one shift and one number for
a body, so that a lambda or a C means the same to each. Both are chosen on episodes of training characters.

Beside them MAML itself: one step, as in its training, from its own head, on everything or on the head alone.
Its body normalises each batch by that batch (transductive); the others use running averages.

Writes heads_and_shots.json: means and half widths of 95 % intervals {body: {classes: {head: {shots: [mean,
half]}}}}, paired differences to the ridge head alike, the strengths chosen, and the record. ``--bodies``
measures some bodies and keeps the rest of the table. It needs Omniglot; with ``--family glyphs`` nothing is
written and a smaller table of drawn glyphs is printed.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from course_lib import checkpoints
from course_lib.algorithms.solvers import Head, mean_head, ridge_head, svm_head
from course_lib.checkpoints.recipes import STRIDED
from course_lib.engine.files import write_whole
from course_lib.evaluation import evaluate, interval95
from course_lib.losses import accuracy
from course_lib.models import Conv4
from course_lib.tasks import GlyphTasks, OmniglotTasks, TaskBatch

FAMILIES = {"omniglot": OmniglotTasks, "glyphs": GlyphTasks}
BODIES = ("r2d2", "metaoptnet", "protonet", "union", "maml", "untrained")
SHOTS, QUERIES, WAYS = (1, 2, 3, 5, 10), 5, 5
CLASSES = {"any": False, "one alphabet": True}
STRENGTHS = {"ridge": (0.01, 0.1, 1.0), "svm": (1.0, 10.0, 100.0), "means": (None,)}  # lambda; C
TEST_TASKS, TUNING_TASKS, TRAINING_DRAWINGS = 300, 40, 1000
FILE = Path(__file__).with_suffix(".json")


class Body:
    """A network whose features are centred and scaled by training drawings.

    Args:
        name: of a shipped checkpoint, or "untrained".
        family: whose training drawings.
    """

    def __init__(self, name: str, family: str = "omniglot"):
        untrained = name == "untrained"
        self.model = Conv4(WAYS, **STRIDED) if untrained else checkpoints.load(f"omniglot/{name}")[0]
        self.model.eval()
        images = FAMILIES[family]("train", rotations=False).images.flatten(0, 1)  # [N, 28, 28]
        some = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:TRAINING_DRAWINGS]
        with torch.no_grad():
            z = self.model.features(images[some, None].float() / 255)  # [TRAINING_DRAWINGS, D]
        self.center = z.mean(0)  # [D]
        self.length = (z - self.center).square().sum(1).mean().sqrt()

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """Features [T, N, D] of images [T, N, 1, 28, 28], one task at a time: its images are one batch."""
        return torch.stack([self.model.features(images) - self.center for images in x]) / self.length


def fit(head: str, z: Tensor, y: Tensor, strength: float | None) -> Head:
    """The ``head`` of that name for z [T, S, D] and labels y [T, S]; ``strength`` is its lambda or C."""
    if head == "ridge":
        return ridge_head(z, y, strength, WAYS)
    return svm_head(z, y, strength, WAYS) if head == "svm" else mean_head(z, y, WAYS)


def accuracies(body: Body, batch: TaskBatch, heads: dict[str, tuple]) -> dict[str, Tensor]:
    """Accuracy in % on every task's queries {name: [T]}, for ``heads`` {name: (head, strength)}."""
    support, query = body(batch.support_x), body(batch.query_x)  # [T, S, D], [T, Q, D]
    scores = {}
    for name, (head, strength) in heads.items():
        weight, bias = fit(head, support, batch.support_y, strength)
        scores[name] = 100 * accuracy(query @ weight.mT + bias[:, None], batch.query_y)
    return scores


def episodes(family: str, split: str, shots: int, classes: str, num_tasks: int, seed: int = 0) -> TaskBatch:
    tasks = FAMILIES[family](
        split, ways=WAYS, shots=shots, queries=QUERIES, rotations=False, within_alphabet=CLASSES[classes]
    )
    return tasks.sample(num_tasks, generator=torch.Generator().manual_seed(seed))


def choose(body: Body, family: str, shots: int, num_tasks: int = TUNING_TASKS) -> dict[str, float | None]:
    """The lambda and the C that do best on episodes of training characters {head: strength}."""
    batch = episodes(family, "train", shots, "one alphabet", num_tasks, seed=1)
    tried = {(head, value): (head, value) for head, values in STRENGTHS.items() for value in values}
    means = {key: float(scores.mean()) for key, scores in accuracies(body, batch, tried).items()}
    return {head: max(values, key=lambda v: means[head, v]) for head, values in STRENGTHS.items()}


def measure(
    body: Body, family: str, shots: int, classes: str, num_tasks: int, strengths: dict
) -> dict[str, Tensor]:
    """Accuracies of all heads on the same test episodes {head: [T]}."""
    batch = episodes(family, "test", shots, classes, num_tasks)
    return accuracies(body, batch, {head: (head, strength) for head, strength in strengths.items()})


def maml_itself(family: str, shots: int, classes: str, num_tasks: int) -> dict[str, Tensor]:
    """MAML after the one step it was trained for: on everything, and on the head alone {name: [T]}."""
    model, learner, _ = checkpoints.load("omniglot/maml")
    tasks = FAMILIES[family](
        "test", ways=WAYS, shots=shots, queries=QUERIES, rotations=False, within_alphabet=CLASSES[classes]
    )
    which = {"MAML, everything": None, "MAML, head only": "head"}
    return {
        name: evaluate(learner, model, tasks, num_tasks, steps=[1], only=only).scores[0]
        for name, only in which.items()
    }


def summary(scores: Tensor) -> list[float]:
    """[mean, half width of its 95 % interval]."""
    return [round(float(scores.mean()), 3), round(float(interval95(scores)), 3)]


def table(family: str, bodies: tuple[str, ...] = BODIES, num_tasks: int = TEST_TASKS) -> dict:
    """Everything, as it is written."""
    result = {"accuracy": {}, "minus_ridge": {}, "strengths": {}}
    for name in bodies:
        body = Body(name, family)
        chosen = {shots: choose(body, family, shots, min(num_tasks, TUNING_TASKS)) for shots in SHOTS}
        result["strengths"][name] = {str(s): {h: v for h, v in of.items() if v} for s, of in chosen.items()}
        for part in ("accuracy", "minus_ridge"):
            result[part][name] = {classes: {} for classes in CLASSES}
        for classes in CLASSES:
            for shots in SHOTS:
                scores = measure(body, family, shots, classes, num_tasks, chosen[shots])
                if name == "maml":
                    scores |= maml_itself(family, shots, classes, num_tasks)
                for head, values in scores.items():
                    for part, what in (("accuracy", values), ("minus_ridge", values - scores["ridge"])):
                        result[part][name][classes].setdefault(head, {})[str(shots)] = summary(what)
            for head, row in result["accuracy"][name][classes].items():
                print(f"{name:>10s}, {classes:>12s}, {head:>16s}: {row}", flush=True)
    return result


@lru_cache(maxsize=1)
def load() -> dict:
    """The shipped table.

    >>> sorted(load()["accuracy"]["r2d2"]["any"])
    ['means', 'ridge', 'svm']
    """
    return json.loads(FILE.read_text())


def main(argv: list[str] | None = None) -> None:
    """Measure everything; on Omniglot write the table with its record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", choices=FAMILIES, default="omniglot")
    parser.add_argument(
        "--bodies", nargs="+", choices=BODIES, default=BODIES, help="which to measure (default: all)"
    )
    args = parser.parse_args(argv)
    started = time.perf_counter()
    if args.family == "glyphs":
        table("glyphs", args.bodies, num_tasks=40)
        return
    new = table("omniglot", args.bodies)
    kept = {} if set(args.bodies) == set(BODIES) else load()
    content = {
        "family": "Omniglot",
        "ways": WAYS,
        "shots": SHOTS,
        "queries": QUERIES,
        "test_tasks": TEST_TASKS,
    }
    for part, rows in new.items():
        rows = kept.get(part, {}) | rows
        content[part] = {body: rows[body] for body in BODIES if body in rows}
    seconds = kept.get("seconds", 0) + time.perf_counter() - started
    content |= checkpoints.provenance("python -m course_lib.chapters.closed_form.experiments.heads_and_shots", seconds)
    write_whole(FILE, json.dumps(content, indent=1) + "\n")
    print(f"{FILE.name} in {content['seconds']} s")


if __name__ == "__main__":
    main()
