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
from course_lib.chapters.omniglot.setup import RIGHT, WRONG, Sheet, episode, name
from course_lib.evaluation import test_start
from course_lib.inner_loop import predict, trajectory
from course_lib.kit import plots
from course_lib.kit.first_edition import Button, Choice, Demo, Notches, Switch

WAYS, EACH = 5, 5
NETWORKS = {
    "MAML, batch statistics": "maml",
    "R2D2, batch statistics": "r2d2",
    "R2D2, running statistics": "running",
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
        "line": next((LINES[settings[:n]] for n in (1, 2, 3) if settings[:n] in LINES), None),
        "network": next(words for words, network in NETWORKS.items() if network == values.network),
        "company": "" if values.network == "running" else company(values.together, values.one_class),
        "pictures": name(),
    }


def company(together: int, one_class: bool) -> str:
    if together == 1:
        return ", one query at a time"
    if together == 5:
        return ", 5 queries at a time, " + ("one class" if one_class else "mixed")
    return ", all queries together"


def figure(fig) -> SimpleNamespace:
    fig.get_layout_engine().set(h_pad=0.08)  # inches, for titles right above the pictures
    left, right = fig.subplots(1, 2, width_ratios=(1.25, 1))
    sheet = Sheet(left, WAYS * EACH, aspect=1.5)
    table = dont_match.load()["questions"]["transduction"]
    for row, (label, (mean, half)) in enumerate(table.items()):
        color = plots.BLUE if label.startswith("MAML") else plots.GREEN
        right.errorbar(mean, row, xerr=half, color=color, marker="os"[label[0] == "R"], linestyle="none")
    right.set_yticks(range(len(table)), table)
    right.set(ylim=(len(table) - 0.5, -0.5), xlabel="accuracy, %")
    right.set_title(f"Omniglot, {dont_match.load()['tasks']} tasks")
    now = right.axhspan(-0.4, 0.4, color=plots.AMBER, alpha=0.25, linewidth=0)
    return SimpleNamespace(sheet=sheet, moving=sheet.artists, now=now, title=left.set_title(" "))


def draw(artists: SimpleNamespace, data: dict) -> None:
    said = [f"{'*' * bool(c)}{int(s) + 1}" for s, c in zip(data["said"], data["changed"])]
    colors = [RIGHT if right else WRONG for right in data["said"] == data["truth"]]
    by_row = [row * EACH + column for column in range(EACH) for row in range(WAYS)]  # a class to each row
    groups = [data["query"][i : i + 1] for i in by_row]
    artists.sheet.show(groups, [said[i] for i in by_row], [colors[i] for i in by_row], columns=EACH)
    artists.now.set_visible(data["line"] is not None)
    if data["line"] is not None:
        artists.now.set_y(list(dont_match.load()["questions"]["transduction"]).index(data["line"]) - 0.4)
    artists.title.set_text(f"{data['pictures']}: {counted(data)}")


def counted(data: dict) -> str:
    right, changed = int((data["said"] == data["truth"]).sum()), int(data["changed"].sum())
    return f"{right} of {WAYS * EACH} right, {changed} changed (*)"


def alt(data: dict) -> str:
    table = dont_match.load()["questions"]["transduction"]
    words = f"{data['network']}{data['company']}: {counted(data)} against all queries together, on {data['pictures']}. "
    if data["line"] is None:
        return words + "This setting is not in the table on the right."
    mean, half = table[data["line"]]
    return words + f"In the table on the right, measured on Omniglot: {mean:.1f} % +- {half:.1f}."


def demo() -> Demo:
    """The transduction switch of notebook 09; by default five queries of one class share a batch."""
    return Demo(
        "Who else is in the batch?",
        controls=[
            Choice("network", NETWORKS, "maml", "network"),
            Notches("together", TOGETHER, 5, "queries together"),
            Switch("one_class", True, "groups of one class"),
            Button("new_episode", "another episode"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(9.0, 4.3),
    )
