"""Overparameterised on a circle: P >> S Fourier features, and what meta-learned feature weights do for them.

A task is a function on the circle with D frequencies, P = 2 D features, and only S points to learn it from:

    f(x) = sum_d a_d cos(d x) + b_d sin(d x),    a_d, b_d ~ N(0, s_d),    y = f(x) + noise * z,    |x| <= pi.

Infinitely many coefficient vectors pass through S << P points. Feature weights w_d choose one,
the smallest in

    minimise  sum_d (a_d^2 + b_d^2) / w_d    subject to    f(x_i) = y_i,

which is the minimum-norm fit in the features sqrt(w_d) cos(d x), sqrt(w_d) sin(d x): what gradient descent
from zero finds. With K_w(x, x') = sum_d w_d cos(d (x - x')) and a ridge that goes to 0 for interpolation,

    coefficients = W Phi^T (Phi W Phi^T + ridge I)^-1 y, f(x) = K_w(x, X) (K_w(X, X) + ridge I)^-1 y.

Equal weights alias: the fit spreads the task over all P features that look alike on the S points, and what
goes to the wrong ones shrinks the signal and contaminates the rest. Weights that favour the features
carrying the task (the principal features) cure it: for a Gaussian family the expected error is least at
every x for

    w = s   (the family's power spectrum)  and  ridge = noise^2,

because the fit is then the posterior mean. So the weights can be learned from training tasks in closed
form: w_d is the mean squared coefficient. `spectrum_from_coefficients` has the coefficients given,
`spectrum_from_tasks` has few-shot tasks only and solves least squares for E y_i y_j = sum_d s_d
cos(d (x_i - x_j)), and `meta_learn` descends the query loss through the ridge solve (R2D2's idea, with the
weights as its only meta-parameters); all end near the same weights.

To expect (D = 50, so 100 features; 12 points; power 1): without noise, the interpolating fit errs by 0.885
with equal weights and 0.042 with the spectrum as weights. With noise 0.1 interpolation fails (labels of
neighbouring points contradict each other), so ridge = 0.01: 0.887 and 0.0996; weights from the coefficients
of 100 tasks 0.0998; from 30 / 300 / 3,000 tasks of 24 points by least squares 0.182 / 0.137 / 0.108, by
300 gradient steps 0.136 / 0.102 / 0.101 (3.5 s on one core; least squares 0.1 s per 1,000 tasks).

Sources: the lecture's section 1.5 (principal features must carry the task); Xie, Chou, Rauhut, Ward,
"Overparameterization and generalization error: weighted trigonometric interpolation" (arXiv 2006.08495) for
the weighted fit; Sun, Narang, Gulluk, Oymak, Fazel, "Towards sample-efficient overparameterized
meta-learning" (NeurIPS 2021, arXiv 2201.06142) for learning the weighting from earlier tasks; Bertinetto et
al. (arXiv 1805.08136) for the gradient through the solve.
"""

from dataclasses import dataclass
from math import pi
from typing import NamedTuple

import torch
from torch import Tensor

FLOAT = torch.float64


class FourierTasks(NamedTuple):
    """T tasks of S support and Q query points."""

    support_x: Tensor  # [T, S]
    support_y: Tensor  # [T, S]
    query_x: Tensor  # [T, Q]
    query_y: Tensor  # [T, Q]
    coefficients: Tensor  # [T, P]   a_1 .. a_D, b_1 .. b_D, the answer


def bump_spectrum(frequencies: int, centre: float = 5.0, width: float = 1.0) -> Tensor:
    """A power spectrum [D] with a Gaussian bump at `centre`, scaled so that the mean of f^2 is 1.

    >>> spectrum = bump_spectrum(40)
    >>> int(spectrum.argmax()) + 1, round(spectrum.sum().item(), 12)
    (5, 1.0)
    """
    d = torch.arange(1, frequencies + 1, dtype=FLOAT)
    spectrum = torch.exp(-(((d - centre) / width) ** 2) / 2)
    return spectrum / spectrum.sum()


def design_matrix(x: Tensor, frequencies: int) -> Tensor:
    """The P = 2 D features of points x [..., N]: cos(x) .. cos(D x), sin(x) .. sin(D x), [..., N, P]."""
    angles = x.unsqueeze(-1) * torch.arange(1, frequencies + 1, dtype=x.dtype, device=x.device)  # [..., N, D]
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


