"""What a figure that is drawn again and again need not find anew: how much room its axes take, and where ticks are.

Matplotlib's constrained layout measures all axes twice at each drawing, and each time, as each title and each label
does, finds the ticks and the extent of their words again: ten times in a drawing, and most of what it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

SAME = 1e-3  # pixels


class SettledLayout(ConstrainedLayoutEngine):
    """Constrained layout, run only where axes take other room round themselves than when it last ran."""

    def __init__(self):
        super().__init__()
        self._laid_out: dict[Any, np.ndarray] = {}  # the room each axes took when it last ran, and the figure's size

    def execute(self, figure: Figure) -> None:
        if figure.canvas.is_saving():  # by another canvas, with all artists
            self._laid_out = {}
            return super().execute(figure)
        renderer, before = figure.canvas.get_renderer(), self._laid_out
        now = {axes: _room(axes, renderer) for axes in figure.axes}
        now[figure] = np.array((*figure.bbox.size, figure.dpi))
        if now.keys() != before.keys() or any(np.abs(now[one] - before[one]).max() > SAME for one in now):
            self._laid_out = now
            super().execute(figure)


def _room(axes: Axes, renderer: Any) -> np.ndarray:
    """How far ticks, labels and the like stand out of the axes, in pixels: left, bottom, right, top."""
    box = axes.get_tightbbox(renderer, for_layout_only=True)
    place = axes.get_position(original=True).transformed(axes.figure.transSubfigure)
    return np.zeros(4) if box is None else np.subtract(box.extents, place.extents)


FOUND = ("_update_ticks", "_get_ticklabel_bboxes", "_update_label_position", "get_tightbbox")  # of an axis


@contextmanager
def ticks_found_once(figure: Figure, ticks: dict) -> Iterator[None]:
    """Meanwhile axes find their ticks, the boxes of their words, and their room, once for each place and range.

    ``ticks`` keeps what was found of ticks until the axes are stale; but for their room, which moving words change.
    """
    finds = [(axis, name) for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for name in FOUND]
    for one, name in finds:
        if one.axes.stale or (one, name) not in ticks:
            ticks[one, name] = [None, {}]
        setattr(one, name, _once(one.axes, getattr(one, name), ticks[one, name]))
    for axes in figure.axes:
        axes.get_tightbbox = _once(axes, axes.get_tightbbox, [None, {}])
    try:
        yield
    finally:
        for one, name in [*finds, *((axes, "get_tightbbox") for axes in figure.axes)]:
            delattr(one, name)


def _once(axes: Axes, find: Callable, last: list) -> Callable:
    """``last``: where the axes were, and what was found there; for the layout less is counted than else."""

    def found(*given: Any, **how: Any) -> Any:
        where = *axes.bbox.bounds, *axes.viewLim.bounds
        if last[0] != where:
            last[:] = where, {}
        if (key := tuple(how.items())) not in last[1]:
            last[1][key] = find(*given, **how)
        return last[1][key]

    return found
