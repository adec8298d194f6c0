"""Why don't my numbers match? Every rule of the game as a switch, live; and what each is worth, from a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from types import SimpleNamespace

import numpy as np

from course_lib.chapters.omniglot.experiments import dont_match
from course_lib.chapters.omniglot.experiments.dont_match import ALPHA, MAML, SOLVED, Rules, same_tasks
from course_lib.kit import plots
from course_lib.kit.characters import name, pool
from course_lib.kit.demo import Choice, Notches, Run, Switch, declare
from course_lib.kit.words import several

FEW, MANY = 16, 120  # tasks judged at once, and after a press of the button
FIRST, EVERY = 2, 4  # tasks to the first frame of a measurement, and to each further one
QUERIES = 5
USUAL = {"omniglot/maml": replace(MAML, queries=QUERIES), "omniglot/r2d2": replace(SOLVED, queries=QUERIES)}
NETWORKS = {"omniglot/maml": "MAML", "omniglot/r2d2": "R2D2"}
TOGETHER = {"usual": "the usual", 1: "one at a time", "all": "all together"}
LOOKS = {
    "usual": {"color": plots.GREY, "linestyle": "--"},
    "yours": {"color": plots.BLUE, "linestyle": "-", "linewidth": 2.6},
}
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
    return [words if new is True else f"{words} {new} for {old}" for words, (new, old) in pairs.items() if new != old]


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


def picture(fig, show) -> None:
    panel = fig.subplots()
    panel.set(xlabel="tasks judged", ylabel="mean accuracy, %")
    show.limits(panel, lambda d: (1, 1.01 * d.limit), lambda d: (bottom(d), 101))
    for which, words in (("usual", "usual"), ("yours", "yours")):
        look = LOOKS[which]
        mean = lambda d, which=which: d["mean"][which]
        show.line(panel, "tasks", mean, **look, end=lambda d, which=which, words=words: f"{words}: {number(d, which)}")
        show.paths(panel, lambda d, which=which: [whisker(d, which)], color=look["color"], linewidth=1.2)
    panel.text(0.01, 0.03, "upright at the end: 95 % intervals", transform=panel.transAxes, fontsize=9)
    show.title(panel, lambda d: f"{d.pictures.capitalize()}: {verdict(d)}")


def whisker(d, which: str) -> np.ndarray:
    """The interval of the last mean, a little before the end so that two of them stand side by side [2, 2]."""
    mean, half = d["mean"][which][-1], d.half[which][-1]
    x = d.tasks[-1] - (0.008 if which == "usual" else 0.0) * d.limit
    return np.array([[x, mean - half], [x, min(mean + half, 100)]])


def bottom(d) -> float:
    """A multiple of ten below all means and their last intervals."""
    lowest = [min(d["mean"][which].min(), d["mean"][which][-1] - d.half[which][-1]) for which in LOOKS]
    return 10 * np.floor(min(min(lowest) - 3, 89) / 10)


def number(d, which: str) -> str:
    return f"{d['mean'][which][-1]:.1f} \N{PLUS-MINUS SIGN} {d.half[which][-1]:.1f} %"


def verdict(d) -> str:
    if not d.changed:
        return "the usual rules"
    what = d.changed[0] if len(d.changed) == 1 else f"{len(d.changed)} rules changed"
    change = f"{d.difference:+.1f} \N{PLUS-MINUS SIGN} {d.difference_half:.1f} points"
    return f"{what}, {change}, {'same' if d.paired else 'other'} tasks"


def words(d) -> str:
    changed = f" Changed: {', '.join(d.changed)}." if d.changed else ""
    head = f"{d.pictures.capitalize()}, {NETWORKS[d.network]}"
    return (
        f"Running mean of the accuracy over {len(d.tasks)} tasks. {head}: {verdict(d)}; by the usual rules "
        f"{number(d, 'usual')}, by yours {number(d, 'yours')}.{changed}"
    )


demo = declare(
    "Change the rules, measure again",
    [
        Choice("network", NETWORKS, "omniglot/maml", "network"),
        Choice("together", TOGETHER, "usual", "queries normalised"),
        Notches("steps", [1, 3, 5, 10], 3, "MAML's steps"),
        Notches("inner_lr", [ALPHA / 5, ALPHA, 5 * ALPHA], 5 * ALPHA, "MAML's \N{GREEK SMALL LETTER ALPHA}"),
        Notches("queries", [1, QUERIES, 15], QUERIES, "queries of a class"),
        Switch("inverted", False, "ink is 0"),
        Switch("rotations", False, "turned characters are classes too"),
        Switch("within", False, "all of one alphabet"),
        Run("more", f"judge {MANY} tasks"),
    ],
    compute,
    picture,
    words,
    size=(8.6, 4.0),
    views={
        "a step five times too long": {},
        "inverted pixels": {"inner_lr": ALPHA, "inverted": True},
        "one query at a time": {"inner_lr": ALPHA, "together": 1},
        "one alphabet": {"inner_lr": ALPHA, "within": True},
    },
)


# The table


def table_of(values: SimpleNamespace) -> dict:
    """A question's lines of the shipped table."""
    lines = dont_match.lines(values.question)
    mean, half = np.array([*lines.values()]).T
    changes = dont_match.lines(values.question, "change")
    return {"labels": list(lines), "mean": mean, "half": half, "changes": changes}


