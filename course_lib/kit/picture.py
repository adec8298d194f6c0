"""A figure that is kept: the artists that move are drawn over saved pixels, and the result is a PNG.

Ticks, labels and texts are most of the cost of a picture (nine tenths of it, for two panels of 900 x 400), so they are
drawn once and saved as pixels. What is saved is thrown away the moment anything in it changes: Matplotlib marks a
figure as stale when a limit, a label, a tick or any artist that is not animated is set, and that mark decides.

The look is settled when the figure is made. Drawing reads no setting of the process, so it may happen in any thread.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from course_lib.kit import plots
from course_lib.kit.canvas import Canvas
from course_lib.kit.layout import SettledLayout, ticks_found_once
from course_lib.kit.show import Show

DPI = 100  # of a picture in its natural size on a screen of one pixel a point


class Picture:
    """A persistent figure of ``size`` (inches), made once by ``make(figure, show)``."""

    def __init__(self, make: Callable[[Figure, Show], Any], size: tuple[float, float] = (9.0, 4.0)):
        self.size, self.large = size, False
        self.show = Show()
        with plots.style():
            self.figure = Figure(figsize=size, layout=SettledLayout())
            self._canvas = Canvas(self.figure)
            make(self.figure, self.show)
            for axes in self.figure.axes:
                for axis, name in ((axes.xaxis, "xtick"), (axes.yaxis, "ytick")):
                    axis.get_major_ticks(1), axis.get_minor_ticks(1)  # their look is that of all later ones
                    if "labelsize" not in axis.get_tick_params():  # else asked of the settings at each drawing
                        axis.set_tick_params(labelsize=mpl.rcParams[f"{name}.labelsize"])
        self._moving = sorted(dict.fromkeys(self.show.moving), key=lambda artist: artist.get_zorder())
        for artist in self._moving:
            artist.set_animated(True)  # left out of the background, and no cause to redraw it
        self._background: Any = None
        self._rest: tuple[list[Artist], Any] = [], None  # what changed alone last time, and the pixels of all else
        self._ticks: dict = {}  # as found in the last drawing
        self._room: Mapping = {}  # beyond the right side of axes, that was there for words when the layout was found
        self._data: Mapping = {}
        self.redraws = 0  # how many times the background had to be drawn

    def fit(
        self, width: float | None = None, ratio: float = 1.0, height: float | None = None, large: bool = False
    ) -> Picture:
        """Draw ``width`` points wide (its natural size unless given), with ``ratio`` pixels a point from now on.

        With ``height`` the picture fills that too, and gets the shape of the room: wider or higher, never smaller.
        ``large`` print makes type and lines larger and leaves the picture as large as it is.
        """
        zoom = plots.LARGE if large else 1.0
        width = width or DPI * self.size[0]
        room = np.array((width, height or width * self.size[1] / self.size[0]))  # points
        scale = (room / self.size).min()  # points an inch
        dpi, inches = ratio * scale * zoom, np.round(room / scale / zoom, 6)
        if dpi != self.figure.dpi or not np.allclose(inches, self.figure.get_size_inches()) or large != self.large:
            self.large = large
            self.figure.set_size_inches(*inches)
            self.figure.dpi = dpi
            self._background = None
        return self

    def draw(self, data: Mapping) -> Picture:
        """Move the artists to show ``data``, and paint them."""
        self._data = data
        for move in self.show.moves:
            move(data)
        self.paint()
        return self

    def pin(self, on: bool = True) -> None:
        """Keep the lines that can be pinned as they are now, as ghosts; or let the ghosts go."""
        for line, ghost in self.show.pins:
            ghost.set_data(*line.get_data())
            ghost.set_visible(on)

    def close(self) -> None:
        """Give the pixels back now: a figure is full of circles, and its memory else waits for a late collection."""
        self._background, self._rest = None, ([], None)
        self._canvas = Canvas(self.figure)
        for text in self.figure.findobj(Text):
            text._renderer = None  # a text remembers on what it was drawn

    def paint(self, afresh: bool = False) -> None:
        """Paint the figure as it stands; ``afresh`` draws the background even if nothing in it changed."""
        if afresh or self._background is None or self.figure.stale:
            self._draw_background(afresh)
        self._settle()
        if any(over > max(self._room[axes], 0) + 1 for axes, over in self._overhang().items()):  # words came out
            self._draw_background()
            self._settle()
        self._canvas.restore_region(self._background)
        renderer = self._canvas.get_renderer()
        for artist in self._moving:
            artist.draw(renderer)

    def _draw_background(self, whole: bool = False) -> None:
        """Draw what does not move: all of it, or over the pixels of the rest the axes that alone have changed, if they
        were the ones last time too."""
        figure, renderer = self.figure, self._canvas.get_renderer()
        if whole := whole or self._background is None:
            self._ticks = {}
        with ticks_found_once(figure, self._ticks):
            if self._background is None:
                self._settle()
                figure.draw_without_rendering()  # the layout of a new figure settles only at its second drawing
            parts = [part for part in figure.get_children() if part is not figure.patch and not part.get_animated()]
            parts.sort(key=lambda part: part.get_zorder())
            changed, places = [part for part in parts if part.stale], self._places()
            figure.get_layout_engine().execute(figure)
            if whole or places != self._places() or not all(isinstance(part, Axes) for part in changed):
                changed = []
            if changed and changed == self._rest[0]:
                self._canvas.restore_region(self._rest[1])
            else:
                renderer.clear()
                for part in (figure.patch, *(part for part in parts if part not in changed)):
                    part.draw(renderer)
                self._rest = changed, self._canvas.copy_from_bbox(figure.bbox) if changed else None
            for part in changed:
                part.draw(renderer)
        for part in (figure, *parts):
            part.stale = False
        self.redraws += 1
        self._room = self._overhang()
        self._background = self._canvas.copy_from_bbox(figure.bbox)

    def _places(self) -> list[tuple]:
        return [axes.get_position().bounds for axes in self.figure.axes]

    def _overhang(self) -> Mapping:
        return self.show.overhang(self._canvas.get_renderer())

    def _settle(self) -> None:
        for move in self.show.settled:
            move(self._data)

    # What is painted ----------------------------------------------------------------------------------------

    @property
    def pixels(self) -> np.ndarray:
        """What is painted now: uint8 [height, width, 4], red, green, blue, alpha."""
        return np.asarray(self._canvas.buffer_rgba())

    def png(self) -> bytes:
        """What is painted now, as a PNG file."""
        return encode_png(self.pixels)

    @contextmanager
    def whole(self) -> Iterator[Figure]:
        """The figure for Matplotlib to save: nothing is left out of it."""
        dpi, canvas = self.figure.dpi, self.figure.canvas
        try:
            for artist in self._moving:
                artist.set_animated(False)
            yield self.figure
        finally:
            for artist in self._moving:
                artist.set_animated(True)
            self.figure.set_canvas(canvas)
            self.figure.dpi, self._background = dpi, None

    def svg(self) -> str:
        """What is painted now as SVG, words as words. It sets Matplotlib's settings meanwhile: where no other thread
        draws."""
        out = io.StringIO()
        with self.whole() as figure, mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "course_lib"}):
            figure.savefig(out, format="svg", metadata={"Date": None})
        return out.getvalue()

    def handles(self) -> list[dict]:
        """Where the points are that can be touched, in parts of the picture from its upper left corner."""
        found, size = [], self.figure.bbox.size
        for number, handle in enumerate(self.show.handles):
            for index, xy in enumerate(handle.where(self._data)):
                x, y = handle.axes.transData.transform(xy) / size
                if 0 <= x <= 1 and 0 <= y <= 1:
                    words = f"{handle.label} ({xy[0]:.3g}, {xy[1]:.3g})"
                    place = {"x": round(x, 5), "y": round(1 - y, 5), "words": words}
                    found.append({"handle": number, "index": index, **place})
        return found

    def at(self, number: int, x: float, y: float) -> tuple[tuple[float, float], bool]:
        """A place of the picture in the data coordinates of a handle's axes, moved into them; whether it was inside."""
        axes, parts = self.show.handles[number].axes, np.array((x, 1 - y)) * self.figure.bbox.size
        parts = axes.transAxes.inverted().transform(parts)
        within = parts.clip(0, 1)
        place = (axes.transAxes + axes.transData.inverted()).transform(within)
        return tuple(place.tolist()), bool((parts == within).all())

    def words(self) -> list:
        """Every word and limit that the background shows, to compare two figures by."""
        texts = [text.get_text() for text in self.figure.findobj(Text) if text.get_visible() and text.get_text()]
        limits = [(axes.get_xlim(), axes.get_ylim(), axes.get_visible()) for axes in self.figure.axes]
        return [sorted(texts), limits]

    def sticking_out(self) -> list[str]:
        """Sides of the picture at which a label or the like is cut off; a pixel is forgiven."""
        inked = self.figure.get_tightbbox(self._canvas.get_renderer())  # inches
        inked = inked.transformed(self.figure.dpi_scale_trans)
        width, height = self.figure.bbox.size
        over = {"left": -inked.x0, "right": inked.x1 - width, "bottom": -inked.y0, "top": inked.y1 - height}
        return [f"{side} by {pixels:.0f} pixels" for side, pixels in over.items() if pixels > 1]


