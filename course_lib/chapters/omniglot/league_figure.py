"""The league table as a picture: one panel a kind of task, one line a method, published values beside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from course_lib.chapters.omniglot.league import Row, length, reported, task_of
from course_lib.kit import plots

TOP_ERROR = 7.0  # of the sinusoid's picture: what diverges leaves it

LOOKS = {  # by "transductive": look, shift, label
    "yes": ({"color": plots.BLUE, "marker": "o"}, 0.12, "normalised together (transductive)"),
    "no": (
        {"color": plots.ORANGE, "marker": "s", "markerfacecolor": "white"},
        -0.12,
        "one at a time or by running statistics",
    ),
}
TICKS = (10, 30, 60, 85, 95, 99, 99.9)  # %
PUBLISHED = {"color": plots.GREY, "marker": "D", "markersize": 5, "linestyle": "none", "alpha": 0.9}


def save(family: str, rows: Sequence[Row], published: Sequence[Row], folder: Path) -> Path:
    """Draw league_``family``.svg into ``folder``."""
    path = folder / f"league_{family}.svg"
    about = {"Date": None, "Title": f"League table: {family}", "Description": describe(rows)}
    with plots.style(), mpl.rc_context({"svg.fonttype": "path"}):
        draw(rows, published).savefig(path, metadata=about)
    return path


def describe(rows: Sequence[Row]) -> str:
    """The table in words, for a picture's alt text."""
    images = any(row["ways"] for row in rows)
    said = [f"{row['method']} {row['mean']} ({_task_in_words(row)})" for row in (reported(rows) if images else rows)]
    return f"{rows[0]['family']}, {rows[0]['unit']}: " + "; ".join(said) if rows else "nothing measured yet"


def _task_in_words(row: Row) -> str:
    if not row["ways"]:
        return f"{row['shots']} points, {row['steps']} steps"
    within = ", within alphabets" if row["within_alphabet"] == "yes" else ""
    return f"{row['ways']}-way {row['shots']}-shot{within}" + (", transductive" * (row["transductive"] == "yes"))


def draw(rows: Sequence[Row], published: Sequence[Row]) -> Figure:
    """The picture of a table: accuracies in panels by task; the sinusoid's errors against fine-tuning steps."""
    figure = Figure(layout="constrained")
    name = rows[0]["family"] if rows else ""
    beside = [row for row in published if row["family"] == name]
    if name == "sinusoid":
        _draw_errors(figure, rows, beside)
    else:
        _draw_accuracies(figure, rows, beside)
    return figure


def _draw_accuracies(figure: Figure, rows: Sequence[Row], published: Sequence[Row]) -> None:
    rows = reported(rows)
    tasks = sorted({task_of(row) for row in rows}, key=lambda task: (task[2], task))
    methods = _order(rows, published)
    figure.set_size_inches(3.1 * max(len(tasks), 2) + 1, 0.36 * len(methods) + 1.7)
    axes = figure.subplots(1, max(len(tasks), 1), sharex=True, sharey=True, squeeze=False)[0]
    for axis, task in zip(axes, tasks):
        for row in (r for r in rows if task_of(r) == task):
            look, shift, label = LOOKS[row["transductive"]]
            share, half = float(row["mean"]) / 100, float(row["ci95"]) / 100
            y = methods.index(row["method"]) + shift
            axis.errorbar(share, y, xerr=half, linestyle="none", label=label, **look)
        for row in (r for r in published if task_of(r) == task):
            fill = {"markerfacecolor": "white"} if row["transductive"] == "no" else {}
            y = methods.index(row["method"])
            axis.plot(float(row["mean"]) / 100, y, label="published, on other splits", **PUBLISHED | fill)
        title = f"{task[0]}-way {task[1]}-shot" + ("\nwithin alphabets" if task[2] else "")
        axis.set(title=title, xlabel="accuracy, %", xscale="logit")  # near 100 errors matter, not points
        axis.set_xticks([tick / 100 for tick in TICKS], [f"{tick:g}" for tick in TICKS])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_yticks(range(len(methods)), [_with_training(method, rows) for method in methods])
    _one_legend(figure, axes)
    title = f"{rows[0]['family']}: new tasks, 95 % intervals{_elsewhere(rows)}" if rows else "nothing measured yet"
    figure.suptitle(title)


