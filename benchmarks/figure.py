"""Drawing the benchmark's rows: the peers side by side, the methods, and what a step grows with."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import LogLocator, NullFormatter

OURS, OTHERS = "#0072B2", "#999999"  # blue of Okabe and Ito's palette, and grey


def draw(rows: list[dict], path: Path) -> None:
    """Five bar charts and three curves, as SVG."""
    plt.rcParams["svg.hashsalt"] = "benchmarks"
    figure, axes = plt.subplots(2, 4, figsize=(17, 7.5), layout="constrained")
    cases = [("peers", "sinusoid", 1), ("peers", "sinusoid", 5), ("peers", "conv-4, 5+75 images", 1)]
    cases += [("peers", "strided, 5+75 images", 1), ("methods", "conv-4, 5+5 images", 1), ("sweep", "sinusoid", 1)]
    for axis, case in zip(axes.flat, cases):
        of_case = [r for r in rows if (r["section"], r["work"], r["k"]) == case]
        bars(axis, of_case, f"{case[1]}, k = {case[2]}")
    for axis, what, label in ((axes[1, 2], "k", "inner steps k"), (axes[1, 3], "tasks", "tasks, T")):
        curve(axis, [r for r in rows if r.get("axis") == what], label)
    figure.savefig(path, metadata={"Date": None, "Title": "Time of a meta-step"})
    plt.close(figure)


def bars(axis, rows: list[dict], title: str) -> None:
    rows = sorted(rows, key=lambda row: -row["ms"])
    own = [row["section"] != "peers" or row["name"].startswith("course_lib") for row in rows]
    colors = [OURS if mine else OTHERS for mine in own]
    drawn = axis.barh([r["name"] for r in rows], [r["ms"] for r in rows], color=colors)
    axis.bar_label(drawn, fmt=lambda ms: f"{ms:.0f}" if ms >= 100 else f"{ms:.3g}", padding=3)
    axis.set(title=title, xlabel="ms a meta-step (no bar: not measured)")
    if rows and rows[0]["ms"] > 10 * rows[-1]["ms"]:
        axis.set_xscale("log")
        axis.xaxis.set(major_locator=LogLocator(subs=(1, 3)), major_formatter="{x:g}", minor_formatter=NullFormatter())
    axis.margins(x=0.25)


def curve(axis, rows: list[dict], label: str) -> None:
    axis.plot([r["value"] for r in rows], [r["ms"] for r in rows], "o-", color=OURS)
    axis.set(title="sinusoid, MAML", xlabel=label, ylabel="ms a meta-step")
    axis.set_ylim(bottom=0)
