"""A figure that is kept: the artists that move are drawn over saved pixels, and the result is a PNG.

Ticks, labels and legends are most of the cost of a picture (nine tenths of it, for two panels of 900 x 400),
so they are drawn once and saved as pixels. What is saved is thrown away the moment anything in it changes:
Matplotlib marks a figure as stale when a limit, a label, a tick or any artist that is not animated is set,
and that mark decides.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.text import Text
from PIL import Image

from course_lib.kit import plots


class Picture:
    """A persistent figure of ``size`` (inches), made once by ``make(figure) -> artists``.

    Every artist found in ``artists`` (in a dict, namespace, list or tuple, however nested; axes do not count)
    is one that may move without a redraw of the rest. Anything else may change as well, at the price of a
    full redraw.
    """

    def __init__(
        self, make: Callable[[Figure], Any], size: tuple[float, float] = (9.0, 4.0), large: bool = False
    ):
        self.large = large
        with plots.style(large):
            self.figure = Figure(figsize=size, layout="constrained")
            self._canvas = FigureCanvasAgg(self.figure)
            self.artists = make(self.figure)
        self._moving = sorted(
            dict.fromkeys(_artists_in(self.artists)), key=lambda artist: artist.get_zorder()
        )
        for artist in self._moving:
            artist.set_animated(True)  # left out of the background, and no cause to redraw it
        self._background: Any = None
        self._legends: list[tuple[Any, Any]] = []
        self._legend_words: list[tuple] = []
        self.redraws = 0  # how many times the background had to be drawn

    def draw(self, draw: Callable[[Any, Mapping], None], data: Mapping) -> Picture:
        """Move the artists with ``draw(artists, data)`` and paint them."""
        with plots.style(self.large):  # also for what draw() may create: a text, a tick label
            draw(self.artists, data)
            self._paint()
        return self

    def paint(self, afresh: bool = False) -> None:
        """Paint the figure as it stands; ``afresh`` draws the background even if nothing in it changed."""
        with plots.style(self.large):
            self._paint(afresh)

    def _paint(self, afresh: bool = False) -> None:
        if (
            afresh
            or self._background is None
            or self.figure.stale
            or self._words_in_legends() != self._legend_words
        ):
            self._draw_background()
        self._canvas.restore_region(self._background)
        renderer = self._canvas.get_renderer()
        for artist in self._moving:
            artist.draw(renderer)
        for legend_pixels in self._legends:  # a legend stays on top of what moves
            self._canvas.restore_region(legend_pixels)

    def _draw_background(self) -> None:
        if self._background is None:
            self._canvas.draw()  # the layout of a new figure settles only at its second drawing
        self._canvas.draw()
        self.redraws += 1
        self._background = self._canvas.copy_from_bbox(self.figure.bbox)
        visible = [
            legend for legend in self._all_legends() if legend.get_visible() and not legend.get_animated()
        ]
        self._legends = [self._canvas.copy_from_bbox(legend.get_window_extent()) for legend in visible]
        self._legend_words = self._words_in_legends()
        self.figure.stale = False

    def _all_legends(self) -> list:
        legends = [*self.figure.legends, *(axes.get_legend() for axes in self.figure.axes)]
        return [legend for legend in legends if legend is not None]

    def _words_in_legends(self) -> list[tuple]:
        """Changing a legend's text does not mark its figure as stale, so its words are compared."""
        return [tuple(text.get_text() for text in legend.get_texts()) for legend in self._all_legends()]

    def words(self) -> list:
        """Every word and limit that the background shows, to compare two figures by."""
        texts = [
            text.get_text() for text in self.figure.findobj(Text) if text.get_visible() and text.get_text()
        ]
        limits = [(axes.get_xlim(), axes.get_ylim(), axes.get_visible()) for axes in self.figure.axes]
        return [sorted(texts), limits]

    def sticking_out(self) -> list[str]:
        """Sides of the picture at which a label, legend or the like is cut off; a pixel is forgiven."""
        with plots.style(self.large):
            inked = self.figure.get_tightbbox(self._canvas.get_renderer())  # inches
        inked = inked.transformed(self.figure.dpi_scale_trans)
        width, height = self.figure.bbox.size
        over = {"left": -inked.x0, "right": inked.x1 - width, "bottom": -inked.y0, "top": inked.y1 - height}
        return [f"{side} by {pixels:.0f} pixels" for side, pixels in over.items() if pixels > 1]

    @property
    def pixels(self) -> np.ndarray:
        """What is painted now: uint8 [height, width, 4], red, green, blue, alpha."""
        return np.asarray(self._canvas.buffer_rgba())

    def png(self) -> bytes:
        """What is painted now, as a PNG file."""
        return encode_png(self.pixels)


def _artists_in(tree: Any) -> Iterator[Artist]:
    """Every artist in nested containers, axes and the like left out: they hold the background."""
    if isinstance(tree, Artist):
        if not isinstance(tree, (Axes, Axis, Figure, SubFigure)):
            yield tree
    elif isinstance(tree, Mapping):
        yield from _artists_in(list(tree.values()))
    elif isinstance(tree, SimpleNamespace):
        yield from _artists_in(vars(tree))
    elif isinstance(tree, np.ndarray) and tree.dtype == object:
        yield from _artists_in(list(tree.flat))
    elif isinstance(tree, (list, tuple, set)):
        for branch in tree:
            yield from _artists_in(branch)


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
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
