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
from course_lib.checkpoints.recipes import STRIDED
from course_lib.kit import plots
from course_lib.kit.first_edition import Button, Choice, Demo, Notches, Slider
from course_lib.models import Conv4
from course_lib.tasks import GlyphTasks

BODIES = {"trained (R2D2)": "r2d2", "untrained": "untrained"}
HEADS = {"SVM": "svm", "ridge": "ridge", "class means": "means"}
WAYS, QUERIES, SHOTS = 3, 10, (1, 2, 3, 5, 10)
COLORS, MARKS = (plots.BLUE, plots.ORANGE, plots.GREEN), ("D", "s", "^")
LINES = {  # of the boundaries
    "svm": {"color": plots.BLACK, "linestyle": "-"},
    "ridge": {"color": plots.PINK, "linestyle": "--"},
    "means": {"color": plots.GREY, "linestyle": ":"},
}
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
    """Where the best score is ``level`` above the second best: [2, points], NaN between pieces."""
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
            pieces += [line, torch.full((1, 2), torch.nan, dtype=line.dtype)]
    return torch.cat(pieces).T.numpy()


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
    heads = {
        h: [p[0] for p in fit(h, support.flatten(0, 1)[None], y[None], values.C, values.lam)]
        for h in HEADS.values()
    }
    right = {h: ((query @ w.T + b).argmax(-1) == torch.arange(WAYS)[:, None]) for h, (w, b) in heads.items()}
    weight, bias = heads[values.head]
    own = margins(support.flatten(0, 1) @ weight.T + bias, y)  # [3 shots]
    return {
        "head": values.head,
        "shots": values.shots,
        "pixels": paint(weight, bias, support, pictures[:, : values.shots]),
        "borders": {h: border(*of, level=0) for h, of in heads.items()},
        "margin": border(weight, bias, 1.0) if values.head == "svm" else np.full((2, 1), np.nan),
        "support": support.flatten(0, 1).numpy(),
        "query": query.numpy(),
        "missed": query[~right[values.head]].numpy(),
        "margins": own.numpy(),
        "vectors": (own < 1 + SUPPORT_VECTOR).numpy() if values.head == "svm" else np.zeros(len(own), bool),
        "accuracy": {h: 100 * float(of.double().mean()) for h, of in right.items()},
        "strength": {"svm": f"C = {values.C:.2g}", "ridge": f"lambda = {values.lam:.2g}", "means": ""}[
            values.head
        ],
    }


def figure(fig) -> SimpleNamespace:
    left, right = fig.subplots(1, 2, width_ratios=(1.15, 1))
    left.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal", xlabel="first feature of the plane")
    left.set(ylabel="second feature", xticks=[-1, 0, 1], yticks=[-1, 0, 1])
    left.grid(False)
    image = left.imshow(
        np.ones((PIXELS, PIXELS, 3)),
        extent=(-REACH, REACH, -REACH, REACH),
        origin="lower",
        interpolation="bilinear",
    )
    borders = {
        h: left.plot([], [], **look, linewidth=1.6, label=f"boundary: {name}")[0]
        for (name, h), look in zip(HEADS.items(), LINES.values())
    }
    margin = left.plot([], [], color=plots.BLACK, linestyle="--", linewidth=1, label="margin 1 of the SVM")[0]
    rings = left.plot(
        [], [], "o", color=plots.BLACK, markerfacecolor="none", markersize=24, markeredgewidth=1.3, label="_"
    )[0]
    queries = [
        left.plot([], [], m, color=c, markersize=4.5, markerfacecolor="white", markeredgewidth=1.3)[0]
        for c, m in zip(COLORS, MARKS)
    ]
    missed = left.plot([], [], "x", color=plots.BLACK, markersize=8, label="held-out, misjudged")[0]
    right.set(xlim=(0, 1), ylim=(-1.2, 4.2), xticks=[], xlabel="support drawings, class by class")
    right.set_ylabel("margin: own score minus best other")
    right.axhline(1, color=plots.BLACK, linestyle="--", linewidth=1)
    right.axhline(0, **plots.REFERENCE)
    bars = [right.plot([], [], m, color=c, markersize=7)[0] for c, m in zip(COLORS, MARKS)]
    chosen = right.plot(
        [],
        [],
        "o",
        color=plots.BLACK,
        markerfacecolor="none",
        markersize=15,
        markeredgewidth=1.3,
        label="support vector",
    )[0]
    fig.legend(loc="outside lower center", ncols=3)
    return SimpleNamespace(
        image=image, borders=borders, margin=margin, rings=rings, queries=queries, missed=missed, bars=bars,
        chosen=chosen, titles=(left.set_title(" "), right.set_title(" ")),
    )  # fmt: skip


def draw(artists: SimpleNamespace, data: dict) -> None:
    artists.image.set_data(data["pixels"])
    for head, line in artists.borders.items():
        line.set_data(*data["borders"][head])
    artists.margin.set_data(*data["margin"])
    artists.rings.set_data(*data["support"][data["vectors"]].T)
    artists.missed.set_data(*data["missed"].T)
    at = (np.arange(len(data["margins"])) + 0.5) / len(data["margins"])
    shown = data["margins"].clip(-1.1, 4.1)
    for way in range(WAYS):
        artists.queries[way].set_data(*data["query"][way].T)
        own = slice(way * data["shots"], (way + 1) * data["shots"])
        artists.bars[way].set_data(at[own], shown[own])
    artists.chosen.set_data(at[data["vectors"]], shown[data["vectors"]])
    scores = ", ".join(f"{name.split()[-1]} {data['accuracy'][h]:.0f}" for name, h in HEADS.items())
    artists.titles[0].set_text(f"right (%): {scores}")
    vectors = f"{data['strength']}: {data['vectors'].sum()} of {len(at)} are support vectors"
    artists.titles[1].set_text(
        vectors if data["head"] == "svm" else f"{name_of(data)}: no margin is asked for"
    )


def name_of(data: dict) -> str:
    return next(name for name, head in HEADS.items() if head == data["head"])


def alt(data: dict) -> str:
    scores = ", ".join(f"{name} {data['accuracy'][h]:.0f}" for name, h in HEADS.items())
    how = f" with {data['strength']}" if data["strength"] else ""
    vectors = (
        f" {data['vectors'].sum()} of {len(data['margins'])} support drawings are support vectors."
        if data["head"] == "svm"
        else ""
    )
    return (
        f"Drawn glyphs of three characters in a plane of their features, {data['shots']} of each "
        f"in the support set. The regions are those of {name_of(data)}{how}; smallest margin "
        f"{data['margins'].min():.2f}.{vectors} Right on 30 held-out drawings, in %: {scores}."
    )


def demo() -> Demo:
    """The demo of notebook 07; in its default view a few support vectors hold the SVM's margins."""
    return Demo(
        "Three heads on one plane of features",
        controls=[
            Choice("head", HEADS, "svm", "regions of"),
            Slider("C", 0.01, 100, 1.0, "C of the SVM", log=True),
            Slider("lam", 1e-3, 1e3, 1.0, "\N{GREEK SMALL LETTER LAMDA} of ridge", log=True),
            Notches("shots", SHOTS, 5, "shots"),
            Choice("body", BODIES, "r2d2", "body"),
            Button("characters", "other characters"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(9.0, 5.2),
        may_diverge=("borders", "margin"),  # NaN lifts the pen between pieces
    )
