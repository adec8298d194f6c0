"""Why don't my numbers match? What each disagreement between papers is worth, for notebook 09.

    python -m course_lib experiments omniglot/dont_match

Omniglot's evaluation alphabets, 5-way 1-shot, 120 tasks of 15 queries a class unless a line says otherwise.
Three parts:

    QUESTIONS          the shipped checkpoints under other rules at test time, one rule changed at a time
    NUMBER_OF_TASKS    one checkpoint on more and more tasks
    TRAININGS          short trainings (ProtoNet, 250 iterations) that differ in one setting

``measure`` is what notebook 09 runs live at a smaller size, on whatever pictures are at hand.
A line's "score" is [mean, half width of its 95 % interval] in %; its "change" the same of what the change of rules
does to the same tasks, task by task: that is known better than either of the two numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor, nn

from course_lib import checkpoints
from course_lib.algorithms import Learner
from course_lib.analysis.transduction import has_running_statistics, predict_in_groups, with_statistics
from course_lib.engine import recipes
from course_lib.evaluation import DRAW_AT_ONCE, evaluate, interval95, test_start
from course_lib.inner_loop import predict, trajectory
from course_lib.kit.experiment import Experiment
from course_lib.kit.words import several
from course_lib.losses import accuracy
from course_lib.tasks import OmniglotTasks, TaskBatch
from course_lib.tasks.episodes import CharacterTasks
from course_lib.training import meta_train

TEST_TASKS = 120
REPORT = 3_000  # tasks of the longest report
OF_CHARACTERS = 423 / 659  # the share of the evaluation characters that a split like the papers' would hold
TRAINED = 250  # iterations of the short trainings
ALPHA = 0.4  # of the shipped MAML, against the mean of the losses; 2.0 if five ways' are summed
NUMBER_OF_TASKS = "number of tasks"


@dataclass(frozen=True)
class Rules:
    """How a network is judged. The defaults are those of the league table.

    Args:
        network: a checkpoint of Omniglot.
        steps, lr: of fine-tuning on the support set; only MAML takes any.
        together: how many query images share a batch with the support set when batch norm takes the
            statistics of the batch; "all": all of them, without the support set, as in MAML's released code;
            "running": the averages of training.
        one_class: queries come class by class, not mixed (it matters where ``together`` is a number).
        queries: of each class. rotations: whether a character in four rotations is four classes.
        within_alphabet: all classes of a task are of one alphabet.
        inverted: ink is 0 and paper 1, as in the files of the data set.
        split: None, or a seed that chooses which 64 % of the characters may appear.
    """

    network: str = "omniglot/maml"
    steps: int = 3
    lr: float = ALPHA
    together: int | str = "all"
    one_class: bool = False
    queries: int = 15
    rotations: bool = False
    within_alphabet: bool = False
    inverted: bool = False
    split: int | None = None


MAML, SOLVED = Rules(), Rules("omniglot/r2d2", steps=0, together="running")


def both(**changes) -> dict[str, Rules]:
    """The change for either network."""
    return {"MAML": replace(MAML, **changes), "R2D2": replace(SOLVED, **changes)}


QUESTIONS: dict[str, dict[str, Rules]] = {
    "evaluation steps": {f"MAML, {several(k, 'step')}": replace(MAML, steps=k) for k in (1, 3, 5, 10)},
    "sum or mean in the inner loss": {
        f"MAML, alpha {lr:g}": replace(MAML, lr=lr) for lr in (ALPHA / 5, ALPHA, 5 * ALPHA)
    },
    "transduction": {
        "MAML, all queries together": MAML,
        "MAML, 5 at a time, mixed": replace(MAML, together=5),
        "MAML, 5 at a time, one class": replace(MAML, together=5, one_class=True),
        "MAML, one at a time": replace(MAML, together=1),
        "R2D2, all queries together": replace(SOLVED, together="all"),
        "R2D2, one at a time": replace(SOLVED, together=1),
        "R2D2, running statistics": SOLVED,
    },
    "queries of each class": {
        f"{name}, {q} of each": rules for q in (1, 5, 15) for name, rules in both(queries=q).items()
    },
    "rotations at test": {
        f"{name}, {'rotations too' if turned else 'upright'}": rules
        for turned in (False, True)
        for name, rules in both(rotations=turned).items()
    },
    "inverted pixels": {
        f"{name}, {'paper' if inverted else 'ink'} is 1": rules
        for inverted in (False, True)
        for name, rules in both(inverted=inverted).items()
    },
    "alphabets mixed or not": {
        f"{name}, {'one alphabet' if within else 'mixed'}": rules
        for within in (False, True)
        for name, rules in both(within_alphabet=within).items()
    },
    "which characters": {f"R2D2, draw {seed}": replace(SOLVED, split=seed) for seed in range(4)},
}


@lru_cache(maxsize=8)
def network(name: str, statistics: str | None = None) -> tuple[nn.Module, Learner]:
    """A shipped network, ready to be judged; with batch norm's ``statistics`` where they are not its own."""
    model, learner, _ = checkpoints.load(name)
    return (model if statistics is None else with_statistics(model, statistics)).eval(), learner


