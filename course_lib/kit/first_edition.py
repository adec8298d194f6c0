"""Demos declared as ``figure(fig) -> artists`` and ``draw(artists, data)``, until each is declared anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure, SubFigure

from course_lib.kit import controls, demo
from course_lib.kit.demo import Button, Notches, Run, Slider, Switch, check

__all__ = ["Button", "Choice", "Demo", "Notches", "Run", "Slider", "Switch", "check"]


def Choice(name, options, default, label="", help=""):  # words -> value
    turned = {value: text for text, value in options.items()} if isinstance(options, Mapping) else options
    return controls.Choice(name, turned, default, label, help)


def Demo(title, controls, compute, figure, draw, alt, **options) -> demo.Demo:
    def picture(fig, show):
        artists = figure(fig)
        show.also(lambda d: draw(artists, d), *_artists_in(artists))

    live = demo.Demo(title, controls, compute, picture, alt, **options)
    live.prints = (False,)  # its legends are too wide for large print
    return live


def _artists_in(tree: Any) -> Iterator[Artist]:
    if isinstance(tree, Artist):
        if not isinstance(tree, (Axes, Axis, Figure, SubFigure)):
            yield tree
    elif isinstance(tree, Mapping):
        yield from _artists_in(list(tree.values()))
    elif isinstance(tree, SimpleNamespace):
        yield from _artists_in(vars(tree))
    elif isinstance(tree, np.ndarray) and tree.dtype == object:
        yield from _artists_in(list(tree.flat))
    elif isinstance(tree, (list, tuple, set)):
        for branch in tree:
            yield from _artists_in(branch)
