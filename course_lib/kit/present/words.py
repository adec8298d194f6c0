r"""A notebook's Markdown as HTML for a page without a network: formulas become MathML.

>>> html_of(r"**Down** by $\alpha$.")
'<p><strong>Down</strong> by <math><mi>α</mi></math>.</p>'
"""

from __future__ import annotations

import re

import mistune

from course_lib.kit.present.formula import mathml


class _Renderer(mistune.HTMLRenderer):
    def inline_math(self, text: str) -> str:
        return mathml(text)

    def block_math(self, text: str) -> str:
        return mathml(text, display=True)

    def link(self, text: str, url: str, title: str | None = None) -> str:
        return text  # another notebook: there is nothing to follow in a lecture hall

    def image(self, text: str, url: str, title: str | None = None) -> str:
        return text


_markdown = mistune.create_markdown(renderer=_Renderer(escape=True), plugins=["table", "math"])


def html_of(markdown: str) -> str:
    """Markdown as HTML; what is HTML in it is shown as text, but for comments, which are left out."""
    return _markdown(re.sub(r"<!--.*?-->", "", markdown, flags=re.DOTALL)).strip()
