"""The league table as a picture that can be asked: whose networks, a kind of task, together or alone, published or not.

Reads experiments/league_omniglot.csv, league_papers.csv and published.csv; a cell that was not run is empty.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from matplotlib.ticker import NullLocator

from course_lib.chapters.omniglot import league
from course_lib.chapters.omniglot.league_figure import reported, task_of
from course_lib.kit import game, plots
from course_lib.kit.demo import Choice, Switch, declare

NETWORKS = {"omniglot": "two CPU cores, minutes", "papers": "the papers' recipes, one GPU"}
SPLITS = {"omniglot": "new alphabets", "papers": "alphabets mixed (papers' split)"}
METHODS = {  # and whose colour in the course
    "MAML": "maml", "FOMAML": "fomaml", "ANIL": "anil", "Reptile": "reptile", "R2D2": "ridge", "MetaOptNet": "svm",
    "ProtoNet": "means", "union of tasks": "union", "nearest neighbour, pixels": "random",
    "nearest neighbour, random features": "random",
}  # fmt: skip
TASKS = {
    "5-way 1-shot": (5, 1, False),
    "5-way 5-shot": (5, 5, False),
    "20-way 1-shot": (20, 1, False),
    "20-way 5-shot": (20, 5, False),
    "20-way 1-shot, one alphabet": (20, 1, True),
}
YOU, GAME = "you", "09.game"  # the reader's row, and the game whose score stands in it
NORMALISED = {"both": "both", "yes": "together (transductive)", "no": "alone or by running statistics"}
MIXED = "Not measured: this split mixes the characters of all alphabets."
PEOPLE = 95.5  # % right: 4.5 % errors of people, 20-way 1-shot within alphabets (Lake et al. 2015)
TICKS = (10, 30, 60, 85, 95, 99, 99.9)  # %
MARKS = {"yes": ("o", -0.14), "no": ("s", 0.14)}  # by "transductive": marker, filled or not, and shift


def table(networks: str) -> list[league.Row]:
    """The rows of a league: "omniglot" or "papers"."""
    return league.read(league.FOLDER / f"league_{networks}.csv")


def cells(
    task: tuple[int, int, bool], transductive: str, published: bool = False, networks: str = "omniglot"
) -> dict[str, tuple[float, float]]:
    """{method: (mean, half width)} in %, measured by us or published; no half width is NaN.

    A paper that does not say how it normalised counts as not transductive.
    """
    rows = league.read(league.PUBLISHED) if published else table(networks)
    rows = [row for row in rows if row["family"] == "Omniglot"]
    return {
        row["method"]: (float(row["mean"]), float(row["ci95"] or "nan"))
        for row in (rows if published else reported(rows))
        if task_of(row) == task and (row["transductive"] or "no") == transductive
    }


def compute(values: SimpleNamespace) -> dict:
    """What is drawn: {"yes" | "no": {method: (mean, half width)}} of ours and of the papers', the methods from the
    best to the worst, and a note where nothing was measured."""
    task, networks = TASKS[values.task], values.networks
    shown = [t for t in MARKS if values.normalised in ("both", t)]
    ours = {t: cells(task, t, networks=networks) if t in shown else {} for t in MARKS}
    best = {m: max(ours[t].get(m, (-1.0,))[0] for t in MARKS) for m in METHODS}
    played = game.result(GAME) if task == TASKS["5-way 1-shot"] and networks == "omniglot" else None
    you = [100 * played["right"] / played["total"], *game.wilson95(played["right"], played["total"])] if played else []
    best |= {YOU: you[0] if you else -2.0}
    return {
        "ours": ours,
        "you": you,  # in %: the share, and the ends of its 95 % interval
        "you_saw": played["pictures"] if played else "",
        "order": sorted(best, key=best.get, reverse=True),
        "note": "" if any(ours.values()) else MIXED if networks == "papers" and task[2] else "Nothing measured.",
        "papers": {t: cells(task, t, published=True) if values.published and t in shown else {} for t in MARKS},
        "people": networks == "omniglot" and task == TASKS["20-way 1-shot, one alphabet"],
    }


def picture(fig, show) -> None:
    panel = fig.subplots()
    panel.set(xscale="logit", xlim=(0.1, 0.9993), xlabel="accuracy, % (logit scale)", yticks=[])
    panel.set_ylim(len(METHODS) + 0.6, -0.6)
    panel.set_xticks([tick / 100 for tick in TICKS], [f"{tick:g}" for tick in TICKS])
    panel.xaxis.set_minor_locator(NullLocator())
    for row in range(len(METHODS) + 1):
        name = lambda d, row=row: your_row(d) if d.order[row] == YOU else d.order[row].replace(" neighbour", "")
        there = lambda d, row=row: d.you or any(d.ours.values()) if d.order[row] == YOU else measured(d, d.order[row])
        known = lambda d, there=there: plots.INK if there(d) else "#9a9a9a"
        beside = {"ha": "right", "va": "center", "fontsize": 10, "transform": panel.get_yaxis_transform()}
        show.text(panel, -0.015, row, name, color=known, **beside)
    people = {"at": 0.34, "shown": lambda d: d.people}
    show.mark(panel, PEOPLE / 100, lambda d: "people" * d.people, **people)
    for t, (mark, shift) in MARKS.items():
        papers = lambda d, t=t, shift=shift: places(d, d.papers[t], shift)
        hollow = {"markerfacecolor": plots.FAINT if t == "yes" else "white"}
        show.points(panel, papers, marker="D", markersize=6, color="#9a9a9a", **hollow)
        colors = lambda d, t=t: [plots.METHODS[METHODS[method]]["color"] for method in d.ours[t]]
        show.paths(panel, lambda d, t=t, shift=shift: intervals(d, t, shift), color=colors, linewidth=1.4)
        look = {"marker": mark, "s": 42, "zorder": 3, "linewidth": 1.4, "edgecolor": colors}
        filled = colors if t == "yes" else lambda d, colors=colors: ["white"] * len(colors(d))
        show.scatter(panel, lambda d, t=t, shift=shift: places(d, d.ours[t], shift), **look, facecolor=filled)
    star = {"marker": "*", "markersize": 15, "color": plots.ORANGE, "markeredgecolor": "white", "zorder": 4}
    at = lambda d: d.order.index(YOU)
    ends = lambda d: np.clip(np.array([[end / 100, at(d)] for end in d.you[1:]]).reshape(-1, 2), 0, (0.9992, np.inf))
    show.line(panel, ends, color=plots.ORANGE, linestyle="-", linewidth=1.4)
    show.points(panel, lambda d: np.array([[min(d.you[0] / 100, 0.9992), at(d)]] if d.you else []), **star)
    note = "filled: queries normalised together\nhollow: one at a time,\nor running statistics\ngrey: published"
    panel.text(0.99, 0.03, note, transform=panel.transAxes, ha="right", fontsize=9, color=plots.QUIET)
    show.text(panel, 0.5, 0.5, lambda d: d.note, ha="center", transform=panel.transAxes)
    show.title(panel, verdict)


def your_row(d) -> str:
    """The words beside the reader's row."""
    if d.you:
        return "you" if d.you_saw == "Omniglot" else "you, on drawn glyphs"
    return "you: play the game" if d.task == "5-way 1-shot" and d.networks == "omniglot" else ""


