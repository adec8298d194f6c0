"""Fourier features: fits against gradient descent, errors against simulation, weights learned three ways."""

import pytest
import torch

from course_lib.chapters.features import fourier
from course_lib.chapters.features.fourier import FLOAT, FourierFamily

FREQUENCIES = 20
SPECTRUM = fourier.bump_spectrum(FREQUENCIES, centre=4)
EQUAL = torch.full((FREQUENCIES,), 1 / FREQUENCIES, dtype=FLOAT)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def points(*shape, seed=0):
    return torch.pi * (2 * torch.rand(*shape, generator=generator(seed), dtype=FLOAT) - 1)


def test_the_features_are_what_the_name_says():
    features = fourier.design_matrix(torch.tensor([0.0, torch.pi / 2], dtype=FLOAT), 2)
    expected = torch.tensor([[1, 1, 0, 0], [0, -1, 1, 0]], dtype=FLOAT)
    torch.testing.assert_close(features, expected, rtol=0, atol=1e-15)


def test_minimum_norm_fit_interpolates_and_is_the_limit_of_ridge():
    x, y = points(3, 9), torch.randn(3, 9, generator=generator(1), dtype=FLOAT)
    coefficients = fourier.fit(x, y, EQUAL)
    torch.testing.assert_close(fourier.predict(coefficients, x), y, rtol=0, atol=1e-8)
    torch.testing.assert_close(fourier.fit(x, y, EQUAL, ridge=1e-10), coefficients, rtol=0, atol=1e-5)


def test_minimum_norm_means_minimum_weighted_norm():
    """Lagrange: coefficients / weights lies in the span of the features at the points; others cost more."""
    x, y = points(7, seed=2), torch.randn(7, generator=generator(3), dtype=FLOAT)
    weights = EQUAL + SPECTRUM
    coefficients = fourier.fit(x, y, weights)
    features = fourier.design_matrix(x, FREQUENCIES)
    multiplier = torch.linalg.lstsq(features.T, coefficients / weights.repeat(2)).solution
    torch.testing.assert_close(features.T @ multiplier, coefficients / weights.repeat(2), rtol=0, atol=1e-9)
    free = torch.eye(40, dtype=FLOAT) - torch.linalg.pinv(features) @ features  # unseen at the points
    for seed in range(5):
        other = coefficients + free @ (0.1 * torch.randn(40, generator=generator(seed), dtype=FLOAT))
        assert (other.square() / weights.repeat(2)).sum() > (coefficients.square() / weights.repeat(2)).sum()


@pytest.mark.parametrize("ridge", [0.0, 0.01])
def test_gradient_descent_from_zero_on_the_weighted_features_ends_at_the_fit(ridge):
    x, y = points(5, seed=4), torch.randn(5, generator=generator(5), dtype=FLOAT)
    weights = EQUAL + 0.5 * SPECTRUM
    features = fourier.design_matrix(x, FREQUENCIES) * weights.sqrt().repeat(2)
    theta = torch.zeros(40, dtype=FLOAT, requires_grad=True)
    lr = 1 / (torch.linalg.matrix_norm(features, 2) ** 2 + ridge)
    for _ in range(4000):
        loss = ((y - features @ theta) ** 2).sum() / 2 + ridge * theta.square().sum() / 2
        (gradient,) = torch.autograd.grad(loss, theta)
        theta = (theta - lr * gradient).detach().requires_grad_()
    assert gradient.norm() < 1e-10
    coefficients = theta.detach() * weights.sqrt().repeat(2)
    torch.testing.assert_close(fourier.fit(x, y, weights, ridge), coefficients, rtol=0, atol=1e-7)


