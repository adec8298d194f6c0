"""Algorithm 1, line by line, on a problem with two parameters: listing, parameter plane, three curves.

Everything is computed live by the library's learners; see ``two_loops_plane`` for the problem.
"""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.text import Text

from course_lib.chapters.two_loops import two_parameters as plane
from course_lib.inner_loop import predict, stack_params, trajectory
from course_lib.kit import plots
from course_lib.kit.first_edition import Button, Choice, Demo, Slider
from course_lib.losses import mse
from course_lib.tasks.sinusoid import X_RANGE

NUM_TASKS, ROUNDS = 3, 4  # tasks in a meta-batch, outer steps
STAGES = ("3", *("5", "6") * NUM_TASKS, "8", "8")  # the line of algorithm 1 at each stage of an outer step
POSITIONS = 1 + ROUNDS * len(STAGES)
ARROW_STAGE, UPDATE_STAGE = 7, 8
COLORS = (plots.BLUE, plots.ORANGE, plots.GREEN)
DASHES = ("-", (0, (6, 1.5)), (0, (1.5, 1)))
LEVELS = (0.1, 0.5, 1.5)  # of the contours, mean squared error
GRID = torch.linspace(*X_RANGE, 81, dtype=torch.float64)[:, None]  # [81, 1]
LISTING = {  # line: (indent, text)
    "1": (0, r"randomly initialize $\theta$"),
    "2": (0, r"while not done do"),
    "3": (1, r"sample a batch of tasks $\mathcal{T}_i \sim p(\mathcal{T})$"),
    "4": (1, r"for all $\mathcal{T}_i$ do"),
    "5": (2, r"$g = \nabla\mathcal{L}_{\mathcal{T}_i}$ on the support set, from $\theta$"),
    "6": (2, r"$\theta'_i = \theta - \alpha\, g$     (5 and 6: $k$ times)"),
    "7": (1, "end for"),
    "8": (1, ""),
    "9": (0, "end while"),
}
STEP = r"$\theta \leftarrow \theta - \beta\;"
LINE_8 = {
    "maml": STEP + r"\nabla_{\theta}\;\mathrm{mean}_i\;\mathcal{L}_{\mathcal{T}_i}(f_{\theta'_i})$",
    "fomaml": STEP + r"\mathrm{mean}_i\;\nabla\mathcal{L}_{\mathcal{T}_i}$ taken at $\theta'_i$",
    "reptile": r"$\theta \leftarrow \theta + (\beta\,/\,\alpha k)\;(\mathrm{mean}_i\;\theta'_i - \theta)$",
    "union": STEP + r"\nabla_{\theta}\;\mathrm{mean}_i\;\mathcal{L}_{\mathcal{T}_i}(f_{\theta})$",
}


def batch_of(round_: int, draw: int):
    """The three tasks that line 3 samples in one outer step."""
    return plane.sample(NUM_TASKS, seed=1000 * draw + round_)


def outer_path(
    method: str, steps: int, inner_lr: float, outer_lr: float, draw: int, rounds: int = ROUNDS
) -> np.ndarray:
    """theta at the start and after each of so many outer steps: [rounds + 1, 2]."""
    thetas = [np.array(plane.START)]
    for round_ in range(rounds):
        ways = directions(tuple(thetas[-1].tolist()), steps, inner_lr, round_, draw)
        thetas.append(thetas[-1] + outer_lr * ways[method])
    return np.stack(thetas)


@lru_cache(maxsize=64)
def one_round(
    theta: tuple[float, float], method: str, steps: int, inner_lr: float, round_: int, draw: int
) -> dict:
    """One outer step from ``theta``: the inner paths, every method's direction, the curves and the losses."""
    model, batch = plane.wave(*theta), batch_of(round_, draw)
    steps = 0 if method == "union" else steps
    start = stack_params(model, NUM_TASKS)
    options = {"loss_fn": mse, "steps": steps, "lr": inner_lr}
    walked = list(trajectory(model, start, batch.support_x, batch.support_y, **options))  # k + 1 points
    curve_x = GRID.expand(NUM_TASKS, -1, -1)
    with torch.no_grad():
        return {
            "paths": torch.stack([plane.point(p) for p in walked], 1).numpy(),  # [T, k + 1, 2]
            "curves": predict(model, walked[-1], curve_x)[..., 0].numpy(),  # [T, 81]
            "before": predict(model, start, curve_x)[0, :, 0].numpy(),  # [81]
            "support_losses": [mse(predict(model, p, batch.support_x), batch.support_y) for p in walked],
            "query_loss": mse(predict(model, walked[-1], batch.query_x), batch.query_y).mean(),
        }


