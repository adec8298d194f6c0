"""Six hundred tasks: the mean error after each step with its interval, the median, and the tasks that go wrong."""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import numpy as np

from course_lib import checkpoints
from course_lib.chapters.adapting import adapting
from course_lib.evaluation import Evaluation, evaluate
from course_lib.kit import plots
from course_lib.kit.demo import Button, Choice, Slider, declare
from course_lib.tasks import SinusoidTasks
from course_lib.tasks.sinusoid import ZERO_PREDICTOR_MSE

NUM_TASKS, MAX_STEPS, SHOTS, INNER_LR = 600, 10, 5, 0.01  # as in the MAML paper's table 2
STARTS = adapting.MAML | {"pretrained": "pre-trained, one head"}
WILD = 20.0  # an error no sinusoid of amplitude 5 deserves: predicting zero costs at most 25 / 2
HIGHEST = 1e3  # errors count as that beyond it


@lru_cache(maxsize=32)
def measure(start: str, seed: int) -> Evaluation:
    """600 tasks of five points after 0, 1, ..., 10 steps."""
    model, learner, _ = checkpoints.load(f"sinusoid/{start}")
    tasks = SinusoidTasks(shots=SHOTS, queries=50)
    return evaluate(learner, model, tasks, NUM_TASKS, range(MAX_STEPS + 1), seed, lr=INNER_LR)


def compute(values: SimpleNamespace) -> dict:
    """Means, half widths and medians against k [11], and all errors after ``values.steps``, sorted [600].

    Where a task's fine-tuning diverged there is no mean to speak of: NaN.
    """
    result = measure(values.start, values.new_tasks)
    errors = result.query_losses.nan_to_num(HIGHEST, HIGHEST).clip(max=HIGHEST)  # [11, 600]
    diverged = ~(np.array(result.mean) + result.ci95 < HIGHEST)
    return {
        "mean": np.where(diverged, np.nan, result.mean),
        "half": np.where(diverged, np.nan, result.ci95),
        "median": errors.median(1).values,
        "sorted": errors[values.steps].sort().values,
        "wild": int((errors[values.steps] > WILD).sum()),
    }


def picture(fig, show) -> None:
    left, right = fig.subplots(1, 2, width_ratios=(1.1, 1))
    steps = range(MAX_STEPS + 1)
    left.set(xlabel="inner steps k", ylabel="held-out error", xlim=(0, MAX_STEPS), yscale="log", ylim=(0.05, 20))
    left.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
    show.level(left, ZERO_PREDICTOR_MSE, "predicting zero")
    low, high = (lambda d, sign=sign: np.maximum(d["mean"] + sign * d.half, 1e-3) for sign in (-1, 1))
    show.band(left, steps, low, high, color=plots.BLUE)
    show.line(left, steps, "mean", color=plots.BLUE, linestyle="-", end="mean", pin=True)
    show.line(left, steps, "median", color=plots.GREEN, linestyle="--", end="median")
    look = {"color": plots.BLACK, "marker": "D", "markersize": 5, "clip_on": False, "zorder": 4}
    show.points(left, [*adapting.PUBLISHED], [*adapting.PUBLISHED.values()], **look)
    left.text(0.98, 0.98, adapting.PAPER, transform=left.transAxes, ha="right", va="top", fontsize=9)
    show.points(left, "steps", lambda d: d["mean"][d.steps], **plots.HERE, zorder=5, clip_on=False)
    show.title(left, lambda d: f"k = {d.steps}: {mean_of(d)}")

    right.set(xlabel="tasks, from the best to the worst", ylabel="held-out error", yscale="log", ylim=(1e-3, HIGHEST))
    right.set_xlim(0, NUM_TASKS + 5)
    show.level(right, WILD, "predicting zero never costs this", at=0.02)
    color = lambda d: [plots.ORANGE if error > WILD else plots.BLUE for error in d.sorted]
    dots = lambda d: np.stack([np.arange(1, NUM_TASKS + 1), d.sorted], 1)
    show.scatter(right, dots, s=lambda d: 9, c=color, clip_on=False)
    show.title(right, lambda d: f"{d.wild} of {NUM_TASKS} go wrong" if d.wild else "No task goes wrong")


def mean_of(d, what: str = "") -> str:
    mean, half = d["mean"][d.steps], d.half[d.steps]
    return f"mean {what}{mean:.2f} ± {half:.2f}" if np.isfinite(mean) else "a task diverged: no mean"


def words(d) -> str:
    return (
        f"{STARTS[d.start]}, {SHOTS} points, k = {d.steps}: {mean_of(d, 'held-out error ')} (95 %), median "
        f"{d.median[d.steps]:.2f}; {d.wild} of {NUM_TASKS} tasks have an error above {WILD:g}. Diamonds: the MAML "
        "paper's means."
    )


demo = declare(
    "Six hundred tasks",
    [
        Choice("start", STARTS, "maml_k1", "start from"),
        Slider("steps", 0, MAX_STEPS, 5, "inner steps k"),
        Button("new_tasks", "600 other tasks"),
    ],
    compute,
    picture,
    words,
    size=(9.4, 4.4),
    may_diverge=("mean", "half"),
    views={
        "five steps": {},
        "one step": {"steps": 1},
        "tuned": {"start": "maml_k5_tuned"},
        "one head": {"start": "pretrained"},
    },
)
