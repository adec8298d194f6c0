"""How wrong a loop's meta-gradient is, against the library's: its length and its direction for several k and alpha."""

from __future__ import annotations

from collections.abc import Callable

import torch

from course_lib.algorithms import MAML
from course_lib.chapters.two_loops.compared import flat, meta_batch
from course_lib.kit import plots
from course_lib.kit.demo import Demo
from course_lib.models import MLP

STEPS, RATES = (1, 2, 3, 5), (0.01, 0.1)
SHORTEST, LONGEST = 0.02, 300.0  # relative lengths shown


def measure(loop: Callable, steps: int, inner_lr: float, num_tasks: int = 10, seed: int = 0) -> tuple[float, float]:
    """(length relative to the library's, cosine with it) of ``loop(model, batch, steps, inner_lr)``'s gradient.

    On the sinusoid network at random weights, in double precision.
    """
    model, batch = MLP(seed=seed).double(), meta_batch(num_tasks, seed)
    expected = flat(MAML(steps, inner_lr).meta_gradient(model, batch)[0])
    got = flat(loop(model, batch, steps, inner_lr))
    return (got.norm() / expected.norm()).item(), torch.cosine_similarity(got, expected, 0).item()


def errors(loop: Callable) -> Demo:
    """A picture of ``measure`` for every k and alpha; a second or two."""
    found = torch.tensor([[measure(loop, k, alpha, num_tasks=5) for k in STEPS] for alpha in RATES])  # [A, K, 2]
    data = {"lengths": found[..., 0].clamp(SHORTEST, LONGEST), "cosines": found[..., 1]}
    exact = bool((found - 1).abs().max() < 1e-6)

    def picture(fig, show) -> None:
        left, right = fig.subplots(1, 2)
        for axes in (left, right):
            axes.set(xlabel="inner steps k", xlim=(0.8, STEPS[-1] + 0.1), xticks=STEPS)
            show.level(axes, 1)
        left.set(yscale="log", ylim=(SHORTEST, LONGEST))
        left.set_yticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
        left.minorticks_off()
        right.set(ylim=(-1.05, 1.2), yticks=[-1, 0, 1])
        show.level(right, 0)
        for row, (alpha, color, mark) in enumerate(zip(RATES, (plots.BLUE, plots.ORANGE), plots.MARKERS)):
            look = {"color": color, "marker": mark, "linestyle": "-", "end": f"α = {alpha:g}", "clip_on": False}
            show.line(left, STEPS, lambda d, row=row: d.lengths[row], **look)
            show.line(right, STEPS, lambda d, row=row: d.cosines[row], **look)
        show.title(
            left, "This loop is right: its gradient is the library's" if exact else "Length (dotted: the library's)"
        )
        show.title(right, "" if exact else "Cosine with the library's")

    def words(d) -> str:
        rows = zip(RATES, d.lengths.tolist(), d.cosines.tolist())
        told = [f"alpha {a:g}: length times {_list(lengths)}, cosine {_list(cosines)}" for a, lengths, cosines in rows]
        return f"The loop's meta-gradient against the library's for k = {STEPS}. {'; '.join(told)}."

    name = getattr(loop, "__name__", "the_loop")
    title, typed = f"{name.replace('_', ' ').capitalize()} against the library", f"wrong_loops.errors({name}).set"
    return Demo(title, [], lambda values: data, picture, words, size=(8.0, 2.7), typed=typed)


def _list(values: list[float]) -> str:
    return ", ".join(f"{value:.2g}" for value in values)
