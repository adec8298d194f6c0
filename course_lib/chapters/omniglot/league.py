"""The league table: every method that has a checkpoint, on the same new tasks, beside the published numbers.

A row that is there for the same weights is not measured again, and what was not measured is not in the table.

A row of league_FAMILY.csv: the task, what was measured, and the record of the network it was measured on.
``steps`` counts fine-tuning steps; the picture shows the last ones, which the recipe fixed beforehand.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from course_lib import checkpoints
from course_lib.algorithms import MAML, Learner, UnionOfTasks
from course_lib.algorithms.fitted import FittedHead
from course_lib.analysis.transduction import accuracies, has_running_statistics, with_statistics
from course_lib.engine import recipes
from course_lib.engine.files import write_whole
from course_lib.evaluation import DRAW_AT_ONCE, evaluate, interval95
from course_lib.models import Conv4
from course_lib.tasks import OmniglotTasks
from course_lib.tasks.sinusoid import ZERO_PREDICTOR_MSE

FOLDER = Path(__file__).parent / "experiments"
PUBLISHED = FOLDER / "published.csv"
TASK = ("family", "ways", "shots", "within_alphabet", "transductive", "steps", "tasks", "seed")
RESULT = ("mean", "ci95", "unit")
RECORD = ("trained_on", "trained_ways", "trained_shots", "iterations", "cpu_seconds", "weights", "commit", "command")
COLUMNS = ("method", "checkpoint", *TASK, *RESULT, *RECORD)
ACCURACY, ERROR = "accuracy, %", "query error"

Row = dict[str, str]


@dataclass(frozen=True)
class Cell:
    """A kind of task to be judged on. ``ways`` is None for the sinusoid."""

    ways: int | None
    shots: int
    within_alphabet: bool = False


PAPERS = {"splits": "characters"}  # 1,200 and 423 characters of all alphabets, for training and for judging
IMAGE_CELLS = (Cell(5, 1), Cell(5, 5), Cell(20, 1), Cell(20, 5), Cell(20, 1, within_alphabet=True))
SINE_CELLS = (Cell(None, 10), Cell(None, 5))
# Whose checkpoints are judged by default; on drawn glyphs also those trained on Omniglot, which need no data.
SERVED_BY = {
    "sinusoid": ("sinusoid",),
    "omniglot": ("omniglot",),
    "glyphs": ("glyphs", "omniglot"),
    "papers": ("papers",),
}


def measure(
    family: str, cells: Iterable[Cell], names: Iterable[str], num_tasks: int, seed: int, known: list[Row]
) -> Iterator[Row]:
    """Rows that are not ``known``, as they are measured: floors first, then the checkpoints ``names``."""
    done = {_key(row) for row in known}
    of_floors, of_network = (_zero_rows, _sinusoid_rows) if family == "sinusoid" else (_floor_rows, _image_rows)
    yield from of_floors(family, cells, num_tasks, seed, done)
    for name in names:
        yield from of_network(family, cells, name, num_tasks, seed, done)


def _zero_rows(family: str, cells: Iterable[Cell], num_tasks: int, seed: int, done: set) -> Iterator[Row]:
    zero = {"method": "zero predictor", "steps": 0, "seed": "", "mean": f"{ZERO_PREDICTOR_MSE:.4f}", "ci95": 0}
    for cell in cells:
        yield from _new([_row(family, cell, "exact", seed, ERROR) | zero], done)


def _sinusoid_rows(
    family: str, cells: Iterable[Cell], name: str, num_tasks: int, seed: int, done: set
) -> Iterator[Row]:
    model, learner, record = checkpoints.load(name)
    about, steps = describe(name, learner, record), record["score"]["steps"]
    for cell in cells:
        row = _row(family, cell, num_tasks, seed, ERROR) | about
        if not _new([row | {"steps": k} for k in steps], done):
            continue
        tasks = recipes.FAMILIES[family](shots=cell.shots)
        result = evaluate(learner, model, tasks, num_tasks, steps, seed)
        yield from _new(_results(row, steps, result.query_losses), done)


def _floor_rows(family: str, cells: Iterable[Cell], num_tasks: int, seed: int, done: set) -> Iterator[Row]:
    for cell in cells:
        for transductive in ("yes", "no"):
            for floor, features in floors(transductive == "yes").items():
                about = {"method": f"nearest neighbour, {floor}", "transductive": transductive, "steps": 0}
                row = _row(family, cell, num_tasks, seed, ACCURACY) | about
                if _new([row], done):
                    scores = nearest_neighbour(features, episodes(family, cell), num_tasks, seed)
                    yield from _results(row, [0], 100 * scores[None])


def _image_rows(family: str, cells: Iterable[Cell], name: str, num_tasks: int, seed: int, done: set) -> Iterator[Row]:
    model, learner, record = checkpoints.load(name)
    about, steps = describe(name, learner, record), record["score"]["steps"]
    model.eval()
    for cell in cells:
        if cell.ways != model.head.out_features and not serves_any_ways(learner):
            continue
        for transductive in ("yes", "no"):
            row = _row(family, cell, num_tasks, seed, ACCURACY) | about | {"transductive": transductive}
            if not _new([row | {"steps": k} for k in steps], done):
                continue
            one_by_one = transductive == "no" and not has_running_statistics(model)
            tasks = episodes(family, cell, one_by_one)
            scores = accuracies(learner, model, tasks, transductive == "yes", num_tasks, steps, seed)
            yield from _new(_results(row, steps, 100 * scores), done)


def episodes(family: str, cell: Cell, one_by_one: bool = False):
    """The tasks of a cell, with fewer queries where each of them is normalised in a batch of its own."""
    queries = max(1, 15 // cell.ways) if one_by_one else 15 if cell.ways == 5 else 5  # of a class
    counts = {"ways": cell.ways, "shots": cell.shots, "queries": queries, "within_alphabet": cell.within_alphabet}
    if family == "papers":
        return OmniglotTasks("test", **counts, **PAPERS)
    return recipes.FAMILIES[family]("test", **counts)


def floors(transductive: bool) -> dict[str, nn.Module]:
    """What a method has to beat: pixels, which no batch normalises, and an untrained network."""
    untrained = Conv4(downsample="stride", statistics="running", seed=0).eval()
    if transductive:
        return {"random features": with_statistics(untrained, "batch").features}
    return {"pixels": nn.Flatten(), "random features": untrained.features}


@torch.no_grad()
def nearest_neighbour(features: nn.Module, tasks, num_tasks: int = 600, seed: int = 0) -> Tensor:
    """Accuracy [num_tasks] of giving each query image the label of the support image nearest to it."""
    generator, scores = torch.Generator().manual_seed(seed), []
    for first in range(0, num_tasks, DRAW_AT_ONCE):
        drawn = tasks.sample(min(DRAW_AT_ONCE, num_tasks - first), generator=generator)
        for x, y, query_x, query_y in zip(drawn.support_x, drawn.support_y, drawn.query_x, drawn.query_y):
            distance = torch.cdist(features(query_x), features(x))  # [Q, S]
            scores.append((y[distance.argmin(1)] == query_y).float().mean())
    return torch.stack(scores)


def serves_any_ways(learner: Learner) -> bool:
    """Whether a head is made from the support set, so that training's ways need not be the test's."""
    return isinstance(learner, FittedHead) and getattr(learner, "test_head", None) != "gradient"


def method_name(learner: Learner) -> str:
    """The name a method goes by in tables."""
    if isinstance(learner, UnionOfTasks):
        return "union of tasks"
    if type(learner) is MAML and learner.inner_steps == 0:
        return "pretrained"
    return "FOMAML" if type(learner) is MAML and not learner.second_order else type(learner).__name__


def describe(name: str, learner: Learner, record: dict) -> Row:
    """The columns that say which network a number is of."""
    settings = checkpoints.task_settings(record)
    pooled, on_cpu = "pool" in record["tasks"], record.get("device", "CPU").endswith("CPU")
    return {
        "method": method_name(learner),
        "checkpoint": str(name),
        "trained_on": settings["class"].removesuffix("Tasks"),
        "trained_ways": "all classes" if pooled else settings.get("ways", ""),
        "trained_shots": "" if pooled else settings["shots"],
        "iterations": record["training"]["iterations"],
        "cpu_seconds": on_cpu and record.get("cpu_seconds") or "",
        "weights": checkpoints.fingerprint(name),
        "commit": record["commit"],
        "command": record["command"],
    }


def task_of(row: Row) -> tuple[int, int, bool]:
    """Ways, shots, within alphabets."""
    return int(row["ways"]), int(row["shots"]), row.get("within_alphabet") == "yes"


def reported(rows: Sequence[Row]) -> list[Row]:
    """Of each network and task the row with the most fine-tuning steps, which the recipe fixed beforehand, and
    of those the one over the most test tasks; of a method's networks those trained for the task's shots, if any are."""
    last: dict[tuple, Row] = {}
    for row in rows:
        key = (row["method"], row["checkpoint"], *task_of(row), row["transductive"])
        if key not in last or length(row) > length(last[key]):
            last[key] = row
    rows = list(last.values())
    fitting = {_line(row) for row in rows if row["trained_shots"] == row["shots"]}
    return [row for row in rows if row["trained_shots"] == row["shots"] or _line(row) not in fitting]


def _line(row: Row) -> tuple:
    return row["method"], *task_of(row), row["transductive"]


def length(row: Row) -> tuple[int, int]:
    """Fine-tuning steps and test tasks: which of two rows says more."""
    return int(row["steps"]), int(row["tasks"])


def rank_agreement(rows: Sequence[Row], others: Sequence[Row], transductive: str) -> tuple[float, int]:
    """Spearman's rank correlation of two tables' accuracies at 5 ways and 1 shot, and over how many networks
    and floors. NaN over fewer than two."""
    scores = [
        {
            (row["method"], row["weights"]): float(row["mean"])
            for row in reported(table)
            if task_of(row) == (5, 1, False) and row["transductive"] == transductive
        }
        for table in (rows, others)
    ]
    both = sorted(scores[0].keys() & scores[1].keys())
    values = torch.tensor([[score[key] for key in both] for score in scores], dtype=torch.float64)  # [2, N]
    larger = values[:, :, None] - values[:, None]  # [2, N, N]
    ranks = larger.sign().sum(2)  # twice the rank, up to a constant; those that tie share the mean of their ranks
    return (torch.corrcoef(ranks)[0, 1].item() if len(both) > 1 else float("nan")), len(both)


def _row(family: str, cell: Cell, num_tasks: int | str, seed: int, unit: str) -> Row:
    name = (OmniglotTasks if family == "papers" else recipes.FAMILIES[family]).name
    within = "" if cell.ways is None else "yes" if cell.within_alphabet else "no"
    task = {"family": name, "ways": cell.ways or "", "shots": cell.shots, "within_alphabet": within}
    return dict.fromkeys(COLUMNS, "") | task | {"tasks": num_tasks, "seed": seed, "unit": unit}


def cell_of(row: Row) -> Cell:
    """The kind of task of a row."""
    return Cell(int(row["ways"] or 0) or None, int(row["shots"]), row["within_alphabet"] == "yes")


def _results(row: Row, steps: Iterable[int], scores: Tensor) -> list[Row]:
    """A row for each number of steps; scores [len(steps), tasks]."""
    means, halves = scores.mean(1).tolist(), interval95(scores).tolist()
    return [row | {"steps": k, "mean": f"{m:.4g}", "ci95": f"{h:.2g}"} for k, m, h in zip(steps, means, halves)]


def _key(row: Row) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in ("method", "checkpoint", "weights", *TASK))


def _new(rows: list[Row], done: set) -> list[Row]:
    return [row for row in rows if _key(row) not in done]


def read(path: Path) -> list[Row]:
    """The rows of a table; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: list[Row]) -> None:
    """The table, all or nothing."""
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(path, table.getvalue())


def summary(row: Row) -> str:
    """One line of the table."""
    task = f"{row['ways']}-way {row['shots']}-shot" if row["ways"] else f"{row['shots']} points"
    task += ", within alphabets" if row["within_alphabet"] == "yes" else ""
    task += ", transductive" if row["transductive"] == "yes" else ""
    network = f"{row['method']:34} {row['checkpoint']:24}"
    return f"{network} {task:38} {row['steps']:>2} steps  {row['mean']} +- {row['ci95']}"
