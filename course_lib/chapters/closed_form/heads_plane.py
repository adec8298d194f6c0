"""Three convex heads on one plane of features: their boundaries, the SVM's margins and its support vectors.

Real features of drawn glyphs: the shipped R2D2 body (or an untrained one) looks at 20 drawings of each of
three test characters. The three class means span a plane, and all drawings are projected on it: that is where
the heads are fitted, live. The plane was chosen with all drawings in view, so the accuracies flatter; the
geometry is the point.
"""

from __future__ import annotations

import math
from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import torch
from matplotlib.colors import to_rgb
from torch import Tensor

from course_lib import checkpoints
from course_lib.algorithms.solvers import Head, mean_head, one_hot, ridge_head, svm_head
from course_lib.engine.recipes import STRIDED
from course_lib.kit import plots
from course_lib.kit.demo import Button, Choice, Notches, Several, Slider, declare
from course_lib.models import Conv4
from course_lib.tasks import GlyphTasks

BODIES = {"r2d2": "trained (R2D2)", "untrained": "untrained"}
HEADS = {"svm": "SVM", "ridge": "ridge", "means": "class means"}
WAYS, QUERIES, SHOTS = 3, 10, (1, 2, 3, 5, 10)
COLORS, MARKS = (plots.BLUE, plots.ORANGE, plots.GREEN), ("D", "s", "^")
DASHES = {"svm": "-", "ridge": "--", "means": ":"}  # of the boundaries
REACH = 1.9  # half the width of the plane that is shown; all drawings have mean square length 1
PIXELS, SIDE = 380, 28
SUPPORT_VECTOR = 1e-6  # margins up to 1 plus this


@lru_cache(maxsize=None)
def body(name: str):
    model = Conv4(WAYS, **STRIDED) if name == "untrained" else checkpoints.load(f"omniglot/{name}")[0]
    return model.eval().features.requires_grad_(False)


@lru_cache(maxsize=32)
def plane(name: str, characters: int) -> tuple[Tensor, Tensor]:
    """Points in the plane [3, 20, 2] and pictures [3, 20, 28, 28] of all drawings of three characters.

    The first class mean points up, the second is on the left.
    """
    tasks = GlyphTasks("test", ways=WAYS, shots=max(SHOTS), queries=QUERIES)
    batch = tasks.sample(1, generator=torch.Generator().manual_seed(FIRST + characters))
    support = batch.support_x[0].unflatten(0, (WAYS, -1))  # [3, 10, 1, 28, 28]
    images = torch.cat([support, batch.query_x[0].unflatten(0, (WAYS, -1))], 1)  # [3, 20, 1, 28, 28]
    z = body(name)(images.flatten(0, 1)).double().unflatten(0, (WAYS, -1))  # [3, 20, D]
    means = z.mean(1)  # [3, D]
    axes = torch.linalg.svd(means - means.mean(0))[2][:2]  # [2, D]: the plane through the three means
    points = (z - means.mean(0)) @ axes.T  # [3, 20, 2]
    first, second = points[0].mean(0), points[1].mean(0)
    up = first / first.norm()
    left = torch.stack([-up[1], up[0]])
    left = left if second @ left > 0 else -left
    points = points @ torch.stack([-left, up]).T
    return points / points.square().sum(-1).mean().sqrt(), images[:, :, 0]


FIRST = 4  # a seed of characters


def fit(head: str, z: Tensor, y: Tensor, C: float, lam: float) -> Head:
    """z [1, S, 2], y [1, S] -> weight [1, 3, 2], bias [1, 3]."""
    if head == "svm":
        return svm_head(z, y, C, WAYS)
    return ridge_head(z, y, lam, WAYS) if head == "ridge" else mean_head(z, y, WAYS)


def margins(scores: Tensor, y: Tensor) -> Tensor:
    """The label's score minus the best of the others: scores [..., 3], y [...] -> [...]."""
    own = one_hot(y.reshape(1, -1), WAYS).view(scores.shape).bool()
    return scores[own].view(y.shape) - scores.masked_fill(own, -math.inf).amax(-1)


