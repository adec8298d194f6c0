"""Model solutions of notebook 10, as a student would write them."""

from __future__ import annotations

from course_lib.tasks import TaskBatch


def batch(place, height, shots):
    x = 2 * place - 1
    y = (height - height[:, :shots].mean(1, keepdim=True)) / 75
    y = y[..., None]
    return TaskBatch(x[:, :shots], y[:, :shots], x[:, shots:], y[:, shots:])


def claim(errors, draw):
    mine, floor = errors("r2d2", draw), errors("nearest point", draw)
    return mine < floor, {"mine": mine, "floor": floor}


CHOICE = '`choice = "R2D2", "MAML", "Reptile"`'
OPEN = (
    "In one run each, R2D2 had 0.09, 0.22 and 0.34 with sides of 12, 24 and 48, the nearest point 0.12, 0.28 and 0.47: "
    "all errors rise, and the ratio hardly moves. What changes is the floor: at 48 the nearest point is no better than "
    "the support mean (0.49), since ten points lie too far apart, and the network still is. One seed each: count "
    "before you write a sentence."
)
