"""Links: ``steps=5&inner_lr=0.02&hide=phase`` says where a demo stands, in one line that a person can read and write.

The words are those of ``demo(steps=5, inner_lr=0.02, hide="phase")``; the lecture hall's page has them in its address
after ``?demo=adapting&``, the site after ``#adapting?``. What equals the demo's start is left out, and so is what was
drawn by hand. ``front/links.js`` reads and writes the same words in the page, with the same sentences.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote

from course_lib.kit.controls import Button, Choice, Notches, Several, Slider, Switch
from course_lib.kit.touch import Point, Points

NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?\s*", re.IGNORECASE)
SAME = {"true": "on", "1": "on", "yes": "on", "false": "off", "0": "off", "no": "off"}


@dataclass
class Read:
    """What a link says: values by control, controls not to show, and a sentence for each thing that was not as it was
    written."""

    values: dict[str, Any]
    hidden: list[str]
    said: list[str]


class Unreadable(ValueError):
    """A word of a link that no value can be made of."""


def write(demo: Any) -> str:
    """Where ``demo`` stands now, as the query of a link."""
    query = {
        name: control.word(demo.values[name])
        for name, control in demo.controls.items()
        if isinstance(control, tuple(READERS)) and demo.values[name] != demo.start[name]
    }
    query |= {"hide": ",".join(demo.hidden)} if demo.hidden else {}
    return "&".join(f"{name}={quote(word, safe=SAFE)}" for name, word in query.items())


SAFE = ",!'()*~"  # besides letters, digits and -._: what JavaScript's encodeURIComponent leaves, and the comma


def read(query: str, demo: Any) -> Read:
    """The values that ``query`` gives to controls of ``demo``; what cannot be read stays as the demo has it."""
    found = Read({}, [], [])
    there = ", ".join(name for name, control in demo.controls.items() if isinstance(control, tuple(READERS)))
    for name, word in parse_qsl(query.lstrip("?#"), keep_blank_values=True):
        if name == "demo":
            continue
        for each in filter(None, word.split(",")) if name == "hide" else [name]:
            if each not in demo.controls:
                found.said.append(f"There is no control {each} here; there are {there}.")
            elif name == "hide":
                found.hidden.append(each)
        control = demo.controls.get(name)
        reader = READERS.get(type(control))
        if reader is None:
            continue
        try:
            value, problem = reader(control, word)
            found.values[name] = control.clean(value)
        except Unreadable as error:
            problem = f"{error}: it stays at {control.word(demo.start[name])}."
        found.said += [problem] if problem else []
    return found


def _number(word: str) -> float:
    return float(word) if NUMBER.fullmatch(word) else math.nan


def _slider(control: Slider, word: str) -> tuple[float, str]:
    number = _number(word)
    if math.isnan(number):
        raise Unreadable(f"{control.name} is a number, not {word}")
    inside = min(max(number, control.low), control.high)
    low, high = control.word(control.clean(control.low)), control.word(control.clean(control.high))
    problem = "" if inside == number else f"{control.name} goes from {low} to {high}, not to {word}."
    return round(inside) if control.whole else inside, problem


def _notches(control: Notches | Choice, word: str) -> tuple[Any, str]:
    words = [control.word(option) for option in control.notches()]
    if word in words:
        return control.notches()[words.index(word)], ""
    numbers, number = [_number(each) for each in words], _number(word)
    if isinstance(control, Choice) or any(map(math.isnan, numbers)):
        raise Unreadable(f"{control.name} is one of {', '.join(words)}, not {word}")
    if math.isnan(number):
        raise Unreadable(f"{control.name} is a number, not {word}")
    if not numbers[0] <= number <= numbers[-1]:
        at = 0 if number < numbers[0] else -1
        return control.notches()[at], f"{control.name} goes from {words[0]} to {words[-1]}, not to {word}."
    at = min(range(len(words)), key=lambda place: abs(numbers[place] - number))
    return control.notches()[at], f"{control.name} is one of {', '.join(words)}: {words[at]} is nearest to {word}."


def _several(control: Several, word: str) -> tuple[tuple, str]:
    options: Mapping[str, Any] = {str(option): option for option in control.options}
    asked = [each for each in word.split(",") if each]
    unknown = ", ".join(each for each in asked if each not in options)
    problem = f"{control.name} has {', '.join(options)}, not {unknown}."
    if unknown and not options.keys() & set(asked):
        raise Unreadable(problem[:-1])
    return tuple(options[each] for each in asked if each in options), problem if unknown else ""


def _switch(control: Switch, word: str) -> tuple[bool, str]:
    said = SAME.get(word.lower(), word.lower())
    if said not in ("on", "off"):
        raise Unreadable(f"{control.name} is one of off, on, not {word}")
    return said == "on", ""


def _button(control: Button, word: str) -> tuple[int, str]:
    if not re.fullmatch(r"[0-9]{1,6}", word):
        raise Unreadable(f"{control.name} is a number of presses, not {word}")
    return int(word), ""


def _point(control: Point, word: str) -> tuple[list[float], str]:
    numbers = [_number(each) for each in word.split(",")]
    if len(numbers) != 2 or any(map(math.isnan, numbers)):
        raise Unreadable(f"{control.name} is a point x,y, not {word}")
    return numbers, ""


def _points(control: Points, word: str) -> tuple[list[float], str]:
    numbers = [_number(each) for each in word.split(",") if word]
    if any(map(math.isnan, numbers)):
        raise Unreadable(f"{control.name} is a list of numbers, not {word}")
    return numbers, ""


READERS = {
    Slider: _slider,
    Notches: _notches,
    Choice: _notches,
    Several: _several,
    Switch: _switch,
    Button: _button,
    Point: _point,
    Points: _points,
}
