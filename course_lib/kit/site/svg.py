"""A figure as SVG, artist by artist, so that two drawings of it can be told apart and the difference be sent.

A ``Draughtsman`` makes ``Drawing``s: the parts of the figure, each the markup of one artist under a name that it keeps
as long as the figure lives, and the definitions they refer to. The ``union`` of many, in the order they are painted, is
what a page holds from the start; ``difference`` is what turns that into one of them (``recorded.js`` applies it).

Words stay words (the page brings Matplotlib's font), images keep their own pixels, and numbers are rounded to a
twentieth of a point: nobody sees it, and a third of the bytes go.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from graphlib import TopologicalSorter
from itertools import cycle, pairwise
from operator import sub
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_svg import RendererSVG
from matplotlib.collections import QuadMesh
from matplotlib.image import AxesImage
from matplotlib.textpath import text_to_path
from PIL import Image

from course_lib.kit.picture import Picture

POINTS = 72  # an inch
NEAR = 8.0  # points that words may need more: there are as many between axes
LINK = "{http://www.w3.org/1999/xlink}href"
NUMBER = re.compile(r"-?\d+\.\d+(e-?\d+)?")
SMALLEST = {"quality": 100, "method": 5}  # of lossless WebP: a quarter less; 6 takes nine times as long for 2 % more
RUN = re.compile("M[^LQCzM]*|(?:L[^MQCzL]*)+|(?:Q[^MLCzQ]*)+|(?:C[^MLQzC]*)+|z")  # of a path
SPAN = {"L": 2, "Q": 4, "C": 6}  # numbers of a segment, all told from where the one before ends
HIDE = [[0, "display", "none"]]

Change = list  # [number of the element in its part, attribute ("" for its text), new value or None]


@dataclass(frozen=True)
class Drawing:
    """Parts {artist: its element}, and definitions {id: markup}."""

    parts: dict[str, ElementTree.Element]
    definitions: dict[str, str]
    size: tuple[float, float]  # points


class Pen(RendererSVG):
    """Matplotlib's renderer, for one drawing after another: it keeps the measures of words, and formulas once read."""

    def __init__(self, size: tuple[float, float]):
        self.begin(size)

    def begin(self, size: tuple[float, float]) -> io.StringIO:
        """An empty file of ``size`` (points), to draw in until ``finalize``."""
        out = io.StringIO()
        super().__init__(*size, out, image_dpi=POINTS)
        self._text2path = text_to_path
        return out


