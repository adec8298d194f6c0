"""Implicit MAML: each task's loss is minimised within reach of the start; the outer loop differentiates the minimum.

    theta'_i = argmin_phi L_i(phi; support) + lambda / 2 |phi - theta|^2             by k proximal gradient steps
    v_i      = (I + H_i / lambda)^-1 grad L_i(theta'_i; query)                       H_i the support loss's, at theta'_i
    theta   <- theta - beta mean_i v_i

Rajeswaran, Finn, Kakade, Levine 2019, "Meta-learning with implicit gradients", arXiv 1909.04630, equations 3 and 6. At
the minimum lambda (theta - theta'_i) = grad L_i(theta'_i); differentiating both sides gives the matrix. It is met
through its products with vectors (Pearlmutter 1994), in conjugate gradients (algorithm 2 of the paper), so nothing is
kept of the k steps: memory does not grow with k, and any optimiser could have taken them.

The matrix is positive definite while the support loss nowhere curves down by more than lambda. Where it is not, there
is no minimum to speak of: conjugate gradients stop at such a direction, and a warning says so. Nor does the
meta-gradient see whether the inner loop converges: one that overshoots is not turned back, as MAML's would be.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from course_lib.algorithms.base import Learner, method
from course_lib.engine.conjugate_gradients import conjugate_gradients
from course_lib.inner_loop import Params, adapt, flatten, per_task, predict, select, unflatten, without_autocast
from course_lib.losses import LossFn, mse
from course_lib.validation import check_count, check_losses, check_model, known


@method
class IMAML(Learner):
    """Every parameter adapts, held to the start by a spring; the meta-gradient asks where the inner loop ended, not how
    it got there.

    Args:
        inner_steps: k, at least 0; enough of them to come near the minimum. 0 leaves the start as it is.
        inner_lr: alpha, positive, for losses that are means; one rate or one per task [T].
        lam: lambda, positive: the weight of |theta' - theta|^2 / 2. Large ones hold the task to the start, small ones
            need more steps of either kind, and below the steepest downward curvature there is no minimum.
        cg_steps: of conjugate gradients, at least 0. They begin at grad L(query) itself, so 0 is first-order MAML at
            the end of the proximal inner loop.
        loss_fn: (outputs, targets) -> one mean per task [T].
    """

    inner_steps: int = 10
    inner_lr: float | Tensor = 0.01
    lam: float = 2.0  # the paper's for Omniglot
    cg_steps: int = 5  # the paper's
    loss_fn: LossFn = mse

    second_order = True

    def __post_init__(self):
        super().__post_init__()
        if isinstance(self.inner_lr, nn.Parameter):
            raise ValueError("a minimum does not depend on the steps that lead to it: IMAML cannot learn its inner_lr")
        check_descent(self.inner_lr)
        if not 0 < self.lam < float("inf"):
            raise ValueError(f"lam must be positive and finite, not {self.lam}: it is what holds a task to the start")
        self.cg_steps = check_count("cg_steps", self.cg_steps, 0)
        self.warned = False

    def adapt(self, model: nn.Module, x: Tensor, y: Tensor, start: Params | None = None) -> Params:
        start = self.start(check_model(model), x, y) if start is None else start
        if self.inner_steps == 0:
            return start
        check_descent(self.inner_lr)  # an evaluation may have given another
        end, names = self.descend(model, x, y, start), moving(start, self.only)
        theta, here = flatten(start, names), flatten(end, names).detach().requires_grad_()  # [T, P]
        losses = check_losses(self.loss_fn(predict(model, start | unflatten(here, start, names), x), y), len(x))  # [T]
        with without_autocast(x.device):
            slope = torch.autograd.grad(losses.sum(), here, create_graph=True)[0]  # [T, P]
        condition = theta - slope / self.lam  # [T, P], at the minimum equal to theta'
        adapted = here.detach() + (condition - condition.detach())  # the value of one, the derivatives of the other
        adapted.register_hook(lambda g: self.solve(g, slope, here))  # through (I + H / lambda)^-1
        return start | unflatten(adapted, start, names)

    def descend(self, model: nn.Module, x: Tensor, y: Tensor, start: Params) -> Params:
        """Where the k steps end, theta' <- (theta' - alpha grad L + alpha lambda theta) / (1 + alpha lambda): lambda is
        taken exactly, so no lambda is too large for alpha. Nothing is kept of the steps."""
        here, names = start, moving(start, self.only)
        how = {"loss_fn": self.loss_fn, "steps": 1, "lr": self.inner_lr, "only": self.only, "second_order": False}
        for _ in range(self.inner_steps):
            leaves = {name: p.detach().requires_grad_(p.requires_grad) for name, p in here.items()}
            stepped = adapt(model, leaves, x, y, **how)
            with torch.no_grad():
                pull = {name: self.lam * per_task(self.inner_lr, start[name]) for name in names}
                moved = {n: ((stepped[n] + pull[n] * start[n]) / (1 + pull[n])).requires_grad_() for n in names}
            here = leaves | moved
        return here

    def solve(self, g: Tensor, slope: Tensor, here: Tensor) -> Tensor:
        """(I + H / lambda)^-1 g for each task [T, P]; ``slope`` [T, P] is the support loss's gradient ``here``."""
        if torch.is_grad_enabled():
            raise RuntimeError("an implicit meta-gradient can be differentiated only once; use MAML instead")

        def times(v: Tensor) -> Tensor:
            return v + torch.autograd.grad(slope, here, v, retain_graph=True)[0] / self.lam

        v, lowest = conjugate_gradients(times, g, self.cg_steps)
        lost = lowest <= 0  # [T]
        if known(lost) and lost.any() and not self.warned:
            self.warned = True
            steepest = self.lam * (1 - float(lowest.min()))
            warnings.warn(
                f"I + H / lambda is not positive definite in {int(lost.sum())} of {len(lost)} tasks: the support loss "
                f"curves down by {steepest:.3g}, more than lam = {self.lam:g}. Conjugate gradients stop there, so the "
                f"meta-gradient is a rough one; raise lam above {steepest:.2g}",
                stacklevel=2,
            )
        return v


def check_descent(rate: float | Tensor) -> None:
    """A ValueError if a rate is not positive."""
    rates = torch.as_tensor(rate)
    if known(rates) and not bool((rates > 0).all()):
        raise ValueError(f"inner_lr must be positive, not {rate}: IMAML descends to a minimum")


def moving(start: Params, only) -> list[str]:
    """Names of the parameters that may change."""
    return [name for name in select(start, only) if start[name].requires_grad]
