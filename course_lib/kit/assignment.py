"""A notebook as something to hand out: its exercises as cells of their own, for people and for two autograders.

An exercise is a code cell that ends in ``exercises.check_x(answer)``; what stands before that line is the student's.
Its points are the stars of the heading above it. The check's verdict is the score, its hint the feedback.

Formats: nbgrader's cell metadata, schema 3 (nbgrader.readthedocs.io, "The nbgrader notebook format"); Otter Assign's
raw cells and exception-based tests (otter-grader.readthedocs.io, "Python notebook format").
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

import nbformat
from nbformat.v4 import new_code_cell, new_raw_cell

STARS = re.compile(r"^#{2,4} .*?(\u2605+)", re.MULTILINE)


@dataclass(frozen=True)
class Exercise:
    """``name`` of its check, with the number of its part; the ``answer`` cell; the ``call`` that checks it."""

    name: str
    answer: str
    call: ast.Call
    points: int

    @property
    def arguments(self) -> list[str]:
        """The names of the student's that the check is given."""
        return [node.id for each in self.call.args for node in ast.walk(each) if isinstance(node, ast.Name)]


def exercises(notebook: nbformat.NotebookNode) -> Iterator[tuple[int, Exercise]]:
    """Each exercise and the index of its cell."""
    stars = 1
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            found = STARS.findall(cell.source)
            stars = len(found[-1]) if found else stars
        elif cell.cell_type == "code" and (call := _check(cell.source)):
            number = call.args[0].value if isinstance(call.args[0], ast.Constant) else None
            part = f"_{number}" if isinstance(number, int) else ""  # of an exercise in parts
            answer = "\n".join(cell.source.splitlines()[: call.lineno - 1]).strip()
            yield index, Exercise(call.func.attr.removeprefix("check_") + part, answer, call, stars)


def _check(source: str) -> ast.Call | None:
    """The call ``exercises.check_x(...)`` that a cell ends in, if it does."""
    try:
        last = ast.parse(source).body[-1:]
    except SyntaxError:  # a magic command
        return None
    call = last[0].value if last and isinstance(last[0], ast.Expr) else None
    is_check = isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.args
    return call if is_check and call.func.attr.startswith("check_") else None


def import_of(exercise: Exercise, notebook: nbformat.NotebookNode) -> str:
    """The line that imports the module whose check the exercise calls.

    Raises:
        ValueError: the notebook has none.
    """
    name = exercise.call.func.value.id
    for cell in notebook.cells:
        for node in ast.walk(ast.parse(cell.source)) if cell.cell_type == "code" else ():
            for alias in node.names if isinstance(node, ast.ImportFrom) else ():
                if name == (alias.asname or alias.name):
                    return f"from {node.module} import {ast.unparse(alias)}"
    raise ValueError(f"This notebook imports no {name}: `from course_lib.chapters.NAME import {name}`")


