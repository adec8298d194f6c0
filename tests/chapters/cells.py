"""The cells of a notebook's exercises as a student fills them in; each chapter's ``answers.py`` says with what."""

from __future__ import annotations

import ast
import linecache
import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import nbformat

from course_lib.kit import assignment, checks
from course_lib.kit.answers import source_of

NOTEBOOKS = {path.name[:2]: path for path in sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))}
CHAPTERS = {"00": "start", "01": "adapting", "02": "two_loops", "03": "what_k_costs", "04": "task_heads"}
CHAPTERS |= {"05": "features", "06": "union", "07": "closed_form", "08": "reptile", "09": "omniglot", "10": "your_own"}
DOTS = re.compile(r"\(?\.\.\.(?:, \.\.\.)*\)?")
OPEN_RETURN = re.compile(r"^    return .*\.\.\..*$", re.MULTILINE)
DEFINITIONS = ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef


@dataclass(frozen=True)
class Answers:
    """The right answer to an exercise, and the three commonest wrong ones, each with words of the hint it gets.

    An answer is what a student writes for the dots: an expression (where dots stand in several lines, a line for each),
    or the lines of a function. The right one may be the course's own function, and a wrong one a change of it,
    (old, new). Where an exercise has no dots, its answer is a change of the function that it is about.
    """

    right: str | tuple[str, str] | Callable
    wrong: list[tuple[str | tuple[str, str], str]]


@dataclass(frozen=True)
class Written:
    """What a student runs: ``cells`` {index: source}; the last shows the verdict ``passed``, with these ``words``."""

    cells: dict[int, str]
    passed: bool | None
    words: str = ""


@dataclass(frozen=True)
class Exercise:
    name: str
    check: checks.Exercise
    part: int | None  # of an exercise in parts
    index: int  # of the cell that shows the verdict
    solution: int | None  # of the cell with the button, where it has one
    given: Written  # as the notebook has it
    right: Written
    wrong: list[Written]


def answers_of(number: str) -> dict[str, Answers]:
    return import_module(f"tests.chapters.{CHAPTERS[number]}.answers").ANSWERS


def exercises_of(number: str) -> Iterator[Exercise]:
    """The exercises of a notebook with all their answers, in its order."""
    notebook = nbformat.read(NOTEBOOKS[number], as_version=4)
    answers = answers_of(number)
    for index, exercise in assignment.exercises(notebook):
        source, own = notebook.cells[index].source, answers[exercise.name]
        about = index
        if "..." not in source:  # a function of an earlier cell is to be changed
            start = f"def {exercise.arguments[0]}("
            about = next(at for at in reversed(range(index)) if notebook.cells[at].source.startswith(start))

        def written(answer: str | tuple | Callable, passed: bool | None, words: str = "") -> Written:
            if about != index:
                return Written({about: changed(notebook.cells[about].source, answer), index: source}, passed, words)
            if isinstance(answer, tuple):
                answer = body_of(changed(source_of(own.right), answer))
            return Written({index: filled(source, answer)}, passed, words)

        state, names = None if exercise.name == "open" else False, {}
        exec(assignment.import_of(exercise, notebook), names)
        check, part = ast.unparse(exercise.call.func), exercise.name[-1] if exercise.name[-1].isdigit() else ""
        sources = [cell.source for cell in notebook.cells]
        button = f"{check}.reveal({part})"
        yield Exercise(
            exercise.name,
            eval(check, names),
            int(part) if part else None,
            index,
            sources.index(button) if button in sources else None,
            Written({at: notebook.cells[at].source for at in {about, index}}, None),
            written(own.right, True),
            [written(answer, state, words) for answer, words in own.wrong],
        )


def changed(source: str, change: tuple[str, str]) -> str:
    """``source`` with every ``old`` replaced by ``new``; AssertionError where there is none."""
    old, new = change
    assert old in source, f"{old!r} is not in\n{source}"
    return source.replace(old, new)


def body_of(source: str) -> str:
    """The lines inside a function."""
    return textwrap.dedent(source.split(":\n", 1)[1])


def filled(source: str, answer: str | Callable) -> str:
    """An exercise's cell with its dots replaced."""
    answer = body_of(source_of(answer)) if callable(answer) else textwrap.dedent(answer).strip()
    if OPEN_RETURN.search(source):
        lines = answer if "return " in answer else f"return {answer}"
        return OPEN_RETURN.sub(lambda _: textwrap.indent(lines, "    "), source)
    places = iter(answer.splitlines()) if len(DOTS.findall(source)) > 1 else iter([answer])
    return DOTS.sub(lambda _: next(places), source)


def preparation(number: str) -> list[int]:
    """The cells that the exercises need: the first of code, and those that only import or define."""
    notebook = nbformat.read(NOTEBOOKS[number], as_version=4)
    code = [at for at, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    defines = lambda source: all(isinstance(node, DEFINITIONS) for node in ast.parse(source).body)
    return [code[0], *(at for at in code[1:] if defines(notebook.cells[at].source))]


def namespace(number: str) -> dict:
    """The names that a notebook's kernel has once its ``preparation`` has run."""
    notebook, names = nbformat.read(NOTEBOOKS[number], as_version=4), {}
    for index in preparation(number):
        run_cell(notebook.cells[index].source, names)
    return names


def run_cell(source: str, names: dict) -> object:
    """Run a cell; returns the value of the expression that it ends in, if it does."""
    tree, name = ast.parse(source), f"<cell {abs(hash(source))}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)  # so that a source is found
    last = ast.Expression(tree.body.pop().value) if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec"), names)
    return eval(compile(last, name, "eval"), names) if last else None
