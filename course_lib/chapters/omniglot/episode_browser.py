"""An episode to look at: W characters never seen before, S drawings of each, and new drawings to tell apart."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from course_lib.kit.characters import PLAIN, RIGHT, WRONG, Sheet, episode, labels, name, pool
from course_lib.kit.demo import Button, Choice, Slider, Switch, declare
from course_lib.kit.words import several

MOST_WAYS, MOST_SHOTS, QUERIES = 20, 5, 25  # about so many query pictures are shown
JUDGES = {"nobody": "nobody: you try", "truth": "the truth", "pixels": "nearest pixels", "omniglot/r2d2": "R2D2"}


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
    said = None if values.judge == "nobody" else labels(values.judge, task)[shuffled]
    counts = {"ways": values.ways, "shots": values.shots, "queries": queries}
    tasks = pool(**counts, rotations=values.rotations, within_alphabet=values.within)
    return {
        "support": task.support_x[0, :, 0].unflatten(0, (values.ways, values.shots)),  # [W, S, 28, 28]
        "query": task.query_x[0, shuffled, 0],  # [Q, 28, 28]
        "truth": task.query_y[0, shuffled],  # [Q]
        "said": said,
        "names": [tasks.class_name(c) for c in task.info["classes"][0]],
        "pictures": name(),
    }


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2)
    support, query = Sheet(left, MOST_WAYS), Sheet(right, 2 * QUERIES)
    numbers = lambda d: [str(way + 1) for way in range(d.ways)]
    show.also(lambda d: support.show(d.support, numbers(d), d.ways * [PLAIN]), *support.artists)
    show.also(lambda d: query.show(d.query[:, None], *answered(d)), *query.artists)
    show.title(left, lambda d: f"{d.pictures.capitalize()}: {d.ways} characters, {d.shots} of each")
    show.title(right, result)


def answered(d) -> tuple[list[str], list[str]]:
    """Labels and colours of the queries."""
    if d.said is None:
        return len(d.truth) * ["?"], len(d.truth) * [PLAIN]
    return [str(int(label) + 1) for label in d.said], [RIGHT if right else WRONG for right in d.said == d.truth]


def result(d) -> str:
    count = len(d.truth)
    if d.said is None:
        return f"Which is which? ({count} drawings)"
    return f"{JUDGES[d.judge]}: {int((d.said == d.truth).sum())} of {count} right"


def words(d) -> str:
    named = "; ".join(f"{i + 1}: {words}" for i, words in enumerate(d.names[:5])) + " and others" * (d.ways > 5)
    return (
        f"An episode of {d.pictures}: on the left {d.ways} characters, {several(d.shots, 'drawing')} of each, numbered "
        f"({named}). On the right the query set, shuffled. {result(d)}."
    )


demo = declare(
    "An episode",
    [
        Slider("ways", 2, MOST_WAYS, 5, "ways"),
        Slider("shots", 1, MOST_SHOTS, 1, "shots"),
        Choice("judge", JUDGES, "nobody", "labels by"),
        Switch("rotations", False, "turned characters are classes too"),
        Switch("within", False, "all of one alphabet"),
        Button("new_episode", "another episode"),
    ],
    compute,
    picture,
    words,
    size=(9.0, 4.6),
    views={
        "you try": {},
        "nearest pixels": {"judge": "pixels"},
        "a network": {"judge": "omniglot/r2d2"},
        "a network, twenty ways": {"judge": "omniglot/r2d2", "ways": 20},
    },
)
