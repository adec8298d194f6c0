r"""A notebook's Markdown for the lecture hall: as on the site, and nothing in it leads away.

>>> html_of("**Down**, as [notebook 02](02_x.ipynb) says.")
'<p><strong>Down</strong>, as notebook 02 says.</p>'
"""

from __future__ import annotations

import re

from course_lib.kit.site.words import markdown


def html_of(source: str) -> str:
    """Markdown as HTML, formulas as MathML; claims' comments, links and pictures are left out."""
    return re.sub(r"</?a\b[^>]*>|<img\b[^>]*>", "", markdown(source)[0]).strip()
