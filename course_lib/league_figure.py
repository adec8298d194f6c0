"""The league table as a picture: one panel a kind of task, one line a method, published values beside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from course_lib import plots

Row = dict[str, str]
TOP_ERROR = 7.0  # of the sinusoid's picture: what diverges leaves it

TRANSDUCTIVE = {"color": plots.BLUE, "marker": "o"}
INDUCTIVE = {"color": plots.ORANGE, "marker": "s", "markerfacecolor": "white"}
PUBLISHED = {"color": plots.GREY, "marker": "D", "markersize": 5, "linestyle": "none", "alpha": 0.9}


def save(family: str, rows: Sequence[Row], published: Sequence[Row], folder: Path) -> Path:
    """Draw league_``family``.svg into ``folder``."""
    path = folder / f"league_{family}.svg"
    with plots.style(), mpl.rc_context({"svg.fonttype": "path"}):
        draw(rows, published).savefig(path, metadata={"Date": None})
    return path


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


def task_of(row: Row) -> tuple[int, int, bool]:
    """Ways, shots, within alphabets."""
    return int(row["ways"]), int(row["shots"]), row.get("within_alphabet") == "yes"


def reported(rows: Sequence[Row]) -> list[Row]:
    """Of each network and task the row with the most fine-tuning steps, which the recipe fixed beforehand."""
    last: dict[tuple, Row] = {}
    for row in rows:
        key = (row["method"], row["checkpoint"], *task_of(row), row["transductive"])
        if key not in last or int(row["steps"]) > int(last[key]["steps"]):
            last[key] = row
    return list(last.values())


def _draw_accuracies(figure: Figure, rows: Sequence[Row], published: Sequence[Row]) -> None:
    rows = reported(rows)
    tasks = sorted({task_of(row) for row in rows}, key=lambda task: (task[2], task))
    best = {
        row["method"]: max(float(r["mean"]) for r in rows if r["method"] == row["method"]) for row in rows
    }
    methods = sorted(best, key=best.get)
    figure.set_size_inches(3.1 * max(len(tasks), 2) + 1, 0.42 * len(methods) + 1.7)
    axes = figure.subplots(1, max(len(tasks), 1), sharey=True, squeeze=False)[0]
    for axis, task in zip(axes, tasks):
        for row in (r for r in rows if task_of(r) == task):
            look, shift = (TRANSDUCTIVE, 0.12) if row["transductive"] == "yes" else (INDUCTIVE, -0.12)
            label = (
                "normalised together (transductive)"
                if row["transductive"] == "yes"
                else "one at a time or by running statistics"
            )
            y = methods.index(row["method"]) + shift
            axis.errorbar(
                float(row["mean"]), y, xerr=float(row["ci95"]), linestyle="none", label=label, **look
            )
        for row in (r for r in published if task_of(r) == task and r["method"] in methods):
            fill = {"markerfacecolor": "white"} if row["transductive"] == "no" else {}
            axis.plot(
                float(row["mean"]),
                methods.index(row["method"]),
                label="published, other splits",
                **PUBLISHED | fill,
            )
        axis.set(
            title=f"{task[0]}-way {task[1]}-shot" + ("\nwithin alphabets" if task[2] else ""),
            xlabel="accuracy, %",
        )
        axis.set_yticks(range(len(methods)), methods)
    _one_legend(figure, axes)
    figure.suptitle(f"{rows[0]['family']}: new tasks, 95 % intervals" if rows else "nothing measured yet")


def _draw_errors(figure: Figure, rows: Sequence[Row], published: Sequence[Row]) -> None:
    shots = sorted({int(row["shots"]) for row in rows}, reverse=True)
    figure.set_size_inches(5.2 * max(len(shots), 1), 4.4)
    axes = figure.subplots(1, max(len(shots), 1), sharey=True, squeeze=False)[0]
    lines = sorted(
        {(row["method"], row["checkpoint"]) for row in rows if row["checkpoint"]}, key=lambda line: line[1]
    )
    for axis, count in zip(axes, shots):
        for i, (method, checkpoint) in enumerate(lines):
            found = [r for r in rows if r["checkpoint"] == checkpoint and int(r["shots"]) == count]
            steps, means, halves = ([float(r[name]) for r in found] for name in ("steps", "mean", "ci95"))
            look = {
                "color": plots.COLORS[i % 7],
                "marker": plots.MARKERS[(i + i // 7) % 7],  # a colour that comes back has another shape
                "linestyle": plots.DASHES[(i + i // 7) % 7],
            }
            axis.errorbar(steps, means, yerr=halves, label=f"{method} ({checkpoint.split('/')[-1]})", **look)
        for row in (r for r in published if int(r["shots"]) == count):
            axis.plot(
                float(row["steps"]), float(row["mean"]), label="published, 70,000 iterations", **PUBLISHED
            )
        for row in (r for r in rows if r["method"] == "zero predictor"):
            axis.axhline(float(row["mean"]), **plots.REFERENCE, label="zero predictor")
        axis.set(title=f"{count} points", xlabel="fine-tuning steps", yscale="log")
        axis.set_ylim(top=TOP_ERROR)
    axes[0].set_ylabel("query error")
    _one_legend(figure, axes)


def _one_legend(figure: Figure, axes: Sequence[Axes]) -> None:
    found = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels())}
    figure.legend(found.values(), found.keys(), loc="outside lower center", ncols=3)
