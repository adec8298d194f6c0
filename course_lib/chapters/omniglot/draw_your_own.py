"""Draw five characters with the mouse and have a network tell new drawings of them apart, live.

The pads hand over strokes. ``engine.strokes.picture`` makes of them what Omniglot's drawings are, 28 x 28 with
its pen, moved to the middle and brought to the data set's size. The five drawings are the support set of a
5-way 1-shot task, and the sixth is its query set.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from course_lib import checkpoints
from course_lib.analysis.transduction import has_running_statistics, predict_one_by_one
from course_lib.engine import strokes as pen
from course_lib.engine.glyphs import LEGS, STROKES, design
from course_lib.engine.glyphs import draw as draw_glyphs
from course_lib.evaluation import test_start
from course_lib.inner_loop import Params, predict, trajectory
from course_lib.kit import plots
from course_lib.kit.demo import Button, Choice, Slider, declare
from course_lib.kit.drawing_pad import BLANK, Drawing, Strokes
from course_lib.tasks import TaskBatch

WAYS = 5
BOXES = tuple(f"box{i + 1}" for i in range(WAYS))
PADS = (*BOXES, "query")
NETWORKS = {
    "omniglot/r2d2": "R2D2",
    "omniglot/protonet": "ProtoNet",
    "omniglot/union": "union of tasks",
    "omniglot/maml": "MAML",
}
MAML, MAML_STEPS = "omniglot/maml", 3  # as many as in its recipe
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
    return pen.picture([path * scale for path in paths], canvas=1.0)


@lru_cache(maxsize=len(NETWORKS))
def network(checkpoint: str) -> tuple:
    model, learner, record = checkpoints.load(checkpoint)
    return model.eval(), learner, max(record["score"]["steps"])


@lru_cache(maxsize=32)
def adapted(checkpoint: str, drawn: tuple[Strokes, ...]) -> list[Params]:
    """The network after 0, 1, ... steps of its inner loop on one drawing of each character."""
    model, learner, steps = network(checkpoint)
    x = torch.stack([seen(strokes) for strokes in drawn])[None]  # [1, W, 1, 28, 28]
    y = torch.arange(len(drawn))[None]  # [1, W]
    with torch.no_grad():
        start = test_start(learner, model, TaskBatch(x, y, x, y), "ready", None)
    rate, loss_fn = learner.rate(model), learner.loss_fn
    return list(trajectory(model, start, x, y, loss_fn=loss_fn, steps=steps, lr=rate, only=learner.only))


def recognise(
    drawn: Sequence[Strokes], query: Strokes, checkpoint: str = "omniglot/r2d2", steps: int = -1
) -> Tensor | None:
    """The probability that ``query`` is the same character as each of ``drawn``: [W], where a blank one has 0.

    ``steps`` of the inner loop, -1 for all. None if there is nothing to tell apart: fewer than two characters, or a
    blank query.
    """
    filled = [i for i, strokes in enumerate(drawn) if strokes]
    if len(filled) < 2 or not query:
        return None
    model, _, _ = network(checkpoint)
    support = tuple(drawn[i] for i in filled)
    params = adapted(checkpoint, support)[steps]
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
    legs = draw_glyphs(characters, 2, generator) / pen.CANVAS  # [C, 2, STROKES LEGS, POINTS, 2]
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


def nearest_pixels(drawn: Sequence[Strokes], query: Strokes) -> int:
    """Which drawing shares most with the query, pixel by pixel; there is one."""
    far = [float((seen(strokes) - seen(query)).norm()) if strokes else np.inf for strokes in drawn]
    return int(np.argmin(far))


@lru_cache(maxsize=32)
def path_of(drawn: tuple[Strokes, ...], query: Strokes, network: str) -> list[Tensor | None]:
    """The query's probabilities after each of MAML's numbers of steps; of another network once."""
    steps = range(MAML_STEPS + 1) if network == MAML else (-1,)
    return [recognise(drawn, query, network, k) for k in steps]  # of [W] each


def compute(values: SimpleNamespace) -> dict:
    """Probabilities of the sixth drawing, of MAML after each number of steps; and what the network sees of all six."""
    drawn = tuple(getattr(values, box) for box in BOXES)
    path = path_of(drawn, values.query, values.network)
    probabilities = path[values.steps if values.network == MAML else 0]
    known = probabilities is not None
    return {
        "pictures": torch.stack([seen(strokes)[0] for strokes in drawn]).numpy(),  # [5, 28, 28]
        "query": seen(values.query)[0].numpy(),
        "filled": sum(bool(strokes) for strokes in drawn),
        "known": known,
        "learning": known and values.network == MAML,
        "best": int(probabilities.argmax()) if known else 0,
        "nearest": nearest_pixels(drawn, values.query) if known else 0,
        "path": torch.stack(path).numpy() if known else np.zeros((len(path), WAYS)),
        "probabilities": probabilities.numpy() if known else np.zeros(WAYS),
    }


def picture(fig, show) -> None:
    above, below = fig.subplots(1, 2, width_ratios=(1, 4))
    ink = {"cmap": "gray_r", "vmin": 0, "vmax": 1, "aspect": "auto"}
    show.image(above, "query", **ink | {"aspect": "equal"}, extent=(0, 1, 0, 1))
    above.set(xlim=(0, 1), ylim=(0, 1))
    above.set_axis_off()
    above.set_title("what it sees", color=plots.QUIET, fontsize=10)
    below.set(xlim=(-0.5, WAYS - 0.5), ylim=(-1.25, 1.25), ylabel="probability")
    below.set_xticks(range(WAYS), [str(i + 1) for i in range(WAYS)])
    below.set_yticks([0, 0.5, 1])
    show.level(below, 0, color=plots.BLACK, linestyle="-", linewidth=0.8)
    for i in range(WAYS):
        share = lambda d, i=i: float(d.probabilities[i])
        color = lambda d, i=i: plots.BLUE if d.known and i == d.best else plots.SKY
        show.bars(below, [i], lambda d, share=share: [share(d)], width=0.6, color=color)
        text = lambda d, share=share: f"{share(d):.0%}" if d.known else ""
        show.text(below, i, lambda d, share=share: share(d) + 0.03, text, ha="center", va="bottom", fontsize=9)
        show.image(below, lambda d, i=i: d.pictures[i], **ink, extent=(i - 0.38, i + 0.38, -1.2, -0.1))
        look = {"color": plots.ORANGE, "linestyle": "-", "marker": ".", "linewidth": 1.2}
        path = lambda d, i=i: d.path[:, i]
        at = lambda d, i=i: i + np.linspace(-0.3, 0.3, len(d.path))
        show.line(below, at, path, **look, shown=lambda d: d.learning)
        here = lambda d, at=at: at(d)[min(d.steps, len(d.path) - 1)]
        show.points(below, here, share, **plots.HERE | {"markersize": 6}, shown=lambda d: d.learning)
    frame = np.array([(-0.4, -1.22), (0.4, -1.22), (0.4, -0.08), (-0.4, -0.08), (-0.4, -1.22)])
    framed = {"color": plots.GREY, "linestyle": "--", "linewidth": 2, "clip_on": False}
    show.line(below, lambda d: frame + (d.nearest, 0), **framed, shown=lambda d: d.known)
    show.title(below, verdict)


def verdict(d) -> str:
    if d.filled < 2:
        return "Draw characters in the boxes 1 to 5:\none in each, at least two"
    if not d.known:
        return "Now draw one of them again,\nin the sixth box"
    after = f", k = {d.steps}" if d.learning else ""
    said = f"{NETWORKS[d.network]}{after}: this is character {d.best + 1}"
    return f"{said}\nNearest pixels (framed): character {d.nearest + 1}"


def words(d) -> str:
    shares = ", ".join(f"{i + 1}: {share:.0%}" for i, share in enumerate(d.probabilities))
    said = verdict(d).replace("\nNearest", "; nearest").replace("\n", " ")
    return said + "." + (f" Probabilities: {shares}." if d.known else "")


FIRST = example(0)
demo = declare(
    "Draw five characters, and one of them again",
    [
        *(Drawing(box, FIRST[box], f"character {i + 1}") for i, box in enumerate(BOXES)),
        Drawing("query", FIRST["query"], "which is this?"),
        Choice("network", NETWORKS, MAML, "network"),
        Slider("steps", 0, MAML_STEPS, MAML_STEPS, "MAML's inner steps k"),
        Button("clear_all", "clear everything and draw your own", sets=lambda _: dict.fromkeys(PADS, BLANK)),
        Button("examples", "other examples", sets=example),
    ],
    compute,
    picture,
    words,
    size=(7.6, 2.9),
    views={
        "MAML has learnt nothing yet": {"steps": 0},
        "one step": {"steps": 1},
        "three steps": {},
        "a solved head": {"network": "omniglot/r2d2"},
    },
)
