"""The gradient through a solved head, by autograd and by finite differences, live in float64.

A small body looks at points of three classes; a head is solved for on the support set, and the query loss judges it.
The body's weights move by +h and -h along a random direction, the head is solved for anew each time, and the slope
(L(+h) - L(-h)) / 2h is compared with autograd's.
"""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn

from course_lib.algorithms.solvers import mean_head, ridge_head, svm_head
from course_lib.inner_loop import Params, predict, stack_params
from course_lib.kit import plots
from course_lib.kit.demo import Button, Notches, declare
from course_lib.losses import cross_entropy
from course_lib.models import MLP

HEADS = {"ridge": "ridge", "svm": "SVM", "means": "class means"}
STEPS = np.logspace(-1, -10, 28)
WAYS, SUPPORT, QUERY = 3, 4, 10  # classes, and points of each
FLOOR = 1e-13
LAMBDAS, CS = (0.01, 0.1, 1.0, 10.0), (0.1, 1.0, 10.0)


class Problem:
    """A small body, three clouds of points and a direction in the body's weights, all drawn from ``seed``."""

    def __init__(self, seed: int):
        generator = torch.Generator().manual_seed(seed)
        draw = lambda *shape: torch.randn(*shape, generator=generator).double()
        self.body: nn.Module = MLP(2, (16, 8), activation="Tanh", seed=seed).double().features
        centers = 2 * draw(WAYS, 2)
        self.y, self.query_y = (torch.arange(WAYS).repeat_interleave(n)[None] for n in (SUPPORT, QUERY))
        self.x, self.query_x = (centers[y[0]] + draw(y.numel(), 2) for y in (self.y, self.query_y))
        self.direction = {name: draw(*p.shape) for name, p in self.body.named_parameters()}

    def losses(self, head: str, lam: float, C: float, params: Params) -> Tensor:
        """The query losses [T] of the heads that are solved for with T bodies, ``params`` [T, ...]."""
        count = len(next(iter(params.values())))
        y, query_y = (labels.expand(count, -1) for labels in (self.y, self.query_y))
        z, query = (predict(self.body, params, x.expand(count, *x.shape)) for x in (self.x, self.query_x))
        solve = {"ridge": lambda: ridge_head(z, y, lam, WAYS), "svm": lambda: svm_head(z, y, C, WAYS)}
        weight, bias = solve.get(head, lambda: mean_head(z, y, WAYS))()
        return cross_entropy(query @ weight.mT + bias[:, None], query_y)

    def differences(self, head: str, lam: float, C: float) -> tuple[float, np.ndarray]:
        """Autograd's slope along the direction, and how far the finite difference is from it, relative [steps]."""
        params = stack_params(self.body, 1)
        grads = torch.autograd.grad(self.losses(head, lam, C, params).sum(), params.values())
        slope = float(sum((g[0] * v).sum() for g, v in zip(grads, self.direction.values())))
        h = torch.from_numpy(np.concatenate([STEPS, -STEPS]))
        with torch.no_grad():
            moved = {n: p + h.view(-1, *[1] * (p.ndim - 1)) * self.direction[n] for n, p in params.items()}
            ahead, behind = self.losses(head, lam, C, moved).numpy().reshape(2, -1)
        finite = (ahead - behind) / (2 * STEPS)
        return slope, abs(finite - slope) / abs(slope)


@lru_cache(maxsize=64)
def differences(seed: int, head: str, setting: float) -> tuple[float, np.ndarray]:
    """Of one head of HEADS, at the one number that it depends on."""
    return Problem(seed).differences(head, setting, setting)


def measured(seed: int, lam: float, C: float) -> dict[str, tuple[float, np.ndarray]]:
    return {head: differences(seed, head, setting) for head, setting in zip(HEADS, (lam, C, 0.0))}


def compute(values: SimpleNamespace) -> dict:
    found = measured(values.direction, values.lam, values.C)
    return {"slopes": {h: s for h, (s, _) in found.items()}, "apart": {h: a for h, (_, a) in found.items()}}


def picture(fig, show) -> None:
    panel = fig.subplots()
    panel.set(xscale="log", yscale="log", xlim=(0.2, 1e-10), ylim=(FLOOR, 10), xlabel="h")
    panel.set_ylabel("relative difference")
    plots.name_region(panel, 0.02, 0.12, "the step is too long:\n$h^2$", ha="left")
    plots.name_region(panel, 0.85, 0.12, "rounding:\n$1/h$")
    for head, name in HEADS.items():
        look = plots.METHODS[head] | {"marker": ""}
        show.line(panel, STEPS, lambda d, head=head: d.apart[head].clip(FLOOR, 10), **look, end=name)
    show.title(panel, lambda d: f"Autograd and finite differences agree to {digits(d):.0f} digits or more")


def digits(d) -> float:
    """Of the head that agrees least, at its best h."""
    return np.floor(min(-np.log10(max(apart.min(), FLOOR)) for apart in d.apart.values()))


def words(d) -> str:
    each = ", ".join(f"{HEADS[h]} {apart.min():.0e}" for h, apart in d.apart.items())
    return f"Relative difference between autograd's slope and a finite difference at its best h: {each}."


demo = declare(
    "The gradient through a solved head",
    [
        Notches("lam", LAMBDAS, 0.1, "\N{GREEK SMALL LETTER LAMDA} of ridge"),
        Notches("C", CS, 1.0, "C of the SVM"),
        Button("direction", "another body, another direction"),
    ],
    compute,
    picture,
    words,
    size=(7.0, 3.4),
)
