"""Checks for the exercises: a right answer is confirmed, a common wrong one gets the hint that leads on.

Each notebook has a file here with ``check_...(answer) -> Verdict`` functions. A cell that ends in a check shows its
verdict; nothing raises (``never_raises``), so that a notebook with open exercises still runs from top to bottom.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from inspect import getdoc
from typing import Any

import torch


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


def never_raises(check: Callable[..., Verdict]) -> Callable[..., Verdict]:
    """``check``, for which an answer that it trips over is wrong, and is told what was asked for: its docstring.

    >>> check_line(torch.ones(2))
    Not yet. This answer cannot be checked (Boolean value of Tensor with more than one value is ambiguous). Asked for: \
How many points determine a line.
    """
    asked = " ".join(getdoc(check).split())

    @wraps(check)
    def checked(*answers: Any, **named: Any) -> Verdict:
        try:
            return check(*answers, **named)
        except Settled as settled:
            return settled.verdict
        except Exception as error:
            return wrong(f"This answer cannot be checked ({error}). Asked for: {asked}")

    return checked


def unanswered(answer: Any) -> bool:
    """Whether an answer is still the dots it was given as, alone or among several."""
    return answer is ... or (isinstance(answer, (tuple, list)) and any(unanswered(part) for part in answer))


def run(answer: Callable, *arguments: Any, hint: str = "") -> Any:
    """What a student's function returns; Settled where it is no function, is unanswered or raises (then: the hint)."""
    if not callable(answer):
        raise Settled(WAITING if unanswered(answer) else wrong(f"A function was expected, not {answer!r}."))
    try:
        result = answer(*arguments)
    except Exception as error:
        raise Settled(wrong(f"Your function raised {type(error).__name__}: {error}{hint}")) from error
    if unanswered(result):
        raise Settled(WAITING)
    if result is None:
        raise Settled(Verdict(None, "Your function returns nothing yet: replace its dots, and end it with a return."))
    return result


def compare(
    got: torch.Tensor, expected: torch.Tensor, mistakes: Iterable[tuple[torch.Tensor, str]], praise: str = ""
) -> Verdict:
    """Right if ``got`` is ``expected``; else the hint of the known mistake that gives this very result.

    >>> compare(torch.tensor(3.0), torch.tensor(1.0), [(torch.tensor(3.0), "That is the sum; take the mean.")])
    Not yet. That is the sum; take the mean.
    """
    if not isinstance(got, torch.Tensor):
        return wrong(f"A tensor of shape {list(expected.shape)} was expected, not {type(got).__name__}.")
    if got.shape != expected.shape:
        return wrong(f"The shape is {list(got.shape)}, expected {list(expected.shape)}.")
    if same(got, expected):
        return right(praise)
    for value, hint in mistakes:
        if value.shape == got.shape and same(got, value):
            return wrong(hint)
    difference = (got.double() - expected.double()).abs().max().item()
    return wrong(f"The largest difference to the expected result is {difference:.3g}.")


@never_raises
def check_line(points: int) -> Verdict:
    """How many points determine a line."""
    if unanswered(points):
        return WAITING
    if points == 2:
        return right("Two numbers, slope and intercept, from two points.")
    return wrong("A line y = a x + b has two unknown numbers; each point gives one equation.")


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a.double(), b.double(), rtol=1e-4, atol=1e-6)
