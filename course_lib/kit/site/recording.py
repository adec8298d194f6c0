"""A demo recorded: its picture at settings worth seeing, as one SVG and what differs from it.

``record(demo)`` goes to where the demo opens, to its views, and from there along each control alone (a star), a few
notches of each, and along the slider that plays at each choice; a live run is kept as the pictures it went through.
What comes out is plain data for the page (``recorded.js``), which answers a move with the nearest setting that was
recorded and says so where it is another.
"""

from __future__ import annotations

import gzip
import html
import json
from collections.abc import Iterator
from typing import Any

from course_lib.kit.controls import Button, Choice, Control, Notches, Run, Several, Slider, Switch
from course_lib.kit.demo import Demo, NonFiniteError
from course_lib.kit.drawing_pad import Drawing as Pad
from course_lib.kit.picture import Picture
from course_lib.kit.show import Handle
from course_lib.kit.site.svg import Draughtsman, difference, document
from course_lib.kit.touch import Point, Points

FRAMES = 36  # of a demo, about: shared among its sliders
FEWEST, MOST = 7, 25  # notches of a slider
LIMIT = 100_000  # bytes, packed; above it each control is recorded alone
PLANE, PLANES = 28, 240  # frames of the slider that plays with each choice in turn; with every control
PRESSES = 4  # of a button
LATTICE = 6  # places a side of a point that is dragged
RUN_FRAMES = 40  # of a live run


def record(demo: Demo, plane: int = PLANE) -> dict[str, Any]:
    """The recording of ``demo`` from where it opens: declaration, base SVG, frames, runs. Plain data, for JSON."""
    painter = painter_of(demo)
    frames = [_frame(demo, painter, values) for values in settings(demo, plane)]
    runs = {name: _run(demo, painter, name) for name, control in demo.controls.items() if isinstance(control, Run)}
    everything = [frame for frame in [*frames, *(f for run in runs.values() for f in run)] if "drawing" in frame]
    base = painter.union([frame["drawing"] for frame in everything])
    for frame in everything:
        frame["change"] = difference(base, frame.pop("drawing"))
    if plane == PLANE and _size([frame.get("change") for frame in frames]) > LIMIT:
        return record(demo, plane=0)
    recorded = {name: _recorded(control, frames) for name, control in demo.controls.items()}
    for frame in frames:
        values = frame.pop("values")
        frame["at"] = [recorded[name].index(values[name]) for name in recorded]
    return {
        "declaration": _declaration(demo, recorded, frames, painter.picture.show.handles),
        "size": [round(side, 2) for side in base.size],
        "svg": document(base),
        "frames": frames,
        "runs": runs,
    }


def painter_of(demo: Demo) -> Draughtsman:
    """Draws the demo's picture, with ids that no other demo's has."""
    return Draughtsman(Picture(demo.make_picture, demo.size), salt=repr((demo.key, demo.start, demo.hidden)))


# What is recorded ---------------------------------------------------------------------------------------------


def settings(demo: Demo, plane: int = PLANE) -> list[dict[str, Any]]:
    """Values of all controls: where it opens, each view, each control alone; and about ``plane`` of the slider that
    plays together with each of the others."""
    found = [dict(demo.start), *demo.views.values()]
    beside = _beside(demo, plane)
    most = plane // max(sum(map(len, beside.values())), 1)
    played = demo.controls[demo.play].notches(min(most, MOST)) if beside else []
    for name, control in demo.controls.items():
        stops = played if played and name == demo.play else _stops(control, demo)
        found += [_after(demo, {name: stop}) for stop in stops]
    found += [_after(demo, {demo.play: a, name: b}) for name, stops in beside.items() for b in stops for a in played]
    return [values for place, values in enumerate(found) if values not in found[:place]]


def _beside(demo: Demo, plane: int) -> dict[str, list]:
    """The stops, other than where the demo opens, of the controls that are recorded together with the slider that
    plays: choices and switches, in a large ``plane`` all, as many as leave that slider ``FEWEST`` notches."""
    room, found = plane // FEWEST, {}
    for name, control in demo.controls.items():
        stops = [stop for stop in _stops(control, demo) if stop != demo.start[name]]
        fits = plane > PLANE or isinstance(control, (Choice, Switch))
        if demo.play and name != demo.play and fits and 0 < len(stops) <= room:
            found[name] = stops
            room -= len(stops)
    return found


def _stops(control: Control, demo: Demo) -> list:
    """Where a control stops when it moves alone."""
    if isinstance(control, (Slider, Notches)):
        return control.notches(_share(demo))
    if isinstance(control, Several):
        chosen = demo.start[control.name]
        return [tuple(o for o in control.options if (o in chosen) != (o == turned)) for turned in control.options]
    if isinstance(control, Point):
        parts = [i / (LATTICE - 1) for i in range(LATTICE)]
        (left, right), (low, high) = control.x_range, control.y_range
        return [control.clean((left + (right - left) * x, low + (high - low) * y)) for y in parts for x in parts]
    if isinstance(control, Button):
        return control.notches(PRESSES)
    return [] if isinstance(control, (Run, Points, Pad)) else control.notches()


