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
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from course_lib.algorithms.base import Learner, chunks, loss_info, trainable
from course_lib.algorithms.draws import Draws
from course_lib.algorithms.heads import with_info
from course_lib.inner_loop import LossFn, Params, Rate, adapt, per_task, predict
from course_lib.losses import mse
from course_lib.tasks.base import TaskBatch, check_count

ADAM_BETA2, ADAM_EPSILON = 0.999, 1e-8  # the defaults that Reptile's released code leaves in place


class AdamRate:
    """Adam with beta1 = 0 as a rate: alpha / (sqrt(v) + eps), v the mean square of past gradients.

    v begins anew with every run of the inner loop, so that tasks share nothing: a first step is alpha in
    every parameter, up or down. (Reptile's released code carries v from task to task.)
    """

    def __init__(self, lr: float | Tensor):
        self.lr = lr
        self.squares: dict[str, Tensor] = {}
        self.steps: dict[str, int] = {}

    def __call__(self, name: str, grad: Tensor) -> Tensor:
        step = self.steps[name] = self.steps.get(name, 0) + 1
        past = self.squares.get(name, torch.zeros_like(grad))
        square = self.squares[name] = ADAM_BETA2 * past + (1 - ADAM_BETA2) * grad.square()  # [T, ...]
        v = square / (1 - ADAM_BETA2**step)  # without the bias of a start at zero
        return per_task(self.lr, grad) / (v.sqrt() + ADAM_EPSILON)


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
        seed: int = 0,
    ):
        check_count("inner_steps", inner_steps, 1)
        super().__init__(inner_steps, inner_lr, second_order=False, loss_fn=loss_fn)
        if inner_optimizer not in ("sgd", "adam"):
            raise ValueError(f'inner_optimizer must be "sgd" or "adam", not {inner_optimizer!r}')
        self.inner_batch = None if inner_batch is None else check_count("inner_batch", inner_batch, 1)
        self.use_queries = use_queries
        self.inner_optimizer = inner_optimizer
        self.draws = Draws(seed)

    def rate(self) -> float | Tensor | Rate:
        return AdamRate(self.inner_lr) if self.inner_optimizer == "adam" else self.inner_lr

    def points(self, batch: TaskBatch) -> tuple[Tensor, Tensor]:
        """What the inner loop trains on: x [T, N, ...], y [T, N, ...]."""
        if not self.use_queries:
            return batch.support_x, batch.support_y
        return torch.cat([batch.support_x, batch.query_x], 1), torch.cat([batch.support_y, batch.query_y], 1)

    def prepare(self, model: nn.Module, batch: TaskBatch) -> TaskBatch:
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
        if self.inner_batch is None:
            return self.adapt(model, x, y, params)
        rate, task = self.rate(), torch.arange(batch.num_tasks, device=x.device)[:, None]  # [T, 1]
        for picked in batch.info["minibatches"].unbind(1):  # k times [T, B]
            minibatch = x[task, picked], y[task, picked]  # [T, B, ...]
            params = adapt(
                model, params, *minibatch, loss_fn=self.loss_fn, steps=1, lr=rate, second_order=False
            )
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
        return settings | {name: getattr(self, name) for name in names} | {"seed": self.draws.seed}
