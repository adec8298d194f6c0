"""The site's folder: pages, style, scripts, recordings. Nothing in it asks for another file than its own."""

from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from string import Template
from typing import Any

from course_lib.kit import front
from course_lib.kit.site import network
from course_lib.kit.site.fonts import faces
from course_lib.kit.site.home import BRAND, TITLE, home, pads_on_page
from course_lib.kit.site.pages import Page, Placed, page_of
from course_lib.kit.site.words import CODE

HERE = Path(__file__).parent
DOWNLOAD = '<a href="notebooks/{}.ipynb" download>Download this notebook, to be run</a>'
SCRIPTS = "recorded.js", "network.js", "wave.js", "site.js"


def build(
    out: Path, notebooks: Mapping[Path, dict], recordings: Mapping[str, dict], pads: dict[str, Any]
) -> dict[str, bytes]:
    """Write the site of ``notebooks`` {path: content} into ``out``, and return its files.

    ``recordings`` are those of ``recording.record`` by the name of a placed demo; ``pads`` of ``network.pads_of``,
    for the first page.
    """
    show = lambda placed: demo_on_page(placed, recordings.get(placed.name))
    pages = [page_of(path, notebook, show) for path, notebook in notebooks.items()]
    for page in pages:
        page.body = _without_others(page.body, {other.name for other in pages})
    moving = {name: recording for name, recording in recordings.items() if "frames" in recording}
    files: dict[str, bytes | str] = {
        "assets/site.css": style(moving.values()),
        "assets/site.js": script(),
        "assets/network.js": network.script(),
        "assets/search.js": f"const SECTIONS = {json.dumps(_search(pages), separators=(',', ':'))};",
    }
    for name, recording in moving.items():
        told = json.dumps({k: v for k, v in recording.items() if k != "svg"}, separators=(",", ":"))
        files[f"assets/demos/{name}.js"] = f"RECORDINGS[{json.dumps(name)}] = {told};"
    for (path, notebook), before, page, after in zip(notebooks.items(), [None, *pages], pages, [*pages[1:], None]):
        files |= page.files
        files[f"{page.name}.html"] = document(page, pages, before, after)
        files[f"notebooks/{path.name}"] = json.dumps(_without_outputs(notebook), indent=1)
    files["index.html"] = document(Page("index", TITLE, home(pages, pads)), pages, None, pages[0])
    for path in notebooks:
        for figure in (path.parent / "figures").glob("*.svg"):
            files[f"figures/{figure.name}"] = figure.read_text(encoding="utf-8")
    written = {name: content.encode() if isinstance(content, str) else content for name, content in files.items()}
    if (out / "assets" / "site.js").is_file():  # of an earlier time
        shutil.rmtree(out / "assets")
    for name, content in written.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(content)
    return written


def demo_on_page(placed: Placed, recording: dict[str, Any] | None) -> str:
    """A demo's place: its first picture, which ``site.js`` brings to life when it comes near the window."""
    if recording and "pads" in recording:
        return pads_on_page(recording, placed.name, placed.call)
    if recording is None:
        return f'<p class="note">The demo {html.escape(placed.call)} is in the notebook only.</p>\n'
    width, height = recording["size"]
    words = html.escape(recording["frames"][0]["words"], quote=True)
    return (
        f'<section class="demo" id="{placed.name}" data-demo="{placed.name}">'
        f"<h3>{html.escape(placed.title)}</h3>"
        f'<svg class="demo-picture" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="{words}">{recording["svg"]}</svg>'
        f'<p class="note">{html.escape(recording["about"])} Live in the notebook: '
        f"<code>{html.escape(placed.call)}</code></p></section>\n"
    )


def style(recordings: Iterable[dict[str, Any]]) -> str:
    """The style sheet: the page's, the demos', the code's, and the pictures' fonts."""
    shown = [text for r in recordings for text in (r["svg"], json.dumps(r["frames"], ensure_ascii=False))]
    parts = [front.style(), _beside("game.css"), CODE.get_style_defs(".code")]
    return "\n".join([faces(shown), *parts, (HERE / "site.css").read_text(encoding="utf-8")])


def script() -> str:
    """One plain script: a page that was opened from a folder may not import modules."""
    game = _beside("game.js").partition("export default")[0].replace("export function", "function")
    own = [(HERE / name).read_text(encoding="utf-8") for name in SCRIPTS]
    return "\n".join(["const RECORDINGS = {};", front.script(), game, *own])


def _beside(name: str) -> str:
    return (HERE.parent / name).read_text(encoding="utf-8")


def document(page: Page, pages: list[Page], before: Page | None, after: Page | None) -> str:
    """The whole HTML of a page."""
    return Template((HERE / "page.html").read_text(encoding="utf-8")).substitute(
        title=html.escape(page.title),
        brand=BRAND,
        body=page.body,
        chapters="".join(
            f"<li>{_link(other, html.escape(other.title), ' aria-current=page' if other is page else '')}</li>"
            for other in pages
        ),
        inside="".join(
            f'<li class="level{level}"><a href="#{name}">{html.escape(words)}</a></li>'
            for level, name, words in page.headings
            if level in (2, 3)
        ),
        before=_link(before, f"← {html.escape(before.title)}", " rel=prev") if before else "<span></span>",
        after=_link(after, f"{html.escape(after.title)} →", " rel=next") if after else "<span></span>",
        download=DOWNLOAD.format(page.name) if page in pages else "",
    )


def _link(page: Page, words: str, attributes: str) -> str:
    return f'<a href="{page.name}.html"{attributes}>{words}</a>'


def _without_others(body: str, names: set[str]) -> str:
    """The words of links to chapters that this site has not."""
    words = lambda link: link[0] if link["name"] in names else link["words"]
    return re.sub(r'<a href="(?P<name>\d\d_\w+)\.html[^>]*>(?P<words>.*?)</a>', words, body, flags=re.DOTALL)


def _search(pages: list[Page]) -> list[list[str]]:
    return [[page.name, page.title, *section] for page in pages for section in page.sections]


def _without_outputs(notebook: dict) -> dict:
    """The notebook to be run: its pictures are on the page."""
    empty = {"outputs": [], "execution_count": None}
    return notebook | {"cells": [c | empty if c["cell_type"] == "code" else c for c in notebook["cells"]]}
