"""The page of a demo: controls, picture, keys and links, in plain JavaScript and CSS, without a build and a network.

A widget in JupyterLab, the lecture hall's page and the site are made of the same files, joined in this order into one
script: ``pad.js`` (a square to draw on), ``controls.js`` (what a person moves), ``links.js`` (an address holds a
demo's values), ``panel.js`` (controls beside a picture). ``panel.js`` says at its head what a source of pictures is:
a live process, or a recording.
"""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
SCRIPTS = "pad.js", "controls.js", "links.js", "panel.js"


def script() -> str:
    """The page's script: functions ``mount``, ``pngPicture``, ``readLink``, ``writeLink``, ...; no exports."""
    return "\n".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS)


def style() -> str:
    """The page's style sheet: everything below ``.course-demo``."""
    return (HERE / "panel.css").read_text(encoding="utf-8")
