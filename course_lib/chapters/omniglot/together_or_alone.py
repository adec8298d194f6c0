"""Transduction: what a label depends on when batch norm takes the statistics of the batch at hand."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from types import SimpleNamespace

import torch
from torch import Tensor

from course_lib.analysis.transduction import predict_in_groups
from course_lib.chapters.omniglot.experiments import dont_match
from course_lib.chapters.omniglot.experiments.dont_match import MAML, SOLVED
from course_lib.evaluation import test_start
from course_lib.inner_loop import predict, trajectory
from course_lib.kit import plots
from course_lib.kit.characters import RIGHT, WRONG, Sheet, episode, name
from course_lib.kit.demo import Button, Choice, Notches, Switch, declare

WAYS, EACH = 5, 5
NETWORKS = {
    "maml": "MAML, batch statistics",
    "r2d2": "R2D2, batch statistics",
    "running": "R2D2, running statistics",
}
TOGETHER = (1, 5, 25)
FIRST_EPISODE = 11  # one in which company changes some labels
LINES = {  # of the table, for each setting of the controls that it holds
    ("maml", 25): "MAML, all queries together",
    ("maml", 5, False): "MAML, 5 at a time, mixed",
    ("maml", 5, True): "MAML, 5 at a time, one class",
    ("maml", 1): "MAML, one at a time",
    ("r2d2", 25): "R2D2, all queries together",
    ("r2d2", 1): "R2D2, one at a time",
    ("running",): "R2D2, running statistics",
}


@lru_cache(maxsize=64)
def labels(network: str, together: int, one_class: bool, seed: int) -> Tensor:
    """What the network says of each query of an episode [Q], in the order of ``episode``."""
    rules = replace(MAML if network == "maml" else SOLVED, together="running" if network == "running" else 1)
    statistics = "batch" if network == "r2d2" else None
    model, learner = dont_match.network(rules.network, statistics)
    task = episode(WAYS, 1, EACH, seed)
    with torch.no_grad():
        params = test_start(learner, model, task, "ready", None)
    options = {"loss_fn": learner.loss_fn, "steps": rules.steps, "lr": rules.lr}
    *_, params = trajectory(model, params, task.support_x, task.support_y, **options)
    with torch.no_grad():
        if network == "running":
            return predict(model, params, task.query_x)[0].argmax(-1)
        order = torch.arange(WAYS * EACH)
        if not one_class:  # a query of each class to every group
            order = order.view(WAYS, EACH).T.flatten()
        outputs = predict_in_groups(model, params, task.support_x, task.query_x[:, order], together)
        return outputs[0].argmax(-1)[order.argsort()]


def compute(values: SimpleNamespace) -> dict:
    """The labels under these rules, and which of them other company would have changed."""
    seed = FIRST_EPISODE + values.new_episode
    task = episode(WAYS, 1, EACH, seed)
    usual = labels(values.network, WAYS * EACH, False, seed)
    now = labels(values.network, values.together, values.one_class, seed)
    settings = values.network, values.together, values.one_class
    return {
        "query": task.query_x[0, :, 0],  # [25, 28, 28]
        "truth": task.query_y[0],
        "said": now,
        "changed": now != usual,
        "line": next((LINES[settings[:n]] for n in (1, 2, 3) if settings[:n] in LINES), ""),
        "company": "" if values.network == "running" else company(values.together, values.one_class),
        "pictures": name(),
    }


def company(together: int, one_class: bool) -> str:
    if together == 5:
        return ", 5 queries at a time, " + ("one class" if one_class else "mixed")
    return ", one query at a time" if together == 1 else ", all queries together"


def table() -> dict[str, list[float]]:
    """{line: [mean, half width]} of accuracies over many tasks of Omniglot, in %."""
    return dont_match.lines("transduction")


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2, width_ratios=(1.35, 1))
    sheet = Sheet(left, WAYS * EACH, aspect=1.5)
    show.also(lambda d: sheet.show(*labelled(d), columns=EACH), *sheet.artists)
    show.title(left, lambda d: f"{d.pictures.capitalize()}: {counted(d)}")

    rows = table()
    lowest, highest = min(mean - half for mean, half in rows.values()), max(mean + half for mean, half in rows.values())
    right.set(xlim=(lowest - 4, min(highest + 1, 100)), ylim=(len(rows) - 0.5, -0.6), xlabel="accuracy, %")
    right.set_yticks(range(len(rows)), [line.partition(", ")[2].replace(" queries", "") for line in rows])
    right.grid(False, axis="y")
    for row, (line, (mean, half)) in enumerate(rows.items()):
        look = plots.METHODS["maml" if line.startswith("MAML") else "ridge"]
        show.line(right, [mean - half, mean + half], [row, row], color=look["color"], linestyle="-", linewidth=1.2)
        chosen = lambda d, line=line: d.line == line
        size = lambda d, chosen=chosen: 11 if chosen(d) else 6
        show.points(right, mean, row, color=look["color"], marker=look["marker"], markersize=size)
        value = f"{mean:.1f} \N{PLUS-MINUS SIGN} {half:.1f}"
        show.text(right, mean, row - 0.28, value, shown=chosen, ha="center", va="bottom", fontsize=9)
    for words, method, row in (("MAML", "maml", 0), ("R2D2", "ridge", 4)):
        right.text(0.03, row, words, color=plots.METHODS[method]["color"], transform=right.get_yaxis_transform())
    change, _ = dont_match.lines("transduction", "change")["MAML, 5 at a time, one class"]
    right.set_title(f"One class: {-change:.0f} points lost")


def labelled(d) -> tuple[list, list[str], list[str]]:
    """Pictures, labels and colours, a class to each row."""
    by_row = [row * EACH + column for column in range(EACH) for row in range(WAYS)]
    said = [f"{'*' * bool(d.changed[i])}{int(d.said[i]) + 1}" for i in by_row]
    return [d.query[i : i + 1] for i in by_row], said, [RIGHT if d.said[i] == d.truth[i] else WRONG for i in by_row]


def counted(d) -> str:
    right, changed = int((d.said == d.truth).sum()), int(d.changed.sum())
    return f"{right} of {WAYS * EACH} right, {changed} changed (*)"


def words(d) -> str:
    said = f"{NETWORKS[d.network]}{d.company}: {counted(d)} against all queries together, on {d.pictures}. "
    if not d.line:
        return said + "This setting is not in the table on the right."
    mean, half = table()[d.line]
    return said + f"In the table on the right, measured on Omniglot: {mean:.1f} \u00b1 {half:.1f} %."


demo = declare(
    "Who else is in the batch?",
    [
        Choice("network", NETWORKS, "maml", "network"),
        Notches("together", TOGETHER, 5, "queries together"),
        Switch("one_class", True, "groups of one class"),
        Button("new_episode", "another episode"),
    ],
    compute,
    picture,
    words,
    size=(9.4, 4.3),
    views={
        "five of one class": {},
        "five, mixed": {"one_class": False},
        "one at a time": {"together": 1},
        "running statistics": {"network": "running"},
    },
)
