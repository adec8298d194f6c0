"""The lecture's figures 24.1 to 24.7, redrawn: one function each, ``figures/draw.py`` writes them as SVG.

The captions in the lecture notes say what each one showed. Every function takes an empty Matplotlib figure,
except ``draw_unrolled``, which takes axes and a k so that a demo can draw figure 24.5 live.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from course_lib.kit import plots
from course_lib.kit.diagrams import QUIET, Box, Canvas, full_canvas
from course_lib.validation import check_count

WIDTH = 840  # of every figure, in hundredths of an inch


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
    features = _column(canvas, 488, level, 5)
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


def algorithm(fig: Figure) -> None:
    """Figure 24.3: MAML's pseudo-code, its two loops bracketed."""
    canvas = full_canvas(fig, WIDTH, 452)
    places = (378, 338, 302, 266, 230, 194, 158, 110, 62)  # of the lines; the sum in line 8 needs room
    at = dict(enumerate(places, 1))
    canvas.text(24, 428, r"$\mathbf{Algorithm\ 1}$   Model-Agnostic Meta-Learning", ha="left")
    require = (
        r"$\mathbf{Require\!:}$  $p(\mathcal{T})$: distribution over tasks;  $\alpha, \beta$: step sizes"
    )
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
        held_out = canvas.box(
            558, y, 130, 54, "held-out loss:\n" + rf"query set of task ${task}$", size="small"
        )
        canvas.arrow(steps.right, adapted.left)
        canvas.arrow(adapted.right, held_out.left)
        if middle == level:
            canvas.arrow(start.right, steps.left)
            canvas.arrow(held_out.right, total.left)
        else:
            near_start, near_total = (
                (start.top, total.top) if middle > level else (start.bottom, total.bottom)
            )
            canvas.arrow(near_start, (near_start[0], middle), steps.left)
            canvas.arrow(held_out.right, (near_total[0], middle), near_total)
    for x in (304, 476, 623):
        canvas.dots(x, level - apart / 2, vertical=True, spread=7)
    canvas.arrow((792, level - 42), (792, 66), (52, 66), (52, level - 42), back=True)
    update = r"$\theta \leftarrow \theta - \eta_{\mathrm{outer}}\,\nabla_{\theta}\,\mathcal{L}$"
    canvas.text(
        420, 42, rf"gradient of the held-out loss, back through the $k$ steps:   {update}", color=plots.BLUE
    )


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
        support = canvas.box(
            first + 40, 20, last - first - 80, low - 20, "support set: the same input at every step"
        )
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
        canvas.circle(
            first + gap * column, y, RADIUS, rf"$\theta_{{{state}}}$", "task" if state else "shared"
        )
    end = first + gap * (len(states) - 1)
    canvas.note(first, y - 37, "initial\nweights", va="top")
    if k:
        canvas.note(end, y - 37, "adapted\n" + r"weights $\theta'$", va="top")
    loss = canvas.box(736, y - 29, 88, 58, "held-out\nloss")
    query = canvas.box(736, 20, 88, low - 20, "query set")
    canvas.arrow(query.top, loss.bottom)
    canvas.arrow((end + RADIUS - 2, y), loss.left)
    canvas.arrow(loss.top, (loss.top[0], high), (end + 7, high), (end + 7, y + RADIUS - 3), back=True)
    held_out = r"$\nabla\mathcal{L}(\theta')$" if k else r"$\nabla\mathcal{L}(\theta)$"
    canvas.text((end + loss.top[0]) / 2 + 4, high + 17, held_out, size="small", color=plots.BLUE)


def unrolled(fig: Figure) -> None:
    """Figure 24.5 for k = 3."""
    fig.set_size_inches(WIDTH / 100, 3.2)
    draw_unrolled(fig.add_axes((0, 0, 1, 1)), k=3)


def task_specific_heads(fig: Figure) -> None:
    """Figure 24.6: one body, a head of its own for each task."""
    canvas = full_canvas(fig, WIDTH, 310)
    level, apart = 155, 96
    body = canvas.box(232, 31, 160, 248, "one body,\nshared by\nall tasks", "shared")
    features = _column(canvas, 446, level, 6)
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


def _column(canvas: Canvas, x: float, middle: float, count: int) -> Box:
    """A column of feature values, drawn as circles around the height ``middle``."""
    low = middle - 27 * (count - 1) / 2
    for index in range(count):
        canvas.circle(x + 15, low + 27 * index, 11, "", "shared")
    return Box(x, low - 15, 30, 30 + 27 * (count - 1))


@dataclass(frozen=True)
class LectureFigure:
    """A figure, its name, and what it says to someone who cannot see it."""

    draw: Callable[[Figure], None]
    title: str
    description: str


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
    "figure_24_6": LectureFigure(
        task_specific_heads,
        "Figure 24.6: task-specific heads",
        "Data points of tasks 1, 2 to n all pass through one shared body to features. From there each "
        "task has a head of its own and its own loss.",
    ),
    "figure_24_7": LectureFigure(
        maml_and_anil,
        "Figure 24.7: MAML and ANIL",
        "Left, MAML: from the meta-initialisation of body and head the inner loop changes both for each "
        "of three tasks. Right, ANIL: the inner loop changes only the head; the body stays the same for "
        "all three tasks.",
    ),
}
