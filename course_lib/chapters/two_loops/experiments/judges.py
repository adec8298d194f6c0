"""Who judges in the outer loop, held-out points or the support set once more, at 3, 5, 10 and 20 shots.

MAML (k = 1) on sinusoids with as many query points as support points; every network is scored on new tasks, held out.
The outer rate is chosen for each judge and number of shots, by the median error of validation tasks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from course_lib.algorithms import MAML
from course_lib.kit.experiment import Experiment
from course_lib.kit.many_seeds import INNER_LR, OUTER_LRS, VALIDATION, errors, train
from course_lib.tasks import SinusoidTasks, TaskBatch

SHOTS, JUDGES = (3, 5, 10, 20), ("query", "support")


class JudgedOnSupport(SinusoidTasks):
    """Sinusoid tasks whose query set is the support set once more."""

    def sample(self, num_tasks: int, *, generator: torch.Generator) -> TaskBatch:
        batch = super().sample(num_tasks, generator=generator)
        return TaskBatch(batch.support_x, batch.support_y, batch.support_x, batch.support_y)


def measure(
    seeds: Sequence[int], shots: int, judge: str, outer_lr: float, iterations: int = 1500, num_tasks: int = 300
) -> list[dict]:
    """One row per seed: "claimed", the loss it trained on (the last fifty), and "test", the error that counts."""
    family, rows = (JudgedOnSupport if judge == "support" else SinusoidTasks)(shots, shots), []
    *_, (_, losses, networks) = train(MAML(1, INNER_LR), family, seeds, outer_lr, [iterations])
    for seed, network, claimed in zip(seeds, networks, losses[-50:].mean(0)):
        row = {"seed": seed, "claimed": claimed.item()}
        row["validation"] = errors(network, [1], num_tasks, VALIDATION, shots)[0].median().item()
        rows.append(row | {"test": errors(network, [1], num_tasks, shots=shots)[0].mean().item()})
    return rows


runs = Experiment(
    __file__,
    measure,
    seeds=range(20),
    cells=[{"shots": n, "judge": judge, "outer_lr": rate} for n in SHOTS for judge in JUDGES for rate in OUTER_LRS],
    settings={"iterations": 1500, "num_tasks": 300},
    small={"iterations": 3, "num_tasks": 10},
    batched=True,
)
