"""Write what a course hands out: notebooks without solutions, and the same as assignments for two autograders.

    python -m course_lib handout DIR                       all notebooks with exercises
    python -m course_lib handout DIR --notebooks 02 03     some of them
    python -m course_lib handout DIR --repository https://github.com/NAME/COURSE    with links for a public copy

    DIR/students/            the notebooks, their exercises open and their solutions gone
    DIR/nbgrader/            a course folder: `nbgrader generate_assignment 02_the_two_loops`, then release and collect
    DIR/otter/NAME/          a master notebook each: `otter assign NAME.ipynb dist`
    DIR/colab/               with --repository: students' notebooks that fetch the course by themselves, to commit there
    DIR/links.md             with --repository: addresses that open each on Colab, Binder, Codespaces and a JupyterHub;
                             all but Colab's open the course as it is, with the buttons that show its solutions

A second time, the notebooks, their figures and the links are written over. All else in DIR stays: submissions, the
gradebook, nbgrader's configuration, notebooks that are not asked for.

The checks are those of the course, so that a student sees the same hint in the notebook and in the grader's report. An
unanswered cell scores 0. The grader's kernel needs `course_lib`, as the students' does.
"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path

import nbformat

from course_lib.commands import check_names
from course_lib.kit import assignment

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
NBGRADER = '''"""Assignments. Their answer cells hold dots and no solution, so nothing is cut out."""

c = get_config()  # noqa: F821
c.CourseDirectory.course_id = "meta-learning"
c.GenerateAssignment.preprocessors = [
    "nbgrader.preprocessors.LockCells",
    "nbgrader.preprocessors.ComputeChecksums",
    "nbgrader.preprocessors.SaveCells",
    "nbgrader.preprocessors.CheckCellMetadata",
]
c.Execute.timeout = 120  # seconds for a cell
'''
SOLUTIONS = """Colab opens the notebooks of `colab/`, without solutions. Binder, Codespaces and a hub open the course as
it is, with the buttons that show its solutions."""


def main(argv: list[str]) -> int:
    """Write the folder; 0.

    Raises:
        ValueError: no notebook begins so, or the folder holds something and is no hand-out of before.
    """
    options = argparse.ArgumentParser(
        prog="python -m course_lib handout", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    options.add_argument("folder", type=Path, help="where: a new folder, or a hand-out of before")
    options.add_argument("--notebooks", nargs="+", default=[""], help="how their names begin, such as 02")
    options.add_argument("--repository", help="the address of a public copy of the course")
    args = options.parse_args(argv)
    if args.repository and not re.fullmatch(r"https://[\w.-]+/[\w.-]+/[\w.-]+", args.repository.rstrip("/")):
        raise ValueError(f"--repository must be like https://github.com/NAME/COURSE, not {args.repository!r}")
    there = sorted(NOTEBOOKS.glob("*.ipynb"))
    none = [name for name in args.notebooks if not any(path.name.startswith(name) for path in there)]
    check_names("notebook that begins with", none, [path.stem for path in there])
    paths = [path for path in there if path.name.startswith(tuple(args.notebooks))]
    config = args.folder / "nbgrader/nbgrader_config.py"  # also the mark of a hand-out
    if not config.exists():
        if args.folder.exists() and any(args.folder.iterdir()):
            raise ValueError(f"{args.folder} holds something that is no hand-out; name a new folder")
        config.parent.mkdir(parents=True)
        config.write_text(NBGRADER)
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        count = sum(1 for _ in assignment.exercises(notebook))
        made = {args.folder / "students": assignment.for_students(notebook)}
        if count:
            made[args.folder / "nbgrader/source" / path.stem] = assignment.for_nbgrader(notebook)
            made[args.folder / "otter" / path.stem] = assignment.for_otter(notebook, path.stem)
        for folder, new in made.items():
            write(new, folder / path.name)
            shutil.copytree(NOTEBOOKS / "figures", folder / "figures", dirs_exist_ok=True)
        print(f"{path.name}: {count} exercises")
    if args.repository:
        public(paths, args.repository.rstrip("/"), args.folder)
    return 0


def public(paths: list[Path], repository: str, folder: Path) -> None:
    """The students' notebooks that stand on their own, and the page of links to them."""
    lines = ["# The course without an installation", "", SOLUTIONS, ""]
    for path in paths:
        students = assignment.for_students(nbformat.read(path, as_version=4))
        write(assignment.on_its_own(students, repository), folder / "colab" / path.name)
        links = assignment.doors(repository, path.stem).items()
        lines.append(f"* {path.stem}: " + ", ".join(f"[{name}]({address})" for name, address in links))
    (folder / "links.md").write_text("\n".join(lines) + "\n")


def write(notebook: nbformat.NotebookNode, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
