"""The same body under every head, few shots to many, on real Omniglot: the shipped table of
``course_lib.chapters.closed_form.experiments.heads_and_shots``, with 95 % intervals."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from course_lib.chapters.closed_form.experiments import heads_and_shots
from course_lib.kit import plots
from course_lib.kit.first_edition import Choice, Demo

BODIES = {
    "ridge head (R2D2)": "r2d2",
    "SVM (MetaOptNet)": "metaoptnet",
    "class means (ProtoNet)": "protonet",
    "union of tasks": "union",
    "MAML": "maml",
    "untrained": "untrained",
}
CLASSES = {"any characters": "any", "of one alphabet": "one alphabet"}
HEADS = {"ridge": plots.PINK, "svm": plots.BLACK, "means": plots.ORANGE}
NAMES = {"ridge": "ridge", "svm": "SVM", "means": "class means"}
MAML = "MAML, everything"


def rows(part: str, body: str, classes: str, head: str) -> tuple[np.ndarray, np.ndarray]:
    """Means and half widths for every number of shots, of "accuracy" or "minus_ridge"."""
    by_shots = heads_and_shots.load()[part][body][classes][head]
    return tuple(np.array(column) for column in zip(*by_shots.values()))


def compute(values: SimpleNamespace) -> dict:
    """All heads on the chosen body; the ridge head on the other bodies; MAML itself."""
    at = values.body, values.classes
    return {
        "body": values.body,
        "classes": values.classes,
        "shots": np.array(heads_and_shots.load()["shots"]),
        "accuracy": {head: rows("accuracy", *at, head) for head in HEADS},
        "others": {body: rows("accuracy", body, values.classes, "ridge")[0] for body in BODIES.values()},
        "maml": rows("accuracy", "maml", values.classes, MAML),
        "differences": {head: rows("minus_ridge", *at, head) for head in HEADS if head != "ridge"},
    }


def figure(fig) -> SimpleNamespace:
    left, right = fig.subplots(1, 2, width_ratios=(1.2, 1))
    shots = heads_and_shots.SHOTS
    left.set(xlabel="shots", ylabel="wrong, of held-out drawings (%)", xscale="log", yscale="log")
    left.set(xlim=(0.9, 11), ylim=(0.25, 80))
    left.set_yticks([0.3, 1, 3, 10, 30], ["0.3", "1", "3", "10", "30"])
    right.set(xlabel="shots", ylabel="points more than the ridge head", xscale="log", xlim=(0.9, 11))
    for panel in (left, right):
        panel.set_xticks(shots, shots)
        panel.minorticks_off()
    right.axhline(0, color=plots.PINK, linestyle="-", linewidth=1.5)
    others = {
        body: left.plot(
            [],
            [],
            color="#c4c4c4",
            linestyle="-",
            linewidth=1.2,
            label="ridge on the other bodies" if i == 0 else "_",
        )[0]
        for i, body in enumerate(BODIES.values())
    }
    maml = left.plot(
        [], [], color=plots.BLUE, linestyle=":", marker="v", markersize=5, label="MAML itself, 1 step"
    )[0]
    lines, gaps, bands = {}, {}, {}
    for (head, color), mark, dash in zip(HEADS.items(), ("o", "s", "D"), ("-", "--", "-.")):
        look = {"color": color, "marker": mark, "markersize": 6, "linestyle": dash}
        lines[head] = left.plot([], [], **look, label=NAMES[head])[0]
        bands["left", head] = left.fill_between([1], [1], [1], color=color, alpha=0.15, linewidth=0)
        if head != "ridge":
            gaps[head] = right.plot([], [], **look)[0]
            bands["right", head] = right.fill_between([1], [0], [0], color=color, alpha=0.15, linewidth=0)
    fig.legend(loc="outside lower center", ncols=5)
    return SimpleNamespace(
        right=right, lines=lines, others=others, maml=maml, gaps=gaps, bands=bands,
        titles=(left.set_title(" "), right.set_title("the same tasks, paired")),
    )  # fmt: skip


def draw(artists: SimpleNamespace, data: dict) -> None:
    shots = data["shots"]
    for head in HEADS:
        mean, half = data["accuracy"][head]
        artists.lines[head].set_data(shots, 100 - mean)
        artists.bands["left", head].set_data(shots, 100 - mean - half, 100 - mean + half)
        if head != "ridge":
            mean, half = data["differences"][head]
            artists.gaps[head].set_data(shots, mean)
            artists.bands["right", head].set_data(shots, mean - half, mean + half)
    for body, line in artists.others.items():
        line.set_data(shots, 100 - data["others"][body])
    artists.maml.set_data(shots, 100 - data["maml"][0])
    wide = max(float((np.abs(mean) + half).max()) for mean, half in data["differences"].values())
    limit = 1.5 if wide < 1.5 else 4 if wide < 4 else 10
    plots.set_limits(artists.right, y=(-limit, limit))
    artists.titles[0].set_text(f"body: {in_words(data)}; 5 ways, Omniglot")


def in_words(data: dict) -> str:
    return next(text for text, body in BODIES.items() if body == data["body"])


def alt(data: dict) -> str:
    ends = ", ".join(
        f"{NAMES[head]} {mean[0]:.1f} and {mean[-1]:.1f}" for head, (mean, _) in data["accuracy"].items()
    )
    where = next(text for text, classes in CLASSES.items() if classes == data["classes"])
    table = heads_and_shots.load()
    return (
        f"Accuracy in % with 1 and with {data['shots'][-1]} shots on {table['test_tasks']} tasks of "
        f"Omniglot, 5 {where}, body: {in_words(data)}: {ends}. "
        f"MAML itself, one step: {data['maml'][0][0]:.1f} and {data['maml'][0][-1]:.1f}."
    )


def demo() -> Demo:
    """The demo of notebook 07; in its default view the heads lie together and the bodies apart."""
    return Demo(
        "The same body, all heads, few shots to many",
        controls=[
            Choice("body", BODIES, "r2d2", "body trained with"),
            Choice("classes", CLASSES, "one alphabet", "classes"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(9.0, 4.8),
    )
