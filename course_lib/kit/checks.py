"""Checks for the exercises: a right answer is confirmed, a common wrong one gets the hint that leads on.

Each chapter has a file of ``check_...(answer) -> Verdict`` functions. A cell that ends in a check shows its verdict;
nothing raises (``exercise``), so that a notebook with open exercises still runs from top to bottom. A student's
function is called in one place (``attempt``): on copies of the inputs, so that it may change them and gains nothing
by it. What a student wrote stands in a message as inline code (``code``), which Markdown leaves alone.
"""

from __future__ import annotations

import copy
import dis
import inspect
import linecache
import math
import re
import reprlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import update_wrapper
from types import TracebackType
from typing import Any

import torch

from course_lib.kit import progress
from course_lib.kit.answers import Reveal, function_from, source_of, source_to_keep
from course_lib.kit.claim import COMMENT
from course_lib.kit.time_limit import TimedOut, time_limit

SECONDS = 10.0  # that a check may take; right answers take a tenth of one


@dataclass(frozen=True)
class Verdict:
    """What a check found: ``passed`` is True, False, or None where nothing was answered yet."""

    passed: bool | None
    message: str

    @property
    def word(self) -> str:
        return {True: "Right.", False: "Not yet.", None: "Waiting for your answer."}[self.passed]

    def __str__(self) -> str:
        return f"{self.word} {self.message}".strip()

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        sign = {True: "\N{WHITE HEAVY CHECK MARK}", False: "\N{CONSTRUCTION SIGN}", None: "\N{PENCIL}"}[self.passed]
        return f"{sign} **{self.word}** {self.message}"


WAITING = Verdict(None, "Replace the dots above and run this cell again.")


def right(message: str = "") -> Verdict:
    return Verdict(True, message)


def wrong(hint: str) -> Verdict:
    return Verdict(False, hint)


class Settled(Exception):
    """Ends a check early, with this verdict."""

    def __init__(self, verdict: Verdict):
        self.verdict = verdict


def exercise(
    notebook: str, title: str = "", parts: int = 0, *, solution: Any = None, why: str = ""
) -> Callable[[Callable[..., Verdict]], Exercise]:
    """Make a check an exercise of ``notebook``: it never raises, ends in time, and its verdict is kept by ``progress``.

    An answer that the check trips over is wrong, and is told what was asked for: the check's docstring. Its title is
    the check's name unless given. With ``parts`` the check's first argument is the number of one of so many exercises.
    ``solution`` is the course's own answer: a function, or what to type, as Markdown; ``why`` says why it is so.

    >>> check_line(torch.ones(2))
    Not yet. This answer cannot be checked (`Boolean value of Tensor with more than one value is ambiguous`). Asked \
for: How many points determine a line.
    """

    def decorate(check: Callable[..., Verdict]) -> Exercise:
        name = title or check.__name__.removeprefix("check_").replace("_", " ")
        return Exercise(notebook, name, parts, check, solution, why)

    return decorate


class Exercise:
    """A check that a notebook calls: ``check_x(answer) -> Verdict``, with the course's own answer beside it."""

    def __init__(self, notebook: str, name: str, parts: int, check: Callable, solution: Any, why: str):
        self.notebook, self.name, self.parts, self.check = notebook, name, parts, check
        self.model, self.why = solution, why
        self.asked = " ".join(inspect.getdoc(check).split())
        update_wrapper(self, check)
        progress.enlist(notebook, [f"{name} {part}" for part in range(1, parts + 1)] if parts else [name])

    def __call__(self, *answers: Any, **named: Any) -> Verdict:
        verdict = self.solution(*answers, **named)
        part = answers[0] if self.parts and answers else None
        own_name = f"{self.name} {part}" if isinstance(part, int) and 1 <= part <= self.parts else self.name
        progress.note_verdict(self.notebook, own_name, verdict.passed)
        if verdict.passed and answers and inspect.isfunction(answers[-1]):
            progress.note_answer(self.notebook, own_name, source_to_keep(answers[-1]))
        return verdict

    def solution(self, *answers: Any, **named: Any) -> Verdict:
        """The verdict on an answer that is not the reader's: nothing is kept."""
        try:
            with time_limit(SECONDS), torch.enable_grad():  # whatever a cell has switched off
                return self.check(*answers, **named)
        except Settled as settled:
            return settled.verdict
        except TimedOut:
            return wrong(f"This answer was still being checked after {SECONDS:g} seconds. Asked for: {self.asked}")
        except (Exception, SystemExit) as error:
            return wrong(f"This answer cannot be checked ({code(_words(error))}). Asked for: {self.asked}")

    def reveal(self, part: int | None = None) -> Reveal:
        """The course's own answer behind a button (of exercises in parts: that of ``part``)."""
        model, why = (self.model, self.why) if part is None else (self.model[part - 1], self.why[part - 1])
        text = f"```python\n{source_of(model)}\n```" if callable(model) else str(model)
        return Reveal(f"{text}\n\n{why}".strip())

    def use(self, answer: Any = None) -> Callable:
        """The reader's function where it passes, else the course's own; says which in a line.

        Without ``answer`` it is the one that passed in its own notebook, on whatever day.
        """
        here = answer is not None
        kept = "" if here else progress.answer_at(self.notebook, self.name)
        if not here:
            answer = function_from(kept) if kept else ...
        verdict = WAITING if unanswered(answer) else self.solution(answer)
        if verdict.passed:
            print(f'Your own answer to exercise "{self.name}" of notebook {self.notebook} is used here.')
            return answer
        where = "above" if here else f"in notebook {self.notebook}"
        state = "is still open" if verdict.passed is None else "is not right yet"
        state = "was right there, but needs a number, a class or an import of another cell" if kept else state
        print(f'The course\'s answer to exercise "{self.name}" stands in: yours {where} {state}.')
        return self.model


