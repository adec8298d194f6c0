"""Draw five characters with the mouse and have a network tell new drawings of them apart, live.

The pads hand over strokes. ``tasks.strokes.picture`` makes of them what Omniglot's drawings are, 28 x 28 with
its pen, moved to the middle and brought to the data set's size. The five drawings are the support set of a
5-way 1-shot task, and the sixth is its query set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from torch import Tensor

from course_lib import checkpoints
from course_lib.analysis.transduction import has_running_statistics, predict_one_by_one
from course_lib.evaluation import begin, path
from course_lib.inner_loop import Params, predict
from course_lib.kit import plots
from course_lib.kit.demo import Button, Choice, Demo
from course_lib.kit.drawing_pad import BLANK, Drawing, Strokes
from course_lib.tasks import TaskBatch
from course_lib.tasks.glyphs import LEGS, STROKES, design
from course_lib.tasks.glyphs import draw as draw_glyphs
from course_lib.tasks.strokes import CANVAS, SIDE, picture

WAYS = 5
BOXES = tuple(f"box{i + 1}" for i in range(WAYS))
NETWORKS = {
    "R2D2": "omniglot/r2d2",
    "ProtoNet": "omniglot/protonet",
    "union of tasks": "omniglot/union",
    "MAML, 3 steps": "omniglot/maml",
}
LONGER, DOT = 0.65, 0.03  # pads: the longer side that a drawing is brought to, and what is a dot
EVERY = 5  # of an example stroke's points, so many are left out but one
ELSEWHERE = 0.6, np.array([0.05, 0.32])  # an example's query: its size, and where it begins


@lru_cache(maxsize=256)
def seen(strokes: Strokes) -> Tensor:
    """What the network sees of a drawing: [1, 28, 28], where 1 is ink.

    Every drawing gets the same size, since nobody draws twice in a size: the longer side of a middling
    drawing of Omniglot. A dot stays a dot.
    """
    paths = [np.array(stroke) for stroke in strokes]
    every = np.concatenate(paths or [np.zeros((1, 2))])  # [N, 2]
    longer = np.ptp(every, axis=0).max()
    scale = LONGER / longer if longer > DOT else 1.0
    return picture([path * scale for path in paths], canvas=1.0)


@lru_cache(maxsize=len(NETWORKS))
def network(checkpoint: str) -> tuple:
    model, learner, record = checkpoints.load(checkpoint)
    return model.eval(), learner, max(record["score"]["steps"])


@lru_cache(maxsize=32)
def adapted(checkpoint: str, drawn: tuple[Strokes, ...]) -> Params:
    """The network after its inner loop on one drawing of each character."""
    model, learner, steps = network(checkpoint)
    x = torch.stack([seen(strokes) for strokes in drawn])[None]  # [1, W, 1, 28, 28]
    y = torch.arange(len(drawn))[None]  # [1, W]
    with torch.no_grad():
        start = begin(learner, model, TaskBatch(x, y, x, y), "ready", None)
    rate, loss_fn = learner.rate(model), learner.loss_fn
    *_, params = path(model, start, x, y, loss_fn=loss_fn, steps=steps, lr=rate, only=learner.only)
    return params


def recognise(drawn: Sequence[Strokes], query: Strokes, checkpoint: str = "omniglot/r2d2") -> Tensor | None:
    """The probability that ``query`` is the same character as each of ``drawn``: [W], where a blank one has 0.

    None if there is nothing to tell apart: fewer than two characters, or a blank query.
    """
    filled = [i for i, strokes in enumerate(drawn) if strokes]
    if len(filled) < 2 or not query:
        return None
    model, _, _ = network(checkpoint)
    support = tuple(drawn[i] for i in filled)
    params = adapted(checkpoint, support)
    x = seen(query)[None, None]  # [1, 1, 1, 28, 28]
    with torch.no_grad():
        if has_running_statistics(model):
            outputs = predict(model, params, x)  # [1, 1, W]
        else:  # batch statistics, with nothing but the support set to share them
            support_x = torch.stack([seen(strokes) for strokes in support])[None]  # [1, W, 1, 28, 28]
            outputs = predict_one_by_one(model, params, support_x, x)  # [1, 1, W]
    probabilities = torch.zeros(len(drawn))
    probabilities[filled] = outputs[0, 0, : len(filled)].softmax(0)
    return probabilities


@lru_cache(maxsize=16)
def example(seed: int) -> dict[str, Strokes]:
    """Drawn glyphs in the five boxes, and in the sixth another drawing of one of them, smaller and to a side."""
    generator = torch.Generator().manual_seed(seed)
    characters = design(1, generator)
    legs = draw_glyphs(characters, 2, generator) / CANVAS  # [C, 2, STROKES LEGS, POINTS, 2]
    chosen = torch.randperm(len(legs), generator=generator)[:WAYS]
    again = int(torch.randint(WAYS, (1,), generator=generator))
    size, corner = ELSEWHERE
    drawings = {box: _strokes(legs[c, 0]) for box, c in zip(BOXES, chosen)}
    drawings["query"] = _strokes(legs[chosen[again], 1], lambda points: size * points + corner)
    return drawings


def _strokes(legs: Tensor, place=lambda points: points) -> Strokes:
    """A glyph's legs [STROKES LEGS, POINTS, 2] as strokes, without those that leave no ink."""
    strokes = []
    for both in legs.unflatten(0, (STROKES, LEGS)):
        points = torch.cat([leg for leg in both if leg.std(0).max() > 0.001] or [both[0, :0]])  # [N, 2]
        if len(points):
            thin = torch.cat([points[:-1:EVERY], points[-1:]]).double().numpy()
            strokes.append(tuple(map(tuple, np.clip(place(thin), 0, 1).tolist())))
    return tuple(strokes)


