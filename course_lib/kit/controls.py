"""What a person moves in a demo: each control knows its default, its ends and the ipywidget that shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets


@dataclass(frozen=True)
class Slider:
    """A number from ``low`` to ``high``; whole if all of ``low``, ``high``, ``default``, ``step`` are ints.

    With ``log=True`` the handle moves in powers of ten (``step`` is a part of a power, 0.1 unless given).

    >>> Slider("steps", 0, 50, 10, "inner steps k").ends
    (0, 50)
    >>> Slider("inner_lr", 1e-4, 1, 0.01, log=True).clean(0.5)
    0.5
    """

    name: str
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

    @property
    def ends(self) -> tuple:
        return self.low, self.high

    def clean(self, value: float) -> float:
        value = int(value) if self.whole else float(f"{value:.6g}")  # 0.01, not 0.010000000000000002
        if not self.low <= value <= self.high:
            raise ValueError(f"{self.name} must lie in {self.low} to {self.high}, got {value}.")
        return value

    def widget(self) -> ipywidgets.Widget:
        if self.log:
            from math import log10

            return ipywidgets.FloatLogSlider(
                self.default,
                base=10,
                min=log10(self.low),
                max=log10(self.high),
                step=self.step or 0.1,
                readout_format=".2g",
            )
        if self.whole:
            return ipywidgets.IntSlider(self.default, self.low, self.high, self.step or 1)
        step = self.step or float(f"{(self.high - self.low) / 100:.1g}")
        return ipywidgets.FloatSlider(
            self.default, min=self.low, max=self.high, step=step, readout_format=".3g"
        )


@dataclass(frozen=True)
class Notches:
    """A slider that stops at the listed values only, such as the settings for which a checkpoint was trained.

    >>> Notches("trained_k", [1, 5, 10], 5).ends
    (1, 10)
    """

    name: str
    options: Sequence[Any]
    default: Any
    label: str = ""
    help: str = ""

    def __post_init__(self):
        self.clean(self.default)

    @property
    def ends(self) -> tuple:
        return self.options[0], self.options[-1]

    def clean(self, value: Any) -> Any:
        return _one_of(self.name, value, self.options)

    def widget(self) -> ipywidgets.Widget:
        pairs = [
            (f"{option:g}" if isinstance(option, float) else str(option), option) for option in self.options
        ]
        return ipywidgets.SelectionSlider(options=pairs, value=self.default)


@dataclass(frozen=True)
class Choice:
    """One of several: ``options`` is a list, or a dict from what the person reads to the value.

    >>> Choice("start", {"random weights": "random", "MAML": "maml"}, "maml").ends
    ('random', 'maml')
    """

    name: str
    options: Sequence[Any] | Mapping[str, Any]
    default: Any
    label: str = ""
    help: str = ""

    def __post_init__(self):
        self.clean(self.default)

    @property
    def _pairs(self) -> list[tuple[str, Any]]:
        if isinstance(self.options, Mapping):
            return list(self.options.items())
        return [(str(option), option) for option in self.options]

    @property
    def ends(self) -> tuple:
        return tuple(value for _, value in self._pairs)

    def clean(self, value: Any) -> Any:
        return _one_of(self.name, value, self.ends)

    def widget(self) -> ipywidgets.Widget:
        # Not a drop-down list: JupyterLab takes its arrow keys for itself, so no key would move it.
        return ipywidgets.RadioButtons(options=self._pairs, value=self.default, orientation="horizontal")


@dataclass(frozen=True)
class Switch:
    """On or off.

    >>> Switch("second_order", True).ends
    (False, True)
    """

    name: str
    default: bool = False
    label: str = ""
    help: str = ""

    @property
    def ends(self) -> tuple:
        return False, True

    def clean(self, value: Any) -> bool:
        return bool(value)

    def widget(self) -> ipywidgets.Widget:
        return ipywidgets.Checkbox(self.default, indent=False)


@dataclass(frozen=True)
class Button:
    """Counts its presses, so that ``compute`` stays pure: use the count as the seed of "another task".

    >>> Button("new_task", "another task").ends
    (0, 1)
    """

    name: str
    label: str = ""
    help: str = ""
    default = 0

    @property
    def ends(self) -> tuple:
        return 0, 1

    def clean(self, value: Any) -> int:
        return int(value)

    def widget(self) -> ipywidgets.Widget:
        return ipywidgets.Button()


@dataclass(frozen=True)
class Run:
    """A button that starts something long: True for the one computation that it starts, else False.

    >>> Run("train", "train MAML live").ends
    (False, True)
    """

    name: str
    label: str = ""
    help: str = ""
    default = False

    @property
    def ends(self) -> tuple:
        return False, True

    def clean(self, value: Any) -> bool:
        return bool(value)

    def widget(self) -> ipywidgets.Widget:
        return ipywidgets.Button(icon="play")


Control = Slider | Notches | Choice | Switch | Button | Run


def _one_of(name: str, value: Any, options: Sequence[Any]) -> Any:
    if value not in options:
        raise ValueError(f"{name} must be one of {list(options)}, got {value!r}.")
    return value
