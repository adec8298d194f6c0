"""Mixed linear regression: loops against autograd, closed forms against simulation and exact cases."""

from dataclasses import replace

import pytest
import torch

from course_lib.chapters.union import mixed_linear
from course_lib.chapters.union.mixed_linear import FIGURE_2, FLOAT, MixedLinear

SMALL_OVER = MixedLinear(support=6, queries=2, num_tasks=3, dim=10, adapt_points=5, start_distance=0.7)
SMALL_UNDER = MixedLinear(support=6, queries=5, num_tasks=4, dim=10, adapt_points=5, start_distance=0.7)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def loss_of(theta, x, y):
    return ((y - x @ theta) ** 2).mean() / 2


def maml_loss(theta, tasks, lr):
    """MAML's outer loss of the first run, by autograd alone; one term per task."""
    losses = []
    for x, y, xq, yq in zip(tasks.support_x[0], tasks.support_y[0], tasks.query_x[0], tasks.query_y[0]):
        (gradient,) = torch.autograd.grad(loss_of(theta, x, y), theta, create_graph=True)
        losses.append(loss_of(theta - lr * gradient, xq, yq))
    return torch.stack(losses)


def test_adapt_is_one_step_of_gradient_descent_for_each_rate():
    tasks = FIGURE_2.sample(1, generator())
    x, y = tasks.support_x[0, 0], tasks.support_y[0, 0]
    theta = torch.randn(60, generator=generator(1), dtype=FLOAT, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss_of(theta, x, y), theta)
    rates = torch.tensor([-0.3, 0.0, 0.2], dtype=FLOAT)
    adapted = mixed_linear.adapt(theta.detach().expand(3, 60), x, y, rates)
    torch.testing.assert_close(adapted, theta.detach() - rates[:, None] * gradient, rtol=0, atol=1e-12)


@pytest.mark.parametrize("setting", [SMALL_OVER, SMALL_UNDER])
@pytest.mark.parametrize("lr", [-0.4, 0.0, 0.3])
def test_meta_training_ends_where_gradient_descent_on_the_maml_loss_ends(setting, lr):
    tasks = setting.sample(1, generator())
    theta = setting.start().requires_grad_()
    curvature = torch.autograd.functional.hessian(lambda t: maml_loss(t, tasks, lr).sum(), setting.start())
    outer_lr = 1.0 / torch.linalg.eigvalsh(curvature).max()
    for _ in range(4000):
        (gradient,) = torch.autograd.grad(maml_loss(theta, tasks, lr).sum(), theta)
        if gradient.norm() < 1e-10:
            break
        theta = (theta - outer_lr * gradient).detach().requires_grad_()
    solution = mixed_linear.meta_train(tasks, [lr], setting.start())[0, 0]
    torch.testing.assert_close(solution, theta.detach(), rtol=0, atol=1e-8)


