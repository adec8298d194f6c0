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

from course_lib.algorithms.base import Learner
from course_lib.algorithms.heads import BIAS, WEIGHT, check_linear
from course_lib.algorithms.solvers import Head
from course_lib.inner_loop import LossFn, Params, features, stack_params
from course_lib.tasks.base import TaskBatch
from course_lib.validation import check_count


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
        self.start, self.learn = value, learn
        self.log = nn.Parameter(torch.tensor(float(value)).log()) if learn else None

    def forward(self) -> float | Tensor:
        return self.log.exp() if self.learn else self.start


class FittedHead(Learner):
    """Every task begins with a head fitted to its own support set, ``scale * fit(features, labels)``.

    Args:
        scale: of the head, hence of the outputs; a softmax needs it, since fitted outputs lie near 0 and 1.
        learn_scale: let the outer loop learn the scale.
        ways: number of classes W. None takes it from the shape of ``batch.info["classes"]`` [T, W], which character
            tasks bring, or else counts the labels (largest + 1), for which a GPU must be waited for.
        inner_steps, inner_lr, second_order, loss_fn: gradient steps on all parameters from there, as in MAML;
            none unless asked for.

    The head has as many rows as the support set has classes, whatever the model's own head has, so a network
    trained on 60 ways serves 5. The model's own head is not used, and its gradient is zero.
    """

    def __init__(
        self,
        scale: float,
        learn_scale: bool,
        ways: int | None,
        inner_steps: int,
        inner_lr: float | Tensor,
        second_order: bool,
        loss_fn: LossFn,
    ):
        super().__init__(inner_steps, inner_lr, second_order, loss_fn)
        self.scale = Positive("scale", scale, learn_scale)
        self.ways = None if ways is None else check_count("ways", ways, 1)

    def fit(self, z: Tensor, y: Tensor, ways: int | None) -> Head:
        """The head for features z [T, S, D] and labels y [T, S]: weight [T, W, D] and bias [T, W]."""
        raise NotImplementedError

    def begin(self, model: nn.Module, batch: TaskBatch) -> Params:
        classes = batch.info.get("classes")  # [T, W]
        return self.start(model, batch.support_x, batch.support_y, None if classes is None else classes.shape[1])

    def start(self, model: nn.Module, x: Tensor, y: Tensor, ways: int | None = None) -> Params:
        params = stack_params(model, x.shape[0])
        check_linear(params)
        z = features(model, params, x)  # [T, S, D]
        with torch.autocast(z.device.type, enabled=False):  # a solve wants at least single precision
            z = z.float() if z.dtype in (torch.float16, torch.bfloat16) else z
            weight, bias = self.fit(z, y, self.ways or ways)
        scale = self.scale()
        return params | {WEIGHT: scale * weight, BIAS: scale * bias}

    def settings(self) -> dict:
        own = {"scale": self.scale.start, "learn_scale": self.scale.learn, "ways": self.ways}
        return own | super().settings()
