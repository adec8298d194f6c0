"""What meta-training does to the tangent features, by width and inner rate; a table of notebook 05.

    python -m course_lib experiments meta_features

MLPs 1-W-W-1 on sinusoids, meta-trained with one inner step (``maml``) or without the inner loop (``plain``: an inner
rate of 0, ordinary training with one head), Adam, 10 tasks of 10 + 10 points an iteration. Every cell is trained with
each of ``OUTER_LRS``; the reader of the table takes the one with the lowest median validation error (``best``).

``validation`` is the median query error of 200 tasks after one step (rate 0.01 for ``plain``); ``before`` and ``after``
are what ``describe`` says of the network before and after meta-training.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import torch
from torch import nn

from course_lib.algorithms import MAML
from course_lib.analysis.tangent import tangent_features
from course_lib.chapters.features import setup
from course_lib.engine.sweep import meta_train_sweep
from course_lib.evaluation import evaluate
from course_lib.kit.experiment import Experiment
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks

META_BATCH, VALIDATION_SEED, TOP = 10, 10_001, 8
LAYERS = ("features.0", "features.2", "head")


def describe(network: nn.Module) -> dict:
    """The tangent kernel over [-5, 5]: eigenvalues, energy of the sinusoids in the top 1 to 8, each layer's share."""
    network = network.double()
    blocks = [tangent_features(network, setup.GRID, only=[f"{layer}.weight", f"{layer}.bias"]) for layer in LAYERS]
    features = torch.cat(blocks, 1)  # [200, P]
    spectrum = setup.describe(features @ features.T)
    length = [block.square().sum().item() for block in blocks]
    return {
        "values": spectrum.values[:TOP].tolist(),
        "shares": spectrum.shares[:TOP].tolist(),
        "aligned": spectrum.aligned,
        "layers": [part / sum(length) for part in length],
    }


def measure(
    seeds: Sequence[int], way: str, width: int, inner_lr: float, outer_lrs: Sequence[float], iterations: int
) -> list[dict]:
    """A row for each seed and outer rate; the seeds train together."""
    rows, tasks = [], SinusoidTasks(shots=10, queries=10)
    learner = MAML(inner_steps=1, inner_lr=inner_lr or 0.01)
    for outer_lr in outer_lrs:
        networks = [MLP(hidden=(width, width), seed=seed) for seed in seeds]
        options = {"iterations": iterations, "meta_batch": META_BATCH, "outer_lr": outer_lr, "progress": False}
        trained, _ = meta_train_sweep(learner, networks, tasks, [inner_lr] * len(seeds), seeds, **options)
        for seed, old, new in zip(seeds, networks, trained):
            judged = evaluate(learner, new, tasks, num_tasks=200, steps=[1], seed=VALIDATION_SEED)
            row = {"seed": seed, "outer_lr": outer_lr, "validation": judged.query_losses[0].median().item()}
            rows.append(row | {"before": describe(old), "after": describe(new)})
    return rows


WIDTHS, INNER_LRS = (10, 20, 40, 80), (0.003, 0.01, 0.03)
OUTER_LRS = (1e-3, 3e-3, 1e-2)
runs = Experiment(
    __file__,
    measure,
    seeds=range(20),
    cells=[
        *({"way": "maml", "width": width, "inner_lr": 0.01} for width in WIDTHS),
        *({"way": "maml", "width": 40, "inner_lr": rate} for rate in INNER_LRS if rate != 0.01),
        {"way": "plain", "width": 40, "inner_lr": 0.0},
    ],
    settings={"outer_lrs": OUTER_LRS, "iterations": 2000},
    small={"iterations": 2, "outer_lrs": (1e-3,)},
    batched=True,
)


def best(seed: int | None = None, **cell) -> list[dict]:
    """The rows of a cell at the outer rate with the lowest median validation error; of one seed, or of the table."""
    found: dict[float, list[float]] = {}
    for row in runs.rows(**cell):
        found.setdefault(row["outer_lr"], []).append(row["validation"])
    rate = min(found, key=lambda outer_lr: median(found[outer_lr]))
    return runs.rows(outer_lr=rate, **cell) if seed is None else runs.of(seed, outer_lr=rate, **cell)
