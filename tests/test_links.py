"""Links that lead somewhere: files and headings that the notebooks, the README and the other pages name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "notebooks").glob("*.ipynb"))]
LINK = re.compile(r"\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)|\b(?:href|src)=[\"']([^\"']+)[\"']")
CODE = re.compile(r"```.*?```|``[^`]+``|`[^`\n]*`", re.DOTALL)
FOLDERS = "course_lib|notebooks|figures|benchmarks|tests|tools"
NAMED = re.compile(rf"`((?:{FOLDERS})/[\w./]*)`")  # a file named in code type


def markdown(page: Path) -> str:
    if page.suffix == ".md":
        return page.read_text(encoding="utf-8")
    cells = nbformat.read(page, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def anchors(page: Path) -> set[str]:
    """The names that a page's headings have in links: GitHub's, or in a notebook JupyterLab's."""
    headings = re.findall(r"^#{1,6} +(.+?) *$", re.sub(r"```.*?```", "", markdown(page), flags=re.DOTALL), re.M)
    if page.suffix == ".ipynb":
        return {heading.replace(" ", "-") for heading in headings}
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page: Path) -> Iterator[str]:
    text = markdown(page)
    for target in (a or b for a, b in LINK.findall(CODE.sub("", text))):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            if not re.fullmatch(r"https://[\w.-]+\.[a-z]+(/[^\s<>]*)?|mailto:[^\s@]+@[^\s@]+|data:image/.*", target):
                yield f"{target} is no address"
        elif path and not (page.parent / path).exists():
            yield f"{target} is not there"
        elif anchor and anchor not in anchors(page.parent / path if path else page):
            yield f"{target}: no such heading"
    yield from (f"`{path}` is not there" for path in NAMED.findall(text) if not (ROOT / path).exists())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    assert list(broken(page)) == []


def test_what_leads_nowhere_is_found(tmp_path):
    (tmp_path / "other.md").write_text("# A heading: of 2 parts\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](other.md#a-heading-of-2-parts) [b](other.md) `[c](in_code.md)` [d](gone.md) ![e](gone.png)\n"
        '[f](other.md#gone) [g](#here) <a href="http://insecure.org">h</a> `tools/gone.py` `tools/count.py`\n## Here\n'
    )
    wrong = ["gone.md", "gone.png", "other.md#gone", "http://insecure.org", "`tools/gone.py`"]
    assert [problem.split()[0].rstrip(":") for problem in broken(page)] == wrong
