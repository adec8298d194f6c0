"""The demo kit without a browser: values, pictures, errors, frames, and a real kernel's queue."""

from __future__ import annotations

import ast
import asyncio
import base64
import io
import time
from pathlib import Path

import numpy as np
import pytest
from jupyter_client.manager import start_new_kernel
from PIL import Image

from course_lib.kit.demo import Choice, Demo, NonFiniteError, Notches, Slider, check
from tests.browser import sine_demo


@pytest.fixture
def demo() -> Demo:
    return sine_demo.make()


def tiny(compute, **options) -> Demo:
    """A demo with one slider and one line; ``compute(values)`` returns {"y": ...}."""

    def figure(fig):
        (line,) = fig.subplots().plot([], [])
        line.axes.set(xlim=(0, 1), ylim=(0, 10))
        return {"line": line}

    def draw(artists, data):
        artists["line"].set_data([0, 1], [0, data["y"]])

    return Demo(
        "Tiny",
        [Slider("level", 0, 9, 1)],
        compute,
        figure,
        draw,
        lambda data: f"y is {data['y']}.",
        size=(2.0, 1.5),
        **options,
    )


# Values ---------------------------------------------------------------------------------------------------


def test_the_demo_of_the_tests_passes_every_corner(demo):
    check(demo)


def test_corners_reach_both_ends_of_every_control(demo):
    corners = list(demo.corners())
    for name, control in demo.controls.items():
        assert set(control.ends) <= {corner[name] for corner in corners}
    assert corners[0] == demo.defaults()


def test_check_finds_a_draw_that_piles_up_artists():
    piling = tiny(lambda values: {"y": values.level})
    piling._draw = lambda artists, data: artists["line"].axes.plot(
        [0, 1], [0, len(artists["line"].axes.lines)]
    )
    with pytest.raises(AssertionError, match="drawing twice"):
        check(piling)


