"""The lecture's figures 24.3 to 24.5: MAML in pseudo-code, its training loop, the inner loop unrolled."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from course_lib.kit import plots
from course_lib.kit.diagrams import QUIET, WIDTH, Canvas, LectureFigure, full_canvas
from course_lib.validation import check_count


def algorithm(fig: Figure) -> None:
    """Figure 24.3: MAML's pseudo-code, its two loops bracketed."""
    canvas = full_canvas(fig, WIDTH, 452)
    places = (378, 338, 302, 266, 230, 194, 158, 110, 62)  # of the lines; the sum in line 8 needs room
    at = dict(enumerate(places, 1))
    canvas.text(24, 428, r"$\mathbf{Algorithm\ 1}$   Model-Agnostic Meta-Learning", ha="left")
    require = r"$\mathbf{Require\!:}$  $p(\mathcal{T})$: distribution over tasks;  $\alpha, \beta$: step sizes"
    canvas.text(816, 428, require, ha="right", size="small")
    for y in (446, 410, 26):
        canvas.axes.plot([20, 820], [y, y], color=plots.BLACK, linestyle="-", linewidth=1.4)
    canvas.box(46, at[9] - 20, 598, at[2] - at[9] + 38, look="shared")
    canvas.box(78, at[7] - 18, 550, at[4] - at[7] + 36, look="task", hatched=False)
    grad = r"\nabla_\theta\,\mathcal{L}_{\mathcal{T}_i}(f_\theta)"
    held_out = r"\mathcal{L}_{\mathcal{T}_i}(f_{\theta'_i})"
    lines = [
        (0, r"randomly initialise $\theta$"),
        (0, r"$\mathbf{while}$ not done $\mathbf{do}$"),
        (1, r"sample batch of tasks $\mathcal{T}_i \sim p(\mathcal{T})$"),
        (1, r"$\mathbf{for\ all}$ $\mathcal{T}_i$ $\mathbf{do}$"),
        (2, rf"evaluate ${grad}$ with respect to $K$ examples"),
        (2, rf"adapt: $\theta'_i = \theta - \alpha\,{grad}$"),
        (1, r"$\mathbf{end\ for}$"),
        (1, rf"update $\theta \leftarrow \theta - \beta\,\nabla_\theta \sum_i\, {held_out}$"),
        (0, r"$\mathbf{end\ while}$"),
    ]
    for number, (depth, words) in enumerate(lines, 1):
        baseline = at[number] - 5
        canvas.text(36, baseline, f"{number}:", ha="right", va="baseline", color=QUIET, size="small")
        canvas.text(56 + 34 * depth, baseline, words, ha="left", va="baseline")
    canvas.note(616, at[5], "support set", ha="right")
    canvas.note(616, at[8], "query sets, held out", ha="right")
    canvas.bracket(666, at[7] - 18, at[4] + 18, plots.ORANGE)
    canvas.text(676, (at[4] + at[7]) / 2, "inner loop:\nevery task\nadapts", ha="left", color=plots.ORANGE)
    canvas.bracket(784, at[9] - 20, at[2] + 18, plots.BLUE)
    canvas.text(805, (at[2] + at[9]) / 2, "outer loop: over batches of tasks", rotation=270, color=plots.BLUE)


def training_loop(fig: Figure) -> None:
    """Figure 24.4: the inner loop trains on support sets; held-out losses send a gradient back to theta."""
    canvas = full_canvas(fig, WIDTH, 430)
    canvas.outline(12, 12, 816, 406, plots.BLUE)
    canvas.text(30, 396, "outer loop: once for each mini-batch of tasks", ha="left", color=plots.BLUE)
    canvas.outline(168, 100, 356, 274, plots.ORANGE)
    canvas.text(346, 354, "inner loop: each task by itself", color=plots.ORANGE)
    level, apart = 222, 83
    start = canvas.box(30, level - 42, 100, 84, "initial\nweights\n" + r"$\theta$", "shared")
    total = canvas.box(716, level - 42, 98, 84, "mean over\nthe tasks")
    for task, middle in (("1", level + apart), ("2", level), ("T", level - apart)):
        y = middle - 27
        words = r"$k$ steps of SGD" + "\n" + rf"on the support set of task ${task}$"
        steps = canvas.box(198, y, 212, 54, words, "task", size="small")
        adapted = canvas.box(446, y, 60, 54, rf"$\theta'_{task}$", "task")
        held_out = canvas.box(558, y, 130, 54, "held-out loss:\n" + rf"query set of task ${task}$", size="small")
        canvas.arrow(steps.right, adapted.left)
        canvas.arrow(adapted.right, held_out.left)
        if middle == level:
            canvas.arrow(start.right, steps.left)
            canvas.arrow(held_out.right, total.left)
        else:
            near_start, near_total = (start.top, total.top) if middle > level else (start.bottom, total.bottom)
            canvas.arrow(near_start, (near_start[0], middle), steps.left)
            canvas.arrow(held_out.right, (near_total[0], middle), near_total)
    for x in (304, 476, 623):
        canvas.dots(x, level - apart / 2, vertical=True, spread=7)
    canvas.arrow((792, level - 42), (792, 66), (52, 66), (52, level - 42), back=True)
    update = r"$\theta \leftarrow \theta - \eta_{\mathrm{outer}}\,\nabla_{\theta}\,\mathcal{L}$"
    canvas.text(420, 42, rf"gradient of the held-out loss, back through the $k$ steps:   {update}", color=plots.BLUE)