@dataclass(frozen=True)
class FourierFamily:
    """Tasks with power spectrum s [D] (cosine and sine of a frequency share it) and label noise `noise`."""

    spectrum: Tensor
    noise: float = 0.0

    def __post_init__(self):
        _check_weights(self.spectrum, "spectrum")
        if not 0 <= self.noise < float("inf"):
            raise ValueError(f"noise must be finite and not negative, got {self.noise!r}.")

    @property
    def power(self) -> float:
        """E f(x)^2: the error of the zero predictor."""
        return self.spectrum.sum().item()

    def sample(self, num_tasks: int, support: int, queries: int, generator: torch.Generator) -> FourierTasks:
        """Tasks with points uniform on the circle."""
        if support < 1 or queries < 0:
            raise ValueError(
                f"a task needs at least one support point and 0 or more query points; "
                f"got support={support}, queries={queries}."
            )
        D = len(self.spectrum)
        scale = self.spectrum.sqrt().repeat(2)  # [P]
        coefficients = scale * torch.randn(num_tasks, 2 * D, generator=generator, dtype=FLOAT)  # [T, P]
        x = pi * (2 * torch.rand(num_tasks, support + queries, generator=generator, dtype=FLOAT) - 1)
        y = (design_matrix(x, D) @ coefficients.unsqueeze(-1)).squeeze(-1)
        y = y + self.noise * torch.randn(y.shape, generator=generator, dtype=FLOAT)
        return FourierTasks(x[:, :support], y[:, :support], x[:, support:], y[:, support:], coefficients)


def _check_weights(weights: Tensor, name: str = "weights") -> None:
    if weights.dim() != 1 or not len(weights):
        raise ValueError(f"{name} must be one number per frequency, shape [D]; got {list(weights.shape)}.")
    if not (torch.isfinite(weights).all() and (weights >= 0).all() and (weights > 0).any()):
        raise ValueError(f"{name} must be finite and not negative, with at least one above 0.")


# The fit


def keep_principal(weights: Tensor, r: int) -> Tensor:
    """Weights [D] with all but the r frequencies of largest weight set to 0: 2 r features are left.

    >>> keep_principal(torch.tensor([0.1, 0.6, 0.3]), 2)
    tensor([0.0000, 0.6000, 0.3000])
    """
    if not 1 <= r <= len(weights):
        raise ValueError(f"r must be between 1 and the number of frequencies {len(weights)}, got {r}.")
    kept = weights.argsort(descending=True, stable=True)[:r]
    return torch.zeros_like(weights).index_copy(0, kept, weights[kept])


def _scale(weights: Tensor, ridge: float) -> Tensor:
    """sqrt(w) [P], after a look at the arguments."""
    _check_weights(weights.detach())
    if not 0 <= ridge < float("inf"):
        raise ValueError(f"ridge must be finite and not negative, got {ridge!r}.")
    return weights.sqrt().repeat(2)


def _kernel(features: Tensor, ridge: float) -> Tensor:
    identity = torch.eye(features.shape[-2], dtype=features.dtype, device=features.device)
    return features @ features.mT + ridge * identity  # [..., S, S]


def fit(x: Tensor, y: Tensor, weights: Tensor, ridge: float = 0.0) -> Tensor:
    """Coefficients [..., P] of the weighted fit to y [..., S] at x [..., S], with weights [D].

    ridge = 0 is the minimum-norm interpolation, or the least-squares fit of minimum norm where there are
    fewer weighted features than distinct points.
    """
    if ridge == 0:
        return (fit_matrix(x, weights) @ y.unsqueeze(-1)).squeeze(-1)
    scale = _scale(weights, ridge)
    features = design_matrix(x, len(weights)) * scale
    return scale * (features.mT @ torch.linalg.solve(_kernel(features, ridge), y.unsqueeze(-1))).squeeze(-1)


def fit_matrix(x: Tensor, weights: Tensor, ridge: float = 0.0) -> Tensor:
    """L [..., P, S] of the same fit as a linear map, coefficients = L y."""
    return _linear_map(design_matrix(x, len(weights)), _scale(weights, ridge), ridge)


def _linear_map(design: Tensor, scale: Tensor, ridge: float) -> Tensor:
    features = design * scale  # [..., S, P]
    if ridge == 0:
        return scale.unsqueeze(-1) * torch.linalg.pinv(features)
    return scale.unsqueeze(-1) * torch.linalg.solve(_kernel(features, ridge), features).mT


