"""Algorithm 1, line by line, on a problem with two parameters: listing, parameter plane, three curves.

Everything is computed live by the library's learners; see ``two_parameters`` for the problem.
"""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from course_lib.inner_loop import predict, stack_params, trajectory
from course_lib.kit import plots
from course_lib.kit import two_parameters as plane
from course_lib.kit.demo import Button, Choice, Slider, declare
from course_lib.kit.words import several
from course_lib.losses import mse
from course_lib.tasks.sinusoid import X_RANGE

NUM_TASKS, ROUNDS = 3, 4  # tasks in a meta-batch, outer steps
STAGES = ("3", *("5", "6") * NUM_TASKS, "8", "8")  # the line of algorithm 1 at each stage of an outer step
POSITIONS = 1 + ROUNDS * len(STAGES)
ARROW_STAGE, UPDATE_STAGE = 7, 8
COLORS = (plots.GREEN, plots.VIOLET, plots.BROWN)  # of the tasks
DASHES = ("-", (0, (6, 1.5)), (0, (1.5, 1)))
LEVELS = (0.1, 0.5, 1.5)  # of the contours, mean squared error
NAMES_WITHIN = ((-0.2, 3.4), (-0.4, 3.5))  # phases and amplitudes between which an arrow has its name
HALO = [withStroke(linewidth=3, foreground="white")]
INKS = {"maml": "#005a8e", "fomaml": "#2b7fb0", "reptile": "#8a6000", "union": "#b04a00"}  # of the methods' names
GRID = torch.linspace(*X_RANGE, 81, dtype=torch.float64)[:, None]  # [81, 1]
LISTING = {  # line: (indent, text)
    "1": (0, r"randomly initialize $\theta$"),
    "2": (0, r"while not done do"),
    "3": (1, r"sample a batch of tasks $\mathcal{T}_i \sim p(\mathcal{T})$"),
    "4": (1, r"for all $\mathcal{T}_i$, from $\theta'_i = \theta$, do"),
    "5": (2, r"$g = \nabla\mathcal{L}_{\mathcal{T}_i}$ on the support set, at $\theta'_i$"),
    "6": (2, r"$\theta'_i \leftarrow \theta'_i - \alpha\, g$     (5 and 6: $k$ times)"),
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
    start: tuple[float, float], method: str, steps: int, inner_lr: float, outer_lr: float, draw: int, rounds: int
) -> np.ndarray:
    """theta at the start and after each of so many outer steps: [rounds + 1, 2]."""
    thetas = [np.array(start)]
    for round_ in range(rounds):
        ways = directions(tuple(thetas[-1].tolist()), steps, inner_lr, round_, draw)
        thetas.append(thetas[-1] + outer_lr * ways[method])
    return np.stack(thetas)


@lru_cache(maxsize=64)
def one_round(theta: tuple[float, float], method: str, steps: int, inner_lr: float, round_: int, draw: int) -> dict:
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
    thetas = outer_path(values.theta, *settings, values.outer_lr, values.new_tasks, round_ + updated)
    theta = tuple(thetas[round_].tolist())
    result = one_round(theta, *settings, round_, values.new_tasks)
    ways = directions(theta, values.steps, values.inner_lr, round_, values.new_tasks)
    batch = batch_of(round_, values.new_tasks)
    return result | {
        "used": 0 if values.method == "union" else values.steps,
        "round": round_,
        "stage": stage,
        "line": STAGES[stage] if stage >= 0 else "1",
        "now": thetas[-1],
        "trail": thetas,
        "arrows": {m: values.outer_lr * way for m, way in ways.items()},
        "from": thetas[round_],
        "optima": torch.stack([batch.info["phase"], batch.info["amplitude"]], 1).numpy(),  # [T, 2]
        "support": torch.cat([batch.support_x, batch.support_y], 2),  # [T, S, 2]
        "query": torch.cat([batch.query_x, batch.query_y], 2),  # [T, Q, 2]
        "contours": task_contours(round_, values.new_tasks),
    }


