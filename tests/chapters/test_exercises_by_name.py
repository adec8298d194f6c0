"""The exercises of a notebook are called, in its list of progress, as in the notebook, and stand in its order."""

import re
from importlib import import_module

import nbformat
import pytest

from course_lib.kit import checks
from tests.chapters.cells import CHAPTERS, NOTEBOOKS

HEADING = re.compile(r"^### (?:Exercise \d+|Open experiment): (.+?)(?: \(.*\))?$", re.MULTILINE)
IN_PARTS = {"bug one": "bug 1", "bug two": "bug 2", "bug three": "bug 3", "bug four": "bug 4"}


@pytest.mark.parametrize("number", CHAPTERS)
def test_exercises_are_called_as_in_the_notebook(number):
    module = import_module(f"course_lib.chapters.{CHAPTERS[number]}.exercises")
    made = [it for it in (checks.check_line, *vars(module).values()) if isinstance(it, checks.Exercise)]
    names = []
    for exercise in (it for it in made if it.notebook == number):
        names += [f"{exercise.name} {n}" for n in range(1, exercise.parts + 1)] if exercise.parts else [exercise.name]
    cells = nbformat.read(NOTEBOOKS[number], as_version=4).cells
    prose = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    titles = [IN_PARTS.get(title, title) for title in HEADING.findall(prose)]
    assert [name for name in names if name != "bug 2, repaired"] == titles  # the second half of exercise 5
