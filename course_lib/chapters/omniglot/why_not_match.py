"""Why don't my numbers match? Every rule of the game as a switch, live; and what each is worth, from a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from types import SimpleNamespace

import numpy as np

from course_lib.chapters.omniglot.experiments import dont_match
from course_lib.chapters.omniglot.experiments.dont_match import ALPHA, MAML, SOLVED, Rules, same_tasks
from course_lib.chapters.omniglot.setup import name, pool
from course_lib.kit import plots
from course_lib.kit.first_edition import Choice, Demo, Notches, Run, Switch

FEW, MANY = 16, 120  # tasks judged at once, and after a press of the button
FIRST, EVERY = 2, 4  # tasks to the first frame of a measurement, and to each further one
QUERIES = 5
USUAL = {"omniglot/maml": replace(MAML, queries=QUERIES), "omniglot/r2d2": replace(SOLVED, queries=QUERIES)}
TOGETHER = {"the usual": "usual", "one at a time": 1, "all together": "all"}
CHANGED = {  # rules in words
    "steps": "steps", "lr": "alpha", "together": "queries in a batch", "queries": "queries of a class",
    "rotations": "turned characters are classes", "within_alphabet": "all of one alphabet", "inverted": "ink is 0",
}  # fmt: skip
ROWS = 7  # of the table, for the question with the most

# The live measurement


@lru_cache(maxsize=64)
def measured(rules: Rules) -> tuple[list[float], Iterator[float]]:
    """Accuracies so far under ``rules``, and where more come from."""
    return [], dont_match.measure(rules, type(pool()), MANY)


def accuracies(rules: Rules, count: int) -> np.ndarray:
    """Accuracy on the first ``count`` tasks in %; none is judged twice."""
    known, more = measured(rules)
    try:
        while len(known) < count:
            known.append(next(more))
    except BaseException:  # an interrupt, too, ends a generator for good: the next call begins a new one
        measured.cache_clear()
        raise
    return 100 * np.array(known[:count])


def rules_of(values: SimpleNamespace) -> Rules:
    """The rules that the controls set. Steps and their length are MAML's alone."""
    rules = USUAL[values.network]
    if values.network == MAML.network:
        rules = replace(rules, steps=values.steps, lr=values.inner_lr)
    return replace(
        rules,
        together=rules.together if values.together == "usual" else values.together,
        queries=values.queries,
        rotations=values.rotations,
        within_alphabet=values.within,
        inverted=values.inverted,
    )


def changes(rules: Rules, usual: Rules) -> list[str]:
    """Every rule that is not the usual one, in words.

    >>> changes(replace(MAML, lr=2.0, inverted=True), MAML)
    ['alpha 2.0 for 0.4', 'ink is 0']
    """
    pairs = {words: (getattr(rules, field), getattr(usual, field)) for field, words in CHANGED.items()}
    return [
        words if new is True else f"{words} {new} for {old}"
        for words, (new, old) in pairs.items()
        if new != old
    ]


def compute(values: SimpleNamespace) -> Iterator[dict]:
    """The usual rules and the chosen ones on one task after another."""
    rules, usual = rules_of(values), USUAL[values.network]
    count = MANY if values.more else FEW
    for now in [*range(FIRST, count, EVERY), count]:
        ours, theirs = accuracies(rules, now), accuracies(usual, now)
        paired = same_tasks(rules, usual)
        half = interval(ours - theirs)[-1] if paired else np.hypot(interval(ours)[-1], interval(theirs)[-1])
        yield {
            "tasks": np.arange(1, now + 1),
            "mean": {"yours": running(ours), "usual": running(theirs)},
            "half": {"yours": interval(ours), "usual": interval(theirs)},
            "difference": ours.mean() - theirs.mean(),
            "difference_half": half,
            "paired": paired,
            "changed": changes(rules, usual),
            "limit": MANY if values.more else FEW,
            "network": "MAML" if values.network == MAML.network else "R2D2",
            "pictures": name(),
        }


def running(values: np.ndarray) -> np.ndarray:
    """The mean of the first 1, 2, ... values."""
    return values.cumsum() / np.arange(1, len(values) + 1)


def interval(values: np.ndarray) -> np.ndarray:
    """Half width of the 95 % interval of those means; 100 for the first, of which nothing is known."""
    count = np.arange(1, len(values) + 1)
    variance = (np.square(values).cumsum() / count - running(values) ** 2).clip(0)
    half = 1.96 * np.sqrt(variance / np.maximum(count - 1, 1))
    half[0] = 100.0
    return half


def figure(fig) -> SimpleNamespace:
    panel = fig.subplots()
    panel.set(xlim=(1, FEW), ylim=(40, 101), xlabel="tasks judged", ylabel="mean accuracy, %")
    lines, bands = {}, {}
    for which, color, dash, words in (
        ("usual", plots.GREY, "--", "the usual rules"),
        ("yours", plots.BLUE, "-", "the rules you chose"),
    ):
        lines[which] = panel.plot([], [], color=color, linestyle=dash, label=f"{words}, and 95 % interval")[0]
        bands[which] = panel.fill_between([0], [1], [1], color=color, alpha=0.2, linewidth=0)
    fig.legend(loc="outside lower center", ncols=2)
    return SimpleNamespace(lines=lines, bands=bands, panel=panel, title=panel.set_title(" "))


