"""Words on the kit's canvas: Matplotlib's own pixels, from memory, and mathematics in two threads at once."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patheffects import withStroke

from course_lib.kit import canvas
from course_lib.kit.canvas import Canvas

WORDS = {
    "letters": {"s": "From 0.43 to 1.2: fi, AV, \N{GREEK SMALL LETTER ALPHA}"},
    "turned": {"s": "loss of new tasks", "rotation": 90},
    "aslant": {"s": "steep", "rotation": 33.3, "rotation_mode": "anchor"},
    "mathematics": {"s": r"$\theta_0 - \alpha\,\frac{\partial L}{\partial\theta}$ again", "fontsize": 13},
    "a halo": {"s": "lowest", "path_effects": [withStroke(linewidth=4.5, foreground="white")], "alpha": 0.7},
    "two lines": {"s": "one\nand another", "family": "serif", "style": "italic"},
    "without smoothing": {"s": "jagged", "antialiased": False},
}


@pytest.mark.parametrize("look", WORDS.values(), ids=WORDS.keys())
def test_words_look_as_matplotlib_draws_them(look):
    drawn = {}
    for kind in (FigureCanvasAgg, Canvas):
        figure = Figure(figsize=(3, 2), dpi=113)
        text, pictures = figure.text(0, 0, **look), []
        for x, y in ((0.3, 0.4), (0.301, 0.403), (0.3, 0.4), (-0.01, 0.98)):  # parts of a pixel; anew; beyond the edge
            text.set_position((x, y))
            kept = figure.canvas if type(figure.canvas) is kind else kind(figure)
            kept.draw()
            pictures.append(np.array(kept.buffer_rgba()))
        drawn[kind] = pictures
    ours, theirs = drawn[Canvas], drawn[FigureCanvasAgg]
    assert np.array_equal(ours[0], ours[2])
    assert not np.array_equal(ours[0], ours[1]) or not canvas.remembers()  # 3.10 sets mathematics on whole pixels
    for mine, other in zip(ours, theirs, strict=True):
        assert np.array_equal(mine, other)


@pytest.mark.parametrize("change", ["pixels", "arguments"])
def test_where_matplotlib_draws_words_another_way_they_are_drawn_that_way(monkeypatch, change):
    ours = canvas.letter

    def changed(*given):
        if change == "arguments":
            raise TypeError("takes another argument")
        ink, left, low = ours(*given)
        return ink, left + 1, low

    figure = Figure(figsize=(3, 2))
    figure.text(0.3, 0.4, "words")
    FigureCanvasAgg(figure).draw()
    plain = np.array(figure.canvas.buffer_rgba())
    canvas.remembers.cache_clear()
    try:
        monkeypatch.setattr(canvas, "letter", changed)
        Canvas(figure).draw()
        assert np.array_equal(figure.canvas.buffer_rgba(), plain)
        assert type(figure.canvas.get_renderer()) is RendererAgg
    finally:
        canvas.remembers.cache_clear()


def test_mathematics_is_read_in_two_threads_at_once():
    """A demo is drawn in its thread while a cell plots: Matplotlib's reader of mathematics serves one at a time."""
    if not canvas.remembers():
        pytest.skip("an older Matplotlib keeps its own reader")
    sizes, failed = {}, []

    def read(thread, kind):
        renderer = kind(Figure()).get_renderer()
        try:
            for number in range(100):
                words = rf"$\theta'_{{{number}}} = \nabla_\theta \mathcal{{L}}(f_\theta) \frac{{1}}{{{number}}}$"
                sizes[thread, number] = renderer.get_text_width_height_descent(words, FontProperties(size=12), True)
        except Exception as error:
            failed.append(error)

    canvases = {"demos": Canvas, "another page's": Canvas, "a cell": FigureCanvasAgg}
    threads = [threading.Thread(target=read, args=each) for each in canvases.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed
    assert all(sizes[thread, number] == sizes["a cell", number] for thread in canvases for number in range(100))