@pytest.mark.parametrize("setting", [SMALL_OVER, SMALL_UNDER])
def test_meta_training_is_the_pseudo_inverse(setting):
    tasks = setting.sample(3, generator(2))
    B0, B1, c0, c1 = mixed_linear.outer_parts(tasks)
    B, c = B0 - 0.3 * B1, (c0 - 0.3 * c1).squeeze(-1)
    start = setting.start()
    expected = start + (torch.linalg.pinv(B) @ (c - B @ start).unsqueeze(-1)).squeeze(-1)
    found = mixed_linear.meta_train(tasks, [0.3], start)[:, 0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_sets_of_other_labels_are_solved_with_one_factor():
    tasks = SMALL_OVER.sample(3, generator(2))
    other = tasks._replace(support_y=-tasks.support_y, query_y=2 * tasks.query_y)
    both = {name: torch.stack([getattr(tasks, name), getattr(other, name)], -1) for name in ("support_y", "query_y")}
    parts = mixed_linear.outer_parts(tasks._replace(**both))
    together = mixed_linear.solutions(*parts, [0.3, -0.1], SMALL_OVER.start())
    for found, alone in zip(together.unbind(-1), (tasks, other), strict=True):
        expected = mixed_linear.meta_train(alone, [0.3, -0.1], SMALL_OVER.start())
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n, p", [(5, 1), (7, 12), (20, 8)])
def test_what_an_inner_step_leaves_of_an_error(n, p):
    lr, runs = 0.3, 10_000
    H = torch.randn(runs, n, p, generator=generator(7), dtype=FLOAT)
    M = torch.eye(p, dtype=FLOAT) - lr * H.mT @ H / n
    mean, half_width = mixed_linear.mean_and_interval(M.square().sum((1, 2)) / p)
    assert abs(mean - mixed_linear.inner_gain(lr, n, p)) < 1.5 * half_width < 0.05 * mean


def test_without_an_inner_step_the_distance_is_the_textbook_one():
    """alpha = 0, no spread: minimum-norm and ordinary least squares on N = m n_v Gaussian points."""
    over = MixedLinear(spread=0.0, start_distance=2.0)
    expected = 4.0 * (1 - 6 / 60) + 6 / (60 - 6 - 1)
    assert mixed_linear.squared_distance(over, 0.0) == pytest.approx(expected, rel=1e-12)
    for queries, num_tasks in ((2, 100), (30, 4), (100, 1)):
        under = MixedLinear(spread=0.0, queries=queries, num_tasks=num_tasks)
        expected = 60 / (queries * num_tasks - 60 - 1)
        assert mixed_linear.squared_distance(under, 0.0) == pytest.approx(expected, rel=0.03)


RATES = [-1.0, -0.5, -0.2, 0.0, 0.2, 0.4, 0.8]


@pytest.mark.parametrize(
    "setting, runs",
    [
        (FIGURE_2, 1000),
        (MixedLinear(start_distance=1.0, queries=4, num_tasks=8), 300),  # 32 query points, 60 parameters
        (MixedLinear(support=4, queries=12, num_tasks=2, dim=40), 400),  # few support points: wide spectra
        (MixedLinear(support=5, queries=25, num_tasks=12, dim=30, adapt_points=10, noise=0.4, spread=0.4), 150),
        (MixedLinear(support=20, queries=4, num_tasks=12, dim=30), 400),  # 48 points, 30 parameters: the peak
    ],
)
def test_distance_in_closed_form_is_the_simulated_one(setting, runs):
    tasks = setting.sample(runs, generator(8))
    theta = mixed_linear.meta_train(tasks, RATES, setting.start())  # [R, A, P]
    mean, half_width = mixed_linear.mean_and_interval(theta.square().sum(-1).T)  # w0 = 0
    expected = torch.tensor([mixed_linear.squared_distance(setting, lr) for lr in RATES], dtype=FLOAT)
    assert ((mean - expected).abs() < 1.5 * half_width + 0.025 * expected).all()  # 3 standard errors, 2 %


def test_figure_2_simulation_sits_on_the_curves():
    for train, adapt in ((RATES, 0.2), (0.2, [-0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4])):
        mean, half_width = mixed_linear.mean_and_interval(
            mixed_linear.sweep(FIGURE_2, train, adapt, runs=300, test_tasks=10, seed=1)
        )
        pairs = [(t, adapt) for t in RATES] if train is RATES else [(train, a) for a in adapt]
        expected = torch.tensor([mixed_linear.expected_loss(FIGURE_2, *pair) for pair in pairs], dtype=FLOAT)
        assert ((mean - expected).abs() < half_width).all()
        assert (half_width < 0.04 * expected).all()


def test_the_loss_of_a_given_start_is_exact_in_the_adaptation_rate():
    """Thousands of new tasks for ONE start at a known distance."""
    setting = MixedLinear(dim=12, adapt_points=7, start_distance=1.5)
    test = replace(setting, num_tasks=1, support=7, queries=20).sample(4000, generator(9))
    rates = torch.tensor([-0.3, 0.0, 0.3, 0.6], dtype=FLOAT)
    losses = mixed_linear.test_losses(setting.start().expand(4000, 4, 12), test, rates)
    mean, half_width = mixed_linear.mean_and_interval(losses)
    h = (1 - rates) ** 2 + rates**2 * 13 / 7
    expected = (h * (0.25 + 1.5**2) + 1 + rates**2 * 12 / 7) / 2
    assert ((mean - expected).abs() < 1.5 * half_width).all()


def test_the_large_p_limit_is_reached_like_one_over_p():
    gaps = []
    for p in (60, 240):
        setting = MixedLinear(dim=p, support=p // 2)
        full = mixed_linear.squared_distance(setting, -0.3)
        gaps.append(full / mixed_linear.squared_distance(setting, -0.3, large_p=True) - 1)
    assert 0.05 < gaps[0] < 0.25
    assert gaps[1] == pytest.approx(gaps[0] / 4, rel=0.25)


@pytest.mark.parametrize("changes", [{}, {"support": 100}, {"noise": 0.2}, {"dim": 100}, {"spread": 2.0}])
def test_overparameterised_training_wants_a_negative_rate_and_adaptation_a_positive_one(changes):
    setting = MixedLinear(**changes)
    assert mixed_linear.best_train_lr(setting) < -0.1
    for train_lr in (-0.5, 0.0, 0.5):
        best = mixed_linear.best_adapt_lr(setting, train_lr)
        around = [mixed_linear.expected_loss(setting, train_lr, best + step) for step in (-1e-3, 0, 1e-3)]
        assert best > 0 and around[1] == min(around)


def test_simulation_alone_shows_the_sign():
    losses = mixed_linear.sweep(FIGURE_2, [-0.8, 0.0, 0.4], 0.2, runs=400, seed=2)
    for better, worse in ((0, 1), (1, 2)):  # paired: the same draws
        gain, half_width = mixed_linear.mean_and_interval(losses[worse] - losses[better])
        assert gain > half_width


def test_same_seed_same_bits_and_other_seed_other_draw():
    one, two = (mixed_linear.sweep(FIGURE_2, [0.1], 0.2, runs=5, seed=3) for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.equal(one, mixed_linear.sweep(FIGURE_2, [0.1], 0.2, runs=5, seed=4))
    alone = mixed_linear.sweep(FIGURE_2, [0.1, 0.5], 0.2, runs=5, seed=3)[0]  # draws ignore the rates
    torch.testing.assert_close(alone, one[0], rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: MixedLinear(num_tasks=0), "num_tasks must be a whole number"),
        (lambda: MixedLinear(dim=2.5), "dim must be a whole number"),
        (lambda: MixedLinear(noise=-1.0), "noise must be finite"),
        (lambda: MixedLinear(spread=float("nan")), "spread must be finite"),
        (lambda: mixed_linear.sweep(FIGURE_2, 0.1, 0.2, points=20), "nothing to score"),
        (lambda: mixed_linear.squared_distance(MixedLinear(num_tasks=30), 0.1), "interpolation threshold"),
        (lambda: mixed_linear.squared_distance(MixedLinear(num_tasks=60), 0.1, large_p=True), "the over-param"),
    ],
)
def test_bad_input_says_what_to_do(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_singular_outer_problem_is_an_error_not_a_nan():
    tasks = FIGURE_2.sample(1, generator(10))
    tasks.query_x[:, :, 1] = tasks.query_x[:, :, 0]
    with pytest.raises(ValueError, match="singular"):
        mixed_linear.meta_train(tasks, [0.0])
