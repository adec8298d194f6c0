"""What a person does, and the thread that draws for it: the newest values win, nothing global is touched, runs end."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import torch

from course_lib.kit.controls import Run, Slider
from course_lib.kit.demo import Demo
from course_lib.kit.touch import Point, Points, touched
from tests.browser import sine_demo
from tests.kit.test_kit import do, tiny

ROOT = Path(__file__).parents[2]


@pytest.fixture
def demo() -> Demo:
    return sine_demo.make()


# The drawing thread ---------------------------------------------------------------------------------------


def test_many_changes_make_few_computations_and_the_last_value_wins():
    computed, begun, go_on = [], threading.Event(), threading.Event()

    def compute(values):
        computed.append(values.level)
        begun.set()
        assert go_on.wait(60)
        return {"y": values.level}

    go_on.set()
    counting = tiny(compute)
    counting.panel
    computed.clear(), begun.clear(), go_on.clear()
    counting.panel.hear({"do": "set", "name": "level", "to": 2})
    assert begun.wait(60)
    for level in (3, 4, 5, 6, 7):  # while the first is computed
        counting.panel.hear({"do": "set", "name": "level", "to": level})
    go_on.set()
    counting.panel.wait()
    assert computed == [2, 7] and counting.data.y == 7


def test_a_message_that_was_overtaken_changes_nothing():
    demo = tiny(lambda values: {"y": values.level})
    do(demo, "set", name="level", to=7, view="a", n=5)
    do(demo, "set", name="level", to=2, view="a", n=3)
    assert demo.data.y == 7 and demo.panel.state["heard"] == ["a", 5]


def test_a_picture_that_cannot_be_drawn_in_another_size_is_answered_in_words(monkeypatch):
    demo = tiny(lambda values: {"y": values.level})
    do(demo, "set", name="level", to=3)
    with monkeypatch.context() as broken:
        broken.setattr(demo.picture, "paint", lambda: 1 / 0)
        do(demo, "large", to=True, view="a", n=2)
    assert "ZeroDivisionError" in demo.panel.state["problem"] and demo.panel.state["heard"] == ["a", 2]
    do(demo, "set", name="level", to=4)
    assert not demo.panel.state["problem"]


def test_a_room_that_changes_once_the_picture_is_drawn_and_not_yet_sent_is_filled(monkeypatch):
    demo = tiny(lambda values: {"y": values.level})
    do(demo, "fit", width=400, ratio=1.0)
    show, news = demo.panel._show, [{"do": "fit", "width": 500, "ratio": 1.0}]

    def shown(data):
        show(data)
        if news:
            demo.panel.hear(news.pop())  # the loop hears it before the computation's end

    monkeypatch.setattr(demo.panel, "_show", shown)
    do(demo, "set", name="level", to=7)
    assert demo.data.y == 7 and demo.picture.pixels.shape[1] == 500


def test_demos_are_computed_and_drawn_in_one_thread_and_leave_no_setting_changed(demo):
    before = dict(mpl.rcParams), torch.get_num_threads(), threading.active_count()
    threads = set()
    watched = tiny(lambda values: threads.add(threading.current_thread().name) or {"y": values.level})
    watched.panel, demo.panel
    threads.clear()
    for level in range(9):
        do(watched, "set", name="level", to=level)
        do(demo, "set", name="steps", to=level)
        do(demo, "large", to=bool(level % 2))
    assert threads == {"demos"} and threading.active_count() <= before[2] + 1
    assert (dict(mpl.rcParams), torch.get_num_threads()) == before[:2]


def test_demos_use_one_core_and_leave_every_other_thread_its_number():
    code = """
