"""A map of the field: what each method lets a task change, and how its outer loop learns. Nothing is computed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import NamedTuple

from course_lib.kit import plots
from course_lib.kit.demo import Choice, declare

ACROSS = ("nothing:\nit reads the points", "the head,\nsolved", "the head,\nby steps", "everything,\nby steps")
UP = (
    "ordinary training,\nno inner loop",
    "no derivative of\nthe inner loop",
    "its first\nderivatives only",
    "backpropagates\nthrough adapting",
)


class Method(NamedTuple):
    """A method's place: column and row of the map, a shift within them; what it does; its notebook."""

    name: str
    x: float
    y: float
    color: str
    inner: str
    outer: str
    notebook: str


BACK, NEAR = "backpropagates through", "steps to a minimum near the start"
FIELD = {
    "maml": Method("MAML", 3, 2.75, "maml", "k gradient steps on everything", f"{BACK} all k steps", "02, 03"),
    "imaml": Method("implicit MAML", 3, 3.2, "maml", NEAR, "differentiates that minimum, implicitly", "07"),
    "fomaml": Method("FOMAML", 3, 2, "fomaml", "k gradient steps on everything", "second derivatives dropped", "02"),
    "reptile": Method(
        "Reptile", 3, 1, "reptile", "k gradient steps on everything", "moves toward where they end", "08"
    ),
    "anil": Method("ANIL", 2, 3, "anil", "k gradient steps on the head", f"{BACK} all k steps", "07"),
    "r2d2": Method("R2D2", 1, 3.27, "ridge", "a ridge regression", f"{BACK} the solve", "07"),
    "metaoptnet": Method("MetaOptNet", 1, 3, "svm", "a support vector machine", f"{BACK} the optimum", "07"),
    "protonet": Method("ProtoNet", 1, 2.73, "means", "the mean of each class", f"{BACK} the means", "07"),
    "context": Method(
        "in context,\nmemory", 0, 3, "random", "none: the points are an input", f"{BACK} the reading", "none"
    ),
    "union": Method(
        "union of tasks", 1, 0.15, "union", "none: every task has a head", "as ever; test heads are solved", "06"
    ),
    "pretrained": Method(
        "pre-trained,\none head", 3, 0, "pretrained", "none: one head for all", "as ever; test steps tune all", "01"
    ),
}


def compute(values: SimpleNamespace) -> dict:
    return {"method": FIELD[values.watch]}


def picture(fig, show) -> None:
    axes = fig.subplots()
    axes.set(xlim=(-0.5, 3.5), ylim=(-0.5, 3.5), xlabel="what a task may change, at test time")
    axes.set_xticks(range(4), ACROSS)
    axes.set_yticks(range(4), UP)
    axes.grid(False)
    axes.tick_params(length=0)
    for line in (0.5, 1.5, 2.5):
        axes.axhline(line, color="#ececec", linewidth=0.8)
        axes.axvline(line, color="#ececec", linewidth=0.8)
    for key, method in FIELD.items():
        color, marker = (plots.METHODS[method.color][part] for part in ("color", "marker"))
        here = lambda d, key=key: d.watch == key
        size = lambda d, here=here: 13 if here(d) else 8
        show.points(axes, [method.x - 0.28], [method.y], color=color, marker=marker, markersize=size)
        weight = lambda d, here=here: "bold" if here(d) else "normal"
        show.text(axes, method.x - 0.19, method.y, method.name, va="center", fontsize=10, fontweight=weight)
    axes.set_ylabel("how the outer loop learns")
    show.title(axes, lambda d: f"{plain(d)}. Inner loop: {d.method.inner}.\nOuter loop: {d.method.outer}.")


def plain(d) -> str:
    return d.method.name.replace("\n", " ")


def words(d) -> str:
    at = ACROSS[round(d.method.x)].replace("\n", " "), UP[min(round(d.method.y), 3)].replace("\n", " ")
    where = "not in this course" if d.method.notebook == "none" else f"notebook {d.method.notebook}"
    return f"{plain(d)}: a task may change {at[0]}; the outer loop: {at[1]} ({where})."


demo = declare(
    "A map of the field",
    [Choice("watch", {key: plain(SimpleNamespace(method=m)) for key, m in FIELD.items()}, "maml", "method")],
    compute,
    picture,
    words,
    size=(8.6, 4.7),
)