@lru_cache(maxsize=64)
def directions(theta: tuple[float, float], steps: int, inner_lr: float, round_: int, draw: int) -> dict:
    """The direction of each method's outer step at ``theta``, downhill: {method: [2]}."""
    model, batch = plane.wave(*theta), batch_of(round_, draw)
    return {m: -plane.direction(m, model, batch, steps, inner_lr).numpy() for m in plane.METHODS}


@lru_cache(maxsize=64)
def task_contours(round_: int, draw: int) -> list[list]:
    """Lines of equal support loss of each of the three tasks."""
    batch = batch_of(round_, draw)
    return [plane.contours(batch.support_x[i], batch.support_y[i], LEVELS) for i in range(NUM_TASKS)]


def compute(values: SimpleNamespace) -> dict:
    """Everything known when the algorithm stands at ``values.position``."""
    settings = (values.method, values.steps, values.inner_lr)
    round_, stage = divmod(values.position - 1, len(STAGES)) if values.position else (0, -1)
    updated = stage == UPDATE_STAGE
    thetas = outer_path(*settings, values.outer_lr, values.new_tasks, round_ + updated)
    theta = tuple(thetas[round_].tolist())
    result = one_round(theta, *settings, round_, values.new_tasks)
    ways = directions(theta, values.steps, values.inner_lr, round_, values.new_tasks)
    batch = batch_of(round_, values.new_tasks)
    return result | {
        "method": values.method,
        "steps": 0 if values.method == "union" else values.steps,
        "round": round_,
        "stage": stage,
        "line": STAGES[stage] if stage >= 0 else "1",
        "theta": thetas[-1],
        "trail": thetas,
        "arrows": {m: values.outer_lr * way for m, way in ways.items()},
        "from": thetas[round_],
        "optima": torch.stack([batch.info["phase"], batch.info["amplitude"]], 1).numpy(),  # [T, 2]
        "support": torch.cat([batch.support_x, batch.support_y], 2).numpy(),  # [T, S, 2]
        "query": torch.cat([batch.query_x, batch.query_y], 2).numpy(),  # [T, Q, 2]
        "contours": task_contours(round_, values.new_tasks),
    }


def figure(fig) -> SimpleNamespace:
    left, right = fig.add_gridspec(1, 2, width_ratios=(1, 1.12))
    upper, lower = left.subgridspec(2, 1, height_ratios=(1.5, 1))
    bar, line_8, status = listing_axes(fig.add_subplot(upper))
    curves = [curve_axes(fig.add_subplot(cell), i) for i, cell in enumerate(lower.subgridspec(1, NUM_TASKS))]
    axes = fig.add_subplot(right)
    axes.set(xlabel="phase (the feature's parameter)", ylabel="amplitude (the head's parameter)")
    axes.set(xlim=plane.PHASE_RANGE, ylim=plane.AMPLITUDE_RANGE)
    tasks = [plane_artists(axes, i) for i in range(NUM_TASKS)]
    trail = axes.plot([], [], "o-", color=plots.GREY, markersize=4, linewidth=1, zorder=4)[0]
    arrows = {m: arrow_artists(axes) for m in plane.METHODS}
    theta = axes.plot([], [], "o", color=plots.BLACK, markersize=9, zorder=6, label=r"$\theta$")[0]
    legend_handles(axes)
    fig.legend(loc="outside lower center", ncols=4)
    return SimpleNamespace(
        bar=bar,
        line_8=line_8,
        status=status,
        curves=curves,
        tasks=tasks,
        trail=trail,
        arrows=arrows,
        theta=theta,
        title=axes.set_title(" "),
    )


def listing_axes(axes: Axes) -> tuple[Rectangle, Text, Text]:
    """Algorithm 1 as text, a bar that marks a line, the text of line 8 and two lines of numbers below."""
    axes.set(xlim=(0, 1), ylim=(0, 1), title="Algorithm 1")
    axes.axis("off")
    texts = {}
    for row, (number, (indent, text)) in enumerate(LISTING.items()):
        height = 0.95 - 0.088 * row
        axes.text(0.0, height, f"{number}:", va="center", color=plots.GREY)
        texts[number] = axes.text(0.06 + 0.06 * indent, height, text, va="center")
    bar = axes.add_patch(Rectangle((-0.01, 0), 1.01, 0.092, color=plots.AMBER, alpha=0.3, linewidth=0))
    status = axes.text(0.0, 0.0, "", va="bottom", linespacing=1.35)
    return bar, texts["8"], status


