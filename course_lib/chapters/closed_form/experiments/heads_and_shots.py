"""The same body under every head, few shots to many, for notebook 07.

The shipped Conv4 bodies and an untrained one, 5-way episodes of one alphabet's characters that no body has seen, with 1
to 10 drawings of each. On the features of one episode every convex head is solved for, so all heads see the same
features of the same drawings. Features are centred and scaled with the mean and the mean square length of training
drawings, one shift and one number for a body, so that a lambda or a C means the same to each.

Beside them MAML itself: one step, as in its training, from its own head, on everything or on the head alone. Its body
normalises each batch by that batch (transductive); the others use running averages. Lambda, C and MAML's rate are the
best on episodes of training characters. A seed draws the test episodes. It needs Omniglot; the reduced run takes drawn
glyphs.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from course_lib import checkpoints
from course_lib.algorithms.solvers import Head, mean_head, ridge_head, svm_head
from course_lib.engine.recipes import STRIDED
from course_lib.evaluation import evaluate
from course_lib.kit.experiment import Experiment
from course_lib.losses import accuracy
from course_lib.models import Conv4
from course_lib.tasks import GlyphTasks, OmniglotTasks, TaskBatch

FAMILIES = {"omniglot": OmniglotTasks, "glyphs": GlyphTasks}
BODIES = ("r2d2", "metaoptnet", "protonet", "union", "maml", "untrained")
SHOTS, QUERIES, WAYS = (1, 2, 3, 5, 10), 5, 5
STRENGTHS = {"ridge": (0.01, 0.1, 1.0), "svm": (1.0, 10.0, 100.0), "means": (None,)}  # lambda; C
MAML_ONLY, FACTORS = {"MAML, everything": None, "MAML, head only": "head"}, (0.5, 1.0, 2.0)  # times its own rate
TRAINING_DRAWINGS = 1000


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


def accuracies(body: Body, batch: TaskBatch, heads: dict) -> dict:
    """Mean accuracy in % on the tasks' queries, for ``heads`` {name: (head, strength)}."""
    support, query = body(batch.support_x), body(batch.query_x)  # [T, S, D], [T, Q, D]
    scores = {}
    for name, (head, strength) in heads.items():
        weight, bias = fit(head, support, batch.support_y, strength)
        scores[name] = 100 * float(accuracy(query @ weight.mT + bias[:, None], batch.query_y).mean())
    return scores


def episodes(family: str, split: str, shots: int):
    """Tasks of characters of one alphabet."""
    how = {"ways": WAYS, "shots": shots, "queries": QUERIES, "rotations": False}
    return FAMILIES[family](split, **how, within_alphabet=family == "omniglot")


def maml_itself(family: str, split: str, shots: int, num_tasks: int, seed: int, factor: float, name: str) -> float:
    """Accuracy in % of MAML's network after the one step it was trained for, at ``factor`` times its own rate."""
    model, learner, _ = checkpoints.load("omniglot/maml")
    how = {"steps": [1], "seed": seed, "only": MAML_ONLY[name], "lr": factor * learner.inner_lr}
    return evaluate(learner, model, episodes(family, split, shots), num_tasks, **how).mean[0]


@cache
def choose(name: str, family: str, shots: int, num_tasks: int) -> dict:
    """The lambda, the C and MAML's factor that do best on episodes of training characters."""
    batch = episodes(family, "train", shots).sample(num_tasks, generator=torch.Generator().manual_seed(1))
    tried = {(head, value): (head, value) for head, values in STRENGTHS.items() for value in values}
    means = accuracies(body(name, family), batch, tried)
    best = {head: max(values, key=lambda v: means[head, v]) for head, values in STRENGTHS.items()}
    for row in MAML_ONLY if name == "maml" else ():
        best[row] = max(FACTORS, key=lambda f: maml_itself(family, "train", shots, num_tasks, 1, f, row))
    return best


body = cache(Body)


def measure(seed: int, body_name: str, family: str, test_tasks: int, tuning_tasks: int) -> list[dict]:
    """A row for each number of shots: the accuracy of every head on the same episodes, and how it was chosen."""
    rows = []
    for shots in SHOTS:
        chosen = choose(body_name, family, shots, tuning_tasks)
        batch = episodes(family, "test", shots).sample(test_tasks, generator=torch.Generator().manual_seed(seed))
        scores = accuracies(body(body_name, family), batch, {h: (h, chosen[h]) for h in STRENGTHS})
        for name in MAML_ONLY if body_name == "maml" else ():
            scores[name] = maml_itself(family, "test", shots, test_tasks, seed, chosen[name], name)
        rows.append({"shots": shots, "accuracy": scores, "chosen": chosen})
    return rows


runs = Experiment(
    __file__,
    measure,
    seeds=range(20),
    cells=[{"body_name": name} for name in BODIES],
    settings={"family": "omniglot", "test_tasks": 15, "tuning_tasks": 15},
    small={"family": "glyphs", "test_tasks": 2, "tuning_tasks": 2},
)
