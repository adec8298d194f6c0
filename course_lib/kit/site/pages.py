"""A notebook as a web page: its words, its questions, its exercises with their solutions folded, its demos in place.

Everything is read from the notebook's structure: what a cell ends in (``ask``, ``reveal``, ``demo``, ``play``, ...),
what its output says, and which headings are folded. Nothing is run but the notebook's imports and those last lines.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import html
import inspect
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from course_lib.kit import game
from course_lib.kit.answers import Reveal
from course_lib.kit.question import ask
from course_lib.kit.site.svg import webp
from course_lib.kit.site.words import code, inline, markdown, plain

FOLDED = "jp-MarkdownHeadingCollapsed"
SHOWN_DEMO = re.compile(r"<(?P<title>.*): (?P<key>\w+)\.demo\((?P<preset>.*)\)>")
DRAWN = "A program drew these characters (drawn glyphs); the network was trained on Omniglot's."
UNSEEN = "Characters of Omniglot's evaluation alphabets: the network was trained on others."
NOT_HERE = {"guesses", "progress"}  # what the page keeps itself, or leaves to the notebook


@dataclass(frozen=True)
class Placed:
    """A demo that a notebook shows: the module and function that make it, its preset, and its name on the site."""

    key: str
    function: str
    preset: str  # "steps=3"
    title: str

    @property
    def name(self) -> str:
        preset = f"-{hashlib.sha1(self.preset.encode()).hexdigest()[:4]}" if self.preset else ""
        return self.key + (f"-{self.function}" if self.function != "demo" else "") + preset

    @property
    def call(self) -> str:
        return f"{self.key}.{self.function}({self.preset})"

    def values(self) -> dict[str, Any]:
        keywords = ast.parse(f"dict({self.preset})", mode="eval").body.keywords
        return {keyword.arg: ast.literal_eval(keyword.value) for keyword in keywords}


@dataclass
class Page:
    """A notebook's page, and what else it needs."""

    name: str
    title: str = ""
    body: str = ""
    headings: list[tuple[int, str, str]] = field(default_factory=list)  # level, id, words
    sections: list[tuple[str, str, str]] = field(default_factory=list)  # id, title, words: for the search
    files: dict[str, bytes] = field(default_factory=dict)


def demos_in(notebook: dict) -> list[Placed]:
    """The demos that a notebook's cells show, in order, each once."""
    return list(dict.fromkeys(filter(None, map(_demo_of, notebook["cells"]))))


def _demo_of(cell: dict) -> Placed | None:
    """What a cell shows, if it is a demo of the course and not one made of the reader's own functions."""
    for output in cell.get("outputs", ()):
        match = SHOWN_DEMO.match(_text(output.get("data", {}).get("text/plain", "")))
        if match:
            call = rf"\b{match['key']}\.(?:(\w*demo)\((?:\)|\w+=)|demo_of\()"
            found = re.search(call, _text(cell["source"]))
            return found and Placed(match["key"], found[1] or "demo", match["preset"], match["title"])
    return None


def page_of(path: Path, notebook: dict, show_demo: Callable[[Placed], str]) -> Page:
    """The page of a notebook; ``show_demo`` gives the HTML of a demo."""
    page = Page(path.stem)
    names = _imported(notebook)
    parts: list[str] = []
    open_folds: list[int] = []
    for cell in notebook["cells"]:
        source = _text(cell["source"])
        heading = re.match(r"(#+) ", source) if cell["cell_type"] == "markdown" else None
        if heading:
            while open_folds and len(heading[1]) <= open_folds[-1]:
                parts.append("</div></details>\n")
                open_folds.pop()
        if cell["cell_type"] == "markdown":
            markup, headings = markdown(source, {name for _, name, _ in page.headings})
            page.headings += headings
            page.title = page.title or next((words for level, _, words in headings if level == 1), "")
            if heading and cell["metadata"].get(FOLDED):
                first, _, rest = markup.partition("\n")
                parts.append(f'<details class="fold"><summary>{first}</summary><div>{rest}')
                open_folds.append(len(heading[1]))
            else:
                parts.append(markup)
        elif cell["cell_type"] == "code":
            parts.append("".join(_code_cell(cell, source, names, page, show_demo)))
    parts += ["</div></details>\n"] * len(open_folds)
    page.body = "".join(parts)
    page.sections = list(_sections(page))
    return page


