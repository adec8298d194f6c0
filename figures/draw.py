"""Draw the lecture's figures 24.1 to 24.7 as SVG files into notebooks/figures.

    python figures/draw.py           write figure_24_1.svg to figure_24_7.svg
    python figures/draw.py --check   write nothing; exit 1 and name files that are not what the code draws

They lie there because a server whose root is notebooks/ shows nothing above it.
Letters are drawn as outlines, not as text: pages that show an SVG as an image have no fonts of ours, and a
stand-in of another width would run out of its box. What screen readers need stands in <title> and <desc>.
The background is white, for pages with a dark theme. The same code gives the same bytes: no dates, no
random names.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path
from xml.sax.saxutils import escape

import matplotlib as mpl
from matplotlib.figure import Figure

from course_lib.chapters.adapting import lecture_figures as adapting
from course_lib.chapters.closed_form import lecture_figures as closed_form
from course_lib.chapters.task_heads import lecture_figures as task_heads
from course_lib.chapters.two_loops import lecture_figures as two_loops
from course_lib.kit import plots
from course_lib.kit.diagrams import LectureFigure

FOLDER = Path(__file__).parents[1] / "notebooks" / "figures"
FIGURES = adapting.FIGURES | two_loops.FIGURES | task_heads.FIGURES | closed_form.FIGURES


def draw(lecture_figure: LectureFigure) -> Figure:
    """The figure, in the course's style."""
    with plots.style(), mpl.rc_context({"hatch.linewidth": 1.6}):
        fig = Figure()
        lecture_figure.draw(fig)
    return fig


def to_svg(name: str) -> bytes:
    """The file called ``name``.svg, as it should be."""
    lecture_figure = FIGURES[name]
    fig = draw(lecture_figure)
    out = io.StringIO()
    with plots.style(), mpl.rc_context({"svg.fonttype": "path", "hatch.linewidth": 1.6}):
        metadata = {"Date": None, "Creator": None, "Title": lecture_figure.title}
        fig.savefig(out, format="svg", metadata=metadata)
    title = f"<title>{escape(lecture_figure.title)}</title>"
    described = f"{title}\n <desc>{escape(lecture_figure.description)}</desc>"
    svg = out.getvalue().replace(title, described, 1).replace("<svg ", '<svg role="img" ', 1)
    return "\n".join(line.rstrip() for line in svg.splitlines()).encode() + b"\n"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Draw the lecture's figures as SVG.")
    parser.add_argument("--check", action="store_true", help="write nothing, only compare the files with the code")
    check = parser.parse_args(arguments).check
    stale = []
    for name in FIGURES:
        path, svg = FOLDER / f"{name}.svg", to_svg(name)
        if check:
            stale += [] if path.is_file() and path.read_bytes() == svg else [path.name]
        else:
            path.write_bytes(svg)
            print(f"{path.name}  {len(svg) / 1000:.0f} kB")
    if stale:
        print(f"not what the code draws today: {', '.join(stale)}; run python figures/draw.py", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