def border(weight: Tensor, bias: Tensor, level: float) -> np.ndarray:
    """Where the best score is ``level`` above the second best: [points, 2], NaN between pieces.

    The piece that reaches furthest to the right comes last, and ends there.
    """
    t, pieces = torch.linspace(-2 * REACH, 2 * REACH, 481).double(), []
    for a in range(WAYS):
        for b in range(WAYS):
            if a == b or (level == 0 and a > b):
                continue
            normal, offset = weight[a] - weight[b], level - (bias[a] - bias[b])  # normal . z = offset
            length = normal.norm().clamp(min=1e-12)
            foot = normal * offset / length**2
            line = foot + t[:, None] * torch.stack([-normal[1], normal[0]]) / length  # [481, 2]
            scores = line @ weight.T + bias  # [481, 3]
            other = scores[:, 3 - a - b]
            line[(other > scores[:, b] + 1e-9) | (line.abs().amax(1) > REACH)] = torch.nan
            inside = line[line.isfinite().all(1)]
            if len(inside):
                rising = inside if inside[-1, 0] > inside[0, 0] else inside.flip(0)
                pieces.append(torch.cat([torch.full_like(rising[:1], torch.nan), rising]))
    pieces.sort(key=lambda piece: piece[-1, 0])
    return torch.cat(pieces or [torch.full((1, 2), torch.nan)]).numpy()


def paint(weight: Tensor, bias: Tensor, points: Tensor, pictures: Tensor) -> np.ndarray:
    """The plane as pixels [PIXELS, PIXELS, 3]: each class's region tinted, the drawings where they lie."""
    across = (torch.arange(PIXELS).double() + 0.5) / PIXELS * 2 * REACH - REACH
    grid = torch.stack(torch.meshgrid(across, across, indexing="ij")[::-1], -1)  # [PIXELS, PIXELS, 2]: x, y
    best = (grid @ weight.T + bias).argmax(-1).numpy()  # [PIXELS, PIXELS]
    colors = np.array([to_rgb(c) for c in COLORS])
    pixels = (1 - 0.16 * (1 - colors))[best]
    corner = ((points + REACH) / (2 * REACH) * PIXELS - SIDE / 2).round().long()  # [3, shots, 2]
    for way in range(WAYS):
        for (left, low), ink in zip(corner[way].tolist(), pictures[way].flip(1).numpy()):
            if 0 <= left <= PIXELS - SIDE and 0 <= low <= PIXELS - SIDE:
                place = pixels[low : low + SIDE, left : left + SIDE]
                covered = ink[..., None] ** 0.7  # a bolder pen
                place[...] = covered * 0.75 * colors[way] + (1 - covered) * place
    return pixels


