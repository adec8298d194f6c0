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

Sinusoid, 5,000 iterations of 25 of 1,000 tasks: half as long as MAML with k = 1; a ridge head then has 0.12 on new
tasks (10 shots). What it is worth beside MAML is measured in chapters/union.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from course_lib.algorithms.base import Visit, method
from course_lib.algorithms.fitted import FittedHead
from course_lib.algorithms.heads import StoredHeads, TaskHead, make_head
from course_lib.algorithms.solvers import Head, check_C, mean_head, ridge_head, svm_head
from course_lib.inner_loop import Params, predict, stack_params
from course_lib.losses import LossFn, mse
from course_lib.tasks.base import TaskBatch
from course_lib.validation import check_choice, check_losses

TEST_HEADS = ("ridge", "svm", "means", "gradient")


@method
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

    head: TaskHead | str | dict
    test_head: str = "ridge"
    lam: float = 0.1
    C: float = 0.1
    scale: float = 1.0
    inner_steps: int = 0
    inner_lr: float | Tensor = 0.001  # 2 / lambda_max of a trained body's head is about 0.004
    loss_fn: LossFn = mse

    only = "head"  # at test time; nothing adapts in training
    learn_scale, ways, second_order = False, None, False

    def __post_init__(self):
        super().__post_init__()
        check_choice("test_head", self.test_head, TEST_HEADS)
        if not self.lam >= 0:
            raise ValueError(f"lam must be at least 0, not {self.lam}")
        check_C(self.C)
        self.head, self.prepares = make_head(self.head), False
        if self.head is not None and type(self.head) is not StoredHeads:
            raise ValueError(f'the union of tasks trains "meta" or stored heads; {self.head.kind} ones learn nothing')

    def fit(self, z: Tensor, y: Tensor, ways: int | None) -> Head:
        if self.test_head == "ridge":
            return ridge_head(z, y, self.lam, ways)
        return svm_head(z, y, self.C, ways) if self.test_head == "svm" else mean_head(z, y, ways)

    def start(self, model: nn.Module, x: Tensor, y: Tensor, ways: int | None = None) -> Params:
        if self.test_head != "gradient":
            return super().start(model, x, y, ways)
        params = stack_params(model, len(x))
        ready = params if self.head is None else self.head.new(params)
        same_outputs = all(ready[name].shape == params[name].shape for name in params)
        return ready if same_outputs else params

    def visit(self, model: nn.Module, batch: TaskBatch) -> Visit:
        """Nothing adapts; the loss of every training task on all of its points, support and query together [T]."""
        params = stack_params(model, batch.num_tasks)
        params = params if self.head is None else self.head.begin(params, batch)
        x = torch.cat([batch.support_x, batch.query_x], 1)  # [T, S + Q, ...]
        y = torch.cat([batch.support_y, batch.query_y], 1)  # [T, S + Q, ...]
        return Visit(params, check_losses(self.loss_fn(predict(model, params, x), y), batch.num_tasks))