def compute(values: SimpleNamespace) -> dict:
    """Probabilities of the sixth drawing, and what the network sees of all six."""
    drawn = tuple(getattr(values, box) for box in BOXES)
    probabilities = recognise(drawn, values.query, values.network)
    return {
        "pictures": torch.stack([seen(strokes)[0] for strokes in drawn]).numpy(),  # [5, 28, 28]
        "query": seen(values.query)[0].numpy(),
        "filled": sum(bool(strokes) for strokes in drawn),
        "known": probabilities is not None,
        "probabilities": np.zeros(WAYS) if probabilities is None else probabilities.numpy(),
        "network": next(words for words, checkpoint in NETWORKS.items() if checkpoint == values.network),
    }


def figure(fig) -> SimpleNamespace:
    left, right = fig.subplots(1, 2, width_ratios=(1, 3.1))
    left.set(xticks=[], yticks=[])
    left.grid(False)
    left.spines[:].set_visible(True)
    left.set_title("what the network sees")
    query = left.imshow(np.zeros((SIDE, SIDE, 3)))
    right.set(xlim=(-0.5, WAYS - 0.5), ylim=(-0.62, 1.15), ylabel="probability")
    right.set_xticks(range(WAYS), [str(i + 1) for i in range(WAYS)])
    right.set_yticks([0, 0.5, 1])
    right.axhline(0, color=plots.BLACK, linewidth=0.8)
    bars = list(right.bar(range(WAYS), [0] * WAYS, width=0.6, color=plots.SKY))
    shares = [right.text(i, 0, "", ha="center", va="bottom") for i in range(WAYS)]
    boxes = []
    for i in range(WAYS):
        image = OffsetImage(np.zeros((SIDE, SIDE, 3)), zoom=2.1)
        boxes.append(right.add_artist(AnnotationBbox(image, (i, -0.32), pad=0.1)))
    title = right.set_title(" ")
    return SimpleNamespace(query=query, bars=bars, shares=shares, boxes=boxes, title=title)


def draw(artists: SimpleNamespace, data: dict) -> None:
    best = int(data["probabilities"].argmax())
    artists.query.set_data(black_on_white(data["query"]))
    for i, (bar, text, box) in enumerate(zip(artists.bars, artists.shares, artists.boxes)):
        share = float(data["probabilities"][i])
        bar.set_height(share)
        bar.set_color(plots.BLUE if data["known"] and i == best else plots.SKY)
        text.set(text=f"{share:.0%}" if data["known"] else "", y=share + 0.01)
        box.offsetbox.set_data(black_on_white(data["pictures"][i]))
    artists.title.set_text(verdict(data))


def black_on_white(ink: np.ndarray) -> np.ndarray:
    """[28, 28] to red, green and blue [28, 28, 3]."""
    return 1 - np.repeat(ink[..., None], 3, axis=-1)


def verdict(data: dict) -> str:
    if data["filled"] < 2:
        return "Draw characters in the boxes 1 to 5: one in each, at least two"
    if not data["known"]:
        return "Now draw one of them again, in the sixth box"
    best = int(data["probabilities"].argmax())
    return f"{data['network']}: this is character {best + 1} ({data['probabilities'][best]:.0%})"


def alt(data: dict) -> str:
    shares = ", ".join(f"{i + 1}: {share:.0%}" for i, share in enumerate(data["probabilities"]))
    return f"{verdict(data)}." + (f" Probabilities: {shares}." if data["known"] else "")


class DrawingDemo(Demo):
    """A demo with two buttons that fill or clear all pads at once."""

    def accept(self, changes: Mapping[str, Any]) -> None:
        before = dict(self.values)
        super().accept(changes)
        filled: dict[str, Strokes] = {}
        if self.values["examples"] != before["examples"]:
            filled = example(self.values["examples"])
        elif self.values["clear_all"] != before["clear_all"]:
            filled = dict.fromkeys((*BOXES, "query"), BLANK)
        self.values |= {name: strokes for name, strokes in filled.items() if name not in changes}
        if filled and self._panel is not None:
            self._panel.match_widgets()


def demo() -> DrawingDemo:
    """The last demo of notebook 09; drawn glyphs are in its boxes at first."""
    first = example(0)
    pads = [Drawing(box, first[box], f"character {i + 1}") for i, box in enumerate(BOXES)]
    return DrawingDemo(
        "Draw five characters, and one of them again",
        controls=[
            *pads,
            Drawing("query", first["query"], "which one is this?"),
            Choice("network", NETWORKS, "omniglot/r2d2", "network"),
            Button("clear_all", "clear everything and draw your own"),
            Button("examples", "other examples"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(9.0, 3.6),
    )
