"""A notebook read as a lesson, in the form that the lessons have and in the one they had."""

from __future__ import annotations

import nbformat
import pytest

from course_lib.chapters import demo_modules
from course_lib.kit.lesson import lesson, lessons

NEW = [
    "# 02 The two loops\n\nLecture 2.",
    "## Before you begin",
    'ask("What is k?", ["steps", "shots"], answer="steps", because="It counts.", key="02.recap1")',
    "## Part 1: Walk (12 minutes)",
    'ask("Up or down?", ["up", "down"], answer="down", because="Each step goes downhill.", key="02.walk")',
    "stepper.demo(steps=3)",
    "**What to see.** It *falls*: $\\alpha$.\n\n#### More: why\n\nBecause.",
    'ask("Of no demo?", ["yes", "no"], answer="no", because="A part ends it.", key="02.none")',
    "## Part 2: Look (10 minutes)",
    "dunes.demo()",
    "**What to see.** Sand.\n\n| you want | do |\n|---|---|\n| all | [look](03_x.ipynb) |\n\nMore.",
    "hills.demo()",
    "**What to see.** Hills.\n\nThere are two,\neach with its share:",
    "for draw in range(3):\n    print(stepper.demo().set(draw=draw).data)",
    'ask("How large?", number=0.2, unit="of the border", because="So.", key="02.large")',
    "d = landscape.demo()\nd",
    "**What to see.** A valley.\n\n*A place to stop.*",
    ("## Deeper: more (8 minutes)", {"jp-MarkdownHeadingCollapsed": True}),
    "stepper.demo(rate=RATE)",
    "## What you can do now",
    "%matplotlib inline\nstepper.demo()",
]
OLD = [
    "# 03 Old\n\nWords.\n\n**Predict before you look.** Which\nis *larger*?\n\nMore.",
    "race.demo()",
    "**What to see.** This.",
]


def read(path, *cells):
    made = []
    for cell in cells:
        source, metadata = cell if isinstance(cell, tuple) else (cell, {})
        new = nbformat.v4.new_markdown_cell if source[0] in "#*" else nbformat.v4.new_code_cell
        made.append(new(source, metadata=metadata))
    nbformat.write(nbformat.v4.new_notebook(cells=made), path)
    return lesson(path)


def test_a_lesson_has_its_questions_demos_words_and_minutes(tmp_path):
    found = read(tmp_path / "02_loops.ipynb", *NEW)
    assert (found.number, found.title) == ("02", "The two loops")
    assert [question.text for question in found.recaps] == ["What is k?"]
    first, dunes, hills, second, third = found.showings
    assert (first.key, first.preset, first.part, first.deeper) == ("stepper", {"steps": 3}, "Part 1: Walk", False)
    assert first.question.choices == ("up", "down") and first.question.answer == "down"
    assert first.see == "It *falls*: $\\alpha$."
    assert dunes.question is None and (dunes.see, hills.see) == ("Sand.", "Hills.")
    assert second.key == "landscape" and second.question.answer == "0.2 of the border" and second.see == "A valley."
    assert third.deeper and third.question is None and third.preset == {}
    assert [(part.title, part.minutes, part.deeper) for part in found.parts[1:4]] == [
        ("Part 1: Walk", 12, False),
        ("Part 2: Look", 10, False),
        ("Deeper: more", 8, True),
    ]


def test_the_words_of_older_notebooks_are_found_too(tmp_path):
    (shown,) = read(tmp_path / "03_old.ipynb", *OLD).showings
    assert shown.question.text == "Which\nis *larger*?" and not shown.question.choices and shown.see == "This."


def test_every_demo_of_the_course_is_shown_with_words_and_has_a_module():
    showings = [showing for one in lessons() for showing in one.showings]
    assert len({showing.id for showing in showings}) == len(showings) >= 30
    assert {showing.key for showing in showings} <= demo_modules().keys()


def test_a_folder_without_notebooks_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="no notebooks in"):
        lessons(tmp_path)
