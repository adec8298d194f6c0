"""Named ways to train: the papers' settings at full length, and what two CPU cores can do in minutes.

    python -m course_lib train omniglot --recipe r2d2             minutes on two cores
    python -m course_lib train omniglot --recipe paper-maml       60,000 iterations: for a GPU

Every inner rate here is against a MEAN over the support set. MAML's released code divides each example's cross-entropy
by the shots and sums over N ways x K shots, which is N times the mean: its alpha = 0.4 at 5 ways and 0.1 at 20 ways are
both 2.0 here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from course_lib import losses, tasks
from course_lib.algorithms import LEARNERS, MAML, Learner
from course_lib.algorithms.heads import StoredHeads
from course_lib.models import MLP, Conv4
from course_lib.training import Optimizer, adam, linear_decay

FAMILIES = {"sinusoid": tasks.SinusoidTasks, "omniglot": tasks.OmniglotTasks, "glyphs": tasks.GlyphTasks}


def halved_every(iterations: int, of: int) -> Callable[[float], float]:
    """A rate halved after every ``iterations`` of a run of ``of``: progress 0..1 -> factor.

    >>> halved_every(2000, of=10_000)(0.5)
    0.25
    """
    return lambda progress: 0.5 ** (progress * of // iterations)


def interpolate(parameters: Iterable[Tensor], lr: float) -> torch.optim.Optimizer:
    """Plain descent: with Reptile's gradient, theta <- theta + lr (mean of adapted - theta)."""
    return torch.optim.SGD(parameters, lr=lr)


def adam_without_momentum(parameters: Iterable[Tensor], lr: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=lr, betas=(0.0, 0.999))


@dataclass(frozen=True)
class Recipe:
    """One training run, all of its settings.

    Args:
        method: "fomaml" or a name in ``algorithms.LEARNERS``.
        source: where the settings come from.
        settings: of the method, besides the loss. model: of MLP or Conv4. tasks: of the training tasks.
        test: of the tasks it is judged on, where they differ from those of training (ways, shots, queries).
        pool: train on all classes at once in batches of so many drawings (``tasks.AllClasses``); 0 for episodes.
        steps: numbers of fine-tuning steps at which it is judged.
    """

    method: str
    source: str
    settings: Mapping = field(default_factory=dict)
    model: Mapping = field(default_factory=dict)
    tasks: Mapping = field(default_factory=dict)
    test: Mapping = field(default_factory=dict)
    pool: int = 0
    iterations: int = 5000
    meta_batch: int = 25
    outer_lr: float = 1e-3
    optimizer: Optimizer = adam
    schedule: Callable[[float], float] | None = None
    steps: tuple[int, ...] = (0, 1, 5, 10)

    def build_tasks(self, family: str, test: bool = False, **changes):
        """What to train on, or with ``test`` new tasks to be judged on."""
        if family == "sinusoid":
            settings = dict(self.tasks) | ({"num_tasks": None} | dict(self.test) if test else {})
            return tasks.SinusoidTasks(**settings | changes)
        settings = dict(self.tasks) | (dict(self.test) if test else {}) | changes
        episodes = FAMILIES[family]("test" if test else "train", **settings)
        return episodes if test or not self.pool else tasks.AllClasses(episodes, self.pool)

    def build_model(self, family: str, seed: int = 0):
        if family == "sinusoid":
            return MLP(**{"seed": seed} | dict(self.model))
        ways = self.test.get("ways", self.tasks.get("ways", 5)) if self.pool else self.tasks.get("ways", 5)
        return Conv4(**{"ways": ways, "seed": seed} | dict(self.model))

    def build_learner(self, family: str, model, train_tasks) -> Learner:
        loss_fn = losses.mse if family == "sinusoid" else losses.cross_entropy
        settings = {"loss_fn": loss_fn} | dict(self.settings)
        if self.pool:  # one problem with one large head
            settings["head"] = StoredHeads(1, model.head.in_features, train_tasks.num_classes)
        elif self.method == "unionoftasks" and "head" not in settings:
            settings["head"] = StoredHeads(train_tasks.num_tasks, model.head.in_features, model.head.out_features)
        return MAML(second_order=False, **settings) if self.method == "fomaml" else LEARNERS[self.method](**settings)


def keep(learner: Learner) -> Learner:
    """The learner as it ships: without the stored heads of training tasks, where new tasks get a head fitted."""
    settings = learner.settings()
    if settings.get("head", {}).get("kind") != "stored" or settings.get("test_head") in (None, "gradient"):
        return learner
    return type(learner).from_settings(settings | {"head": {"kind": "meta"}})


EPISODES_1SHOT = {"ways": 5, "shots": 1, "queries": 15}
STRIDED = {"filters": 64, "downsample": "stride", "pooling": "flatten", "statistics": "running"}
TWO_CORES = "this course: a budget of minutes on two CPU cores; Conv4 as Reptile's (stride 2, 64 filters, flattened to 256)"
HEAD = {"model": STRIDED, "test": EPISODES_1SHOT, "schedule": linear_decay, "steps": (0,)}
TWENTY_WAY = {"ways": 20, "shots": 1, "queries": 5}  # more ways than at test time help, as ProtoNet's authors found
FIVE_WAY = {"ways": 5, "shots": 1, "queries": 3}
LOOP = {"model": STRIDED | {"statistics": "batch"}, "tasks": FIVE_WAY, "test": EPISODES_1SHOT, "schedule": linear_decay}

OMNIGLOT = {
    "r2d2": Recipe(
        "r2d2", TWO_CORES, {"lam": 10.0, "scale": 10.0}, tasks=TWENTY_WAY, iterations=6000, meta_batch=2, outer_lr=2e-3, **HEAD
    ),
    "protonet": Recipe(
        "protonet", TWO_CORES, {"scale": 0.05, "learn_scale": True}, tasks=TWENTY_WAY, iterations=5000, meta_batch=2,
        outer_lr=2e-3, **HEAD
    ),
    "union": Recipe(
        "unionoftasks", TWO_CORES, {"test_head": "ridge", "lam": 10.0, "scale": 10.0}, pool=256, iterations=5000, meta_batch=1,
        outer_lr=2e-3, **HEAD
    ),
    "maml": Recipe(
        "maml", TWO_CORES + "; alpha 0.4 against the mean, a fifth of the paper's step", {"inner_steps": 1, "inner_lr": 0.4},
        iterations=4000, meta_batch=16, steps=(0, 1, 3, 5), **LOOP
    ),
}

RECIPES: dict[str, dict[str, Recipe]] = {"omniglot": OMNIGLOT, "glyphs": OMNIGLOT, "sinusoid": {}}


def find(family: str, name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ValueError: there is none; lists those there are.
    """
    if name not in RECIPES[family]:
        raise ValueError(f"no recipe {name!r} for {family}; there are {', '.join(RECIPES[family]) or 'none'}")
    return RECIPES[family][name]
