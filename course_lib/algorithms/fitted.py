"""Learners that solve for the head instead of stepping towards it: features first, then the best head on top.

    z        = features(support_x)              the body is the same for all tasks
    head_i   = argmin of a convex problem in z_i, support_y_i
    theta   <- theta - beta grad_theta mean_i L_i(features, head_i; query)       through the solve

This is the lecture's two-phase approach (section 2). R2D2, MetaOptNet and ProtoNet differ in one line, ``fit``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from course_lib.algorithms.base import Learner, Visit
from course_lib.algorithms.heads import BIAS, WEIGHT, check_linear
from course_lib.algorithms.solvers import Head
from course_lib.engine.any_module import check_head_on_top
from course_lib.inner_loop import Params, features, stack_params
from course_lib.tasks.base import TaskBatch
from course_lib.validation import check_count, check_model


class Positive(nn.Module):
    """A positive number of a learner's: fixed, or learnt by the outer loop through its logarithm.

    Raises:
        ValueError: a value that is not positive and finite. A fixed one may be 0 where ``or_zero``.
    """

    def __init__(self, name: str, value: float, learn: bool, or_zero: bool = False):
        super().__init__()
        if not (0 < value < math.inf or (or_zero and not learn and value == 0)):
            zero = " (or 0, if it is not learnt)" if or_zero else ""
            raise ValueError(f"{name} must be a positive finite number{zero}, not {value}")
        self.value = value
        self.log = nn.Parameter(torch.tensor(float(value)).log()) if learn else None

    def forward(self) -> float | Tensor:
        return self.value if self.log is None else self.log.exp()

    def settings(self) -> float:
        """What it began with."""
        return self.value


class FittedHead(Learner):
    """Every task begins with a head fitted to its own support set, ``scale * fit(features, labels)``.

    Settings of every such learner:
        scale: of the head, hence of the outputs; a softmax needs it, since fitted outputs lie near 0 and 1.
        learn_scale: let the outer loop learn the scale.
        ways: number of classes W. None takes it from the shape of ``batch.info["classes"]`` [T, W], which character
            tasks bring, or else counts the labels (largest + 1), for which a GPU must be waited for.
        inner_steps, inner_lr, second_order, loss_fn: gradient steps on all parameters from there, as in MAML;
            none unless asked for.

    The head has as many rows as the support set has classes, whatever the model's own head has, so a network
    trained on 60 ways serves 5. The model's own head is not used, and its gradient is zero.
    """

    def __post_init__(self):
        super().__post_init__()
        self.scale = Positive("scale", self.scale, self.learn_scale)
        self.ways = None if self.ways is None else check_count("ways", self.ways, 1)
        self.prepares = True  # the classes are counted, of all tasks of a meta-batch together

    def fit(self, z: Tensor, y: Tensor, ways: int | None) -> Head:
        """The head for features z [T, S, D] and labels y [T, S]: weight [T, W, D] and bias [T, W]."""
        raise NotImplementedError

    def start(self, model: nn.Module, x: Tensor, y: Tensor, ways: int | None = None) -> Params:
        params = stack_params(check_model(model), len(x))
        check_linear(params)
        check_head_on_top(model, x)
        z = features(model, params, x)  # [T, S, D]
        with torch.autocast(z.device.type, enabled=False):  # a solve wants at least single precision
            z = z.float() if z.dtype in (torch.float16, torch.bfloat16) else z
            weight, bias = self.fit(z, y, self.ways or ways)
        scale = self.scale()
        return params | {WEIGHT: scale * weight, BIAS: scale * bias}

    def visit(self, model: nn.Module, batch: TaskBatch) -> Visit:
        x, y, classes = batch.support_x, batch.support_y, batch.info.get("classes")  # [T, W]
        adapted = self.adapt(model, x, y, self.start(model, x, y, None if classes is None else classes.shape[1]))
        return Visit(adapted, self.judge(model, adapted, batch))

    def prepare(self, model: nn.Module, batch: TaskBatch) -> TaskBatch:
        check_head_on_top(model, batch.support_x)
        return self.count_ways(batch)

    def count_ways(self, batch: TaskBatch) -> TaskBatch:
        """The meta-batch with ``info["classes"]`` [T, W], if its labels must be counted to know W.

        Raises:
            ValueError: tasks of different numbers of classes, which have no common head.
        """
        labels = batch.support_y
        if self.ways is not None or labels.is_floating_point() or "classes" in batch.info:
            return batch
        ways = labels.flatten(1).amax(1) + 1  # [T]
        if len(ways.unique()) > 1:
            raise ValueError(
                f"the tasks of a meta-batch have different numbers of classes (labels up to {(ways - 1).tolist()}): "
                f"give the head as many rows as the largest needs, ways={int(ways.max())}"
            )
        return batch.with_info(classes=torch.arange(int(ways[0]), device=labels.device).expand(batch.num_tasks, -1))

    def remember(self, batch: TaskBatch, kept: Params) -> None:
        pass  # a head that is solved for needs no memory
