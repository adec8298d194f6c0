"""From pen strokes to pictures, as the drawings of Omniglot were made.

Omniglot was drawn on a canvas of 105 x 105 pixels, with a round pen five pixels wide and no grey: a pixel is
ink or it is not. The networks see 28 x 28, where the grey of a pixel is the share of its area that is ink.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

CANVAS = 105  # pixels to a side of an Omniglot drawing
SIDE = 28  # pixels to a side of what the networks see, as in the MAML and Reptile papers
PEN_RADIUS = 2.5  # canvas pixels: lines along an axis are five pixels wide throughout the data set
DRAWN_SIDE = (43.0, 88.0)  # the longer side of an evaluation drawing, canvas pixels: 5th and 95th percentile
POINT_SPACING = 0.5  # canvas pixels between the points that stand for a stroke: 0.01 off a continuous line


def shrink(drawings: Tensor) -> Tensor:
    """Drawings [N, 105, 105] of 0 and 1 made 28 x 28 by area: uint8 [N, 28, 28], where 255 is all ink.

    A pixel of the result covers 105 / 28 = 15/4 pixels each way, so its grey is the share of 225 sixteenths
    of a pixel that are ink. Area suits pictures that have no grey: nothing rings beside a line (as with
    Lanczos) and no line is lost between samples (as with nearest). And it is whole-number arithmetic, so the
    result has the same bits on every machine.

    >>> ink = torch.zeros(1, 105, 105)
    >>> ink[:, :15, :15] = 1
    >>> int(shrink(ink).sum()) == 16 * 255
    True
    """
    out, canvas = torch.arange(SIDE)[:, None], torch.arange(CANVAS)  # [28, 1], [105]
    begin = torch.maximum(15 * out, 4 * canvas)  # where two pixels overlap, in quarters of a canvas pixel
    end = torch.minimum(15 * (out + 1), 4 * (canvas + 1))
    overlap = (end - begin).clamp(min=0).float()  # [28, 105]
    sixteenths = overlap @ drawings.float() @ overlap.T  # [N, 28, 28], whole numbers from 0 to 225
    return torch.div(sixteenths * 255 + 112, 225, rounding_mode="floor").to(torch.uint8)


def distance_to_points(points: Tensor, side: int) -> Tensor:
    """How far each pixel's centre is from the nearest point of a set: [N, P, 2] -> [N, side, side], pixels.

    Points are (x, y), x to the right and y down, in pixels from the corner of the picture.
    """
    centre = torch.arange(side, dtype=points.dtype) + 0.5
    y, x = torch.meshgrid(centre, centre, indexing="ij")
    pixel = torch.stack([x, y], dim=-1).flatten(0, 1)  # [side side, 2]
    # |p - q|^2 = |p|^2 - 2 p.q + |q|^2 as one product, measured from the middle so that little cancels.
    p, q = pixel - side / 2, points - side / 2
    p = torch.cat([p.square().sum(-1, keepdim=True), -2 * p, torch.ones_like(p[:, :1])], -1)  # [side side, 4]
    q = torch.cat([torch.ones_like(q[..., :1]), q, q.square().sum(-1, keepdim=True)], -1)  # [N, P, 4]
    squared = (q @ p.T).amin(dim=1)  # [N, side side]
    return squared.clamp(min=0).sqrt().unflatten(1, (side, side))


def picture(strokes: Sequence[np.ndarray], canvas: float, fit: bool = True) -> Tensor:
    """What a network of this course would see of a hand drawing: float [1, 28, 28], where 1 is ink.

    Args:
        strokes: each an array [N, 2] of (x, y) along the path of the pen, y down; one point is a dot.
        canvas: the width of the square that was drawn on, in the units of the strokes.
        fit: moves the drawing to the middle, and scales it if it is smaller or larger than nearly all of
            Omniglot's (see ``DRAWN_SIDE``), so that a scribble in a corner counts for what it is.

    Raises:
        ValueError: for a canvas without width, or strokes that are not arrays [N, 2] of finite numbers.

    >>> line = picture([np.array([[20, 20], [80, 80]])], canvas=100)
    >>> line.shape, float(line.max())
    (torch.Size([1, 28, 28]), 1.0)
    """
    if not canvas > 0:
        raise ValueError(f"canvas must be the width of the square drawn on, above 0, not {canvas!r}")
    paths = [np.asarray(stroke, dtype=np.float64) for stroke in strokes]
    for path in paths:
        if path.ndim != 2 or path.shape[1] != 2 or not np.isfinite(path).all():
            raise ValueError(f"a stroke must be an array [N, 2] of finite (x, y); this one is {path.shape}")
    paths = [path * (CANVAS / canvas) for path in paths if len(path)]
    if not paths:
        return torch.zeros(1, SIDE, SIDE)
    if fit:
        every = np.concatenate(paths)
        low, high = every.min(axis=0), every.max(axis=0)
        longer = (high - low).max()  # without the pen's width, which does not scale
        fitting = np.clip(longer + 2 * PEN_RADIUS, *DRAWN_SIDE) - 2 * PEN_RADIUS
        scale = fitting / longer if longer > 2 * PEN_RADIUS else 1.0  # a dot stays a dot
        paths = [(path - (low + high) / 2) * scale + CANVAS / 2 for path in paths]
    points = torch.from_numpy(np.concatenate([_resample(path) for path in paths])).float()  # [P, 2]
    ink = distance_to_points(points[None], CANVAS) <= PEN_RADIUS  # [1, 105, 105]
    return shrink(ink) / 255


def _resample(path: np.ndarray) -> np.ndarray:
    """Points along the path [N, 2], ``POINT_SPACING`` apart: [M, 2]."""
    length = np.concatenate([[0.0], np.hypot(*np.diff(path, axis=0).T).cumsum()])  # [N], from the start
    at = np.linspace(0.0, length[-1], 2 + int(length[-1] / POINT_SPACING))
    return np.stack([np.interp(at, length, path[:, 0]), np.interp(at, length, path[:, 1])], axis=-1)
