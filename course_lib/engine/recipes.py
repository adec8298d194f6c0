"""Named ways to train: the papers' settings at full length, and what two CPU cores can do in minutes.

    python -m course_lib train omniglot --recipe r2d2                  minutes on two cores
    python -m course_lib train omniglot --recipe paper-maml-5way1shot   60,000 iterations: for a GPU

Every inner rate here is against a MEAN over the support set. MAML's released code divides each example's
cross-entropy by the shots and sums over N ways x K shots, which is N times the mean: its alpha = 0.4 at 5 ways
and 0.1 at 20 ways are both 2.0 here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

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


@dataclass(frozen=True)
class Recipe:
    """One training run, all of its settings.

    Args:
        method: "fomaml" or a name in ``algorithms.LEARNERS``.
        source: where the settings come from.
        settings: of the method, besides the loss.
        model: settings of MLP or Conv4. tasks: of the training tasks.
        test: of the tasks it is judged on, where they differ from those of training (ways, shots, queries).
        pool: train on all classes at once, so many drawings a batch (``tasks.AllClasses``); 0 for episodes.
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

    @property
    def outer(self) -> dict:
        """The outer loop's settings: ``meta_train(*recipe.build(family), **recipe.outer)`` trains."""
        names = "iterations", "meta_batch", "outer_lr", "optimizer", "schedule"
        return {name: getattr(self, name) for name in names}

    def build(self, family: str, seed: int = 0):
        """Learner, network and training tasks."""
        train_tasks, model = self.build_tasks(family), self.build_model(family, seed)
        return self.build_learner(family, model, train_tasks), model, train_tasks

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
        settings = dict(self.settings)
        if self.pool:  # one problem with one large head
            settings["head"] = StoredHeads(1, model.head.in_features, train_tasks.num_classes)
        elif self.method == "unionoftasks" and "head" not in settings:
            if getattr(train_tasks, "num_tasks", None) is None:
                raise ValueError(
                    "the union of tasks keeps a head for each of its training tasks, so they must be finitely many: "
                    "--recipe union, or sinusoids with --num-tasks 1000"
                )
            settings["head"] = StoredHeads(train_tasks.num_tasks, model.head.in_features, model.head.out_features)
        return (
            MAML(second_order=False, loss_fn=loss_fn, **settings)
            if self.method == "fomaml"
            else LEARNERS[self.method](loss_fn=loss_fn, **settings)
        )


def keep(learner: Learner) -> Learner:
    """The learner as it ships: without training tasks' stored heads, where new tasks get a head fitted."""
    settings = learner.settings()
    if (settings.get("head") or {}).get("kind") != "stored" or settings.get("test_head") in (None, "gradient"):
        return learner
    return type(learner).from_settings(settings | {"head": {"kind": "meta"}})


# Two CPU cores, real images: the network of Reptile's Omniglot (stride 2, 64 filters, flattened to 256),
# alphabets split as the data set's authors split them, rotations for training alone, rates that fall to zero.
MINUTES = "this course: minutes on two CPU cores, with the network of Reptile's Omniglot"
STRIDED = {"filters": 64, "downsample": "stride", "pooling": "flatten", "statistics": "running"}
ONE_SHOT = {"ways": 5, "shots": 1, "queries": 15}
TWENTY_WAY = {"ways": 20, "shots": 1, "queries": 5}  # more ways than the test's, as ProtoNet's authors advise
RIDGE = {"lam": 10.0, "scale": 10.0}
SOLVED = {"model": STRIDED, "test": ONE_SHOT, "outer_lr": 2e-3, "schedule": linear_decay, "steps": (0,)}
STEPPED = {
    "model": STRIDED | {"statistics": "batch"},
    "tasks": {"ways": 5, "shots": 1, "queries": 3},
    "test": ONE_SHOT,
    "meta_batch": 16,
    "iterations": 2500,
    "schedule": linear_decay,
    "steps": (0, 1, 3),
}
STEPPED_20 = STEPPED | {
    "tasks": {"ways": 20, "shots": 1, "queries": 2},
    "test": TWENTY_WAY,
    "meta_batch": 4,
    "iterations": 2000,
}
ONE_STEP = {"inner_steps": 1, "inner_lr": 0.4}
SMALL_STEP = MINUTES + "; alpha 0.4 against the mean is a fifth of MAML's step"
SMALLER_STEP = MINUTES + "; alpha 0.1: at 0.4 the first hundred losses average 2.3, above log 5"
FIVE_STEPS = MINUTES + "; after 300 iterations the loss is 1.2 with five inner steps, 2.3 with one"
REPTILE = "Reptile (arXiv 1803.02999), appendix A"
REPTILE_5WAY = REPTILE + (
    ": Adam(beta1 = 0) at 1e-3, 5 steps of 10 images, 10 training shots, 5 tasks, interpolation 1 to 0; "
    "but 2,000 iterations, not 100,000, and judged after 20 steps, not 50"
)
REPTILE_20WAY = REPTILE + (
    ": Adam(beta1 = 0) at 5e-4, 10 steps of 20 images, 10 training shots, 5 tasks, interpolation 1 to 0; "
    "but 1,000 iterations, not 200,000, and judged after 20 steps, not 50"
)


