"""Mixed linear regression: the one problem where MAML can be solved on paper, negative inner rates included.

    w_i ~ N(w0, spread^2 / p  I)          what makes task i its own                              [P]
    y   = <x, w_i> + noise * z            x ~ N(0, I), z ~ N(0, 1)
    L_i(theta) = 1/2 mean (y - <x, theta>)^2          mind the 1/2: `losses.mse` needs half the rate

One inner step on n_t support points is linear in theta, with M_i = I - alpha H_i and H_i = X_i^T X_i / n_t,

    theta_i = M_i theta + (alpha / n_t) X_i^T y_i,

so the outer problem, the loss of theta_i on n_v query points of each of m tasks, is LEAST SQUARES:

    minimise || B theta - c ||^2,    B_i = Xq_i M_i  [Q, P],  c_i = yq_i - (alpha / n_t) Xq_i X_i^T y_i  [Q].

Gradient descent from theta_0 ends at theta_0 + pinv(B) (c - B theta_0): with m n_v < p the interpolating
solution nearest to theta_0 (over-parameterised), with m n_v > p the one solution (under-parameterised).

The expected loss of a new task after one step of rate alpha_r on n_r points is, exactly,

    E L = 1/2 h(alpha_r, n_r) (spread^2 + D) + 1/2 noise^2 (1 + alpha_r^2 p / n_r),   D = E ||theta - w0||^2,
    h(alpha, n) = (1 - alpha)^2 + alpha^2 (p + 1) / n = E tr M^2 / p.

The training rate matters through D alone. Over-parameterised, p and n_t large, N = m n_v,

    D = (1 - N/p) ||theta_0 - w0||^2 + (N/p) [ spread^2 + noise^2 (1 + alpha_t^2 p / n_t) / h(alpha_t, n_t) ].

The last fraction rises through alpha_t = 0 (its slope there is +2), so the best TRAINING rate is negative,
while the best adaptation rate is positive for every D. `squared_distance` has what the limit leaves out.

Source: Bernacchia, "Meta-learning with negative learning rates", ICLR 2021 (arXiv 2102.00940), which gives
the problem, figure 2's values (FIGURE_2) and the sign result. The formulas here were derived anew for
finite p and are held to simulation by tests/test_mixed_linear.py. To expect (FIGURE_2): adaptation
at 0.2 after training at -0.8 / 0 / 0.2 / 0.5 gives 0.687 / 0.709 / 0.731 / 0.751; the best training
rate is -1.06. A sweep over 21 rates, 100 runs, 10 test tasks takes 0.1 s on one core, the curve beside it 0.04 s.
"""

from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import NamedTuple

import torch
from torch import Tensor

from course_lib.evaluation import interval95

FLOAT = torch.float64
DRAWN_TASKS = 1024  # single tasks drawn (seed 0) for the averages of the closed form; fewer for large p


class LinearTasks(NamedTuple):
    """R independent runs of T tasks each."""

    support_x: Tensor  # [R, T, S, P]
    support_y: Tensor  # [R, T, S]
    query_x: Tensor  # [R, T, Q, P]
    query_y: Tensor  # [R, T, Q]
    weights: Tensor  # [R, T, P]   w_i, the answer


