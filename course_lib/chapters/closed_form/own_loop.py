"""A student's own MAML beside the same loop with its head solved for: both train live, one task after another.

``demo(inner_loop, solved_head)`` takes the two functions of a notebook; each outer step draws five sinusoids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from course_lib.kit import plots
from course_lib.kit.demo import Button, Demo, Notches
from course_lib.kit.growing import Growing, race
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks

ITERATIONS, META_BATCH, INNER_LR, OUTER_LR = 300, 5, 0.01, 3e-3
LOOK_EVERY, WINDOW = 2, 25  # outer steps between pictures, and of the running median
TASKS = SinusoidTasks(shots=10, queries=10)
NAMES = {"stepped": "your MAML", "solved": "head solved"}
ZERO = 4.25  # what predicting zero costs
LIMITS = (0.005, 20)

Loop = Callable[[MLP, dict, Tensor, Tensor], dict]  # (model, params, x, y) of one task -> its adapted params


def train(adapt: Loop, seed: int) -> Iterator[float]:
    """The query loss at each outer step."""
    model, generator = MLP(seed=seed), torch.Generator().manual_seed(seed)
    theta = dict(model.named_parameters())
    updates = torch.optim.Adam(theta.values(), OUTER_LR)
    for _ in range(ITERATIONS):
        batch, of_tasks = TASKS.sample(META_BATCH, generator=generator), []
        for x, y, query_x, query_y in zip(batch.support_x, batch.support_y, batch.query_x, batch.query_y):
            adapted = adapt(model, theta, x, y)
            of_tasks.append((functional_call(model, adapted, (query_x,)) - query_y).square().mean())
        loss = torch.stack(of_tasks).mean()
        updates.zero_grad()
        loss.backward()
        updates.step()
        yield loss.item()


def running_median(losses: np.ndarray) -> np.ndarray:
    return np.array([np.median(losses[max(0, i - WINDOW + 1) : i + 1]) for i in range(len(losses))])


def demo(inner_loop: Callable, solved_head: Callable) -> Demo:
    """Train with ``inner_loop(model, params, x, y, steps, inner_lr)``; ``solved_head(model, params, x, y, lam)``."""

    @lru_cache(maxsize=None)
    def training(name: str, setting: float, seed: int) -> Growing:
        return Growing(lambda: train(loops(setting)[name], seed))

    def loops(setting: float) -> dict[str, Loop]:
        return {
            "stepped": lambda model, params, x, y: inner_loop(model, params, x, y, int(setting), INNER_LR),
            "solved": lambda model, params, x, y: solved_head(model, params, x, y, setting),
        }

    def compute(values: SimpleNamespace) -> Iterator[dict]:
        settings = {"stepped": values.steps, "solved": values.lam}
        runs = {name: training(name, setting, values.seed) for name, setting in settings.items()}
        yield from race(runs, ITERATIONS, LOOK_EVERY)

    lamda = "\N{GREEK SMALL LETTER LAMDA}"
    controls = [
        Notches("steps", (1, 2, 5), 1, "inner steps k of your MAML"),
        Notches("lam", (0.01, 0.1, 1.0), 0.1, f"{lamda} of the solved head"),
        Button("seed", "other tasks, other weights"),
    ]
    look = {"size": (7.6, 3.6), "typed": "own_loop.demo(inner_loop_of_02, solved_head).set"}
    return Demo("Your own MAML, and the same with its head solved", controls, compute, picture, words, **look)


def picture(fig, show) -> None:
    panel = fig.subplots()
    panel.set(yscale="log", xlim=(0, ITERATIONS), ylim=LIMITS, xlabel="outer step", ylabel="query loss")
    panel.set_yticks([0.01, 0.1, 1, 10], ["0.01", "0.1", "1", "10"])
    show.level(panel, ZERO, "predicting zero")
    at = lambda d: np.arange(1, d.at + 1)
    for name, method in {"stepped": "maml", "solved": "ridge"}.items():
        color = plots.METHODS[method]["color"]
        show.line(panel, at, lambda d, n=name: np.clip(d[n], *LIMITS), color=color, linewidth=0.7, alpha=0.4)
        middle = lambda d, n=name: running_median(d[n]).clip(*LIMITS)
        show.line(panel, at, middle, color=color, linestyle="-", linewidth=2.6, end=NAMES[name])
    show.title(
        panel,
        lambda d: f"After {d.at} outer steps: {end(d, 'stepped'):.2g} stepped, {end(d, 'solved'):.2g} solved",
    )


def end(d, name: str) -> float:
    """The median loss of the last WINDOW outer steps."""
    return float(np.median(d[name][-WINDOW:]))


def words(d) -> str:
    return (
        f"Query loss over {d.at} outer steps of {META_BATCH} sinusoids; in the last {WINDOW} of them the median "
        f"is {end(d, 'stepped'):.2g} for the stepped loop (k = {d.steps}), {end(d, 'solved'):.2g} with the head solved."
    )
