"""Model solutions of notebook 10, as a student would write them."""

from __future__ import annotations

from course_lib.tasks import TaskBatch


def batch(place, height, shots):
    x = 2 * place - 1
    y = (height - height[:, :shots].mean(1, keepdim=True)) / 75
    y = y[..., None]
    return TaskBatch(x[:, :shots], y[:, :shots], x[:, shots:], y[:, shots:])


def claim(errors, draw):
    trained, untrained = errors("trained", draw), errors("untrained", draw)
    return trained < untrained, {"trained": trained, "untrained": untrained}


CHOICE = '`choice = "R2D2", "MAML", "Reptile"`'
OPEN = (
    "On small ones. In one run each of 1,000 steps, with sides of 12, 24 and 48, R2D2 had 0.09, 0.22 and 0.35, and the "
    "same network untrained 0.11, 0.24 and 0.37: training took off 16, 11 and 5 %. On a large square ten points lie "
    "too far apart to tell of each other (the nearest one says no more than the mean), and nothing that a network has "
    "learnt of hills fills the gap. One seed each: count before you write a sentence."
)
