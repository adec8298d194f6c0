"""Heads on the two-parameter wave: the phase is the body, the amplitude is the head, and a fresh head is a random one.

    f(x) = amplitude * sin(x - phase)

All tasks share one phase, which the outer loop looks for; each has an amplitude of its own, of either sign. The inner
loop moves the head alone, the outer loop the phase. Everything is trained live, the three kinds of heads as one batch.
"""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from course_lib.inner_loop import adapt, predict
from course_lib.kit import plots
from course_lib.kit import two_parameters as plane
from course_lib.kit.demo import Button, Choice, Notches, Slider, declare
from course_lib.losses import mse
from course_lib.tasks import TaskBatch
from course_lib.tasks.sinusoid import X_RANGE, sinusoid

HEADS = {"random": "fresh random heads", "stored": "stored heads", "meta": "one meta-learned head"}
ENDS = {"random": "fresh", "stored": "stored", "meta": "meta"}
LOOKS = {name: plots.METHODS[look] for name, look in zip(HEADS, ("random", "union", "maml"))}
NUM_TASKS, META_BATCH, SHOTS, QUERIES = (12, 60, 600), 4, 5, 10
ITERATIONS, OUTER_LR = 100, 0.05
AMPLITUDES = (0.5, 3.0)  # and the same upside down
START, SHARED = 0.9, 2.0  # the phase before the first update, and the one that all tasks share
PHASE, HEAD = plane.NAMES
SHOWN, SEED = 12, 5  # tasks in the picture; where the draws begin


