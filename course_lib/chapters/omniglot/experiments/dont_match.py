"""Why don't my numbers match? What each disagreement between papers is worth, for notebook 09.

    python -m course_lib.chapters.omniglot.experiments.dont_match

Omniglot's evaluation alphabets, 5-way 1-shot, 120 tasks of 15 queries a class unless a line says otherwise.
Two parts:

    judged     the shipped checkpoints under other rules at test time, one rule changed at a time
    trained    short trainings (ProtoNet, 250 iterations) that differ in one setting

``measure`` is what notebook 09 runs live at a smaller size, on whatever pictures are at hand.
Writes dont_match.json: "questions" {question: {label: [mean, half width of its 95 % interval]}} in %, and the
record. "differences" has [mean, half width] of what a change of rules does to the same tasks, task by task:
that is known better than either of the two numbers. About six minutes on one CPU core.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from course_lib import checkpoints
from course_lib.algorithms import Learner
from course_lib.analysis.transduction import has_running_statistics, predict_in_groups, with_statistics
from course_lib.engine import recipes
from course_lib.engine.files import write_whole
from course_lib.engine.provenance import provenance
from course_lib.evaluation import DRAW_AT_ONCE, evaluate, interval95, test_start
from course_lib.inner_loop import predict, trajectory
from course_lib.kit.words import several
from course_lib.losses import accuracy
from course_lib.tasks import OmniglotTasks, TaskBatch
from course_lib.tasks.episodes import CharacterTasks
from course_lib.training import meta_train

TEST_TASKS = 120
OF_CHARACTERS = 423 / 659  # the share of the evaluation characters that a split like the papers' would hold
TRAINED = 250  # iterations of the short trainings
ALPHA = 0.4  # of the shipped MAML, against the mean of the losses; 2.0 if five ways' are summed
FILE = Path(__file__).with_suffix(".json")


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


def summary(accuracies: Tensor) -> list[float]:
    """[mean, half width of its 95 % interval], %."""
    percent = 100 * accuracies
    return [round(percent.mean().item(), 3), round(interval95(percent).item(), 3)]


def train(recipe: str, iterations: int, seed: int = 0, **changes: dict) -> list[float]:
    """Train a two-core recipe, shorter and with some settings changed, and judge it: [mean, half width].

    ``changes`` are of the recipe's "settings", "model" and "tasks". Judged by running statistics where the
    network keeps them, else on all queries together.
    """
    short = recipes.find("omniglot", recipe)
    new = {part: {**getattr(short, part), **settings} for part, settings in changes.items()}
    short = replace(short, iterations=iterations, **new)
    learner, model, tasks = short.build("omniglot", seed)
    meta_train(learner, model, tasks, seed=seed, device="cpu", **short.outer)
    test = short.build_tasks("omniglot", test=True, rotations=None)
    return summary(evaluate(learner, model, test, TEST_TASKS, [short.steps[-1]]).accuracies[0])


TRAININGS: dict[str, dict[str, tuple[str, int, dict]]] = {
    "flatten or mean (trained)": {
        "ProtoNet, 2 x 2 positions flattened": ("protonet", TRAINED, {}),
        "ProtoNet, mean over positions": ("protonet", TRAINED, {"model": {"pooling": "mean"}}),
    },
    "rotations in training (trained)": {
        "ProtoNet, turned characters are classes": ("protonet", TRAINED, {}),
        "ProtoNet, upright only": ("protonet", TRAINED, {"tasks": {"rotations": False}}),
    },
    "split (trained)": {
        "ProtoNet, whole alphabets held out": ("protonet", TRAINED, {}),
        "ProtoNet, 1200 / 423 characters": ("protonet", TRAINED, {"tasks": {"splits": "characters"}}),
    },
}


def same_tasks(rules: Rules, others: Rules) -> bool:
    """Whether two sets of rules are judged on the same tasks, so that they may be compared task by task."""
    drawn_by = "queries", "rotations", "within_alphabet", "split"
    return all(getattr(rules, name) == getattr(others, name) for name in drawn_by)


def many_tasks(num_tasks: int = 3_000) -> dict:
    """How far apart two reports of 600 tasks may lie, and what five times as many would have said (R2D2)."""
    accuracies = torch.tensor(list(measure(replace(SOLVED, queries=5), num_tasks=num_tasks, seed=1)))
    blocks = 100 * accuracies.view(-1, 600).mean(1)
    counts = {f"R2D2, {n:,} tasks": summary(accuracies[:n]) for n in (100, 600, num_tasks)}
    return {"number of tasks": counts, "means of 600": [round(b, 3) for b in blocks.tolist()]}


@lru_cache(maxsize=1)
def load() -> dict:
    """The shipped table.

    >>> sorted(load())[:3]
    ['command', 'commit', 'device']
    """
    return json.loads(FILE.read_text())


def main() -> None:
    """Measure everything and write the table with its record."""
    started = time.perf_counter()
    known: dict = {rules: torch.tensor(list(measure(rules))) for rules in (MAML, SOLVED)}
    table: dict = {"questions": {}, "differences": {}}
    for question, lines in QUESTIONS.items():
        for label, rules in lines.items():
            if rules not in known:
                known[rules] = torch.tensor(list(measure(rules)))
                print(f"{question:35} {label:40} {summary(known[rules])}", flush=True)
            table["questions"].setdefault(question, {})[label] = summary(known[rules])
            usual = MAML if rules.network == MAML.network else SOLVED
            if rules != usual and same_tasks(rules, usual):
                difference = summary(known[rules] - known[usual])
                table["differences"].setdefault(question, {})[label] = difference
    table["questions"]["number of tasks"], table["means of 600"] = many_tasks().values()
    for question, lines in TRAININGS.items():
        for label, (recipe, iterations, changes) in lines.items():
            key = (recipe, iterations, json.dumps(changes))
            if key not in known:
                known[key] = train(recipe, iterations, **changes)
                print(f"{question:35} {label:40} {known[key]}", flush=True)
            table["questions"].setdefault(question, {})[label] = known[key]
    table |= {"tasks": TEST_TASKS, "iterations of short trainings": TRAINED}
    seconds = time.perf_counter() - started
    table |= provenance("python -m course_lib.chapters.omniglot.experiments.dont_match", seconds)
    write_whole(FILE, json.dumps(table, indent=2) + "\n")
    print(f"{FILE.name} in {table['seconds']} s")


if __name__ == "__main__":
    main()