def reptile(
    ways: int, source: str, iterations: int, test: Mapping, steps: tuple[int, ...], split: Mapping | None = None
) -> Recipe:
    """Reptile's Omniglot: Adam inside, minibatches of a task's 10 training shots, outer step from 1 to 0."""
    inner = {"inner_steps": 5, "inner_lr": 1e-3, "inner_batch": 10}
    if ways == 20:
        inner = {"inner_steps": 10, "inner_lr": 5e-4, "inner_batch": 20}
    return Recipe(
        "reptile",
        source,
        inner | {"inner_optimizer": "adam", "carry": True},
        model=STRIDED | {"statistics": "batch"},
        tasks={"ways": ways, "shots": 10, "queries": 1} | (split or {}),
        test=test,
        iterations=iterations,
        meta_batch=5,
        outer_lr=1.0,
        optimizer=torch.optim.SGD,  # of Reptile's gradient: it interpolates
        schedule=linear_decay,
        steps=steps,
    )


TWO_CORES = {
    "r2d2": Recipe("r2d2", MINUTES, RIDGE, tasks=TWENTY_WAY, iterations=6000, meta_batch=2, **SOLVED),
    "protonet": Recipe(
        "protonet",
        MINUTES,
        {"scale": 0.05, "learn_scale": True},
        tasks=TWENTY_WAY,
        iterations=2500,
        meta_batch=1,
        **SOLVED,
    ),
    "metaoptnet": Recipe(
        "metaoptnet", MINUTES, {"scale": 10.0}, tasks=TWENTY_WAY, iterations=2500, meta_batch=2, **SOLVED
    ),
    "union": Recipe(
        "unionoftasks",
        MINUTES,
        {"test_head": "ridge"} | RIDGE,
        pool=128,
        iterations=2500,
        meta_batch=1,
        **SOLVED,
    ),
    "maml": Recipe("maml", SMALL_STEP, ONE_STEP, **STEPPED),
    "maml_20way": Recipe("maml", SMALL_STEP, ONE_STEP, **STEPPED_20),
    "fomaml": Recipe("fomaml", SMALLER_STEP, ONE_STEP | {"inner_lr": 0.1}, **STEPPED),
    "fomaml_20way": Recipe(
        "fomaml", FIVE_STEPS, {"inner_steps": 5, "inner_lr": 0.4}, **STEPPED_20 | {"steps": (0, 1, 5)}
    ),
    "anil": Recipe("anil", SMALL_STEP, ONE_STEP, **STEPPED),
    "anil_20way": Recipe("anil", SMALL_STEP, ONE_STEP, **STEPPED_20),
    "reptile": reptile(5, REPTILE_5WAY, 2000, ONE_SHOT, (0, 5, 20)),
    "reptile_20way": reptile(20, REPTILE_20WAY, 1000, TWENTY_WAY, (0, 10, 20)),
}

# The papers' settings at full length. Splits and queries differ between papers; see tasks.OmniglotTasks.
PAPER_SPLIT = {"splits": "characters", "rotations": True}  # 1,200 / 423 characters, rotations as classes
MAML_PAPER = "MAML (arXiv 1703.03400), appendix A.1 and released code, whose alpha {} is 2.0 against the mean"
ONE_STEP_TOO_FEW = "; here 5 steps of 0.4, since with one of 2.0 FOMAML's loss is still 1.0 after 22,000 iterations"
MAML_NET = {"filters": 64, "downsample": "stride", "pooling": "mean", "statistics": "batch"}
REPTILE_PAPER = REPTILE + " and released code"
REPTILE_SPLIT = {"splits": "characters"}  # rotations as classes in training alone
R2D2_PAPER = (
    "R2D2 (arXiv 1805.08136), without its leaky ReLU, dropout and features of the last two blocks; its lists of "
    "characters are its own, ours are drawn by a seed"
)
METAOPT_PAPER = "R2D2's recipe with the head of MetaOptNet (arXiv 1904.03758), whose paper has no Omniglot"
PROTONET_PAPER = "ProtoNet (arXiv 1703.05175), section 3.1: 60-way, 5 queries, Adam 1e-3 halved every 2,000 episodes"


def maml_paper(ways: int, shots: int, method: str = "maml") -> Recipe:
    """MAML's Omniglot: 5 ways take 1 inner step and 32 tasks, 20 ways 5 and 16; as many queries as shots."""
    few = ways == 5
    counts = {"ways": ways, "shots": shots, "queries": shots} | PAPER_SPLIT
    inner = {"inner_steps": 1 if few else 5, "inner_lr": 2.0}
    source = MAML_PAPER.format(0.4 if few else 0.1)
    if method == "fomaml" and few:
        inner, source = {"inner_steps": 5, "inner_lr": 0.4}, source + ONE_STEP_TOO_FEW
    return Recipe(
        method,
        source,
        inner,
        model=MAML_NET,
        tasks=counts,
        iterations=60_000,
        meta_batch=32 if few else 16,
        steps=(0, 1, 3) if few else (0, 5),
    )