class Draughtsman:
    """Draws a picture as SVG again and again, with its layout kept where it hardly changes.

    As in a live picture, what does not move is drawn anew only where the figure is stale; that is most of the time.
    ``picture`` is its own: its figure is set to 72 dots an inch and stays so. Pictures of different ``salt`` share no
    id, so that they can stand on one page.
    """

    def __init__(self, picture: Picture, salt: str):
        self.picture, self.figure, self._salt = picture, picture.figure, salt
        self.figure.dpi = POINTS
        self.size = tuple(POINTS * inches for inches in self.figure.get_size_inches())
        self._layout = self.figure.get_layout_engine()
        self._places: list | None = None  # of the axes in the first drawing
        self._known = 0
        self._chains: dict[tuple[str, ...], None] = {}  # parts in the order in which whole figures were painted
        self._still = Drawing({}, {}, self.size)  # what does not move
        self._pen = Pen(self.size)
        self._smooth: list[AxesImage] = []
        for image in self.figure.findobj(AxesImage):  # as its own pixels, a small PNG; the page makes it smooth
            if image.get_interpolation() not in ("auto", "antialiased", "nearest", "none"):
                self._smooth.append(image)
            image.set_interpolation("none")

    def draw(self, data: dict, afresh: bool = False) -> Drawing:
        """The picture of ``data``; ``afresh`` draws every artist even if only some have moved."""
        for move in self.picture.show.moves:
            move(data)
        stale = self._places is None or self.figure.stale
        if stale:
            self._lay_out()
        for move in self.picture.show.settled:
            move(data)
        if not stale and not afresh:
            moved = self._paint(self.picture.show.moving)
            if moved.parts.keys() <= {name for chain in self._chains for name in chain}:
                definitions = self._still.definitions | moved.definitions
                return Drawing(self._still.parts | moved.parts, definitions, self.size)
        self._name_artists()
        whole = self._paint([self.figure])
        moving = {part.get_gid() for artist in self.picture.show.moving for part in artist.findobj()}
        still = {name: part for name, part in whole.parts.items() if name not in moving}
        self._still = Drawing(still, whole.definitions, self.size)
        self._chains[tuple(whole.parts)] = None
        return whole

    def union(self, drawings: list[Drawing]) -> Drawing:
        """The first drawing, and hidden in their places the parts that only others have."""
        parts = dict(drawings[0].parts)
        definitions = {name: entry for drawing in drawings for name, entry in drawing.definitions.items()}
        for drawing in drawings:
            for name in drawing.parts.keys() - parts.keys():
                parts[name] = ElementTree.fromstring(markup(drawing.parts[name]))
                parts[name].set("display", "none")
        return Drawing({name: parts[name] for name in merged(self._chains) if name in parts}, definitions, self.size)

    def _paint(self, artists: list[Artist]) -> Drawing:
        with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "course_lib", "svg.image_inline": True}):
            out = self._pen.begin(self.size)
            self.figure.set_layout_engine("none")
            self._animate(False)
            for artist in artists:
                artist.draw(self._pen)
            self._animate(True)
            self.figure.set_layout_engine(self._layout)
            self._pen.finalize()
        self.figure.stale = False
        drawing = parse(out.getvalue(), self.size, self._salt)
        for image in self._smooth:
            for element in drawing.parts.get(image.get_gid(), ElementTree.Element("g")).iter("image"):
                element.attrib.pop("style", None)  # "pixelated"
        for mesh in self.figure.findobj(QuadMesh):  # a colour bar: no seams between its cells
            if mesh.get_gid() in drawing.parts:
                drawing.parts[mesh.get_gid()].set("shape-rendering", "crispEdges")
        return drawing

    def _animate(self, on: bool) -> None:
        for artist in self.picture.show.moving:
            artist.set_animated(on)

    def _lay_out(self) -> None:
        """Axes to where they first were, so that they stay put; to where the layout wants them if words need it."""
        axes = [axes for axes in self.figure.axes if axes.get_in_layout()]
        for _ in range(1 if self._places else 2):  # a new figure settles only the second time
            self._layout.execute(self.figure)
        if self._places is None:
            self._places = [a.get_position(original=True).frozen() for a in axes]
        now = np.array([a.get_position(original=True).extents for a in axes])  # [axes, 4]
        then = np.array([place.extents for place in self._places])
        narrower = (now - then) * np.array((1, 1, -1, -1)) * np.tile(self.size, 2)  # words need more room: points
        if narrower.max() < NEAR:
            for a, place in zip(axes, self._places):
                a.set_position(place)
                a.set_in_layout(True)

    def _name_artists(self) -> None:
        for artist in self.figure.findobj():
            if artist.get_gid() is None:
                artist.set_gid(f"a{self._known}")
                self._known += 1


def parse(svg: str, size: tuple[float, float], salt: str) -> Drawing:
    """An SVG file of Matplotlib, whose artists have ids "a0", "a1", ..., as a drawing."""
    root = ElementTree.fromstring(svg)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.tail = None
        if element.tag != "text" and element.tag != "tspan":
            element.text = None
        _shorten(element.attrib)
    definitions = _take_definitions(root, salt)
    parts: dict[str, ElementTree.Element] = {}

    def walk(element: ElementTree.Element) -> None:
        inside = [e.get("id") for e in element.iter() if _is_artist(e.get("id"))]
        group = element.tag in ("svg", "g") and not set(element.keys()) - {"id"}
        if len(inside) > 1 or (inside and group and not _is_artist(element.get("id"))) or element.tag == "svg":
            for child in element:
                walk(child)
        elif inside and (len(element) or element.tag == "image"):
            for e in element.iter():
                e.attrib.pop("id", None)
            parts[inside[0]] = element

    walk(root)
    return Drawing(parts, definitions, size)


def _is_artist(name: str | None) -> bool:
    return bool(name) and re.fullmatch(r"a\d+", name) is not None


def _shorten(attributes: dict[str, str]) -> None:
    """Round what is a place or a length; write paths closely; leave out what says nothing."""
    for name in attributes.keys() - {"style", "id", LINK}:
        value = attributes[name]
        attributes[name] = _relative(value) if name == "d" else NUMBER.sub(_rounded, value)
    if attributes.get("transform", "").startswith("rotate(-0 "):
        del attributes["transform"]
    if "style" in attributes:
        attributes["style"] = attributes["style"].replace(": ", ":").replace("; ", ";")


def _rounded(match: re.Match) -> str:
    value = float(match[0])
    return f"{value:.1f}".removesuffix(".0") if abs(value) >= 10 else f"{value:.3g}"