def _with_training(method: str, rows: Sequence[Row]) -> str:
    """The method's name, and how long one CPU core trained each of its networks; without that record, how many
    iterations."""
    mine = [row for row in rows if row["method"] == method and row["checkpoint"]]
    minutes = {round(float(row["cpu_seconds"]) / 60) for row in mine if row["cpu_seconds"]}
    if minutes:
        return f"{method} (trained {' to '.join(map(str, sorted({min(minutes), max(minutes)})))} min)"
    if not mine:
        return method
    return f"{method} ({int(mine[0]['iterations']):,} iterations)" if mine[0]["iterations"] else method


def _elsewhere(rows: Sequence[Row]) -> str:
    """Where networks were trained on something else than they are judged on: on what."""
    own = "Glyph" if "glyphs" in rows[0]["family"] else rows[0]["family"]
    trained = {row["trained_on"] for row in rows} - {own, ""}
    return f"\nnetworks trained on {', '.join(sorted(trained))}" if trained else ""


def _order(rows: Sequence[Row], published: Sequence[Row]) -> list[str]:
    """From the bottom up: floors, methods of which only published values are known, then ours by their best."""
    best = {row["method"]: (1, float(row["mean"])) for row in published}
    for row in rows:
        kind = 2 if row["checkpoint"] else 0
        best[row["method"]] = max((kind, float(row["mean"])), best.get(row["method"], (0, 0.0)))
    return sorted(best, key=best.get)


def _draw_errors(figure: Figure, rows: Sequence[Row], published: Sequence[Row]) -> None:
    shots = sorted({int(row["shots"]) for row in rows}, reverse=True)
    figure.set_size_inches(5.2 * max(len(shots), 1), 4.4)
    axes = figure.subplots(1, max(len(shots), 1), sharey=True, squeeze=False)[0]
    lines = sorted({(row["method"], row["checkpoint"]) for row in rows if row["checkpoint"]}, key=lambda line: line[1])
    for axis, count in zip(axes, shots):
        for i, (method, checkpoint) in enumerate(lines):
            mine = [r for r in rows if r["checkpoint"] == checkpoint and int(r["shots"]) == count]
            found = {r["steps"]: r for r in sorted(mine, key=length)}.values()  # over the most test tasks
            steps, means, halves = ([float(r[name]) for r in found] for name in ("steps", "mean", "ci95"))
            look = {
                "color": plots.COLORS[i % 7],
                "marker": plots.MARKERS[(i + i // 7) % 7],  # a colour that comes back has another shape
                "linestyle": plots.DASHES[(i + i // 7) % 7],
            }
            axis.errorbar(steps, means, yerr=halves, label=f"{method} ({checkpoint.split('/')[-1]})", **look)
        for row in (r for r in published if int(r["shots"]) == count):
            axis.plot(float(row["steps"]), float(row["mean"]), label="published, 70,000 iterations", **PUBLISHED)
        for row in (r for r in rows if r["method"] == "zero predictor"):
            axis.axhline(float(row["mean"]), **plots.REFERENCE, label="zero predictor")
        axis.set(title=f"{count} points", xlabel="fine-tuning steps", yscale="log")
        axis.set_ylim(top=TOP_ERROR)
    axes[0].set_ylabel("query error")
    _one_legend(figure, axes)


def _one_legend(figure: Figure, axes: Sequence[Axes]) -> None:
    found = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels())}
    figure.legend(found.values(), found.keys(), loc="outside lower center", ncols=3)