def curve_axes(axes, task: int) -> SimpleNamespace:
    """A small panel for one task: its points, the network before and after."""
    axes.set(xlim=X_RANGE, ylim=(-3.4, 3.4), xticks=[-4, 0, 4], yticks=[-2, 0, 2] if task == 0 else [])
    axes.set_title(f"task {task + 1}", color=COLORS[task])
    before = axes.plot([], [], color=plots.GREY, linestyle=":")[0]
    after = axes.plot([], [], color=COLORS[task], linestyle="-")[0]
    query = axes.plot([], [], **plots.QUERY | {"markersize": 4})[0]
    support = axes.plot([], [], **plots.SUPPORT | {"markersize": 4})[0]
    return SimpleNamespace(before=before, after=after, query=query, support=support)


def plane_artists(axes, task: int) -> SimpleNamespace:
    """What one task has in the plane: contours, its optimum, the first gradient, the inner path."""
    color = COLORS[task]
    lines = LineCollection([], colors=color, linewidths=0.9, linestyles=[DASHES[task]], alpha=0.75)
    axes.add_collection(lines, autolim=False)
    optimum = axes.plot([], [], "*", color=color, markersize=13)[0]
    walked = axes.plot([], [], "-", marker=".", color=color, linewidth=2, markersize=7, zorder=5)[0]
    end = axes.plot(
        [], [], plots.MARKERS[task + 1], color=color, markersize=9, markeredgecolor="white", zorder=5
    )[0]
    gradient = add_arrow(axes, color, 2.0)
    return SimpleNamespace(lines=lines, optimum=optimum, walked=walked, end=end, gradient=gradient)


def add_arrow(axes, color: str, width: float) -> FancyArrowPatch:
    style = {"arrowstyle": "-|>", "mutation_scale": 9 + 3 * width, "shrinkA": 0, "shrinkB": 0}
    arrow = FancyArrowPatch((0, 0), (0, 0), color=color, linewidth=width, zorder=5.5, **style)
    return axes.add_patch(arrow)


def arrow_artists(axes) -> SimpleNamespace:
    label = axes.text(0, 0, "", fontsize="small", ha="center", va="center", zorder=7, clip_on=True)
    label.set_path_effects([withStroke(linewidth=3, foreground="white")])
    return SimpleNamespace(arrow=add_arrow(axes, plots.GREY, 1.2), label=label)


def legend_handles(axes) -> None:
    """Entries for what all three tasks have, in a neutral colour."""
    axes.plot([], [], "*", color=plots.GREY, markersize=11, linestyle="none", label="the task's own optimum")
    axes.plot([], [], "-", marker="s", color=plots.GREY, label=r"inner loop, to $\theta'_i$")
    axes.plot([], [], ":", color=plots.GREY, label=r"network at $\theta$")
    axes.plot([], [], "-", color=plots.GREY, label=r"adapted, at $\theta'_i$")
    axes.plot([], [], **plots.SUPPORT | {"markersize": 4}, label="support")
    axes.plot([], [], **plots.QUERY | {"markersize": 4}, label="query")


def draw(artists: SimpleNamespace, data: dict) -> None:
    row = list(LISTING).index(data["line"])
    artists.bar.set_y(0.95 - 0.088 * row - 0.046)
    artists.line_8.set_text(LINE_8[data["method"]])
    artists.status.set_text(status(data))
    for task, (panel, marks) in enumerate(zip(artists.curves, artists.tasks)):
        draw_task(panel, marks, data, task)
    artists.trail.set_data(*data["trail"].T)
    artists.theta.set_data(*data["theta"][:, None])
    for method, marks in artists.arrows.items():
        draw_arrow(marks, method, data)
    artists.title.set_text(
        f"Outer step {data['round'] + 1}, {plane.METHODS[data['method']]}, k = {data['steps']}"
    )


