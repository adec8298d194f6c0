"""The union of tasks beside MAML at equal compute, on Omniglot, for notebook 06.

    python -m course_lib experiments union/equal_compute_images

Both are trained by their recipes (``recipes.TWO_CORES``): the same convolutions, the same training characters,
Adam with a rate that falls to zero. PyTorch counts the floating-point operations of one meta-gradient of each;
each method then gets two budgets, that of its own recipe and that of the other's, in whole iterations. A
training of a recipe's own length is a shipped checkpoint, judged here and not trained again.

Judged on 600 tasks of five characters of the evaluation alphabets, query images one by one. One seed each; it needs
Omniglot.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from course_lib import checkpoints
from course_lib.algorithms import Learner
from course_lib.analysis.transduction import accuracies
from course_lib.engine import recipes
from course_lib.engine.recipes import FAMILIES, Recipe
from course_lib.evaluation import interval95
from course_lib.kit.experiment import Experiment
from course_lib.training import meta_train

METHODS, WAYS, SHOTS = ("maml", "union"), 5, (1, 5)


@cache
def operations(method: str, family: str) -> int:
    """Floating-point operations of one meta-gradient, as PyTorch counts them: products and convolutions."""
    recipe = recipes.find(family, method)
    learner, model, tasks = recipe.build(family)
    batch = tasks.sample(recipe.meta_batch, generator=torch.Generator().manual_seed(0))
    with FlopCounterMode(display=False) as counter:
        learner.meta_gradient(model, batch, tasks_at_once=1)
    return counter.get_total_flops()


def train(recipe: Recipe, family: str, seed: int) -> tuple[nn.Module, Learner]:
    """The network and the learner that the command line would make of the recipe."""
    learner, model, tasks = recipe.build(family, seed)
    model, _ = meta_train(learner, model, tasks, seed=seed, progress=False, **recipe.outer)
    return model, recipes.keep(learner)


def judge(model: nn.Module, learner: Learner, steps: tuple[int, ...], family: str, num_tasks: int) -> dict:
    """{shots: {steps: [mean accuracy, half width of its 95 % interval]}} in %, query images classified one by one."""
    scores = {}
    for shots in SHOTS:
        queries = 3 if learner.inner_steps else 15  # of a class; as in the league table
        tasks = FAMILIES[family]("test", ways=WAYS, shots=shots, queries=queries)
        found = 100 * accuracies(learner, model, tasks, False, num_tasks, steps)  # [len(steps), tasks]
        pairs = zip(found.mean(1).tolist(), interval95(found).tolist())
        scores[str(shots)] = {str(k): [mean, half] for k, (mean, half) in zip(steps, pairs)}
    return scores


def measure(seed: int, method: str, budget: str, family: str, share: float, test_tasks: int) -> list[dict]:
    """A row: one training with the budget of the recipe of ``budget``, of which ``share`` is run, judged."""
    recipe, cost = recipes.find(family, method), operations(method, family)
    spent = recipes.find(family, budget).iterations * operations(budget, family)
    iterations = round(share * spent / cost)
    shipped = iterations == recipe.iterations
    if shipped:
        model, learner, _ = checkpoints.load(f"{family}/{method}")
    else:
        model, learner = train(replace(recipe, iterations=iterations), family, seed)
    row = {"iterations": iterations, "operations": iterations * cost, "shipped": shipped}
    return [row | {"accuracy": judge(model, learner, recipe.steps, family, test_tasks)}]


runs = Experiment(
    __file__,
    measure,
    seeds=range(1),
    cells=[{"method": method, "budget": budget} for method in METHODS for budget in METHODS],
    settings={"family": "omniglot", "share": 1.0, "test_tasks": 600},
    small={"family": "glyphs", "share": 0.001, "test_tasks": 1},
)
