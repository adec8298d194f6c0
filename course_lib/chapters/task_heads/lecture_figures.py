"""The lecture's figure 24.6: one body, a head for each task."""

from __future__ import annotations

from matplotlib.figure import Figure

from course_lib.kit.diagrams import WIDTH, LectureFigure, full_canvas


def task_specific_heads(fig: Figure) -> None:
    """Figure 24.6: one body, a head of its own for each task."""
    canvas = full_canvas(fig, WIDTH, 310)
    level, apart = 155, 96
    body = canvas.box(232, 31, 160, 248, "one body,\nshared by\nall tasks", "shared")
    features = canvas.column(446, level, 6)
    canvas.text(461, 254, "features")
    canvas.arrow(body.right, features.left)
    for name, middle in (("1", level + apart), ("2", level), ("n", level - apart)):
        entry = canvas.box(20, middle - 28, 160, 56, f"data points\nof task ${name}$")
        head = canvas.box(562, middle - 28, 116, 56, f"head of\ntask ${name}$", "task")
        output = canvas.box(730, middle - 28, 90, 56, rf"loss $\mathcal{{L}}_{name}$")
        canvas.arrow(entry.right, (body.x, middle))
        turn = [] if middle == level else [(514, level), (514, middle)]
        canvas.arrow(features.right, *turn, head.left)
        canvas.arrow(head.right, output.left)
    for x in (100, 620, 775):
        canvas.dots(x, level - apart / 2, vertical=True)


FIGURES = {
    "figure_24_6": LectureFigure(
        task_specific_heads,
        "Figure 24.6: task-specific heads",
        "Data points of tasks 1, 2 to n all pass through one shared body to features. From there each "
        "task has a head of its own and its own loss.",
    ),
}