def draw_task(panel: SimpleNamespace, marks: SimpleNamespace, data: dict, task: int) -> None:
    sampled, at_gradient = data["stage"] >= 0, data["stage"] == 1 + 2 * task
    walked = data["stage"] >= 2 + 2 * task
    visit = data["paths"][task]  # [k + 1, 2]
    x = GRID[:, 0].numpy()
    panel.before.set_data(x, data["before"])
    panel.after.set_data(x, data["curves"][task] if walked else x * float("nan"))
    for artist, points in ((panel.support, data["support"][task]), (panel.query, data["query"][task])):
        artist.set_data(*points.T)
        artist.set_visible(sampled)
    marks.lines.set_segments(data["contours"][task] if sampled else [])
    marks.optimum.set_data(*data["optima"][task][:, None])
    marks.optimum.set_visible(sampled)
    marks.walked.set_data(*visit.T)
    marks.end.set_data(*visit[-1][:, None])
    for artist in (marks.walked, marks.end):
        artist.set_visible(walked and data["steps"] > 0)
    marks.gradient.set_positions(visit[0], visit[min(1, data["steps"])])
    marks.gradient.set_visible(at_gradient and data["steps"] > 0)


def draw_arrow(marks: SimpleNamespace, method: str, data: dict) -> None:
    """The step that a method would take; the chosen one black and thick."""
    chosen, vector, start = method == data["method"], data["arrows"][method], data["from"]
    length = float((vector**2).sum() ** 0.5)
    visible = data["stage"] == ARROW_STAGE and length > 1e-9
    marks.arrow.set_positions(start, start + vector)
    marks.arrow.set_color(plots.BLACK if chosen else plots.GREY)
    marks.arrow.set_linewidth(3.5 if chosen else 1.4)
    marks.arrow.set_visible(visible)
    marks.label.set_position(start + vector * (1 + 0.22 / max(length, 0.2)))
    marks.label.set(text=plane.METHODS[method], color=plots.BLACK if chosen else plots.GREY, visible=visible)
    marks.label.set_fontweight("bold" if chosen else "normal")


def status(data: dict) -> str:
    """What happens at this line, with its numbers: two short lines."""
    stage, k = data["stage"], data["steps"]
    phase, amplitude = data["theta"]
    if stage < 0:
        return f"θ = ({phase:.2f}, {amplitude:.2f}): one wave,\nnot fitted to anything."
    if stage == 0:
        return "Three new tasks. Every one of them\nwill start from the same θ."
    if stage < ARROW_STAGE:
        task, first = (stage + 1) // 2, data["support_losses"][0][(stage - 1) // 2]
        last = data["support_losses"][-1][(stage - 1) // 2]
        if k == 0:
            return f"Task {task}: k = 0, so nothing adapts.\nSupport loss {first:.2f}."
        if stage % 2:
            return f"Task {task}: the gradient of its support loss,\n{first:.2f} at θ."
        steps = f"{k} step{'s' * (k > 1)}"
        return f"Task {task}: {steps}, from θ. Its support\nloss went from {first:.2f} to {last:.2f}."
    where = "θ′" if k else "θ"
    if stage == ARROW_STAGE:
        return f"Mean query loss at {where}: {data['query_loss']:.2f}.\nThe black arrow is the outer step."
    return f"θ moved to ({phase:.2f}, {amplitude:.2f}).\nThe adapted weights are thrown away."


def alt(data: dict) -> str:
    dx, dy = data["arrows"][data["method"]]
    return (
        f"Algorithm 1 at line {data['line']} of outer step {data['round'] + 1}, "
        f"{plane.METHODS[data['method']]} with "
        f"k = {data['steps']}. {status(data)} The outer step is ({dx:+.2f}, {dy:+.2f}) in (phase, amplitude)."
    ).replace("\n", " ")


def demo() -> Demo:
    """The demo of notebook 02; its default view shows line 8, where the four methods' arrows part."""
    return Demo(
        "Algorithm 1, step by step",
        controls=[
            Slider("position", 0, POSITIONS - 1, 1 + ARROW_STAGE, "walk the lines"),
            Choice("method", {text: name for name, text in plane.METHODS.items()}, "maml", "outer step of"),
            Slider("steps", 0, 8, 3, "inner steps k"),
            *plane.rate_sliders(highest_inner=0.4, highest_outer=1.0, outer=0.6),
            Button("new_tasks", "other tasks"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(10.0, 5.6),
    )
