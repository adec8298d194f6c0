"""Characters for game and demos: whichever pictures are at hand, who labels them, and a sheet of small pictures.

Omniglot is used where it is on this machine; nothing is downloaded. Else drawn glyphs stand in, and every
title says which of the two it shows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor

from course_lib import checkpoints
from course_lib.inner_loop import predict
from course_lib.kit import plots
from course_lib.tasks import GlyphTasks, OmniglotMissing, OmniglotTasks, TaskBatch
from course_lib.tasks.episodes import CharacterTasks

TILE, FRAME = 28, 3  # pixels: a picture, and the frame around it
LABEL = 0.62  # width of a number beside a picture, in pictures
RIGHT, WRONG, PLAIN = plots.BLUE, plots.ORANGE, "#bbbbbb"


@lru_cache(maxsize=16)
def pool(**settings) -> CharacterTasks:
    """Tasks of characters never trained on: of Omniglot's evaluation alphabets, or of drawn glyphs."""
    try:
        return OmniglotTasks("test", download=False, **settings)
    except OmniglotMissing:  # the titles say so
        return GlyphTasks("test", **settings)


def name() -> str:
    """What the pictures are, for titles: "Omniglot" or "drawn glyphs"."""
    return pool().name.partition(" (")[0]


@lru_cache(maxsize=16)
def episode(ways: int, shots: int, queries: int, seed: int, rotations: bool = False, within: bool = False) -> TaskBatch:
    """One task. More ways or shots with the same seed add to the task without changing the rest."""
    tasks = pool(ways=ways, shots=shots, queries=queries, rotations=rotations, within_alphabet=within)
    return tasks.sample(1, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def labels(judge: str, task: TaskBatch) -> Tensor:
    """The labels [Q] that "truth", "pixels" (the nearest support picture) or a checkpoint's network gives the queries
    of one task."""
    if judge == "truth":
        return task.query_y[0]
    if judge == "pixels":
        nearest = torch.cdist(task.query_x[0].flatten(1), task.support_x[0].flatten(1)).argmin(1)  # [Q]
        return task.support_y[0, nearest]
    model, learner, _ = checkpoints.load(judge)
    params = learner.adapt(model.eval(), task.support_x, task.support_y)
    return predict(model, params, task.query_x)[0].argmax(-1)


class Sheet:
    """Pictures with a number and a frame each, in columns, in an axis of fixed limits.

    Args:
        most: how many numbers there may be at most.
    """

    def __init__(self, axis: Axes, most: int, aspect: float = 1.0):
        axis.set(xlim=(0, aspect), ylim=(1, 0), xticks=[], yticks=[], aspect="equal")
        axis.grid(False)
        axis.spines[:].set_visible(False)
        self.aspect = aspect
        self.image = axis.imshow(np.zeros((1, 1, 3)), extent=(0, aspect, 1, 0), interpolation="antialiased")
        centred = {"ha": "center", "va": "center"}
        self.numbers = [axis.text(0, 0, "", fontsize="small", **centred) for _ in range(most)]
        self.mark = axis.add_patch(Rectangle((0, 0), 0, 0, fill=False, linewidth=3, zorder=3))
        self.artists = [self.image, *self.numbers, self.mark]

    def show(
        self,
        groups: Sequence[Tensor],
        labels: Sequence[str],
        colors: Sequence[str],
        columns: int | None = None,
        marked: int | None = None,
    ) -> None:
        """Groups of pictures [n, 28, 28], each with a label to its left and frames of its colour.

        All groups have as many pictures. They fill column after column; ``columns`` None makes the pictures as
        large as they can be. The group ``marked`` gets a heavy box.
        """
        each = len(groups[0])
        columns = columns or self._columns(len(groups), each)
        rows = math.ceil(len(groups) / columns)
        cell = TILE + 2 * FRAME
        label = round(LABEL * cell)
        width, height = columns * (label + each * cell), rows * cell
        side = max(height, math.ceil(width / self.aspect))
        sheet = np.full((side, round(side * self.aspect), 3), 255, np.uint8)
        for number, text in enumerate(self.numbers):
            text.set_visible(number < len(groups))
        for number, (pictures, words, color) in enumerate(zip(groups, labels, colors)):
            column, row = divmod(number, rows)
            left, top = column * (label + each * cell), row * cell
            for i, picture in enumerate(pictures):
                self._paint(sheet, picture, left + label + i * cell, top, color)
            text = self.numbers[number]
            text.set(text=words, position=((left + 0.55 * label) / side, (top + 0.5 * cell) / side))
            text.set_color("black" if color == PLAIN else color)
            text.set_fontweight("bold" if color == WRONG else "normal")
        self.image.set_data(sheet)
        column, row = divmod(0 if marked is None else marked, rows)
        self.mark.set_visible(marked is not None)
        self.mark.set_bounds(
            (column * (label + each * cell) + label) / side, row * cell / side, each * cell / side, cell / side
        )

    def _columns(self, groups: int, each: int) -> int:
        def side(columns: int) -> float:
            return max(math.ceil(groups / columns), columns * (each + LABEL) / self.aspect)

        return min(range(1, groups + 1), key=side)

    @staticmethod
    def _paint(sheet: np.ndarray, picture: Tensor, x: int, y: int, color: str) -> None:
        red_green_blue = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
        thick = 1 if color == PLAIN else 2
        x, y = x + FRAME, y + FRAME
        sheet[y - thick : y + TILE + thick, x - thick : x + TILE + thick] = red_green_blue
        sheet[y : y + TILE, x : x + TILE] = np.round(255 * (1 - picture.numpy()))[..., None]