def _share(demo: Demo) -> int:
    """Notches for each slider."""
    sliders = [c for c in demo.controls.values() if isinstance(c, (Slider, Notches))]
    others = sum(len(c.notches()) - 1 for c in demo.controls.values() if isinstance(c, (Choice, Switch)))
    return max(FEWEST, min(MOST, (FRAMES - others - len(demo.views)) // max(len(sliders), 1)))


def _size(told: Any) -> int:
    """Bytes that it takes, packed."""
    return len(gzip.compress(json.dumps(told).encode()))


def _after(demo: Demo, changes: dict[str, Any]) -> dict[str, Any]:
    """All values once ``changes`` were made where the demo opens: a button may set others."""
    demo.values = dict(demo.start)
    demo.accept(changes)
    return dict(demo.values)


# One frame ----------------------------------------------------------------------------------------------------


def _frame(demo: Demo, painter: Draughtsman, values: dict[str, Any]) -> dict[str, Any]:
    """The last picture that these values lead to; in words alone where it is not finite."""
    demo.values = dict(values)
    try:
        for data in demo.frames():
            pass
    except NonFiniteError as error:
        return {"values": values, "problem": html.escape(str(error))}
    return {"values": values} | _drawn(demo, painter, data)


def _run(demo: Demo, painter: Draughtsman, name: str) -> list[dict[str, Any]]:
    """A live run from where the demo opens, thinned evenly, its last picture among them."""
    demo.values = demo.start | {name: True}
    yielded = list(demo.frames())
    kept = sorted({round(i * (len(yielded) - 1) / (RUN_FRAMES - 1)) for i in range(RUN_FRAMES)})
    return [_drawn(demo, painter, yielded[place]) for place in kept]


def _drawn(demo: Demo, painter: Draughtsman, data: dict) -> dict[str, Any]:
    drawing = painter.draw(data)
    return {"drawing": drawing, "words": str(demo.words(data)), "handles": list(_handles(painter, demo, data))}


def _handles(painter: Draughtsman, demo: Demo, data: dict) -> Iterator[dict[str, Any]]:
    """Points that can be dragged, in parts of the picture; those that set support points need the live demo."""
    for number, handle in enumerate(painter.picture.show.handles):
        if any(isinstance(demo.controls[name], Points) for name in _moves(handle)):
            continue
        for index, xy in enumerate(handle.where(data)):
            x, y = handle.axes.transData.transform(xy) / painter.size
            if 0 <= x <= 1 and 0 <= y <= 1:
                words = f"{handle.label} ({xy[0]:.3g}, {xy[1]:.3g})"
                place = {"x": round(float(x), 4), "y": round(1 - float(y), 4), "words": words}
                yield {"handle": number, "index": index, **place}


# What the page is told ----------------------------------------------------------------------------------------


def _recorded(control: Control, frames: list[dict]) -> list:
    """The values of a control that were recorded, in its own order."""
    values = []
    for frame in frames:
        if frame["values"][control.name] not in values:
            values.append(frame["values"][control.name])
    return sorted(values) if isinstance(control, (Slider, Button)) else sorted(values, key=_order(control))


def _order(control: Control) -> Any:
    if isinstance(control, (Notches, Choice, Switch)):
        return control.notches().index
    return lambda value: 0  # as they were recorded


def _moves_picture(place: int, frames: list[dict]) -> bool:
    """Whether two frames that differ in the control at ``place`` alone show different pictures: the seconds of a live
    run, or what counts only beside another choice, do not."""
    shown: dict[tuple, set[str]] = {}
    for frame in frames:
        others = (*frame["at"][:place], *frame["at"][place + 1 :])
        shown.setdefault(others, set()).add(json.dumps(frame.get("change", frame.get("problem"))))
    return any(len(pictures) > 1 for pictures in shown.values())


def _declaration(demo: Demo, recorded: dict[str, list], frames: list[dict], handles: list[Handle]) -> dict[str, Any]:
    """As ``Live.declare`` (kit/live.py), for what was recorded: fewer notches, no controls that nothing answers."""
    controls = []
    for place, (name, control) in enumerate(demo.controls.items()):
        moves = isinstance(control, Run) or (_moves_picture(place, frames) and not isinstance(control, (Points, Pad)))
        told = control.describe() | {"recorded": moves}
        if isinstance(control, (Slider, Notches, Choice, Switch)):
            told |= {"texts": [control.text(value) for value in recorded[name]]}
            told |= {"words": [control.word(value) for value in recorded[name]]}
        elif isinstance(control, (Several, Point)):
            told |= {"stands": [control.place(value) for value in recorded[name]]}
        controls.append(told)
    return {
        "title": demo.title,
        "key": demo.key,
        "controls": controls,
        "views": {name: [recorded[n].index(values[n]) for n in recorded] for name, values in demo.views.items()},
        "play": demo.play,
        "size": [100 * inches for inches in demo.size],
        "moves": [_moves(handle) for handle in handles],
    }


def _moves(handle: Handle) -> list[str]:
    """The controls that follow a handle."""
    return [handle.moves] if isinstance(handle.moves, str) else [name for name in handle.moves if name]
