"""Networks trained from many seeds at once, and how they do on new tasks: for the experiments.

A run of eight seeds costs little more than two alone; every one ends where ``meta_train`` would have brought it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from course_lib.algorithms import MAML, Learner
from course_lib.engine.run import threads_for
from course_lib.engine.sweep import Runs
from course_lib.evaluation import evaluate
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks
from course_lib.training import Optimizer, adam

META_BATCH, INNER_LR = 10, 0.01
OUTER_LRS = (1e-3, 3e-3, 1e-2)  # the grid of which each method gets the rate that suits it
VALIDATION, TEST = 20_000, 10_000  # seeds of the tasks that choose a rate, and of those that count
WORST = 1e6  # what a diverged network scores


def train(
    learner: Learner | Callable[[int], Learner],
    tasks,
    seeds: Sequence[int],
    outer_lr: float,
    stops: Sequence[int],
    meta_batch: int = META_BATCH,
    *,
    make: Callable[..., nn.Module] = MLP,
    optimizer: Optimizer = adam,
    schedule: Callable[[float], float] | None = None,
) -> Iterator[tuple[int, Tensor, list[nn.Module]]]:
    """Train one network a seed, ``make(seed=seed)``, as ``meta_train`` does, whose arguments these are: yields
    (iteration, losses so far [iteration, R], networks) at each of ``stops``.

    ``learner`` may be a function of the seed, where each network's heads are drawn from a seed of their own.
    Of a run that diverged a loss is not finite; its network then means nothing.
    """
    networks = [make(seed=seed) for seed in seeds]
    learners = [learner] * len(seeds) if isinstance(learner, Learner) else [learner(seed) for seed in seeds]
    rates = [own.inner_lr for own in learners]
    runs = Runs(learners, networks, tasks, rates, seeds, meta_batch, outer_lr, optimizer=optimizer)
    losses = []
    with threads_for(networks[0], torch.device("cpu")):
        for iteration in range(1, stops[-1] + 1):
            if schedule:
                for group in runs.updates.param_groups:
                    group["lr"] = outer_lr * schedule((iteration - 1) / stops[-1])
            losses.append(runs.step())
            if iteration in stops:
                yield iteration, torch.stack(losses), runs.trained()


def errors(
    network: nn.Module,
    steps: Sequence[int],
    num_tasks: int,
    seed: int = TEST,
    shots: int = 10,
    inner_lr: float = INNER_LR,
    tasks=None,
) -> Tensor:
    """Query error of each new task after each number of steps [steps, tasks]; ``WORST`` where it is no number."""
    tasks = tasks or SinusoidTasks(shots, queries=50)
    found = evaluate(MAML(inner_lr=inner_lr), network, tasks, num_tasks=num_tasks, steps=steps, seed=seed).query_losses
    return found.nan_to_num(WORST, WORST).clamp(max=WORST)


def tuned(rows: Sequence[dict], *same: str) -> list[dict]:
    """Of rows that differ in ``outer_lr``, those of the rate whose mean "validation" error over the seeds is lowest.

    One rate for each combination of the entries named ``same``, such as the method and the number of shots.
    """
    by_rate: dict[tuple, dict[float, list[float]]] = {}
    for row in rows:
        rates = by_rate.setdefault(tuple(row[name] for name in same), {})
        rates.setdefault(row["outer_lr"], []).append(row["validation"])
    best = {key: min(rates, key=lambda rate: sum(rates[rate]) / len(rates[rate])) for key, rates in by_rate.items()}
    return [row for row in rows if row["outer_lr"] == best[tuple(row[name] for name in same)]]