def solved_paper(method: str, source: str, settings: dict, model: dict, outer_lr: float, shots: int = 1) -> Recipe:
    """A solved head trained on 60 ways, one task an iteration, halved every 2,000; serves any ways."""
    return Recipe(
        method,
        source,
        settings,
        model={"statistics": "running"} | model,
        tasks={"ways": 60, "shots": shots, "queries": 5} | PAPER_SPLIT,
        test={"ways": 5, "queries": 15},
        iterations=20_000,
        meta_batch=1,
        outer_lr=outer_lr,
        schedule=halved_every(2000, of=20_000),
        steps=(0,),
    )


WIDE = {"filters": [96, 192, 384, 512]}
PAPERS = {
    **{
        f"paper-{m}-{w}way{s}shot": maml_paper(w, s, m)
        for m in ("maml", "fomaml", "anil")
        for w in (5, 20)
        for s in (1, 5)
    },
    **{
        f"paper-reptile-{w}way{s}shot": reptile(w, REPTILE_PAPER, n, {"shots": s}, (0, 50), REPTILE_SPLIT)
        for w, n in ((5, 100_000), (20, 200_000))
        for s in (1, 5)
    },
    "paper-r2d2": solved_paper("r2d2", R2D2_PAPER, {"lam": 50.0}, WIDE, 5e-3),
    "paper-metaoptnet": solved_paper("metaoptnet", METAOPT_PAPER, {"C": 0.1}, WIDE, 5e-3),
    "paper-protonet-1shot": solved_paper("protonet", PROTONET_PAPER, {}, {"filters": 64}, 1e-3),
    "paper-protonet-5shot": solved_paper("protonet", PROTONET_PAPER, {}, {"filters": 64}, 1e-3, shots=5),
}

# The sinusoid: 5,000 iterations of 25 tasks of 10 + 10 points; MAML, section 5.1, but for its 70,000 iterations.
SINE = "MAML (arXiv 1703.03400), section 5.1, in 5,000 iterations"
SINE_REPTILE = "this course: minibatches of 10 of all 20 points, interpolation 1 to 0; 5,000 iterations"
SINE_TUNED = "this course: section 5.1, but Adam at the best of 0.001, 0.003 and 0.01 on validation tasks"
TUNED = {"iterations": 10_000, "outer_lr": 3e-3}
SINUSOID = {
    "maml_k1": Recipe("maml", SINE, {"inner_steps": 1, "inner_lr": 0.01}),
    "maml_k5": Recipe("maml", SINE, {"inner_steps": 5, "inner_lr": 0.01}),
    "maml_k1_tuned": Recipe("maml", SINE_TUNED, {"inner_steps": 1, "inner_lr": 0.01}, **TUNED),
    "maml_k5_tuned": Recipe("maml", SINE_TUNED, {"inner_steps": 5, "inner_lr": 0.01}, **TUNED),
    "fomaml_k5": Recipe("fomaml", SINE, {"inner_steps": 5, "inner_lr": 0.01}),
    "anil_k5": Recipe("anil", SINE, {"inner_steps": 5, "inner_lr": 0.01}),
    "r2d2": Recipe(
        "r2d2", SINE + ", ridge head, lambda learnt from 0.1", {"lam": 0.1, "learn_scale": False}, steps=(0,)
    ),
    "reptile_k5": Recipe(
        "reptile",
        SINE_REPTILE,
        {"inner_steps": 5, "inner_lr": 0.02, "inner_batch": 10, "use_queries": True},
        outer_lr=1.0,
        optimizer=torch.optim.SGD,  # of Reptile's gradient: it interpolates
        schedule=linear_decay,
    ),
    "union": Recipe(
        "unionoftasks",
        SINE + ", 1,000 tasks that come back, a head each; ridge head at test time",
        {"lam": 0.1},
        tasks={"num_tasks": 1000},
        steps=(0,),
    ),
    "pretrained": Recipe("maml", SINE + ", all tasks with one shared head", {"inner_steps": 0, "inner_lr": 0.01}),
}

RECIPES: dict[str, dict[str, Recipe]] = {
    "omniglot": TWO_CORES | PAPERS,
    "glyphs": TWO_CORES,
    "sinusoid": SINUSOID,
}


def find(family: str, name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ValueError: there is none; lists those there are.
    """
    if name not in RECIPES[family]:
        raise ValueError(f"no recipe {name!r} for {family}; there are {', '.join(RECIPES[family]) or 'none'}")
    return RECIPES[family][name]