def encode_png(pixels: np.ndarray) -> bytes:
    """uint8 [height, width, 4] to a PNG without the alpha channel, at compression level 1.

    Each row is stored as its difference from the row above (PNG filter 2), which for a plot is mostly zeros,
    and runs are all that is searched for (Z_RLE): a third of the time of ``Figure.savefig``'s encoder, with a
    smaller file.

    >>> encode_png(np.zeros((2, 3, 4), np.uint8))[:8]
    b'\\x89PNG\\r\\n\\x1a\\n'
    """
    height, width, _ = pixels.shape
    rgb = np.frombuffer(Image.fromarray(pixels).convert("RGB").tobytes(), np.uint8).reshape(height, 3 * width)
    rows = np.empty((height, 1 + 3 * width), np.uint8)
    rows[:, 0] = 2
    rows[0, 1:] = rgb[0]
    np.subtract(rgb[1:], rgb[:-1], out=rows[1:, 1:])
    deflate = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_RLE)
    body = deflate.compress(rows.tobytes()) + deflate.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits a channel, colour type 2: RGB

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def smaller(png: bytes) -> bytes:
    """The same picture with the size, not the speed, of the encoding in mind: it is kept in a file. Its 200 colours are
    spread over all that it has, so that a colour bar stays smooth."""
    out, spread = io.BytesIO(), Image.Quantize.MAXCOVERAGE
    few = Image.open(io.BytesIO(png)).convert("RGB").quantize(200, spread, kmeans=1, dither=Image.Dither.NONE)
    few.save(out, "png", optimize=True)
    return out.getvalue()
