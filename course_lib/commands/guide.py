"""The instructor's guide, made of the notebooks and the demos: what to ask, to expect, to point at, and to skip.

    python -m course_lib guide                print it (Markdown)
    python -m course_lib guide guide.html     write it as a page; a name that ends otherwise: Markdown

Its links lead to the demos while `make present` runs, which also shows it, at /guide.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from course_lib.chapters import open_demo
from course_lib.commands import check_port
from course_lib.commands.present import PORT
from course_lib.kit.lesson import lessons
from course_lib.kit.present.guide import guide
from course_lib.kit.present.server import guide_page


def main(argv: list[str] | None = None) -> int:
    """Print or write the guide; 0.

    Raises:
        ValueError: a port that cannot be.
    """
    parser = argparse.ArgumentParser(
        prog="python -m course_lib guide", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", nargs="?", type=Path, help="file to write")
    parser.add_argument("--port", type=int, default=PORT, help=f"where `make present` answers ({PORT})")
    options = parser.parse_args(argv)
    base = f"http://127.0.0.1:{check_port(options.port, 1)}/"
    text = guide(lessons(), open_demo, base)
    if options.out is None:
        print(text)
        return 0
    is_page = options.out.suffix in (".html", ".htm")
    options.out.write_text(guide_page(text) if is_page else text, encoding="utf-8")
    print(f"{options.out}: {text.count(f']({base}')} links into the demos")
    return 0