def picture(fig, show) -> None:
    left, right = fig.add_gridspec(1, 2, width_ratios=(1, 1.2))
    upper, lower = left.subgridspec(2, 1, height_ratios=(1.6, 1))
    listing(fig.add_subplot(upper), show)
    axes = fig.add_subplot(right)
    axes.set(xlabel="phase (the feature's parameter)", ylabel="amplitude (the head's parameter)")
    axes.set(xlim=plane.PHASE_RANGE, ylim=plane.AMPLITUDE_RANGE)
    for task, cell in enumerate(lower.subgridspec(1, NUM_TASKS)):
        curves(fig.add_subplot(cell), show, task)
        in_plane(axes, show, task)
    show.line(axes, "trail", color=plots.GREY, linestyle="-", marker="o", markersize=4, linewidth=1, zorder=4)
    for method in plane.METHODS:
        arrow(axes, show, method)
    show.points(axes, lambda d: d.now, color=plots.BLACK, markersize=9, zorder=6)
    show.handle(axes, "theta", moves="theta", label="theta before the first update", color=plots.BLACK)
    beside = {"fontsize": 9, "ha": "right", "va": "center", "path_effects": HALO, "clip_on": True, "zorder": 7}
    show.text(axes, lambda d: np.add(d.theta, (-0.12, 0)), None, r"drag $\theta$", **beside)
    key = "a star solves a task; a path with marks is its inner loop"
    plots.name_region(axes, 0.5, 0.02, key, fontsize=9, path_effects=HALO, zorder=7)
    show.title(axes, headline)


def headline(d) -> str:
    """The outer step; where arrows are shown, the angle between the chosen one and that of the union (or MAML)."""
    other = "union" if d.method != "union" else "maml"
    if not {d.method, other} <= set(steps_shown(d)):
        return f"Outer step {d.round + 1} of {plane.METHODS[d.method]}, k = {d.used}"
    one, two = (np.arctan2(*d.arrows[m][::-1]) for m in (d.method, other))
    angle = np.degrees(np.abs(np.angle(np.exp(1j * (one - two)))))
    return f"k = {d.steps}: {plane.METHODS[d.method]} and {plane.METHODS[other]}, {angle:.0f}° apart"


def listing(axes: Axes, show) -> None:
    """Algorithm 1 as text, a bar that marks a line, the text of line 8 and two lines of numbers below."""
    axes.set(xlim=(0, 1), ylim=(0, 1), title="Algorithm 1")
    axes.axis("off")
    height = {number: 0.95 - 0.088 * row for row, number in enumerate(LISTING)}
    show.level(axes, lambda d: height[d.line], color=plots.AMBER, alpha=0.3, linestyle="-", linewidth=16)
    for number, (indent, text) in LISTING.items():
        axes.text(0.0, height[number], f"{number}:", va="center", color=plots.GREY)
        axes.text(0.09 + 0.05 * indent, height[number], text, va="center")
    show.text(axes, 0.14, height["8"], lambda d: LINE_8[d.method], va="center")
    show.text(axes, 0.0, 0.0, status, va="bottom", linespacing=1.35)


def curves(axes: Axes, show, task: int) -> None:
    """A small panel for one task: its points, the network before and after."""
    axes.set(xlim=X_RANGE, ylim=(-3.4, 3.4), xticks=[-4, 0, 4], yticks=[-2, 0, 2] if task == 0 else [])
    axes.set_title(f"task {task + 1}", color=COLORS[task])
    if task == NUM_TASKS // 2:
        key = "dotted: at $\\theta$, solid: at $\\theta'_i$, \N{BLACK CIRCLE} support, \N{WHITE DIAMOND} query"
        axes.set_xlabel(key, fontsize=9)
    walked = lambda d: d.stage >= 2 + 2 * task
    show.line(axes, GRID[:, 0], "before", color=plots.GREY, linestyle=":")
    show.line(axes, GRID[:, 0], lambda d: d.curves[task], color=COLORS[task], linestyle="-", shown=walked)
    for points, look in (("query", plots.QUERY), ("support", plots.SUPPORT)):
        at = lambda d, points=points: d[points][task]
        show.points(axes, at, **look | {"markersize": 4}, shown=lambda d: d.stage >= 0)


def in_plane(axes: Axes, show, task: int) -> None:
    """What one task has in the plane: contours, its optimum, the first gradient, the inner path."""
    color, sampled = COLORS[task], lambda d: d.stage >= 0
    walked = lambda d: d.stage >= 2 + 2 * task and d.used > 0
    look = {"colors": color, "linewidths": 0.9, "linestyles": [DASHES[task]], "alpha": 0.6}
    show.paths(axes, lambda d: d.contours[task], **look, shown=sampled)
    show.points(axes, lambda d: d.optima[task], marker="*", color=color, markersize=13, shown=sampled)
    beside = {"color": color, "fontsize": 9, "va": "center", "path_effects": HALO, "clip_on": True, "shown": sampled}
    show.text(axes, lambda d: np.add(d.optima[task], (0.12, 0)), None, f"task {task + 1}", **beside)
    inner = {"color": color, "linestyle": "-", "marker": ".", "markersize": 7, "zorder": 5, "shown": walked}
    show.line(axes, lambda d: d.paths[task], **inner)
    end = {"marker": plots.MARKERS[task + 1], "color": color, "markersize": 9, "markeredgecolor": "white"}
    show.points(axes, lambda d: d.paths[task][-1], **end, zorder=5, shown=walked)
    first = lambda d: d.paths[task][min(1, d.used)] - d.paths[task][0]
    now = lambda d: d.stage == 1 + 2 * task and d.used > 0
    show.arrows(axes, lambda d: d.paths[task][0], first, color=color, zorder=5.5, shown=now)


