"""Test time: fine-tune on the support set of tasks never seen, judge on their query sets.

Lecture 1.2 leaves two choices, and every learner can be asked for all four combinations:

    head = "ready"   the head the learner brings: meta-learned, or solved from the support set
           "random"  a fresh linear head
    only = None      fine-tune everything
           "head"    fine-tune the head alone
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_lib.algorithms.base import Learner
from course_lib.algorithms.fitted import FittedHead
from course_lib.algorithms.heads import RandomHead, check_linear, random_heads
from course_lib.engine.run import Draws, modes, threads_for
from course_lib.inner_loop import Params, frozen, predict, trajectory
from course_lib.losses import accuracy, classifies
from course_lib.models import has_convolutions
from course_lib.tasks.base import TaskBatch
from course_lib.validation import check_choice, check_count, check_losses, check_model

DRAW_AT_ONCE = 200  # tasks sampled together, which bounds memory; part of what a seed means
LEARNERS_CHOICE = "learner"  # for ``only``: fine-tune what the learner's inner loop may change


@dataclass(frozen=True)
class Evaluation:
    """Query and support error of every test task after each number of fine-tuning steps.

    ``query_losses``, ``support_losses`` [len(steps), tasks]; ``accuracies`` alike in 0..1, for classification.
    """

    steps: list[int]
    query_losses: Tensor
    support_losses: Tensor
    accuracies: Tensor | None = None

    @property
    def num_tasks(self) -> int:
        return self.query_losses.shape[1]

    @property
    def scores(self) -> Tensor:
        """What is reported: accuracy in % for classification, else query loss [len(steps), tasks]."""
        return self.query_losses if self.accuracies is None else 100 * self.accuracies

    @property
    def mean(self) -> list[float]:
        """Mean score over tasks after each number of steps."""
        return self.scores.mean(1).tolist()

    @property
    def ci95(self) -> list[float]:
        """Half width of the 95 % interval of each mean (see ``interval95``); NaN for a single task."""
        return interval95(self.scores).tolist()

    def after(self, steps: int) -> tuple[float, float]:
        """(mean, half width) after that many steps."""
        at = self.steps.index(steps)
        return self.mean[at], self.ci95[at]

    def __str__(self) -> str:
        unit = "query error" if self.accuracies is None else "accuracy, %"
        rows = [f"{k:5d}   {m:8.3f} +- {c:.3f}" for k, m, c in zip(self.steps, self.mean, self.ci95)]
        return "\n".join([f"steps   {unit} ({self.num_tasks} tasks, 95 %)", *rows])


T_QUANTILES = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281, 2.2010, 2.1788, 2.1604)


def interval95(values: Tensor) -> Tensor:
    """Half width of the 95 % interval of the mean over the last dimension: [..., n] -> [...]; NaN of one value.

    t sd / sqrt(n), with Student's t for n - 1 degrees of freedom: few values know their own spread badly.
    """
    degrees = values.shape[-1] - 1
    if degrees < 1:
        return torch.full_like(values[..., 0], torch.nan)
    z, t = 1.959964, T_QUANTILES[min(degrees, len(T_QUANTILES)) - 1]
    if degrees > len(T_QUANTILES):  # Abramowitz and Stegun, Handbook of Mathematical Functions, equation 26.7.5
        first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
        third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
        t = z + first / degrees + second / degrees**2 + third / degrees**3
    return t * values.std(-1) / (degrees + 1) ** 0.5


PredictQueries = Callable[[nn.Module, Params, TaskBatch], Tensor]  # -> outputs on the query sets [T, Q, ...]


def all_together(model: nn.Module, params: Params, batch: TaskBatch) -> Tensor:
    """Outputs on the query sets, all query points of a task in one batch: [T, Q, ...]."""
    return predict(model, params, batch.query_x)


def evaluate(
    learner: Learner,
    model: nn.Module,
    tasks,
    num_tasks: int = 600,
    steps: Sequence[int] = (0, 1, 5, 10),
    seed: int = 0,
    *,
    head: str = "ready",
    only: str | None = LEARNERS_CHOICE,
    lr: float | None = None,
    tasks_at_once: int | None = None,
    predict_queries: PredictQueries = all_together,
) -> Evaluation:
    """Fine-tune on ``num_tasks`` tasks and score them after each number of steps.

    Step 0 is what the learner brings: the initialisation for MAML, the solved head for R2D2.

    Args:
        steps: numbers of gradient steps, at least 0; sorted and made unique.
        seed: of the tasks, and apart from them of random heads: task i gets draw i. One seed gives every learner and
            every choice of head the same tasks.
        head: "ready" or "random"; a learner that trained with random heads brings no other.
        only: "learner" (what its inner loop changes), None (everything), or a name.
        lr: rate of fine-tuning; None is the learner's own.
        tasks_at_once: how many tasks to hold together; None is all for small networks, 1 with convolutions on a CPU.
        predict_queries: outputs on the query sets; where batch norm takes the statistics of the batch it matters which
            points share one (see ``transduction``).

    Raises:
        ValueError: no or negative steps, an unknown ``head`` or ``only``.
    """
    check_model(model)
    check_count("num_tasks", num_tasks, 1)
    steps = sorted({check_count("steps", k, 0) for k in steps})
    if not steps:
        raise ValueError("steps must name at least one number of steps, such as [0, 1, 10]")
    like = next(model.parameters())
    generator, heads = torch.Generator().manual_seed(seed), Draws(seed).at_test_time()
    if tasks_at_once is None and like.device.type == "cpu" and has_convolutions(model):
        tasks_at_once = 1
    only = learner.only if only == LEARNERS_CHOICE else only

    results = []
    with modes(model, training=False), threads_for(model, like.device):
        for first in range(0, num_tasks, DRAW_AT_ONCE):
            drawn = tasks.sample(min(DRAW_AT_ONCE, num_tasks - first), generator=generator)
            drawn = drawn.to(like.device, like.dtype)
            if isinstance(learner, FittedHead):
                drawn = learner.count_ways(drawn)
            for batch in drawn.split(tasks_at_once):
                start = test_start(learner, model, batch, head, heads)
                tuned = fine_tuned(learner, model, batch, start, steps, lr, only)
                rows = [score(learner, model, params, batch, predict_queries) for params in tuned]
                results.append([torch.stack(column).cpu() for column in zip(*rows)])  # [len(steps), tasks] each
    return Evaluation(steps, *(torch.cat(part, 1) for part in zip(*results)))


def fine_tuned(
    learner: Learner,
    model: nn.Module,
    batch: TaskBatch,
    start: Params,
    steps: Sequence[int],
    lr: float | None,
    only: str | Sequence[str] | None,
) -> Iterator[Params]:
    """The parameters after each of ``steps``, from fewest to most, detached.

    Plain gradient steps are walked once; a learner with an ``adapt`` of its own is run anew for each number.
    """
    x, y = batch.support_x, batch.support_y
    if type(learner).adapt is Learner.adapt:
        rate = learner.rate(model) if lr is None else lr
        walk = trajectory(model, start, x, y, loss_fn=learner.loss_fn, steps=steps[-1], lr=rate, only=only)
        yield from (params for k, params in enumerate(walk) if k in steps)
        return
    own, still = copy.deepcopy(learner), frozen(model)
    own.only = only
    if lr is not None:
        del own.inner_lr  # a number, a buffer or a parameter
        own.inner_lr = lr
    for own.inner_steps in steps:
        leaves = {name: p.detach().requires_grad_(name not in still) for name, p in start.items()}
        with torch.enable_grad():
            adapted = own.adapt(model, x, y, leaves)
        yield {name: p.detach() for name, p in adapted.items()}


def test_start(
    learner: Learner, model: nn.Module, batch: TaskBatch, head: str = "ready", heads: torch.Generator | None = None
) -> Params:
    """Where fine-tuning begins for each task: what the learner brings, with a head drawn from ``heads`` if ``head`` is
    "random", or if the learner's own are and there are ``heads`` to draw from."""
    check_choice("head", head, ("ready", "random"))
    classes = batch.info.get("classes") if isinstance(learner, FittedHead) else None  # [T, W]
    ways = () if classes is None else (classes.shape[1],)
    start = {name: p.detach() for name, p in learner.start(model, batch.support_x, batch.support_y, *ways).items()}
    if head == "ready" and not (isinstance(learner.head, RandomHead) and heads is not None):
        return start
    num_outputs, num_features = check_linear(start).shape[1:]
    fresh = random_heads(batch.num_tasks, num_features, num_outputs, heads)
    return start | {name: values.to(start[name]) for name, values in fresh.items()}


@torch.no_grad()
def score(
    learner: Learner, model: nn.Module, params: Params, batch: TaskBatch, predict_queries: PredictQueries
) -> list[Tensor]:
    """Query loss, support loss, and for classification accuracy on the query set, [T] each."""
    outputs = predict_queries(model, params, batch)
    query = check_losses(learner.loss_fn(outputs, batch.query_y), batch.num_tasks)
    support = learner.loss_fn(predict(model, params, batch.support_x), batch.support_y)
    return [query, support, *([accuracy(outputs, batch.query_y)] if classifies(outputs, batch.query_y) else [])]


def two_by_two(learner: Learner, model: nn.Module, tasks, **options) -> dict[tuple[str, str | None], Evaluation]:
    """Lecture 1.2's four cells: {("ready" | "random", None | "head"): Evaluation}; options as for ``evaluate``."""
    return {
        (head, only): evaluate(learner, model, tasks, head=head, only=only, **options)
        for head in ("ready", "random")
        for only in (None, "head")
    }
