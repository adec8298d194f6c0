"""Networks trained at inner rates on both sides of zero: error on new tasks, from the shipped table.

Nothing is trained here: see ``course_lib.chapters.union.experiments.inner_rate_sign`` and its record.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from course_lib.chapters.union.experiments import inner_rate_sign
from course_lib.chapters.union.experiments.inner_rate_sign import MOMENTS
from course_lib.kit import plots
from course_lib.kit.first_edition import Choice, Demo, Notches
from course_lib.tasks.sinusoid import ZERO_PREDICTOR_MSE

HEADS = {"stored": "200 tasks that come back, a head each", "shared": "new tasks, one shared head"}
COLORS = {"stored": plots.BLUE, "shared": plots.ORANGE}
SCORES = {
    "ridge head on the body": "ridge",
    "1 step of +0.01 on everything": "after_1",
    "10 steps": "after_10",
}
T95 = 4.303  # Student's t for three seeds: 95 % of a t with two degrees of freedom lies within


def summary(errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Geometric mean over seeds [rates], and the factor [rates] its 95 % interval reaches up and down."""
    logs = np.log(errors)  # [rates, seeds]
    return np.exp(logs.mean(1)), np.exp(T95 * logs.std(1, ddof=1) / np.sqrt(logs.shape[1]))


def compute(values: SimpleNamespace) -> dict:
    """Error of both kinds of head against the rate in training, scored when and as chosen."""
    table = inner_rate_sign.load()
    moment = MOMENTS.index(values.iterations)
    seeds = {head: np.array(table["errors"][head][values.score][moment]) for head in HEADS}  # [rates, seeds]
    results = {head: summary(errors) for head, errors in seeds.items()}
    return {
        "score": values.score,
        "iterations": values.iterations,
        "rates": np.array(table["inner_lrs"]),
        "seeds": seeds,
        "mean": {head: mean for head, (mean, _) in results.items()},
        "factor": {head: factor for head, (_, factor) in results.items()},
    }


def figure(fig) -> SimpleNamespace:
    panel = fig.subplots()
    panel.set(xlabel="inner rate in training \N{GREEK SMALL LETTER ALPHA}", ylabel="error on new tasks")
    panel.set(xlim=(-0.033, 0.033), ylim=(0.03, 20), yscale="log")
    panel.axvline(0, color=plots.GREY, linewidth=1)
    panel.axhline(ZERO_PREDICTOR_MSE, **plots.REFERENCE, label="predicting zero")
    lines, bands, dots = {}, {}, {}
    for (head, text), dash, mark in zip(HEADS.items(), plots.DASHES, plots.MARKERS):
        lines[head] = panel.plot([], [], color=COLORS[head], linestyle=dash, label=text)[0]
        bands[head] = panel.fill_between([0], [1], [1], color=COLORS[head], alpha=0.2, linewidth=0)
        dots[head] = panel.plot([], [], mark, color=COLORS[head], markersize=5)[0]
    panel.plot([], [], "o", color=plots.BLACK, markersize=5, label="dots: one seed each")
    fig.legend(loc="outside lower center", ncols=2)
    return SimpleNamespace(lines=lines, bands=bands, dots=dots, title=panel.set_title(" "))


def draw(artists: SimpleNamespace, data: dict) -> None:
    for head in HEADS:
        mean, factor, seeds = data["mean"][head], data["factor"][head], data["seeds"][head]
        artists.lines[head].set_data(data["rates"], mean)
        artists.bands[head].set_data(data["rates"], (mean / factor).clip(0.03), (mean * factor).clip(max=20))
        artists.dots[head].set_data(np.repeat(data["rates"], seeds.shape[1]), seeds.ravel())
    artists.title.set_text(f"After {data['iterations']:,} iterations, scored by: {in_words(data)}")


def in_words(data: dict) -> str:
    return next(text for text, key in SCORES.items() if key == data["score"])


def alt(data: dict) -> str:
    parts = [
        f"{text}: "
        + ", ".join(f"{mean:.2f} at {rate:g}" for rate, mean in zip(data["rates"], data["mean"][head]))
        for head, text in HEADS.items()
    ]
    return (
        f"Error on new tasks after {data['iterations']:,} iterations, scored by: {in_words(data)}, against "
        f"the inner rate in training (geometric mean of three seeds). {'; '.join(parts)}."
    )


def demo() -> Demo:
    """The demo of notebook 06; its default view is the error of a ridge head on the trained body."""
    return Demo(
        "Networks on both sides of zero",
        controls=[
            Choice("score", SCORES, "ridge", "at test time"),
            Notches("iterations", MOMENTS, MOMENTS[-1], "training iterations"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(8.0, 4.6),
    )