def arrow(axes: Axes, show, method: str) -> None:
    """The step that a method would take, and its name; the chosen one thick."""
    color = plots.METHODS[method]["color"]
    for chosen, width in ((False, 0.004), (True, 0.013)):
        shown = lambda d, chosen=chosen: method in steps_shown(d) and (method == d.method) == chosen
        way = lambda d: d.arrows[method]
        show.arrows(axes, "from", way, color=color, width=width, zorder=6 + chosen, shown=shown)
    weight = lambda d: "bold" if method == d.method else "normal"
    look = {"fontsize": 9.5, "ha": "center", "va": "center", "zorder": 8, "clip_on": True, "color": INKS[method]}
    place = lambda d: names_at(d).get(method, (0, 0))
    shown = lambda d: method in steps_shown(d)
    show.text(axes, place, None, plane.METHODS[method], **look, path_effects=HALO, fontweight=weight, shown=shown)


def steps_shown(d) -> list[str]:
    """The methods that move, at the line that moves theta."""
    return [m for m, way in d.arrows.items() if d.stage == ARROW_STAGE and np.hypot(*way) > 1e-9]


def names_at(d) -> dict[str, np.ndarray]:
    """Places beyond the tips of the arrows shown, kept apart."""
    shown = steps_shown(d)
    if not shown:
        return {}
    ways = np.array([d.arrows[m] for m in shown])  # [methods, 2]
    tips = d["from"] + ways * (1 + 0.22 / np.hypot(*ways.T).clip(0.2))[:, None]
    x, y = (np.clip(tips[:, i], *ends) for i, ends in enumerate(NAMES_WITHIN))
    return {m: np.array(place) for m, *place in zip(shown, x, plots.spread(y, 0.2, *NAMES_WITHIN[1]))}


def status(d) -> str:
    """What happens at this line, with its numbers: two short lines."""
    stage, k = d.stage, d.used
    phase, amplitude = d.now
    if stage < 0:
        return f"θ = ({phase:.2f}, {amplitude:.2f}): one wave,\nnot fitted to anything."
    if stage == 0:
        return "Three new tasks. Every one of them\nwill start from the same θ."
    if stage < ARROW_STAGE:
        task, first = (stage + 1) // 2, d.support_losses[0][(stage - 1) // 2]
        last = d.support_losses[-1][(stage - 1) // 2]
        if k == 0:
            return f"Task {task}: k = 0, so nothing adapts.\nSupport loss {first:.2f}."
        if stage % 2:
            return f"Task {task}: the gradient of its support loss,\n{first:.2f} at θ."
        return f"Task {task}: {several(k, 'step')}, from θ. Its support\nloss went from {first:.2f} to {last:.2f}."
    where = "θ′" if k else "θ"
    if stage == ARROW_STAGE:
        return f"Mean query loss at {where}: {d.query_loss:.2f}.\nThe thick arrow is the outer step."
    return f"θ moved to ({phase:.2f}, {amplitude:.2f}).\nThe adapted weights are thrown away."


def words(d) -> str:
    dx, dy = d.arrows[d.method]
    return (
        f"Algorithm 1 at line {d.line} of outer step {d.round + 1}, {plane.METHODS[d.method]} with k = {d.used}. "
        f"{status(d)} The outer step is ({dx:+.2f}, {dy:+.2f}) in (phase, amplitude)."
    ).replace("\n", " ")


demo = declare(
    "Algorithm 1, step by step",
    [
        Slider("position", 0, POSITIONS - 1, 1 + ARROW_STAGE, "walk the lines"),
        Choice("method", plane.METHODS, "maml", "outer step of"),
        Slider("steps", 0, 8, 3, "inner steps k"),
        *plane.rate_sliders(highest_inner=0.4, highest_outer=1.0, outer=0.6),
        Button("new_tasks", "other tasks"),
        plane.start_point(),
    ],
    compute,
    picture,
    words,
    size=(10.0, 5.4),
    views={
        "one theta for all tasks": {"position": 1},
        "a task adapts": {"position": 3},
        "the outer step": {},
        "nothing adapts": {"steps": 0},
        "four outer steps later": {"position": POSITIONS - 1},
    },
)