def test_with_fewer_features_than_points_the_fit_is_least_squares():
    x, y = points(9, seed=6), torch.randn(9, generator=generator(7), dtype=FLOAT)
    coefficients = fourier.fit(x, y, fourier.keep_principal(SPECTRUM, 2))  # frequencies 4 and 3 or 5
    kept = coefficients != 0
    assert kept.sum() == 4
    expected = torch.linalg.lstsq(fourier.design_matrix(x, FREQUENCIES)[:, kept], y).solution
    torch.testing.assert_close(coefficients[kept], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("ridge", [0.0, 0.09])
def test_the_fit_as_a_linear_map_is_the_fit(ridge):
    x, y = points(2, 6, seed=8), torch.randn(2, 6, generator=generator(9), dtype=FLOAT)
    by_map = (fourier.fit_matrix(x, EQUAL, ridge) @ y.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(fourier.fit(x, y, EQUAL, ridge), by_map, rtol=0, atol=1e-10)


@pytest.mark.parametrize("weights", [EQUAL, SPECTRUM, fourier.keep_principal(SPECTRUM, 3)])
@pytest.mark.parametrize("noise, ridge", [(0.0, 0.0), (0.3, 0.09), (0.3, 1.0)])
def test_expected_error_is_the_simulated_one(weights, noise, ridge):
    family = FourierFamily(SPECTRUM, noise)
    tasks = family.sample(20_000, 6, 1, generator(10))
    x = tasks.support_x[:1]  # the same six points for all
    clean = fourier.predict(tasks.coefficients, x.expand(20_000, -1))
    y = clean + noise * torch.randn(clean.shape, generator=generator(11), dtype=FLOAT)
    fitted = y @ fourier.fit_matrix(x[0], weights, ridge).T  # [T, P]
    truth = fourier.predict(tasks.coefficients, tasks.query_x)
    error = (fourier.predict(fitted, tasks.query_x) - truth).square()
    expected = fourier.expected_error(family, x, weights, ridge).item()
    assert abs(error.mean().item() - expected) < 3 * error.std().item() / 20_000**0.5


def test_the_error_is_least_at_the_familys_spectrum():
    """The gradient in every log weight vanishes there, for every set of points; and moving away costs."""
    family, x = FourierFamily(SPECTRUM, noise=0.2), points(4, 8, seed=12)
    log_weights = SPECTRUM.log().requires_grad_()
    error = fourier.expected_error(family, x, log_weights.exp(), 0.04).sum()
    (gradient,) = torch.autograd.grad(error, log_weights)
    assert gradient.abs().max() < 1e-12
    best = fourier.expected_error(family, x, SPECTRUM, 0.04)
    for seed in range(5):
        change = 0.3 * torch.randn(FREQUENCIES, generator=generator(seed), dtype=FLOAT)
        other = SPECTRUM * change.exp()
        assert (fourier.expected_error(family, x, other, 0.04) > best).all()


def test_gradient_through_the_solve_is_the_finite_difference():
    tasks = FourierFamily(SPECTRUM, 0.1).sample(3, 5, 4, generator(13))
    for ridge in (0.01, 0.0):
        assert torch.autograd.gradcheck(
            lambda w: fourier.query_loss(tasks, w.exp(), ridge), EQUAL.log().requires_grad_(), eps=1e-6, atol=1e-6
        )


def test_equal_weights_alias_and_the_right_weights_generalise():
    """12 points, 100 features: equal weights lose almost everything, the spectrum almost nothing."""
    spectrum = fourier.bump_spectrum(50)
    family, x = FourierFamily(spectrum), points(100, 12, seed=14)
    equal = fourier.expected_error(family, x, torch.ones(50, dtype=FLOAT)).mean()
    right = fourier.expected_error(family, x, spectrum).mean()
    assert 0.85 * family.power < equal < 0.92 * family.power and right < 0.06 * family.power


def test_equal_weights_on_an_even_grid_alias_exactly():
    """S even points make frequencies d, S - d, S + d, .. look alike: the signal is shared among them."""
    S, D = 9, 31  # frequency 2 looks like 7, 11, 16, 20, 25 and 29
    x = 2 * torch.pi * torch.arange(S, dtype=FLOAT) / S
    coefficients = fourier.fit(x, (2 * x).cos(), torch.ones(D, dtype=FLOAT))
    expected = torch.zeros(2 * D, dtype=FLOAT)
    expected[[1, 6, 10, 15, 19, 24, 28]] = 1 / 7
    torch.testing.assert_close(coefficients, expected, rtol=0, atol=1e-12)


def test_closed_form_weights_from_known_coefficients_and_from_few_shot_tasks():
    tasks = FourierFamily(SPECTRUM, 0.1).sample(20_000, 5, 1, generator(15))  # 5 points, 40 coefficients
    known = fourier.spectrum_from_coefficients(tasks.coefficients)
    few_shot = fourier.spectrum_from_tasks(tasks.support_x, tasks.support_y, FREQUENCIES)
    torch.testing.assert_close(known, SPECTRUM, rtol=0, atol=0.01)
    torch.testing.assert_close(few_shot, SPECTRUM, rtol=0, atol=0.03)


def test_few_shot_estimate_is_least_squares_over_all_pairs():
    tasks = FourierFamily(SPECTRUM + 0.2).sample(30, 4, 1, generator(16))
    x, y = tasks.support_x, tasks.support_y
    i, j = torch.triu_indices(4, 4, offset=1)
    d = torch.arange(1, 4, dtype=FLOAT)
    cosines = (d * (x[:, i] - x[:, j]).unsqueeze(-1)).cos().flatten(0, 1)
    expected = torch.linalg.lstsq(cosines, (y[:, i] * y[:, j]).flatten()).solution.clamp_min(0)
    torch.testing.assert_close(fourier.spectrum_from_tasks(x, y, 3), expected, rtol=0, atol=1e-10)


def test_meta_learning_by_gradient_comes_to_the_closed_form():
    family = FourierFamily(SPECTRUM, noise=0.3)
    tasks = family.sample(1000, 8, 8, generator(17))
    learned = fourier.meta_learn(tasks, FREQUENCIES, ridge=0.09, steps=150)
    x = points(200, 8, seed=18)
    start, end, best = (
        fourier.expected_error(family, x, weights, 0.09).mean() for weights in (EQUAL, learned.weights, SPECTRUM)
    )
    assert end - best < 0.05 * (start - best)
    closed = fourier.spectrum_from_coefficients(tasks.coefficients)
    assert torch.nn.functional.cosine_similarity(learned.weights, closed, dim=0) > 0.98


def test_more_training_tasks_learn_better_weights():
    family, x = FourierFamily(SPECTRUM, noise=0.3), points(100, 8, seed=19)
    errors = []
    for num_tasks in (3, 30, 3000):
        tasks = family.sample(num_tasks, 8, 0, generator(20))
        weights = fourier.spectrum_from_tasks(tasks.support_x, tasks.support_y, FREQUENCIES)
        errors.append(fourier.expected_error(family, x, weights, 0.09).mean().item())
    assert errors[0] > errors[1] > errors[2]


def test_same_seed_same_bits():
    one, two = (FourierFamily(SPECTRUM).sample(3, 4, 5, generator(21)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, two))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: FourierFamily(-SPECTRUM), "spectrum must be finite and not negative"),
        (lambda: FourierFamily(SPECTRUM, noise=-0.1), "noise must be finite"),
        (lambda: FourierFamily(SPECTRUM).sample(2, 0, 3, generator()), "at least one support point"),
        (lambda: fourier.fit(points(3), points(3), torch.zeros(4)), "at least one above 0"),
        (lambda: fourier.fit(points(3), points(3), EQUAL[None]), r"shape \[D\]"),
        (lambda: fourier.fit(points(3), points(3), EQUAL, ridge=-1.0), "ridge must be finite"),
        (lambda: fourier.keep_principal(EQUAL, 0), "r must be between 1 and"),
        (lambda: fourier.spectrum_from_tasks(points(2, 3), points(2, 3), 20), "too few for 20 frequencies"),
        (lambda: fourier.spectrum_from_tasks(points(9, 5), torch.zeros(9, 5, dtype=FLOAT), 4), "labels zero"),
        (lambda: fourier.meta_learn(FourierFamily(EQUAL).sample(2, 3, 3, generator()), 20, ridge=0), "above 0"),
    ],
)
def test_bad_input_says_what_to_do(call, message):
    with pytest.raises(ValueError, match=message):
        call()
