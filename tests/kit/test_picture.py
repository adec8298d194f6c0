"""The kept figure: PNG bytes, never a stale axis, title or tick, and a look that is settled when it is made."""

from __future__ import annotations

import io

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image

from course_lib.kit import canvas, plots
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
    "label": lambda axes: axes.set_xlabel("another label"),
    "ticks": lambda axes: axes.set_xticks([-1, 0, 3]),
    "tick labels": lambda axes: axes.set_xticks([-1, 1], ["minus", "plus"]),
    "figure title": lambda axes: axes.figure.suptitle("above all"),
    "axes off": lambda axes: axes.set_axis_off(),
    "scale": lambda axes: axes.set_yscale("symlog"),
    "new line": lambda axes: axes.axhline(1),
    "spine": lambda axes: axes.spines["left"].set_color("red"),
}


@pytest.mark.parametrize("change", CHANGES_OF_THE_BACKGROUND.values(), ids=CHANGES_OF_THE_BACKGROUND.keys())
def test_no_change_of_the_background_leaves_a_stale_picture(demo, change):
    picture = demo.set().picture
    axes = picture.figure.axes[0]
    before = picture.pixels.copy()
    change(axes)
    picture.paint()
    kept = picture.pixels.copy()
    picture.paint(afresh=True)
    assert (kept != before).any()
    assert (kept == picture.pixels).all()


ONE_AFTER_ANOTHER = {  # which axes have changed; the layout stays
    "first": lambda left, right: left.set_ylim(-7, 7),
    "the same again": lambda left, right: left.set_ylim(-8, 8),
    "another colour in it": lambda left, right: left.spines["left"].set_color("red"),
    "the other": lambda left, right: right.set_xlim(0, 51),
    "both": lambda left, right: (left.set_ylim(-6, 6), right.set_xlim(0, 52)),
    "the figure": lambda left, right: left.figure.suptitle("one", fontsize=1, in_layout=False),
    "the first again": lambda left, right: left.set_ylim(-7, 7),
    "and again": lambda left, right: left.set_ylim(-8, 8),
    "and the layout": lambda left, right: left.set_ylabel("two\nlines"),
    "after it": lambda left, right: left.set_ylim(-7, 7),
}


def test_axes_that_alone_change_are_drawn_alone_and_as_if_all_were(demo, monkeypatch):
    kept, whole = demo.set().picture, sine_demo.make().set().picture
    drawn, draw = [], Axes.draw
    monkeypatch.setattr(Axes, "draw", lambda axes, renderer: (drawn.append(axes), draw(axes, renderer)))
    for name, change in ONE_AFTER_ANOTHER.items():
        for picture in (whole, kept):
            change(*picture.figure.axes)
            drawn.clear()
            picture.paint(afresh=picture is whole)
        assert np.array_equal(kept.pixels, whole.pixels), name
        if name in ("the same again", "another colour in it", "and again"):
            assert drawn == kept.figure.axes[:1], name


LIMITS_AND_WORDS = {
    "the same room": lambda demo, axes: axes.set_ylim(-7, 7),
    "wider ticks": lambda demo, axes: axes.set_ylim(0, 1e6),
    "a higher label": lambda demo, axes: axes.set_xlabel("two\nlines"),
    "longer moving words": lambda demo, axes: (demo.picture._moving[-1].set_text("long " * 9), axes.set_ylim(0, 1)),
    "another size": lambda demo, axes: demo.picture.fit(width=600),
    "large print": lambda demo, axes: demo.picture.fit(large=True),
}


@pytest.mark.parametrize("change", LIMITS_AND_WORDS.values(), ids=LIMITS_AND_WORDS.keys())
def test_axes_lie_where_constrained_layout_puts_them(demo, change):
    figure = demo.set().picture.figure

    def places():
        for _ in range(3):  # words beside lines follow when the axes have moved, and then the layout them
            demo.picture.paint(afresh=True)
        return np.array([axes.get_position().bounds for axes in figure.axes])

    before = places()
    change(demo, figure.axes[0])
    settled = places()
    with plots.style():
        figure.set_layout_engine("constrained")
    np.testing.assert_allclose(settled, places(), atol=1e-6)
    assert (settled == before).all() == (change is LIMITS_AND_WORDS["the same room"])


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


