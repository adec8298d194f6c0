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

Sinusoid, 5,000 iterations of 25 tasks, k = 5, alpha = 0.02: 1.5 times as long as MAML with k = 1; query error about 0.7
after one step and 0.2 after ten (10 shots). What the variants are worth is measured in chapters/reptile.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from course_lib.algorithms.adam import AdamRate, CarriedSquares
from course_lib.algorithms.base import Learner, Sums, Visit, method, trainable
from course_lib.engine.run import Draws
from course_lib.inner_loop import Params, Rate, adapt, stack_params, unflatten
from course_lib.losses import LossFn, mse
from course_lib.tasks.base import TaskBatch
from course_lib.validation import check_choice, check_count


@method
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

    inner_steps: int = 5
    inner_lr: float | Tensor = 0.02  # of the released sinusoid demonstration
    loss_fn: LossFn = mse
    inner_batch: int | None = None
    use_queries: bool = False
    inner_optimizer: str = "sgd"
    carry: bool = False
    seed: int = 0

    second_order = False

    def __post_init__(self):
        super().__post_init__()
        check_count("inner_steps", self.inner_steps, 1)
        check_choice("inner_optimizer", self.inner_optimizer, ("sgd", "adam"))
        if self.inner_batch is not None:
            self.inner_batch = check_count("inner_batch", self.inner_batch, 1)
        if self.carry and self.inner_optimizer != "adam":
            raise ValueError('carry=True is for inner_optimizer="adam": gradient descent has nothing to carry')
        if isinstance(self.inner_lr, nn.Parameter):
            raise ValueError("Reptile takes no derivative, so it cannot learn its inner_lr: give a number, or use MAML")
        if any(name.startswith("loss_fn.") and p.requires_grad for name, p in self.named_parameters()):
            raise ValueError("Reptile takes no derivative, so it cannot learn its loss: freeze the loss, or use MAML")
        self.carried = CarriedSquares() if self.carry else None
        self.draws = Draws(self.seed)
        self.prepares = self.inner_batch is not None or self.carry

    def rate(self, model: nn.Module) -> float | Tensor | Rate:
        if self.inner_optimizer == "sgd":
            return self.inner_lr
        if not self.carry:
            return AdamRate(self.inner_lr)
        return self.carried_on(model, self.carried.now(model)[None], self.carried.seen)

    def carried_on(self, model: nn.Module, squares: Tensor, seen: float | Tensor) -> AdamRate:
        """Adam that begins with ``squares`` [T, P] of ``seen`` gradients."""
        like = stack_params(model, len(squares))
        return AdamRate(self.inner_lr, unflatten(squares, like, list(like)), seen)

    def points(self, batch: TaskBatch) -> tuple[Tensor, Tensor]:
        """What the inner loop trains on: x [T, N, ...], y [T, N, ...]."""
        if not self.use_queries:
            return batch.support_x, batch.support_y
        return torch.cat([batch.support_x, batch.query_x], 1), torch.cat([batch.support_y, batch.query_y], 1)

    def visit(self, model: nn.Module, batch: TaskBatch) -> Visit:
        """Where the inner loop ends on each training task; its query losses are only looked at."""
        x, y = self.points(batch)
        params = self.start(model, batch.support_x, batch.support_y)
        info = batch.info
        rate = self.carried_on(model, info["squares"], info["seen"]) if self.carry else self.rate(model)
        how = {"loss_fn": self.loss_fn, "lr": rate, "only": self.only, "second_order": False}
        if self.inner_batch is None:
            params = adapt(model, params, x, y, steps=self.inner_steps, **how)
        else:
            task = torch.arange(batch.num_tasks, device=x.device)[:, None]  # [T, 1]
            for picked in info["minibatches"].unbind(1):  # k times [T, B]
                params = adapt(model, params, x[task, picked], y[task, picked], steps=1, **how)
        with torch.no_grad():
            losses = self.judge(model, params, batch)
        return Visit(params, losses, rate.squares if self.carry else {})

    def gradient(self, model: nn.Module, batch: TaskBatch, num_tasks: int) -> Sums:
        """theta - mean_i theta'_i, in the place of a gradient."""
        parameters = trainable(self, model)
        visit = self.visit(model, batch)
        with torch.no_grad():
            moves = {name: (theta - visit.adapted[name]).sum(0) / num_tasks for name, theta in parameters.items()}
        return moves, visit.losses, visit.kept

    def prepare(self, model: nn.Module, batch: TaskBatch) -> TaskBatch:
        """The meta-batch with ``info["minibatches"]`` [T, k, B]: which points each inner step trains on; and with the
        squares carried on, "squares" [T, P] and "seen" [T]."""
        if self.carry:
            squares = self.carried.now(model).expand(batch.num_tasks, -1)
            batch = batch.with_info(squares=squares, seen=squares.new_full((batch.num_tasks,), self.carried.seen))
        if self.inner_batch is None:
            return batch
        num_points = batch.support_x.shape[1] + self.use_queries * batch.query_x.shape[1]
        if self.inner_batch > num_points:
            raise ValueError(f"inner_batch={self.inner_batch}, but a task has {num_points} points to train on")
        wanted = self.inner_steps * self.inner_batch
        rounds = -(-wanted // num_points)  # times that all points are dealt out
        score = torch.rand(batch.num_tasks, rounds, num_points, generator=self.draws.now())
        order = score.argsort(-1).flatten(1)[:, :wanted]  # [T, k B]: one shuffled round after another
        minibatches = order.view(-1, self.inner_steps, self.inner_batch)  # [T, k, B]
        return batch.with_info(minibatches=minibatches.to(batch.support_x.device, non_blocking=True))

    def remember(self, batch: TaskBatch, kept: Params) -> None:
        self.draws.advance()
        if self.carry:
            self.carried.remember(kept, self.inner_steps)
