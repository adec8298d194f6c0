"""Principal tangent features over meta-training: how the sinusoids rise to the top of the tangent kernel."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.lines import Line2D

from course_lib.chapters.features import setup as setup
from course_lib.chapters.features.setup import FAMILY, ITERATIONS, MAX_RANK, PROGRESS, WAYS, X
from course_lib.kit import plots
from course_lib.kit.first_edition import Choice, Demo, Notches, Slider

NAMES = {"maml": "MAML", "plain": "Ordinary"}  # short, for a title
TINTS = {  # none of the family's energy to all that one function can hold
    way: LinearSegmentedColormap.from_list(way, ["#f1f1f1", color])
    for way, color in (("maml", plots.BLUE), ("plain", plots.ORANGE))
}
MOST = 0.5  # of a two-dimensional family one eigenfunction can hold about half
HEIGHT = 0.27  # of an eigenfunction, in rows per unit


def compute(values: SimpleNamespace) -> dict:
    """The first eight eigenfunctions of one snapshot, and what share of the family's energy they hold."""
    now = setup.spectrum(values.way, values.iteration)
    functions = now.functions[:, :MAX_RANK]  # [200, 8]
    chosen = functions[:, values.rank - 1]  # [200]
    nearest = FAMILY.T @ torch.linalg.lstsq(FAMILY.T, chosen[:, None]).solution  # [200, 1] in its plane
    return {
        "way": values.way,
        "iteration": values.iteration,
        "rank": values.rank,
        "functions": functions.T.numpy(),  # [8, 200]
        "nearest": nearest[:, 0].numpy(),
        "values": now.values[:MAX_RANK].numpy(),
        "each": now.shares[:MAX_RANK].diff(prepend=torch.zeros(1)).numpy(),  # [8]
        "shares": now.shares[:MAX_RANK].numpy(),  # [8]
        "before": setup.spectrum(values.way, 0).shares[:MAX_RANK].numpy(),
        "ideal": setup.ideal().shares[:MAX_RANK].numpy(),
        "history": setup.history()[:, :, :, values.rank - 1].numpy(),  # [2, 3, 7]
        "final": [float(setup.spectrum(way, PROGRESS[-1]).shares[values.rank - 1]) for way in WAYS.values()],
        "aligned": now.aligned,
    }


def figure(fig) -> SimpleNamespace:
    panels = fig.subplot_mosaic(
        [["ridge", "words", "share"], ["ridge", "words", "time"]], width_ratios=(1.2, 0.3, 1)
    )
    ridge, beside, share, time = (panels[name] for name in ("ridge", "words", "share", "time"))
    ridge.set(xlabel="x", xlim=(-5, 5), ylim=(-MAX_RANK + 0.3, 1.0), yticks=[-i for i in range(MAX_RANK)])
    ridge.set_yticklabels([str(i + 1) for i in range(MAX_RANK)])
    ridge.set_ylabel("eigenfunction, the principal one on top")
    ridge.grid(False)
    ridge.spines["left"].set_visible(False)
    ridge.tick_params(axis="y", length=0)
    fills, lines, words = [], [], []
    for i in range(MAX_RANK):
        fills.append(ridge.fill_between([-5, 5], [-i, -i], [-i, -i], linewidth=0, zorder=3 + 2 * i))
        lines.append(ridge.plot([], [], color=plots.BLACK, linestyle="-", linewidth=1, zorder=4 + 2 * i)[0])
        words.append(beside.text(0, -i, "", va="center", fontsize="small", in_layout=False))
    beside.set(xlim=(0, 1), ylim=ridge.get_ylim(), title="energy, \N{GREEK SMALL LETTER LAMDA}")
    beside.title.set_fontsize("small")
    beside.axis("off")
    nearest = ridge.plot([], [], color=plots.BLACK, linestyle=":", linewidth=1.8, zorder=40)[0]

    share.set(xlabel="the top r", ylabel="energy held", xlim=(0.5, MAX_RANK + 0.5), ylim=(0, 1.08))
    share.set_xticks(range(1, MAX_RANK + 1))
    share.plot(range(1, MAX_RANK + 1), setup.ideal().shares[:MAX_RANK], **plots.REFERENCE)
    before = share.plot([], [], color=plots.GREY, linestyle="-.", linewidth=1.5)[0]
    now = share.plot([], [], marker="o", markersize=4, linestyle="-")[0]
    here = share.plot([], [], "o", color=plots.BLACK, markerfacecolor="white", markersize=9)[0]

    time.set(
        xlabel="training iterations", ylabel="energy held", xlim=(-0.3, len(PROGRESS) - 0.7), ylim=(0, 1.08)
    )
    time.set_xticks(range(len(PROGRESS)), [_short(i) for i in PROGRESS])
    tracks = []
    for way, dash in (("maml", "-"), ("plain", "--")):
        color = setup.COLORS[way]
        line = {"color": color, "linestyle": dash, "linewidth": 1.2}
        seeds = [time.plot([], [], **line)[0] for _ in setup.SEEDS]
        tracks.append((seeds, time.plot([], [], **line, marker="s", markersize=4)[0]))
    moment = time.plot([], [], "o", color=plots.BLACK, markerfacecolor="white", markersize=9)[0]

    keys = [
        Line2D([], [], color=plots.BLUE, linestyle="-", label="MAML"),
        Line2D([], [], color=plots.ORANGE, linestyle="--", label="ordinary training"),
        Line2D([], [], color=plots.GREY, linestyle="-.", linewidth=1.5, label="before training"),
        Line2D([], [], **plots.REFERENCE, label="two perfect features"),
        Line2D([], [], color=plots.BLACK, linestyle=":", linewidth=1.8, label="its part in the family"),
    ]
    fig.legend(handles=keys, loc="outside lower center", ncols=5)
    titles = (ridge.set_title(" "), share.set_title(" "), time.set_title(" "))
    return SimpleNamespace(
        fills=fills,
        lines=lines,
        words=words,
        nearest=nearest,
        before=before,
        now=now,
        here=here,
        tracks=tracks,
        moment=moment,
        titles=titles,
    )


