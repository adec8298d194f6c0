"""Reptile trained beside MAML and FOMAML; its minibatches; its outer rate. For notebook 08.

    python -m course_lib.chapters.reptile.experiments.reptile_training                      everything
    python -m course_lib.chapters.reptile.experiments.reptile_training falling constant_1   some of it, the rest is kept

The MLP 1-40-40-1 on sinusoids, k = 5, three seeds, in three comparisons:

    methods       MAML and FOMAML (alpha 0.01, Adam 1e-3) and Reptile (alpha 0.02, minibatches of 10 of a
                  task's 20 points, epsilon 1 to 0), 25 tasks an iteration. Reptile and FOMAML take two
                  iterations for one of MAML, which costs about that much more
    minibatches   Reptile with three inner loops: the same 10 points at every step; all 20 at every step;
                  minibatches of 10 of the 20. And k = 1 on all 20, which is joint training
    outer rate    Reptile with 1 task an iteration, as in its paper: epsilon falling from 1 to 0 in a line,
                  and constant

All runs of a method train as one batch. Scored at several moments on 200 new tasks of 10 shots after 1, 5
and 10 steps at the method's own alpha; and the agreement of gradients, g_1 . g_2 over |g|^2 in the mean, of
two disjoint sets of 10 points of a new task at the initialisation.
Writes reptile_training.json: errors {method: {score: [moments, seeds]}}, seconds of CPU an iteration of one
run (interleaved, the least of several), a record for each method: about 4 minutes on one CPU core in all.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from course_lib import checkpoints
from course_lib.algorithms import MAML, Reptile
from course_lib.algorithms.base import Learner
from course_lib.analysis.curvature import Curvature
from course_lib.checkpoints.recipes import interpolate
from course_lib.engine.files import write_whole
from course_lib.engine.run import threads_for
from course_lib.engine.sweep import run_losses, with_parameters
from course_lib.evaluation import evaluate
from course_lib.inner_loop import Params, stack_params
from course_lib.losses import mse
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks
from course_lib.tasks.base import TaskBatch
from course_lib.training import Optimizer, adam, linear_decay

K, MAML_LR, REPTILE_LR = 5, 0.01, 0.02  # inner steps, inner rates
SEEDS, ITERATIONS, META_BATCH, TEST_TASKS = (0, 1, 2), 1000, 25, 200
MOMENTS = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0)  # of a run
SCORES = {"after_1": 1, "after_5": 5, "after_10": 10}  # steps at test time
FILE = Path(__file__).with_suffix(".json")


@dataclass(frozen=True)
class Method:
    """One way to train: all of its settings, as ``meta_train`` takes them."""

    learner: Learner
    outer_lr: float = 1.0
    optimizer: Optimizer = interpolate
    schedule: Callable[[float], float] | None = linear_decay
    meta_batch: int = META_BATCH
    iterations: int = ITERATIONS
    tasks: SinusoidTasks = field(default_factory=SinusoidTasks)

    def moments(self) -> list[int]:
        """The iterations after which a run is scored."""
        return [round(part * self.iterations) for part in MOMENTS]


def reptile(**changes) -> Method:
    """Reptile on minibatches of 10 of 20 points, with some settings of learner or training changed."""
    settings = {"inner_steps": K, "inner_lr": REPTILE_LR, "inner_batch": 10, "use_queries": True}
    learner = {name: changes.pop(name, value) for name, value in settings.items()}
    return Method(Reptile(**learner), **changes)


def methods(steps: int = K) -> dict[str, Method]:
    """Everything that is trained, by name; fresh learners, since a Reptile counts its draws."""
    gradient = {"outer_lr": 1e-3, "optimizer": adam, "schedule": None}
    return {
        "maml": Method(MAML(steps, MAML_LR), **gradient),
        "fomaml": Method(MAML(steps, MAML_LR, second_order=False), iterations=2 * ITERATIONS, **gradient),
        "reptile": reptile(inner_steps=steps, iterations=2 * ITERATIONS),
        "minibatches": reptile(),
        "same_10": reptile(inner_batch=None, use_queries=False),
        "all_20": reptile(inner_batch=None),
        "joint": reptile(inner_batch=None, inner_steps=1),
        "falling": reptile(meta_batch=1),
        "constant_1": reptile(meta_batch=1, schedule=None),
        "constant_0.1": reptile(meta_batch=1, schedule=None, outer_lr=0.1),
    }


class Together(Reptile):
    """Reptile for several runs at once: ``theta`` {name: [R, ...]} is where the tasks of each run begin."""

    theta: Params

    def start(self, model: nn.Module, x: Tensor, y: Tensor) -> Params:
        each = x.shape[0] // len(next(iter(self.theta.values())))
        return {name: p.repeat_interleave(each, dim=0) for name, p in self.theta.items()}  # [R T, ...]

    def moves(self, model: nn.Module, theta: Params, batch: TaskBatch) -> Params:
        """theta - mean theta' of every run, {name: [R, ...]}, from the tasks of all runs [R T]."""
        self.theta = theta
        ends = self.visit(model, self.prepare(model, batch)).adapted
        self.remember(batch, {})
        runs = len(next(iter(theta.values())))
        return {name: (p - ends[name].unflatten(0, (runs, -1)).mean(1)).detach() for name, p in theta.items()}