def _code_cell(cell: dict, source: str, names: dict, page: Page, show_demo: Callable) -> Iterator[str]:
    demo = _demo_of(cell)
    if demo:
        if len(source.strip().splitlines()) > 1:
            yield code(source)
        yield show_demo(demo)
        return
    call = _last_call(source)
    kind = call and (call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", ""))
    special = {"ask": _question, "reveal": _solution, "play": _game}.get(kind)
    made = special(call, names) if special else None
    if made is not None:
        yield made
    elif kind == "guesses":
        yield f'<div class="guesses" data-notebook="{html.escape(page.name[:2])}"></div>\n'
    elif kind not in NOT_HERE:
        yield code(source)
        yield from (_output(output, page) for output in cell.get("outputs", ()))


def _output(output: dict, page: Page) -> str:
    data = output.get("data", {})
    if output["output_type"] == "stream":
        return f'<pre class="printed">{html.escape(_text(output["text"]))}</pre>\n'
    if "image/png" in data:
        content = webp(base64.b64decode(_text(data["image/png"])))
        file = f"assets/pictures/{hashlib.sha1(content).hexdigest()[:10]}.webp"
        page.files[file] = content
        about = output.get("metadata", {}).get("image/png", {})
        words = html.escape(about.get("alt", ""), quote=True)
        return f'<img class="printed" src="{file}" alt="{words}" loading="lazy">\n'
    if "text/markdown" in data:
        return f'<div class="printed">{markdown(_text(data["text/markdown"]))[0]}</div>\n'
    return f'<pre class="printed">{html.escape(_text(data.get("text/plain", "")))}</pre>\n' if data else ""


# Questions, solutions, the game -------------------------------------------------------------------------------


def _question(call: ast.Call, names: dict) -> str | None:
    """The form of a question, which ``site.js`` brings to life; without a script the answer is folded."""
    try:
        asked = inspect.signature(ask).bind(*_values(call.args, names), **_named(call, names))
    except Exception:  # it asks for something that an earlier cell makes: the notebook's own words stand
        return None
    asked.apply_defaults()
    q = asked.arguments
    name = html.escape(q["key"], quote=True)
    fact = q["answer"] if q["number"] is None else f"{q['number']:g} {q['unit']}".strip()
    about = {"key": q["key"], "fact": fact, "question": q["question"]}
    if q["number"] is not None:
        tolerance = abs(q["number"]) / 10 if q["tolerance"] is None else q["tolerance"]
        about |= {"number": q["number"], "tolerance": tolerance}
        entries = f'<label><input type="text" inputmode="decimal" size="8"> {html.escape(q["unit"])}</label>'
    else:
        choice = '<label><input type="radio" name="{}" value="{}" aria-label="{}"> <span>{}</span></label>'
        quoted = lambda words: html.escape(words, quote=True)
        shown = [(c, inline(c)) for c in q["choices"]]
        entries = "".join(choice.format(name, quoted(c), quoted(plain(words)), words) for c, words in shown)
    return (
        f'<form class="question" id="q-{name}" data-about=\'{_attribute(about)}\'>'
        f'<p><b>Before you look:</b> <span class="asked">{inline(q["question"])}</span></p>'
        f"<fieldset><legend>Your guess</legend>{entries}</fieldset>"
        '<div class="live"><button>This is my guess</button> <button type="button" class="skip">Show me</button></div>'
        '<details class="answer"><summary>The answer</summary>'
        '<p role="alert"><span class="said"></span> '
        f'<b>The answer: <span class="fact">{inline(fact)}</span>.</b> {inline(q["because"])}</p>'
        "</details></form>\n"
    )


def _solution(call: ast.Call, names: dict) -> str | None:
    """What ``reveal()`` shows behind its button, folded."""
    shown = _evaluated(call, names)
    if not isinstance(shown, Reveal):
        return None
    return f'<details class="solution"><summary>{shown.label}</summary>{markdown(shown.text)[0]}</details>\n'


def _game(call: ast.Call, names: dict) -> str | None:
    arguments = inspect.signature(game.play).bind(*_values(call.args, names), **_named(call, names)).arguments
    arguments.pop("key")
    return game_on_page(**arguments)


def game_on_page(queries: int = 10, hands: int = 1, seed: int = 0) -> str:
    """The game, which ``site.js`` starts."""
    told = game.declaration(queries, hands, seed)
    told["note"] = DRAWN if told["note"] else UNSEEN
    still = base64.b64encode(game.still(queries, hands, seed)).decode()
    words = html.escape(game.still_words(queries, hands, seed), quote=True)
    return (
        f'<div class="game"><script type="application/json">{json.dumps(told)}</script>'
        f'<noscript><img src="data:image/png;base64,{still}" alt="{words}"></noscript></div>\n'
    )


# Reading a cell -----------------------------------------------------------------------------------------------


def _imported(notebook: dict) -> dict[str, Any]:
    """The names that the notebook's imports give."""
    names: dict[str, Any] = {}
    for cell in notebook["cells"]:
        for node in _parsed(_text(cell["source"])) if cell["cell_type"] == "code" else ():
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                exec(compile(ast.Module([node], []), "<imports>", "exec"), names)
    return names


def _parsed(source: str) -> list[ast.stmt]:
    try:
        return ast.parse(re.sub(r"^[%!].*$", "", source, flags=re.M)).body
    except SyntaxError:  # a cell that is to be completed
        return []


def _last_call(source: str) -> ast.Call | None:
    body = _parsed(source)
    last = body[-1] if body else None
    return last.value if isinstance(last, ast.Expr) and isinstance(last.value, ast.Call) else None


def _evaluated(node: ast.expr, names: dict) -> Any:
    return eval(compile(ast.Expression(node), "<cell>", "eval"), names)


def _values(nodes: list[ast.expr], names: dict) -> list:
    return [_evaluated(node, names) for node in nodes]


def _named(call: ast.Call, names: dict) -> dict[str, Any]:
    """The call's arguments by name; what is shown ``then`` has a cell of its own on the page."""
    return {k.arg: _evaluated(k.value, names) for k in call.keywords if k.arg != "then"}


def _text(source: str | list[str]) -> str:
    return source if isinstance(source, str) else "".join(source)


def _attribute(value: Any) -> str:
    return html.escape(json.dumps(value), quote=True)


def _sections(page: Page) -> Iterator[tuple[str, str, str]]:
    """(id, title, words) of what stands below each heading."""
    told = re.sub(r'<div class="code">.*?</div>|<pre class="printed">.*?</pre>', "", page.body, flags=re.S)
    parts = re.split(r'<h[1-4] id="([^"]+)">(.*?)</h[1-4]>', told, flags=re.S)
    for name, title, text in zip(parts[1::3], parts[2::3], parts[3::3]):
        yield name, plain(title), plain(text)
