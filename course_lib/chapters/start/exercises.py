"""Checks for notebook 00, start here: can a student move a demo's controls and read what it shows?

The numbers are those of ``course_lib.chapters.adapting.adapting`` with every other control at its start.
"""

from __future__ import annotations

from course_lib.chapters.start import solutions
from course_lib.kit.checks import Verdict, exercise, number, right, wrong

STILL_ENDS, DIVERGES = 0.0398, 0.0501  # neighbours on the slider, 10^-1.4 and 10^-1.3: MAML's start, ten steps
READINGS = {  # held-out or support errors that stand in the picture, and what each is
    "answer": 4.3,  # random weights, one step, held out
    "support": 5.1,
    "before": 4.7,
    "zero": 4.4,
    "maml": 0.14,
}


@exercise("00", "break it", solution=solutions.rate, why="Five times the rate it was trained with is too much.")
def check_rate(rate: float) -> Verdict:
    """the smallest rate on the slider at which ten steps from MAML's start diverge."""
    rate = number(rate)
    if rate < STILL_ENDS + 0.002:
        return wrong("At that rate the ten steps still end somewhere. Set k to 10, and go on.")
    if rate > DIVERGES + 0.002:
        return wrong("It diverges there, but earlier too. Come back one press of the arrow key at a time.")
    return right("Five times the rate it was trained with is too much. Notebook 03 says why.")


@exercise("00", "read the caption", solution=solutions.caption, why="Random weights hardly move in one step.")
def check_caption(error: float) -> Verdict:
    """the held-out error of one step from random weights, as the caption gives it: two digits."""
    error = number(error)
    hints = {
        "support": "That is the error on the support points, which the step was taken on.",
        "before": "That is the error before the step.",
        "zero": "That is what predicting zero costs.",
        "maml": "That is MAML's. Choose random weights under *start from*.",
    }
    nearest = min(READINGS, key=lambda name: abs(error - READINGS[name]))
    if abs(error - READINGS[nearest]) > 0.03:
        return wrong("Press *reset*, choose random weights, and read the line below the picture.")
    if nearest != "answer":
        return wrong(hints[nearest])
    return right("One step from random weights: hardly better than the 4.4 of predicting zero.")


@exercise(
    "00", "a line to compare with", solution=solutions.zero_line, why="The error is a mean of squares: 3 squared."
)
def check_zero_line(factor: float) -> Verdict:
    """by which factor the zero predictor's error falls when the amplitude goes from 3 to 1."""
    factor = number(factor)
    if abs(factor - 9) < 0.3:
        return right("A mean of squares: a third of the height, a ninth of the error.")
    if abs(factor - 3) < 0.1:
        return wrong("The curve is a third as high. But the error is a mean of *squares*.")
    if abs(factor - 1 / 9) < 0.01:
        return wrong("Turn it round: the old error divided by the new one.")
    return wrong("The caption says what predicting zero costs: read it at A = 3 and at A = 1, and divide.")
