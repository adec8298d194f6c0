"""Agg's canvas, which remembers how words look: to set them anew each time is half of what a moved artist costs.

Matplotlib 3.11 finds the places of a text's letters and renders every letter again at each drawing. Here a renderer
keeps the places, and all share what a letter looks like at a part of a pixel. The pixels are Matplotlib's own: that is
tried once, and where they are not, words are drawn as they always were.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.backends import backend_agg
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, fontManager, get_font
from matplotlib.mathtext import MathTextParser

PLACED = 1000  # texts whose letters' places a renderer keeps


class Canvas(FigureCanvasAgg):
    """A canvas that draws with ``Renderer``, if this Matplotlib lets it."""

    def get_renderer(self) -> RendererAgg:
        if not remembers():
            return super().get_renderer()
        key = *self.get_width_height(physical=True), self.figure.dpi
        if self._lastKey != key:
            self.renderer, self._lastKey = Renderer(*key), key
        return self.renderer


@lru_cache(maxsize=1)
def remembers() -> bool:
    """Whether words from memory are this Matplotlib's. 3.10 sets a text in one go; a later one may do it otherwise."""
    pictures, places = [], []
    text = Figure(dpi=100.0).text(0.5, 0.5, "Ag\nAg", usetex=False)
    for kind in (RendererAgg, Renderer):
        renderer, look = kind(80, 30, 100.0), FontProperties(size=12)
        try:
            for at, words in ((2.3, "Ag"), (40.7, "$A_g$")):
                renderer.draw_text(renderer.new_gc(), at, 20.6, words, look, 10, ismath="$" in words)
            places.append(text.get_window_extent(renderer).bounds)
        except (AttributeError, KeyError, TypeError, ValueError):  # a part is not there or takes something else
            return False
        pictures.append(np.array(renderer.buffer_rgba()))
    return bool(pictures[0].any()) and np.array_equal(*pictures) and places[0] == places[1]


class OwnMathText(MathTextParser):
    """Reads mathematics one text at a time, by a grammar of its own: Matplotlib's keeps its place in a text for all
    threads, and a cell may plot while a demo is drawn."""

    _parser = None
    _one = threading.Lock()

    def parse(self, *text: Any, **how: Any) -> Any:
        with self._one:
            return super().parse(*text, **how)


class Renderer(RendererAgg):
    """Agg's renderer with a memory for words."""

    def __init__(self, width: int, height: int, dpi: float):
        super().__init__(width, height, dpi)
        self.mathtext_parser = OwnMathText("path")
        self._placed: dict[tuple, list] = {}
        self._heights: dict[int, tuple] = {}

    def _get_font_height_metrics(self, prop: FontProperties) -> tuple:
        """How far a font reaches above and below its line, and the gap between lines, in pixels."""
        if (look := hash(prop)) not in self._heights:
            font = get_font(fontManager._find_fonts_by_props(prop))
            if (table := font.get_sfnt_table("OS/2")) is None:
                return None, None, None  # then Matplotlib looks further
            units = font.get_sfnt_table("head")["unitsPerEm"]
            scale = 1 / units * prop.get_size_in_points() * self.dpi / 72
            above, below, gap = (table[f"sTypo{name}"] * scale for name in ("Ascender", "Descender", "LineGap"))
            self._heights[look] = above, -below, gap
        return self._heights[look]

    def draw_text(self, gc, x, y, s, prop, angle, ismath=False, mtext=None) -> None:
        if ismath:
            return super().draw_text(gc, x, y, s, prop, angle, ismath, mtext)
        flags = backend_agg.get_hinting_flag()
        features, language = (mtext.get_fontfeatures(), mtext.get_language()) if mtext is not None else (None, None)
        text = s, hash(prop), flags, features, language
        if text not in self._placed:
            if len(self._placed) >= PLACED:
                self._placed.clear()
            size, font = prop.get_size_in_points(), self._prepare_font(prop)
            letters = font._layout(s, flags, features=features, language=language)
            self._placed[text] = [(a.ft_object.fname, size, a.glyph_index, 0, 1, a.x, a.y) for a in letters]
        self._draw_letters(gc, x, y, angle, self._placed[text], flags)

    def _draw_text_glyphs_and_boxes(self, gc, x, y, angle, glyphs, boxes) -> None:
        """As mathematics is drawn."""
        letters = ((font.fname, *letter) for font, *letter in glyphs)
        self._draw_letters(gc, x, y, angle, letters, backend_agg.get_hinting_flag())
        super()._draw_text_glyphs_and_boxes(gc, x, y, angle, (), boxes)

    def _draw_letters(self, gc, x: float, y: float, angle: float, letters: Iterable, flags: Any) -> None:
        """``letters``: of each the font, size, number, slant and width, and how far it stands to the right and up."""
        cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        smooth, draw, bottom = gc.get_antialiased(), self._renderer.draw_text_image, int(self.height)
        for font, size, number, slant, extend, dx, dy in letters:
            right, part_x = divmod(round(64 * (x + dx * cos - dy * sin)), 64)
            up, part_y = divmod(round(64 * (self.height - y + dx * sin + dy * cos)), 64)
            ink, left, low = letter(font, size, self.dpi, number, slant, extend, angle, part_x, part_y, flags, smooth)
            draw(ink, right + left, bottom - up - low, 0, gc)


@lru_cache(maxsize=10_000)
def letter(
    font: str,
    size: float,
    dpi: float,
    number: int,
    slant: float,
    extend: float,
    angle: float,
    part_x: int,
    part_y: int,
    flags: Any,
    smooth: bool,
) -> tuple[np.ndarray, int, int]:
    """A letter's ink, and how far its left and lower end lie from the pixel at whose 64ths, right and up, it stands."""
    face, cos, sin = get_font(font), math.cos(math.radians(angle)), math.sin(math.radians(angle))
    face.set_size(size, dpi)
    turn = 0x10000 * np.array([[cos, -sin], [sin, cos]]) @ [[extend, extend * slant], [0, 1]]
    face._set_transform(turn.round().astype(int), [part_x, part_y])
    mode = backend_agg.RenderMode.NORMAL if smooth else backend_agg.RenderMode.MONO
    bitmap = face._render_glyph(number, flags, mode)
    ink = np.array(bitmap.buffer) if smooth else 0xFF * np.array(bitmap.buffer)
    return ink, bitmap.left, bitmap.top - ink.shape[0]
