"""The instructor's guide, made of the notebooks and the demos: what to ask, expect, point at, and skip.

Nothing is written twice: questions, wrong predictions and reasons are those of the notebooks' ``ask``, what to point at
is their "What to see", sliders and views are the demos'. Every demo, view and end of a slider is a link into the
lecture hall's page.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from course_lib.kit import links
from course_lib.kit.controls import Choice, Notches, Run, Slider
from course_lib.kit.lesson import Lesson, Question, Showing, Task
from course_lib.kit.words import several

LECTURE, AROUND, EACH = 80, 8, 4  # minutes: a lecture, its first and last words, a demo with its question
SECTIONS, SECTION = 5, 50  # of a week; minutes
TASKS, RECAP = 25, 5  # minutes of a section for exercises, and for questions on what came before
LEAST = 3  # notches of a slider that is worth two links
HEAD = """# The instructor's guide

`make present` shows the demos full screen: a question, its picture on PageDown, then the next; h lists all keys, and n
opens a demo's words as notes. The links below lead there while it runs. A prediction costs a minute and decides what is
seen: let people choose, count hands, then press the key.
"""


def guide(lessons: Sequence[Lesson], open_demo: Callable[..., Any], base: str) -> str:
    """The guide as Markdown; ``base`` is the address of the lecture hall's page, such as "http://127.0.0.1:8424/"."""
    parts = [HEAD, *_lecture(lessons, base), *_week(lessons, base)]
    for lesson in lessons:
        parts += _chapter(lesson, open_demo, base)
    return "\n".join(parts).rstrip() + "\n"


# Plans --------------------------------------------------------------------------------------------------------


def chosen(lessons: Sequence[Lesson], most: int) -> list[Showing]:
    """At most ``most`` demos with a question, no demo twice, in order: of every notebook the first, then the second."""
    turns, seen = [], set()
    for place, lesson in enumerate(lessons):
        asked = [showing for showing in lesson.showings if showing.question and not showing.deeper]
        fresh = [showing for showing in asked if not (showing.key in seen or seen.add(showing.key))]
        turns += [(turn, place, showing) for turn, showing in enumerate(fresh)]
    picked = sorted(turns, key=lambda each: each[:2])[:most]
    return [showing for _, _, showing in sorted(picked, key=lambda each: (each[1], each[0]))]


def week(lessons: Sequence[Lesson]) -> list[list[Lesson]]:
    """The notebooks in ``SECTIONS`` groups, in order, as even as their demos and minutes allow."""
    loads = [lesson.minutes or 10 * len(lesson.showings) for lesson in lessons]
    groups: list[list[Lesson]] = [[] for _ in range(SECTIONS)]
    done = 0.0
    for lesson, load in zip(lessons, loads):
        groups[min(int(SECTIONS * (done + load / 2) / sum(loads)), SECTIONS - 1)].append(lesson)
        done += load
    return [group for group in groups if group]


