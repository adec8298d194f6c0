"""The first page: the course's question with a theta to drag, a game, and a network to teach five characters."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import torch

from course_lib.kit import two_parameters as plane
from course_lib.kit.formulas import mathml
from course_lib.kit.site.pages import Page, game_on_page

BRAND, TITLE = "Meta-learning", "Meta-learning, one slider at a time"
RATE = 0.1  # of the inner loop of the wave
GAME = 10  # drawings to name

THETA = mathml(r"\theta")
QUESTION = f"""<h1>{TITLE}</h1>
<p class="lead">Five examples of something new: too few to learn from, unless one begins in the right place.
<b>Where should learning begin, so that a few steps of gradient descent are enough?</b></p>
<p>Here is the whole question in two numbers. A network that draws a wave has {THETA} = (phase, amplitude).
A task is a wave of its own, known at five points. Drag {THETA}: the blue path is gradient descent on the
five points, computed in this page.</p>"""
PLAY = """<h2 id="you-first">You first</h2>
<p>Five characters, shown once each. Name ten more drawings of them; then see how nearest pixels and a meta-learned
network did on the same drawings.</p>"""
DRAW = """<h2 id="draw-your-own">Draw your own</h2>
<p>Now teach the network five characters that nobody has ever drawn: one drawing of each, and it tells the sixth.
It runs in this page; nothing is sent anywhere.</p>"""


def home(pages: list[Page], pads: dict[str, Any]) -> str:
    """The HTML of the first page."""
    link = '<li><a href="{}.html">{}</a> {}</li>'
    chapters = "".join(link.format(page.name, html.escape(page.title), _opening(page)) for page in pages)
    return (
        f'{QUESTION}{_with_data("wave-place", wave())}<div class="live">{PLAY}{game_on_page(GAME)}</div>'
        f"{DRAW}{pads_on_page(pads, 'draw', '')}"
        f'<h2 id="chapters-of-the-course">The course</h2><ol class="contents">{chapters}</ol>'
    )


def _opening(page: Page) -> str:
    """The minutes that a chapter says it takes."""
    minutes = re.search(r"\b\d+ minutes\b", page.body)
    return f'<span class="note">{minutes[0]}</span>' if minutes else ""


def wave(tasks: int = 12, seed: int = 0) -> dict[str, Any]:
    """What ``mountWave`` is told: tasks, the plane, and where theta begins."""
    batch = plane.sample(tasks, seed)
    theta = torch.stack([batch.info["phase"], batch.info["amplitude"]], 1)  # [T, 2]
    names = "support_x", "support_y", "query_x", "query_y"
    rows = {"theta": theta} | {name: getattr(batch, name)[..., 0] for name in names}
    return {
        "tasks": [{name: [round(v, 4) for v in row[i].tolist()] for name, row in rows.items()} for i in range(tasks)],
        "start": plane.START,
        "phases": plane.PHASE_RANGE,
        "amplitudes": plane.AMPLITUDE_RANGE,
        "rate": RATE,
    }


def pads_on_page(pads: dict[str, Any], name: str, call: str) -> str:
    """Pads to draw on, for the network that runs in the page."""
    live = f" All methods, live, in the notebook: <code>{html.escape(call)}</code>" if call else ""
    note = (
        "Computed here by R2D2's network, trained on Omniglot before; its weights are rounded to 16 significant bits."
    )
    return f'<section id="{name}">{_with_data("pads-place", pads)}<p class="note">{note}{live}</p></section>\n'


def _with_data(kind: str, told: dict[str, Any]) -> str:
    data = json.dumps(told, separators=(",", ":")).replace("</", "<\\/")
    words = "This part needs JavaScript."
    return f'<div class="{kind}"><script type="application/json">{data}</script><noscript>{words}</noscript></div>\n'
