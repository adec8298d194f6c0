"""R2D2's network for the page: its weights as text, which ``network.js`` turns into numbers and runs.

Batch norm is folded into the convolutions. Each weight keeps the upper three bytes of its float32, 16 significant bits:
probabilities differ from PyTorch's by less than 1e-4, at three quarters of the size.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
from torch import Tensor, nn

from course_lib import checkpoints
from course_lib.kit.controls import Button
from course_lib.kit.demo import Demo
from course_lib.kit.drawing_pad import Drawing, Strokes

CHECKPOINT, EXAMPLES = "omniglot/r2d2", 4


def folded(features: nn.Sequential) -> list[tuple[Tensor, Tensor]]:
    """Weight [F, C, 3, 3] and bias [F] of each convolution of ``Conv4`` with running statistics and stride 2."""
    layers = []
    for convolution, norm in zip(features[::3], features[1::3]):
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()  # [F]
        weight = convolution.weight * scale[:, None, None, None]
        layers.append((weight.detach(), ((convolution.bias - norm.running_mean) * scale + norm.bias).detach()))
    return layers


def packed(values: Tensor) -> str:
    """float32 numbers as base64, three bytes each, rounded.

    >>> import torch
    >>> packed(torch.tensor([1.0, -2.5]))
    'AIA/ACDA'
    """
    bits = values.numpy().astype("<f4").view("<u4").ravel().astype(np.uint64) + 0x80
    three = bits.astype("<u4").view(np.uint8).reshape(-1, 4)[:, 1:]
    return base64.b64encode(three.tobytes()).decode()


def script() -> str:
    """A script that defines ``NETWORK``: layers with their packed numbers, the ridge penalty and the scale."""
    model, learner, record = checkpoints.load(CHECKPOINT)
    layers = [
        {"filters": len(weight), "channels": weight.shape[1], "weight": packed(weight), "bias": packed(bias)}
        for weight, bias in folded(model.eval().features)
    ]
    told = {"layers": layers, "lam": learner.lam().item(), "scale": learner.scale().item()}
    return f"const NETWORK = {json.dumps(told)};"


def pads_of(demo: Demo) -> dict[str, Any]:
    """The pads of a demo that is drawn on, for ``mountPads``: where it opens, and what its buttons fill in."""
    pads = [control for control in demo.controls.values() if isinstance(control, Drawing)]
    filled = [
        {name: strokes for name, strokes in button.sets(press).items() if strokes}
        for button in demo.controls.values()
        if isinstance(button, Button) and button.sets
        for press in range(EXAMPLES)
    ]
    return {
        "title": demo.title,
        "pads": [{"label": pad.label, "strokes": _short(demo.start[pad.name])} for pad in pads],
        "examples": [[_short(values[pad.name]) for pad in pads] for values in filled if values],
    }


def _short(strokes: Strokes) -> list:
    return [[[round(x, 3), round(y, 3)] for x, y in stroke] for stroke in strokes]