def draw(artists: SimpleNamespace, data: dict) -> None:
    way, rank = data["way"], data["rank"]
    for i, (fill, line, word) in enumerate(zip(artists.fills, artists.lines, artists.words)):
        curve = HEIGHT * data["functions"][i] - i
        tint = TINTS[way](min(1.0, float(data["each"][i]) / MOST))
        fill.set_data(X, curve, -i)
        fill.set_facecolor(tint)
        line.set_data(X, curve)
        line.set_linewidth(2.2 if i == rank - 1 else 0.9)
        word.set_text(f"{data['each'][i]:.0%}, {data['values'][i]:.2g}")
        word.set_fontweight("bold" if i == rank - 1 else "normal")
    artists.nearest.set_data(X, HEIGHT * data["nearest"] - rank + 1)
    ranks = range(1, MAX_RANK + 1)
    artists.before.set_data(ranks, data["before"])
    artists.now.set_data(ranks, data["shares"])
    artists.now.set_color(setup.COLORS[way])
    artists.here.set_data([rank], [data["shares"][rank - 1]])
    for (seeds, whole), past, final in zip(artists.tracks, data["history"], data["final"]):
        for line, track in zip(seeds, past):
            line.set_data(range(len(ITERATIONS)), track)
        whole.set_data(range(len(PROGRESS)), [*past[0], final])
    artists.moment.set_data([PROGRESS.index(data["iteration"])], [data["shares"][rank - 1]])
    artists.titles[0].set_text(
        f"{NAMES[way]}, {data['iteration']:,} iterations: alignment {data['aligned']:.2f}"
    )
    artists.titles[1].set_text(f"Top {rank}: {data['shares'][rank - 1]:.0%} of the family's energy")
    artists.titles[2].set_text(f"Top {rank} over training, three seeds")


def _short(iteration: int) -> str:
    return f"{iteration // 1000}k" if iteration >= 1000 else str(iteration)


def alt(data: dict) -> str:
    shares = ", ".join(f"{share:.0%}" for share in data["each"])
    return (
        f"{NAMES[data['way']]} training, after {data['iteration']:,} iterations. The first eight "
        f"eigenfunctions of the tangent kernel hold {shares} of the sinusoids' energy; the top {data['rank']} "
        f"together {data['shares'][data['rank'] - 1]:.0%}, before training {data['before'][data['rank'] - 1]:.0%}. "
        f"The kernel's alignment with the family is {data['aligned']:.2f}."
    )


def demo() -> Demo:
    """The showpiece of notebook 05; its default view is MAML's network at the end of its training."""
    return Demo(
        "Principal tangent features over training",
        controls=[
            Choice("way", WAYS, "maml", "trained by"),
            Notches("iteration", PROGRESS, PROGRESS[-1], "training iterations"),
            Slider("rank", 1, MAX_RANK, 2, "eigenfunction r"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(9.6, 5.6),
    )
