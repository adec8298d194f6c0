"""The sign of the inner rate on networks, for notebook 06: the same training at rates on both sides of zero.

    python -m course_lib.chapters.union.experiments.inner_rate_sign

The MLP 1-40-40-1 on sinusoids, k = 1, second order, Adam 3e-3, 25 tasks of 10 + 10 points, three seeds, with

    stored   200 tasks that come back and a head of its own for each, trained by the outer loop
    shared   new tasks every time and one head for all, as in MAML

and scored after 300 and 1,000 iterations, on new tasks, in two ways: a ridge head (lambda 0.1) on the body's
features, and steps of +0.01 on everything as at MAML's test time, whatever the rate in training was. Stored
heads begin those steps from their mean.
The two kinds of head run side by side, a core each: about two minutes.
Writes inner_rate_sign.json: errors by head and score, [moments, rates, seeds], and the record.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor
from tqdm.auto import tqdm

from course_lib import checkpoints
from course_lib.algorithms import MAML, R2D2
from course_lib.algorithms.heads import random_heads
from course_lib.engine.files import write_whole
from course_lib.engine.run import threads_for
from course_lib.engine.sweep import with_parameters
from course_lib.evaluation import evaluate
from course_lib.inner_loop import Params, adapt, predict
from course_lib.losses import mse
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks
from course_lib.tasks.base import TaskBatch
from course_lib.training import Diverged, adam

INNER_LRS = (-0.03, -0.01, 0.0, 0.01, 0.03)
HEADS = {"stored": 200, "shared": None}  # tasks that come back, each with its head; None: one head for all
SEEDS = (0, 1, 2)
MOMENTS = (300, 1_000)  # iterations
META_BATCH, OUTER_LR = 25, 3e-3  # three times MAML's: fewer iterations are enough
TEST_TASKS, TEST_LR = 600, 0.01
FILE = Path(__file__).with_suffix(".json")
HEAD = ("head.weight", "head.bias")


def train(
    inner_lrs: Sequence[float],
    seeds: Sequence[int],
    num_tasks: int | None,
    at: Sequence[int],
    inner_steps: int = 1,
    outer_lr: float = OUTER_LR,
    progress: bool = True,
) -> Iterator[tuple[int, list[MLP]]]:
    """Train a network for every rate and seed as one batch; yields (iteration, networks) at each ``at``.

    The networks come with seeds running fastest. Runs of one seed begin with the same weights and see the
    same tasks.

    Args:
        num_tasks: how many there are, each with a stored head; None for new tasks and a shared head.
        inner_steps: k. With 0 the training is supervised, on support and query points together.

    Raises:
        Diverged: a loss is not finite.
    """
    runs = [(rate, seed) for rate in inner_lrs for seed in seeds]
    networks = [MLP(seed=seed) for _, seed in runs]
    theta = {
        name: torch.stack([net.get_parameter(name).detach() for net in networks]).requires_grad_()
        for name, _ in networks[0].named_parameters()
    }  # [R, ...]
    if num_tasks is not None:
        heads = [random_heads(num_tasks, 40, 1, torch.Generator().manual_seed(seed)) for _, seed in runs]
        theta |= {
            name: torch.stack([h[name] for h in heads]).requires_grad_() for name in HEAD
        }  # [R, tasks, ...]
    rates = torch.tensor([rate for rate, _ in runs]).repeat_interleave(META_BATCH)  # [R T]
    families = [SinusoidTasks(num_tasks=num_tasks, seed=seed) for seed in seeds]
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    optimizer = adam(theta.values(), outer_lr)
    with threads_for(networks[0], torch.device("cpu")):
        for iteration in tqdm(range(1, max(at) + 1), disable=not progress, unit="step", leave=False):
            batches = [f.sample(META_BATCH, generator=g) for f, g in zip(families, generators)]
            batch = TaskBatch.cat(batches * len(inner_lrs))  # every rate sees the same tasks [R T, ...]
            task_losses = losses(networks[0], beginnings(theta, batch, num_tasks), batch, rates, inner_steps)
            loss = task_losses.sum() / META_BATCH  # sum over runs of each run's mean
            if not torch.isfinite(loss):
                raise Diverged(iteration, float(loss))
            for p, grad in zip(theta.values(), torch.autograd.grad(loss, list(theta.values()))):
                p.grad = grad
            optimizer.step()
            if iteration in at:
                yield iteration, trained(networks, theta, num_tasks)


def beginnings(theta: Params, batch: TaskBatch, num_tasks: int | None) -> Params:
    """What each task of all runs begins with: the run's body, its own head or the run's, [R T, ...]."""
    params = {name: p.repeat_interleave(META_BATCH, dim=0) for name, p in theta.items() if name not in HEAD}
    if num_tasks is None:
        return params | {name: theta[name].repeat_interleave(META_BATCH, dim=0) for name in HEAD}
    row = torch.arange(batch.num_tasks) // META_BATCH * num_tasks + batch.task_id  # [R T], of all runs' heads
    return params | {name: theta[name].flatten(0, 1).index_select(0, row) for name in HEAD}


def losses(model: MLP, params: Params, batch: TaskBatch, rates: Tensor, inner_steps: int) -> Tensor:
    """The outer loss of every task [R T]: after adapting, on the query points; with k = 0 on all points."""
    x, y = batch.query_x, batch.query_y
    if inner_steps == 0:
        x, y = torch.cat([batch.support_x, x], 1), torch.cat([batch.support_y, y], 1)
    adapted = adapt(model, params, batch.support_x, batch.support_y, loss_fn=mse, steps=inner_steps, lr=rates)
    return mse(predict(model, adapted, x), y)


def trained(networks: Sequence[MLP], theta: Params, num_tasks: int | None) -> list[MLP]:
    """The networks with their parameters; stored heads are replaced by their mean, where new tasks begin."""
    if num_tasks is not None:
        theta = theta | {name: theta[name].mean(1) for name in HEAD}
    return [with_parameters(net, {name: p[r] for name, p in theta.items()}) for r, net in enumerate(networks)]


def score(network: MLP, shots: int = 10, num_tasks: int = TEST_TASKS) -> dict[str, float]:
    """Error on new tasks: with a "ridge" head, and after 1 and 10 steps of +0.01 on everything."""
    tasks = SinusoidTasks(shots=shots, queries=50)
    ridge = evaluate(R2D2(lam=0.1), network, tasks, num_tasks=num_tasks, steps=[0]).mean[0]
    after = evaluate(MAML(inner_lr=TEST_LR), network, tasks, num_tasks=num_tasks, steps=[1, 10]).mean
    return {"ridge": ridge, "after_1": after[0], "after_10": after[1]}


def measure(num_tasks: int | None) -> tuple[dict[str, list], float]:
    """The errors of one kind of head, {score: [moments, rates, seeds]}, and the CPU seconds it took."""
    started = time.process_time()
    by_rate = []
    for rate in INNER_LRS:
        # one rate with its seeds at a time: more in one batch no longer fit the caches, and gain nothing
        snapshots = train([rate], SEEDS, num_tasks, MOMENTS, progress=False)
        by_rate.append([[score(network) for network in networks] for _, networks in snapshots])
    errors = {
        key: [[[seed[key] for seed in rate[moment]] for rate in by_rate] for moment in range(len(MOMENTS))]
        for key in ("ridge", "after_1", "after_10")
    }
    return errors, time.process_time() - started


@lru_cache(maxsize=1)
def load() -> dict:
    """The shipped table: "moments", "inner_lrs", "seeds", "errors" {head: {score: [moments, rates, seeds]}}.

    >>> load()["inner_lrs"][0] < 0 < load()["inner_lrs"][-1]
    True
    """
    return json.loads(FILE.read_text())


def main() -> None:
    """Train and score everything, and write the table with its record."""
    started = time.perf_counter()
    with ProcessPoolExecutor(len(HEADS), mp_context=get_context("spawn")) as pool:
        results = dict(zip(HEADS, pool.map(measure, HEADS.values())))
    table = {"moments": MOMENTS, "inner_lrs": INNER_LRS, "heads": HEADS, "seeds": SEEDS}
    table |= {"meta_batch": META_BATCH, "outer_lr": OUTER_LR, "test_tasks": TEST_TASKS, "test_lr": TEST_LR}
    table |= {"errors": {head: errors for head, (errors, _) in results.items()}}
    command = "python -m course_lib.chapters.union.experiments.inner_rate_sign"
    table |= checkpoints.provenance(command, time.perf_counter() - started, threads=1)
    table |= {"cpu_seconds": round(sum(seconds for _, seconds in results.values()), 1)}
    write_whole(FILE, json.dumps(table, indent=2) + "\n")
    print(f"{FILE.name} in {table['seconds']} s, {table['cpu_seconds']} s of CPU")


if __name__ == "__main__":
    main()
