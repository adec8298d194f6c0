"""The union of tasks: supervised training on the points of all tasks together, a head for every task.

    theta, heads <- descend mean_i L_i(features, heads[i]; all points of task i)    training: nothing adapts
    head'_i = fit(features, support_i)                                              test: a head for a new task

The lecture's baseline (section 2), which "can do as well or better than MAML". It is MAML with k = 0, or with
an inner rate of 0, and a stored head per task. With ``head="meta"`` all tasks share one head: the strawman
that is often called multi-task pre-training (as in ANIL, arXiv 1909.09157, section 5), which no single curve
can satisfy.

Classes can be tasks' heads too: all characters of a pool make one classification problem, one task with one
large head (``tasks.AllClasses`` with ``StoredHeads(1, num_features, num_classes)``), as in Chen et al. 2019,
"A closer look at few-shot classification", arXiv 1904.04232.

Sinusoid, 5,000 iterations of 25 tasks: half as long as MAML with k = 1. Query error of a ridge head on new tasks
(10 shots, 600 tasks, seed 0): 0.23 / 0.14 / 0.12 after training on 50 / 200 / 1,000 tasks with a head each;
0.63 after training with one shared head, which fine-tuned like MAML (every parameter, alpha = 0.01) gives
1.71 after ten steps. Gradient steps on the head alone are slow: after 3,000 iterations on 200 tasks the body
wants alpha < 2 / lambda_max, which is 0.0026 to 0.0065 for nine new tasks of ten, and at 0.001 the error is
1.9 after 10 steps and 0.3 after 200.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from course_lib.algorithms.base import Learner
from course_lib.algorithms.fitted import FittedHead
from course_lib.algorithms.heads import MetaHead, make_head
from course_lib.algorithms.solvers import Head, check_C, mean_head, ridge_head, svm_head
from course_lib.inner_loop import LossFn, Params, predict, stack_params
from course_lib.losses import mse
from course_lib.tasks.base import TaskBatch

TEST_HEADS = ("ridge", "svm", "means", "gradient")


class UnionOfTasks(FittedHead):
    """Supervised training of a body under many heads; at test time a head is fitted to the support set.

    Args:
        head: of the training tasks: ``StoredHeads(num_tasks, num_features, num_outputs)``, or "meta" for one
            shared head, the model's own (see heads.py).
        test_head: how a new task gets its head: "ridge" (weight ``lam``), "svm" (weight ``C``), "means", or
            "gradient": ``inner_steps`` steps of ``inner_lr`` on the head alone, from the shared head or the
            mean of the stored ones (from the model's own where the stored heads have another number of
            outputs).
        lam, C: of the ridge and the SVM, as in ``solvers``.
        scale: of a fitted head; a softmax needs it.
        inner_steps, inner_lr: gradient steps on the head at test time, after any fit.
        loss_fn: (outputs, targets) -> one mean per task [T].
    """

    only = "head"  # at test time; nothing adapts in training

    def __init__(
        self,
        head: str | Mapping | MetaHead,
        test_head: str = "ridge",
        lam: float = 0.1,
        C: float = 0.1,
        scale: float = 1.0,
        inner_steps: int = 0,
        inner_lr: float | Tensor = 0.001,  # 2 / lambda_max of a trained body's head is about 0.004
        loss_fn: LossFn = mse,
    ):
        super().__init__(scale, False, None, inner_steps, inner_lr, second_order=False, loss_fn=loss_fn)
        if test_head not in TEST_HEADS:
            raise ValueError(f"test_head must be one of {', '.join(TEST_HEADS)}; not {test_head!r}")
        if not lam >= 0:
            raise ValueError(f"lam must be at least 0, not {lam}")
        self.head = make_head(head)
        if self.head.kind not in ("meta", "stored"):
            raise ValueError(f'the union of tasks trains "meta" or stored heads; {self.head.kind} ones learn nothing')
        self.test_head, self.lam, self.C = test_head, lam, check_C(C)

    def fit(self, z: Tensor, y: Tensor, ways: int | None) -> Head:
        if self.test_head == "ridge":
            return ridge_head(z, y, self.lam, ways)
        return svm_head(z, y, self.C, ways) if self.test_head == "svm" else mean_head(z, y, ways)

    def start(self, model: nn.Module, x: Tensor, y: Tensor) -> Params:
        if self.test_head != "gradient":
            return super().start(model, x, y)
        params = stack_params(model, x.shape[0])
        ready = self.head.new(params)
        same_outputs = all(ready[name].shape == params[name].shape for name in params)
        return ready if same_outputs else params

    def begin(self, model: nn.Module, batch: TaskBatch) -> Params:
        return self.head(stack_params(model, batch.num_tasks), batch)

    def task_losses(self, model: nn.Module, batch: TaskBatch) -> Tensor:
        """The loss of every training task on all of its points, support and query together [T]."""
        batch = self.prepare(model, batch)
        x = torch.cat([batch.support_x, batch.query_x], 1)  # [T, S + Q, ...]
        y = torch.cat([batch.support_y, batch.query_y], 1)  # [T, S + Q, ...]
        return self.loss_fn(predict(model, self.begin(model, batch), x), y)

    def settings(self) -> dict:
        settings = Learner.settings(self)
        del settings["second_order"]
        own = {"test_head": self.test_head, "lam": self.lam, "C": self.C, "scale": self.scale.start}
        return own | settings | {"head": self.head.settings()}