def measure(
    rules: Rules, family: type[CharacterTasks] = OmniglotTasks, num_tasks: int = TEST_TASKS, seed: int = 0
) -> Iterator[float]:
    """Accuracy in 0..1 on one task after another; the same seed and queries give the same tasks.

    Raises:
        ValueError: running statistics of a network that kept none.
    """
    if rules.together != "running" and has_running_statistics(network(rules.network)[0]):
        model, learner = network(rules.network, "batch")
    else:
        model, learner = network(rules.network, "running" if rules.together == "running" else None)
    tasks = test_tasks(family, rules)
    generator = torch.Generator().manual_seed(seed)
    for first in range(0, num_tasks, DRAW_AT_ONCE):
        drawn = tasks.sample(min(DRAW_AT_ONCE, num_tasks - first), generator=generator)
        for task in drawn:
            yield judge(rules, model, learner, task)


def judge(rules: Rules, model: nn.Module, learner: Learner, task: TaskBatch) -> float:
    """Accuracy on the query set of one task."""
    task = under(rules, task)
    with torch.no_grad():
        params = test_start(learner, model, task, "ready", None)
    options = {"loss_fn": learner.loss_fn, "steps": rules.steps, "lr": rules.lr}
    *_, params = trajectory(model, params, task.support_x, task.support_y, **options)
    with torch.no_grad():
        if isinstance(rules.together, int):
            size = rules.together
            outputs = predict_in_groups(model, params, task.support_x, task.query_x, size)  # [1, Q, W]
        else:
            outputs = predict(model, params, task.query_x)  # [1, Q, W]
    return accuracy(outputs, task.query_y).item()


def under(rules: Rules, task: TaskBatch) -> TaskBatch:
    """One task with its pictures inverted and its queries in the order the rules ask for."""
    if rules.inverted:
        task = replace(task, support_x=1 - task.support_x, query_x=1 - task.query_x)
    if isinstance(rules.together, int) and not rules.one_class:  # tasks come class by class
        mixed = torch.randperm(task.query_y.shape[1], generator=torch.Generator().manual_seed(0))
        task = replace(task, query_x=task.query_x[:, mixed], query_y=task.query_y[:, mixed])
    return task


def test_tasks(family: type[CharacterTasks], rules: Rules) -> CharacterTasks:
    """The tasks to be judged on: all of the family's characters for testing, or those a split chooses."""
    counts = {name: getattr(rules, name) for name in ("queries", "within_alphabet", "rotations")}
    if rules.split is None:
        return family("test", **counts)
    pool = family("test", rotations=False)
    order = torch.randperm(pool.num_characters, generator=torch.Generator().manual_seed(rules.split))
    chosen = order[: round(OF_CHARACTERS * pool.num_characters)]
    names = [pool.characters[c] for c in chosen]
    return CharacterTasks(pool.images[chosen], pool.alphabet_ids[chosen], pool.alphabets, names, **counts)


