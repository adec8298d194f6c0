"""Markdown of a notebook as HTML: mathematics as MathML, code in colours, headings that can be linked to."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from itertools import count

import mistune
from mistune.plugins.table import render_table_cell
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer, TextLexer

from course_lib.kit.formulas import mathml

CODE = HtmlFormatter(cssclass="code", style="default")
QUOTED = re.compile(r"<!--.*?-->", re.S)  # what a claim is quoted from


def code(source: str, language: str = "python") -> str:
    """A block of code, coloured."""
    return highlight(source, PythonLexer() if language == "python" else TextLexer(), CODE)


class _Renderer(mistune.HTMLRenderer):
    def __init__(self, taken: Iterable[str]):
        super().__init__(escape=False)
        self.taken = set(taken)
        self.headings: list[tuple[int, str, str]] = []  # level, id, words

    def heading(self, text: str, level: int, **attributes) -> str:
        words = html.unescape(re.sub(r"<annotation.*?</annotation>|<[^>]+>", "", text))
        own = name = slug(words)
        numbers = count(2)
        while name in self.taken:
            name = f"{own}-{next(numbers)}"
        self.taken.add(name)
        self.headings.append((level, name, words))
        return f'<h{level} id="{name}">{text}</h{level}>\n'

    def block_code(self, source: str, info: str | None = None) -> str:
        return code(source, info or "")

    def link(self, text: str, url: str, title: str | None = None) -> str:
        return super().link(text, re.sub(r"^(\w+)\.ipynb", r"\1.html", url), title)

    def table(self, text: str) -> str:
        return f'<div class="wide"><table>{text}</table></div>\n'

    def table_cell(self, text: str, align: str | None = None, head: bool = False) -> str:
        return render_table_cell(self, text, align, head and bool(text))  # a corner heads nothing

    def image(self, text: str, url: str, title: str | None = None) -> str:
        return f'<img class="figure" src="{url}" alt="{html.escape(text, quote=True)}">'

    def inline_math(self, text: str) -> str:
        return mathml(text)

    def block_math(self, text: str) -> str:
        return f'<span class="wide">{mathml(text, block=True)}</span>'


def markdown(source: str, taken: Iterable[str] = ()) -> tuple[str, list[tuple[int, str, str]]]:
    """HTML, and the headings in it: level, id (none that is ``taken``), words.

    >>> markdown("## The *two* loops")
    ('<h2 id="the-two-loops">The <em>two</em> loops</h2>\\n', [(2, 'the-two-loops', 'The two loops')])
    >>> [name for _, name, _ in markdown("# Why?\\n# Why?\\n# Why?", taken={"why"})[1]]
    ['why-2', 'why-3', 'why-4']
    """
    renderer = _Renderer(taken)
    convert_all = mistune.create_markdown(renderer=renderer, plugins=["math", "table", "strikethrough"])
    return convert_all(QUOTED.sub("", source)), renderer.headings


def inline(source: str) -> str:
    """A line of markdown without a paragraph round it."""
    return re.sub(r"^<p>|</p>\s*$", "", markdown(source)[0].strip())


def plain(markup: str) -> str:
    """The words of some HTML, for the search."""
    text = re.sub(r"<svg.*?</svg>|<style.*?</style>|<[^>]+>", " ", markup, flags=re.S)
    return " ".join(html.unescape(text).split())


def slug(words: str) -> str:
    """
    >>> slug("Part 1: What k costs (12 minutes)")
    'part-1-what-k-costs-12-minutes'
    """
    return re.sub(r"[^\w]+", "-", words.lower()).strip("-") or "section"
