r"""A notebook's Markdown for the lecture hall: as on the site, and nothing in it leads away.

>>> html_of("**Down**, as [notebook 02](02_x.ipynb) says.")
'<p><strong>Down</strong>, as notebook 02 says.</p>'
"""

from __future__ import annotations

import re

from course_lib.kit.site.words import markdown

FORMULA = re.compile(r"[^\s<>]*<math\b.*?</math>[^\s<]*", re.DOTALL)  # with the marks that touch it


def html_of(source: str) -> str:
    """Markdown as HTML, formulas as MathML; claims' comments, links and pictures are left out. No line begins with a
    formula's question mark, or with a number's %."""
    shown = re.sub(r"</?a\b[^>]*>|<img\b[^>]*>", "", markdown(source)[0]).strip()
    return FORMULA.sub(r'<span class="whole">\g<0></span>', re.sub(r"(?<=\d) (?=%)", "\u00a0", shown))