MOST_STEPS = 4  # drawn one by one in figure 24.5; of more, the first two and the last
RADIUS = 21  # of a state


def draw_unrolled(axes: Axes, k: int) -> None:
    """Figure 24.5 for any number of inner steps: the unrolled inner loop is a recurrent network.

    The weights are its state, one gradient step its cell, the support set its input at every step. What the
    axes showed before goes. Made for axes of 8.4 by 3.2 inches; k above 4 leaves out steps in the middle.

    Raises:
        ValueError: k is negative. TypeError: k is not a whole number.
    """
    check_count("k", k, 0)
    canvas = Canvas(axes, WIDTH, 320)
    steps = [*range(k)] if k <= MOST_STEPS else [0, 1, None, k - 1]
    states = [0] + [k - 1 if step is None else step + 1 for step in steps]
    y, low, high = 155, 62, 225  # of the states, of the data's upper edge, of the gradient's way back
    first, last = 48, 664  # centres of the first and the last state
    gap = (last - first) / max(len(steps), 1)
    update = r"$\theta_{t+1} = \theta_t - \alpha\,\nabla\mathcal{L}(\theta_t;\ \mathrm{support\ set})$"
    canvas.text(20, 296, f"one cell:  {update}", ha="left")
    canvas.text(820, 296, "dashed: the gradient on its way back", ha="right", color=plots.BLUE)
    if k:
        support = canvas.box(first + 40, 20, last - first - 80, low - 20, "support set: the same input at every step")
    for column, step in enumerate(steps):
        here, there = first + gap * column, first + gap * (column + 1)
        middle = (here + there) / 2
        if step is None:
            canvas.dots(middle, y)
        else:
            cell = canvas.box(middle - 27, y - 27, 54, 54, "SGD\nstep", "task", size="small")
            canvas.arrow((middle, support.top[1]), cell.bottom)
        canvas.arrow((here + RADIUS - 2, y), (middle - 27, y))
        canvas.arrow((middle + 27, y), (there - RADIUS + 2, y))
        back = (there - 7, y + RADIUS - 3), (there - 7, high), (here + 7, high), (here + 7, y + RADIUS - 3)
        canvas.arrow(*back, back=True)
        factor = r"$\cdots$" if step is None else rf"$I - \alpha H_{{{step}}}$"
        canvas.text(middle, high + 17, factor, size="small", color=plots.BLUE)
    for column, state in enumerate(states):
        canvas.circle(first + gap * column, y, RADIUS, rf"$\theta_{{{state}}}$", "task" if state else "shared")
    end = first + gap * (len(states) - 1)
    canvas.note(first, y - 37, "initial\nweights", va="top")
    if k:
        canvas.note(end, y - 37, "adapted\n" + r"weights $\theta'$", va="top")
    loss = canvas.box(736, y - 29, 88, 58, "held-out\nloss")
    query = canvas.box(726, 20, 108, low - 20, "query set")
    canvas.arrow(query.top, loss.bottom)
    canvas.arrow((end + RADIUS - 2, y), loss.left)
    canvas.arrow(loss.top, (loss.top[0], high), (end + 7, high), (end + 7, y + RADIUS - 3), back=True)
    held_out = r"$\nabla\mathcal{L}(\theta')$" if k else r"$\nabla\mathcal{L}(\theta)$"
    canvas.text((end + loss.top[0]) / 2 + 4, high + 17, held_out, size="small", color=plots.BLUE)


def unrolled(fig: Figure) -> None:
    """Figure 24.5 for k = 3."""
    fig.set_size_inches(WIDTH / 100, 3.2)
    draw_unrolled(fig.add_axes((0, 0, 1, 1)), k=3)


FIGURES = {
    "figure_24_3": LectureFigure(
        algorithm,
        "Figure 24.3: MAML in pseudo-code",
        "Algorithm 1, model-agnostic meta-learning, nine lines. Lines 4 to 7 are bracketed as the inner "
        "loop, each task on its support set; lines 2 to 9 as the outer loop over batches of tasks, judged "
        "on the query sets.",
    ),
    "figure_24_4": LectureFigure(
        training_loop,
        "Figure 24.4: the training loop of MAML",
        "Every task of a mini-batch starts from the same weights theta and takes k steps of SGD on its "
        "support set: the inner loop. The losses on the query sets are averaged, and their gradient goes "
        "back through all the steps to update theta: the outer loop.",
    ),
    "figure_24_5": LectureFigure(
        unrolled,
        "Figure 24.5: the unrolled inner loop resembles a recurrent network",
        "A chain of weights theta 0 to theta 3 joined by three equal SGD steps, which all take the "
        "support set as input; theta 3 and the query set give the held-out loss. A dashed gradient goes "
        "back from the loss through every step, each multiplying it by I minus alpha times the Hessian.",
    ),
}
