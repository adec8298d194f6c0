"""The fonts of the pictures, cut down to the characters that they show, for the style sheet."""

from __future__ import annotations

import base64
import io
import logging
import re
from collections.abc import Iterable

from fontTools import subset
from fontTools.ttLib import TTFont
from matplotlib.font_manager import FontProperties, findfont

FACE = re.compile(r"font-family:'([^']+)'")
STYLE, WEIGHT = re.compile(r"font-style:(\w+)"), re.compile(r"font-weight:(\w+)")
logging.getLogger("fontTools").setLevel(logging.ERROR)  # old fonts have odd dates
DROPPED = ["GPOS", "GSUB", "GDEF", "kern", "FFTM"]  # Matplotlib's SVG places without them


def faces(markup: Iterable[str]) -> str:
    """``@font-face`` rules for all fonts that the SVGs name, with the characters that any of them shows.

    In the style sheet itself: a browser takes no font from another file of a folder.
    """
    wanted, characters = set(), set()
    for svg in markup:
        characters |= set(svg)
        for style in re.findall(r"style=\\?\"([^\"\\]+)", svg):
            if family := FACE.search(style):
                look, weight = STYLE.search(style), WEIGHT.search(style)
                wanted.add((family[1], look[1] if look else "normal", weight[1] if weight else "400"))
    return "\n".join(_face(*face, characters) for face in sorted(wanted))


def _face(family: str, style: str, weight: str, characters: set[str]) -> str:
    font = TTFont(findfont(FontProperties(family=family, style=style, weight=weight)), lazy=True, recalcTimestamp=False)
    cutter = subset.Subsetter(subset.Options(drop_tables=[*subset.Options().drop_tables, *DROPPED], hinting=False))
    cutter.populate(unicodes=[ord(character) for character in characters])
    cutter.subset(font)
    font.flavor, out = "woff", io.BytesIO()
    font.save(out)
    data = base64.b64encode(out.getvalue()).decode()
    about = f'font-family:"{family}";font-style:{style};font-weight:{weight}'
    return f"@font-face{{{about};src:url(data:font/woff;base64,{data})}}"
