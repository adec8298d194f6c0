"""What a person moves in a demo. A control knows its default, its ends, every value it can stop at, and their words.

Nothing here knows a widget: ``describe`` says in plain data what the page has to show, and ``heard`` turns what the
page answers into a value. So a notebook, a lecture hall and a recorded web page show the same controls.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any


@dataclass(frozen=True)
class Control:
    """What all controls share; ``default`` and ``label`` are the fields of each."""

    name: str

    @property
    def ends(self) -> tuple:
        """The values at which a demo is tested: the least and the greatest, or each that there is."""
        notches = self.notches()
        return notches[0], notches[-1]

    def notches(self, most: int | None = None) -> list:
        """The values that it can stop at, at most ``most`` (3 or more) of them, ends and default among them."""
        return [self.default]

    def text(self, value: Any) -> str:
        """A value in words."""
        return str(value)

    def word(self, value: Any) -> str:
        """A value as a link writes it."""
        return "-".join(map(str, value)) if isinstance(value, tuple) else str(value)

    def texts(self, most: int | None = None) -> list[str]:
        return [self.text(value) for value in self.notches(most)]

    def clean(self, value: Any) -> Any:
        """The value as it is kept; ValueError for one that this control cannot have."""
        return _one_of(self.name, value, self.notches())

    def heard(self, answer: Any) -> Any:
        """The value of what the page sends: a place among the notches."""
        return self.notches()[answer]

    def place(self, value: Any) -> Any:
        """What the page shows for a value: its place among the notches."""
        return self.notches().index(value)

    def describe(self) -> dict:
        """For the page: kind, name, words, and the texts of all notches."""
        label = self.label or self.name.replace("_", " ")
        return {"kind": type(self).__name__.lower(), "name": self.name, "label": label, "help": self.help}


@dataclass(frozen=True)
class Listed(Control):
    """A control that stops at notches."""

    def describe(self) -> dict:
        return super().describe() | {"texts": self.texts(), "words": [self.word(value) for value in self.notches()]}


@dataclass(frozen=True)
class Slider(Listed):
    """A number from ``low`` to ``high``; whole if all of ``low``, ``high``, ``default``, ``step`` are ints.

    With ``log=True`` the handle moves in powers of ten (``step`` is a part of a power, 0.1 unless given).

    >>> Slider("steps", 0, 50, 10, "inner steps k").ends
    (0, 50)
    >>> Slider("inner_lr", 1e-4, 1, 0.01, log=True).clean(0.5)
    0.5
    >>> Slider("inner_lr", 1e-2, 1, 0.1, log=True).notches(5)
    [0.01, 0.0316228, 0.1, 0.316228, 1.0]
    """

    low: float
    high: float
    default: float
    label: str = ""
    step: float | None = None
    log: bool = False
    help: str = ""

    def __post_init__(self):
        if not self.low < self.high or (self.log and self.low <= 0):
            needs = "0 < low < high" if self.log else "low < high"
            raise ValueError(f"Slider {self.name!r} needs {needs}, got low={self.low}, high={self.high}.")
        self.clean(self.default)

    @property
    def whole(self) -> bool:
        given = (self.low, self.high, self.default, 1 if self.step is None else self.step)
        return not self.log and all(isinstance(number, int) for number in given)

    def notches(self, most: int | None = None) -> list:
        return _thinned(list(_stops(self)), self.default, most)

    def text(self, value: float) -> str:
        return str(value) if self.whole else f"{value:.2g}" if self.log else f"{value:.3g}"

    def clean(self, value: float) -> float:
        try:
            number = float(f"{value:.6g}")  # 0.01, not 0.010000000000000002
        except (TypeError, ValueError):
            raise ValueError(f"{self.name} is a number from {self.low} to {self.high}, got {value!r}.") from None
        if self.whole and number != int(number):
            raise ValueError(f"{self.name} is a whole number from {self.low} to {self.high}, got {value}.")
        value = int(number) if self.whole else number
        if not self.low <= value <= self.high:
            raise ValueError(f"{self.name} must lie in {self.low} to {self.high}, got {value}.")
        return value

    def place(self, value: float) -> int:
        """Of the nearest notch: a preset or a dragged point may lie between two."""
        far = (lambda a, b: abs(math.log(a / b))) if self.log else (lambda a, b: abs(a - b))
        notches = self.notches()
        return min(range(len(notches)), key=lambda i: far(notches[i], value))

    def describe(self) -> dict:
        return super().describe() | {"log": self.log}


@lru_cache(maxsize=256)
def _stops(slider: Slider) -> tuple:
    """Every value that a slider stops at; each picture asks for them."""
    low, high = (math.log10(end) if slider.log else end for end in (slider.low, slider.high))
    step = slider.step or (0.1 if slider.log else 1 if slider.whole else float(f"{(high - low) / 100:.1g}"))
    places = [low + step * i for i in range(math.floor((high - low) / step + 1e-9) + 1)]
    if high - places[-1] > 1e-9 * abs(high):
        places.append(high)
    return tuple(slider.clean(min(max(10**p if slider.log else p, slider.low), slider.high)) for p in places)


@dataclass(frozen=True)
class Notches(Listed):
    """A slider that stops at the listed values only, such as the settings for which a checkpoint was trained.

    ``options`` is a list, or a dict from the value to what the person reads.

    >>> Notches("trained_k", [1, 5, 10], 5).ends
    (1, 10)
    """

    options: Sequence[Any] | Mapping[Any, str]
    default: Any
    label: str = ""
    help: str = ""

    def __post_init__(self):
        self.clean(self.default)

    def notches(self, most: int | None = None) -> list:
        return _thinned(list(self.options), self.default, most)

    def text(self, value: Any) -> str:
        if isinstance(self.options, Mapping):
            return self.options[value]
        return f"{value:g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


@dataclass(frozen=True)
class Choice(Listed):
    """One of several: ``options`` is a dict from the value to what the person reads, or a list.

    >>> Choice("start", {"random": "random weights", "maml": "MAML"}, "maml").texts()
    ['random weights', 'MAML']
    """

    options: Sequence[Any] | Mapping[Any, str]
    default: Any
    label: str = ""
    help: str = ""

    def __post_init__(self):
        self.clean(self.default)

    @property
    def ends(self) -> tuple:
        return tuple(self.options)

    def notches(self, most: int | None = None) -> list:
        return list(self.options)

    def text(self, value: Any) -> str:
        return str(self.options[value] if isinstance(self.options, Mapping) else value)


@dataclass(frozen=True)
class Several(Control):
    """Any of several, such as the methods to show: the value is the tuple of those that are on.

    >>> Several("methods", {"maml": "MAML", "anil": "ANIL"}).default
    ('maml', 'anil')
    """

    options: Mapping[Any, str]
    default: tuple | None = None
    label: str = ""
    help: str = ""

    def __post_init__(self):
        object.__setattr__(self, "default", self.clean(self.options if self.default is None else self.default))

    @property
    def ends(self) -> tuple:
        return (), tuple(self.options)

    def text(self, value: tuple) -> str:
        return ", ".join(self.options[option] for option in value) or "none"

    def word(self, value: tuple) -> str:
        return ",".join(map(str, value))

    def clean(self, value: Sequence[Any]) -> tuple:
        for option in value:
            _one_of(self.name, option, list(self.options))
        return tuple(option for option in self.options if option in value)

    def heard(self, answer: list[int]) -> tuple:
        options = list(self.options)
        return tuple(options[place] for place in answer)

    def place(self, value: tuple) -> list[int]:
        return [place for place, option in enumerate(self.options) if option in value]

    def describe(self) -> dict:
        texts, words = list(self.options.values()), [str(option) for option in self.options]
        return super().describe() | {"texts": texts, "words": words}


@dataclass(frozen=True)
class Switch(Listed):
    """On or off.

    >>> Switch("second_order", True).ends
    (False, True)
    """

    default: bool = False
    label: str = ""
    help: str = ""

    def notches(self, most: int | None = None) -> list:
        return [False, True]

    def text(self, value: bool) -> str:
        return "on" if value else "off"

    word = text

    def clean(self, value: Any) -> bool:
        return bool(value)


@dataclass(frozen=True)
class Button(Control):
    """Counts its presses, so that ``compute`` stays pure: use the count as the seed of "another task".

    ``sets`` may turn the count into values of other controls, which the press then sets.

    >>> Button("new_task", "another task").ends
    (0, 1)
    """

    label: str = ""
    help: str = ""
    sets: Callable[[int], Mapping[str, Any]] | None = None
    default = 0

    @property
    def ends(self) -> tuple:
        return 0, 1

    def notches(self, most: int | None = None) -> list:
        return list(range(most or 5))

    def clean(self, value: Any) -> int:
        return int(value)

    def heard(self, answer: int) -> int:
        return answer

    place = heard


@dataclass(frozen=True)
class Run(Control):
    """A button that starts something long: True for the one computation that it starts, else False.

    >>> Run("train", "train MAML live").ends
    (False, True)
    """

    label: str = ""
    help: str = ""
    default = False

    def notches(self, most: int | None = None) -> list:
        return [False, True]

    def clean(self, value: Any) -> bool:
        return bool(value)


def _one_of(name: str, value: Any, options: Sequence[Any]) -> Any:
    if value not in options:
        raise ValueError(f"{name} must be one of {list(options)}, got {value!r}.")
    return value


def _thinned(values: list, default: Any, most: int | None) -> list:
    """At most ``most`` (3 or more) of ``values``, evenly, the first, the last and ``default`` among them."""
    if most is None or len(values) <= most:
        return values
    places = {round(i * (len(values) - 1) / (most - 1)) for i in range(most)}
    if default in values and (at := values.index(default)) not in places:
        places = (places - {min(places - {0, len(values) - 1}, key=lambda p: abs(p - at))}) | {at}
    return [values[place] for place in sorted(places)]