def points(amplitudes: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """x, y [T, count, 1] on the waves with these amplitudes [T]."""
    x = torch.rand(len(amplitudes), count, 1, generator=generator, dtype=torch.float64)
    x = X_RANGE[0] + (X_RANGE[1] - X_RANGE[0]) * x
    return x, sinusoid(x, amplitudes, torch.full_like(amplitudes, SHARED))


class WaveTasks:
    """Waves with one phase and amplitudes of either sign, fixed by ``seed``, which come back with new points."""

    def __init__(self, num_tasks: int, seed: int):
        unit = torch.rand(2, num_tasks, generator=torch.Generator().manual_seed(SEED + seed), dtype=torch.float64)
        size = AMPLITUDES[0] + (AMPLITUDES[1] - AMPLITUDES[0]) * unit[0]
        self.amplitudes = torch.where(unit[1] < 0.5, -size, size)  # [N]

    def sample(self, num_tasks: int, *, generator: torch.Generator) -> TaskBatch:
        """x, y [T, 5, 1] and [T, 10, 1], float64; ``task_id`` [T] says which waves."""
        task_id = torch.randint(len(self.amplitudes), (num_tasks,), generator=generator)
        x, y = points(self.amplitudes[task_id], SHOTS + QUERIES, generator)
        return TaskBatch(x[:, :SHOTS], y[:, :SHOTS], x[:, SHOTS:], y[:, SHOTS:], task_id, {})


def random_amplitudes(count: int, generator: torch.Generator) -> Tensor:
    """Fresh heads as ``nn.Linear`` draws them for one feature: uniform in -1 to 1 [count]."""
    return 2 * torch.rand(count, generator=generator, dtype=torch.float64) - 1


class Trained(NamedTuple):
    """The three kinds of HEADS before every update."""

    phases: Tensor  # [101, 3]
    heads: Tensor  # [101, 3, N] what each task's next visit would begin with


@lru_cache(maxsize=8)
def drawn(num_tasks: int, draw: int) -> tuple[Tensor, Tensor, list[tuple[Tensor, ...]]]:
    """The meta-learned head [1] and the stored ones [N] at first; of each iteration the task_id [T], the fresh heads
    [N], and support x, y, query x, y, once for each kind of head [3 T, ...]."""
    tasks, generator = WaveTasks(num_tasks, draw), torch.Generator().manual_seed(SEED + 1000 + draw)
    meta, table = random_amplitudes(1, generator), random_amplitudes(num_tasks, generator)
    visits = []
    for _ in range(ITERATIONS + 1):
        batch = tasks.sample(META_BATCH, generator=generator)
        parts = batch.support_x, batch.support_y, batch.query_x, batch.query_y
        fresh = random_amplitudes(num_tasks, generator)
        visits.append((batch.task_id, fresh, *(part.repeat(len(HEADS), 1, 1) for part in parts)))
    return meta, table, visits


def adapted(phase: Tensor, head: Tensor, x: Tensor, y: Tensor, steps: int, inner_lr: float) -> Tensor:
    """Heads [T] after k gradient steps on the mean squared error of x, y [T, S, 1], phases [T] held fixed.

    In closed form: each step multiplies the distance to the best head by the same number.
    """
    z = torch.sin(x - phase[:, None, None])  # [T, S, 1] the one feature
    curvature = z.square().mean((1, 2))  # [T] half of it
    best = (z * y).mean((1, 2)) / curvature
    return best + (1 - 2 * inner_lr * curvature) ** steps * (head - best)


@lru_cache(maxsize=64)
def train(steps: int, inner_lr: float, num_tasks: int, draw: int) -> Trained:
    """Train the phase with each kind of head on the same tasks and points; about a twentieth of a second."""
    meta, table, visits = drawn(num_tasks, draw)
    phase, meta = torch.full((len(HEADS),), START, dtype=torch.float64), meta.clone()  # [3], [1]
    optimizer = torch.optim.Adam([phase.requires_grad_(), meta.requires_grad_()], lr=OUTER_LR)
    phases, heads = [], []
    for i, fresh, support_x, support_y, query_x, query_y in visits:
        heads.append(torch.stack([fresh, table, meta.detach().expand(num_tasks)]))
        phases.append(phase.detach().clone())
        begin = torch.cat([fresh[i], table[i], meta.expand(META_BATCH)])  # [3 T]
        each = phase.repeat_interleave(META_BATCH)  # [3 T]
        after = adapted(each, begin, support_x, support_y, steps, inner_lr)
        outputs = after[:, None, None] * torch.sin(query_x - each[:, None, None])
        optimizer.zero_grad()
        (mse(outputs, query_y).sum() / META_BATCH).backward()
        optimizer.step()
        table = table.clone()
        table[i] = after.detach().view(len(HEADS), META_BATCH)[1]
    return Trained(torch.stack(phases), torch.stack(heads))


def astray(phases: Tensor) -> Tensor:
    """How far a phase is from the nearest that solves all tasks: a wave half a period on is the same, upside down."""
    half = torch.pi / 2
    return (torch.remainder(phases - SHARED + half, torch.pi) - half).abs()


def arrivals(phases: Tensor, within: float = 0.2) -> Tensor:
    """The iteration from which each kind's phase stays that near to home [3]; 101 if it does not."""
    away = astray(phases) >= within  # [101, 3]
    last = torch.where(away.any(0), len(phases) - away.int().flip(0).argmax(0), 0)
    return last


def pushes(trained: Trained, iteration: int, steps: int, inner_lr: float, draw: int) -> tuple[Tensor, Tensor]:
    """Each kind's heads after k steps on five points, and the way each sends the phase, -dL / dphase: [3, N] each.

    The way is the gradient of a task's loss on 100 points with its head held fixed.
    """
    kinds, num_tasks = trained.heads.shape[1:]
    amplitudes, generator = WaveTasks(num_tasks, draw).amplitudes, torch.Generator().manual_seed(SEED + 2000 + draw)
    x, y = (part.repeat(kinds, 1, 1) for part in points(amplitudes, SHOTS + 100, generator))  # [3 N, 105, 1]
    phase = trained.phases[iteration].repeat_interleave(num_tasks)[:, None].requires_grad_()  # [3 N, 1]
    params = {PHASE: phase, HEAD: trained.heads[iteration].reshape(-1, 1, 1).clone().requires_grad_()}
    few = x[:, :SHOTS], y[:, :SHOTS]
    head = adapt(plane.wave(), params, *few, loss_fn=mse, steps=steps, lr=inner_lr, only="head")[HEAD].detach()
    loss = mse(predict(plane.wave(), {PHASE: phase, HEAD: head}, x[:, SHOTS:]), y[:, SHOTS:])  # [3 N]
    (gradient,) = torch.autograd.grad(loss.sum(), phase)
    return head.view(kinds, num_tasks), -gradient.view(kinds, num_tasks)


def wrong_way(ways: Tensor, phases: Tensor) -> Tensor:
    """The share of tasks that send each kind's phase away from home: ways [3, N], phases [3] -> [3]."""
    home = torch.remainder(SHARED - phases + torch.pi / 2, torch.pi) - torch.pi / 2  # [3] the way there
    return (ways * home[:, None] < 0).double().mean(1)


def compute(values: SimpleNamespace) -> dict:
    """Phases over training, and the heads of the chosen kind with their pushes at the chosen iteration."""
    settings = values.steps, values.inner_lr
    trained = train(*settings, values.num_tasks, values.new_tasks)
    heads, ways = pushes(trained, values.iteration, *settings, values.new_tasks)
    kind, now = list(HEADS).index(values.kind), trained.phases[values.iteration]
    amplitudes = WaveTasks(values.num_tasks, values.new_tasks).amplitudes
    return {
        "phases": trained.phases.numpy(),
        "now": now.numpy(),
        "phase": float(now[kind]),
        "amplitudes": amplitudes[:SHOWN].numpy(),
        "heads": heads[kind, :SHOWN].numpy(),
        "ways": ways[kind, :SHOWN].numpy(),
        "wrong": wrong_way(ways, now).numpy(),  # [3]
        "kind_at": kind,
        "home": arrivals(trained.phases).numpy(),
    }


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2, width_ratios=(1.15, 1))
    left.set(xlabel="phase (the body)", ylabel="amplitude (the head)", xlim=(-1.6, 3.6), ylim=(-3.4, 3.4))
    color = lambda d: LOOKS[d.kind]["color"]
    left.axvline(SHARED, color=plots.FAINT, linewidth=1)
    stars = {"marker": "*", "color": plots.INK, "markersize": 11, "markeredgecolor": "white"}
    show.points(left, np.full(SHOWN, SHARED), "amplitudes", **stars)
    left.annotate("a star solves a task", (SHARED, 3.1), (4, 0), textcoords="offset points", fontsize=9, va="center")
    show.mark(left, "phase", linestyle="-", linewidth=1, color=color)
    at = lambda d: np.stack([np.full(SHOWN, d.phase), d.heads], 1)
    along = lambda d: np.stack([np.clip(0.5 * d.ways, -1.4, 1.4), np.zeros(SHOWN)], 1)
    show.arrows(left, at, along, n=SHOWN, color=color, width=0.007)
    show.points(left, at, color=color, markersize=6, markeredgecolor="white")
    sent = lambda d: f"{ENDS[d.kind].capitalize()}: {d.wrong[d.kind_at]:.0%} push the phase the wrong way"
    show.title(left, sent)
    right.set(xlabel="outer step", ylabel="phase", xlim=(0, ITERATIONS), ylim=(-1.6, 3.6))
    show.level(right, SHARED, "home", at=0.02)
    show.level(right, SHARED - np.pi, "home, upside down", at=0.98)
    for row, (kind, text) in enumerate(ENDS.items()):
        look = LOOKS[kind]
        width = lambda d, kind=kind: 3 if d.kind == kind else 1.6
        past = lambda d, row=row: d.phases[:, row]
        show.line(right, range(ITERATIONS + 1), past, **look, markevery=10, linewidth=width, end=text, pin=row == 1)
    show.mark(right, "iteration")
    show.title(right, arrived, fontsize=10.5)


