"""An episode to look at: W characters never seen before, S drawings of each, and new drawings to tell apart."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import Tensor

from course_lib import checkpoints
from course_lib.chapters.omniglot.setup import PLAIN, RIGHT, WRONG, Sheet, episode, name, pool
from course_lib.inner_loop import predict
from course_lib.kit.first_edition import Button, Choice, Demo, Slider, Switch
from course_lib.tasks import TaskBatch

MOST_WAYS, MOST_SHOTS, QUERIES = 20, 5, 25  # about so many query pictures are shown
JUDGES = {
    "nobody: you try": "nobody",
    "the truth": "truth",
    "nearest pixels": "pixels",
    "R2D2": "omniglot/r2d2",
}


@torch.no_grad()
def answers(judge: str, task: TaskBatch) -> Tensor:
    """The labels [Q] that a judge gives to the query set."""
    if judge == "truth":
        return task.query_y[0]
    if judge == "pixels":
        nearest = torch.cdist(task.query_x[0].flatten(1), task.support_x[0].flatten(1)).argmin(1)  # [Q]
        return task.support_y[0, nearest]
    model, learner, _ = checkpoints.load(judge)
    params = learner.adapt(model.eval(), task.support_x, task.support_y)
    return predict(model, params, task.query_x)[0].argmax(-1)


def compute(values: SimpleNamespace) -> dict:
    """The episode, its query set shuffled, and what the judge says about each query."""
    queries = max(1, QUERIES // values.ways)
    settings = {"rotations": values.rotations, "within": values.within}
    try:
        task = episode(values.ways, values.shots, queries, values.new_episode, **settings)
    except ValueError:  # of drawn glyphs and of some alphabets there are too few characters in one alphabet
        raise ValueError(f"No alphabet has {values.ways} characters: lower the ways.") from None
    generator = torch.Generator().manual_seed(values.new_episode)
    shuffled = torch.randperm(task.query_y.shape[1], generator=generator)
    said = None if values.judge == "nobody" else answers(values.judge, task)[shuffled]
    counts = {"ways": values.ways, "shots": values.shots, "queries": queries}
    tasks = pool(**counts, rotations=values.rotations, within_alphabet=values.within)
    return {
        "support": task.support_x[0, :, 0].unflatten(0, (values.ways, values.shots)),  # [W, S, 28, 28]
        "query": task.query_x[0, shuffled, 0],  # [Q, 28, 28]
        "truth": task.query_y[0, shuffled],  # [Q]
        "said": said,
        "judge": values.judge,
        "names": [tasks.class_name(c) for c in task.info["classes"][0]],
        "pictures": name(),
    }


def figure(fig) -> SimpleNamespace:
    fig.get_layout_engine().set(h_pad=0.08)  # inches, for titles right above the pictures
    left, right = fig.subplots(1, 2)
    support, query = Sheet(left, MOST_WAYS), Sheet(right, 2 * QUERIES)
    titles = left.set_title(" "), right.set_title(" ")
    moving = [support.artists, query.artists]
    return SimpleNamespace(support=support, query=query, moving=moving, titles=titles)


def draw(artists: SimpleNamespace, data: dict) -> None:
    ways, shots = data["support"].shape[:2]
    artists.support.show(data["support"], [str(w + 1) for w in range(ways)], ways * [PLAIN])
    said, truth = data["said"], data["truth"]
    if said is None:
        labels, colors = len(truth) * ["?"], len(truth) * [PLAIN]
    else:
        labels = [str(int(label) + 1) for label in said]
        colors = [RIGHT if right else WRONG for right in said == truth]
    artists.query.show(data["query"][:, None], labels, colors)
    artists.titles[0].set_text(f"Support: {ways} characters of {data['pictures']}, {shots} of each")
    artists.titles[1].set_text(f"Query: {result(data)}")


def result(data: dict) -> str:
    count = len(data["truth"])
    if data["said"] is None:
        return f"which is which? ({count} drawings)"
    right = int((data["said"] == data["truth"]).sum())
    who = next(words for words, judge in JUDGES.items() if judge == data["judge"])
    return f"{who}, {right} of {count} right"


def alt(data: dict) -> str:
    ways, shots = data["support"].shape[:2]
    named = "; ".join(f"{i + 1}: {words}" for i, words in enumerate(data["names"][:5]))
    named += " and others" if ways > 5 else ""
    drawings = "1 drawing" if shots == 1 else f"{shots} drawings"
    return (
        f"An episode of {data['pictures']}: on the left {ways} characters, {drawings} of each, numbered "
        f"({named}). On the right the query set, shuffled: {result(data)}."
    )


def demo() -> Demo:
    """The first demo of notebook 09; nobody has labelled the queries yet."""
    return Demo(
        "An episode",
        controls=[
            Slider("ways", 2, MOST_WAYS, 5, "ways"),
            Slider("shots", 1, MOST_SHOTS, 1, "shots"),
            Choice("judge", JUDGES, "nobody", "labels by"),
            Switch("rotations", False, "turned characters are classes too"),
            Switch("within", False, "all of one alphabet"),
            Button("new_episode", "another episode"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(9.0, 4.7),
    )