def table_picture(fig, show) -> None:
    panel = fig.subplots()
    panel.set(xlabel="accuracy, %", yticks=[])
    show.limits(panel, reach, lambda d: (len(d.mean) - 0.5, -0.9))
    rows = lambda d: np.arange(len(d.mean))
    ends = lambda d: np.stack([np.stack([d["mean"] + side * d.half, rows(d)], 1) for side in (-1, 1)], 1)
    show.paths(panel, ends, color=plots.BLUE, linewidth=1.4)
    show.points(panel, "mean", rows, color=plots.BLUE)
    for row in range(ROWS):
        here = lambda d, row=row: len(d.mean) > row
        above = {"va": "bottom", "fontsize": 9.5, "shown": here, "ha": lambda d, row=row: side(d, row)}
        label = lambda d, row=row: f"{d.labels[row]}: {numbers(d, row)}" if len(d.mean) > row else ""
        show.text(panel, lambda d, row=row: d["mean"][min(row, len(d.mean) - 1)], row - 0.2, label, **above)
    show.title(panel, lambda d: f"{d.question.capitalize()}: {worth(d)} (Omniglot, 5-way 1-shot)")


def worth(d) -> str:
    """How far apart the lines of one network lie at most, in words."""
    networks = {label.partition(",")[0] for label in d.labels}
    of = lambda network: [m for label, m in zip(d.labels, d["mean"]) if label.startswith(network)]
    most = max(max(of(network)) - min(of(network)) for network in networks)
    return f"up to {several(round(most), 'point')}" if most >= 1 else "less than a point"


def reach(d) -> tuple[float, float]:
    """In tens about the accuracies, at least ten points."""
    high = min(10 * np.ceil((d["mean"] + d.half).max() / 10), 100) + 0.5
    return min(10 * np.floor((d["mean"] - d.half).min() / 10), high - 10.5), high


def side(d, row: int) -> str:
    """Where words above a dot have room: to its left if it lies to the right."""
    low, high = reach(d)
    part = (d["mean"][min(row, len(d.mean) - 1)] - low) / (high - low)
    return "left" if part < 0.35 else "right" if part > 0.65 else "center"


def numbers(d, row: int) -> str:
    said = f"{d['mean'][row]:.1f} \N{PLUS-MINUS SIGN} {d.half[row]:.1f}"
    if d.labels[row] in d.changes:
        change, half = d.changes[d.labels[row]]
        said += f"  (change {change:+.1f} \N{PLUS-MINUS SIGN} {half:.1f})"
    return said


def table_words(d) -> str:
    lines = "; ".join(f"{label}: {numbers(d, row)}" for row, label in enumerate(d.labels))
    return f"Accuracy on Omniglot in %, 5-way 1-shot. {d.question.capitalize()}: {lines}."


table_demo = declare(
    "What each disagreement is worth",
    [Choice("question", [cell["question"] for cell in dont_match.runs.cells], "inverted pixels", "question")],
    table_of,
    table_picture,
    table_words,
    size=(8.6, 4.0),
    typed="why_not_match.table_demo",
)
