"""A demo taken to all its corners, for the tests of the chapters."""

from __future__ import annotations

import re
from itertools import combinations, islice
from typing import Any

import numpy as np
from matplotlib.text import Text

from course_lib.kit.picture import Picture

ONE_AS_SEVERAL = re.compile(r"(?<![\d.,])1 (outer |inner )?(steps|visits|tasks|points|shots|drawings|products)\b")


def corners_of(demo: Any) -> list[dict[str, Any]]:
    """Settings worth testing, each once: as it opens, each view, each control at each end alone, all low, all high."""
    alone = (demo.start | {name: end} for name, control in demo.controls.items() for end in control.ends)
    together = ({name: control.ends[side] for name, control in demo.controls.items()} for side in (0, -1))
    corners = []
    for corner in (dict(demo.start), *demo.views.values(), *alone, *together):
        if corner not in corners:
            corners.append(corner)
    return corners


def check(demo: Any, frames: int = 3) -> None:
    """Take a demo to all its corners and back; AssertionError says where it fails.

    At each corner: data finite, picture not empty, words not empty and no "1 steps" in them. Of a long computation a
    few frames are drawn, and where the demo opens, its end. There and at the last two corners the same data drawn twice
    gives the same picture. At the last corner and back at the start: the picture moved over saved pixels equals one
    drawn in full, and the words and limits of the figure are those of a fresh figure that never showed anything else.
    In large print nothing sticks out of the picture that a view shows, and no words lie over others; nor does anything
    stick out of the first in normal print.
    """
    demo.picture, large = Picture(demo.make_picture, demo.size), Picture(demo.make_picture, demo.size).fit(large=True)
    corners = corners_of(demo)
    for index, corner in enumerate([*corners, demo.start], 1):
        try:
            if index > len(corners):
                demo.reset()
            else:
                demo.accept(corner)
                for data in islice(demo.frames(), frames):
                    demo.show(data)
        except Exception as error:
            raise AssertionError(f"{demo.title!r} fails at {corner}: {error}") from error
        picture, shown = demo.picture, demo.picture.pixels.copy()
        assert demo.alt.strip(), f"{demo.title!r} has no alt text at {corner}"
        several = ONE_AS_SEVERAL.search(f"{demo.alt} {picture.words()}")
        assert not several, f"{demo.title!r} says {several[0]!r} at {corner}"
        colours = shown.view(np.uint32)
        drawn = colours[colours != colours[0, 0]]
        assert (drawn != drawn[:1]).any(), f"{demo.title!r} shows an empty picture at {corner}"
        if index <= 1 + len(demo.views):
            faults = [*large.draw(demo.data).sticking_out(), *touching(large)]
            assert not faults, f"{demo.title!r}, large print, at {corner}: {'; '.join(faults)}"
        if index == 1 or index >= len(corners) - 1:
            picture.draw(demo.data)
            assert (picture.pixels == shown).all(), f"{demo.title!r}: drawing twice at {corner} changes the picture"
        if index >= len(corners):
            picture.paint(afresh=True)
            picture.paint(afresh=True)  # the second lets the layout settle
            kept = picture.pixels.copy()
            picture.paint()
            assert (picture.pixels == kept).all(), f"{demo.title!r}: saved pixels are stale at {corner}"
            fresh = Picture(demo.make_picture, demo.size).draw(demo.data)
            assert picture.words() == fresh.words(), (
                f"{demo.title!r}: at {corner} the figure keeps words or limits "
                f"of an earlier picture:\n{picture.words()}\n{fresh.words()}"
            )
    sticking_out = fresh.draw(demo.data).sticking_out()
    assert not sticking_out, f"{demo.title!r}: cut off at the {', '.join(sticking_out)}"


def touching(picture: Picture, gap: tuple[float, float] = (2.0, 3.0)) -> list[str]:
    """Words of a picture that lie over one another; so many pixels are forgiven, across and upward."""
    figure = picture.figure
    axes = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
    every = [tick for axis in axes for tick in axis.majorTicks + axis.minorTicks]
    ticks = {label for tick in every for label in (tick.label1, tick.label2)}
    shown = {tick.label1 for axis in axes if axis.axes.axison for tick in axis._update_ticks()}  # within the limits
    words = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    boxes = {text: box_of(text) for text in words if text not in ticks or text in shown}
    found = []
    for (one, a), (two, b) in combinations(((t, box) for t, box in boxes.items() if figure.bbox.overlaps(box)), 2):
        if min(a.x1, b.x1) - max(a.x0, b.x0) > gap[0] and min(a.y1, b.y1) - max(a.y0, b.y0) > gap[1]:
            found.append(f"{one.get_text()!r} over {two.get_text()!r}")
    return found


def box_of(text: Text) -> Any:
    """Where the words lie, without an arrow, in pixels."""
    return Text.get_window_extent(text, text.figure.canvas.get_renderer())
