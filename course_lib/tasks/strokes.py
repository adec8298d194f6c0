"""From pen strokes to pictures, as the drawings of Omniglot were made.

Omniglot was drawn with a mouse on a canvas of 105 x 105 pixels, with a round pen about five pixels wide and no
grey: a pixel is ink or it is not. The learner sees 28 x 28, where the grey of a pixel is the share of its area
that is ink.
"""

from __future__ import annotations

import torch
from torch import Tensor

CANVAS = 105  # pixels to a side of an Omniglot drawing
SIDE = 28  # pixels to a side of what the networks see, as in the MAML and Reptile papers


def shrink(drawings: Tensor) -> Tensor:
    """Drawings [N, 105, 105] of 0 and 1 made 28 x 28 by area: uint8 [N, 28, 28], where 255 is all ink.

    A pixel of the result covers 105 / 28 = 15/4 pixels each way, so its grey is the share of 225 sixteenths of
    a pixel that are ink. Area is exact for pictures that have no grey: nothing rings (Lanczos, in MAML's
    released code, overshoots beside a line) and no line is lost between samples (nearest, in Reptile's). And it
    is whole-number arithmetic, so the result has the same bits on every machine.

    >>> ink = torch.zeros(1, 105, 105)
    >>> ink[:, :15, :15] = 1
    >>> shrink(ink).sum() == 16 * 255
    tensor(True)
    """
    out, canvas = torch.arange(SIDE)[:, None], torch.arange(CANVAS)  # [28, 1], [105]
    # Overlap of the pixels, in quarters of a canvas pixel: rows of 15 quarters each.
    begin = torch.maximum(15 * out, 4 * canvas)
    end = torch.minimum(15 * (out + 1), 4 * (canvas + 1))
    overlap = (end - begin).clamp(min=0).float()  # [28, 105]
    sixteenths = overlap @ drawings.float() @ overlap.T  # [N, 28, 28], whole numbers from 0 to 225
    return torch.div(sixteenths * 255 + 112, 225, rounding_mode="floor").to(torch.uint8)
