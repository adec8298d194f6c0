"""What every method shares: adapt on the support set, judge on the query set, differentiate the mean loss.

    adapted = adapt(start(model, support))                       the inner loop
    loss    = mean over tasks of loss_fn(predict(adapted, query_x), query_y)
    grads   = d loss / d parameters                              what the outer loop descends

A method is a ``Learner`` that overrides ``start`` (what a task begins with), ``only`` (what may change), or,
where no derivative is taken, ``meta_gradient``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from course_lib import losses
from course_lib.algorithms.heads import MetaHead, make_head
from course_lib.inner_loop import LossFn, Params, Rate, adapt, backward, predict, stack_params
from course_lib.tasks.base import TaskBatch
from course_lib.validation import check_count, check_model, check_rate

Head = str | dict | MetaHead | None  # how a task's head begins: see heads.py


class Learner(nn.Module):
    """A way to learn an initialisation; a module, so that it can own parameters (a learnt lambda, stored heads)."""

    only: str | None = None  # which parameters the inner loop may change; None is all of them

    def __init__(
        self,
        inner_steps: int,
        inner_lr: float | Tensor,
        second_order: bool,
        loss_fn: LossFn,
        head: Head = None,
    ):
        super().__init__()
        self.inner_steps = check_count("inner_steps", inner_steps, 0)
        self.inner_lr = check_rate("inner_lr", inner_lr)
        self.second_order = second_order
        self.loss_fn = loss_fn
        self.head = make_head(head)

    def start(self, model: nn.Module, x: Tensor, y: Tensor) -> Params:
        """What a new task begins with, {name: [T, ...]}, given its support set x [T, S, ...], y [T, S, ...]."""
        return self.head.new(stack_params(model, x.shape[0]))

    def begin(self, model: nn.Module, batch: TaskBatch) -> Params:
        """What a training task begins with: ``start``, but with the head that is kept or drawn for this task."""
        return self.head(self.start(model, batch.support_x, batch.support_y), batch)

    def prepare(self, model: nn.Module, batch: TaskBatch) -> TaskBatch:
        """The meta-batch with what must be drawn for all its tasks together, before it is cut in pieces.

        Doing it twice changes nothing.
        """
        return self.head.prepare(model, batch)

    def rate(self, model: nn.Module) -> float | Tensor | Rate:
        """alpha for one run of the inner loop; anew for each run, since a rate may remember gradients."""
        return self.inner_lr

    def adapt(self, model: nn.Module, x: Tensor, y: Tensor, start: Params | None = None) -> Params:
        """Parameters adapted to each task's support set, {name: [T, ...]}, differentiable.

        ``start`` is what the tasks begin with: by default ``self.start(model, x, y)``.
        """
        return adapt(
            check_model(model),
            self.start(model, x, y) if start is None else start,
            x,
            y,
            loss_fn=self.loss_fn,
            steps=self.inner_steps,
            lr=self.rate(model),
            only=self.only,
            second_order=self.second_order,
        )

    def task_losses(self, model: nn.Module, batch: TaskBatch) -> Tensor:
        """The query loss of every training task after adapting [T]."""
        batch = self.prepare(model, batch)
        adapted = self.adapt(model, batch.support_x, batch.support_y, self.begin(model, batch))
        self.head.remember(adapted, batch)
        return self.loss_fn(predict(model, adapted, batch.query_x), batch.query_y)

    def meta_loss(self, model: nn.Module, batch: TaskBatch) -> Tensor:
        """Mean query loss over the tasks: what the outer loop minimises."""
        return self.task_losses(model, batch).mean()

    def meta_gradient(
        self, model: nn.Module, batch: TaskBatch, tasks_at_once: int | None = None
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The gradient of ``meta_loss``, a few tasks at a time so that memory need not grow with the meta-batch.

        Args:
            tasks_at_once: how many tasks to hold in memory together; None is all. The result does not depend
                on it.

        Returns:
            grads {name: like the parameter} for every ``trainable`` parameter, and info: "loss" (scalar) and
            "task_losses" [T], both detached.
        """
        parameters = trainable(self, model)
        batch = self.prepare(model, batch)
        grads, task_losses = None, []
        for chunk in chunks(batch, tasks_at_once):
            chunk_losses = self.task_losses(model, chunk)  # [chunk]
            loss = chunk_losses.sum() / batch.num_tasks
            if not loss.requires_grad:
                raise ValueError("nothing to train: the loss depends on no parameter that requires a gradient")
            with backward(loss.device):
                chunk_grads = torch.autograd.grad(loss, list(parameters.values()), materialize_grads=True)
            grads = chunk_grads if grads is None else [a + b for a, b in zip(grads, chunk_grads)]
            task_losses.append(chunk_losses.detach())
        return dict(zip(parameters, grads)), loss_info(task_losses)

    def settings(self) -> dict:
        """The constructor's arguments as JSON values, for a checkpoint's record."""
        rate = self.inner_lr.tolist() if isinstance(self.inner_lr, Tensor) else self.inner_lr
        settings = {
            "inner_steps": self.inner_steps,
            "inner_lr": rate,
            "second_order": self.second_order,
            "loss_fn": self.loss_fn.__name__,
        }
        return settings if self.head.kind == "meta" else settings | {"head": self.head.settings()}

    @classmethod
    def from_settings(cls, settings: dict) -> Learner:
        """The learner that ``settings()`` described."""
        rate = settings.get("inner_lr")
        rate = {"inner_lr": torch.tensor(rate)} if isinstance(rate, list) else {}
        return cls(**settings | rate | {"loss_fn": getattr(losses, settings["loss_fn"])})

    def describe(self) -> str:
        """One line: the method and its settings."""
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in self.settings().items())})"


def trainable(learner: Learner, model: nn.Module) -> dict[str, nn.Parameter]:
    """What the outer loop may change: the model's parameters, and the learner's own under "learner.", but for what is
    frozen (``requires_grad_(False)``)."""
    named = dict(model.named_parameters()) | {f"learner.{n}": p for n, p in learner.named_parameters()}
    return {name: p for name, p in named.items() if p.requires_grad}


def chunks(batch: TaskBatch, tasks_at_once: int | None) -> list[TaskBatch]:
    """The meta-batch in pieces of at most ``tasks_at_once`` tasks."""
    if tasks_at_once is None:
        return [batch]
    size = check_count("tasks_at_once", tasks_at_once, 1)
    return [batch[i : i + size] for i in range(0, batch.num_tasks, size)]


def loss_info(task_losses: list[Tensor]) -> dict[str, Tensor]:
    """What ``meta_gradient`` reports beside the gradients."""
    joined = torch.cat(task_losses)  # [T]
    return {"loss": joined.mean(), "task_losses": joined}