def predict(coefficients: Tensor, x: Tensor) -> Tensor:
    """f(x) [..., N] for coefficients [..., P] and points x [..., N]."""
    return (design_matrix(x, coefficients.shape[-1] // 2) @ coefficients.unsqueeze(-1)).squeeze(-1)


def expected_error(family: FourierFamily, x: Tensor, weights: Tensor, ridge: float = 0.0) -> Tensor:
    """E (f(x') - prediction(x'))^2 over tasks, label noise and x' on the circle, for the points x [..., S]:
    [...].

    Exact: a prediction is linear in the labels, the mean of cos^2 over the circle is 1/2, so with C =
    diag(s, s)

        error = 1/2 tr (I - L Phi) C (I - L Phi)^T + 1/2 noise^2 tr L L^T.

    1 would be the zero predictor's for a family of power 1; the held-out LABELS' error is noise^2 more.
    """
    design, spectrum = design_matrix(x, len(weights)), family.spectrum.repeat(2)  # [..., S, P], [P]
    used = (weights > 0).repeat(2)  # [P]: for all others L is 0, and their whole power is missed
    scale = _scale(weights, ridge)[used]
    L = _linear_map(design[..., used], scale, ridge)  # [..., U, S]
    missed = torch.eye(len(used), dtype=L.dtype, device=L.device)[used] - L @ design  # [..., U, P]
    signal = (missed.square() @ spectrum).sum(-1) + spectrum[~used].sum()
    return (signal + family.noise**2 * L.square().sum((-2, -1))) / 2


# Learning the weights


def spectrum_from_coefficients(coefficients: Tensor) -> Tensor:
    """The mean squared coefficient of each frequency over training tasks [T, P]: closed-form weights [D]."""
    return coefficients.square().mean(0).unflatten(0, (2, -1)).mean(0)


def spectrum_from_tasks(x: Tensor, y: Tensor, frequencies: int) -> Tensor:
    """The spectrum [D] from few-shot tasks alone, x and y [T, S], S >= 2; no task need be determined by its
    points.

    Least squares for y_i y_j = sum_d s_d cos(d (x_i - x_j)) over all pairs i != j within a task: label
    noise is independent from point to point and drops out. As cos(d (x_i - x_j)) is the product of the
    features of x_i and x_j, the sums over pairs are squares of sums over points. Negative estimates are set
    to 0. Raises ValueError where there are fewer pairs than frequencies.
    """
    T, S = x.shape
    pairs = T * S * (S - 1) // 2
    if pairs < frequencies:
        raise ValueError(
            f"{T} tasks of {S} points make {pairs} pairs, too few for {frequencies} "
            f"frequencies; give more tasks or more points."
        )
    normal, moment = 0.0, 0.0
    for some_x, some_y in zip(x.split(256), y.split(256)):  # [t, S]; in pieces, for the memory's sake
        features = design_matrix(some_x, frequencies)  # [t, S, P]
        products = (features.mT @ features).square().sum(0).unflatten(0, (2, -1)).unflatten(2, (2, -1))
        normal = normal + products.sum((0, 2)) - some_x.numel()  # [D, D]
        sums = (features.mT @ some_y.unsqueeze(-1)).square().sum((0, 2))  # [P]
        moment = moment + sums.unflatten(0, (2, -1)).sum(0) - some_y.square().sum()  # [D]
    spectrum = torch.linalg.solve(normal, moment).clamp_min(0)
    if not (spectrum > 0).any():
        raise ValueError("no frequency shows any power in these tasks; are all labels zero?")
    return spectrum


def query_loss(tasks: FourierTasks, weights: Tensor, ridge: float) -> Tensor:
    """Mean squared error on the query points after the ridge fit to the support points, per task: [T]."""
    coefficients = fit(tasks.support_x, tasks.support_y, weights, ridge)
    return (predict(coefficients, tasks.query_x) - tasks.query_y).square().mean(-1)


class Learned(NamedTuple):
    weights: Tensor  # [D]
    losses: Tensor  # [steps]   mean query loss of each step's tasks


def meta_learn(
    tasks: FourierTasks,
    frequencies: int,
    *,
    ridge: float,
    steps: int = 300,
    meta_batch: int = 100,
    outer_lr: float = 0.1,
    seed: int = 0,
) -> Learned:
    """Weights [D] by Adam on the query loss, through the ridge solve, from equal weights of total 1.

    The meta-parameters are log w_d. Each step takes `meta_batch` of the given tasks, and the rate falls
    linearly to 0. The ridge stays fixed (the noise variance, so that the optimum is the spectrum itself and
    not a multiple).
    """
    if not ridge > 0:
        raise ValueError(f"ridge must be above 0 for the gradient through the solve, got {ridge!r}.")
    log_weights = torch.full((frequencies,), 1 / frequencies, dtype=FLOAT).log().requires_grad_()
    optimiser = torch.optim.Adam([log_weights], lr=outer_lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / steps)
    g = torch.Generator().manual_seed(seed)
    losses = []
    for _ in range(steps):
        chosen = torch.randint(len(tasks.support_x), (meta_batch,), generator=g)
        loss = query_loss(FourierTasks(*(part[chosen] for part in tasks)), log_weights.exp(), ridge).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(loss.detach())
    return Learned(log_weights.detach().exp(), torch.stack(losses))