def score(verdict: Verdict, points: float) -> float:
    """What an autograder counts: all the points where it passed, else 0; prints the verdict, which is the feedback."""
    print(verdict)
    return float(points if verdict.passed else 0)


def model_answer(notebook: str, title: str, answer: str) -> Exercise:
    """An open exercise: anything written in five words or more is an answer, and shows the course's own beside it.

    What ``answer`` says about results it quotes (``kit.claim``), in comments that no reader sees.
    """
    answer = COMMENT.sub("", answer)

    def check_open(finding: str) -> Verdict:
        """What you tried and what you found, in a sentence or two."""
        if unanswered(finding):
            return WAITING
        if not isinstance(finding, str) or len(finding.split()) < 5:
            return Verdict(None, "Write what you tried and what you found, in a sentence or two, between quotes.")
        return right(f"Compare it with what we found: {answer}")

    return exercise(notebook, title, solution=answer)(check_open)


def unanswered(answer: Any) -> bool:
    """Whether an answer is still the dots it was given as, alone or among several."""
    return answer is ... or (isinstance(answer, (tuple, list)) and any(unanswered(part) for part in answer))


def number(answer: Any) -> float:
    """An answer that should be a number; Settled where it is still dots, or complex.

    >>> number(torch.tensor(0.5))
    0.5
    """
    if unanswered(answer):
        raise Settled(WAITING)
    if isinstance(real(answer), (str, bytes, bool)) or not hasattr(answer, "__float__"):
        raise TypeError(f"a number was expected, not {short(answer)}")
    value = float(answer)
    if not math.isfinite(value):
        raise ValueError(f"a finite number was expected, not {value}")
    return value


def real(answer: Any) -> Any:
    """``answer``; Settled where it is complex: torch and NumPy drop imaginary parts, if with a warning."""
    if isinstance(answer, complex) or "complex" in str(getattr(answer, "dtype", "")):
        raise Settled(wrong("Real numbers were expected, and this is complex. (`eigvalsh` is real, `eigvals` is not.)"))
    return answer


# Calling a student's function ------------------------------------------------------------------------------------


def attempt(answer: Callable, *inputs: Any, hints: Mapping[str, str] | None = None) -> tuple[Any, tuple]:
    """What a student's function returns for copies of ``inputs``, and the copies as it left them.

    Settled where it is no function or raises: then with the line of the student's code that did, and with the first
    of the ``hints`` whose key, a regular expression, is found in "ErrorType: its message".
    """
    if not callable(answer):
        raise Settled(WAITING if unanswered(answer) else wrong(f"A function was expected, not {code(short(answer))}."))
    copies = copy.deepcopy(inputs)
    try:
        with torch.enable_grad():  # whatever the answer switches off
            return answer(*copies), copies
    except BaseException as error:
        if _is_interrupt(error):
            raise
        verdict = wrong(_explain(error, hints or {}))
    raise Settled(verdict)


def answered(result: Any) -> Any:
    """``result``, of a student's function; Settled where it is nothing yet, or complex."""
    if unanswered(result):
        raise Settled(WAITING)
    if result is None:
        raise Settled(Verdict(None, "Your function returns nothing yet: replace its dots, and end it with a return."))
    return real(result)


def run(answer: Callable, *inputs: Any, hints: Mapping[str, str] | None = None) -> Any:
    """What a student's function returns for copies of ``inputs``; Settled as in ``attempt`` and ``answered``."""
    return answered(attempt(answer, *inputs, hints=hints)[0])


