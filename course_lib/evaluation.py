"""Test time: fine-tune on the support set of tasks never seen, judge on their query sets.

Lecture 1.2 leaves two choices, and every learner can be asked for all four combinations:

    head = "ready"   the head the learner brings: meta-learned, or solved from the support set
           "random"  a fresh linear head
    only = None      fine-tune everything
           "head"    fine-tune the head alone
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_lib.algorithms.base import Learner, chunks
from course_lib.algorithms.draws import Draws
from course_lib.algorithms.heads import random_heads
from course_lib.inner_loop import LossFn, Params, adapt, frozen, predict
from course_lib.losses import accuracy, cross_entropy
from course_lib.tasks.base import TaskBatch
from course_lib.training import has_convolutions, threads_for
from course_lib.validation import check_count, check_model

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
        """Half width of the 95 % interval of each mean, 1.96 sd / sqrt(tasks); NaN for a single task."""
        return interval95(self.scores).tolist()

    def after(self, steps: int) -> tuple[float, float]:
        """(mean, half width) after that many steps."""
        at = self.steps.index(steps)
        return self.mean[at], self.ci95[at]

    def __str__(self) -> str:
        unit = "query error" if self.accuracies is None else "accuracy, %"
        rows = [f"{k:5d}   {m:8.3f} +- {c:.3f}" for k, m, c in zip(self.steps, self.mean, self.ci95)]
        return "\n".join([f"steps   {unit} ({self.num_tasks} tasks, 95 %)", *rows])


def interval95(values: Tensor) -> Tensor:
    """Half width of the 95 % interval of the mean over the last dimension: [..., n] -> [...]; NaN of one value."""
    if values.shape[-1] == 1:
        return torch.full_like(values[..., 0], torch.nan)
    return 1.96 * values.std(-1) / math.sqrt(values.shape[-1])


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
    device = next(model.parameters()).device
    generator, heads = torch.Generator().manual_seed(seed), Draws(seed).at_test_time()
    if tasks_at_once is None and device.type == "cpu" and has_convolutions(model):
        tasks_at_once = 1
    only = learner.only if only == LEARNERS_CHOICE else only

    results = []
    was_training = model.training
    model.eval()
    try:
        with threads_for(model, device):
            for first in range(0, num_tasks, DRAW_AT_ONCE):
                drawn = tasks.sample(min(DRAW_AT_ONCE, num_tasks - first), generator=generator)
                for batch in chunks(drawn.to(device), tasks_at_once):
                    start = begin(learner, model, batch, head, heads)
                    rate = learner.rate(model) if lr is None else lr
                    how = {"loss_fn": learner.loss_fn, "steps": steps[-1], "lr": rate, "only": only}
                    tuned = path(model, start, batch.support_x, batch.support_y, **how)
                    rows = [
                        score(learner, model, params, batch, predict_queries)
                        for k, params in enumerate(tuned)
                        if k in steps
                    ]
                    results.append([torch.stack(column).cpu() for column in zip(*rows)])  # [len(steps), T] each
    finally:
        model.train(was_training)
    query, support, accuracies = (torch.cat(part, 1) for part in zip(*results))
    return Evaluation(steps, query, support, accuracies if learner.loss_fn is cross_entropy else None)


def begin(
    learner: Learner, model: nn.Module, batch: TaskBatch, head: str = "ready", heads: torch.Generator | None = None
) -> Params:
    """Where fine-tuning begins for each task: what the learner brings, with a head drawn from ``heads`` if ``head`` is
    "random", or if the learner's own are and there are ``heads`` to draw from."""
    if head not in ("ready", "random"):
        raise ValueError(f'head must be "ready" or "random", not {head!r}')
    start = {name: p.detach() for name, p in learner.start(model, batch.support_x, batch.support_y).items()}
    if head == "ready" and (learner.head.kind != "random" or heads is None):
        return start
    num_outputs, num_features = start["head.weight"].shape[1:]
    fresh = random_heads(batch.num_tasks, num_features, num_outputs, heads)
    return start | {name: values.to(start[name]) for name, values in fresh.items()}


def path(
    model: nn.Module,
    params: Params,
    x: Tensor,
    y: Tensor,
    *,
    loss_fn: LossFn,
    steps: int,
    lr: float | Tensor,
    only: str | None = None,
) -> Iterator[Params]:
    """The parameters after 0, 1, ..., ``steps`` steps of fine-tuning, detached; arguments as for ``adapt``.

    What is frozen in the model does not move.
    """
    still = frozen(model)
    params = {name: p.detach().requires_grad_(name not in still) for name, p in params.items()}
    yield {name: p.detach() for name, p in params.items()}
    for _ in range(check_count("steps", steps, 0)):
        params = adapt(model, params, x, y, loss_fn=loss_fn, steps=1, lr=lr, only=only, second_order=False)
        yield {name: p.detach() for name, p in params.items()}


@torch.no_grad()
def score(
    learner: Learner, model: nn.Module, params: Params, batch: TaskBatch, predict_queries: PredictQueries
) -> tuple[Tensor, Tensor, Tensor]:
    """Query loss, support loss and accuracy on the query set, [T] each; NaN for accuracy unless classifying."""
    outputs = predict_queries(model, params, batch)
    query = learner.loss_fn(outputs, batch.query_y)
    support = learner.loss_fn(predict(model, params, batch.support_x), batch.support_y)
    classifies = learner.loss_fn is cross_entropy
    return query, support, accuracy(outputs, batch.query_y) if classifies else torch.full_like(query, torch.nan)


def two_by_two(learner: Learner, model: nn.Module, tasks, **options) -> dict[tuple[str, str | None], Evaluation]:
    """Lecture 1.2's four cells: {("ready" | "random", None | "head"): Evaluation}; options as for ``evaluate``."""
    return {
        (head, only): evaluate(learner, model, tasks, head=head, only=only, **options)
        for head in ("ready", "random")
        for only in (None, "head")
    }