@dataclass(frozen=True)
class MixedLinear:
    """The problem's numbers. Defaults: figure 2 of the paper. w0 = 0, so theta_0 is `start_distance` along
    one axis.

    >>> MixedLinear().overparameterised, MixedLinear(num_tasks=100).overparameterised
    (True, False)
    """

    support: int = 30  # n_t, points of the inner loop in training
    queries: int = 2  # n_v, points of the outer loop in training
    num_tasks: int = 3  # m, training tasks
    dim: int = 60  # p, parameters
    adapt_points: int = 20  # n_r, points of the inner loop at test time
    noise: float = 1.0  # sigma, standard deviation of the labels' noise
    spread: float = 0.5  # nu, E ||w_i - w0||^2 = nu^2
    start_distance: float = 0.0  # ||theta_0 - w0||

    def __post_init__(self):
        for name in ("support", "queries", "num_tasks", "dim", "adapt_points"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}.")
        for name in ("noise", "spread", "start_distance"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be finite and not negative, got {getattr(self, name)!r}.")

    @property
    def overparameterised(self) -> bool:
        """Fewer query points over all training tasks than parameters."""
        return self.num_tasks * self.queries < self.dim

    def start(self) -> Tensor:
        """theta_0 [P]."""
        return self.start_distance * torch.eye(self.dim, dtype=FLOAT)[0]

    def sample(self, runs: int, generator: torch.Generator) -> LinearTasks:
        """`runs` independent sets of tasks; test tasks are another setting's, ``replace(setting, support=20)``."""
        R, T, S, Q, P = runs, self.num_tasks, self.support, self.queries, self.dim

        def normal(*shape):
            return torch.randn(*shape, generator=generator, dtype=FLOAT)

        w = self.spread / P**0.5 * normal(R, T, P)
        x, xq = normal(R, T, S, P), normal(R, T, Q, P)
        y = (x @ w.unsqueeze(-1)).squeeze(-1) + self.noise * normal(R, T, S)  # [R, T, S]
        yq = (xq @ w.unsqueeze(-1)).squeeze(-1) + self.noise * normal(R, T, Q)  # [R, T, Q]
        return LinearTasks(x, y, xq, yq, w)


FIGURE_2 = MixedLinear()


# The two loops


def adapt(theta: Tensor, x: Tensor, y: Tensor, lrs: Tensor) -> Tensor:
    """One inner step, theta - lr * grad L, from A starts with a rate each: theta [..., A, P], x [..., S, P],
    y [..., S], lrs [A] -> [..., A, P]."""
    residual = theta @ x.mT - y.unsqueeze(-2)  # [..., A, S]
    gradient = residual @ x / x.shape[-2]  # [..., A, P]
    return theta - lrs.unsqueeze(-1) * gradient


def outer_parts(tasks: LinearTasks) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """B0, B1 [R, T*Q, P] and c0, c1 [R, T*Q, K] of B = B0 - lr B1 and c = c0 - lr c1; B0 is Xq, and B1 is Xq H.

    K is 1; where the labels are K sets of them, support_y [R, T, S, K] and query_y [R, T, Q, K], it is that.
    """
    x, y, xq, yq, _ = tasks
    cross = xq @ x.mT / x.shape[-2]  # [R, T, Q, S]
    y, yq = (labels.reshape(*labels.shape[:3], -1) for labels in (y, yq))
    return tuple(part.flatten(1, 2) for part in (xq, cross @ x, yq, cross @ y))


def meta_train(tasks: LinearTasks, lrs, start: Tensor | None = None) -> Tensor:
    """What gradient descent on MAML's outer loss converges to from `start` [P] (zero if not given), for
    each inner rate of `lrs` (a sequence of A floats): [R, A, P].

    Raises ValueError where the outer problem is singular (the same query point twice, say).
    """
    return solutions(*outer_parts(tasks), lrs, start)[..., 0]


def solutions(B0: Tensor, B1: Tensor, c0: Tensor, c1: Tensor, lrs, start: Tensor | None = None) -> Tensor:
    """`meta_train` from `outer_parts`, for each of K sets of labels: [R, A, P, K]."""
    N, P = B0.shape[-2:]
    theta = (B0.new_zeros(P) if start is None else start).unsqueeze(-1)  # [P, 1]
    c0, c1 = c0 - B0 @ theta, c1 - B1 @ theta
    gram = _grams(B0, B1) if N <= P else _grams(B0.mT, B1.mT)  # on the smaller side
    found = []
    for lr in lrs:
        residual = c0 - lr * c1  # [R, N, K]
        back = lambda v, lr=lr: B0.mT @ v - lr * (B1.mT @ v)  # B^T v
        factor, failed = torch.linalg.cholesky_ex(_at(lr, *gram))
        if failed.any():
            raise ValueError(
                f"the outer problem is singular at inner rate {float(lr)}: {N} query points "
                f"do not determine {min(N, P)} directions; use another rate or distinct points."
            )
        solve = partial(torch.cholesky_solve, input2=factor)
        found.append(theta + (back(solve(residual)) if N <= P else solve(back(residual))))  # [R, P, K]
    return torch.stack(found, dim=1)


def _grams(B0: Tensor, B1: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """G0, G1, G2 of B B^T = G0 - lr G1 + lr^2 G2: many rates cost little more than one."""
    cross = B0 @ B1.mT
    return B0 @ B0.mT, cross + cross.mT, B1 @ B1.mT


def _at(lr: float, G0: Tensor, G1: Tensor, G2: Tensor) -> Tensor:
    return torch.sub(G0, G1, alpha=lr).add_(G2, alpha=lr * lr)


# Simulation


def test_losses(theta: Tensor, tasks: LinearTasks, lrs: Tensor) -> Tensor:
    """Query loss [A, R] of A starts theta [R, A, P] after a step each at rates lrs [A], a mean over tasks."""
    adapted = adapt(theta.unsqueeze(1), tasks.support_x, tasks.support_y, lrs)  # [R, T, A, P]
    residual = adapted @ tasks.query_x.mT - tasks.query_y.unsqueeze(-2)  # [R, T, A, Q]
    return residual.square().mean((1, 3)).T / 2


test_losses.__test__ = False  # a function of the library, not a test: pytest goes by names


def sweep(setting: MixedLinear, train_lrs, adapt_lrs, *, runs=100, test_tasks=10, points=50, seed=0) -> Tensor:
    """Simulated test loss [A, R] for A pairs of rates (a single number on either side goes with all of the other).

    A run is m training tasks, its exact MAML solution, and `test_tasks` new tasks of n_r points to adapt
    with and points - n_r to score, as in the paper (100 tasks of 50 points). All pairs of rates see the
    same draws, so a slider moves the rate and nothing else. `mean_and_interval` reduces the result over runs.
    """
    if points <= setting.adapt_points:
        raise ValueError(
            f"points={points} per test task leave nothing to score after adapt_points="
            f"{setting.adapt_points}; give more points."
        )
    train_lrs, adapt_lrs = torch.broadcast_tensors(
        *(torch.as_tensor(r, dtype=FLOAT).reshape(-1) for r in (train_lrs, adapt_lrs))
    )
    g = torch.Generator().manual_seed(seed)
    train = setting.sample(runs, g)
    n_r = setting.adapt_points
    test = replace(setting, num_tasks=test_tasks, support=n_r, queries=points - n_r).sample(runs, g)
    distinct, index = train_lrs.unique(return_inverse=True)
    theta = meta_train(train, distinct.tolist(), setting.start())  # [R, A', P]
    return test_losses(theta[:, index], test, adapt_lrs)


def mean_and_interval(losses: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over the last dimension (independent runs) and half the width of its 95 % interval."""
    return losses.mean(-1), interval95(losses)


# Closed form


def inner_gain(lr: float, points: int, dim: int) -> float:
    """h = E tr (I - lr H)^2 / p for H of `points` standard normal points: what an inner step leaves of an error.

    Exact, by E tr H^2 / p = (n + p + 1) / n.
    """
    return (1 - lr) ** 2 + lr**2 * (dim + 1) / points


@lru_cache(maxsize=4)
def _single_tasks(support: int, queries: int, dim: int) -> tuple[Tensor, ...]:
    """Of drawn single tasks, [*, Q, Q] each: G0, G1, G2 of B B^T (`_grams`), and Xq X^T X Xq^T / n^2."""
    tasks = max(32, min(DRAWN_TASKS, 4_000_000 // ((support + queries) * dim)))
    g = torch.Generator().manual_seed(0)
    x = torch.randn(tasks, support, dim, generator=g, dtype=FLOAT)
    xq = torch.randn(tasks, queries, dim, generator=g, dtype=FLOAT)
    cross = xq @ x.mT / support
    return *_grams(xq, cross @ x), cross @ cross.mT


@lru_cache(maxsize=1024)
def squared_distance(setting: MixedLinear, train_lr: float, *, large_p: bool = False) -> float:
    """D = E ||theta - w0||^2 after training at `train_lr`, brought down to averages over ONE task.

    Over-parameterised (N = m n_v < p - 1). What the other tasks leave free for task i is a random subspace
    (its overlap with the rows of B_i a matrix-variate Beta), so for any p, n_t, n_v and m, exactly,

        D = (1 - N/p) ||theta_0 - w0||^2 + (p - n_v - 1) / (p - N - 1) [ (N / p) spread^2 + m noise^2 t ],
        t = E tr (B_i B_i^T)^-1 (I + (alpha / n_t)^2 Xq X^T X Xq^T).

    `large_p=True` is the leading order, the formula at the head of this file: no average is left.

    Under-parameterised (N > p + 1). By free probability the other m - 1 tasks act on task i like a ridge of
    strength kappa, under which every task owns 1/m of the parameters: with A = B_i^T B_i and kappa such that
    tr A (A + kappa)^-1 / p = 1/m,

        D = E tr (A + kappa)^-1 K (A + kappa)^-1 / (1 - (1 - 1/m) u / g^2),   K = B_i^T Cov(c_i - B_i w0) B_i,
        u = E tr (A + kappa)^-2 / p,   g = (m - 1) / (m kappa),

    exact as p grows at fixed p/n_t, p/n_v and m; within about 2 % at p = 30.

    The averages are taken over drawn tasks, the same for every rate (t scaled to be exact at alpha = 0).
    Raises ValueError at the interpolation threshold (|N - p| <= 1), where D is infinite.
    """
    m, p, n, q = setting.num_tasks, setting.dim, setting.support, setting.queries
    N = m * q
    if abs(N - p) <= 1:
        raise ValueError(
            f"the expected loss is infinite at the interpolation threshold: {N} query points, "
            f"{p} parameters. Change num_tasks, queries or dim until they differ by 2 or more."
        )
    if N > p:
        if large_p:
            raise ValueError("large_p is the over-parameterised limit (num_tasks * queries < dim).")
        spread, noise = _underparameterised(n, q, p, m, train_lr)
        return setting.spread**2 * spread + setting.noise**2 * noise
    if large_p:
        crowding, t = 1.0, q / p * (1 + train_lr**2 * p / n) / inner_gain(train_lr, n, p)
    else:
        crowding = (p - q - 1) / (p - N - 1)
        t = q / (p - q - 1) * _noise_gain(n, q, p, train_lr) / _noise_gain(n, q, p, 0.0)
    return (1 - N / p) * setting.start_distance**2 + crowding * (N / p * setting.spread**2 + m * t * setting.noise**2)


@lru_cache(maxsize=4096)
def _noise_gain(support: int, queries: int, dim: int, lr: float) -> float:
    """t of `squared_distance`: how loud the label noise of one task is in its own solution."""
    *gram, cross = _single_tasks(support, queries, dim)
    noise = torch.eye(queries, dtype=FLOAT) + lr**2 * cross  # [*, Q, Q]
    return torch.linalg.solve(_at(lr, *gram), noise).diagonal(dim1=-2, dim2=-1).sum(-1).mean().item()


@lru_cache(maxsize=1024)
def _spectra(support: int, queries: int, dim: int, lr: float) -> tuple[Tensor, Tensor]:
    """Eigenvalues of A = B^T B that are not 0 (the small way), and how loud a noise of 1 is along each: [*, Q]."""
    *gram, cross = (part[: max(64, 4096 // queries)] for part in _single_tasks(support, queries, dim))
    a, U = torch.linalg.eigh(_at(lr, *gram))  # [*, Q], [*, Q, Q]
    return a.clamp_min(0), 1 + lr**2 * (U * (cross @ U)).sum(-2)


@lru_cache(maxsize=4096)
def _underparameterised(support: int, queries: int, dim: int, m: int, lr: float) -> tuple[float, float]:
    """What a spread of 1 and a noise of 1 add to D."""
    p, q = dim, queries
    a, loud = _spectra(support, q, p, lr)
    covariances = a / p, loud  # [*, Q] their diagonals
    if m == 1:
        return tuple((covariance / a)[:, -min(p, q) :].sum(-1).mean().item() for covariance in covariances)
    low, high = 1e-12 * a.mean().item(), m * a.max().item()  # kappa lies between
    for _ in range(60):
        kappa = (low * high) ** 0.5
        low, high = (kappa, high) if q * (a / (a + kappa)).mean().item() > p / m else (low, kappa)
    shrunk = 1 / (a + kappa)  # [*, Q]
    u = (q * shrunk.square().mean().item() + (p - q) / kappa**2) / p  # p - q more eigenvalues are 0
    left = 1 - (1 - 1 / m) * u * (m * kappa / (m - 1)) ** 2  # 1 - (1 - 1/m) u / g^2
    return tuple(q * (a * covariance * shrunk.square()).mean().item() / left for covariance in covariances)


def expected_loss(setting: MixedLinear, train_lr: float, adapt_lr: float, *, large_p: bool = False) -> float:
    """Expected loss of a new task (half the mean squared error, label noise included): the curve of figure 2.

    >>> round(expected_loss(FIGURE_2, 0.0, 0.2), 4), round(expected_loss(FIGURE_2, -0.8, 0.2), 4)
    (0.7086, 0.6873)
    """
    p, n = setting.dim, setting.adapt_points
    h = inner_gain(adapt_lr, n, p)
    distance = squared_distance(setting, train_lr, large_p=large_p)
    return (h * (setting.spread**2 + distance) + setting.noise**2 * (1 + adapt_lr**2 * p / n)) / 2


def best_adapt_lr(setting: MixedLinear, train_lr: float) -> float:
    """The adaptation rate of least expected loss (a parabola's bottom). Never negative.

    >>> best_adapt_lr(FIGURE_2, 0.2) > 0
    True
    """
    p, n = setting.dim, setting.adapt_points
    error = setting.spread**2 + squared_distance(setting, train_lr)
    return error and error / (error * (n + p + 1) / n + setting.noise**2 * p / n)


def best_train_lr(setting: MixedLinear, low: float = -3.0, high: float = 3.0) -> float:
    """The training rate of least expected loss in [low, high]; the adaptation rate plays no part in it.

    >>> best_train_lr(FIGURE_2) < 0
    True
    """
    for _ in range(4):  # a grid, then one about its best point, down to 2e-4
        grid = torch.linspace(low, high, 25, dtype=FLOAT).tolist()
        best = min(grid, key=lambda lr: squared_distance(setting, lr))
        low, high = best - (high - low) / 24, best + (high - low) / 24
    return best
