"""The kept figure: PNG bytes, and never a stale axis, title, tick or legend."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from course_lib.kit import plots
from course_lib.kit.demo import Demo
from course_lib.kit.picture import Picture, encode_png
from tests.browser import sine_demo


@pytest.fixture
def demo() -> Demo:
    return sine_demo.make()


def decoded(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def test_png_decodes_to_the_pixels_it_was_made_from():
    pixels = np.random.default_rng(0).integers(0, 256, (31, 17, 4), dtype=np.uint8)
    assert (decoded(encode_png(pixels)) == pixels[..., :3]).all()


CHANGES_OF_THE_BACKGROUND = {
    "limits": lambda axes: axes.set_ylim(-60, 60),
    "title": lambda axes: axes.set_title("another title"),
    "label": lambda axes: axes.set_xlabel("another label"),
    "ticks": lambda axes: axes.set_xticks([-1, 0, 3]),
    "tick labels": lambda axes: axes.set_xticks([-1, 1], ["minus", "plus"]),
    "legend text": lambda axes: axes.get_legend().get_texts()[0].set_text("another word"),
    "legend title": lambda axes: axes.get_legend().set_title("a title"),
    "legend hidden": lambda axes: axes.get_legend().set_visible(False),
    "legend gone": lambda axes: axes.get_legend().remove(),
    "figure title": lambda axes: axes.figure.suptitle("above all"),
    "axes off": lambda axes: axes.set_axis_off(),
    "scale": lambda axes: axes.set_yscale("symlog"),
    "new line": lambda axes: axes.axhline(1),
    "spine": lambda axes: axes.spines["left"].set_color("red"),
}


@pytest.mark.parametrize("change", CHANGES_OF_THE_BACKGROUND.values(), ids=CHANGES_OF_THE_BACKGROUND.keys())
def test_no_change_of_the_background_leaves_a_stale_picture(demo, change):
    demo.set()
    picture, before = demo.picture, demo.picture.pixels.copy()
    change(picture.artists.truth.axes)
    picture.paint()
    kept = picture.pixels.copy()
    picture.paint(afresh=True)
    assert (kept != before).any()
    assert (kept == picture.pixels).all()


def test_moving_artists_does_not_redraw_the_background(demo):
    demo.set()
    before, redraws = demo.png, demo.picture.redraws
    demo.set(steps=11)
    assert demo.picture.redraws == redraws and demo.png != before


def test_saved_pixels_give_the_picture_that_a_full_redraw_gives(demo):
    for steps in (10, 3, 50):
        demo.set(steps=steps)
        kept = demo.picture.pixels.copy()
        demo.picture.paint(afresh=True)
        assert (kept == demo.picture.pixels).all()


def test_curves_pass_below_the_legend():
    def figure(fig):
        axes = fig.subplots()
        axes.set(xlim=(0, 1), ylim=(0, 1))
        (line,) = axes.plot([], [], label="line", linewidth=400)
        axes.legend()
        return line

    picture = Picture(figure)
    picture.draw(lambda line, data: line.set_data([], []), {})
    empty = picture.pixels.copy()
    picture.draw(lambda line, data: line.set_data([0, 1], [0.5, 0.5]), {})
    box = picture.figure.axes[0].get_legend().get_window_extent()
    x, y = int(box.x0 + box.width / 2), int(picture.pixels.shape[0] - box.y0 - box.height / 2)
    assert (picture.pixels[y - 3 : y + 3, x - 3 : x + 3] == empty[y - 3 : y + 3, x - 3 : x + 3]).all()
    assert (picture.pixels[200, 450] != empty[200, 450]).any()


def test_large_print_enlarges_picture_and_words(demo):
    demo.set()
    small, words = decoded(demo.png).shape, demo.picture.words()
    size = demo.picture.figure.axes[0].title.get_fontsize()
    demo.set_large_print(True)
    assert decoded(demo.png).shape[0] == pytest.approx(1.3 * small[0], abs=1)
    assert demo.picture.figure.axes[0].title.get_fontsize() > size
    assert demo.picture.words()[1] == words[1]


def test_set_limits_leaves_unchanged_limits_alone(demo):
    demo.set()
    axes = demo.picture.artists.right
    plots.set_limits(axes, axes.get_xlim(), axes.get_ylim())
    assert not demo.picture.figure.stale
    plots.set_limits(axes, y=(0, 77))
    assert demo.picture.figure.stale and axes.get_ylim() == (0, 77)
