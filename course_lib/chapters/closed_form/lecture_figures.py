"""The lecture's figure 24.7: what the inner loop of MAML and of ANIL changes."""

from __future__ import annotations

from matplotlib.figure import Figure

from course_lib.kit import plots
from course_lib.kit.diagrams import WIDTH, LectureFigure, full_canvas


def maml_and_anil(fig: Figure) -> None:
    """Figure 24.7: MAML's inner loop changes all parameters, ANIL's the head alone."""
    canvas = full_canvas(fig, WIDTH, 400)
    panels = (15, "MAML", "adapts every parameter"), (430, "ANIL", "adapts the head alone")
    for x, name, words in panels:
        anil = name == "ANIL"
        canvas.box(x, 58, 395, 327, look="panel")
        canvas.text(x + 18, 360, name, ha="left", weight="bold", size="large")
        canvas.note(x + 377, 360, words, ha="right")
        canvas.box(x + 108, 268, 116, 58, "body\n" + r"$\theta_{\mathrm{body}}$", "shared")
        head = canvas.box(x + 230, 268, 66, 58, "head\n" + r"$\theta_{\mathrm{head}}$", "shared")
        canvas.note(x + 98, 297, "meta-\ninitialisation", ha="right")
        trunk = head.center[0] if anil else x + 202
        for task in range(3):
            left = x + 19 + 122 * task
            body_words = r"$\theta_{\mathrm{body}}$" if anil else r"$\theta'_{\mathrm{body}}$"
            canvas.box(left, 116, 52, 58, body_words, "shared" if anil else "task", size="small")
            canvas.box(left + 56, 116, 54, 58, r"$\theta'_{\mathrm{head}}$", "task", size="small")
            canvas.text(left + 56, 90, f"task {task + 1}")
            target = left + 83 if anil else left + 54
            turn = [] if abs(target - trunk) < 12 else [(trunk, 212), (target, 212)]
            canvas.arrow((trunk, 268), *turn, (target if turn else trunk, 174), color=plots.ORANGE)
        canvas.text(trunk + 10, 242, "inner loop", ha="left", size="small", color=plots.ORANGE)
    legend = (
        (120, "shared", "learned by the outer loop"),
        (450, "task", "changed by the inner loop, for each task"),
    )
    for x, look, words in legend:
        canvas.box(x, 18, 30, 22, look=look)
        canvas.text(x + 40, 29, words, ha="left", size="small")


FIGURES = {
    "figure_24_7": LectureFigure(
        maml_and_anil,
        "Figure 24.7: MAML and ANIL",
        "Left, MAML: from the meta-initialisation of body and head the inner loop changes both for each "
        "of three tasks. Right, ANIL: the inner loop changes only the head; the body stays the same for "
        "all three tasks.",
    ),
}
