"""Notebooks as assignments: an answer cell and a graded one for each exercise, no solution, the course's own checks.

Both graders were run on a right, a wrong and an empty submission when their formats were written; here their cells
are held to that form, and run.
"""

from pathlib import Path

import nbformat
import pytest

from course_lib.__main__ import main
from course_lib.kit import assignment

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
EXERCISE = "from course_lib.chapters.what_k_costs import exercises\n"


def notebook(*sources: str) -> nbformat.NotebookNode:
    new = {True: nbformat.v4.new_markdown_cell, False: nbformat.v4.new_code_cell}
    return nbformat.v4.new_notebook(cells=[new[source.startswith("#")](source) for source in sources])


CLIP = "def my_clip(g, max_norm):\n    return ...\n\n\nexercises.check_clip(my_clip)"
BOOK = notebook(EXERCISE, "### Exercise 1: clip (5 minutes, \u2605\u2605)", CLIP, "exercises.check_clip.reveal()")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_can_be_handed_out(path):
    book = nbformat.read(path, as_version=4)
    students = assignment.for_students(book)
    assert not any(".reveal(" in cell.source or "shows a solution" in cell.source for cell in students.cells)
    found = [exercise for _, exercise in assignment.exercises(book)]
    assert len(found) >= 3
    for made in (assignment.for_nbgrader(book), assignment.for_otter(book, path.stem)):
        made.nbformat_minor = 5
        nbformat.validate(made)
    graded = [c.metadata.nbgrader for c in assignment.for_nbgrader(book).cells if "nbgrader" in c.metadata]
    assert len({about.grade_id for about in graded}) == len(graded) == 2 * len(found)
    assert sum(about.grade for about in graded) == sum(about.solution for about in graded) == len(found)


@pytest.mark.parametrize(
    ("answer", "points", "says"),
    [
        ("my_clip = lambda g, max_norm: g * min(1.0, max_norm / g.norm())", 2.0, "Right."),
        ("my_clip = lambda g, max_norm: g.clamp(-max_norm, max_norm)", 0.0, "clipped each entry"),
        ("my_clip = lambda g, max_norm: ...", 0.0, "Waiting"),
    ],
)
def test_a_graded_cell_is_worth_its_stars_and_prints_the_hint(answer, points, says, capsys):
    cells = [c for c in assignment.for_nbgrader(BOOK).cells if "nbgrader" in c.metadata]
    assert cells[0].source.endswith("return ...") and cells[1].metadata.nbgrader.points == 2
    names = {}
    exec(answer, names)
    lines = cells[1].source.splitlines()
    exec("\n".join(lines[:-1]), names)
    assert eval(lines[-1], names) == points
    shown = capsys.readouterr()
    assert says in shown.out and shown.err == ""


def test_otters_test_fails_with_the_hint():
    cells = assignment.for_otter(BOOK, "03").cells
    (test,) = (c.source for c in cells if c.source.startswith("def test_"))
    names = {}
    exec(test, names)
    names["test_clip"](lambda g, max_norm: g * min(1.0, max_norm / g.norm()))
    with pytest.raises(AssertionError, match="clipped each entry"):
        names["test_clip"](lambda g, max_norm: g.clamp(-max_norm, max_norm))
    raw = [c.source.splitlines()[0] for c in cells if c.cell_type == "raw"]
    assert raw[:2] == ["# ASSIGNMENT CONFIG", "# BEGIN QUESTION"] and raw[-1] == "# END QUESTION"
    assert "files:\n  - figures\n" in cells[0].source  # Otter hands out no file that is not named


def test_what_cannot_be_graded_is_said():
    with pytest.raises(ValueError, match="More than one cell"):
        assignment.for_nbgrader(notebook(EXERCISE, CLIP, CLIP))
    with pytest.raises(ValueError, match="imports no exercises"):
        assignment.for_otter(notebook(CLIP), "03")


def test_the_command_writes_a_folder_and_overwrites_no_other(tmp_path, capsys):
    out = tmp_path / "handout"
    assert main(["handout", str(out), "--notebooks", "03"]) == 0
    (name,) = (path.stem for path in (out / "students").glob("*.ipynb"))
    assert (out / f"nbgrader/source/{name}/{name}.ipynb").exists() and (out / f"otter/{name}/{name}.ipynb").exists()
    assert (out / "nbgrader/nbgrader_config.py").exists() and (out / "students/figures").is_dir()
    other = tmp_path / "other"
    (other / "students").mkdir(parents=True)
    (other / "students/theses.tex").write_text("theirs")
    assert main(["handout", str(other)]) == 1 and "no hand-out" in capsys.readouterr().err
    assert (other / "students/theses.tex").read_text() == "theirs"
    for names in (["77"], ["03", "77"]):
        assert main(["handout", str(out), "--notebooks", *names]) == 1
        assert "begins with '77'; there are 00_start_here, 01" in capsys.readouterr().err


def test_a_second_hand_out_keeps_what_was_handed_in(tmp_path):
    assert main(["handout", str(tmp_path), "--notebooks", "02", "03"]) == 0
    (two, three) = sorted((tmp_path / "students").glob("*.ipynb"))
    nbgrader = tmp_path / "nbgrader"
    submitted = nbgrader / f"submitted/anna/{two.stem}/{two.name}"
    theirs = [
        nbgrader / "gradebook.db",
        submitted,
        two,
        nbgrader / "source/header.ipynb",
        nbgrader / "nbgrader_config.py",
    ]
    for path in theirs:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("theirs")
    sources = three, nbgrader / f"source/{three.stem}/{three.name}", tmp_path / f"otter/{three.stem}/{three.name}"
    for path in sources:
        path.write_text("of an older course")
    assert main(["handout", str(tmp_path), "--notebooks", "03"]) == 0
    assert [path.read_text() for path in theirs] == ["theirs"] * len(theirs)
    assert all(path.read_text().startswith("{") for path in sources)


def test_a_notebook_on_its_own_fetches_the_course_only_where_it_is_not(tmp_path, capsys):
    repository = "https://github.com/anna/course"
    assert main(["handout", str(tmp_path / "out"), "--notebooks", "02", "--repository", repository + "/"]) == 0
    (path,) = (tmp_path / "out/colab").glob("*.ipynb")
    book = nbformat.read(path, as_version=4)
    assert not any(".reveal(" in cell.source for cell in book.cells)
    first = next(cell.source for cell in book.cells if cell.cell_type == "code")
    assert first.splitlines()[-1] == f"    %pip install -q git+{repository}"
    exec(first.replace("%pip", "raise SystemExit #"))  # it is here: nothing is fetched
    text = "".join(cell.source for cell in book.cells if cell.cell_type == "markdown")
    assert "](figures/" not in text and f"]({repository}/raw/HEAD/notebooks/figures/" in text
    links = (tmp_path / "out/links.md").read_text()
    assert "Binder, Codespaces and a hub open the course as\nit is, with the buttons that show its solutions." in links
    assert f"mybinder.org/v2/gh/anna/course/HEAD?urlpath=lab%2Ftree%2Fnotebooks%2F{path.stem}.ipynb" in links
    assert main(["handout", str(tmp_path / "out"), "--repository", "my copy"]) == 1
    assert "must be like" in capsys.readouterr().err
