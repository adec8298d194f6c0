"""One look for every picture of the course: colours with one meaning, marker shapes, type, reference lines.

Colours are those of Okabe and Ito (2008), which people with any of the common colour-vision deficiencies tell apart;
whatever differs in colour differs in marker shape or dash too, so that a picture survives a black and white printer.
Nothing here trains anything or knows a widget.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager

import matplotlib.style
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes

# Okabe and Ito, "Color Universal Design" (2008), ordered so that the first ones differ most in lightness too.
BLUE, ORANGE, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
SKY, AMBER, BLACK, GREY = "#56B4E9", "#E69F00", "#000000", "#767676"
VIOLET, BROWN = "#6A51A3", "#8C5A2B"  # for the last of the methods
COLORS = (BLUE, ORANGE, GREEN, PINK, SKY, AMBER, BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
INK, QUIET, FAINT = "#222222", "#5f5f5f", "#c9c9c9"  # words; axes' words; what is not talked about

# One colour and one marker for a thing wherever it appears in the course.
METHODS = {
    "maml": {"color": BLUE, "marker": "o", "linestyle": "-"},
    "fomaml": {"color": SKY, "marker": "^", "linestyle": "--"},
    "anil": {"color": GREEN, "marker": "s", "linestyle": "-."},
    "reptile": {"color": AMBER, "marker": "D", "linestyle": "-"},
    "union": {"color": ORANGE, "marker": "v", "linestyle": "-"},
    "pretrained": {"color": BROWN, "marker": "P", "linestyle": "--"},  # on all tasks, one head
    "ridge": {"color": PINK, "marker": "o", "linestyle": "-"},  # R2D2
    "svm": {"color": BLACK, "marker": "s", "linestyle": "--"},  # MetaOptNet
    "means": {"color": VIOLET, "marker": "D", "linestyle": "-."},  # ProtoNet
    "random": {"color": GREY, "marker": "X", "linestyle": "-."},
}
SUPPORT = {"color": BLACK, "marker": "o", "linestyle": "none"}
QUERY = {"color": PINK, "marker": "D", "linestyle": "none", "markerfacecolor": "white"}
TRUTH = {"color": GREY, "linestyle": "--"}
REFERENCE = {"color": GREY, "linestyle": ":", "linewidth": 1.5}
BOXED = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}  # behind words that a curve may cross
HERE = {"color": INK, "marker": "o", "linestyle": "none", "markerfacecolor": "white", "markersize": 9}

LARGE = 1.25  # large print: type and lines that much larger in a picture of the same size
_LOOK = {
    "font.family": "DejaVu Sans",  # comes with Matplotlib; by name, so that nothing is looked up when drawing
    "font.size": 11.0,
    "lines.linewidth": 2.0,
    "lines.markersize": 6.0,
    "figure.dpi": 100.0,
    "axes.prop_cycle": cycler(color=COLORS, linestyle=DASHES),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#9a9a9a",
    "axes.linewidth": 0.8,
    "axes.titlesize": 11.5,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.titlepad": 8.0,
    "axes.labelcolor": QUIET,
    "axes.labelsize": 10.0,
    "xtick.color": "#9a9a9a",
    "ytick.color": "#9a9a9a",
    "xtick.labelcolor": QUIET,
    "ytick.labelcolor": QUIET,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#ececec",
    "grid.linewidth": 0.8,
    "figure.facecolor": "white",
    "figure.constrained_layout.w_pad": 0.07,
    "figure.constrained_layout.h_pad": 0.05,
    "text.color": INK,
    "image.cmap": "viridis",
    "savefig.dpi": "figure",
    "legend.loc": "upper right",  # "best" searches all data at every redraw (20 ms) and makes the legend jump
    "legend.fontsize": "small",
    "legend.framealpha": 1.0,
    "legend.edgecolor": "#cccccc",
    "svg.fonttype": "none",
    "svg.hashsalt": "course_lib",  # the same drawing gives the same SVG bytes
}


def style() -> AbstractContextManager:
    """The course's look as a context, over Matplotlib's own defaults whatever a person's matplotlibrc says.

    A context changes settings that all threads share: only what the main thread makes is made in it. What is made
    keeps its look when it is drawn later, elsewhere.

    >>> with style():
    ...     matplotlib.rcParams["font.size"]
    11.0
    """
    return matplotlib.style.context(_LOOK, after_reset=True)


def set_limits(axes: Axes, x: tuple[float, float] | None = None, y: tuple[float, float] | None = None) -> None:
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
    return next(float(f"{digit * power:.12g}") for digit in (1, 2, 5, 10) if value <= digit * power * (1 + 1e-9))


def spread(places: np.ndarray, gap: float, low: float, high: float) -> np.ndarray:
    """``places`` [n] moved as little as their order and ``gap`` between neighbours need, within ``low`` to ``high``.

    >>> spread(np.array([5.0, 5.0, 20.0]), gap=4, low=0, high=100).tolist()
    [3.0, 7.0, 20.0]
    """
    order = np.argsort(places, kind="stable")
    groups: list[tuple[float, int]] = []  # (centre, size) of labels that touch
    for place in places[order]:
        centre, size = float(place), 1
        while groups and centre - groups[-1][0] < gap * (size + groups[-1][1]) / 2:
            other, count = groups.pop()
            centre, size = (centre * size + other * count) / (size + count), size + count
        half = gap * (size - 1) / 2
        groups.append((min(max(centre, low + half), max(high - half, low + half)), size))
    moved = np.concatenate([c + gap * (np.arange(n) - (n - 1) / 2) for c, n in groups]) if groups else places
    result = np.empty_like(moved)
    result[order] = moved
    return result


def name_region(axes: Axes, x: float, y: float, words: str, color: str = QUIET, **look) -> None:
    """The name of a region inside it, at (x, y) in parts of the axes: quiet, centred."""
    look = {"ha": "center", "va": "center", "fontsize": 10.5, "style": "italic"} | look
    axes.text(x, y, words, transform=axes.transAxes, color=color, **look)
