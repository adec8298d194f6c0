"""The union of tasks beside MAML at equal compute, on Omniglot, for notebook 06.

    python -m course_lib.chapters.union.experiments.equal_compute_images

Both are trained by their recipes (``recipes.TWO_CORES``): the same convolutions, the same training characters,
Adam with a rate that falls to zero. PyTorch counts the floating-point operations of one meta-gradient of each;
each method then gets two budgets, that of its own recipe and that of the other's, in whole iterations. A
training of a recipe's own length is a shipped checkpoint, judged here and not trained again.

Judged on 600 tasks of five characters of the evaluation alphabets, query images one by one. One seed each.
Writes equal_compute_images.json: "operations" of one meta-gradient {method: number}, "runs" with the
accuracies {shots: {steps: [mean, half width of its 95 % interval]}} in %, and the record. About half an hour on
one CPU core; it needs Omniglot.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from course_lib import checkpoints
from course_lib.algorithms import Learner
from course_lib.analysis.transduction import accuracies
from course_lib.engine import recipes
from course_lib.engine.files import write_whole
from course_lib.engine.provenance import provenance
from course_lib.engine.recipes import Recipe
from course_lib.evaluation import interval95
from course_lib.tasks import OmniglotTasks
from course_lib.training import meta_train

METHODS, WAYS, SHOTS, TEST_TASKS = ("maml", "union"), 5, (1, 5), 600
FILE = Path(__file__).with_suffix(".json")


def operations(recipe: Recipe) -> int:
    """Floating-point operations of one meta-gradient, as PyTorch counts them: products and convolutions."""
    learner, model, tasks = recipe.build("omniglot")
    batch = tasks.sample(recipe.meta_batch, generator=torch.Generator().manual_seed(0))
    with FlopCounterMode(display=False) as counter:
        learner.meta_gradient(model, batch, tasks_at_once=1)
    return counter.get_total_flops()


def train(recipe: Recipe, seed: int = 0) -> tuple[nn.Module, Learner]:
    """The network and the learner that the command line would make of the recipe."""
    learner, model, tasks = recipe.build("omniglot", seed)
    model, _ = meta_train(learner, model, tasks, seed=seed, **recipe.outer)
    return model, recipes.keep(learner)


def judge(model: nn.Module, learner: Learner, steps: tuple[int, ...]) -> dict:
    """{shots: {steps: [mean accuracy, half width]}} in %, query images classified one by one."""
    scores = {}
    for shots in SHOTS:
        queries = 3 if learner.inner_steps else 15  # of a class; as in the league table
        tasks = OmniglotTasks("test", ways=WAYS, shots=shots, queries=queries)
        found = 100 * accuracies(learner, model, tasks, False, TEST_TASKS, steps)  # [len(steps), tasks]
        halves = interval95(found).tolist()
        scores[str(shots)] = {
            str(k): [round(mean, 2), round(half, 2)] for k, mean, half in zip(steps, found.mean(1).tolist(), halves)
        }
    return scores


@lru_cache(maxsize=1)
def load() -> dict:
    """The shipped table: "operations", "runs" and its record.

    >>> sorted({run["method"] for run in load()["runs"]})
    ['maml', 'union']
    """
    return json.loads(FILE.read_text())


def main() -> None:
    """Train what does not ship, judge all, and write the table with its record."""
    started, runs = time.perf_counter(), []
    cost = {method: operations(recipes.find("omniglot", method)) for method in METHODS}
    for method, other in zip(METHODS, reversed(METHODS)):
        recipe = recipes.find("omniglot", method)
        budget = recipes.find("omniglot", other).iterations * cost[other]
        for iterations in (recipe.iterations, round(budget / cost[method])):
            shipped, cpu = f"omniglot/{method}" if iterations == recipe.iterations else None, time.process_time()
            if shipped:
                model, learner, record = checkpoints.load(shipped)
                seconds = record["cpu_seconds"]
            else:
                model, learner = train(replace(recipe, iterations=iterations))
                seconds = round(time.process_time() - cpu, 1)
            run = {"method": method, "iterations": iterations, "operations": iterations * cost[method]}
            run |= {"checkpoint": shipped, "cpu_seconds": seconds, "accuracy": judge(model, learner, recipe.steps)}
            runs.append(run)
            print(run)
    table = {"operations": cost, "ways": WAYS, "test_tasks": TEST_TASKS, "runs": runs}
    command = "python -m course_lib.chapters.union.experiments.equal_compute_images"
    device = next(model.parameters()).device  # of the last one, which was trained here
    table |= provenance(command, time.perf_counter() - started, device)
    write_whole(FILE, json.dumps(table, indent=1) + "\n")
    print(f"{FILE.name} in {table['seconds']:.0f} s")


if __name__ == "__main__":
    main()