def _lecture(lessons: Sequence[Lesson], base: str) -> Iterator[str]:
    yield f"\n## One lecture of {LECTURE} minutes\n"
    yield f"{EACH} minutes a demo: the question, a vote, the picture, two views. The chapters below say the rest.\n"
    yield "| at | demo | ask |\n|---|---|---|"
    for place, showing in enumerate(chosen(lessons, (LECTURE - AROUND) // EACH)):
        at, asked = AROUND // 2 + EACH * place, _line(showing.question.text)
        yield f"| {at // 60}:{at % 60:02d} | {_name(showing, base)} | {asked.replace('|', chr(92) + '|')} |"


def _week(lessons: Sequence[Lesson], base: str) -> Iterator[str]:
    yield f"\n## A week of sections, {SECTION} minutes each\n"
    yield "Before a section everybody works through its notebooks' main path; in it they talk, predict and write.\n"
    for number, group in enumerate(week(lessons), 1):
        yield f"### Section {number}: " + "; ".join(f"{lesson.number} {lesson.title}" for lesson in group) + "\n"
        recaps = [question for lesson in group for question in lesson.recaps]
        if recaps:
            yield f"* Recap ({_minutes(RECAP)}):\n" + "\n".join(
                f"    * {_line(q.text)} *{_line(q.answer)}*" for q in recaps
            )
        shown = chosen(group, (SECTION - TASKS - RECAP) // EACH)
        yield f"* Predict together ({_minutes(EACH * len(shown))}): " + ", ".join(
            _name(showing, base) for showing in shown
        )
        left = TASKS
        for lesson in group:
            for task in lesson.tasks:
                if not task.deeper and task.minutes and task.minutes <= left:
                    left -= task.minutes
                    yield f"* In pairs: {lesson.number}, {_task(task)}"
        yield ""


# A chapter ----------------------------------------------------------------------------------------------------


def _chapter(lesson: Lesson, open_demo: Callable[..., Any], base: str) -> Iterator[str]:
    yield f"\n## {lesson.number} {lesson.title}\n"
    said = [part for part in lesson.parts if part.minutes]
    if lesson.minutes:
        plan = "; ".join(f"{part.title} ({part.minutes})" for part in said if not part.deeper)
        yield f"{lesson.minutes} minutes on the main path: {plan}.\n"
    for showing in lesson.showings:
        if not showing.deeper:
            yield from _demo(showing, open_demo, base)
    away = [f"{part.title} ({_minutes(part.minutes)})" for part in said if part.deeper]
    away += [_name(showing, base) for showing in lesson.showings if showing.deeper]
    if away:
        yield "**Skip, or leave to the reader:** " + "; ".join(away) + ".\n"
    if lesson.tasks:
        yield "**Exercises:** " + "; ".join(map(_task, lesson.tasks)) + ".\n"


def _demo(showing: Showing, open_demo: Callable[..., Any], base: str) -> Iterator[str]:
    demo = open_demo(showing.key, showing.function, **showing.preset)
    address = f"{base}?demo={showing.id}"
    yield f"### [{demo.title}]({address})\n\n*{showing.part}*\n"
    yield from _asked(showing.question)
    if showing.see:
        yield "* **Point at:** " + _indented(showing.see)
    sliders = list(filter(None, (_slider(demo, name, address) for name in demo.controls)))
    if sliders:
        yield "* **Before each slider** ask what the other end will show: " + "; ".join(sliders)
    if demo.views:
        views = (
            f"{key} {_link(demo, name, values, address)}" for key, (name, values) in enumerate(demo.views.items(), 1)
        )
        yield "* **Views,** by key: " + ", ".join(views)
    yield ""


def _asked(question: Question | None) -> Iterator[str]:
    if question is None:
        return
    yield f"* **Ask:** {_line(question.text)}"
    wrong = [choice for choice in question.choices if choice != question.answer]
    if wrong:
        yield "* **Expect:** " + "; ".join(map(_line, wrong))
    if question.answer:
        yield f"* **It is:** {_line(question.answer)}. {_line(question.because)}"


def _slider(demo: Any, name: str, address: str) -> str:
    """A slider with a link to each of its ends."""
    control = demo.controls[name]
    if not isinstance(control, (Slider, Notches)) or isinstance(control, Choice) or len(control.notches()) < LEAST:
        return ""
    ends = (_link(demo, control.text(end), demo.start | {name: end}, address) for end in control.ends)
    return f"*{control.label or name.replace('_', ' ')}* from " + " to ".join(ends)


def _link(demo: Any, words: str, values: dict[str, Any], address: str) -> str:
    """``words`` as a link to a demo at ``values``; bare where a press starts something that no link holds."""
    if any(isinstance(demo.controls[name], Run) and value for name, value in values.items()):
        return words
    demo.accept(demo.start)
    demo.accept(values)
    query = links.write(demo)
    demo.accept(demo.start)
    return f"[{words}]({address}{'&' if query else ''}{query})"


def _name(showing: Showing, base: str) -> str:
    return f"[{showing.id}]({base}?demo={showing.id})"


def _task(task: Task) -> str:
    return f"{task.title} ({', '.join(filter(None, [task.minutes and _minutes(task.minutes), task.stars])) or 'open'})"


def _minutes(count: int) -> str:
    return several(count, "minute")


def _line(markdown: str) -> str:
    """Markdown on one line."""
    return " ".join(_bare(markdown).split())


def _indented(markdown: str) -> str:
    """Markdown as the item of a list."""
    return re.sub(r"\n(?=.)", "\n    ", _bare(markdown).strip())


def _bare(markdown: str) -> str:
    """A notebook's words without the comments that hold claims and without links: no notebook is beside the guide."""
    return re.sub(r"<!--.*?-->|\[([^\]]*)\]\(\w+\.ipynb[^)]*\)", r"\1", markdown, flags=re.DOTALL)
