"""The league table as a picture that can be asked: whose networks, a kind of task, together or alone, published or not.

Reads experiments/league_omniglot.csv, league_papers.csv and published.csv; a cell that was not run is empty.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from matplotlib.ticker import NullLocator

from course_lib.chapters.omniglot import league
from course_lib.chapters.omniglot.league_figure import reported, task_of
from course_lib.kit import plots
from course_lib.kit.first_edition import Choice, Demo, Switch

NETWORKS = {"two CPU cores, minutes": "omniglot", "the papers' recipes, one GPU": "papers"}
SPLITS = {"omniglot": "new alphabets", "papers": "alphabets mixed (papers' split)"}
METHODS = (  # from the top down; the floors last
    "MAML", "FOMAML", "ANIL", "Reptile", "R2D2", "MetaOptNet", "ProtoNet", "union of tasks",
    "nearest neighbour, pixels", "nearest neighbour, random features",
)  # fmt: skip
TASKS = {
    "5-way 1-shot": (5, 1, False),
    "5-way 5-shot": (5, 5, False),
    "20-way 1-shot": (20, 1, False),
    "20-way 5-shot": (20, 5, False),
    "20-way 1-shot, one alphabet": (20, 1, True),
}
NORMALISED = {
    "both": ("yes", "no"),
    "together (transductive)": ("yes",),
    "alone or by running statistics": ("no",),
}
MIXED = "Not measured: this split mixes the characters of all alphabets."
PEOPLE = 95.5  # % right: 4.5 % errors of people, 20-way 1-shot within alphabets (Lake et al. 2015)
TICKS = (10, 30, 60, 85, 95, 99, 99.9)  # %
LOOKS = {"yes": (plots.BLUE, "o", -0.16), "no": (plots.ORANGE, "s", 0.16)}


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
    """What is drawn: {"yes" | "no": {method: (mean, half width)}} of ours and of the papers', and a note where
    nothing was measured."""
    task, networks, shown = TASKS[values.task], values.networks, NORMALISED[values.normalised]
    ours = {t: cells(task, t, networks=networks) if t in shown else {} for t in LOOKS}
    return {
        "task": values.task,
        "split": SPLITS[networks],
        "ours": ours,
        "note": "" if any(ours.values()) else MIXED if networks == "papers" and task[2] else "Nothing measured.",
        "papers": {
            t: cells(task, t, published=True) if values.published and t in shown else {} for t in LOOKS
        },
        "people": networks == "omniglot" and task == TASKS["20-way 1-shot, one alphabet"],
    }


def figure(fig) -> SimpleNamespace:
    panel = fig.subplots()
    panel.set(xscale="logit", xlim=(0.1, 0.9993), xlabel="accuracy, % (logit scale)")
    panel.set_ylim(len(METHODS) - 0.4, -0.6)
    panel.set_xticks([tick / 100 for tick in TICKS], [f"{tick:g}" for tick in TICKS])
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_yticks(range(len(METHODS)), [method.replace(" neighbour", "") for method in METHODS])
    marks = {}
    for transductive, (color, shape, _) in LOOKS.items():
        words = "normalised together" if transductive == "yes" else "alone or running statistics"
        fill = {"linestyle": "none"} | ({} if transductive == "yes" else {"markerfacecolor": "white"})
        marks[transductive] = (
            panel.plot([], [], marker=shape, color=color, label=words, **fill)[0],
            panel.plot([], [], linewidth=2, color=color, linestyle="-")[0],  # all intervals as one broken line
            panel.plot([], [], marker="D", color=plots.GREY, label=f"published, {words}", **fill)[0],
        )
    people = panel.axvline(PEOPLE / 100, **plots.REFERENCE, label="people (Lake et al. 2015)")
    fig.legend(loc="outside lower center", ncols=2)
    note = panel.text(0.5, 0.5, "", ha="center", va="center", transform=panel.transAxes)
    return SimpleNamespace(marks=marks, people=people, note=note, title=panel.set_title(" "))


def draw(artists: SimpleNamespace, data: dict) -> None:
    for transductive, (points, intervals, papers) in artists.marks.items():
        shift = LOOKS[transductive][2]
        ours = data["ours"][transductive]
        rows = np.array([METHODS.index(method) + shift for method in ours])
        means, halves = np.array([*ours.values()]).reshape(-1, 2).T / 100
        points.set_data(means, rows)
        ends = np.stack([means - halves, np.minimum(means + halves, 0.9992), np.full_like(means, np.nan)], 1)
        intervals.set_data(ends.ravel(), np.repeat(rows, 3))
        published = data["papers"][transductive]
        papers.set_data(
            [mean / 100 for mean, _ in published.values()], [METHODS.index(m) + shift for m in published]
        )
    artists.people.set_visible(data["people"])
    artists.note.set_text(data["note"])
    artists.title.set_text(f"Omniglot, {data['task']}, {data['split']}: 95 % intervals")


def alt(data: dict) -> str:
    said = [
        f"{method} {mean:.1f} +- {half:.1f}" + (" (transductive)" if transductive == "yes" else "")
        for transductive, ours in data["ours"].items()
        for method, (mean, half) in ours.items()
    ]
    missing = [m for m in METHODS if not any(m in ours for ours in data["ours"].values())]
    words = f"Accuracy on Omniglot in %, {data['task']}, {data['split']}: {data['note'] or '; '.join(said) + '.'}"
    words += f" Not run: {', '.join(missing)}." if said and missing else ""
    return words + (f" People: {PEOPLE}." if data["people"] else "")


def demo() -> Demo:
    """The league table of notebook 09."""
    return Demo(
        "League table",
        controls=[
            Choice("networks", NETWORKS, "omniglot", "networks"),
            Choice("task", list(TASKS), "5-way 1-shot", "task"),
            Choice("normalised", list(NORMALISED), "both", "queries"),
            Switch("published", True, "published values"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(9.0, 4.9),
    )
