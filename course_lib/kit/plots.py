"""One look for every picture of the course: colours, marker shapes, sizes; drawing helpers that take data.

Colours are those of Okabe and Ito (2008), which people with any of the common colour-vision deficiencies tell
apart; whatever differs in colour differs in marker shape or dash too, so that a picture survives a black and
white printer. Nothing here trains anything or knows a widget.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager

import matplotlib as mpl
from cycler import cycler
from matplotlib.axes import Axes

# Okabe and Ito, "Color Universal Design" (2008), ordered so that the first ones differ most in lightness too.
BLUE, ORANGE, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
SKY, AMBER, BLACK, GREY = "#56B4E9", "#E69F00", "#000000", "#767676"
COLORS = (BLUE, ORANGE, GREEN, PINK, SKY, AMBER, BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))

# One colour and one marker for a thing wherever it appears in the course.
SUPPORT = {"color": BLACK, "marker": "o", "linestyle": "none"}
QUERY = {"color": PINK, "marker": "D", "linestyle": "none", "markerfacecolor": "white"}
TRUTH = {"color": GREY, "linestyle": "--"}
REFERENCE = {"color": GREY, "linestyle": ":", "linewidth": 1.5}

_SCREEN = {
    "font.size": 11.0,
    "lines.linewidth": 2.0,
    "lines.markersize": 6.0,
    "figure.dpi": 100.0,
}  # points, dots/inch
_LARGE = {
    "font.size": 13.0,
    "lines.linewidth": 2.8,
    "lines.markersize": 8.0,
    "figure.dpi": 130.0,
}  # the lecture hall
_LOOK = {
    "axes.prop_cycle": cycler(color=COLORS, linestyle=DASHES),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": "medium",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "figure.facecolor": "white",
    "image.cmap": "viridis",
    "savefig.dpi": "figure",
    "legend.loc": "upper right",  # "best" searches all data at every redraw (20 ms) and makes the legend jump
    "legend.fontsize": "small",
    "legend.framealpha": 1.0,
    "legend.edgecolor": "#cccccc",
    "text.hinting": "none",  # a third less time for each text, and letters keep their distances
    "svg.fonttype": "none",
    "svg.hashsalt": "course_lib",  # the same drawing gives the same SVG bytes
}


def style(large: bool = False) -> AbstractContextManager:
    """The course's look as a context: ``with style(): figure = Figure()``. ``large`` is for the lecture hall.

    >>> with style(large=True):
    ...     mpl.rcParams["font.size"]
    13.0
    """
    return mpl.rc_context(_LOOK | (_LARGE if large else _SCREEN))


def set_limits(
    axes: Axes, x: tuple[float, float] | None = None, y: tuple[float, float] | None = None
) -> None:
    """Set the limits of an axis only if they changed, so that a live picture keeps its saved background.

    ``Axes.set_ylim`` marks the whole figure for redrawing even when the limits are there already.
    """
    if x is not None and tuple(axes.get_xlim()) != tuple(x):
        axes.set_xlim(*x)
    if y is not None and tuple(axes.get_ylim()) != tuple(y):
        axes.set_ylim(*y)


def nice_ceiling(value: float) -> float:
    """The first of ..., 1, 2, 5, 10, 20, ... that is not below ``value`` (> 0): a limit that seldom changes.

    >>> nice_ceiling(3.2), nice_ceiling(0.011), nice_ceiling(5)
    (5.0, 0.02, 5.0)
    """
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"nice_ceiling needs a finite number above zero, got {value}.")
    power = 10.0 ** math.floor(math.log10(value))
    return next(
        float(f"{digit * power:.12g}") for digit in (1, 2, 5, 10) if value <= digit * power * (1 + 1e-9)
    )
