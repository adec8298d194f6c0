"""Principal tangent features over meta-training: how the sinusoids rise to the top of the tangent kernel."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from matplotlib.colors import LinearSegmentedColormap

from course_lib.chapters.features import setup as setup
from course_lib.chapters.features.setup import FAMILY, ITERATIONS, MAX_RANK, PROGRESS, WAYS, X
from course_lib.kit import plots
from course_lib.kit.demo import Choice, Notches, Slider, declare

NAMES = {"maml": "MAML", "plain": "ordinary"}  # short, for a title
TINTS = {  # none of the family's energy to all that one function can hold
    way: LinearSegmentedColormap.from_list(way, ["#f1f1f1", setup.LOOKS[way]["color"]]) for way in WAYS
}
MOST = 0.5  # of a two-dimensional family one eigenfunction can hold about half
HEIGHT = 0.27  # of an eigenfunction, in rows per unit


def compute(values: SimpleNamespace) -> dict:
    """The first eight eigenfunctions of one snapshot, and what share of the family's energy they hold."""
    now = setup.spectrum(values.way, values.iteration)
    functions = now.functions[:, :MAX_RANK]  # [200, 8]
    chosen = functions[:, values.rank - 1]  # [200]
    nearest = FAMILY.T @ torch.linalg.lstsq(FAMILY.T, chosen[:, None]).solution  # [200, 1] in its plane
    shares = now.shares[:MAX_RANK]  # [8]
    return {
        "functions": functions.T.numpy(),  # [8, 200]
        "nearest": nearest[:, 0],
        "values": now.values[:MAX_RANK],
        "each": shares.diff(prepend=torch.zeros(1)).numpy(),  # [8]
        "shares": shares.numpy(),
        "before": setup.spectrum(values.way, 0).shares[:MAX_RANK].numpy(),
        "history": setup.history()[:, :, :, values.rank - 1].numpy(),  # [2, 3, 7]
        "final": [float(setup.spectrum(way, PROGRESS[-1]).shares[values.rank - 1]) for way in WAYS],
        "share": float(shares[values.rank - 1]),
        "aligned": now.aligned,
    }


def picture(fig, show) -> None:
    mosaic = [["ridge", "words", "share"], ["ridge", "words", "time"]]
    panels = fig.subplot_mosaic(mosaic, width_ratios=(1.2, 0.3, 1))
    ridge, beside, share, time = (panels[name] for name in ("ridge", "words", "share", "time"))
    ridge.set(xlabel="x", xlim=(-5, 5), ylim=(-MAX_RANK + 0.3, 1.0), ylabel="eigenfunction, the principal one on top")
    ridge.set_yticks([-i for i in range(MAX_RANK)], [str(i + 1) for i in range(MAX_RANK)])
    ridge.grid(False)
    ridge.spines["left"].set_visible(False)
    ridge.tick_params(axis="y", length=0)
    beside.set(xlim=(0, 1), ylim=ridge.get_ylim())
    beside.set_title("energy, \N{GREEK SMALL LETTER LAMDA}", fontsize=9)
    beside.axis("off")
    for i in range(MAX_RANK):
        curve, chosen = (lambda d, i=i: HEIGHT * d.functions[i] - i), (lambda d, i=i: d.rank == i + 1)
        tint = lambda d, i=i: TINTS[d.way](min(1.0, float(d.each[i]) / MOST))
        show.band(ridge, X, curve, -i, facecolor=tint, alpha=1, zorder=3 + 2 * i)
        width = lambda d, chosen=chosen: 2.2 if chosen(d) else 0.9
        show.line(ridge, X, curve, color=plots.BLACK, linestyle="-", linewidth=width, zorder=4 + 2 * i)
        number = lambda d, i=i: f"{d.each[i]:.0%}, {d['values'][i]:.2g}"
        weight = lambda d, chosen=chosen: "bold" if chosen(d) else "normal"
        show.text(beside, 0, -i, number, va="center", fontsize=9, in_layout=False, fontweight=weight)
    part = lambda d: HEIGHT * d.nearest.numpy() - d.rank + 1
    show.line(ridge, X, part, color=plots.ORANGE, linestyle=":", linewidth=2.4, zorder=40)
    show.title(ridge, lambda d: f"{NAMES[d.way]}, {_short(d.iteration)}: alignment {d.aligned:.2f}")

    ranks = range(1, MAX_RANK + 1)
    share.set(xlabel="the top r", xlim=(0.5, MAX_RANK + 0.5), xticks=ranks)
    show.line(share, ranks, setup.ideal().shares[:MAX_RANK], **plots.REFERENCE, end="ideal")
    show.line(share, ranks, "before", color=plots.GREY, linestyle="-.", linewidth=1.5, end="before")
    color = lambda d: setup.LOOKS[d.way]["color"]
    show.line(share, ranks, "shares", color=color, linestyle="-", marker="o", markersize=4, end="now", pin=True)
    show.points(share, "rank", "share", **plots.HERE)
    show.title(share, lambda d: f"The top {d.rank} hold{'s' * (d.rank == 1)} {d.share:.0%} of the energy")

    time.set(xlabel="training iterations", xlim=(-0.3, len(PROGRESS) - 0.7))
    time.set_xticks(range(len(PROGRESS)), [_short(i) for i in PROGRESS])
    for row, (way, name) in enumerate(NAMES.items()):
        for seed in setup.SEEDS:
            past = lambda d, row=row, seed=seed: d.history[row, seed]
            show.line(time, range(len(ITERATIONS)), past, **setup.LOOKS[way], linewidth=1, alpha=0.6)
        whole = lambda d, row=row: [*d.history[row, 0], d.final[row]]
        show.line(time, range(len(PROGRESS)), whole, **setup.LOOKS[way], marker="s", markersize=4, end=name)
    show.points(time, lambda d: PROGRESS.index(d.iteration), "share", **plots.HERE)
    show.title(time, lambda d: f"The top {d.rank} over training, three seeds")
    for panel in (share, time):
        panel.set(ylabel="energy held", ylim=(0, 1.08))
        panel.set_yticks([0, 0.5, 1], ["0", "50 %", "all"])


def _short(iteration: int) -> str:
    return f"{iteration // 1000}k" if iteration >= 1000 else str(iteration)


def words(d) -> str:
    return (
        f"{WAYS[d.way]}, after {d.iteration:,} iterations. The first eight eigenfunctions of the tangent kernel hold "
        f"{', '.join(f'{share:.0%}' for share in d.each)} of the sinusoids' energy; the top {d.rank} together "
        f"{d.share:.0%}, before training {d.before[d.rank - 1]:.0%}. The kernel's alignment with the family is "
        f"{d.aligned:.2f}."
    )


demo = declare(
    "Principal tangent features over training",
    [
        Choice("way", WAYS, "maml", "trained by"),
        Notches("iteration", PROGRESS, PROGRESS[-1], "training iterations"),
        Slider("rank", 1, MAX_RANK, 2, "eigenfunction r"),
    ],
    compute,
    picture,
    words,
    size=(9.6, 5.2),
    views={
        "before training": {"iteration": 0},
        "after MAML": {},
        "after ordinary training": {"way": "plain"},
    },
    play="iteration",
)
