"""What every method shares: adapt on the support set, judge on the query set, descend.

    adapted = adapt(model, params, support)                                    the inner loop
    loss    = mean over tasks of loss_fn(predict(adapted, query_x), query_y)
    grads   = d loss / d parameters                                            what the outer loop descends

A method is a ``Learner`` that overrides ``start`` (what a task begins with), ``only`` (what may change), ``rate`` or
``adapt`` (how), or, where the outer loop takes no derivative, ``gradient``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import partial

import torch
from torch import Tensor, nn

from course_lib.engine.pieces import Compute, Sums, in_pieces
from course_lib.inner_loop import Params, Rate, adapt, predict, stack_params, without_autocast
from course_lib.losses import loss_from_settings, loss_settings
from course_lib.tasks.base import TaskBatch
from course_lib.validation import check_count, check_flag, check_losses, check_rate


def method(cls: type) -> type:
    """A learner whose settings are dataclass fields. Their defaults do not stay on the class, where they would hide a
    parameter, buffer or module of that name."""
    cls = dataclass(eq=False, repr=False)(cls)
    for setting in fields(cls):
        if setting.name in vars(cls):
            delattr(cls, setting.name)
    return cls


@dataclass
class Visit:
    """What came of a visit to T training tasks."""

    adapted: Params  # {name: [T, ...]}, where the inner loop ended
    losses: Tensor  # [T], on the query sets
    kept: Params = field(default_factory=dict)  # {name: [T, ...]}, what the learner remembers of these tasks


class Learner(nn.Module):
    """A way to learn an initialisation; a module, so that it can own parameters (a learnt lambda, stored heads)."""

    only: str | Sequence[str] | None = None  # which parameters the inner loop may change; None is all of them

    def __new__(cls, *args, **settings):
        learner = super().__new__(cls)
        nn.Module.__init__(learner)  # before the fields are set
        return learner

    def __post_init__(self):
        if not hasattr(self, "head"):
            self.head = None  # with what head a task begins: the model's own (see heads.py)
        self.prepares = False  # whether something is drawn or looked up for a meta-batch, or remembered of it
        for flag in (f.name for f in fields(self) if f.type in ("bool", bool)):
            check_flag(flag, getattr(self, flag))
        self.inner_steps = check_count("inner_steps", self.inner_steps, 0)
        rate = check_rate("inner_lr", self.inner_lr)
        if isinstance(rate, Tensor) and not isinstance(rate, nn.Parameter):  # a Parameter is learnt
            del self.inner_lr
            self.register_buffer("inner_lr", rate, persistent=False)

    def start(self, model: nn.Module, x: Tensor, y: Tensor) -> Params:
        """What a new task begins with, {name: [T, ...]}, given its support set x [T, S, ...], y [T, S, ...]."""
        params = stack_params(model, len(x))
        return params if self.head is None else self.head.new(params)

    def rate(self, model: nn.Module) -> float | Tensor | Rate:
        """alpha for one run of the inner loop; anew for each run, since a rate may remember gradients."""
        return self.inner_lr

    def adapt(self, model: nn.Module, x: Tensor, y: Tensor, start: Params | None = None) -> Params:
        """Parameters adapted to each task's support set, {name: [T, ...]}, differentiable.

        ``start`` is what the tasks begin with: by default ``self.start(model, x, y)``.
        """
        return adapt(
            model,
            self.start(model, x, y) if start is None else start,
            x,
            y,
            loss_fn=self.loss_fn,
            steps=self.inner_steps,
            lr=self.rate(model),
            only=self.only,
            second_order=self.second_order,
        )

    def visit(self, model: nn.Module, batch: TaskBatch) -> Visit:
        """Adapt to each training task's support set, then be judged on its query set."""
        if self.head is None:
            adapted = self.adapt(model, batch.support_x, batch.support_y)
            return Visit(adapted, self.judge(model, adapted, batch))
        start = self.head.begin(stack_params(model, batch.num_tasks), batch)
        adapted = self.adapt(model, batch.support_x, batch.support_y, start)
        return Visit(adapted, self.judge(model, adapted, batch), self.head.keep(adapted))

    def judge(self, model: nn.Module, params: Params, batch: TaskBatch) -> Tensor:
        """The loss of each task's network on its query set [T]."""
        return check_losses(self.loss_fn(predict(model, params, batch.query_x), batch.query_y), batch.num_tasks)

    def meta_loss(self, model: nn.Module, batch: TaskBatch) -> Tensor:
        """Mean query loss over the tasks: what the outer loop minimises. Computing it changes nothing.

        (Reptile minimises no such loss: there it says how good the adapted parameters are.)
        """
        before = [buffer.clone() for buffer in model.buffers()]
        loss = self.visit(model, self.prepare(model, batch) if self.prepares else batch).losses.mean()
        with torch.no_grad():
            for buffer, value in zip(model.buffers(), before):
                if not buffer.equal(value):  # running statistics; others may be part of the graph
                    buffer.copy_(value)
        return loss

    def meta_gradient(
        self, model: nn.Module, batch: TaskBatch, tasks_at_once: int | None = None, compute: Compute | None = None
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The gradient of ``meta_loss``, a few tasks at a time so that memory need not grow with the meta-batch.

        Args:
            tasks_at_once: how many tasks to hold in memory together; None is all. The result does not depend
                on it.
            compute: what computes in the place of ``gradient`` (see engine/hot_path.py).

        Returns:
            grads {name: like the parameter} for every ``trainable`` parameter, and info: "loss" (scalar) and
            "task_losses" [T], both detached.
        """
        if self.prepares:
            batch = self.prepare(model, batch)
        if compute is None:
            compute = self.gradient if tasks_at_once is None else partial(in_pieces, self.gradient, tasks_at_once)
        grads, losses, kept = compute(model, batch, batch.num_tasks)
        if self.prepares:
            self.remember(batch, kept)
        return grads, {"loss": losses.mean(), "task_losses": losses}

    def gradient(self, model: nn.Module, batch: TaskBatch, num_tasks: int) -> Sums:
        """What these tasks add to d (mean loss of ``num_tasks`` tasks) / d parameters, through the adaptation; their
        losses [T]; what is kept of them."""
        parameters = trainable(self, model)
        visit = self.visit(model, batch)
        loss = visit.losses.sum() / num_tasks
        if not loss.requires_grad:
            raise ValueError("nothing to train: the loss depends on no parameter that requires a gradient")
        with without_autocast(loss.device):
            grads = torch.autograd.grad(loss, list(parameters.values()), materialize_grads=True)
        kept = {name: value.detach() for name, value in visit.kept.items()}
        return dict(zip(parameters, grads)), visit.losses.detach(), kept

    def prepare(self, model: nn.Module, batch: TaskBatch) -> TaskBatch:
        """The meta-batch with what is drawn or looked up for all its tasks together; drawing again gives the same."""
        return self.head.prepare(model, batch)

    def remember(self, batch: TaskBatch, kept: Params) -> None:
        """Keep what came of the tasks, and draw anew next time."""
        self.head.remember(batch, kept)

    def settings(self) -> dict:
        """The constructor's arguments as JSON values, for a record; what may be None and is, is left out."""
        values = {f.name: (_as_json(getattr(self, f.name)), f.default) for f in fields(self)}
        return {name: value for name, (value, default) in values.items() if value is not None or default is MISSING}

    @classmethod
    def from_settings(cls, settings: dict) -> Learner:
        """The learner that ``settings()`` described."""
        settings = settings | {"loss_fn": loss_from_settings(settings["loss_fn"])}
        if isinstance(settings.get("inner_lr"), list):
            settings["inner_lr"] = torch.tensor(settings["inner_lr"])
        return cls(**settings)

    def describe(self) -> str:
        """One line: the method and its settings."""
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in self.settings().items())})"


def trainable(learner: Learner, model: nn.Module) -> dict[str, nn.Parameter]:
    """What the outer loop may change: the model's parameters, and the learner's own under "learner.", but for what is
    frozen (``requires_grad_(False)``)."""
    named = dict(model.named_parameters()) | {f"learner.{n}": p for n, p in learner.named_parameters()}
    return {name: p for name, p in named.items() if p.requires_grad}


def _as_json(value):
    if hasattr(value, "settings"):  # a head, a positive number
        return value.settings()
    if isinstance(value, Tensor):
        return value.tolist()
    return loss_settings(value) if callable(value) else value
