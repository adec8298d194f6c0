"""How many inner steps to train with, and how many to take at test time: the table of notebook 03.

    python -m course_lib.chapters.what_k_costs.experiments.train_k_test_k

MAML with k = 0, 1, 2, 3, 5 and 10 on sinusoids (MLP 1-40-40-1, alpha = 0.01, Adam 1e-3, 25 tasks of 10 + 10
points an iteration), three seeds each, trained as one run. Every network is scored after 0 to 50 steps of
alpha = 0.01 on the same 300 new tasks of 10 points. Two ways to be fair:

    iterations   as many outer updates for every k
    compute      as many units of work: an outer update costs k + 1, one for the query loss and one for each
                 inner step; the CPU seconds of the runs say how nearly that is so

Writes train_k_test_k.json: the scores with their record. About five minutes on one CPU core.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn
from tqdm.auto import tqdm

from course_lib import checkpoints
from course_lib.algorithms import MAML
from course_lib.engine.files import write_whole
from course_lib.engine.run import threads_for
from course_lib.engine.sweep import run_losses, with_parameters
from course_lib.evaluation import Evaluation, evaluate
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks
from course_lib.tasks.base import TaskBatch
from course_lib.training import adam

TRAIN_STEPS, TEST_STEPS = (0, 1, 2, 3, 5, 10), (0, 1, 2, 3, 5, 10, 20, 50)
INNER_LR, SEEDS = 0.01, (0, 1, 2)
META_BATCH, OUTER_LR, SHOTS, TEST_TASKS = 25, 1e-3, 10, 300
ITERATIONS, WORK = 2000, 6000  # outer updates; units of work: 3,000 updates of k = 1
BLOWN_UP = 20.0  # mean squared error; predicting zero costs 25 sin^2, some 12.5, at the largest amplitude
FILE = Path(__file__).with_suffix(".json")


def updates(budget: str, train_steps: int, iterations: int = ITERATIONS, work: int = WORK) -> int:
    """Outer updates that a budget allows for k inner steps.

    >>> updates("iterations", 10), updates("compute", 1), updates("compute", 10)
    (2000, 3000, 545)
    """
    if budget not in ("iterations", "compute"):
        raise ValueError(f'budget must be "iterations" or "compute", not {budget!r}')
    return iterations if budget == "iterations" else work // (train_steps + 1)


def train(
    train_steps: int, stops: Sequence[int], seeds: Sequence[int] = SEEDS, progress: bool = True
) -> Iterator[tuple[int, float, list[nn.Module]]]:
    """Train MAML with k = ``train_steps`` from all seeds at once.

    Yields:
        (iteration, CPU seconds spent, one network per seed) at each of the ``stops``, ascending.
    """
    learner, tasks = MAML(train_steps, INNER_LR), SinusoidTasks(SHOTS, SHOTS)
    networks = [MLP(seed=seed) for seed in seeds]
    names = [name for name, _ in networks[0].named_parameters()]
    theta = {n: torch.stack([net.get_parameter(n).detach() for net in networks]) for n in names}  # [R, ...]
    theta = {n: p.requires_grad_() for n, p in theta.items()}
    rates = torch.full((len(seeds) * META_BATCH,), INNER_LR)  # [R T]
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    optimizer, seconds = adam(theta.values(), OUTER_LR), 0.0
    for iteration in tqdm(range(1, stops[-1] + 1), f"k = {train_steps}", disable=not progress, leave=False):
        started = time.process_time()
        with threads_for(networks[0], torch.device("cpu")):
            batch = TaskBatch.cat([tasks.sample(META_BATCH, generator=g) for g in generators])
            loss = run_losses(learner, networks[0], theta, batch, rates).sum()  # runs share nothing
            for p, grad in zip(theta.values(), torch.autograd.grad(loss, list(theta.values()))):
                p.grad = grad
            optimizer.step()
        seconds += time.process_time() - started
        if iteration in stops:
            last = [{n: theta[n][r] for n in names} for r in range(len(seeds))]
            yield iteration, seconds, [with_parameters(*pair) for pair in zip(networks, last)]


def score(network: nn.Module, num_tasks: int = TEST_TASKS, steps: Sequence[int] = TEST_STEPS) -> Evaluation:
    """Errors on new tasks after each number of test-time steps; the same tasks for every network."""
    tasks = SinusoidTasks(SHOTS, queries=50)
    return evaluate(MAML(inner_lr=INNER_LR), network, tasks, num_tasks=num_tasks, steps=steps, seed=10_000)


def measure(
    train_steps: Sequence[int] = TRAIN_STEPS,
    seeds: Sequence[int] = SEEDS,
    iterations: int = ITERATIONS,
    work: int = WORK,
    num_tasks: int = TEST_TASKS,
    progress: bool = True,
) -> list[dict]:
    """One entry per budget, k and seed: "mean", "median" and "blown_up" tasks after each of TEST_STEPS."""
    entries = []
    for k in train_steps:
        budgets = {budget: updates(budget, k, iterations, work) for budget in ("iterations", "compute")}
        stops = sorted(set(budgets.values()))
        for iteration, seconds, networks in train(k, stops, seeds, progress):
            results = [score(network, num_tasks).query_losses for network in networks]  # [steps, tasks] each
            for budget in (b for b, stop in budgets.items() if stop == iteration):
                for seed, losses in zip(seeds, results):
                    entry = {"budget": budget, "train_steps": k, "seed": seed, "iterations": iteration}
                    entry |= {"cpu_seconds_per_run": round(seconds / len(seeds), 2)}
                    entry |= {"mean": _rounded(losses.mean(1)), "median": _rounded(losses.median(1).values)}
                    entries.append(entry | {"blown_up": (~(losses < BLOWN_UP)).sum(1).tolist()})
    return entries


def _rounded(values: torch.Tensor) -> list[float]:
    return [float(f"{value:.4g}") for value in values.tolist()]


@lru_cache(maxsize=1)
def load() -> dict:
    """The shipped table: {"runs": as from ``measure``, and its record}.

    >>> len(load()["runs"]) == 2 * len(TRAIN_STEPS) * len(SEEDS)
    True
    """
    return json.loads(FILE.read_text())


def table(runs: Sequence[dict], budget: str, number: str = "median") -> torch.Tensor:
    """``number`` of every run of a budget: [seeds, training k, test-time k]."""
    rows = [run for run in runs if run["budget"] == budget]
    seeds = sorted({run["seed"] for run in rows})
    by_seed = [[run[number] for run in rows if run["seed"] == seed] for seed in seeds]
    return torch.tensor(by_seed, dtype=torch.float64)


def main() -> None:
    """Train, score, and write the table with its record."""
    started = time.perf_counter()
    runs = measure()
    record = {"inner_lr": INNER_LR, "outer_lr": OUTER_LR, "meta_batch": META_BATCH, "shots": SHOTS}
    record |= {"test_tasks": TEST_TASKS, "test_steps": TEST_STEPS, "seeds": SEEDS, "blown_up_above": BLOWN_UP}
    command = "python -m course_lib.chapters.what_k_costs.experiments.train_k_test_k"
    record |= checkpoints.provenance(command, time.perf_counter() - started, threads=1)
    lines = ",\n  ".join(json.dumps(run) for run in runs)
    write_whole(FILE, json.dumps(record, indent=2)[:-2] + f',\n "runs": [\n  {lines}\n ]\n}}\n')
    print(f"{FILE.name}: {len(runs)} runs in {record['seconds']} s")


if __name__ == "__main__":
    main()