def summary(percents: Tensor) -> list[float]:
    """[mean, half width of its 95 % interval]."""
    return [percents.mean().item(), interval95(percents).item()]


@lru_cache(maxsize=8)
def train(iterations: int, num_tasks: int, seed: int, *change) -> list[float]:
    """Train ProtoNet's two-core recipe, shorter and perhaps with a change, and judge it: [mean, half width].

    ``change``: of "settings", "model" or "tasks" which entry is what. Judged by running statistics where the network
    keeps them, else on all queries together.
    """
    recipe = replace(recipes.find("omniglot", "protonet"), iterations=iterations)
    if change:
        part, name, value = change
        recipe = replace(recipe, **{part: {**getattr(recipe, part), name: value}})
    learner, model, tasks = recipe.build("omniglot", seed)
    meta_train(learner, model, tasks, seed=seed, device="cpu", progress=False, **recipe.outer)
    test = recipe.build_tasks("omniglot", test=True, rotations=None)
    return summary(evaluate(learner, model, test, num_tasks, [recipe.steps[-1]]).scores[0])


TRAININGS: dict[str, dict[str, tuple]] = {  # what is changed in the recipe
    "flatten or mean (trained)": {
        "ProtoNet, 2 x 2 positions flattened": (),
        "ProtoNet, mean over positions": ("model", "pooling", "mean"),
    },
    "rotations in training (trained)": {
        "ProtoNet, turned characters are classes": (),
        "ProtoNet, upright only": ("tasks", "rotations", False),
    },
    "split (trained)": {
        "ProtoNet, whole alphabets held out": (),
        "ProtoNet, 1200 / 423 characters": ("tasks", "splits", "characters"),
    },
}


def same_tasks(rules: Rules, others: Rules) -> bool:
    """Whether two sets of rules are judged on the same tasks, so that they may be compared task by task."""
    drawn_by = "queries", "rotations", "within_alphabet", "split"
    return all(getattr(rules, name) == getattr(others, name) for name in drawn_by)


@lru_cache(maxsize=64)
def percent(rules: Rules, num_tasks: int, seed: int) -> Tensor:
    """``measure`` to its end, in % [tasks]."""
    return 100 * torch.tensor(list(measure(rules, num_tasks=num_tasks, seed=seed)))


def answer(seed: int, question: str, tasks: int, report: int, iterations: int) -> list[dict]:
    """A row for each line of a question: its "label", "score" and, where the tasks are the usual ones, "change"."""
    row = lambda label, score, change=(): {"label": label, "score": score, "change": list(change)}
    if question in TRAININGS:
        changes = TRAININGS[question].items()
        return [row(label, train(iterations, tasks, seed, *change)) for label, change in changes]
    if question == NUMBER_OF_TASKS:  # what a report of so many would have said
        found = percent(replace(SOLVED, queries=5), report, seed + 1)
        return [row(f"R2D2, {n:,} tasks", summary(found[:n])) for n in (report // 30, report // 5, report)]
    rows = []
    for label, rules in QUESTIONS[question].items():
        usual, found = MAML if rules.network == MAML.network else SOLVED, percent(rules, tasks, seed)
        paired = rules != usual and same_tasks(rules, usual)
        change = summary(found - percent(usual, tasks, seed)) if paired else ()
        rows.append(row(label, summary(found), change))
    return rows


runs = Experiment(
    __file__,
    answer,
    seeds=range(1),
    cells=[{"question": question} for question in (*QUESTIONS, NUMBER_OF_TASKS, *TRAININGS)],
    settings={"tasks": TEST_TASKS, "report": REPORT, "iterations": TRAINED},
    small={"tasks": 1, "report": 30, "iterations": 1},
)


def lines(question: str, number: str = "score") -> dict[str, list[float]]:
    """{label: [mean, half width]} of a question's lines in the shipped table, or of those that have a "change".

    >>> len(lines("transduction")), list(lines("inverted pixels", "change"))
    (7, ['MAML, paper is 1', 'R2D2, paper is 1'])
    """
    return {row["label"]: row[number] for row in runs.rows(question=question) if row[number]}
