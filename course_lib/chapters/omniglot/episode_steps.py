"""The inner loop on a real episode: which query pictures change their label as the network adapts."""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import torch
from torch import Tensor

from course_lib import checkpoints
from course_lib.chapters.omniglot.setup import RIGHT, WRONG, Sheet, episode, name
from course_lib.evaluation import test_start
from course_lib.inner_loop import predict, trajectory
from course_lib.kit import plots
from course_lib.kit.first_edition import Button, Choice, Demo, Notches, Slider
from course_lib.models import Conv4

WAYS, EACH = 5, 3  # classes, and queries of each
MAX_STEPS = 10
RATES = (0.02, 0.1, 0.4, 1.0, 2.0)  # 0.4 in training
STARTS = {"MAML's weights": "omniglot/maml", "untrained weights": "untrained"}
SHOTS = 1


@lru_cache(maxsize=32)
def adapting(start: str, inner_lr: float, seed: int) -> Tensor:
    """Probabilities of all queries of an episode after 0, 1, ..., 10 steps: [11, Q, W]."""
    model, learner, _ = checkpoints.load("omniglot/maml")
    if start == "untrained":
        model = Conv4(**model.config)
    task = episode(WAYS, SHOTS, EACH, seed)
    with torch.no_grad():
        params = test_start(learner, model, task, "ready", None)
    options = {"loss_fn": learner.loss_fn, "steps": MAX_STEPS, "lr": inner_lr}
    tuned = list(trajectory(model, params, task.support_x, task.support_y, **options))
    with torch.no_grad():
        return torch.stack([predict(model, params, task.query_x)[0].softmax(-1) for params in tuned])


def compute(values: SimpleNamespace) -> dict:
    """What the network says of each query after k steps, and of one query after each number of steps."""
    task = episode(WAYS, SHOTS, EACH, values.new_episode)
    shares = adapting(values.start, values.inner_lr, values.new_episode)  # [11, Q, W]
    said = shares.argmax(-1)  # [11, Q]
    now, before = said[values.steps], said[max(values.steps - 1, 0)]
    return {
        "support": task.support_x[0, :, 0],  # [5, 28, 28]
        "query": task.query_x[0, :, 0],  # [Q, 28, 28]
        "truth": task.query_y[0],  # [Q]
        "said": now,
        "flipped": now != before,
        "accuracy": (said == task.query_y[0]).float().mean(1).numpy(),  # [11]
        "shares": shares[:, values.watch - 1].numpy(),  # [11, W]
        "watch": values.watch - 1,
        "steps": values.steps,
        "start": next(words for words, start in STARTS.items() if start == values.start),
        "inner_lr": values.inner_lr,
        "pictures": name(),
    }


def figure(fig) -> SimpleNamespace:
    fig.get_layout_engine().set(h_pad=0.08)  # inches, for titles right above the pictures
    left, right = fig.subplots(1, 2, width_ratios=(1.2, 1))
    sheet = Sheet(left, WAYS * (EACH + 1), aspect=1.3)
    right.set(xlim=(-0.2, MAX_STEPS + 0.2), ylim=(-0.02, 1.02), xlabel="inner steps k", ylabel="probability")
    lines = [
        right.plot([], [], color=color, linestyle=dash, marker=mark, markersize=4, label=f"character {i + 1}")[0]
        for i, (color, dash, mark) in enumerate(zip(plots.COLORS, plots.DASHES, plots.MARKERS[:WAYS]))
    ]
    whole = right.plot([], [], color=plots.BLACK, linewidth=3, alpha=0.35, label="share of queries right")[0]
    now = right.axvline(0, color=plots.BLACK, linewidth=1)
    fig.legend(loc="outside lower center", ncols=3)
    titles = left.set_title(" "), right.set_title(" ")
    return SimpleNamespace(
        sheet=sheet, moving=sheet.artists, lines=lines, whole=whole, now=now, titles=titles
    )


def draw(artists: SimpleNamespace, data: dict) -> None:
    groups, labels, colors = [], [], []
    for column in range(EACH + 1):  # column by column: the support pictures, then the queries
        for row in range(WAYS):
            index = row * EACH + column - 1
            if column == 0:
                groups.append(data["support"][row : row + 1])
                labels.append(f"{row + 1}:")
                colors.append("#000000")
                continue
            said, right = int(data["said"][index]), bool(data["said"][index] == data["truth"][index])
            groups.append(data["query"][index : index + 1])
            labels.append(f"{'*' if data['flipped'][index] else ''}{said + 1}")
            colors.append(RIGHT if right else WRONG)
    row, column = divmod(data["watch"], EACH)
    artists.sheet.show(groups, labels, colors, columns=EACH + 1, marked=(column + 1) * WAYS + row)
    k = range(MAX_STEPS + 1)
    for way, line in enumerate(artists.lines):
        line.set_data(k, data["shares"][:, way])
        line.set_linewidth(3.2 if way == data["truth"][data["watch"]] else 1.6)
    artists.whole.set_data(k, data["accuracy"])
    artists.now.set_xdata([data["steps"]] * 2)
    artists.titles[0].set_text(f"{data['pictures']}, k = {data['steps']}: {counted(data)}")
    artists.titles[1].set_text(f"The framed query, a drawing of {int(data['truth'][data['watch']]) + 1}")


def counted(data: dict) -> str:
    right, flips = int((data["said"] == data["truth"]).sum()), int(data["flipped"].sum())
    return f"{right} of {WAYS * EACH} right, {flips} flipped (*)"


def alt(data: dict) -> str:
    watched = data["shares"][data["steps"]]
    shares = ", ".join(f"{i + 1}: {share:.0%}" for i, share in enumerate(watched))
    return (
        f"A 5-way 1-shot episode of {data['pictures']} from {data['start']}, alpha {data['inner_lr']:g}. After k = "
        f"{data['steps']} steps {counted(data)} in this step. Query {data['watch'] + 1} is a drawing of character "
        f"{int(data['truth'][data['watch']]) + 1}; its probabilities: {shares}."
    )


def demo() -> Demo:
    """The k slider of notebook 09; in its default view one step has just been taken from MAML's weights."""
    return Demo(
        "The inner loop on an episode",
        controls=[
            Slider("steps", 0, MAX_STEPS, 1, "inner steps k"),
            Notches("inner_lr", RATES, 0.4, "inner rate alpha"),
            Slider("watch", 1, WAYS * EACH, 1, "watch query"),
            Choice("start", STARTS, "omniglot/maml", "start from"),
            Button("new_episode", "another episode"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(9.0, 4.7),
    )