def compute(values: SimpleNamespace) -> dict:
    """All three heads on the support drawings; regions, margins and support vectors of the chosen one."""
    points, pictures = plane(values.body, values.characters)
    support, query = points[:, : values.shots], points[:, -QUERIES:]
    y = torch.arange(WAYS).repeat_interleave(values.shots)
    z = support.flatten(0, 1)  # [3 shots, 2]
    heads = {h: [p[0] for p in fit(h, z[None], y[None], values.C, values.lam)] for h in HEADS}
    right = {h: ((query @ w.T + b).argmax(-1) == torch.arange(WAYS)[:, None]) for h, (w, b) in heads.items()}
    weight, bias = heads[values.head]
    own = margins(z @ weight.T + bias, y)  # [3 shots]
    svm = values.head == "svm"
    return {
        "pixels": paint(weight, bias, support, pictures[:, : values.shots]),
        "borders": {h: border(*of, level=0) for h, of in heads.items()},
        "margin": border(weight, bias, 1.0) if svm else np.full((1, 2), np.nan),
        "support": z.numpy(),
        "query": query.numpy(),
        "missed": query[~right[values.head]].numpy(),
        "margins": own.numpy(),
        "vectors": (own < 1 + SUPPORT_VECTOR).numpy() if svm else np.zeros(len(own), bool),
        "accuracy": {h: 100 * float(of.double().mean()) for h, of in right.items()},
    }


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2, width_ratios=(1.6, 1))
    left.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal", xlabel="first feature of the plane")
    left.set(ylabel="second feature", xticks=[-1, 0, 1], yticks=[-1, 0, 1])
    left.grid(False)
    extent = (-REACH, REACH, -REACH, REACH)
    show.image(left, "pixels", vmin=0, vmax=1, extent=extent, origin="lower", interpolation="bilinear")
    for head, name in HEADS.items():
        look = {"color": plots.METHODS[head]["color"], "linestyle": DASHES[head], "linewidth": 1.8}
        look |= {"shown": lambda d, head=head: head in d.drawn, "end": name}
        show.line(left, lambda d, head=head: d.borders[head], **look)
    show.line(left, "margin", color=plots.BLACK, linestyle="--", linewidth=1)
    ring = {"color": plots.BLACK, "markerfacecolor": "none", "markeredgewidth": 1.3}
    show.points(left, lambda d: d.support[d.vectors], markersize=24, **ring)
    for way, (color, mark) in enumerate(zip(COLORS, MARKS)):
        look = {"color": color, "marker": mark, "markersize": 4.5, "markerfacecolor": "white", "markeredgewidth": 1.3}
        show.points(left, lambda d, way=way: d.query[way], **look)
    show.points(left, "missed", marker="x", color=plots.BLACK, markersize=8)
    show.title(left, scores)

    right.set(xlim=(0, 1), ylim=(-1.2, 4.2), xticks=[], xlabel="support drawings, by class")
    right.set_ylabel("own score minus best other")
    show.line(right, [0, 1], [1, 1], color=plots.BLACK, linestyle="--", linewidth=1, end="margin")
    show.line(right, [0, 1], [0, 0], **plots.REFERENCE, end="wrong")
    shown = lambda d: d.margins.clip(-1.1, 4.1)
    at = lambda d: (np.arange(len(d.margins)) + 0.5) / len(d.margins)
    for way, (color, mark) in enumerate(zip(COLORS, MARKS)):
        own = lambda d, of, way=way: of(d)[way * d.shots : (way + 1) * d.shots]
        place = [lambda d, own=own, of=of: own(d, of) for of in (at, shown)]
        show.points(right, *place, marker=mark, color=color, markersize=7)
    show.points(right, lambda d: at(d)[d.vectors], lambda d: shown(d)[d.vectors], markersize=15, **ring)
    show.title(right, found)


def scores(d) -> str:
    return "% right: " + ", ".join(f"{name} {d.accuracy[h]:.0f}" for h, name in HEADS.items())


def found(d) -> str:
    if d.head == "svm":
        return f"C = {d.C:.2g}: {d.vectors.sum()} of {len(d.margins)} hold it"
    return f"\N{GREEK SMALL LETTER LAMDA} = {d.lam:.2g}: no margin" if d.head == "ridge" else "No margin is asked for"


def words(d) -> str:
    how = {"svm": f" with C = {d.C:.2g}", "ridge": f" with lambda = {d.lam:.2g}", "means": ""}[d.head]
    vectors = f" {d.vectors.sum()} of {len(d.margins)} support drawings are support vectors." if d.head == "svm" else ""
    return (
        f"Drawn glyphs of three characters in a plane of their features, {d.shots} of each in the support set. The "
        f"regions are those of {HEADS[d.head]}{how}; smallest margin {d.margins.min():.2f}.{vectors} On 30 held-out "
        f"drawings: {scores(d)}."
    )


demo = declare(
    "Three heads on one plane of features",
    [
        Choice("head", HEADS, "svm", "regions of"),
        Slider("C", 0.01, 100, 1.0, "C of the SVM", log=True),
        Slider("lam", 1e-3, 1e3, 1.0, "\N{GREEK SMALL LETTER LAMDA} of ridge", log=True),
        Notches("shots", SHOTS, 5, "shots"),
        Choice("body", BODIES, "r2d2", "body"),
        Several("drawn", HEADS, label="boundaries of"),
        Button("characters", "other characters"),
    ],
    compute,
    picture,
    words,
    size=(9.4, 4.6),
    may_diverge=("borders", "margin"),  # NaN lifts the pen between pieces
    views={
        "few hold the margin": {},
        "wide margins: C = 0.01": {"C": 0.01},
        "an untrained body": {"body": "untrained", "shots": 10},
        "one drawing each": {"shots": 1},
    },
)
