"""Ask, commit, reveal: the reader chooses an answer first; then the fact and its reason appear.

    ask("Will the error rise or fall?", ["rises", "falls", "stays"], answer="falls",
        because="Each step goes downhill.", key="01.steps")
    ask("How large is $\\alpha$?", number=0.2, unit="of the border", because="...", key="03.alpha", then=demo)
    guesses("01")                       # at the end of a notebook: the reader's guesses beside the facts

A guess can be skipped (*show me*), is kept by ``progress``, and never holds up a run: the cell ends at once. Where no
kernel runs the question stands there with its choices and without its answer. Question, choices and reason may hold
`code`, *emphasis* and $mathematics$. A widget's message may come in a second thread: words are shown from there, what
comes ``then`` is made and shown by the thread that ran the cell.
"""

from __future__ import annotations

import asyncio
import html
import inspect
import math
import re
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets
import traitlets
from IPython import get_ipython
from IPython.core.formatters import DisplayFormatter

from course_lib.kit import progress
from course_lib.kit.formulas import mathml
from course_lib.kit.panel import answer_at_once

HERE = Path(__file__).parent

_shown: dict[str, Question] = {}  # by key: the questions of this session


def ask(
    question: str,
    choices: Sequence[str] | None = None,
    *,
    key: str,
    answer: str | None = None,
    number: float | None = None,
    unit: str = "",
    tolerance: float | None = None,
    because: str = "",
    then: Any = None,
) -> Question:
    """A question to answer before the fact is shown: one of ``choices``, or a number.

    Args:
        key: the notebook and a word, such as "01.steps"; the guess is kept under it.
        answer: the choice that is right.
        number: the right number, in ``unit`` (plain words); a guess within ``tolerance`` of it is right, which is a
            tenth of it unless given.
        because: the reason, shown with the answer.
        then: what is displayed below it, such as a demo; or a function that makes it. A still page does not show it:
            what belongs on the page stands in a cell of its own.

    Raises:
        ValueError: neither or both kinds of answer, an answer that is no choice, a choice that is no string, or a key
            of another form.
    """
    if not re.fullmatch(r"\d\d\.\w+", key):
        raise ValueError(f"key must be a notebook and a word, such as '01.steps', got {key!r}.")
    if (number is None) == (answer is None) or (choices is None) == (number is None):
        raise ValueError("Give choices and the answer among them, or a number.")
    if number is None and not all(isinstance(choice, str) for choice in choices):
        raise ValueError(f"choices must be strings, got {list(choices)}: a number among them goes between quotes.")
    if number is None and answer not in choices:
        raise ValueError(f"answer must be one of {list(choices)}, got {answer!r}.")
    if key in _shown:
        _shown[key].close()
    _shown[key] = Question(question, choices, key, answer, number, unit, tolerance, because, then)
    return _shown[key]


class Entry(anywidget.AnyWidget):
    """Choices, or a number where there are none, and two buttons: what they do comes as a message."""

    _esm, _css = HERE / "question.js", HERE / "question.css"
    choices = traitlets.List().tag(sync=True)
    labels = traitlets.List().tag(sync=True)  # of the choices, as HTML
    unit = traitlets.Unicode().tag(sync=True)
    guess = traitlets.Unicode().tag(sync=True)
    revealed = traitlets.Bool().tag(sync=True)


