"""What notebook 10 says about results."""

from __future__ import annotations

import torch

from course_lib.chapters.your_own import which_method
from course_lib.chapters.your_own.experiments import hills
from course_lib.chapters.your_own.template import Hills, load_map
from course_lib.kit.claim import claim

TEN = "10"


def error(draw: int, method: str) -> float:
    return hills.row(draw, method)["by_shots"][TEN]


@claim("R2D2 is ahead of the nearest measured point")
def learning_beats_the_nearest_point(draw: int):
    """Ten points, 200 squares of the part of the map kept for testing."""
    mine, floor = error(draw, "R2D2"), which_method.floors(10, draw)["nearest"]
    return mine < floor, {"mine": mine, "floor": floor}


@claim("R2D2 is ahead of the nearest point before its first outer step: a random body, its head solved")
def untrained_beats_the_nearest_point(draw: int):
    """The same squares and points, the network as it is initialised, the ridge penalty as it begins."""
    floors = which_method.floors(10, draw)
    return floors["untrained"] < floors["nearest"], {"untrained": floors["untrained"], "nearest": floors["nearest"]}


@claim("A thousand outer steps make R2D2 better than it began")
def training_helps(draw: int):
    """Ten points, the same squares; ``left`` is the part of the untrained network's error that training leaves."""
    left = error(draw, "R2D2") / which_method.floors(10, draw)["untrained"]
    return left < 1, {"left": left}


@claim("A Gaussian process is within a tenth of the best of the four methods")
def a_gaussian_process_is_level(draw: int):
    """Ten points; its length is the best of five on validation squares, as the methods' rates are."""
    best, floor = min(error(draw, m) for m in hills.METHODS), which_method.floors(10, draw)["process"]
    return 0.9 < floor / best < 1.1, {"best": best, "process": floor, "ratio": floor / best}


@claim("MAML, ANIL and R2D2 lie within a tenth of each other")
def the_methods_lie_together(draw: int):
    """Ten points, rates by validation; the largest error over the smallest."""
    errors = [error(draw, method) for method in ("MAML", "ANIL", "R2D2")]
    return max(errors) < 1.1 * min(errors), {"ratio": max(errors) / min(errors)}


@claim("Training with one head is no help: after ten steps its network is behind MAML's")
def one_head_is_behind(draw: int):
    """Ten points, ten steps at the best rate, for both."""
    one, maml = error(draw, "one head"), error(draw, "MAML")
    return one > maml, {"one": one, "maml": maml}


@claim("Centring on all points instead of the support points flatters: predicting zero looks better")
def a_leak_flatters(draw: int):
    """Ten points and twenty queries of 600 test squares: the error of predicting zero, with the leak and without."""
    batch = Hills(load_map()["test"]).sample(600, generator=torch.Generator().manual_seed(draw))
    everything = torch.cat([batch.support_y, batch.query_y], 1).mean(1, keepdim=True)  # [T, 1, 1]
    honest, leaking = (float(y.square().mean()) for y in (batch.query_y, batch.query_y - everything))
    return leaking < honest, {"honest": honest, "leaking": leaking}
