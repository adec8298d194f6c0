"""A notebook read as a lesson: its parts and minutes, its demos with the question before and the words after each.

What a notebook says once is said there; the lecture hall's page, the instructor's guide and the hand-out read it here.
A demo is a cell that ends in ``module.demo(...)``; the question is the last ``ask(...)`` before it in its part, or a
paragraph that begins ``**Predict before you look.**``; what to see is the markdown that begins so, up to a heading, a
table or a place to stop, without a last paragraph that leads on to the next cell.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
HEADING = re.compile(r"^(#+)\s+(.+?)\s*$", re.MULTILINE)
MINUTES = re.compile(r"\s*\((?:[^()]*?\b)?(\d+) min[^()]*\)")
SEE = re.compile(r"\*\*What to see\.\*\*\s*")
PREDICT = re.compile(r"\*\*Predict(?: before you look\.\*\*|\*\*,)\s*(.+?)(?=\n\s*\n|\Z)", re.DOTALL)


@dataclass(frozen=True)
class Question:
    """What ``ask`` was given; ``answer`` is the fact, also of a number."""

    text: str
    choices: tuple[str, ...] = ()
    answer: str = ""
    because: str = ""


@dataclass(frozen=True)
class Showing:
    """One demo as a notebook shows it. ``id`` is its key (with its function, if that has a name of its own), and from
    its second use on ``key-2``."""

    id: str
    key: str
    function: str  # "demo"
    preset: dict[str, Any]
    notebook: str  # "03"
    part: str  # the heading it stands under
    deeper: bool  # in a folded section
    question: Question | None = None
    see: str = ""  # markdown


@dataclass(frozen=True)
class Part:
    """A section of a notebook: its heading, honest minutes (None where none are said)."""

    title: str
    minutes: int | None
    deeper: bool


@dataclass(frozen=True)
class Task:
    """What the reader does: an exercise or an open experiment, its minutes and its stars."""

    title: str
    minutes: int | None
    stars: str
    deeper: bool


@dataclass
class Lesson:
    """One notebook: ``number`` such as "03", its title, its parts, demos and exercises in order."""

    number: str
    title: str
    path: Path
    parts: list[Part] = field(default_factory=list)
    recaps: list[Question] = field(default_factory=list)
    showings: list[Showing] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)

    @property
    def minutes(self) -> int:
        """Of the main path, as its parts say; 0 where they do not."""
        return sum(part.minutes or 0 for part in self.parts if not part.deeper)


def lessons(folder: Path = FOLDER) -> list[Lesson]:
    """All notebooks of the course in order; FileNotFoundError where there are none."""
    read = [lesson(path) for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))]
    if not read:
        raise FileNotFoundError(f"no notebooks in {folder}: the lecture is read from them; run this from the course")
    used: dict[str, int] = {}
    for one in read:
        for place, showing in enumerate(one.showings):
            used[showing.id] = use = used.get(showing.id, 0) + 1
            if use > 1:
                one.showings[place] = replace(showing, id=f"{showing.id}-{use}")
    return read


def lesson(path: Path) -> Lesson:
    """One notebook; the ids of its demos are their keys."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    found = Lesson(path.name[:2], "", path)
    asked, recap, folded, part = None, False, None, ""
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            if found.showings and (see := SEE.search(source)) and not found.showings[-1].see:
                found.showings[-1] = replace(found.showings[-1], see=_words_of(source[see.end() :]))
            for level, title in HEADING.findall(_without_code(source)):
                depth = len(level)
                if folded is not None and depth <= folded:
                    folded = None
                if folded is None and cell.get("metadata", {}).get("jp-MarkdownHeadingCollapsed"):
                    folded = depth
                heading, minutes = MINUTES.sub("", title), MINUTES.search(title)
                recap = heading == "Before you begin" if depth <= 2 else recap
                if depth == 1 and not found.title:
                    found.title = re.sub(r"^\d\d[:\s]+", "", heading)
                elif depth == 2:
                    part, asked = heading, None
                    found.parts.append(Part(heading, minutes and int(minutes[1]), folded is not None))
                if heading.startswith(("Exercise", "Open experiment")):
                    stars = "".join(re.findall("★", title))
                    found.tasks.append(Task(heading, minutes and int(minutes[1]), stars, folded is not None))
            if predicted := PREDICT.search(source):
                asked = Question(predicted[1].strip())
        elif cell["cell_type"] == "code":
            for kind, what in _calls(source):
                if kind == "ask" and recap:
                    found.recaps.append(what)
                elif kind == "ask":
                    asked = what
                else:
                    key, function, preset = what
                    name = key if function == "demo" else f"{key}-{function}"
                    here = part or found.title, folded is not None
                    found.showings.append(Showing(name, key, function, preset, found.number, *here, asked))
                    asked = None
    return found


def _calls(source: str) -> Iterator[tuple[str, Any]]:
    """("ask", Question) for each question of a cell, and ("demo", (key, function, preset)) for the demo it shows."""
    try:
        tree = ast.parse(source)
    except SyntaxError:  # a cell for the reader to complete, or one with a magic command
        return
    named = {}
    for statement in tree.body:
        value = getattr(statement, "value", None)
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            named[statement.targets[0].id] = value
        if not isinstance(statement, ast.Expr):
            continue
        if isinstance(value, ast.Name):
            value = named.get(value.id)
        if isinstance(value, ast.Call) and getattr(value.func, "id", "") == "ask":
            yield "ask", _question(value)
            value = next((keyword.value for keyword in value.keywords if keyword.arg == "then"), None)
        if isinstance(value, ast.Call) and getattr(value.func, "attr", "").endswith("demo") and not value.args:
            yield "demo", (ast.unparse(value.func.value), value.func.attr, _literals(value))


def _question(call: ast.Call) -> Question:
    names = [ast.keyword(name, value) for name, value in zip(("question", "choices"), call.args)]
    given = _literals(ast.Call(call.func, [], [*names, *call.keywords]))
    number = given.get("number")
    answer = given.get("answer") if number is None else f"{number:g} {given.get('unit') or ''}".strip()
    choices = tuple(given.get("choices") or ())
    return Question(given.get("question") or "", choices, answer or "", given.get("because") or "")


def _literals(call: ast.Call) -> dict[str, Any]:
    """The keywords of a call that stand there as values; of a name or a sum only who runs it knows the value."""
    found = {}
    for keyword in call.keywords:
        try:
            found[keyword.arg] = ast.literal_eval(keyword.value)
        except ValueError:
            continue
    return found


def _without_code(source: str) -> str:
    return re.sub(r"^```.*?^```", "", source, flags=re.DOTALL | re.MULTILINE)


def _words_of(source: str) -> str:
    """What belongs to the demo above: the rest of the cell is the lesson's."""
    *before, last = re.split(r"^#+ |^\||^\*A place to stop\.\*", source, flags=re.MULTILINE)[0].strip().split("\n\n")
    return "\n\n".join(before if last.endswith(":") else [*before, last])
