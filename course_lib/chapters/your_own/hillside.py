"""One square of the map from a few measured points: the true hillside and three guesses, live.

The network is R2D2's, trained for 300 outer steps when the demo is first shown, some seconds.
"""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from course_lib.algorithms import R2D2
from course_lib.chapters.your_own.template import Hills, load_map, make_model, nearest_point
from course_lib.inner_loop import predict
from course_lib.kit import plots
from course_lib.kit.demo import Button, Notches, declare
from course_lib.tasks import TaskBatch
from course_lib.training import meta_train

SHOTS, SIDE, ITERATIONS, OUTER_LR = (3, 5, 10, 20), 24, 300, 3e-3
METRES = 75  # a unit of height
NOISE = 0.1  # of the Gaussian process, in units squared
GUESSES = {"nearest": "nearest point", "process": "Gaussian process", "learnt": "learnt (R2D2)"}


def gaussian_process(batch: TaskBatch, length: float) -> Tensor:
    """What smooth hills of that ``length`` (places are in -1 to 1) would be at the query points [T, Q, 1]."""
    alike = lambda a, b: torch.exp(-torch.cdist(a, b).square() / (2 * length**2))
    kernel = alike(batch.support_x, batch.support_x)  # [T, S, S]
    noise = NOISE * torch.eye(kernel.shape[-1], dtype=kernel.dtype)
    weights = torch.linalg.solve(kernel + noise, batch.support_y)  # [T, S, 1]
    return alike(batch.query_x, batch.support_x) @ weights


@lru_cache(maxsize=1)
def learnt():
    """The trained network and its learner."""
    learner, model = R2D2(), make_model(0)
    tasks = Hills(load_map()["train"])
    return learner, meta_train(learner, model, tasks, ITERATIONS, outer_lr=OUTER_LR, progress=False)[0]


@lru_cache(maxsize=64)
def square(draw: int, shots: int) -> tuple[np.ndarray, TaskBatch]:
    """One whole square of the test part in units [SIDE, SIDE], and its points; its queries are all its places."""
    generator = torch.Generator().manual_seed(draw)
    region = load_map()["test"]
    row, column = (int(torch.randint(length - SIDE, (1,), generator=generator)) for length in region.shape)
    heights = region[row : row + SIDE, column : column + SIDE]
    cells = torch.randperm(SIDE * SIDE, generator=generator)[:shots]  # more shots keep the first ones
    centers = (torch.arange(SIDE) + 0.5) / SIDE * 2 - 1
    places = torch.stack(torch.meshgrid(centers, centers, indexing="ij"), -1).flatten(0, 1)  # [SIDE^2, 2]
    y = heights.flatten()[:, None]
    y = (y - y[cells].mean()) / METRES
    return y.view(SIDE, SIDE).numpy(), TaskBatch(places[None, cells], y[None, cells], places[None], y[None])


def compute(values: SimpleNamespace) -> dict:
    truth, batch = square(values.square, values.shots)
    learner, model = learnt()
    adapted = learner.adapt(model, batch.support_x, batch.support_y)
    with torch.no_grad():
        guesses = {
            "nearest": nearest_point(batch),
            "process": gaussian_process(batch, values.length),
            "learnt": predict(model, adapted, batch.query_x),
        }
    errors = {name: float((guess - batch.query_y).square().mean()) for name, guess in guesses.items()}
    images = {name: guess.view(SIDE, SIDE).numpy() for name, guess in guesses.items()}
    at = (batch.support_x[0].flip(1).numpy() + 1) / 2 * SIDE - 0.5  # [S, 2]: column, row
    return {"images": images | {"truth": truth}, "errors": errors, "at": at, "reach": float(np.abs(truth).max())}


def picture(fig, show) -> None:
    panels = fig.subplots(1, 4)
    for panel, name in zip(panels, ("truth", *GUESSES)):
        panel.set(xticks=[], yticks=[], xlim=(-0.5, SIDE - 0.5), ylim=(SIDE - 0.5, -0.5))
        panel.grid(False)
        scaled = lambda d, name=name: (d.images[name] / d.reach).clip(-1, 1)
        show.image(panel, scaled, vmin=-1, vmax=1, cmap="cividis", extent=(-0.5, SIDE - 0.5, SIDE - 0.5, -0.5))
        look = {"color": plots.INK, "markerfacecolor": "white", "markersize": 5}
        show.points(panel, "at", **look)
        title = (lambda d, n=name: f"{GUESSES[n]}: {d.errors[n]:.2f}") if name in GUESSES else "The hillside"
        show.title(panel, title, fontsize=10.5)
    panels[0].set_xlabel("blue is low, yellow is high")


def words(d) -> str:
    errors = ", ".join(f"{GUESSES[name]} {error:.2f}" for name, error in d.errors.items())
    return (
        f"A square of 24 by 24 heights guessed from {d.shots} of them. Mean squared error in units of 75 m: {errors}."
    )


demo = declare(
    "A hillside from a few points",
    [
        Notches("shots", SHOTS, 10, "measured points"),
        Notches("length", (0.2, 0.3, 0.5, 0.8, 1.2), 0.5, "length of the Gaussian process"),
        Button("square", "another square"),
    ],
    compute,
    picture,
    words,
    size=(9.6, 2.9),
)