def draw(artists: SimpleNamespace, data: dict) -> None:
    for which, line in artists.lines.items():
        mean, half = data["mean"][which], data["half"][which]
        line.set_data(data["tasks"], mean)
        artists.bands[which].set_data(data["tasks"], mean - half, np.minimum(mean + half, 100))
    plots.set_limits(artists.panel, x=(1, data["limit"]))
    artists.title.set_text(in_words(data))


def in_words(data: dict) -> str:
    words = f"{data['pictures']}, {data['network']}: {data['mean']['yours'][-1]:.1f} %"
    if not data["changed"]:
        return f"{words} +- {data['half']['yours'][-1]:.1f} by the usual rules"
    how = "on the same tasks" if data["paired"] else "on other tasks"
    return f"{words}; {data['difference']:+.1f} +- {data['difference_half']:.1f} against the usual rules, {how}"


def alt(data: dict) -> str:
    changed = f" Changed: {', '.join(data['changed'])}." if data["changed"] else ""
    return f"Running mean of the accuracy over {len(data['tasks'])} tasks. {in_words(data)}.{changed}"


def demo() -> Demo:
    """The switches of notebook 09; by default MAML takes five times its step, as with a sum for the mean."""
    return Demo(
        "Change the rules, measure again",
        controls=[
            Choice("network", {"MAML": "omniglot/maml", "R2D2": "omniglot/r2d2"}, "omniglot/maml", "network"),
            Choice("together", TOGETHER, "usual", "queries normalised"),
            Notches("steps", [1, 3, 5, 10], 3, "MAML's steps"),
            Notches("inner_lr", [ALPHA / 5, ALPHA, 5 * ALPHA], 5 * ALPHA, "MAML's alpha"),
            Notches("queries", [1, QUERIES, 15], QUERIES, "queries of a class"),
            Switch("inverted", False, "ink is 0"),
            Switch("rotations", False, "turned characters are classes too"),
            Switch("within", False, "all of one alphabet"),
            Run("more", f"judge {MANY} tasks"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(9.0, 4.0),
    )


# The table


def table_of(values: SimpleNamespace) -> dict:
    """A question's lines of the shipped table."""
    table = dont_match.load()
    lines = table["questions"][values.question]
    return {
        "question": values.question,
        "labels": list(lines),
        "mean": np.array([mean for mean, _ in lines.values()]),
        "half": np.array([half for _, half in lines.values()]),
        "differences": table["differences"].get(values.question, {}),
        "tasks": table["tasks"],
    }


def table_figure(fig) -> SimpleNamespace:
    panel = fig.subplots()
    panel.set(xlim=(0, 101), ylim=(ROWS - 0.5, -0.5), xlabel="accuracy, %", yticks=[])
    panel.set_xticks(range(40, 101, 10))
    points = panel.plot([], [], color=plots.BLUE, marker="o", linestyle="none")[0]
    intervals = panel.plot([], [], color=plots.BLUE, linestyle="-")[0]
    small = {"va": "center", "fontsize": "small"}
    labels = [panel.text(0.5, row, "", **small) for row in range(ROWS)]
    words = [panel.text(0, row, "", **small) for row in range(ROWS)]
    return SimpleNamespace(
        points=points, intervals=intervals, labels=labels, words=words, title=panel.set_title(" ")
    )


def table_draw(artists: SimpleNamespace, data: dict) -> None:
    mean, half, rows = data["mean"], data["half"], np.arange(len(data["mean"]))
    artists.points.set_data(mean, rows)
    artists.intervals.set_data(
        np.stack([mean - half, mean + half, np.full_like(mean, np.nan)], 1).ravel(), rows.repeat(3)
    )
    for row, (label, text) in enumerate(zip(artists.labels, artists.words)):
        label.set_text(data["labels"][row] if row < len(rows) else "")
        text.set_visible(row < len(rows))
        if row < len(rows):
            left = mean[row] - half[row] > 75
            text.set(text=_numbers(data, row), x=mean[row] + (-half[row] - 1 if left else half[row] + 1))
            text.set_ha("right" if left else "left")
    artists.title.set_text(f"{data['question']}: Omniglot, 5-way 1-shot")


def _numbers(data: dict, row: int) -> str:
    words = f"{data['mean'][row]:.1f} +- {data['half'][row]:.1f}"
    if data["labels"][row] in data["differences"]:
        change, half = data["differences"][data["labels"][row]]
        words += f"  (change {change:+.1f} +- {half:.1f})"
    return words


def table_alt(data: dict) -> str:
    lines = "; ".join(f"{label}: {_numbers(data, row)}" for row, label in enumerate(data["labels"]))
    return f"Accuracy on Omniglot in %, 5-way 1-shot. {data['question'].capitalize()}: {lines}."


def table_demo() -> Demo:
    """The shipped table of notebook 09, a question at a time."""
    return Demo(
        "What each disagreement is worth",
        controls=[Choice("question", list(dont_match.load()["questions"]), "inverted pixels", "question")],
        compute=table_of,
        figure=table_figure,
        draw=table_draw,
        alt=table_alt,
        size=(9.0, 3.6),
    )