def test_check_finds_what_breaks_at_one_end_only():
    with pytest.raises(AssertionError, match="'level': 0.*by zero"):
        check(tiny(lambda values: {"y": 1 // values.level}))


def test_unknown_control_and_value_out_of_range_say_what_there_is(demo):
    with pytest.raises(KeyError, match="no such control.*steps"):
        demo.set(stepz=3)
    with pytest.raises(ValueError, match="steps must lie in 0 to 50, got 51"):
        demo.set(steps=51)
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


def test_a_button_counts_and_reset_takes_everything_back(demo):
    first = demo.render()
    panel = demo.panel
    panel.widgets["new_task"].click()
    panel.widgets["new_task"].click()
    panel.widgets["steps"].value = 40
    assert demo.values["new_task"] == 2 and demo.png != first
    panel.reset.click()
    assert demo.values == demo.defaults() and demo.png == first and panel.widgets["steps"].value == 10


def test_controls_show_what_was_set_before_they_were_made(demo):
    panel = demo.set(steps=30).panel
    assert panel.widgets["steps"].value == 30 and panel.picture.value == demo.png


# Errors ---------------------------------------------------------------------------------------------------


def test_an_error_is_shown_in_words_and_raised_and_the_picture_stays():
    broken = tiny(lambda values: {"y": 10 // (values.level - 5)})
    panel, before = broken.panel, broken.png
    with pytest.raises(ZeroDivisionError):
        panel.widgets["level"].value = 5
    assert panel.picture.value == before and "demo-outdated" in panel.picture._dom_classes
    assert "by zero" in panel.problem.value and "reset" in panel.problem.value
    assert panel.problem.layout.display != "none"
    panel.widgets["level"].value = 6
    assert panel.error is None and panel.problem.layout.display == "none"
    assert "demo-outdated" not in panel.picture._dom_classes and panel.picture.value == broken.png != before


@pytest.mark.parametrize(
    "bad", [float("nan"), float("inf"), np.array([1.0, np.nan]), [0.0, [np.inf]], {"a": np.nan}]
)
def test_nan_is_said_in_words_and_not_drawn(bad):
    diverging = tiny(
        lambda values: {"y": 1.0, "loss": bad if values.level == 9 else 0.0}, hint="Lower the rate."
    )
    diverging.set()
    with pytest.raises(NonFiniteError, match=r"not a finite number: loss.*level = 9\. Lower the rate\."):
        diverging.set(level=9)


def test_entries_that_may_diverge_are_let_through():
    tiny(lambda values: {"y": 1.0, "loss": float("inf")}, may_diverge=("loss",)).set(level=9)


def test_compute_must_return_a_dict():
    with pytest.raises(TypeError, match="must return a dict"):
        tiny(lambda values: 3).set()


# A loop, as in a kernel -----------------------------------------------------------------------------------


def test_many_changes_make_one_computation_of_the_last_value():
    computed = []
    counting = tiny(lambda values: computed.append(values.level) or {"y": values.level})

    async def drag():
        panel = counting.panel
        computed.clear()
        for level in (2, 3, 4, 5, 6, 7):
            panel.widgets["level"].value = level
            await asyncio.sleep(0)
        await panel._task

    asyncio.run(drag())
    assert computed == [7] and counting.data["y"] == 7


def test_in_a_loop_an_error_reaches_the_box():
    broken = tiny(lambda values: {"y": 10 // (values.level - 5)})

    async def move():
        broken.panel.widgets["level"].value = 5
        await broken.panel._task

    asyncio.run(move())
    assert isinstance(broken.panel.error, ZeroDivisionError) and "by zero" in broken.panel.problem.value


@pytest.mark.parametrize(
    "interrupt", [lambda panel: panel.stop.click(), lambda panel: setattr(panel.widgets["level"], "value", 3)]
)
def test_a_long_computation_is_drawn_by_frames_and_ends_at_the_next_change(interrupt):
    closed = []

    def compute(values):
        try:
            for frame in range(1000 if values.level == 9 else 1):
                time.sleep(0.01 if values.level == 9 else 0)  # four frames to a picture
                yield {"y": values.level + frame / 1000}
        finally:
            closed.append(values.level)

    long = tiny(compute)

    async def play():
        panel = long.panel
        panel.widgets["level"].value = 9
        pictures = set()
        while len(pictures) < 3:
            await asyncio.sleep(0.01)
            pictures.add(panel.picture.value)
        assert not panel.stop.disabled
        interrupt(panel)
        await panel._task

    asyncio.run(asyncio.wait_for(play(), 20))
    assert closed[1] == 9 and long.data["y"] < 9.9 and long.panel.stop.disabled


def test_what_a_cell_sets_while_a_computation_runs_stays():
    computed = []

    def compute(values):
        computed.append(values.level)
        for frame in range(1000 if values.level == 9 else 1):
            time.sleep(0.01)
            yield {"y": values.level + frame / 1000}

    long = tiny(compute)

    async def play():
        long.panel.widgets["level"].value = 9
        await asyncio.sleep(0.1)
        long.set(level=3)
        await long.panel._task

    asyncio.run(asyncio.wait_for(play(), 20))
    assert computed[-2:] == [9, 3] and long.data["y"] == 3


def test_large_print_does_not_pass_an_old_picture_off_as_new():
    broken = tiny(lambda values: {"y": 10 / (values.level - 5)})
    panel = broken.panel
    with pytest.raises(ZeroDivisionError):
        broken.set(level=5)
    small = panel.picture.value
    panel.large.value = True
    assert panel.picture.value != small and "by zero" in panel.problem.value
    assert "demo-outdated" in panel.picture._dom_classes
    broken.set(level=3)
    assert panel.problem.value == "" and "demo-outdated" not in panel.picture._dom_classes


def test_a_run_is_true_for_the_computation_that_it_starts_only(demo):
    demo.set(run=True)
    assert len(demo.data["errors"]) == 201 and demo.values["run"] is False
    demo.set(steps=3)
    assert len(demo.data["errors"]) == 4


# Where a notebook shows it --------------------------------------------------------------------------------


def test_bundle_has_the_widget_and_for_other_places_the_picture_and_its_words(demo):
    bundle, metadata = demo._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    kept = Image.open(io.BytesIO(base64.b64decode(bundle["image/png"])))
    assert (np.asarray(kept) == demo.picture.pixels[..., :3]).all()
    assert metadata["image/png"]["alt"] == demo.alt and demo.alt in bundle["text/plain"]
    assert demo.panel.picture.tooltip == demo.alt and demo.alt in demo.panel.caption.value


def test_controls_and_pictures_carry_their_css_classes(demo):
    panel = demo.panel
    assert "course-demo" in panel.box._dom_classes and "demo-picture" in panel.picture._dom_classes
    for name, control in demo.controls.items():
        assert f"demo-{type(control).__name__.lower()}-{name}" in panel.widgets[name]._dom_classes
        assert panel.widgets[name].description


BURST = """
from tests.browser import sine_demo
demo = sine_demo.make()
slider, drawn, show = demo.panel.widgets["steps"], [], demo.show
demo.show = lambda data: (drawn.append(len(data["errors"]) - 1), show(data))
"""


def test_a_burst_of_messages_to_a_real_kernel_is_drawn_a_few_times_and_ends_on_the_last():
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(Path(__file__).parents[2]))
    try:

        def ask(code, expression):
            reply = client.execute_interactive(code, user_expressions={"it": expression}, timeout=60)
            assert reply["content"]["status"] == "ok", reply["content"]
            return ast.literal_eval(reply["content"]["user_expressions"]["it"]["data"]["text/plain"])

        comm_id = ask(BURST, "slider.comm.comm_id")
        for steps in [*range(50), *range(49, 6, -1)]:
            content = {
                "comm_id": comm_id,
                "data": {"method": "update", "state": {"value": steps}, "buffer_paths": []},
            }
            client.shell_channel.send(client.session.msg("comm_msg", content))
        drawn = ask(
            "import asyncio\nwhile demo.panel._drawn != demo.panel._version: await asyncio.sleep(0.05)",
            "drawn",
        )
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert drawn[-1] == 7
    assert len(drawn) <= 20  # of 93 changes
