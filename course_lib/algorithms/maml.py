"""MAML: learn an initialisation from which k gradient steps solve a new task.

    theta'_i = theta - alpha grad L_i(theta; support)                    k times
    theta   <- theta - beta grad_theta mean_i L_i(theta'_i; query)       through all k steps

Finn, Abbeel, Levine 2017, arXiv 1703.03400, algorithm 1. With ``second_order=False`` the meta-gradient is
the one at the adapted point, its second derivatives dropped: first-order MAML (FOMAML), section 5.2 of the
paper.

Sinusoid, 5,000 iterations of 25 tasks, k = 1, alpha = 0.01: 10 to 15 s on one CPU core; query error about 0.6
after one step and 0.2 after ten (10 shots; predicting zero costs 4.25).
"""

from __future__ import annotations

from torch import Tensor

from course_lib.algorithms.base import Learner, method
from course_lib.algorithms.heads import TaskHead, make_head
from course_lib.losses import LossFn, mse


@method
class MAML(Learner):
    """Every parameter adapts, and the outer loop differentiates through the adaptation.

    Args:
        inner_steps: k, at least 0. With 0 this is supervised training on the query points.
        inner_lr: alpha, for losses that are means; one rate or one per task [T]; any sign. An ``nn.Parameter`` is
            learnt by the outer loop.
        second_order: False is FOMAML.
        loss_fn: (outputs, targets) -> one mean per task [T].
        head: with what head a task begins: None is the model's own, meta-learned (see heads.py).
    """

    inner_steps: int = 1
    inner_lr: float | Tensor = 0.01  # MAML, appendix A.2; the released code's default is 0.001
    second_order: bool = True
    loss_fn: LossFn = mse
    head: TaskHead | str | dict | None = None

    def __post_init__(self):
        super().__post_init__()
        self.head = make_head(self.head)
        self.prepares = self.head is not None and self.head.prepares