def test_a_picture_that_is_drawn_while_another_is_made_is_the_same(demo):
    demo.set()
    with plots.style():  # of all threads: the one that draws meets it where a cell makes the next demo
        meanwhile = sine_demo.make().set()
    assert (meanwhile.picture.pixels == demo.picture.pixels).all()


def test_a_picture_is_as_large_as_the_page_wants_and_large_print_enlarges_words_alone(demo):
    demo.set()
    title = demo.picture.figure.axes[0].title
    height = lambda: title.get_window_extent(demo.picture.figure.canvas.get_renderer()).height

    def size(**wanted):
        demo.picture.fit(**wanted).paint()
        return decoded(demo.png).shape[1::-1]

    assert size() == (900, 400)
    normal, words = height(), demo.picture.words()
    assert size(width=450, ratio=2.0) == (900, 400) and height() == pytest.approx(normal, rel=0.05)
    assert size(ratio=2.0) == (1800, 800) and height() == pytest.approx(2 * normal, rel=0.05)
    assert size(large=True) == (900, 400) and height() == pytest.approx(plots.LARGE * normal, rel=0.1)
    assert size() == (900, 400) and demo.picture.words() == words


OTHER_STYLE = {"font.size": 30, "font.family": "serif", "lines.linewidth": 9, "axes.grid": False, "grid.color": "red"}
OTHER_STYLE |= {"xtick.color": "red", "axes.facecolor": "yellow", "text.color": "red", "mathtext.fontset": "cm"}


@pytest.mark.trust("a reader's own Matplotlib settings")
@pytest.mark.parametrize("moment", ["made", "drawn"])
def test_the_look_is_the_courses_whatever_a_person_has_set(moment):
    def drawn(styles):
        with mpl.rc_context(styles.get("made", {})):
            demo = sine_demo.make().set()
        with mpl.rc_context(styles.get("drawn", {})):
            demo.picture.fit(width=700).paint()  # the axes drawn again, too
            return demo.render(steps=50, rate=0.3)

    assert drawn({moment: OTHER_STYLE}) == drawn({})


@pytest.mark.trust("a reader's own Matplotlib settings")
def test_a_matplotlibrc_that_asks_for_latex_is_no_matter():
    canvas.remembers.cache_clear()  # as in a kernel of theirs
    with mpl.rc_context({"text.usetex": True}):
        assert sine_demo.make().render(steps=3)


def test_svg_has_the_words_and_leaves_the_live_picture_as_it_was(demo):
    before = demo.render(steps=20)
    svg = demo.picture.svg()
    assert svg.startswith("<?xml") and "predicting zero" in svg
    assert svg == demo.picture.svg() or mpl.__version_info__ < (3, 11)  # which numbers what it cuts off by chance
    demo.picture.paint()
    assert demo.png == before


def test_set_limits_leaves_unchanged_limits_alone(demo):
    axes = demo.set().picture.figure.axes[1]
    plots.set_limits(axes, axes.get_xlim(), axes.get_ylim())
    assert not demo.picture.figure.stale
    plots.set_limits(axes, y=(0, 77))
    assert demo.picture.figure.stale and axes.get_ylim() == (0, 77)


# What is shown --------------------------------------------------------------------------------------------


def shown(declare, data) -> Picture:
    """One axes from 0 to 1 with what ``declare(axes, show)`` puts there, showing ``data``."""

    def make(fig, show):
        axes = fig.subplots()
        axes.set(xlim=(0, 1), ylim=(0, 1))
        declare(axes, show)

    return Picture(make, (4, 3)).draw(data)


def ink(picture: Picture) -> int:
    return int((picture.pixels[..., :3] < 250).any(-1).sum())


