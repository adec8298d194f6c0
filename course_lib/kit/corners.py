"""A demo taken to all its corners, for the tests of the chapters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from course_lib.kit.picture import Picture


def corners_of(demo: Any) -> Iterator[dict[str, Any]]:
    """Settings worth testing: where it opens, each view, each control at each end alone, and all low, all high."""
    yield dict(demo.start)
    yield from demo.views.values()
    for name, control in demo.controls.items():
        yield from (demo.start | {name: end} for end in control.ends if end != demo.start[name])
    for side in (0, -1):
        yield {name: control.ends[side] for name, control in demo.controls.items()}


def check(demo: Any, frames: int = 3) -> None:
    """Take a demo to all its corners; AssertionError says where it fails. Long computations run a few frames.

    At each corner: data finite, picture not empty, words not empty, the same data drawn twice gives the same picture.
    At the first and last corners, too: the picture moved over saved pixels equals one drawn in full, and the words and
    limits of the figure are those of a fresh figure that never showed anything else. Last, in both print sizes,
    nothing sticks out of the picture.
    """
    demo.reset()
    demo.picture.fit()
    corners = list(corners_of(demo))
    for index, corner in enumerate([*corners, demo.start]):
        try:
            demo.accept(corner)
            for _, data in zip(range(frames), demo.frames()):
                demo.show(data)
        except Exception as error:
            raise AssertionError(f"{demo.title!r} fails at {corner}: {error}") from error
        picture, shown = demo.picture, demo.picture.pixels.copy()
        assert demo.alt.strip(), f"{demo.title!r} has no alt text at {corner}"
        assert len(np.unique(shown.view(np.uint32))) > 2, f"{demo.title!r} shows an empty picture at {corner}"
        picture.draw(demo.data)
        assert (picture.pixels == shown).all(), f"{demo.title!r}: drawing twice at {corner} changes the picture"
        if index == 0 or index >= len(corners) - 1:
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
    for large in (False, True):
        sticking_out = Picture(demo.make_picture, demo.size).fit(large=large).draw(demo.data).sticking_out()
        assert not sticking_out, f"{demo.title!r}, large print {large}: cut off at the {', '.join(sticking_out)}"
    demo.reset()
