"""Links say where a demo stands, in words that a person can write; bad ones fall back and say so."""

from __future__ import annotations

import pytest

from course_lib.kit import links
from course_lib.kit.controls import Button, Choice, Notches, Run, Several, Slider, Switch
from course_lib.kit.corners import corners_of
from course_lib.kit.demo import Demo
from course_lib.kit.drawing_pad import Drawing
from course_lib.kit.touch import Point, Points

CONTROLS = [
    Slider("steps", 0, 50, 10),
    Slider("inner_lr", 1e-4, 1.0, 0.01, log=True),
    Slider("phase", 0.0, 3.0, 1.0, step=0.1),
    Notches("trained_k", [1, 5, 10], 5),
    Notches("size", ["small", "large"], "small"),
    Choice("start", {"random": "random weights", "maml": "MAML & friends"}, "maml"),
    Choice("shots", {1: "one", 5: "five"}, 5),
    Several("methods", {"maml": "MAML", "anil": "ANIL"}),
    Switch("second_order", True),
    Button("new_task"),
    Point("theta", (0.0, 1.0), (-2, 2), (-2, 2)),
    Points("support", (-5, 5), until=("new_task",)),
    Drawing("pad"),
    Run("train"),
]


def every_kind(**options) -> Demo:
    return Demo(
        "Every kind", CONTROLS, lambda values: {}, lambda fig, show: fig.subplots(), lambda d: "A picture.", **options
    )


READ = {  # a link: what it makes of the demo's start, and how many sentences it costs
    "?steps=5&inner_lr=0.02&hide=phase": ({"steps": 5, "inner_lr": 0.02}, 0),
    "demo=adapting&steps=12.4": ({"steps": 12}, 0),
    "steps=99&inner_lr=1e-9": ({"steps": 50, "inner_lr": 1e-4}, 2),
    "steps=many&inner_lr=nan&phase=&phase=inf": ({}, 4),
    "trained_k=6": ({"trained_k": 5}, 1),
    "trained_k=99&size=huge": ({"trained_k": 10}, 2),
    "size=large&start=random&shots=1": ({"size": "large", "start": "random", "shots": 1}, 0),
    "start=MAML": ({}, 1),
    "methods=anil": ({"methods": ("anil",)}, 0),
    "methods=": ({"methods": ()}, 0),
    "methods=anil,svm&second_order=off": ({"methods": ("anil",), "second_order": False}, 1),
    "methods=svm&second_order=perhaps": ({}, 2),
    "second_order=0&new_task=3": ({"second_order": False, "new_task": 3}, 0),
    "new_task=-1": ({}, 1),
    "theta=1,-0.5&support=2,-3": ({"theta": (1.0, -0.5), "support": (2.0, -3.0)}, 0),
    "theta=1&support=a": ({}, 2),
    "theta=9,9": ({"theta": (2.0, 2.0)}, 0),
    "stepz=5&hide=phase,nothing": ({}, 2),
    "pad=1&train=true&<script>=x": ({}, 1),
    "%%%&&&==": ({}, 2),
}


@pytest.mark.parametrize("query", READ)
def test_a_link_is_read_and_what_is_wrong_in_it_falls_back_with_a_sentence(query):
    demo = every_kind()
    found = links.read(query, demo)
    values, sentences = READ[query]
    assert found.values == values and len(found.said) == sentences, found
    assert all(said[0].isalpha() and said.endswith(".") and len(said) < 200 for said in found.said), found.said
    demo.accept(found.values)


def test_hidden_controls_are_named_in_links_and_in_calls_alike():
    assert links.read("hide=phase,start", every_kind()).hidden == ["phase", "start"]
    assert links.write(every_kind(hide="phase,start")) == "hide=phase,start"
    with pytest.raises(TypeError, match="nothing.*no such control"):
        every_kind(hide=["nothing"])


def test_what_is_written_is_read_again_at_every_corner():
    demo = every_kind(preset={"steps": 3})
    for corner in corners_of(demo):
        demo.values = dict(demo.start)
        demo.accept(corner | {"pad": (), "train": False})
        again = every_kind(preset={"steps": 3})
        found = links.read(links.write(demo), again)
        again.accept(found.values)
        assert not found.said and again.values == demo.values


def test_a_start_writes_nothing():
    assert links.write(every_kind(preset={"steps": 3})) == ""
