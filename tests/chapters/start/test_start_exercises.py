"""The checks of notebook 00 know what its demo shows, and turn each common mistake into its hint."""

import math

import pytest

from course_lib.chapters.adapting import adapting
from course_lib.chapters.start import exercises as start
from course_lib.chapters.start import field_map
from course_lib.kit.demo import check


def test_the_rate_that_diverges_is_the_demos():
    demo = adapting.demo()
    stops = [10 ** (-2 + 0.1 * press) for press in range(11)]  # of the slider, upwards from 0.01
    ends = [math.isfinite(demo.set(start="maml", steps=10, inner_lr=rate).data["error"]) for rate in stops]
    first = ends.index(False)
    assert first > 0 and not any(ends[first:])
    assert stops[first - 1] == pytest.approx(start.STILL_ENDS, abs=1e-4)
    assert stops[first] == pytest.approx(start.DIVERGES, abs=1e-4)
    readouts = [float(f"{rate:.2g}") for rate in stops]  # as the slider shows them
    assert [start.check_rate(rate).passed for rate in readouts] == [rate == readouts[first] for rate in readouts]


def test_the_readings_are_the_demos():
    demo = adapting.demo()
    maml = demo.set().data
    data = demo.set(start="random").data
    shown = {"answer": data["error"], "support": data["support_error"], "zero": data["zero"]}
    shown |= {"before": data["errors"][0, list(adapting.STARTS).index("random")], "maml": maml["error"]}
    assert {name: f"{value:.2g}" for name, value in shown.items()} == {
        name: f"{value:.2g}" for name, value in start.READINGS.items()
    }
    assert data["zero"] / demo.set(amplitude=1.0).data["zero"] == pytest.approx(9)


@pytest.mark.parametrize(
    ("check", "answer", "passed", "message"),
    [
        (start.check_rate, ..., None, "Replace the dots"),
        (start.check_rate, 0.02, False, "still end"),
        (start.check_rate, "0.05", False, "cannot be checked"),
        (start.check_rate, 0.05, True, "notebook 03"),
        (start.check_caption, ..., None, "Replace the dots"),
        (start.check_caption, 4.3, True, "predicting zero"),
        (start.check_caption, 4.4, False, "predicting zero costs"),
        (start.check_caption, 2.0, False, "reset"),
        (start.check_caption, None, False, "cannot be checked"),
        (start.check_zero_line, ..., None, "Replace the dots"),
        (start.check_zero_line, 9, True, "a ninth"),
        (start.check_zero_line, 4.4 / 0.49, True, "a ninth"),
        (start.check_zero_line, "nine", False, "cannot be checked"),
    ],
)
def test_answers(check, answer, passed, message):
    verdict = check(answer)
    assert verdict.passed is passed and message.lower() in str(verdict).lower()


def test_the_solutions_pass_and_the_map_is_drawn_for_every_method():
    assert start.check_rate.solution(0.05).passed and start.check_caption.solution(4.3).passed
    assert start.check_zero_line.solution(9).passed
    check(field_map.demo())
    assert "notebook 06" in field_map.demo(watch="union").set().alt