import threading, torch
torch.set_num_threads(3)
from tests.kit.test_kit import do, tiny
seen = []
demo = tiny(lambda values: seen.append(torch.get_num_threads()) or {"y": values.level})
demo.panel
do(demo, "set", name="level", to=5)
late = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
late.start(); late.join()
print([*seen, torch.get_num_threads()])"""
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ran.stdout.strip() == "[1, 1, 3, 3]", ran.stdout + ran.stderr


@pytest.mark.parametrize("interrupt", [{"do": "stop"}, {"do": "set", "name": "level", "to": 3}])
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
    panel = long.panel
    panel.hear({"do": "set", "name": "level", "to": 9})
    pictures, deadline = set(), time.monotonic() + 20
    while len(pictures) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
        pictures.add(panel.png)
    assert panel.state["running"]
    panel.hear(interrupt)
    panel.wait(20)
    assert closed[1] == 9 and long.data.y < 9.9 and not panel.state["running"]


def test_a_stop_right_behind_the_start_is_not_forgotten():
    frames = []

    def compute(values):
        for frame in range(200 if values.level == 9 else 1):
            time.sleep(0.001)
            frames.append(frame)
            yield {"y": values.level}

    long = tiny(compute)
    panel = long.panel
    panel.hear({"do": "set", "name": "level", "to": 9})
    panel.hear({"do": "stop"})
    panel.wait(20)
    assert len(frames) < 10 and not panel.state["running"]


def test_the_first_frame_is_on_the_page_before_the_second_is_computed_and_is_sent_once():
    go_on = threading.Event()

    def compute(values):
        yield {"y": values.level}
        assert values.level != 9 or go_on.wait(60)
        yield {"y": values.level + 0.5}

    slow = tiny(compute)
    sent = []
    slow.panel.observe(lambda change: sent.append(slow.panel.state["words"]), "state")
    slow.panel.hear({"do": "set", "name": "level", "to": 9, "view": "a", "n": 1})
    deadline = time.monotonic() + 60
    while slow.panel.state["words"] != "y is 9." and time.monotonic() < deadline:
        time.sleep(0.01)
    assert slow.panel.state["heard"] == ["a", 1] and not slow.panel.state["running"]
    go_on.set()
    slow.panel.wait()
    assert sent == ["y is 9.", "y is 9.5."]


@pytest.mark.parametrize("first", [True, False])
def test_of_a_frame_during_which_a_control_moved_only_the_first_is_drawn(first):
    """Else a drag across a slow computation would show nothing until it ends, and a growing picture would be in the way
    of what is asked for next."""
    computing, go_on, drawn = threading.Event(), threading.Event(), []

    def compute(values):
        if values.level == 9 and not first:
            yield {"y": 8}
        if values.level == 9:
            computing.set()
            assert go_on.wait(60)
        yield {"y": values.level}

    slow = tiny(compute)
    slow.words = lambda data: drawn.append(data.y) or f"y is {data.y}."
    slow.panel.hear({"do": "set", "name": "level", "to": 9})
    assert computing.wait(60)
    slow.panel.hear({"do": "set", "name": "level", "to": 3})
    go_on.set()
    slow.panel.wait()
    assert drawn[1:] == [9 if first else 8, 3]  # after what it opened with


def test_what_a_cell_sets_while_a_computation_runs_stays():
    def compute(values):
        for frame in range(1000 if values.level == 9 else 1):
            time.sleep(0.01)
            yield {"y": values.level + frame / 1000}

    long = tiny(compute)
    long.panel.hear({"do": "set", "name": "level", "to": 9})
    time.sleep(0.2)
    long.set(level=3)
    long.panel.wait(20)
    assert long.data.y == 3


def test_a_run_is_true_for_the_computation_that_it_starts_only(demo):
    do(demo, "press", name="run")
    assert len(demo.data["errors"]) == 201 and demo.values["run"] is False
    demo.set(steps=3)
    assert len(demo.data["errors"]) == 4


def test_close_ends_a_run_and_lets_go_and_a_closed_demo_opens_again():
    begun, ended = threading.Event(), threading.Event()

    def compute(values):
        try:
            for frame in range(10_000 if values.run else 1):
                time.sleep(0.002)
                yield {"y": frame}
                begun.set()
        finally:
            ended.set()

    long = tiny(compute, [Slider("level", 0, 9, 1), Run("run")])
    panel = long.panel
    begun.clear(), ended.clear()
    panel.hear({"do": "press", "name": "run"})
    assert begun.wait(60)
    long.close()
    assert ended.wait(60) and long.picture is None and panel.comm is None
    panel.hear({"do": "reset"})  # a message that was on its way
    assert long.panel is not panel and long.panel.state["words"] == "y is 0."


def test_memory_of_closed_demos_is_given_back():
    demo = sine_demo.make()
    demo.panel
    picture = weakref.ref(demo.picture.figure)
    demo.close()
    gc.collect()
    assert picture() is None


def test_pixels_of_closed_demos_are_given_back_at_once():
    """A hundred runs of a cell took 95 MB more while they waited for the collector."""
    demo = sine_demo.make()
    demo.panel
    pixels = weakref.ref(demo.picture._canvas.get_renderer())
    gc.disable()
    try:
        demo.close()
        assert pixels() is None
    finally:
        gc.enable()


# Touch ----------------------------------------------------------------------------------------------------


def touchable() -> Demo:
    def picture(fig, show):
        axes = fig.subplots()
        axes.set(xlim=(0, 10), ylim=(0, 10))
        show.handle(axes, "theta", moves="theta")
        show.handle(axes, "a", lambda d: 2, moves=("a", None))
        show.handle(axes, "xs", lambda d: np.ones(len(d.xs)), moves="points")

    controls = [Slider("a", 0.0, 10.0, 5.0), Point("theta", (3, 4), (0, 8), (0, 8)), Points("points", (0, 10), ("a",))]
    compute = lambda values: {"xs": np.array(values.points or (1.0, 2.0))}
    return Demo("Touch", controls, compute, picture, lambda d: f"theta at {d.theta}", size=(4, 3))


def spot(demo: Demo, handle: int, index: int = 0) -> list[float]:
    return next([s["x"], s["y"]] for s in demo.panel.state["handles"] if (s["handle"], s["index"]) == (handle, index))


def test_points_of_the_picture_move_their_controls_by_hand_and_by_arrow_keys():
    demo = touchable()
    x, y = spot(demo, 0)
    do(demo, "drag", handle=0, index=0, to=[x + 0.1, y - 0.1])
    assert demo.values["theta"][0] > 3.5 and demo.values["theta"][1] > 4.5
    assert np.allclose(spot(demo, 0), [x + 0.1, y - 0.1], atol=0.002)
    do(demo, "drag", handle=0, index=0, to=[0.97, spot(demo, 0)[1]])  # to the end of what it can have
    assert demo.values["theta"][0] == 8
    do(demo, "nudge", handle=1, index=0, by=[1, 5])
    assert demo.values["a"] == pytest.approx(5.1)
    do(demo, "drag", handle=1, index=0, to=[2.0, 0.5])  # beyond the axes: their border
    assert demo.values["a"] == 10 and not demo.panel.state["problem"]


def test_points_are_set_and_taken_by_a_click_and_forgotten_when_new_ones_are_drawn():
    demo = touchable()
    do(demo, "drag", handle=2, index=None, to=[0.6, 0.5])
    assert len(demo.values["points"]) == 3 and demo.values["points"][:2] == (1.0, 2.0)
    do(demo, "drag", handle=2, index=None, to=[0.6, 0.999])  # below the axes
    assert len(demo.values["points"]) == 3
    do(demo, "take", handle=2, index=0)
    assert demo.values["points"][0] == 2.0 and len(demo.values["points"]) == 2
    do(demo, "set", name="a", to=3)
    assert demo.values["points"] is None and demo.data.xs.tolist() == [1.0, 2.0]


def test_a_point_that_is_dragged_across_others_moves_alone():
    demo = touchable()
    for part in (0.3, 0.5, 0.7, 0.9):  # of ten
        do(demo, "drag", handle=2, index=0, to=[part, 0.5])
    first, second = demo.values["points"]
    assert first > 8 and second == 2.0
    for _ in range(4):
        do(demo, "nudge", handle=2, index=1, by=[1, 0])
    assert demo.values["points"] == (first, pytest.approx(2.4))


def test_points_set_faster_than_they_are_drawn_are_all_there_up_to_the_most():
    demo = touchable()
    demo.set()
    for x in range(3, 40):
        demo.accept(touched(demo, 2, None, (x / 4, 1.0)))
    assert demo.values["points"] == (1.0, 2.0, *(x / 4 for x in range(3, 21)))
    for _ in range(2):  # the last one twice
        demo.accept(touched(demo, 2, 19, None))
    assert demo.values["points"] == (1.0, 2.0, *(x / 4 for x in range(3, 20)))


def test_a_pinned_curve_stays_as_a_ghost(demo):
    demo.set(steps=3)
    do(demo, "pin", to=True)
    pinned = demo.png
    assert demo.set(steps=30).png != sine_demo.make().render(steps=30) and demo.panel.state["pinned"]
    assert demo.render(steps=3) == pinned
    do(demo, "pin", to=False)
    demo.set(steps=30)
    line, ghost = demo.picture.show.pins[0]
    assert not ghost.get_visible() and line.get_visible()
