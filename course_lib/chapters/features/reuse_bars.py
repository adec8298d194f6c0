"""Is the head enough, on sinusoids and on characters: the shipped table of ``experiments.reuse``."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from course_lib.chapters.features.experiments import reuse
from course_lib.kit import plots
from course_lib.kit.demo import Choice, declare
from course_lib.kit.words import several

NAMES = {
    "sinusoid/maml_k1": "sinusoids, trained with k = 1",
    "sinusoid/maml_k5": "sinusoids, trained with k = 5",
    "omniglot/maml": "drawn glyphs (trained on Omniglot)",
    "papers/maml_5way1shot": "Omniglot (the paper's recipe)",
}
PARTS = {"everything": "everything", "head": "the head alone"}
LOOKS = {"everything": {"color": plots.BLUE, "marker": "o"}, "head": {"color": plots.GREEN, "marker": "s"}}


def compute(values: SimpleNamespace) -> dict:
    """Each seed's score of both ways, at their best rates and numbers of steps."""
    rows = {part: reuse.best(values.checkpoint, part) for part in PARTS}
    return {
        "scores": {part: np.array([row["score"] for row in mine]) for part, mine in rows.items()},  # [seeds] each
        "how": {part: (mine[0]["multiple"], mine[0]["steps"]) for part, mine in rows.items()},
        "error": reuse.CHECKPOINTS[values.checkpoint] == "sinusoid",
    }


def picture(fig, show) -> None:
    axes = fig.subplots()
    axes.set(xlim=(-0.6, 1.6), xticks=[0, 1])
    axes.set_xticklabels(list(PARTS.values()), fontsize=11)
    pairs = lambda d: [np.array([(0, a), (1, b)]) for a, b in zip(d.scores["everything"], d.scores["head"])]
    show.paths(axes, pairs, color=plots.FAINT, linewidth=1.2)
    for place, part in enumerate(PARTS):
        each = lambda d, part=part, place=place: np.stack([np.full(len(d.scores[part]), place), d.scores[part]], 1)
        show.points(axes, each, **LOOKS[part], markersize=7, markeredgecolor="white")
        middle = {"color": plots.INK, "marker": "_", "markersize": 46, "markeredgewidth": 2}
        show.points(axes, place, lambda d, part=part: np.median(d.scores[part]), **middle)
        said = lambda d, part=part: f"{np.median(d.scores[part]):.3g}{'' if d.error else ' %'}"
        beside = {"va": "center", "fontsize": 11, "ha": "left" if place else "right"}  # away from the paths between
        aside = place + (0.13 if place else -0.13)
        show.text(axes, aside, lambda d, part=part: np.median(d.scores[part]), said, **beside)
    show.limits(
        axes, y=lambda d: (0, plots.nice_ceiling(max(map(np.max, d.scores.values())))) if d.error else (80, 101)
    )
    label = lambda d: axes.yaxis.label.set_text("held-out error, median of 24 tasks" if d.error else "accuracy, %")
    show.also(label)
    show.title(axes, verdict)


def verdict(d) -> str:
    both, head = (float(np.median(d.scores[part])) for part in PARTS)
    if d.error:
        return f"The head alone leaves {head / both:.2g} times the error"
    return f"The head alone is {abs(head - both):.2g} points {'behind' if head < both else 'ahead'}"


def words(d) -> str:
    how = ", ".join(
        f"{PARTS[part]} {np.median(d.scores[part]):.3g} (rate times {m}, {several(steps, 'step')})"
        for part, (m, steps) in d.how.items()
    )
    kind = "error" if d.error else "accuracy in %"
    return f"{NAMES[d.checkpoint]}: median {kind} of {len(d.scores['head'])} draws of tasks: {how}. {verdict(d)}."


demo = declare(
    "Is the head enough elsewhere?",
    [Choice("checkpoint", NAMES, "omniglot/maml", "network and tasks")],
    compute,
    picture,
    words,
    size=(9.4, 3.8),
    views={
        "drawn glyphs": {},
        "Omniglot": {"checkpoint": "papers/maml_5way1shot"},
        "sinusoids": {"checkpoint": "sinusoid/maml_k1"},
    },
)
