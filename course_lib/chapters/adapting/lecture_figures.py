"""The lecture's figures 24.1 and 24.2: the principle of meta-learning, and features with a task head."""

from __future__ import annotations

from matplotlib.figure import Figure

from course_lib.kit import plots
from course_lib.kit.diagrams import WIDTH, Box, LectureFigure, full_canvas


def principle(fig: Figure) -> None:
    """Figure 24.1: many training tasks teach an initialisation; a new task is fine-tuned and judged."""
    canvas = full_canvas(fig, WIDTH, 430)
    canvas.box(15, 15, 300, 400, look="panel")
    canvas.text(165, 390, "Meta-training: many tasks", weight="bold")
    canvas.note(133, 358, "support set")
    canvas.note(245, 358, "query set")
    tasks = {"task 1": (0.9, 0.4), "task 2": (0.5, 2.6), "task n": (0.75, 4.4)}
    for (name, (amplitude, phase)), y in zip(tasks.items(), (268, 180, 32)):
        canvas.text(30, y + 36, name.replace("n", "$n$"), ha="left")
        canvas.curve(85, y, 96, 72, amplitude, phase, (0.08, 0.3, 0.55, 0.86))
        canvas.curve(197, y, 96, 72, amplitude, phase, (0.2, 0.42, 0.7, 0.95), query=True, line=True)
    canvas.dots(189, 142, vertical=True)
    start = canvas.box(363, 154, 114, 92, "learned\ninitialisation\n" + r"$\theta$", "shared")
    canvas.arrow((315, 200), start.left)

    canvas.box(525, 15, 300, 400, look="panel")
    canvas.text(675, 390, "Meta-test: a new task", weight="bold")
    points = canvas.curve(560, 280, 112, 84, 0.85, 1.5, (0.1, 0.36, 0.62, 0.9))
    canvas.note(690, 322, "its support set", ha="left")
    tuned = canvas.box(
        547, 168, 256, 64, "fine-tune: " + r"$k$ gradient steps" + "\n" + r"$\theta \to \theta'$", "task"
    )
    judged = canvas.curve(560, 36, 112, 84, 0.85, 1.5, (0.2, 0.48, 0.74, 0.97), query=True, line=True)
    canvas.note(690, 78, "its query set,\nheld out: judges", ha="left")
    canvas.arrow(start.right, tuned.left)
    canvas.arrow(points.bottom, (points.bottom[0], 232))
    canvas.arrow((judged.top[0], 168), judged.top)


def features_and_head(fig: Figure) -> None:
    """Figure 24.2: the deep model's features are fed into the task head, which converts them to outputs."""
    canvas = full_canvas(fig, WIDTH, 265)
    level = 134
    entry = canvas.box(16, level - 36, 70, 72, "input\n" + r"$x$")
    canvas.box(120, 46, 328, 180, look="panel")
    canvas.text(284, 207, "deep model: the body", weight="bold")
    layers = [canvas.box(136 + 84 * i, level - 56, 50, 112, look="shared") for i in range(4)]
    for layer, words in zip(layers, ("layer\n1", "layer\n2", None, "layer\n" + r"$L$")):
        canvas.text(*layer.center, words) if words else canvas.dots(*layer.center)
    features = canvas.column(488, level, 5)
    canvas.text(503, 237, "features " + r"$\varphi(x)$")
    head = canvas.box(558, level - 57, 130, 114, "task head\n" + r"$W\varphi(x) + b$", "task")
    canvas.note(head.center[0], 60, "the last block,\none linear layer", va="top")
    canvas.text(776, 237, "outputs")
    for y, length in zip((level + 36, level, level - 36), (26, 78, 14)):
        canvas.axes.barh(y, length, height=20, left=737, color=plots.GREY, linewidth=0)
    canvas.axes.plot([737, 737], [level - 54, level + 54], color=plots.BLACK, linestyle="-", linewidth=1.4)
    canvas.note(776, 60, "such as a score\nfor each class", va="top")
    stations = [entry, *layers, features, head, Box(737, level - 54, 80, 108)]
    for before, after in zip(stations, stations[1:]):
        canvas.arrow(before.right, after.left)


FIGURES = {
    "figure_24_1": LectureFigure(
        principle,
        "Figure 24.1: the principle of meta-learning",
        "Many training tasks, each with a support set and a query set, teach an initialisation theta. On "
        "a new task it is fine-tuned by k gradient steps on the support set and judged on the held-out "
        "query set.",
    ),
    "figure_24_2": LectureFigure(
        features_and_head,
        "Figure 24.2: features and the task head",
        "An input passes through the layers of a deep model, the body. The features that come out are fed "
        "into the task head, one linear layer, which converts them to outputs, for example a score for "
        "each class.",
    ),
}