class Question:
    """What ``ask`` returns; its arguments are those of ``ask``."""

    def __init__(self, question, choices, key, answer, number, unit, tolerance, because, then):
        self.question, self.choices, self.key, self.because, self._then = question, choices, key, because, then
        self.number, self.unit, self._made = number, unit, None
        self.fact = answer if number is None else f"{number:g} {unit}".strip()
        self.tolerance = abs(number or 0.0) / 10 if tolerance is None else tolerance
        try:
            self._loop = asyncio.get_running_loop()  # of the thread that runs cells
        except RuntimeError:  # no kernel: a script or a test
            self._loop = None
        labels = [_inline(choice, _as_mathml) for choice in choices or ()]
        self.entry = Entry(choices=list(choices or ()), labels=labels, unit=unit)
        self.entry.on_msg(lambda _, message, buffers: self.hear(message))
        self._words, self._below = ipywidgets.HTMLMath(), ipywidgets.Output()
        asked = ipywidgets.HTMLMath(f"<b>Before you look:</b> {_inline(question)}")
        self.box = ipywidgets.VBox([asked, self.entry, self._words, self._below])
        self.box.add_class("course-question")
        kept = _kept(key, question)
        if kept:  # of an earlier day: the page looks as the reader left it
            self.reveal(kept["guess"])
        answer_at_once(self.entry)

    @property
    def revealed(self) -> bool:
        return self.entry.revealed

    def hear(self, message: dict) -> None:
        """What the reader did: {"do": "commit", "guess": ...}, {"do": "skip"} or {"do": "again"}."""
        if message["do"] == "again":
            self.again()
        elif message["do"] == "skip":
            self.reveal(None)
        elif self.number is None and message["guess"] not in self.choices:
            self._say("Choose one first, or press <b>Show me</b>.")
        elif self.number is not None and _as_number(message["guess"]) is None:
            self._say("Type a number first, such as 0.2, or press <b>Show me</b>.")
        else:
            self.reveal(message["guess"] if self.number is None else message["guess"].strip())
        answer_at_once(self.entry)

    def reveal(self, guess: str | None) -> None:
        """Show the fact beside ``guess``, a choice or a number in words (None: skipped), and keep the guess."""
        if self.revealed:
            return
        self.entry.guess, self.entry.revealed = guess or "", True
        right = None if guess is None else self._is_right(guess)
        progress.note_guess(self.key, question=self.question, guess=guess, fact=self.fact, right=right)
        said = "" if guess is None else f"You said <em>{_inline(guess)}</em>{': right' if right else ''}. "
        self._say(f"{said}<b>The answer: {_inline(self.fact)}.</b> {_inline(self.because)}")
        if self._then is None:
            return
        if self._loop is None or self._loop is _running_loop():
            self._show_then()
        else:
            self._loop.call_soon_threadsafe(self._show_then)

    def again(self) -> None:
        """The question as if it had not been answered."""
        self.entry.guess, self.entry.revealed = "", False
        self._words.value, self._below.outputs = "", ()

    def close(self) -> None:
        """End its widgets and what came then; a cell that is run again closes what it showed before."""
        shown = [*self.box.children, self.box]
        for widget in [*shown, *(widget.layout for widget in shown), *(w.style for w in shown if hasattr(w, "style"))]:
            widget.close()
        if hasattr(self._made, "close"):
            self._made.close()

    def _is_right(self, guess: str) -> bool:
        if self.number is None:
            return guess == self.fact
        value = _as_number(guess)
        return value is not None and abs(value - self.number) <= self.tolerance * (1 + 1e-9)

    def _say(self, words: str) -> None:
        self._words.value = f'<div role="alert">{words}</div>'  # as an alert it is read out where it appears

    def _show_then(self) -> None:
        try:
            shown = self._made = self._then() if inspect.isroutine(self._then) else self._then
            shell = get_ipython()
            formatter = DisplayFormatter() if shell is None else shell.display_formatter
            data, metadata = formatter.format(shown)
            output = {"output_type": "display_data", "data": data, "metadata": metadata}
        except Exception:
            output = {"output_type": "stream", "name": "stderr", "text": traceback.format_exc()}
        if self.revealed:
            self._below.outputs = (output,)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """The live box, and beside it the question as words, for places where no kernel runs."""
        view = self.box._repr_mimebundle_()
        offered = [f"- {choice}" for choice in self.choices or []] or [f"(A number{self.unit and ', '}{self.unit}.)"]
        words = "\n".join([f"**Before you look:** {self.question}", "", *offered])
        return {**view, "text/markdown": words, "text/plain": words.replace("**", "")}


def guesses(notebook: str) -> progress.Page:
    """The reader's guesses at the questions of ``notebook``, such as "01", beside the facts."""
    asked = [question for key, question in _shown.items() if key.startswith(f"{notebook}.")]
    entries = [{"question": q.question, "fact": q.fact} | _kept(q.key, q.question) for q in asked]
    entries += [entry for key, entry in progress.guesses_in(notebook).items() if key not in _shown]
    cells = [[str(e.get("question", "")), _guess_in_words(e), str(e.get("fact", ""))] for e in entries]
    if not cells:
        words = f"No question of notebook {notebook} has been asked yet."
        return progress.Page(words, words)
    left = 'style="text-align: left"'
    head = "".join(f'<th scope="col" {left}>{name}</th>' for name in ("question", "your guess", "the fact"))
    rows = "".join("<tr>" + "".join(f"<td {left}>{_inline(cell)}</td>" for cell in row) + "</tr>" for row in cells)
    lines = [f"{question}\n  your guess: {guess}; the fact: {fact}" for question, guess, fact in cells]
    return progress.Page(f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>", "\n".join(lines))


def _kept(key: str, question: str) -> dict[str, Any]:
    """What is kept of a question; {} if nothing, or if it was another question then."""
    entry = progress.guess_at(key)
    guess = entry.get("guess")
    return entry | {"guess": guess if isinstance(guess, str) else None} if entry.get("question") == question else {}


def _guess_in_words(entry: dict[str, Any]) -> str:
    if entry.get("guess") is None:
        return "skipped" if "guess" in entry else "not guessed"
    return f"{entry['guess']}{' ' + progress.MARKS[True] if entry.get('right') is True else ''}"


def _as_number(text: str) -> float | None:
    """The number that a person typed, with a point or a comma; None if it is none.

    >>> _as_number(" 0,2 "), _as_number("1e-3"), _as_number("some")
    (0.2, 0.001, None)
    """
    try:
        value = float(text.strip().replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _as_mathml(formula: str) -> str:
    """A formula between its dollars, as MathML: no typesetter of Jupyter's looks beside a form's buttons."""
    return mathml(html.unescape(formula[1:-1]))


def _inline(text: str, formula: Callable[[str], str] = str) -> str:
    """A line of Markdown as HTML: code, strong, emphasis; mathematics as ``formula`` has it, all else as it is.

    >>> _inline("*How* large is $a_1 * b < 2$ in `x < y`?")
    '<em>How</em> large is $a_1 * b &lt; 2$ in <code>x &lt; y</code>?'
    """
    parts = re.split(r"(\$[^$]+\$|`[^`]+`)", html.escape(text, quote=False))
    parts[1::2] = [f"<code>{part[1:-1]}</code>" if part[0] == "`" else formula(part) for part in parts[1::2]]
    parts[::2] = [re.sub(r"\*(\S.*?)\*", r"<em>\1</em>", re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", p)) for p in parts[::2]]
    return "".join(parts)
