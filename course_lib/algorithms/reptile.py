"""Reptile: move the initialisation toward where the inner loop ends. No derivative is taken.

    theta'_i = k steps of SGD (or Adam) from theta on task i
    theta   <- theta + epsilon (mean_i theta'_i - theta)

Nichol, Achiam, Schulman 2018, arXiv 1803.02999, algorithm 2. ``meta_gradient`` returns theta - mean_i
theta'_i, so ``torch.optim.SGD`` with lr = epsilon makes exactly this step, and the paper's falling epsilon is
a schedule:

    meta_train(Reptile(...), model, tasks, outer_lr=1.0, optimizer=torch.optim.SGD, schedule=linear_decay)

With k = 1 and plain SGD this is joint training, at the rate epsilon alpha. What makes it more is k > 1 on
MINIBATCHES of a task: then the step also raises the agreement between gradients of different minibatches
(section 5.1).

Sinusoid, 5,000 iterations of 25 tasks as above, k = 5, alpha = 0.02: 1.5 times as long as MAML with k = 1. Query
error after 1 / 5 / 10 steps (10 shots, 600 tasks, seed 0):

    support set alone (10 points)                        0.77 / 0.30 / 0.25
    minibatches of 10 of all 20 points                   0.65 / 0.21 / 0.17
    the same, outer Adam at 1e-3 in place of epsilon     0.61 / 0.21 / 0.16
    k = 1, support set alone, outer Adam: joint training 3.32 / 2.40 / 1.89

Omniglot, 5-way 1-shot, 40,000 of the paper's 100,000 iterations, transductive: 97.9 if Adam's mean squares are
carried from task to task as in the released code, 83.1 if they begin anew (the paper has 97.68).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from course_lib.algorithms.base import Learner, chunks, loss_info, trainable
from course_lib.algorithms.draws import Draws
from course_lib.algorithms.heads import with_info
from course_lib.inner_loop import LossFn, Params, Rate, adapt, per_task, predict
from course_lib.losses import mse
from course_lib.tasks.base import TaskBatch
from course_lib.validation import check_count

ADAM_BETA2, ADAM_EPSILON = 0.999, 1e-8  # the defaults that Reptile's released code leaves in place


class AdamRate:
    """Adam with beta1 = 0 as a rate: alpha / (sqrt(v) + eps), v the mean square of past gradients.

    Args:
        lr: alpha, one for all or one per task [T].
        squares: v to begin with, {name: [T, ...]}; none is zero, and a first step is then alpha in every parameter,
            up or down.
        seen: how many gradients are in ``squares``, a number or one per task [T].
    """

    def __init__(self, lr: float | Tensor, squares: Params | None = None, seen: float | Tensor = 0.0):
        self.lr, self.seen = lr, seen
        self.squares: dict[str, Tensor] = dict(squares or {})
        self.steps: dict[str, int] = {}

    def __call__(self, name: str, grad: Tensor) -> Tensor:
        step = self.steps[name] = self.steps.get(name, 0) + 1
        past = self.squares.get(name, torch.zeros_like(grad))
        square = self.squares[name] = ADAM_BETA2 * past + (1 - ADAM_BETA2) * grad.square()  # [T, ...]
        v = square / (1 - ADAM_BETA2 ** (per_task(self.seen, grad) + step))  # without the bias of a start at zero
        return per_task(self.lr, grad) / (v.sqrt() + ADAM_EPSILON)


class CarriedSquares(nn.Module):
    """Adam's mean squares as they pass from meta-batch to meta-batch: the mean of where its tasks ended.

    In the state dict as one vector, how many gradients they have seen first: ``_extra_state`` [1 + P].
    """

    def __init__(self):
        super().__init__()
        self.seen = 0
        self.register_buffer("ended", torch.zeros(1, 0), persistent=False)  # [T, P], the last meta-batch's

    def begin(self, model: nn.Module, num_tasks: int) -> dict[str, Tensor]:
        """What each of the tasks begins with, to travel in ``batch.info``: "squares" [T, P], "seen" [T], "row" [T]."""
        mean, like = self.mean(model), next(model.parameters())
        if len(self.ended) != num_tasks or self.ended.shape[1:] != mean.shape:
            self.ended = mean.repeat(num_tasks, 1)
        seen = torch.full((num_tasks,), float(self.seen)).to(like)
        return {"squares": mean.expand(num_tasks, -1), "seen": seen, "row": torch.arange(num_tasks, device=like.device)}

    def mean(self, model: nn.Module) -> Tensor:
        """The mean squares now [P]."""
        like = next(model.parameters())
        size = sum(p.numel() for p in model.parameters())
        return (self.ended if self.ended.shape[1] else self.ended.new_zeros(1, size)).to(like).mean(0)

    @torch.no_grad()
    def remember(self, row: Tensor, squares: Params) -> None:
        """Keep where tasks ended: each its own row, so that workers do not meet."""
        self.ended[row] = torch.cat([square.flatten(1) for square in squares.values()], 1)

    def get_extra_state(self) -> Tensor:
        return torch.cat([self.ended.new_tensor([self.seen]), self.ended.mean(0)])

    def set_extra_state(self, state: Tensor) -> None:
        self.seen, self.ended = int(state[0]), state[1:].clone().unsqueeze(0)


def unflatten(vector: Tensor, model: nn.Module) -> Params:
    """[T, P] -> {name: [T, ...]}, in the order of the model's parameters."""
    named = dict(model.named_parameters())
    parts = vector.split([p.numel() for p in named.values()], 1)
    return {name: part.unflatten(1, p.shape) for (name, p), part in zip(named.items(), parts)}


