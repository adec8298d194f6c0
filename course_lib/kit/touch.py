"""Controls that have no row beside the picture: points of the picture itself, moved by hand (``show.handle``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from course_lib.kit.controls import Control


@dataclass(frozen=True)
class Point(Control):
    """A point of the picture, (x, y), that is dragged there (``show.handle``); it has no row among the controls.

    >>> Point("theta", (0.0, 1.0), (-2, 2), (-2, 2)).clean((3, 0.5))
    (2.0, 0.5)
    """

    default: tuple[float, float]
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    label: str = ""
    help: str = ""

    @property
    def ends(self) -> tuple:
        return (self.x_range[0], self.y_range[0]), (self.x_range[1], self.y_range[1])

    def text(self, value: tuple) -> str:
        return f"({value[0]:.3g}, {value[1]:.3g})"

    def word(self, value: tuple) -> str:
        return ",".join(f"{number:g}" for number in value)

    def clean(self, value: Sequence[float]) -> tuple[float, float]:
        try:
            x, y = (float(f"{number:.4g}") for number in value)
        except (TypeError, ValueError):
            raise ValueError(f"{self.name} is a point (x, y), got {value!r}.") from None
        ends = zip((x, y), (self.x_range, self.y_range))
        return tuple(float(min(max(number, low), high)) for number, (low, high) in ends)

    def heard(self, answer: Any) -> Any:
        return answer

    place = heard


@dataclass(frozen=True)
class Points(Control):
    """Places on the x axis that are set and taken by a click on the picture (``show.handle``); None until one is
    touched.

    A move of a control named in ``until`` forgets them: then the demo's own points are back.

    >>> Points("support", (-5, 5)).clean([2.0, 7.0, -1.0])
    (2.0, 5.0, -1.0)
    """

    x_range: tuple[float, float]
    until: tuple[str, ...] = ()
    most: int = 20
    label: str = ""
    help: str = ""
    default = None

    @property
    def ends(self) -> tuple:
        low, high = self.x_range
        return None, (low, (low + high) / 2, high)

    def word(self, value: tuple | None) -> str:
        return ",".join(f"{number:g}" for number in value or ())

    def clean(self, value: Sequence[float] | None) -> tuple[float, ...] | None:
        low, high = self.x_range
        if value is None or len(value) == 0:
            return None
        return tuple(float(f"{min(max(x, low), high):.4g}") for x in value)[: self.most]  # one dragged keeps its place

    def heard(self, answer: Any) -> Any:
        return answer

    place = heard


def touched(demo: Any, number: int, index: int | None, xy: tuple[float, float] | None) -> dict[str, Any]:
    """The changes that moving point ``index`` of a handle to ``xy`` makes; None as index sets a new point there, and
    None as place takes the point away."""
    handle = demo.picture.show.handles[number]
    if not isinstance(handle.moves, str):
        moved = {name: (demo.controls[name], to) for name, to in zip(handle.moves, xy or ()) if name}
        return {name: min(max(to, control.low), control.high) for name, (control, to) in moved.items()}
    if isinstance(demo.controls[handle.moves], Point):
        return {handle.moves: xy} if xy else {}
    points = demo.values[handle.moves]  # the picture may not have come to the newest yet
    points = list(points or (float(x) for x, _ in handle.where(demo.data)))
    if xy is None:
        del points[index : index + 1]  # nothing, if it has gone already
    elif index is None or index >= len(points):
        points.append(xy[0])
    else:
        points[index] = xy[0]
    return {handle.moves: points}


def nudged(demo: Any, number: int, index: int, right: int, up: int) -> tuple[float, float]:
    """Where an arrow key takes a point: a hundredth of the axes along."""
    handle = demo.picture.show.handles[number]
    to_parts = handle.axes.transData + handle.axes.transAxes.inverted()
    parts = to_parts.transform(handle.where(demo.data)[index]) + 0.01 * np.array((right, up))
    return tuple(to_parts.inverted().transform(parts.clip(0, 1)).tolist())
