"""Boxes, arrows and little plots for schematic figures, on one canvas with one meaning per colour.

    blue, plain       shared by all tasks: what the outer loop learns
    orange, hatched   a task's own: what the inner loop makes
    dashed            a gradient on its way back
    black dot         a support point        pink open diamond   a query (held-out) point

Lengths are hundredths of an inch (a canvas 840 wide fills an 8.4 inch figure), y points up. A chapter's
``lecture_figures.py`` draws the figures it teaches; ``figures/draw.py`` writes them all as SVG.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, Patch, PathPatch, Polygon
from matplotlib.path import Path

from course_lib.kit import plots

Point = tuple[float, float]

INK, QUIET = "#222222", "#595959"
LOOKS = {  # fill, edge, hatch
    "shared": ("#DCEAF5", plots.BLUE, None),
    "task": ("#FDEFE4", plots.ORANGE, "////"),
    "plain": ("#FFFFFF", QUIET, None),
    "panel": ("#F6F6F6", "#CFCFCF", None),
}
HATCH_COLOR = "#F6CFB2"
GAP = 4  # between an arrow's tip and what it points at
HEAD = 13  # length of its tip
CORNER = 10  # radius at which a line turns
WIDTH = 840  # of every figure of the lecture

FONT = {"family": "DejaVu Sans", "usetex": False, "size": 11.0}  # a live diagram is drawn anew outside ``plots.style``
SIZES = {"small": 0.833 * FONT["size"], "large": 1.2 * FONT["size"]}  # Matplotlib's scales


@dataclass(frozen=True)
class LectureFigure:
    """A figure of the lecture, whose notes say what it showed; its name, and its words for who cannot see it.

    ``draw`` takes an empty Matplotlib figure and gives it its size.
    """

    draw: Callable[[Figure], None]
    title: str
    description: str


@dataclass(frozen=True)
class Box:
    """A rectangle with names for the places where arrows begin and end."""

    x: float
    y: float
    width: float
    height: float

    @property
    def center(self) -> Point:
        return self.x + self.width / 2, self.y + self.height / 2

    @property
    def left(self) -> Point:
        return self.x, self.center[1]

    @property
    def right(self) -> Point:
        return self.x + self.width, self.center[1]

    @property
    def top(self) -> Point:
        return self.center[0], self.y + self.height

    @property
    def bottom(self) -> Point:
        return self.center[0], self.y


class Canvas:
    """Drawing by hand on Matplotlib axes, which it empties and scales.

    Args:
        axes: where to draw; what was there goes.
        width, height: of the drawing, in hundredths of an inch when the axes fill a figure of that size.
    """

    def __init__(self, axes: Axes, width: float, height: float):
        for artist in [*axes.patches, *axes.lines, *axes.texts]:  # ``axes.clear`` makes new ticks too, and takes half
            artist.remove()
        axes.set(xlim=(0, width), ylim=(0, height), aspect="equal")
        axes.set_axis_off()
        self.axes, self.width, self.height = axes, width, height

    def text(self, x: float, y: float, words: str, ha: str = "center", va: str = "center", **font) -> None:
        look = {"color": INK, "linespacing": 1.35, "in_layout": False, **FONT, **font}
        look["size"] = SIZES.get(look["size"], look["size"])
        self.axes.text(x, y, words, ha=ha, va=va, **look)

    def note(self, x: float, y: float, words: str, **font) -> None:
        """Smaller words beside the drawing."""
        self.text(x, y, words, **{"size": "small", "color": QUIET, **font})

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        words: str = "",
        look: str = "plain",
        hatched: bool = True,
        **font,
    ) -> Box:
        """A rounded rectangle around words; ``look`` is one of LOOKS, ``hatched`` if that look is."""
        fill, edge, hatch = LOOKS[look]
        rounded = partial(FancyBboxPatch, (x, y), width, height, boxstyle="round,pad=0,rounding_size=7")
        self._fill(rounded, fill, edge, hatch if hatched else None, 1.0 if look == "panel" else 1.6)
        box = Box(x, y, width, height)
        if words:
            self.text(*box.center, words, **font)
        return box

    def circle(self, x: float, y: float, radius: float, words: str, look: str) -> None:
        """A circle around its centre, with words in it."""
        fill, edge, hatch = LOOKS[look]
        self._fill(partial(Circle, (x, y), radius), fill, edge, hatch, 1.6)
        self.text(x, y, words)

    def _fill(self, make: Callable[..., Patch], fill: str, edge: str, hatch: str | None, linewidth: float) -> None:
        """A shape. Before Matplotlib 3.11 a hatch takes its edge's colour: hatched ones are two, the edge above."""
        if hatch:
            self._add(make(facecolor=fill, edgecolor=HATCH_COLOR, hatch=hatch, linewidth=0))
        self._add(make(facecolor="none" if hatch else fill, edgecolor=edge, linewidth=linewidth))

    def column(self, x: float, middle: float, count: int) -> Box:
        """Feature values: a column of circles around the height ``middle``."""
        low = middle - 27 * (count - 1) / 2
        for index in range(count):
            self.circle(x + 15, low + 27 * index, 11, "", "shared")
        return Box(x, low - 15, 30, 30 + 27 * (count - 1))

    def outline(self, x: float, y: float, width: float, height: float, color: str, fill: str = "none") -> Box:
        """A large dashed frame around things that belong together."""
        shape = "round,pad=0,rounding_size=10"
        style = {"facecolor": fill, "edgecolor": color, "linewidth": 1.4, "linestyle": (0, (5, 3))}
        self._add(FancyBboxPatch((x, y), width, height, boxstyle=shape, **style))
        return Box(x, y, width, height)

    def arrow(self, *points: Point, back: bool = False, color: str = "") -> None:
        """An arrow along straight lines with rounded corners; ``back``: a gradient's way, dashed and blue."""
        first, *_ = ends = [np.array(p, dtype=float) for p in points]
        ends[0] = first + GAP * _unit(ends[1] - first)
        ends[-1] = ends[-1] - GAP * _unit(ends[-1] - ends[-2])
        vertices, codes = [ends[0]], [Path.MOVETO]
        for before, corner, after in zip(ends, ends[1:], ends[2:]):
            vertices += [
                corner + CORNER * _unit(before - corner),
                corner,
                corner + CORNER * _unit(after - corner),
            ]
            codes += [Path.LINETO, Path.CURVE3, Path.CURVE3]
        ink = color or (plots.BLUE if back else INK)
        line = Path([*vertices, ends[-1] - HEAD / 2 * _unit(ends[-1] - ends[-2])], [*codes, Path.LINETO])
        dashes = (0, (4, 2.4)) if back else "-"
        self._add(PathPatch(line, facecolor="none", edgecolor=ink, linestyle=dashes, linewidth=1.7, capstyle="butt"))
        along = _unit(ends[-1] - ends[-2])
        across = np.array([-along[1], along[0]])
        base = ends[-1] - HEAD * along
        self._add(Polygon([ends[-1], base + 0.36 * HEAD * across, base - 0.36 * HEAD * across], color=ink, linewidth=0))

    def bracket(self, x: float, low: float, high: float, color: str, lip: float = 8) -> None:
        """A square bracket that opens to the left, from ``low`` to ``high``."""
        self.axes.plot([x - lip, x, x, x - lip], [low, low, high, high], color=color, linestyle="-", linewidth=2.2)

    def dots(self, x: float, y: float, vertical: bool = False, spread: float = 9) -> None:
        """An ellipsis: and so on."""
        for shift in (-spread, 0, spread):
            place = ([x], [y + shift]) if vertical else ([x + shift], [y])
            self.axes.plot(*place, "o", color=QUIET, markersize=3.4)

    def curve(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        amplitude: float,
        phase: float,
        points: Sequence[float],
        query: bool = False,
        line: bool = False,
    ) -> Box:
        """A small plot of a task: points of amplitude * sin(t - phase) at ``points`` (0..1 of the width).

        ``query`` draws them as held-out points; ``line`` adds the curve.
        """
        box = self.box(x, y, width, height)
        inner = Box(x + 0.08 * width, y + 0.14 * height, 0.84 * width, 0.72 * height)
        share = np.linspace(0, 1, 60)
        height_at = lambda t: inner.center[1] + inner.height / 2 * amplitude * np.sin(2 * np.pi * t - phase)
        across = lambda t: inner.x + inner.width * t
        if line:
            self.axes.plot(across(share), height_at(share), **{**plots.TRUTH, "linewidth": 1.4})
        points = np.asarray(points)
        look = plots.QUERY if query else plots.SUPPORT
        self.axes.plot(across(points), height_at(points), **{**look, "markersize": 5.2})
        return box

    def _add(self, patch) -> None:
        patch.set(clip_on=False, in_layout=False)  # what is in the axes takes no room round them
        self.axes.add_artist(patch)  # and gives them no limits, which ``add_patch`` would look for


def full_canvas(fig: Figure, width: float, height: float) -> Canvas:
    """A canvas that fills the figure, which takes its size."""
    fig.set_size_inches(width / 100, height / 100)
    return Canvas(fig.add_axes((0, 0, 1, 1)), width, height)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