class Reptile(Learner):
    """k steps of gradient descent on every parameter; the outer loop moves toward the result.

    Args:
        inner_steps: k, at least 1.
        inner_lr: alpha; one rate or one per task [T].
        loss_fn: (outputs, targets) -> one mean per task [T].
        inner_batch: B, points in each inner step: the task's points are shuffled and dealt out, B a step, and
            shuffled again when they run out, as in the released code. None takes all points at every step.
        use_queries: train on the query points too. Reptile needs no held-out set in training; with all of a
            task's points in the loop, minibatches differ more.
        inner_optimizer: "sgd", or "adam" with beta1 = 0 as for the paper's Omniglot.
        carry: let Adam's mean squares pass from task to task, and on to test time, as the released code does; else
            they begin at zero with every task.
        seed: of the shuffling; which a resumed run takes up where it was.
    """

    def __init__(
        self,
        inner_steps: int = 5,
        inner_lr: float | Tensor = 0.02,  # of the released sinusoid demonstration
        loss_fn: LossFn = mse,
        inner_batch: int | None = None,
        use_queries: bool = False,
        inner_optimizer: str = "sgd",
        carry: bool = False,
        seed: int = 0,
    ):
        check_count("inner_steps", inner_steps, 1)
        super().__init__(inner_steps, inner_lr, second_order=False, loss_fn=loss_fn)
        if inner_optimizer not in ("sgd", "adam"):
            raise ValueError(f'inner_optimizer must be "sgd" or "adam", not {inner_optimizer!r}')
        self.inner_batch = None if inner_batch is None else check_count("inner_batch", inner_batch, 1)
        self.use_queries = use_queries
        if carry and inner_optimizer != "adam":
            raise ValueError('carry=True is for inner_optimizer="adam": gradient descent has nothing to carry')
        self.inner_optimizer = inner_optimizer
        self.carried = CarriedSquares() if carry else None
        self.draws = Draws(seed)

    def rate(self, model: nn.Module) -> float | Tensor | Rate:
        if self.carried is None:
            return AdamRate(self.inner_lr) if self.inner_optimizer == "adam" else self.inner_lr
        return AdamRate(self.inner_lr, unflatten(self.carried.mean(model)[None], model), self.carried.seen)

    def points(self, batch: TaskBatch) -> tuple[Tensor, Tensor]:
        """What the inner loop trains on: x [T, N, ...], y [T, N, ...]."""
        if not self.use_queries:
            return batch.support_x, batch.support_y
        return torch.cat([batch.support_x, batch.query_x], 1), torch.cat([batch.support_y, batch.query_y], 1)

    def prepare(self, model: nn.Module, batch: TaskBatch) -> TaskBatch:
        if self.carried is not None and "squares" not in batch.info:
            batch = with_info(batch, self.carried.begin(model, batch.num_tasks))
            self.carried.seen += self.inner_steps
        if self.inner_batch is None or "minibatches" in batch.info:
            return batch
        num_points = batch.support_x.shape[1] + self.use_queries * batch.query_x.shape[1]
        if self.inner_batch > num_points:
            raise ValueError(f"inner_batch={self.inner_batch}, but a task has {num_points} points to train on")
        wanted = self.inner_steps * self.inner_batch
        rounds = -(-wanted // num_points)  # times that all points are dealt out
        score = torch.rand(batch.num_tasks, rounds, num_points, generator=self.draws.next())
        order = score.argsort(-1).flatten(1)[:, :wanted]  # [T, k B]: one shuffled round after another
        minibatches = order.view(-1, self.inner_steps, self.inner_batch)  # [T, k, B]
        return with_info(batch, {"minibatches": minibatches.to(batch.support_x.device, non_blocking=True)})

    def adapt_in_training(self, model: nn.Module, batch: TaskBatch) -> Params:
        """Where the inner loop ends on each training task, {name: [T, ...]}."""
        x, y = self.points(batch)
        params = self.begin(model, batch)
        rate, task = self.rate(model), torch.arange(batch.num_tasks, device=x.device)[:, None]  # [T, 1]
        if self.carried is not None:
            rate = AdamRate(self.inner_lr, unflatten(batch.info["squares"], model), batch.info["seen"])
        how = {"loss_fn": self.loss_fn, "lr": rate, "second_order": False}
        if self.inner_batch is None:
            params = adapt(model, params, x, y, steps=self.inner_steps, **how)
        else:
            for picked in batch.info["minibatches"].unbind(1):  # k times [T, B]
                params = adapt(model, params, x[task, picked], y[task, picked], steps=1, **how)
        if self.carried is not None:
            self.carried.remember(batch.info["row"], rate.squares)
        return params

    def task_losses(self, model: nn.Module, batch: TaskBatch) -> Tensor:
        adapted = self.adapt_in_training(model, self.prepare(model, batch))
        return self.loss_fn(predict(model, adapted, batch.query_x), batch.query_y)

    def meta_gradient(
        self, model: nn.Module, batch: TaskBatch, tasks_at_once: int | None = None
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """theta - mean_i theta'_i, in the place of a gradient; "task_losses" are the query losses at theta'_i."""
        theta = trainable(self, model)
        batch = self.prepare(model, batch)
        grads, task_losses = {name: torch.zeros_like(p) for name, p in theta.items()}, []
        for chunk in chunks(batch, tasks_at_once):
            adapted = self.adapt_in_training(model, chunk)
            with torch.no_grad():
                task_losses.append(self.loss_fn(predict(model, adapted, chunk.query_x), chunk.query_y))
                for name in grads:
                    grads[name] += (theta[name] - adapted[name]).sum(0) / batch.num_tasks
        return grads, loss_info(task_losses)

    def settings(self) -> dict:
        settings = super().settings()
        del settings["second_order"]
        names = ("inner_batch", "use_queries", "inner_optimizer")
        own = {name: getattr(self, name) for name in names} | {"carry": self.carried is not None}
        return settings | own | {"seed": self.draws.seed}