def train(
    method: Method, seeds: Sequence[int], iterations: int | None = None, at: Sequence[int] = ()
) -> Iterator[tuple[int, list[nn.Module]]]:
    """Train one network for each seed, as one batch; yields (iteration, networks) at ``at`` and at the end.

    Run r begins with the weights and sees the tasks that ``meta_train`` gives ``seeds[r]``.
    """
    iterations = iterations or method.iterations
    networks = [MLP(seed=seed) for seed in seeds]
    model, learner = networks[0], method.learner
    names = [name for name, _ in model.named_parameters()]
    theta = {
        name: torch.stack([net.get_parameter(name).detach() for net in networks]).requires_grad_() for name in names
    }  # [R, ...]
    together = Together.from_settings(learner.settings()) if isinstance(learner, Reptile) else None
    rates = torch.full((len(networks) * method.meta_batch,), float(learner.inner_lr))  # [R T]
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    updates = method.optimizer(theta.values(), method.outer_lr)
    with threads_for(model, torch.device("cpu")):
        for iteration in range(1, iterations + 1):
            batch = TaskBatch.cat([method.tasks.sample(method.meta_batch, generator=g) for g in generators])
            if together is not None:
                grads = together.moves(model, theta, batch)
            else:
                loss = run_losses(learner, model, theta, batch, rates).sum()
                grads = dict(zip(names, torch.autograd.grad(loss, list(theta.values()))))
            for name, p in theta.items():
                p.grad = grads[name]
            if method.schedule is not None:
                updates.param_groups[0]["lr"] = method.outer_lr * method.schedule((iteration - 1) / iterations)
            updates.step()
            if iteration in at or iteration == iterations:
                of_run = lambda r: {name: p[r] for name, p in theta.items()}
                yield iteration, [with_parameters(net, of_run(r)) for r, net in enumerate(networks)]


def score(learner: Learner, network: nn.Module, num_tasks: int = TEST_TASKS) -> dict[str, float]:
    """Error on new tasks of 10 shots after each of SCORES' steps at the learner's alpha, and "agreement"."""
    tasks, steps = SinusoidTasks(shots=10, queries=50), list(SCORES.values())
    tuned = MAML(inner_lr=learner.inner_lr)  # on the whole support set, whatever training did
    means = evaluate(tuned, network, tasks, num_tasks=num_tasks, steps=steps).mean
    return dict(zip(SCORES, means)) | {"agreement": agreement(network, num_tasks)}


def agreement(network: nn.Module, num_tasks: int = TEST_TASKS) -> float:
    """mean(g_1 . g_2) / mean |g|^2 for two sets of 10 points of each new task: 1 where they always agree."""
    batch = SinusoidTasks(shots=10, queries=10).sample(num_tasks, generator=torch.Generator().manual_seed(1))
    theta = {name: p.detach() for name, p in stack_params(network, num_tasks).items()}
    one, other = (
        Curvature(network, theta, x, y, mse).gradient
        for x, y in ((batch.support_x, batch.support_y), (batch.query_x, batch.query_y))
    )  # [T, P] each
    return float((one * other).sum() / (one.square().sum() + other.square().sum()) * 2)


def seconds_per_iteration(names: Sequence[str], blocks: int = 8, iterations: int = 5) -> dict[str, float]:
    """CPU seconds of one outer iteration of one run: blocks of the methods in turn, the least of each."""
    chosen, least = methods(), {}
    for _ in range(blocks):
        for name in names:
            started = time.process_time()
            for _ in train(chosen[name], [0], iterations):
                pass
            seconds = (time.process_time() - started) / iterations
            least[name] = min(seconds, least.get(name, seconds))
    return least


@lru_cache(maxsize=1)
def load() -> dict:
    """The shipped table: "moments", "scores" {method: {score: [moments, seeds]}}, "seconds_each", "records".

    >>> sorted(load()["scores"]["reptile"])
    ['after_1', 'after_10', 'after_5', 'agreement']
    """
    return json.loads(FILE.read_text())


def main(names: Sequence[str] = ()) -> None:
    """Train and score the methods named, or all, and write them into the table with their records."""
    torch.set_num_threads(1)
    unknown = set(names) - methods().keys()
    if unknown:
        raise SystemExit(f"No method {sorted(unknown)}. There are: {', '.join(methods())}.")
    chosen = {name: method for name, method in methods().items() if not names or name in names}
    table = {"scores": {}, "moments": {}, "records": {}}
    if names and FILE.exists():
        table = json.loads(FILE.read_text())
    else:
        table["seconds_each"] = seconds_per_iteration(["maml", "fomaml", "reptile"])
    for name, method in chosen.items():
        started, rows = time.perf_counter(), []  # [moments] of [seeds] of scores
        for _, networks in train(method, SEEDS, at=method.moments()):
            rows.append([score(method.learner, network) for network in networks])
        table["scores"][name] = {key: [[of_seed[key] for of_seed in row] for row in rows] for key in rows[0][0]}
        table["moments"][name] = method.moments()
        command = f"python -m course_lib.chapters.reptile.experiments.reptile_training {name}"
        table["records"][name] = checkpoints.provenance(command, time.perf_counter() - started)
        print(
            f"{name:>14s}: " + ", ".join(f"{error:.2f}" for error in table["scores"][name]["after_10"][-1]),
            flush=True,
        )
    table |= {"seeds": SEEDS, "k": K, "test_tasks": TEST_TASKS}
    write_whole(FILE, json.dumps(table) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