def for_students(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The same without solutions, and without what running it printed; pictures of demos stay."""
    new = copy.deepcopy(notebook)
    new.cells = [cell for cell in new.cells if not (cell.cell_type == "code" and ".reveal(" in cell.source)]
    for index, _ in exercises(new):
        new.cells[index].outputs = []
    return new


FETCH = """\
# Where only this notebook is, as on Colab, this fetches the course; everywhere else it does nothing.
from importlib.util import find_spec

if find_spec("course_lib") is None:
    %pip install -q git+{repository}"""
PICTURE = re.compile(r"(!\[[^\]]*\]\()(figures/[^)]+\))")


def on_its_own(notebook: nbformat.NotebookNode, repository: str) -> nbformat.NotebookNode:
    """The same for a host that has only the notebook: it fetches the course from ``repository``, and its pictures."""
    new = copy.deepcopy(notebook)
    for cell in new.cells:
        if cell.cell_type == "markdown":
            cell.source = PICTURE.sub(rf"\g<1>{repository}/raw/HEAD/notebooks/\g<2>", cell.source)
    first = next((at for at, cell in enumerate(new.cells) if cell.cell_type == "code"), len(new.cells))
    new.cells.insert(first, new_code_cell(FETCH.format(repository=repository)))
    return new


def doors(repository: str, name: str) -> dict[str, str]:
    """Addresses that open the notebook called ``name`` of a public ``repository`` without an installation.

    >>> doors("https://github.com/anna/course", "01_adapting")["Codespaces"]
    'https://codespaces.new/anna/course'
    """
    path = urlsplit(repository).path.strip("/")
    notebook = f"lab/tree/notebooks/{name}.ipynb"
    pull = urlencode({"repo": repository, "urlpath": f"lab/tree/{path.split('/')[-1]}/notebooks/{name}.ipynb"})
    return {
        "Colab": f"https://colab.research.google.com/github/{path}/blob/HEAD/colab/{name}.ipynb",
        "Binder": f"https://mybinder.org/v2/gh/{path}/HEAD?{urlencode({'urlpath': notebook})}",
        "Codespaces": f"https://codespaces.new/{path}",
        "nbgitpuller, after the hub's own address": f"/hub/user-redirect/git-pull?{pull}",
    }


def for_nbgrader(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A source notebook of nbgrader: an answer cell and a locked, graded cell for each exercise."""

    def cells(exercise: Exercise) -> list[nbformat.NotebookNode]:
        return [
            _graded(new_code_cell(exercise.answer), exercise.name, solution=True),
            _graded(
                new_code_cell(_score(exercise, import_of(exercise, notebook))),
                f"{exercise.name}_test",
                points=exercise.points,
            ),
        ]

    return _with_exercises(for_students(notebook), cells)


def for_otter(notebook: nbformat.NotebookNode, title: str) -> nbformat.NotebookNode:
    """A master notebook of Otter Assign: a question for each exercise, its hint the message of a failed test.

    It expects the lecture's pictures in a folder ``figures`` beside it, which goes to the students with it.
    """

    def cells(exercise: Exercise) -> list[nbformat.NotebookNode]:
        question = f"# BEGIN QUESTION\nname: {exercise.name}\npoints: {exercise.points}"
        return [
            new_raw_cell(question),
            new_raw_cell("# BEGIN SOLUTION"),
            new_code_cell(exercise.answer),
            new_raw_cell("# END SOLUTION"),
            new_raw_cell("# BEGIN TESTS"),
            new_code_cell(_test(exercise, import_of(exercise, notebook))),
            new_raw_cell("# END TESTS"),
            new_raw_cell("# END QUESTION"),
        ]

    new = _with_exercises(for_students(notebook), cells)
    config = (
        f"# ASSIGNMENT CONFIG\nname: {title}\nexport_cell: false\nrun_tests: false\nfiles:\n  - figures\n"
        "tests:\n  ok_format: false"
    )
    new.cells.insert(0, new_raw_cell(config))
    return new


def _with_exercises(notebook: nbformat.NotebookNode, cells) -> nbformat.NotebookNode:
    found = dict(exercises(notebook))
    names = [exercise.name for exercise in found.values()]
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise ValueError(f"More than one cell is checked by {', '.join(sorted(repeated))}: a score has one cell.")
    notebook.cells = [
        new for at, cell in enumerate(notebook.cells) for new in (cells(found[at]) if at in found else [cell])
    ]
    return notebook


def _graded(cell: nbformat.NotebookNode, name: str, points: int = 0, solution: bool = False) -> nbformat.NotebookNode:
    about = {"schema_version": 3, "grade_id": name, "cell_type": "code", "task": False}
    about |= {"grade": bool(points), "solution": solution, "locked": not solution} | (
        {"points": points} if points else {}
    )
    cell.metadata["nbgrader"] = about
    return cell


def _score(exercise: Exercise, imported: str) -> str:
    call = ast.unparse(exercise.call)
    return (
        f"{imported}\nfrom course_lib.kit.checks import score\n\n"
        f"score({call}, {exercise.points})  # the last line is what it is worth"
    )


def _test(exercise: Exercise, imported: str) -> str:
    return (
        f"def test_{exercise.name}({', '.join(exercise.arguments)}):\n"
        f"    {imported}\n\n"
        f"    verdict = {ast.unparse(exercise.call)}\n"
        f"    assert verdict.passed, str(verdict)"
    )
