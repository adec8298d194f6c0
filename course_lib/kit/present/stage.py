"""What draws for the lecture hall's page: a demo at the exact size of the screen, and files that are saved of it."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_pdf import PdfPages
from PIL import Image

from course_lib.kit import links, plots
from course_lib.kit.demo import Demo
from course_lib.kit.live import Live, loop
from course_lib.kit.picture import Picture
from course_lib.kit.words import several

__all__ = ["Stage", "loop", "pdf"]

MOST_FRAMES, EACH, WIDTH = 40, 100, 960  # of a GIF: frames, milliseconds a frame, pixels
PAGE = 1280, 720  # points of a page of the PDF
ABOVE, BELOW = 0.09, 0.1  # parts of the page for its title and for the picture in words


class Stage(Live):
    """``demo`` on the lecture hall's page; ``send(news, png)`` brings what it shows there. Made and used in the drawing
    thread."""

    def __init__(self, demo: Demo, send: Callable[[dict, bytes], None]):
        super().__init__(demo)
        self.send, self._declared, self._said = send, False, []
        demo.picture = Picture(demo.make_picture, demo.size)

    def open(self, query: str, fit: dict, large: bool, drawn: dict[str, Any]) -> None:
        """Show the demo where the link ``query`` says, in a room of ``fit``; ``drawn`` is what links do not hold."""
        found = links.read(query, self._demo)
        self._said, self._demo.hidden, self._declared = found.said, tuple(dict.fromkeys(found.hidden)), False
        self._demo.accept(self._demo.start)
        self._demo.accept(found.values)
        self._demo.accept({name: value for name, value in drawn.items() if name in self._demo.controls})
        self._heard, self._last, self._large = ("", 0), {}, large
        self._do_fit(fit)
        self._act({"do": "open"})

    def _do_open(self, message: dict) -> None:
        """Drawing is all that is left to do."""

    def publish(self) -> None:
        news = {"state": self.now() | {"note": " ".join(self._said)}}
        if not self._declared:
            news["declaration"], self._declared = self.declare(), True
        self._said = []
        self.send(news, self._demo.png if self._demo.data else b"")

    def save(self, kind: str) -> bytes:
        """The picture as a file: "svg", or "gif" of the sweep that play makes.

        Raises:
            ValueError: nothing to sweep.
        """
        return self._demo.picture.svg().encode() if kind == "svg" else gif(self._demo)


def gif(demo: Demo) -> bytes:
    """The slider that play moves, from end to end; the demo is left as it was."""
    if not demo.play:
        raise ValueError(f"{demo.title} has no slider to sweep.")
    values, pictures = dict(demo.values), []
    try:
        for value in demo.controls[demo.play].notches(MOST_FRAMES):
            demo.accept({demo.play: value})
            demo.show_last_frame()
            height, width = demo.picture.pixels.shape[:2]
            picture = Image.fromarray(demo.picture.pixels).convert("RGB")
            pictures.append(picture.resize((WIDTH, round(WIDTH * height / width)), Image.Resampling.LANCZOS))
    finally:
        demo.accept(values)
        demo.show_last_frame()
    out = io.BytesIO()
    times = [8 * EACH, *[EACH] * (len(pictures) - 2), 15 * EACH]
    pictures[0].save(out, "gif", save_all=True, append_images=pictures[1:], duration=times, loop=0)
    return out.getvalue()


def pdf(demos: Iterable[Demo], path: Path, tell: Callable[[str], None] = print) -> int:
    """Every demo where it opens and at each of its views, a page each; returns how many pages were written."""
    with PdfPages(path, metadata={"CreationDate": None}) as pages:
        for demo in demos:
            seen = []
            for name, values in {"": demo.start, **demo.views}.items():
                if values in seen:
                    continue
                seen.append(values)
                demo.accept(demo.start)
                demo.accept(values)
                demo.show_last_frame()
                _page(demo, name, pages)
            tell(f"{demo.key}: {several(len(seen), 'page')}")
            demo.close()
        return pages.get_pagecount()


def _page(demo: Demo, view: str, pages: PdfPages) -> None:
    picture = Picture(demo.make_picture, demo.size).fit(PAGE[0], height=PAGE[1])
    figure, scale = picture.figure, 72 * picture.figure.get_size_inches()[0] / PAGE[0]  # points of type a point
    figure.get_layout_engine().set(rect=(0.01, BELOW, 0.98, 1 - ABOVE - BELOW))
    title = f"{demo.title}: {view}" if view else demo.title
    figure.text(0.02, 0.975, title, va="top", fontsize=24 * scale, color=plots.INK, weight="bold")
    words = textwrap.fill(demo.alt.replace("$", r"\$"), 170)
    figure.text(0.02, 0.02, words, va="bottom", fontsize=13 * scale, color=plots.QUIET)
    picture.draw(demo.data)
    with picture.whole():
        pages.savefig(figure, dpi=picture.figure.dpi)
