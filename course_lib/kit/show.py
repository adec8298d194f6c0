"""What a picture is declared with: each artist stands beside what moves it.

    def picture(fig, show):
        left, right = fig.subplots(1, 2)
        left.set(xlabel="x", ylabel="y", xlim=(-5, 5), ylim=(-5, 5))
        show.line(left, GRID, "truth", **plots.TRUTH, end="true curve")
        show.line(left, GRID, lambda d: d.fits[d.steps], color=plots.BLUE, end="after k steps", pin=True)
        show.level(right, "zero", "predicting zero")
        show.title(left, lambda d: f"After k = {d.steps} steps")

A place (x, y, heights, ...) is a constant, the name of an entry of the data, or a function of the data; words and
looks (``color``, ``linewidth``, ``alpha``, ...) are constants or functions of the data; ``shown`` is a function that
hides. What is constant is drawn once with the axes; what moves is drawn over saved pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from inspect import isroutine  # functions, and not the norms and colour maps that can be called too
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.text import Annotation

from course_lib.kit import plots

Place = Any  # a constant, a name in the data, or a function of the data
END_GAP = 6  # points between a line, or its last marker, and its words


@dataclass(frozen=True)
class Handle:
    """Points of the picture that can be touched: where they are, and the controls that follow."""

    axes: Axes
    where: Callable[[Mapping], np.ndarray]  # [n, 2] in data coordinates
    moves: str | tuple[str | None, str | None]  # a Point or Points, or the sliders of x and of y
    label: str


class Show:
    """Declares the artists of one figure; ``moves`` are called with the data, in the order declared."""

    def __init__(self):
        self.moves: list[Callable[[Mapping], None]] = []
        self.settled: list[Callable[[Mapping], None]] = []  # called once the axes lie where they will
        self.moving: list[Artist] = []  # artists that are drawn over the saved pixels
        self.handles: list[Handle] = []
        self.pins: list[tuple[Artist, Artist]] = []  # lines, and the ghosts that keep an earlier state
        self._ends: dict[Axes, list[tuple[Artist, Annotation]]] = {}

    # Lines and points ---------------------------------------------------------------------------------------

    def line(self, axes: Axes, x: Place, y: Place = None, *, end: Any = "", pin: bool = False, **look: Any) -> Artist:
        """A line through x and y, or ``x`` [n, 2]; ``end``: words at its end; ``pin``: it can be kept as a ghost."""
        line = axes.plot([], [], **_constants(look))[0]
        where = _pairs(x, y)
        self._declare(line, look, lambda d: line.set_data(*where(d).T), still=_still(x, y))
        if end:
            self._end(axes, line, end)
        if pin:
            ghost = axes.plot([], [], color=line.get_color(), linestyle="-", linewidth=1.2, alpha=0.45, zorder=1.5)[0]
            ghost.set_visible(False)
            self.pins.append((line, ghost))
            self.moving.append(ghost)
        return line

    def points(self, axes: Axes, x: Place, y: Place = None, *, end: Any = "", **look: Any) -> Artist:
        """Separate markers."""
        return self.line(axes, x, y, end=end, **({"marker": "o", "linestyle": "none"} | look))

    def paths(self, axes: Axes, lines: Place, **look: Any) -> Artist:
        """Many lines of one look, each [n, 2]."""
        many = LineCollection([], **_constants(look))
        axes.add_collection(many, autolim=False)
        read = reader(lines, as_is=True)
        return self._declare(many, look, lambda d: many.set_segments([_numbers(line) for line in read(d)]))

    def scatter(self, axes: Axes, xy: Place, *, c: Place = None, s: Place = None, **look: Any) -> Artist:
        """Markers [n, 2] that may differ in colour ``c`` and area ``s``."""
        dots = axes.scatter([], [], **_constants(look))
        where = reader(xy)

        def move(d: Mapping) -> None:
            dots.set_offsets(where(d))
            if s is not None:
                dots.set_sizes(np.broadcast_to(reader(s)(d), len(where(d))))
            if c is not None:
                values = reader(c)(d)
                (dots.set_facecolor if values.dtype.kind in "USO" or values.ndim > 1 else dots.set_array)(values)

        return self._declare(dots, look, move)

    def arrows(self, axes: Axes, start: Place, way: Place, **look: Any) -> Artist:
        """Arrows from ``start`` [n, 2] along ``way`` [n, 2], in the units of the axes; their number stays."""
        read_start, read_way = reader(start), reader(way)
        look = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.006, "n": 1} | look
        count = look.pop("n")
        arrows = axes.quiver(*np.zeros((4, count)), **_constants(look))

        def move(d: Mapping) -> None:
            arrows.set_offsets(read_start(d).reshape(-1, 2))
            arrows.set_UVC(*read_way(d).reshape(-1, 2).T)

        return self._declare(arrows, look, move)

    # Levels, bands, bars, images ----------------------------------------------------------------------------

    def level(self, axes: Axes, y: Place, words: Any = "", *, at: float = 1.0, **look: Any) -> Artist:
        """A line across at height y that says what it is, above itself, at the part ``at`` of the width."""
        look = plots.REFERENCE | look
        line, read = axes.axhline(1.0, **_constants(look)), reader(y)
        self._declare(line, look, lambda d: line.set_ydata([read(d).item()] * 2), still=_still(y))
        if words:
            self._beside(axes, (at, y), ("axes fraction", "data"), (0, 2), words, line, "bottom", at, look)
        return line

    def mark(self, axes: Axes, x: Place, words: Any = "", *, at: float = 1.0, **look: Any) -> Artist:
        """A line upward at x that says what it is, beside itself, at the part ``at`` of the height."""
        look = plots.REFERENCE | look
        line, read = axes.axvline(1.0, **_constants(look)), reader(x)
        self._declare(line, look, lambda d: line.set_xdata([read(d).item()] * 2), still=_still(x))
        if words:
            self._beside(axes, (x, at), ("data", "axes fraction"), (3, 0), words, line, "top", 0, look)
        return line

    def band(self, axes: Axes, x: Place, low: Place, high: Place, **look: Any) -> Artist:
        """The space between two curves."""
        look = {"linewidth": 0, "alpha": 0.15} | look
        band = axes.fill_between([1, 1], [1, 1], [1, 1], **_constants(look))
        read = [reader(place) for place in (x, low, high)]
        move = lambda d: band.set_data(*np.broadcast_arrays(*(np.atleast_1d(r(d)) for r in read)))
        return self._declare(band, look, move, still=_still(x, low, high))

    def bars(self, axes: Axes, places: Iterable, lengths: Place, *, base: Place = 0, across=False, **look: Any) -> Any:
        """Bars at fixed ``places``, upward or ``across``, as long as the data say."""
        places = list(places)
        bars = (axes.barh if across else axes.bar)(places, np.zeros(len(places)), **_constants(look))
        read, read_base = reader(lengths), reader(base)

        def move(d: Mapping) -> None:
            for bar, length, start in zip(bars, read(d), np.broadcast_to(read_base(d), len(places))):
                (bar.set_width if across else bar.set_height)(length)
                (bar.set_x if across else bar.set_y)(start)
            self._look(bars.patches, look)(d)

        self.moves.append(move)
        self.moving += bars.patches
        return bars

    def image(self, axes: Axes, pixels: Place, **look: Any) -> Artist:
        """An image [h, w] or [h, w, 3]; without ``vmin`` or ``norm`` its colours span each image anew."""
        still, read = _still(pixels), reader(pixels)
        first = read({}) if still else np.zeros((2, 2))
        image = axes.imshow(first, **_constants(look))
        free = "norm" not in look and "vmin" not in look

        def move(d: Mapping) -> None:
            new = read(d)
            if np.shape(image.get_array()) != new.shape or not np.array_equal(image.get_array(), new):
                image.set_data(new)
                if free:
                    image.autoscale()

        if "extent" not in look and not still:
            resize = lambda d: image.set_extent((-0.5, read(d).shape[1] - 0.5, read(d).shape[0] - 0.5, -0.5))
            self.moves.append(lambda d: None if np.shape(image.get_array()) == read(d).shape else resize(d))
        return self._declare(image, look, move, still=still)

    # Words and axes -----------------------------------------------------------------------------------------

    def title(self, axes: Axes, words: Any, **look: Any) -> Artist:
        """The sentence above the axes."""
        title = axes.set_title(" ", **_constants(look))
        return self._declare(title, look, lambda d: title.set_text(_words(words, d) or " "), still=not callable(words))

    def text(self, axes: Axes, x: Place, y: Place, words: Any, **look: Any) -> Artist:
        """Words at a place of the axes."""
        text, where = axes.text(0, 0, "", **_constants(look)), _pairs(x, y)

        def move(d: Mapping) -> None:
            text.set_position(where(d)[0])
            text.set_text(_words(words, d))

        return self._declare(text, look, move, still=_still(x, y) and not callable(words))

    def limits(self, axes: Axes, x: Callable | None = None, y: Callable | None = None) -> None:
        """Limits that follow the data; in steps (``plots.nice_ceiling``), since a new limit redraws the axes."""
        self.moves.append(lambda d: plots.set_limits(axes, x and x(d), y and y(d)))

    def also(self, move: Callable[[Mapping], Any], *artists: Artist) -> None:
        """For all else: ``move(data)`` sets the ``artists``, which you made; what it sets of others costs a redraw."""
        self.moves.append(move)
        self.moving += artists

    # Touch, series ------------------------------------------------------------------------------------------

    def handle(self, axes: Axes, x: Place, y: Place = None, *, moves: Any, label: str = "", **look: Any) -> Artist:
        """Points that are dragged, or moved with the arrow keys.

        ``moves`` names the control that follows: a ``Point``, ``Points`` (a click sets one or takes it away), or two
        sliders, those of x and of y, of which one may be None.
        """
        self.handles.append(Handle(axes, _pairs(x, y), moves, label or str(moves)))
        return self.points(axes, x, y, **({"markersize": 10, "markeredgecolor": "white", "zorder": 6} | look))

    def series(self, axes: Axes, x: Place, curves: Place, names: Mapping, looks: Mapping = plots.METHODS) -> None:
        """A named line each with its interval: the data's ``curves`` is {name: [3, n]}, mean, low and high.

        A name that is missing from the data is hidden; words stand at the lines' ends.
        """
        read = reader(curves, as_is=True)
        row = lambda name, i: lambda d: np.asarray(read(d)[name][i]) if name in read(d) else np.full(1, np.nan)
        x_of = lambda name: lambda d: reader(x)(d) if name in read(d) else np.full(1, np.nan)
        for name, words in names.items():
            look = {"markersize": 5} | looks[name]
            self.band(axes, x_of(name), row(name, 1), row(name, 2), color=look["color"])
            self.line(axes, x_of(name), row(name, 0), end=words, **look)

    def whiskers(self, axes: Axes, x: Place, rows: Place, *, end: Any = "", **look: Any) -> Artist:
        """A line through the middles of ``rows`` [n, 3], with a thin upright one from low to high at each x."""
        read_x, read = reader(x), reader(rows)
        upright = lambda d: [np.array([[a, low], [a, high]]) for a, (_, low, high) in zip(read_x(d), read(d))]
        hides = {"shown": look["shown"]} if "shown" in look else {}
        self.paths(axes, upright, color=look["color"], linewidth=1, alpha=0.7, **hides)
        return self.line(axes, x, lambda d: read(d)[:, 0], end=end, **look)

    # How it is done -----------------------------------------------------------------------------------------

    def _declare(self, artist: Artist, look: dict, move: Callable, still: bool = False) -> Artist:
        restyle = self._look([artist], look)
        if still and not any(isroutine(value) for value in look.values()):
            move({})
        else:
            self.moves += [move, restyle]
            self.moving.append(artist)
        return artist

    @staticmethod
    def _look(artists: list[Artist], look: dict) -> Callable[[Mapping], None]:
        changing = {"visible" if name == "shown" else name: value for name, value in look.items() if isroutine(value)}

        def restyle(d: Mapping) -> None:
            for name, value in changing.items():
                new = value(d)
                for artist in artists:
                    artist.set(**{name: bool(new) if name == "visible" else new})

        return restyle

    def _beside(self, axes, xy, coords, shift, words, line, va, at, line_look) -> None:
        """Words beside a reference line, moving and hiding with it."""
        read = [reader(place) for place in xy]
        look = {"color": line.get_color(), "fontsize": 9, "va": va, "ha": "right" if at > 0.5 else "left"}
        look["bbox"] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5}
        text = axes.annotate("", (1, 1), xycoords=coords, xytext=shift, textcoords="offset points", **look)
        hides = {"shown": line_look["shown"]} if "shown" in line_look else {}

        def move(d: Mapping) -> None:
            text.xy = tuple(r(d).item() for r in read)
            text.set_text(_words(words, d))

        self._declare(text, hides, move, still=_still(*xy) and not callable(words))

    def _end(self, axes: Axes, line: Artist, words: Any) -> None:
        """Words at the end of a line; all of one axes keep apart."""
        look = {"fontsize": 9.5, "va": "center", "annotation_clip": False}
        marker = line.get_markersize() / 2 if line.get_marker() != "None" else 0
        shift = {"xytext": (END_GAP + marker, 0), "textcoords": "offset points"}
        text = axes.annotate("", (1, 0.5), xycoords="axes fraction", **shift, **look)
        if axes not in self._ends:
            self._ends[axes] = []
            self.settled.append(lambda d: _place_ends(axes, self._ends[axes]))
        self._ends[axes].append((line, text))
        self.moves.append(lambda d: (text.set_text(_words(words, d)), text.set_color(_readable(line.get_color()))))
        self.moving.append(text)

    def overhang(self, renderer: Any) -> dict[Axes, float]:
        """How far the words at lines' ends reach beyond the right side of their axes, in pixels."""
        right = lambda ends: max((t.get_window_extent(renderer).x1 for _, t in ends if t.get_visible()), default=0.0)
        return {axes: right(ends) - axes.bbox.x1 for axes, ends in self._ends.items()}