def _explain(error: BaseException, hints: Mapping[str, str]) -> str:
    line = _own_line(error)
    if isinstance(error, TimedOut):
        return f"Your function was stopped after {SECONDS:g} seconds{line}. Is there a loop that never ends?"
    words, name = _words(error), type(error).__name__
    hint = next((hint for key, hint in hints.items() if re.search(key, f"{name}: {words}")), "")
    if isinstance(error, SystemExit):
        hint = "End it with a return: this would end Python."
    words = code(words.rstrip("."), 130 if hint else 300)  # the hint should not come late
    return f"Your function raised {name}{line}{words and ': '}{words}. {hint}".strip()


def _own_line(error: BaseException) -> str:
    """The last line in the student's own code (all that shares the names of the function called), number and text."""
    own = _own_calls(error)
    if not own:
        return ""
    frame, line = own[-1].tb_frame, own[-1].tb_lineno
    text = linecache.getline(frame.f_code.co_filename, line, frame.f_globals)
    return f" in line {line}" + (f", {code(text)}" if text.strip() else "")


def _is_interrupt(error: BaseException) -> bool:
    """Whether the person interrupted the kernel: it was no ``raise KeyboardInterrupt`` of the student's code."""
    own = _own_calls(error)
    by_raise = own and dis.opname[own[-1].tb_frame.f_code.co_code[own[-1].tb_lasti]] == "RAISE_VARARGS"
    return isinstance(error, KeyboardInterrupt) and not by_raise


def _own_calls(error: BaseException) -> list[TracebackType]:
    calls, call = [], error.__traceback__.tb_next  # the first is ``attempt``
    while call is not None:
        if calls or "site-packages" not in call.tb_frame.f_code.co_filename:  # such as the decorator torch.no_grad()
            calls.append(call)
        call = call.tb_next
    return [call for call in calls if call.tb_frame.f_globals is calls[0].tb_frame.f_globals]


def _words(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # the student's own exception class may have a broken __str__
        return ""


# Words and numbers -----------------------------------------------------------------------------------------------

_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 100  # characters


def short(value: Any) -> str:
    """``repr(value)``, cut down where it is long: a list of a million numbers makes a line."""
    return _REPR.repr(value)


def code(text: str, limit: int = 300) -> str:
    """A student's words as inline code on one line: Markdown and HTML show them letter by letter.

    >>> print(code("'<lambda>' is not\\n  `defined`"))
    `` '<lambda>' is not `defined` ``
    """
    text = " ".join(text[: 2 * limit].split())
    if not text:
        return ""
    text = text if len(text) <= limit else text[:limit] + " ..."
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{text}{fence}" if len(fence) == 1 else f"{fence} {text} {fence}"


def compare(
    got: torch.Tensor, expected: torch.Tensor, mistakes: Iterable[tuple[torch.Tensor, str]], praise: str = ""
) -> Verdict:
    """Right if ``got`` is ``expected``, else the hint of the mistake that gives just this; Settled where it is complex.

    >>> compare(torch.tensor(3.0), torch.tensor(1.0), [(torch.tensor(3.0), "That is the sum; take the mean.")])
    Not yet. That is the sum; take the mean.
    """
    if not isinstance(real(got), torch.Tensor):
        return wrong(f"A tensor of shape {list(expected.shape)} was expected, not {code(type(got).__name__)}.")
    if got.shape != expected.shape:
        return wrong(f"The shape is {list(got.shape)}, expected {list(expected.shape)}.")
    if same(got, expected):
        return right(praise)
    for value, hint in mistakes:
        if value.shape == got.shape and same(got, value):
            return wrong(hint)
    lost = got.numel() - int(got.isfinite().sum())
    if lost:
        which = "is NaN, not a number," if got.isnan().any() else "is infinite"
        return wrong(f"{lost} of {got.numel()} values {which}: a division by zero, or did the steps explode?")
    difference = (got.double() - expected.double()).abs().max().item()
    return wrong(f"The largest difference to the expected result is {difference:.3g}.")


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a.double(), b.double(), rtol=1e-4, atol=1e-6)


@exercise(
    "00",
    "how an exercise works",
    solution="points = 2",
    why="Slope and intercept: two unknown numbers, one equation a point.",
)
def check_line(points: int) -> Verdict:
    """How many points determine a line."""
    if unanswered(points):
        return WAITING
    if points == 2:
        return right("Two numbers, slope and intercept, from two points.")
    return wrong("A line y = a x + b has two unknown numbers; each point gives one equation.")
