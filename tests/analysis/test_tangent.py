"""Tangent features by independent routes: analytic networks, finite differences, and fine-tuning really
run."""

import math
from collections import OrderedDict

import pytest
import torch
from torch import nn

from course_lib import checkpoints
from course_lib.analysis.tangent import (
    Linearised,
    alignment,
    eigenfunctions,
    energy_share,
    feature_reuse,
    finetune_weights,
    flow_weights,
    linear_cka,
    linear_finetune,
    minimum_norm_fit,
    principal_directions,
    tangent_features,
)
from course_lib.inner_loop import adapt, predict, stack_params
from course_lib.losses import mse
from course_lib.models import MLP, Conv4
from course_lib.tasks import SinusoidTasks
from course_lib.tasks.sinusoid import sinusoid

GRID = torch.linspace(-5, 5, 200, dtype=torch.float64).unsqueeze(1)  # [200, 1]


def mlp(**changes) -> MLP:
    return MLP(**{"hidden": (8, 6), "activation": nn.Tanh, "seed": 0} | changes).double()


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sinusoids(num_tasks=4, seed=0):
    batch = SinusoidTasks().sample(num_tasks, generator=torch.Generator().manual_seed(seed))
    return batch.map(lambda tensor: tensor.double())


def finite_difference_features(model, x, eps=1e-6):
    columns = []
    with torch.no_grad():
        for p in model.parameters():
            for i in range(p.numel()):
                flat, kept = p.view(-1), p.view(-1)[i].item()
                flat[i] = kept + eps
                above = model(x).flatten()
                flat[i] = kept - eps
                below = model(x).flatten()
                flat[i] = kept
                columns.append((above - below) / (2 * eps))
    return torch.stack(columns, 1)


# Tangent features


def test_features_against_finite_differences_with_several_outputs():
    model, x = mlp(out_features=3, in_features=2), normal(5, 2)
    torch.testing.assert_close(tangent_features(model, x), finite_difference_features(model, x), rtol=0, atol=1e-8)


@pytest.mark.parametrize("model", [mlp(out_features=2), mlp(activation=nn.ReLU)])
def test_examples_apart_or_together_give_the_same_features(model):
    x = normal(6, 1)
    apart, together = (tangent_features(model, x, together=together) for together in (False, True))
    torch.testing.assert_close(apart, together, rtol=0, atol=1e-13)


def test_batch_statistics_are_differentiated_through():
    """A batch-normalised output depends on the other points of the batch, and that is found by itself."""
    model, x = Conv4(ways=2, filters=2, seed=0).double(), normal(3, 1, 28, 28).abs()
    features = tangent_features(model, x)
    assert features.shape == (6, sum(p.numel() for p in model.parameters()))
    torch.testing.assert_close(features, finite_difference_features(model, x), rtol=1e-4, atol=1e-6)


def test_only_selects_columns():
    model, x = mlp(), normal(7, 1)
    everything = tangent_features(model, x)
    body, head = (tangent_features(model, x, only) for only in ("features", "head"))
    assert torch.equal(torch.cat([body, head], 1), everything)
    expected = torch.cat([model.features(x), torch.ones(7, 1, dtype=x.dtype)], 1)  # last-layer features, and the bias
    torch.testing.assert_close(head, expected.detach(), rtol=0, atol=1e-14)
    with pytest.raises(ValueError, match="tail"):
        tangent_features(model, x, "tail")


def test_a_model_with_one_number_a_point():
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(normal(3))

        def forward(self, x):
            return (x @ self.w).sin()

    model, x = Plain(), normal(4, 3)
    expected = torch.cos(x @ model.w).unsqueeze(1) * x
    torch.testing.assert_close(tangent_features(model, x), expected.detach(), rtol=0, atol=1e-14)


def test_kernel_of_a_linear_model_is_that_of_its_inputs():
    x = normal(6, 4)
    features = tangent_features(nn.Linear(4, 1).double(), x)
    torch.testing.assert_close(features @ features.T, x @ x.T + 1, rtol=0, atol=1e-13)