def arrived(d) -> str:
    """When each kind came home."""
    when = [f"{text} {at}" if at <= ITERATIONS else f"{text} never" for text, at in zip(ENDS.values(), d.home)]
    return "Home at: " + ", ".join(when)


def words(d) -> str:
    shares = ", ".join(f"{text} {share:.0%}" for text, share in zip(ENDS.values(), d.wrong))
    return (
        f"{d.num_tasks} waves with one phase, k = {d.steps}. At outer step {d.iteration} the phase is {d.phase:.2f} "
        f"with {HEADS[d.kind]}, {SHARED:g} solves all tasks. Tasks whose head sends the phase the wrong way: {shares}. "
        f"{arrived(d)}."
    )


demo = declare(
    "One phase for all, an amplitude for each",
    [
        Choice("kind", HEADS, "random", "a visit begins with"),
        Slider("iteration", 0, ITERATIONS, 20, "outer step"),
        Slider("steps", 1, 20, 1, "inner steps k"),
        Slider("inner_lr", 0.02, 0.3, 0.06, "inner rate α", 0.02),
        Notches("num_tasks", NUM_TASKS, NUM_TASKS[0], "number of tasks"),
        Button("new_tasks", "other tasks"),
    ],
    compute,
    picture,
    words,
    size=(9.4, 4.4),
    views={
        "fresh heads": {},
        "stored heads": {"kind": "stored"},
        "one head for all": {"kind": "meta"},
        "twenty steps": {"steps": 20},
        "tasks seldom return": {"kind": "stored", "num_tasks": 600},
    },
)