def _place_ends(axes: Axes, ends: list[tuple[Artist, Annotation]]) -> None:
    """Each text to the height of its line's last point, and apart from the others; in parts of the axes."""
    box = axes.get_window_extent()
    seen = []
    for line, text in ends:
        xy = np.column_stack(line.get_data()).astype(float)
        xy = xy[np.isfinite(xy).all(1)]
        text.set_visible(bool(len(xy)) and line.get_visible())
        if text.get_visible():
            x, y = axes.transAxes.inverted().transform(axes.transData.transform(xy[-1]))
            seen.append((text, min(max(x, 0), 1), min(max(y, 0), 1)))
    if seen:
        gap = 1.25 * seen[0][0].get_fontsize() / 72 * axes.figure.dpi / box.height
        for (text, x, _), y in zip(seen, plots.spread(np.array([y for _, _, y in seen]), gap, 0, 1)):
            text.xy = (x, y)


def reader(place: Place, as_is: bool = False) -> Callable[[Mapping], Any]:
    """The function of the data that a place stands for; tensors come as arrays unless ``as_is``."""
    get = place if callable(place) else (lambda d: d[place]) if isinstance(place, str) else (lambda d: place)
    return get if as_is else lambda d: _numbers(get(d))


def _numbers(value: Any) -> np.ndarray:
    return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)


def _pairs(x: Place, y: Place) -> Callable[[Mapping], np.ndarray]:
    """[n, 2] from two places, or from one that holds pairs."""
    read_x, read_y = reader(x), reader(y)
    if y is None:
        return lambda d: read_x(d).reshape(-1, 2)
    return lambda d: np.stack(np.broadcast_arrays(np.atleast_1d(read_x(d)), np.atleast_1d(read_y(d))), 1)


def _readable(color: Any) -> tuple:
    """The colour of words about a line: its own, darker where that would be too light on white."""
    rgb = np.array(to_rgb(color))
    return tuple(rgb * min(1.0, 0.47 / max(float(rgb @ (0.3, 0.6, 0.1)), 1e-9)))


def _words(words: Any, d: Mapping) -> str:
    return str(words(d)) if callable(words) else words


def _still(*places: Place) -> bool:
    return not any(callable(place) or isinstance(place, str) for place in places)


def _constants(look: dict) -> dict:
    return {name: value for name, value in look.items() if not isroutine(value) and name != "shown"}
