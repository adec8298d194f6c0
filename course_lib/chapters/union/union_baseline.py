"""The union of tasks beside MAML at equal compute: error on new tasks against compute spent.

The table is shipped: see ``course_lib.chapters.union.experiments.equal_compute`` and its record.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from course_lib.chapters.union.experiments import equal_compute
from course_lib.kit import plots
from course_lib.kit.first_edition import Choice, Demo, Notches
from course_lib.tasks.sinusoid import ZERO_PREDICTOR_MSE

METHODS = {
    "maml": "MAML, k = 1",
    "one_head": "all tasks, one shared head",
    "union": "union of 1,000 tasks, a head each",
}
COLORS = (plots.BLUE, plots.GREY, plots.ORANGE)
SCORES = {"each in its own way": "own", "ridge head": "ridge", "10 steps on everything": "after_10"}
OWN = {"maml": "after_10", "one_head": "after_10"}  # what a method was made for; the union fits a head


def compute(values: SimpleNamespace) -> dict:
    """Every method's error at every moment: geometric mean, least and greatest of the seeds."""
    table = equal_compute.load()
    keys = {m: OWN.get(m, "ridge") if values.score == "own" else values.score for m in METHODS}
    errors = {
        m: np.array(table["errors"][m][str(values.shots)][keys[m]]) for m in METHODS
    }  # [moments, seeds]
    return {
        "moments": np.array(table["moments"]),
        "shots": values.shots,
        "score": values.score,
        "mean": {m: np.exp(np.log(e).mean(1)) for m, e in errors.items()},
        "low": {m: e.min(1) for m, e in errors.items()},
        "high": {m: e.max(1) for m, e in errors.items()},
    }


def figure(fig) -> SimpleNamespace:
    panel = fig.subplots()
    panel.set(xlabel="training compute, in iterations of MAML", ylabel="error on new tasks")
    panel.set(xscale="log", yscale="log", xlim=(80, 3750), ylim=(0.03, 20))
    panel.set_xticks(equal_compute.MOMENTS, [f"{moment:,}" for moment in equal_compute.MOMENTS])
    panel.minorticks_off()
    panel.axhline(ZERO_PREDICTOR_MSE, **plots.REFERENCE, label="predicting zero")
    lines, bands = {}, {}
    for (method, text), color, dash, mark in zip(METHODS.items(), COLORS, plots.DASHES, plots.MARKERS):
        look = {"color": color, "linestyle": dash, "marker": mark, "markersize": 5}
        lines[method] = panel.plot([], [], **look, label=text)[0]
        bands[method] = panel.fill_between([1], [1], [1], color=color, alpha=0.18, linewidth=0)
    fig.legend(loc="outside lower center", ncols=2)
    return SimpleNamespace(lines=lines, bands=bands, title=panel.set_title(" "))


def draw(artists: SimpleNamespace, data: dict) -> None:
    for method in METHODS:
        artists.lines[method].set_data(data["moments"], data["mean"][method].clip(0.03, 20))
        artists.bands[method].set_data(
            data["moments"], data["low"][method], data["high"][method].clip(max=20)
        )
    maml, union = data["mean"]["maml"][-1], data["mean"]["union"][-1]
    ends = f"in the end MAML {maml:.2f}, the union " + (f"{union:.2f}" if np.isfinite(union) else "diverges")
    artists.title.set_text(f"{data['shots']} shots, scored by: {in_words(data)}; {ends}")


def in_words(data: dict) -> str:
    return next(text for text, key in SCORES.items() if key == data["score"])


def alt(data: dict) -> str:
    ends = ", ".join(f"{text} {data['mean'][m][-1]:.2f}" for m, text in METHODS.items())
    ends = ends.replace("nan", "diverged")
    return (
        f"Error on new tasks of {data['shots']} shots, scored by: {in_words(data)}, after compute of "
        f"{data['moments'][-1]:,} iterations of MAML (geometric mean of three seeds): {ends}."
    )


def demo() -> Demo:
    """The demo of notebook 06; in its default view each method does at test time what it was made for."""
    return Demo(
        "MAML and the union of tasks at equal compute",
        controls=[
            Choice("score", SCORES, "own", "at test time"),
            Notches("shots", equal_compute.SHOTS, 10, "support points"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(9.0, 4.8),
        may_diverge=("mean", "low", "high"),  # steps of 0.01 are too long for the union's body
    )