def measured(d, method: str) -> bool:
    return any(method in ours for ours in d.ours.values())


def places(d, found: dict, shift: float) -> np.ndarray:
    """Of the dots [n, 2]; ``found`` {method: (mean, half width)}."""
    at = [(mean / 100, d.order.index(method) + shift) for method, (mean, _) in found.items()]
    return np.array(at).reshape(-1, 2)


def intervals(d, transductive: str, shift: float) -> np.ndarray:
    """Ends of the 95 % intervals [n, 2, 2], within the axes."""
    middle, found = places(d, d.ours[transductive], shift), d.ours[transductive].values()
    half = np.array([[half / 100, 0] for _, half in found]).reshape(-1, 2)
    return np.stack([middle - half, np.minimum(middle + half, (0.9992, np.inf))], 1)


def verdict(d) -> str:
    first = next(method for method in d.order if method != YOU)
    return f"{d.task}, {SPLITS[d.networks]}: {first} leads" if any(d.ours.values()) else f"{d.task}: not run"


def words(d) -> str:
    said = [
        f"{method} {mean:.1f} \u00b1 {half:.1f}" + " (transductive)" * (transductive == "yes")
        for transductive, ours in d.ours.items()
        for method, (mean, half) in ours.items()
    ]
    missing = [m for m in METHODS if not measured(d, m)]
    text = f"Accuracy on Omniglot in %, {d.task}, {SPLITS[d.networks]}: {d.note or '; '.join(said) + '.'}"
    text += " You, in the game: {:.0f} ({:.0f} to {:.0f}).".format(*d.you) if d.you else ""
    text += f" Not run: {', '.join(missing)}." if said and missing else ""
    return text + (f" People: {PEOPLE}." if d.people else "")


demo = declare(
    "League table",
    [
        Choice("networks", NETWORKS, "omniglot", "networks"),
        Choice("task", list(TASKS), "5-way 1-shot", "task"),
        Choice("normalised", NORMALISED, "both", "queries"),
        Switch("published", True, "published values"),
    ],
    compute,
    picture,
    words,
    size=(9.0, 4.6),
    views={
        "after minutes": {"networks": "omniglot"},
        "twenty ways": {"task": "20-way 1-shot"},
        "against people": {"networks": "omniglot", "task": "20-way 1-shot, one alphabet"},
        "the papers' recipes": {"networks": "papers"},
    },
)