def _relative(path: str) -> str:
    """A path with each point told from the one before, in tenths of a point; roundings do not add up.

    The same shape elsewhere then has the same words but for its first point, which packs well.

    >>> _relative("M 10.02 20 L 12 20.04 L 13 19 z")
    'M10 20l2 0 1-1z'
    """
    told, start, at = [], [], [0, 0]
    for run in RUN.findall(path):  # of one letter
        letter, numbers = run[0], [float(number) for number in run.replace(run[0], " ").split()]
        if letter == "M":
            start, at = numbers, [0, 0]
            told.append("M" + " ".join(f"{value:.1f}".removesuffix(".0") for value in start))
        elif letter == "z":
            told.append("z")
        else:
            ends = [round(10 * (value - first)) for value, first in zip(numbers, cycle(start))]
            span = SPAN[letter]
            before = [e for i in range(0, len(ends), span) for e in (ends[i - 2 : i] or at) * (span // 2)]
            at = ends[-2:]
            told.append(letter.lower() + " ".join(map(_tenths, map(sub, ends, before))).replace(" -", "-"))
    return "".join(told)


@lru_cache(maxsize=20_000)
def _tenths(number: int) -> str:
    """
    >>> _tenths(25), _tenths(-4), _tenths(30)
    ('2.5', '-.4', '3')
    """
    sign, (whole, part) = "-" * (number < 0), divmod(abs(number), 10)
    return sign + (f"{whole or ''}.{part}" if part else str(whole))


def _take_definitions(root: ElementTree.Element, salt: str) -> dict[str, str]:
    """Take all definitions out of the tree; their ids become hashes of ``salt`` and what they hold, and so do
    references."""
    definitions, names = {}, {}
    for parent in list(root.iter()):
        for block in [child for child in parent if child.tag in ("defs", "metadata")]:
            parent.remove(block)
            for entry in block:
                name = entry.attrib.pop("id", None)
                if name is not None:
                    markup = ElementTree.tostring(entry, "unicode")
                    names[name] = "d" + hashlib.sha1((salt + markup).encode()).hexdigest()[:8]
                    entry.set("id", names[name])
                    definitions[names[name]] = ElementTree.tostring(entry, "unicode")
    for element in root.iter():
        if LINK in element.attrib:
            address = element.attrib.pop(LINK)
            element.set("href", f"#{names[address[1:]]}" if address[0] == "#" else _packed(address))
        for name, value in element.attrib.items():
            if "url(#" in value:
                element.set(name, re.sub(r"url\(#([^)]+)\)", lambda m: f"url(#{names[m[1]]})", value))
    return definitions


@lru_cache(maxsize=256)
def _packed(address: str) -> str:
    """A PNG in a URL as lossless WebP in a URL."""
    return (
        "data:image/webp;base64,"
        + base64.b64encode(webp(base64.b64decode(address.partition(",")[2]), small=True)).decode()
    )


def webp(png: bytes, small: bool = False) -> bytes:
    """The same pixels in a third to a half of the bytes; ``small`` takes seconds for a whole plot."""
    image, out = Image.open(io.BytesIO(png)), io.BytesIO()
    opaque = image.mode == "RGBA" and image.getextrema()[3] == (255, 255)
    (image.convert("RGB") if opaque else image).save(out, "webp", lossless=True, **(SMALLEST if small else {}))
    return out.getvalue()


# Differences --------------------------------------------------------------------------------------------------


def merged(chains: Iterable[Iterable[str]]) -> list[str]:
    """All names, each after those that come before it in any chain; CycleError where two chains contradict.

    >>> merged([["a", "b", "d"], ["b", "c", "d"]])
    ['a', 'b', 'c', 'd']
    """
    sorter = TopologicalSorter()
    for chain in chains:
        for before, name in pairwise(["", *chain]):
            sorter.add(name, before)
    return [name for name in sorter.static_order() if name]


def difference(base: Drawing, drawing: Drawing) -> dict[str, str | list[Change]]:
    """{artist: changes of its elements, or new markup} that turn ``base`` into ``drawing``."""
    changes = {}
    for name, old in base.parts.items():
        new, hidden = drawing.parts.get(name), old.get("display") == "none"
        if new is None:
            change = [] if hidden else HIDE
        else:
            change = _between(old, new)
        if change:
            changes[name] = change
    return changes


def _between(old: ElementTree.Element, new: ElementTree.Element) -> str | list[Change]:
    olds, news = list(old.iter()), list(new.iter())
    if [e.tag for e in olds] != [e.tag for e in news] or [len(e) for e in olds] != [len(e) for e in news]:
        return markup(new)
    changes = []
    for number, (a, b) in enumerate(zip(olds, news)):
        changes += [[number, key, b.get(key)] for key in sorted({*a.keys(), *b.keys()}) if a.get(key) != b.get(key)]
        if (a.text or "") != (b.text or ""):
            changes.append([number, "", b.text or ""])
    return changes


def markup(element: ElementTree.Element) -> str:
    return ElementTree.tostring(element, "unicode")


def document(drawing: Drawing) -> str:
    """The drawing as the inside of an ``<svg>`` element."""
    parts = "".join(
        markup(part).replace(f"<{part.tag}", f'<{part.tag} data-part="{name}"', 1)
        for name, part in drawing.parts.items()
    )
    return f"<defs>{''.join(drawing.definitions.values())}</defs>{parts}"
