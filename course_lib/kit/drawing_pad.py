"""A square to draw on, as a control of a demo: its value is the strokes (``front/pad.js``).

Keys on a pad that has the focus: the arrows move a pen, the space bar puts it down and lifts it, Backspace takes the
last stroke back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from course_lib.kit.controls import Control

Strokes = tuple[tuple[tuple[float, float], ...], ...]  # strokes of points (x, y) in 0..1, y down
BLANK: Strokes = ()


def clean_strokes(value: Any) -> Strokes:
    """Strokes as tuples of points within the pad; strokes without points are left out.

    Raises:
        ValueError: for anything but strokes of finite points (x, y).

    >>> clean_strokes([np.array([[0.5, 0.5], [1.5, 0.5]]), []])
    (((0.5, 0.5), (1.0, 0.5)),)
    """
    strokes = []
    for stroke in value:
        points = np.asarray(stroke, dtype=np.float64)
        if points.size and (points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all()):
            raise ValueError(f"a stroke is a list of finite points (x, y), not an array {points.shape}")
        if points.size:
            strokes.append(tuple((float(x), float(y)) for x, y in points.clip(0, 1)))
    return tuple(strokes)


@dataclass(frozen=True)
class Drawing(Control):
    """A control whose value is what was drawn on a pad. ``ends``: a blank pad, and one with a cross."""

    default: Strokes = BLANK
    label: str = ""
    help: str = ""

    @property
    def ends(self) -> tuple[Strokes, Strokes]:
        return BLANK, (((0.2, 0.2), (0.8, 0.8)), ((0.8, 0.2), (0.2, 0.8)))

    def text(self, value: Strokes) -> str:
        return f"{len(value)} strokes"

    def clean(self, value: Any) -> Strokes:
        return clean_strokes(value)

    def heard(self, answer: Any) -> Any:
        return answer

    place = heard