def test_kernel_of_a_deep_linear_network():
    """f(x) = v W x without biases: K(x, x') = |v|^2 x.x' + (W x).(W x')."""
    body, head = nn.Linear(3, 5, bias=False).double(), nn.Linear(5, 1, bias=False).double()
    model, x = nn.Sequential(body, head), normal(6, 3)
    features = tangent_features(model, x)
    hidden = x @ body.weight.T
    expected = head.weight.square().sum() * x @ x.T + hidden @ hidden.T
    torch.testing.assert_close(features @ features.T, expected.detach(), rtol=0, atol=1e-13)


# Spectrum and the task


def test_eigenfunctions_solve_their_equation():
    features = tangent_features(mlp(), GRID)
    kernel = features @ features.T
    values, functions = eigenfunctions(kernel)
    assert (values[:-1] >= values[1:]).all()
    torch.testing.assert_close(kernel @ functions / 200, functions * values, rtol=0, atol=1e-11)
    torch.testing.assert_close(functions.T @ functions / 200, torch.eye(200).double(), rtol=0, atol=1e-11)
    assert (functions.gather(0, functions.abs().argmax(0, keepdim=True)) > 0).all()


def test_eigenfunctions_of_a_known_kernel():
    """K(x, x') = 3 cos x cos x' + sin x sin x' + over whole periods has eigenvalues 3/2 and 1/2."""
    x = 2 * math.pi * torch.arange(64, dtype=torch.float64) / 64
    kernel = 3 * torch.outer(x.cos(), x.cos()) + torch.outer(x.sin(), x.sin())
    values, functions = eigenfunctions(kernel)
    torch.testing.assert_close(values[:3], torch.tensor([1.5, 0.5, 0.0], dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(functions[:, 0].abs(), math.sqrt(2) * x.cos().abs(), rtol=0, atol=1e-7)
    shares = energy_share(functions, torch.stack([x.cos(), x.sin() * 2]))
    torch.testing.assert_close(shares[:3], torch.tensor([0.2, 1.0, 1.0], dtype=torch.float64), rtol=0, atol=1e-12)


def test_all_eigenfunctions_hold_all_energy_and_shares_only_grow():
    features = tangent_features(mlp(), GRID)
    shares = energy_share(eigenfunctions(features @ features.T).functions, GRID.sin().T)
    assert (shares.diff() >= 0).all() and abs(shares[-1] - 1) < 1e-12


def test_share_of_the_sinusoids_at_random_initialisation():
    """Measured before, one seed: 0.07 / 0.13 / 0.24 / 0.82 / 0.93 for the top 1 / 2 / 3 / 5 / 8."""
    generator = torch.Generator().manual_seed(0)
    info = SinusoidTasks().sample(500, generator=generator).info
    curves = sinusoid(GRID.expand(500, -1, -1), info["amplitude"].double(), info["phase"].double())[..., 0]
    shares = []
    for seed in range(5):
        features = tangent_features(MLP(seed=seed).double(), GRID)
        shares.append(energy_share(eigenfunctions(features @ features.T).functions, curves))
    mean = torch.stack(shares).mean(0)[[0, 1, 2, 4, 7]]
    torch.testing.assert_close(
        mean, torch.tensor([0.07, 0.13, 0.24, 0.82, 0.93], dtype=torch.float64), rtol=0, atol=0.05
    )


def test_meta_training_turns_the_principal_features_toward_the_task():
    """MAML's first three hold most of the sinusoids' energy; those of pre-training with one head do not."""
    info = SinusoidTasks().sample(500, generator=torch.Generator().manual_seed(0)).info
    curves = sinusoid(GRID.expand(500, -1, -1), info["amplitude"].double(), info["phase"].double())[..., 0]
    share, aligned = {}, {}
    for name in ("sinusoid/maml_k1", "sinusoid/pretrained"):
        features = tangent_features(checkpoints.load(name)[0].double(), GRID)
        kernel = features @ features.T
        share[name] = energy_share(eigenfunctions(kernel).functions, curves)[2].item()
        aligned[name] = alignment(kernel, curves).item()
    assert share["sinusoid/maml_k1"] > 0.75 and share["sinusoid/pretrained"] < 0.4
    assert aligned["sinusoid/maml_k1"] > 0.6 and aligned["sinusoid/pretrained"] < 0.4


def test_alignment_is_one_for_the_ideal_kernel_and_drops_with_a_wrong_one():
    curve = GRID.sin().T  # [1, 200]
    assert abs(alignment(curve.T @ curve, curve) - 1) < 1e-12
    orthogonal = GRID.T.square() - (GRID.T.square() @ curve.T) / curve.square().sum() * curve
    assert alignment(orthogonal.T @ orthogonal, curve).abs() < 1e-12


# Linearised fine-tuning


@pytest.mark.parametrize("only", [None, "head"])
def test_closed_form_equals_the_linearised_model_stepped(only):
    model, batch, steps, lr = mlp(activation=nn.ReLU), sinusoids(), 12, 0.03
    linear = Linearised(model)
    params = adapt(
        linear,
        stack_params(linear, 4),
        batch.support_x,
        batch.support_y,
        loss_fn=mse,
        steps=steps,
        lr=lr,
        only=only,
    )
    stepped = predict(linear, params, batch.query_x)[..., 0]  # [T, Q]
    support, query = (
        torch.stack([tangent_features(model, x, only) for x in points]) for points in (batch.support_x, batch.query_x)
    )
    residual = (batch.support_y - model(batch.support_x))[..., 0].detach()
    moved = linear_finetune(support, residual, query, steps=steps, lr=lr)  # [steps + 1, T, Q]
    closed = model(batch.query_x)[..., 0] + moved[-1]
    torch.testing.assert_close(closed, stepped, rtol=0, atol=1e-10)
    assert moved[0].abs().max() == 0


def test_a_linearised_model_goes_whole_to_another_precision():
    model, x = MLP(seed=0), torch.linspace(-1, 1, 5, dtype=torch.float64)[:, None]
    linear = Linearised(model).double()
    assert torch.equal(linear(x), model.double()(x))
    linear.to(torch.float32)
    assert linear(x.float()).dtype == torch.float32


def test_a_linearised_model_is_judged_without_dropout():
    model = nn.Sequential(OrderedDict(features=nn.Sequential(nn.Linear(1, 8), nn.Dropout(0.5)), head=nn.Linear(8, 1)))
    linear, x = Linearised(model).eval(), torch.linspace(-1, 1, 5)[:, None]
    assert torch.equal(linear(x), model.eval()(x))
    assert not torch.equal(linear.train()(x), linear(x))


def test_linearised_is_the_tangent_plane():
    model, x = mlp(out_features=2), normal(5, 1)
    linear = Linearised(model)
    direction = [normal(*p.shape, seed=i) for i, p in enumerate(linear.parameters())]
    with torch.no_grad():
        for p, d in zip(linear.parameters(), direction):
            p.add_(d)
    moved = tangent_features(model, x) @ torch.cat([d.flatten() for d in direction])
    torch.testing.assert_close(linear(x).detach(), model(x).detach() + moved.view(5, 2), rtol=0, atol=1e-12)


def test_linearised_approaches_the_network_quadratically_in_the_rate():
    """f(theta0 + d) - f_lin(theta0 + d) is of second order in d, hence in the rate."""
    model, batch = mlp(), sinusoids(1)
    x, y, query = batch.support_x, batch.support_y, batch.query_x
    support, wanted = tangent_features(model, x[0]), tangent_features(model, query[0])
    gaps = []
    for lr in (1e-3, 5e-4):
        real = predict(model, adapt(model, stack_params(model, 1), x, y, loss_fn=mse, steps=3, lr=lr), query)
        moved = linear_finetune(support, (y - model(x)).detach()[0, :, 0], wanted, steps=3, lr=lr)[-1]
        gaps.append((real[0, :, 0] - model(query)[0, :, 0] - moved).abs().max().item())
    assert 3.5 < gaps[0] / gaps[1] < 4.5


def test_gradient_flow_is_the_limit_of_small_steps():
    support, residual, query = normal(6, 20), normal(6, seed=1), normal(9, 20, seed=2)
    flow = linear_finetune(support, residual, query, steps=1, lr=0.05, flow=True)[-1]
    errors = []
    for pieces in (100, 200):
        steps = linear_finetune(support, residual, query, steps=pieces, lr=0.05 / pieces)[-1]
        errors.append((steps - flow).abs().max().item())
    assert errors[1] < 5e-3 and 1.9 < errors[0] / errors[1] < 2.1  # first order in the step


def test_weights_against_their_closed_forms_and_at_zero():
    values = torch.tensor([0.0, 1e-14, 0.3, 2.0, 7.0], dtype=torch.float64)
    weights, flow = finetune_weights(values, 5, 0.2), flow_weights(values, 5, 0.2)
    torch.testing.assert_close(weights[5, 2:], (1 - (1 - 0.2 * values[2:]) ** 5) / values[2:], rtol=1e-13, atol=0)
    torch.testing.assert_close(flow[5, 2:], (1 - (-values[2:]).exp()) / values[2:], rtol=1e-13, atol=0)
    ones = torch.ones(2, dtype=torch.float64)
    torch.testing.assert_close(weights[5, :2], ones)
    torch.testing.assert_close(flow[5, :2], ones)


# Minimum-norm fits


def test_many_steps_end_at_the_minimum_norm_fit():
    support, residual, query = normal(4, 30), normal(4, seed=1), normal(7, 30, seed=2)
    fit = query @ minimum_norm_fit(support, residual)
    stepped = linear_finetune(support, residual, query, steps=3000, lr=0.03)[-1]
    torch.testing.assert_close(stepped, fit, rtol=0, atol=1e-10)


def test_minimum_norm_fit_interpolates_and_no_fit_is_shorter():
    features, residual = normal(5, 40), normal(5, seed=1)
    w = minimum_norm_fit(features, residual)
    torch.testing.assert_close(features @ w, residual, rtol=0, atol=1e-12)
    null = torch.linalg.svd(features).Vh[5:]  # directions that change no output: w must have none of them
    assert (null @ w).abs().max() < 1e-13


def test_too_few_principal_features_give_least_squares():
    grid, residual = normal(50, 40), normal(8, seed=1)
    directions = principal_directions(grid, 3)
    torch.testing.assert_close(directions.T @ directions, torch.eye(3).double(), rtol=0, atol=1e-13)
    features = normal(8, 40, seed=3) @ directions
    w = minimum_norm_fit(features, residual)
    assert (features.T @ (features @ w - residual)).abs().max() < 1e-12  # the normal equations
    with pytest.raises(ValueError, match="rank must be 1 to 40"):
        principal_directions(grid, 41)


def test_principal_directions_give_the_kernels_eigenfunctions():
    features = tangent_features(mlp(), GRID)
    values, functions = eigenfunctions(features @ features.T)
    outputs = features @ principal_directions(features, 4)  # column i is sqrt(lambda_i) phi_i, up to sign
    torch.testing.assert_close(outputs.abs(), (functions[:, :4] * values[:4].sqrt()).abs(), rtol=0, atol=1e-8)


# Similarity of representations


def test_cka_is_blind_to_what_it_should_be():
    a = normal(60, 4)
    rotation = torch.linalg.qr(normal(4, 4, seed=1)).Q
    assert abs(linear_cka(a, 3 * a @ rotation + 5) - 1) < 1e-12
    mixed = a @ normal(4, 4, seed=2)
    assert linear_cka(a, mixed) < 0.99
    assert linear_cka(normal(4000, 4), normal(4000, 4, seed=3)) < 0.01


def test_training_the_head_alone_reuses_all_features():
    model, batch = mlp(), sinusoids()
    start = stack_params(model, 4)
    x = GRID.expand(4, -1, -1)
    for only, reused in (("head", True), (None, False)):
        end = adapt(model, start, batch.support_x, batch.support_y, loss_fn=mse, steps=5, lr=0.05, only=only)
        similarity = feature_reuse(model, start, end, x)
        assert similarity.shape == (4,)
        assert bool(((similarity - 1).abs() < 1e-12).all()) is reused
