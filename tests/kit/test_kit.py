"""The demo kit without a browser: values, pictures, errors, frames, and a real kernel with a running cell."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from course_lib.kit.controls import Button, Choice, Notches, Several, Slider, Switch
from course_lib.kit.corners import check, corners_of
from course_lib.kit.demo import Demo, NonFiniteError
from course_lib.kit.growing import Growing
from tests.browser import sine_demo


@pytest.fixture
def demo() -> Demo:
    return sine_demo.make()


def tiny(compute, controls=None, **options) -> Demo:
    """A demo with one slider and one line; ``compute(values)`` returns {"y": ...}."""

    def picture(fig, show):
        axes = fig.subplots()
        axes.set(xlim=(0, 1), ylim=(0, 10))
        show.line(axes, [0, 1], lambda d: [0, d.y])

    controls = controls or [Slider("level", 0, 9, 1)]
    return Demo("Tiny", controls, compute, picture, lambda d: f"y is {d.y}.", size=(2.0, 1.5), **options)


def do(demo: Demo, what: str, **message) -> None:
    """What the page sends when a person does something; waits for the picture."""
    demo.panel.hear({"do": what, **message})
    demo.panel.wait()


# Values ---------------------------------------------------------------------------------------------------


def test_the_demo_of_the_tests_passes_every_corner(demo):
    check(demo)


def test_corners_reach_both_ends_of_every_control_and_every_view(demo):
    corners = corners_of(demo)
    for name, control in demo.controls.items():
        for end in control.ends:
            assert end in [corner[name] for corner in corners]
    assert corners[0] == demo.start and all(view in corners for view in demo.views.values())


def test_check_finds_a_picture_that_piles_up_artists():
    def piling(fig, show):
        axes = fig.subplots()
        axes.set(xlim=(0, 1), ylim=(0, 10))
        show.also(lambda d: axes.plot([0, 1], [0, len(axes.lines)]))

    with pytest.raises(AssertionError, match="drawing twice"):
        check(Demo("Piling", [Slider("level", 0, 9, 1)], lambda values: {}, piling, lambda d: "A heap."))


def test_check_finds_what_breaks_at_one_end_only():
    with pytest.raises(AssertionError, match="'level': 0.*by zero"):
        check(tiny(lambda values: {"y": 1 // values.level}))


def test_unknown_control_and_value_out_of_range_say_what_there_is(demo):
    with pytest.raises(TypeError, match="no such control.*steps"):
        demo.set(stepz=3)
    with pytest.raises(TypeError, match="no such control.*steps"):
        sine_demo.make(stepz=3)
    with pytest.raises(ValueError, match="steps must lie in 0 to 50, got 51"):
        sine_demo.make(steps=51)
    with pytest.raises(ValueError, match="steps is a whole number from 0 to 50, got 2.5"):
        demo.set(steps=2.5)
    with pytest.raises(ValueError, match="steps is a number from 0 to 50, got 'two'"):
        demo.set(steps="two")
    with pytest.raises(ValueError, match=r"start must be one of \['zero', 'one'\]"):
        demo.set(start="two")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Slider("a", 0, 1, 2),
        lambda: Slider("a", 0, 1, 0.5, log=True),
        lambda: Choice("a", ["x"], "y"),
        lambda: Notches("a", [1, 2], 3),
    ],
)
def test_a_control_whose_default_does_not_fit_is_refused(make):
    with pytest.raises(ValueError, match="a'? (needs|must)"):
        make()


def test_a_preset_is_where_a_demo_opens_and_where_reset_returns_to():
    demo = sine_demo.make(steps=30, start="one")
    first = demo.render()
    assert demo.call == "sine_demo.demo(steps=30, start='one')" and "30 gradient steps" in demo.alt
    assert demo.render(steps=2, show=()) != first
    assert demo.reset().png == first and eval(demo.call, {"sine_demo": sine_demo}).render() == first


def test_views_start_from_the_preset_and_are_known_when_they_are_shown(demo):
    do(demo, "view", name="far")
    assert demo.values["steps"] == 50 and demo.panel.state["view"] == "far"
    assert sine_demo.make(rate=0.5).views["far"]["rate"] == 0.5


@pytest.mark.parametrize("most", [None, 3, 7])
@pytest.mark.parametrize(
    "control",
    [
        Slider("a", 0, 50, 10),
        Slider("a", 0.0, 3.14, 1.0, step=0.02),
        Slider("a", 1e-4, 0.1, 0.01, log=True),
        Notches("a", [1, 2, 5, 10, 100, 1000, 2000, 5000], 5),
    ],
)
def test_notches_hold_ends_and_default_and_are_legal(control, most):
    notches = control.notches(most)
    wanted = {*control.ends, control.default}
    assert wanted <= {*notches} and notches == sorted(set(notches)) and len(notches) <= (most or 10**6)
    assert [control.clean(value) for value in notches] == notches and len(control.texts(most)) == len(notches)
    assert [control.heard(control.place(value)) for value in control.notches()] == control.notches()


def test_a_value_between_two_notches_is_kept_and_shown_in_words():
    demo = sine_demo.make(rate=0.017)
    assert demo.set().values["rate"] == 0.017 and demo.panel.state["texts"]["rate"] == "0.017"


def test_buttons_count_and_may_set_other_controls():
    demo = tiny(
        lambda values: {"y": values.level + values.more},
        [Slider("level", 0, 9, 1), Button("more"), Button("full", sets=lambda count: {"level": 10 - count})],
    )
    do(demo, "press", name="more")
    do(demo, "press", name="more")
    assert demo.data.y == 3
    do(demo, "press", name="full")
    assert demo.values == {"level": 9, "more": 2, "full": 1}
    do(demo, "reset")
    assert demo.values == demo.start and demo.panel.state["at"]["level"] == 1


# Errors ---------------------------------------------------------------------------------------------------


def test_an_error_is_shown_in_words_and_raised_and_the_picture_stays():
    broken = tiny(lambda values: {"y": 10 // (values.level - 5)})
    panel, before = broken.panel, broken.panel.png
    do(broken, "set", name="level", to=5)
    assert panel.png == before and "by zero" in panel.state["problem"] and "reset" in panel.state["problem"]
    assert isinstance(panel.error, ZeroDivisionError)
    do(broken, "set", name="level", to=6)
    assert panel.error is None and panel.state["problem"] == "" and panel.png == broken.png != before
    with pytest.raises(ZeroDivisionError):
        broken.set(level=5)
    assert "by zero" in panel.state["problem"]
    do(broken, "large", to=True)  # and does not pass an old picture off as new
    assert "by zero" in panel.state["problem"] and panel.state["large"]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), np.array([1.0, np.nan]), [0.0, [np.inf]], {"a": np.nan}])
def test_nan_is_said_in_words_and_not_drawn(bad):
    diverging = tiny(lambda values: {"y": 1.0, "loss": bad if values.level == 9 else 0.0}, hint="Lower the rate.")
    diverging.set()
    with pytest.raises(NonFiniteError, match=r"not a finite number: loss.*level = 9\. Lower the rate\."):
        diverging.set(level=9)


def test_entries_that_may_diverge_are_let_through():
    tiny(lambda values: {"y": 1.0, "loss": float("inf")}, may_diverge=("loss",)).set(level=9)


def test_compute_must_return_a_dict():
    with pytest.raises(TypeError, match="must return a dict"):
        tiny(lambda values: 3).set()


def test_a_name_that_the_data_lack_is_told_with_those_they_have():
    with pytest.raises(AttributeError, match=r"no 'z'; they have \['level', 'y'\]"):
        tiny(lambda values: {"y": 1.0}).set().data.z


# Where a notebook shows it --------------------------------------------------------------------------------


def test_bundle_has_the_widget_and_for_other_places_the_picture_and_its_words(demo):
    bundle, metadata = demo._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    kept = np.asarray(Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))).convert("RGB")).astype(int)
    assert abs(kept - demo.picture.pixels[..., :3]).mean() < 1
    shape = metadata["image/png"]
    assert kept.shape[:2] == (2 * shape["height"], 2 * shape["width"])  # sharp on a screen of two pixels a point
    assert shape["alt"] == demo.alt and demo.alt in bundle["text/plain"] and demo.call in bundle["text/plain"]


def test_the_page_is_told_every_control(demo):
    told = {control["name"]: control for control in demo.panel.declaration["controls"]}
    assert list(told) == list(demo.controls)
    for name, control in demo.controls.items():
        assert told[name]["label"] and told[name]["kind"] == type(control).__name__.lower()
        if isinstance(control, (Slider, Notches, Choice)):
            assert told[name]["texts"][demo.panel.state["at"][name]] == demo.panel.state["texts"][name]
    assert isinstance(demo.controls["reference"], Switch) and demo.panel.state["at"]["reference"] == 1
    assert isinstance(demo.controls["show"], Several) and demo.panel.state["at"]["show"] == [0, 1]


def test_a_training_that_fails_says_so_each_time_it_is_asked():
    def numbers():
        yield 1.0
        raise ValueError("the student's loop")

    training = Growing(numbers)
    assert training.upto(1).tolist() == [1.0] and training.reached(3) == 1
    for _ in range(2):
        with pytest.raises(ValueError, match="the student's loop"):
            training.upto(3)


def test_a_training_that_is_interrupted_begins_anew():
    interrupts = [KeyboardInterrupt]

    def numbers():
        yield 1.0
        if interrupts:
            raise interrupts.pop()
        yield 2.0

    training = Growing(numbers)
    with pytest.raises(KeyboardInterrupt):
        training.upto(3)
    assert training.reached(3) == 0
    assert training.upto(3).tolist() == [1.0, 2.0] and training.reached(3) == 3