ROWS = np.array([[0.2, 0.3], [0.5, 0.6], [0.8, 0.4]])
SHOWN = {
    "line": lambda axes, show: show.line(axes, "xy"),
    "line of a function": lambda axes, show: show.line(axes, [0, 0.5, 1], lambda d: d["xy"][:, 1]),
    "points": lambda axes, show: show.points(axes, "xy"),
    "paths": lambda axes, show: show.paths(axes, lambda d: [d["xy"], d["xy"] / 2]),
    "scatter": lambda axes, show: show.scatter(axes, "xy", c=lambda d: d["xy"][:, 0], s=60),
    "arrows": lambda axes, show: show.arrows(axes, "xy", lambda d: d["xy"] / 5, n=3),
    "level": lambda axes, show: show.level(axes, lambda d: d["xy"][0, 0], "a level"),
    "mark": lambda axes, show: show.mark(axes, lambda d: d["xy"][0, 0], "a mark"),
    "band": lambda axes, show: show.band(axes, [0, 0.5, 1], lambda d: d["xy"][:, 0], 1),
    "bars": lambda axes, show: show.bars(axes, [0.2, 0.5, 0.8], lambda d: d["xy"][:, 1], width=0.1),
    "bars across": lambda axes, show: show.bars(axes, [0.2, 0.5], lambda d: d["xy"][:2, 1], height=0.1, across=True),
    "image": lambda axes, show: show.image(axes, "xy", extent=(0, 1, 0, 1), aspect="auto"),
    "text": lambda axes, show: show.text(axes, 0.5, lambda d: d["xy"][0, 1], "words"),
    "title": lambda axes, show: show.title(axes, lambda d: f"{d['xy'].sum():.2f} in all"),
    "series": lambda axes, show: show.series(
        axes, [0, 0.5, 1], lambda d: {"maml": d["xy"][:, 1] + np.array([[0], [-0.1], [0.1]])}, {"maml": "MAML"}
    ),
}


@pytest.mark.parametrize("declare", SHOWN.values(), ids=SHOWN.keys())
def test_what_is_declared_is_drawn_and_follows_the_data(declare):
    empty = shown(lambda axes, show: None, {})
    picture = shown(declare, {"xy": ROWS})
    first = picture.pixels.copy()
    assert ink(picture) > ink(empty) + 30
    assert (picture.draw({"xy": ROWS * 0.7}).pixels != first).any()
    assert (picture.draw({"xy": ROWS}).pixels == first).all()


def test_what_is_constant_is_drawn_with_the_axes_and_never_again():
    picture = shown(lambda axes, show: (show.line(axes, [0, 1], [0, 1]), show.level(axes, 0.5, "half")), {})
    assert not picture.show.moving and not picture.show.moves
    assert ink(picture) > ink(shown(lambda axes, show: None, {})) + 200


def test_looks_follow_the_data_and_artists_hide():
    declare = lambda axes, show: show.line(axes, [0, 1], [0, 1], linewidth=lambda d: d["w"], shown=lambda d: d["w"] > 1)
    picture = shown(declare, {"w": 2})
    thin = ink(picture)
    assert ink(picture.draw({"w": 9})) > thin > ink(picture.draw({"w": 1}))


def test_words_at_lines_ends_keep_apart_and_hide_with_their_lines():
    def declare(axes, show):
        for i in range(3):
            show.line(axes, [0, 1], [0, 0.5], end=f"line {i}", shown=lambda d, i=i: i < d["n"])

    picture = shown(declare, {"n": 3})
    texts = [artist for artist in picture.show.moving if getattr(artist, "get_text", str)().startswith("line")]
    renderer = picture.figure.canvas.get_renderer()
    boxes = sorted((text.get_window_extent(renderer) for text in texts), key=lambda box: box.y0)
    assert all(lower.y1 <= upper.y0 + 1 for lower, upper in zip(boxes, boxes[1:]))
    picture.draw({"n": 1})
    assert [text.get_visible() for text in texts] == [True, False, False] and not picture.sticking_out()


def test_words_at_a_line_that_grows_get_the_room_that_they_had_not_needed():
    def declare(axes, show):
        show.line(axes, lambda d: [0, d["until"]], [0, 1], end="a line that grows", marker="o")

    picture = shown(declare, {"until": 0.1})
    assert picture.draw({"until": 0.2}).redraws == 1
    assert picture.draw({"until": 1}).redraws == 2 and not picture.sticking_out()
