"""The inner loop on a real episode: which query pictures change their label as the network adapts."""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import torch
from torch import Tensor

from course_lib import checkpoints
from course_lib.evaluation import test_start
from course_lib.inner_loop import predict, trajectory
from course_lib.kit import plots
from course_lib.kit.characters import PLAIN, RIGHT, WRONG, Sheet, episode, name
from course_lib.kit.demo import Button, Choice, Notches, Slider, declare
from course_lib.kit.words import several
from course_lib.models import Conv4

WAYS, EACH = 5, 3  # classes, and queries of each
MAX_STEPS = 10
RATES = (0.02, 0.1, 0.4, 1.0, 2.0)  # 0.4 in training
STARTS = {"omniglot/maml": "MAML's weights", "untrained": "untrained weights"}
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
        "watched": int(task.query_y[0, values.watch - 1]),  # its character
        "pictures": name(),
    }


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2, width_ratios=(1.25, 1))
    sheet = Sheet(left, WAYS * (EACH + 1), aspect=1.3)
    show.also(lambda d: sheet.show(*labelled(d), columns=EACH + 1, marked=place(d)), *sheet.artists)
    show.title(left, lambda d: f"{d.pictures.capitalize()}: {counted(d)}")

    right.set(xlim=(-0.15, MAX_STEPS + 0.15), ylim=(-0.03, 1.03), xlabel="inner steps k", ylabel="probability")
    right.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    show.mark(right, "steps", linestyle="-", linewidth=1)
    k = range(MAX_STEPS + 1)
    show.line(right, k, "accuracy", color=plots.FAINT, linestyle="-", linewidth=4, end="queries right", zorder=1.5)
    for way, (dash, mark) in enumerate(zip(plots.DASHES, plots.MARKERS)):
        if way < WAYS:
            own = lambda yes, no, way=way: lambda d: yes if d.watched == way else no
            look = {"color": own(plots.BLUE, "#9a9a9a"), "linewidth": own(3, 1.2), "zorder": own(3, 2)}
            look |= {"linestyle": dash, "marker": mark, "markersize": 4, "end": f"character {way + 1}"}
            show.line(right, k, lambda d, way=way: d.shares[:, way], **look)
    show.points(right, "steps", lambda d: d.shares[d.steps, d.watched], **plots.HERE, zorder=5, clip_on=False)
    show.title(right, lambda d: f"The framed one is a {d.watched + 1}: {d.shares[d.steps, d.watched]:.0%}")


def labelled(d) -> tuple[list, list[str], list[str]]:
    """Pictures, labels and colours column by column: the support pictures, then the queries."""
    queries = [row * EACH + column for column in range(EACH) for row in range(WAYS)]
    groups = [d.support[row : row + 1] for row in range(WAYS)] + [d.query[i : i + 1] for i in queries]
    said = [f"{'*' * bool(d.flipped[i])}{int(d.said[i]) + 1}" for i in queries]
    colors = [RIGHT if d.said[i] == d.truth[i] else WRONG for i in queries]
    return groups, [f"{row + 1}:" for row in range(WAYS)] + said, WAYS * [PLAIN] + colors


def place(d) -> int:
    """Of the watched query among the pictures."""
    row, column = divmod(d.watch - 1, EACH)
    return (column + 1) * WAYS + row


def counted(d) -> str:
    right, flips = int((d.said == d.truth).sum()), int(d.flipped.sum())
    return f"{right} of {WAYS * EACH} right, {flips} flipped (*)"


def words(d) -> str:
    shares = ", ".join(f"{i + 1}: {share:.0%}" for i, share in enumerate(d.shares[d.steps]))
    return (
        f"A 5-way 1-shot episode of {d.pictures} from {STARTS[d.start]}, alpha {d.inner_lr:g}. After k = "
        f"{several(d.steps, 'step')} {counted(d)} in this step. Query {d.watch} is a drawing of character "
        f"{d.watched + 1}; its probabilities: {shares}."
    )


demo = declare(
    "The inner loop on an episode",
    [
        Slider("steps", 0, MAX_STEPS, 1, "inner steps k"),
        Notches("inner_lr", RATES, 0.4, "inner rate \N{GREEK SMALL LETTER ALPHA}"),
        Slider("watch", 1, WAYS * EACH, 1, "watch query"),
        Choice("start", STARTS, "omniglot/maml", "start from"),
        Button("new_episode", "another episode"),
    ],
    compute,
    picture,
    words,
    size=(9.4, 4.5),
    views={
        "before a step: chance": {"steps": 0},
        "one step": {"steps": 1},
        "steps too long": {"steps": 3, "inner_lr": 2.0},
        "untrained weights": {"steps": 10, "start": "untrained"},
    },
)
