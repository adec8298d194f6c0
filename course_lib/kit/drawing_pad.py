"""A square to draw on, as a control of a demo: its value is the strokes, with mouse, finger or keys.

Keys on a pad that has the focus: the arrows move a pen, the space bar puts it down and lifts it, Backspace
takes the last stroke back, Tab leaves the pad.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ipywidgets
import numpy as np
import traitlets
from ipycanvas import Canvas, hold_canvas

from course_lib.kit import plots

Strokes = tuple[tuple[tuple[float, float], ...], ...]  # strokes of points (x, y) in 0..1, y down
BLANK: Strokes = ()

PIXELS = 124  # to a side: six pads stand in a row
PEN = 6.0  # pixels: as wide for the pad as Omniglot's pen for its canvas
STEP = 0.05  # sides that an arrow key moves the pen
ARROWS = {"ArrowLeft": (-1, 0), "ArrowRight": (1, 0), "ArrowUp": (0, -1), "ArrowDown": (0, 1)}


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
class Drawing:
    """A control whose value is what was drawn on a pad. ``ends``: a blank pad, and one with a cross."""

    name: str
    default: Strokes = BLANK
    label: str = ""
    help: str = ""

    @property
    def ends(self) -> tuple[Strokes, Strokes]:
        return BLANK, (((0.2, 0.2), (0.8, 0.8)), ((0.8, 0.2), (0.2, 0.8)))

    def clean(self, value: Any) -> Strokes:
        return clean_strokes(value)

    def widget(self) -> ipywidgets.Widget:
        return Pad(self.default, self.label)


class Pad(ipywidgets.VBox):
    """The canvas with its undo and clear buttons. ``value`` is the strokes, and changes while one is drawn."""

    value = traitlets.Tuple()

    def __init__(self, strokes: Strokes = BLANK, label: str = ""):
        size = {"width": f"{PIXELS}px", "height": f"{PIXELS}px"}
        self.canvas = Canvas(width=PIXELS, height=PIXELS, layout=ipywidgets.Layout(**size))
        self.canvas.add_class("drawing-canvas")
        self.undo = self._button("undo", f"Take back the last stroke: {label}")
        self.clear = self._button("clear", f"Clear: {label}")
        title = ipywidgets.Label(label)
        super().__init__([title, self.canvas, ipywidgets.HBox([self.undo, self.clear])], value=strokes)
        self.drawing = False  # whether the pen is down
        self.pen = (0.5, 0.5)  # where the keys have moved it
        self.undo.on_click(lambda _: self.take_back())
        self.clear.on_click(lambda _: self.blank())
        self.observe(lambda _: self._paint(), "value")
        self.canvas.on_client_ready(self._paint)
        self.canvas.on_mouse_down(self.press)
        self.canvas.on_mouse_move(self.move)
        self.canvas.on_mouse_up(self.lift)
        self.canvas.on_mouse_out(self.lift)
        self.canvas.on_touch_start(lambda fingers: self.press(*fingers[0]))
        self.canvas.on_touch_move(lambda fingers: self.move(*fingers[0]))
        self.canvas.on_touch_end(lambda fingers: self.lift())
        self.canvas.on_touch_cancel(lambda fingers: self.lift())
        self.canvas.on_key_down(self.key)
        self._paint()

    @staticmethod
    def _button(text: str, tooltip: str) -> ipywidgets.Button:
        button = ipywidgets.Button(description=text, tooltip=tooltip)
        button.add_class(f"drawing-{text}")
        return button

    # What a hand does, in the canvas's pixels -------------------------------------------------------------

    def press(self, x: float, y: float) -> None:
        """The pen comes down: a new stroke."""
        self.drawing = True
        self.value = (*self.value, (self._point(x, y),))

    def move(self, x: float, y: float) -> None:
        """The pen moves; it leaves ink where it is down."""
        if self.drawing and self.value:
            *before, stroke = self.value
            self.value = (*before, (*stroke, self._point(x, y)))

    def lift(self, x: float | None = None, y: float | None = None) -> None:
        """The pen goes up, or leaves the pad."""
        self.drawing = False

    def key(self, key: str, shift: bool = False, ctrl: bool = False, meta: bool = False) -> None:
        """A key was pressed while the canvas had the focus; it keeps all keys, so Tab must be passed on."""
        if key == "Tab":
            self.drawing = False
            (self.canvas.blur if shift else self.undo.focus)()
        elif key == "Backspace":
            self.take_back()
        elif key == " ":
            if self.drawing:
                self.lift()
            else:
                self.press(*(PIXELS * c for c in self.pen))
        elif key in ARROWS:
            step = zip(self.pen, ARROWS[key])
            self.pen = tuple(min(1.0, max(0.0, at + STEP * by)) for at, by in step)
            self.move(*(PIXELS * c for c in self.pen))
        self._paint(with_pen=key in ARROWS or key == " ")

    def take_back(self) -> None:
        """Without the last stroke."""
        self.drawing = False
        self.value = self.value[:-1]

    def blank(self) -> None:
        """Without any stroke."""
        self.drawing = False
        self.value = BLANK

    @staticmethod
    def _point(x: float, y: float) -> tuple[float, float]:
        return min(1.0, max(0.0, x / PIXELS)), min(1.0, max(0.0, y / PIXELS))

    def _paint(self, with_pen: bool = False) -> None:
        """All strokes, in one message to the browser."""
        with hold_canvas():
            self.canvas.clear()
            self.canvas.line_width, self.canvas.line_cap, self.canvas.line_join = PEN, "round", "round"
            for stroke in self.value:
                points = PIXELS * np.array(stroke)  # [N, 2]
                if len(points) == 1 or np.ptp(points, axis=0).max() == 0:
                    self.canvas.fill_circle(*points[0], PEN / 2)
                else:
                    self.canvas.stroke_lines(points)
            if with_pen:
                x, y = (PIXELS * c for c in self.pen)
                self.canvas.fill_style = plots.ORANGE
                self.canvas.fill_circle(x, y, PEN / 2)
                self.canvas.fill_style = "black"
