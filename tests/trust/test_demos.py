"""Every demo at settings that nobody chose: no error, no empty picture, no picture that depends on the one before."""

from __future__ import annotations

import importlib
import pkgutil
from inspect import signature

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from course_lib import chapters
from course_lib.kit.controls import Button, Control, Listed, Run, Several
from course_lib.kit.demo import Demo
from course_lib.kit.touch import Point, Points

PARTS = [name for _, name, _ in pkgutil.walk_packages(chapters.__path__, "course_lib.chapters.")]
MAKERS = {name: getattr(importlib.import_module(name), "demo", None) for name in PARTS if ".experiments" not in name}
DEMOS = [name for name, make in MAKERS.items() if make and "inner_loop" not in signature(make).parameters]  # a reader's
REPRODUCIBLE = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


def settings_of(control: Control) -> st.SearchStrategy:
    """Any value that a person can give a control; what runs live stays off, a pad stays empty."""
    if isinstance(control, Listed):
        return st.sampled_from(control.notches())
    if isinstance(control, Several):
        return st.sets(st.sampled_from(list(control.options))).map(list)
    if isinstance(control, Button):
        return st.integers(0, 1000)
    if isinstance(control, Point):
        return st.tuples(st.floats(*control.x_range), st.floats(*control.y_range))
    if isinstance(control, Points):
        return st.none() | st.lists(st.floats(*control.x_range), max_size=control.most)
    return st.just(control.default)


def look(demo: Demo, values: dict) -> None:
    demo.set(**values)
    shown = demo.picture.pixels.copy()
    assert demo.alt.strip() and len(np.unique(shown.view(np.uint32))) > 2
    demo.picture.draw(demo.data)
    assert (demo.picture.pixels == shown).all()


@pytest.mark.long
@pytest.mark.trust("a demo at a random setting", cases=1000)
@pytest.mark.parametrize("module", DEMOS)
def test_random_settings(module, cases, record_property):
    demo, held = MAKERS[module](), 0
    every = {name: settings_of(control) for name, control in demo.controls.items() if not isinstance(control, Run)}

    @settings(REPRODUCIBLE, max_examples=cases)
    @given(st.fixed_dictionaries(every))
    def holds(values: dict) -> None:
        nonlocal held
        look(demo, values)
        held += 1

    try:
        holds()
        record_property("injected", held)  # a demo may have fewer settings
    finally:
        record_property("survived", held)
