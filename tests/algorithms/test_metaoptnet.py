"""The SVM head against a quadratic programming library and its own duality gap, and the gradient through it."""

from __future__ import annotations

import numpy as np
import pytest
import quadprog
import torch
from torch import nn

from course_lib.algorithms import MetaOptNet, solvers
from course_lib.algorithms.base import trainable
from course_lib.algorithms.solvers import one_hot, svm_head
from course_lib.inner_loop import predict
from tests.classes import classification, labels_of, points, tiny_classifier
from tests.gradients import EVERY_CHUNK, TIGHT, finite_differences, largest_difference

NAN = float("nan")

# ways, shots, features, C, spread: one shot and many, separable and not, more points than features and the reverse
PROBLEMS = [
    (5, 1, 64, 0.1, 0.5),
    (5, 5, 64, 0.1, 1.0),
    (5, 5, 10, 10.0, 0.3),
    (5, 5, 3, 1.0, 2.0),
    (5, 5, 3, 0.001, 2.0),
    (3, 4, 2, 100.0, 0.1),
    (3, 4, 2, 30.0, 3.0),
    (2, 10, 2, 1.0, 1.0),
    (2, 1, 1, 1.0, 1.0),
]


def oracle(z, labels, C):
    """The primal of arXiv 1904.03758, eq. 4, for one task by quadprog, in (w, xi): [W, D].

    quadprog wants a strictly convex problem, so each xi has a quadratic term of 1e-9 min(C, 1 / C).
    """
    z, labels = z.numpy(), labels.numpy()
    num_points, num_features = z.shape
    ways = labels.max() + 1
    size = ways * num_features
    quadratic = np.diag(np.r_[np.ones(size), np.full(num_points, 1e-9 * min(C, 1 / C))])
    linear = -np.r_[np.zeros(size), np.full(num_points, C)]
    rows, bounds = [], []
    for n in range(num_points):
        for k in range(ways):
            row = np.zeros(size + num_points)
            row[labels[n] * num_features : (labels[n] + 1) * num_features] += z[n]
            row[k * num_features : (k + 1) * num_features] -= z[n]
            row[size + n] = 1  # for k = y_n this reads xi_n >= 0
            rows.append(row)
            bounds.append(float(k != labels[n]))
    solution = quadprog.solve_qp(quadratic, linear, np.array(rows).T, np.array(bounds))[0]
    return torch.tensor(solution[:size].reshape(ways, num_features))


def primal(z, labels, C, weight):
    """sum |w_k|^2 / 2 + C sum of hinge losses [T]."""
    scores = z @ weight.mT  # [T, S, W]
    own = scores.gather(2, labels[..., None])
    hinge = (scores - own + 1 - one_hot(labels, weight.shape[1], z.dtype)).amax(2)  # [T, S]
    return weight.square().sum((1, 2)) / 2 + C * hinge.sum(1)


def dual(z, labels, C):
    """The dual's value at the solver's alpha, and alpha itself, which must be feasible."""
    hot = one_hot(labels, dtype=z.dtype).mT
    alpha = solvers.crammer_singer(z @ z.mT, hot, C)
    assert (alpha <= C * hot + 1e-9 * C).all() and alpha.sum(1).abs().max() < 1e-9 * C
    return (hot * alpha).sum((1, 2)) - (alpha @ z).square().sum((1, 2)) / 2


@pytest.mark.parametrize("ways,shots,num_features,C,spread", PROBLEMS)
def test_against_a_quadratic_programming_library(ways, shots, num_features, C, spread):
    labels = labels_of(ways, shots, 8)
    z = points(labels, num_features, spread)
    weight, bias = svm_head(z, labels, C)
    assert not bias.any()
    for i in range(len(z)):
        expected = oracle(z[i], labels[i], C)
        torch.testing.assert_close(weight[i], expected, rtol=0, atol=1e-7 * float(expected.abs().max().clamp(min=0.1)))


@pytest.mark.parametrize("ways,shots,num_features,C,spread", [*PROBLEMS, (20, 5, 64, 0.1, 1.0), (20, 1, 64, 1.0, 0.5)])
def test_the_duality_gap_is_closed(ways, shots, num_features, C, spread):
    """|w - w*|^2 / 2 is at most the gap, so this bounds the error with no second solver."""
    labels = labels_of(ways, shots, 40 if ways < 20 else 2)
    z = points(labels, num_features, spread, seed=1)
    value = primal(z, labels, C, svm_head(z, labels, C)[0])
    gap = value - dual(z, labels, C)
    assert (gap.abs() <= 1e-11 * value).all()


@pytest.mark.parametrize("ways,shots,num_tasks", [(20, 1, 40), (5, 5, 100)])
@pytest.mark.parametrize("length", [100, 1000])
def test_long_features_are_solved_too(ways, shots, num_tasks, length):
    """C |z|^2 is large, so that some slacks and their multipliers are both nearly zero when the gap is closed."""
    labels = labels_of(ways, shots, num_tasks)
    z = length * points(labels, 64).relu()
    value = primal(z, labels, 0.1, svm_head(z, labels, 0.1)[0])
    gap = value - dual(z, labels, 0.1)
    assert (gap.abs() <= 1e-7 * value).all()


def test_a_random_weight_of_the_same_size_is_worse():
    labels = labels_of(5, 2, 4)
    z = points(labels, 8)
    weight = svm_head(z, labels, 1.0)[0]
    g = torch.Generator().manual_seed(0)
    for scale in (1e-3, 1e-1):
        other = weight + scale * torch.randn(weight.shape, generator=g, dtype=weight.dtype)
        assert (primal(z, labels, 1.0, other) > primal(z, labels, 1.0, weight)).all()


def test_two_points_in_closed_form():
    """One point a class at +-d / 2 along a line: margins of 1 if C allows, else alpha = C everywhere."""
    z = torch.tensor([[[1.0], [-1.0]]], dtype=torch.float64)
    labels = torch.tensor([[0, 1]])
    for C in (0.1, 0.2, 0.3, 10.0):
        expected = min(2 * C, 0.5)  # w_0 = -w_1 = w: minimise w^2 + 2 C max(0, 1 - 2 w)
        weight = svm_head(z, labels, C)[0]
        torch.testing.assert_close(weight.flatten(), torch.tensor([expected, -expected], dtype=z.dtype))


@pytest.mark.parametrize("ways,shots,num_features,C,spread", PROBLEMS)
def test_gradient_through_the_optimum(ways, shots, num_features, C, spread):
    """Along random directions of the features and of C. (Where a constraint is just about to bind there is no
    derivative; these draws are not such places.)"""
    num_tasks = 20
    labels = labels_of(ways, shots, num_tasks)
    z = points(labels, num_features, spread, seed=2)
    cost = torch.full((num_tasks, 1, 1), C, dtype=z.dtype)
    g = torch.Generator().manual_seed(0)
    like = lambda t: torch.randn(t.shape, generator=g, dtype=t.dtype)
    weigh, along_z, along_C = like(z.new_empty(num_tasks, ways, num_features)), like(z), C * like(cost)
    objective = lambda z, cost: (svm_head(z, labels, cost)[0] * weigh).sum((1, 2))  # [T]
    z.requires_grad_(), cost.requires_grad_()
    slope_z, slope_C = torch.autograd.grad(objective(z, cost).sum(), (z, cost))
    z, cost = z.detach(), cost.detach()
    for slope, along, shifted, step in (
        (slope_z, along_z, lambda h: (z + h * along_z, cost), 1e-7),
        (slope_C, along_C, lambda h: (z, cost + h * along_C), 1e-6),
    ):
        expected = (objective(*shifted(step)) - objective(*shifted(-step))) / (2 * step)  # [T]
        ours = (slope * along).sum((1, 2))
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-6 * float(expected.abs().max().clamp(min=0.1)))


@pytest.mark.parametrize("shots,inner_steps", [(1, 0), (3, 2)])
def test_finite_differences(shots, inner_steps):
    model, batch = tiny_classifier(3), classification(num_tasks=2, shots=shots)
    learner = MetaOptNet(1.0, scale=2.0, inner_steps=inner_steps, inner_lr=0.1).double()
    grads, _ = learner.meta_gradient(model, batch)
    assert "learner.scale.log" in grads
    for name, parameter in trainable(learner, model).items():
        expected = finite_differences(lambda: learner.meta_loss(model, batch), parameter, 1e-6)
        torch.testing.assert_close(grads[name], expected, rtol=1e-5, atol=1e-7, msg=lambda text: f"{name}: {text}")


def test_batched_is_one_by_one():
    model, batch = tiny_classifier(), classification()
    learner = MetaOptNet().double()
    together = learner.adapt(model, batch.support_x, batch.support_y)
    for i in range(batch.num_tasks):
        alone = learner.adapt(model, batch.support_x[i : i + 1], batch.support_y[i : i + 1])
        assert largest_difference({n: p[i : i + 1] for n, p in together.items()}, alone) < 1e-11
    whole, _ = learner.meta_gradient(model, batch)
    for tasks_at_once in EVERY_CHUNK:
        for name, grad in learner.meta_gradient(model, batch, tasks_at_once)[0].items():
            torch.testing.assert_close(grad, whole[name], **TIGHT)


def test_single_precision_features_are_solved_in_double():
    labels = labels_of(5, 5, 3)
    z = points(labels, 16).float()
    weight = svm_head(z, labels, 1.0)[0]
    assert weight.dtype == torch.float32
    torch.testing.assert_close(weight, svm_head(z.double(), labels, 1.0)[0].float(), rtol=0, atol=0)


def test_the_order_of_points_and_their_copies():
    labels = labels_of(3, 3, 4)
    z = points(labels, 5)
    weight = svm_head(z, labels, 1.0)[0]
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(svm_head(z[:, order], labels[:, order], 1.0)[0], weight, **TIGHT)
    twice = svm_head(torch.cat([z, z], 1), torch.cat([labels, labels], 1), 0.5)[0]  # every hinge twice at half C
    torch.testing.assert_close(twice, weight, rtol=1e-8, atol=1e-9)


def test_degenerate_support_sets():
    labels = labels_of(3, 2, 2)
    z = points(labels, 4)
    one_class = svm_head(z, torch.zeros_like(labels), 1.0)[0]
    assert one_class.shape == (2, 1, 4) and one_class.abs().max() < 1e-12  # nothing to tell apart
    skipped = svm_head(z, labels * 2, 1.0)[0]  # classes 0, 2, 4; none of 1 and 3
    assert skipped.shape == (2, 5, 4) and skipped.isfinite().all()
    same = svm_head(torch.ones_like(z), labels, 1.0)[0]  # one point under three labels
    torch.testing.assert_close(same, torch.zeros_like(same), rtol=0, atol=1e-9)
    z = torch.zeros_like(z).requires_grad_()  # features that are all dead
    dead = svm_head(z, labels, 1.0)[0]
    (slope,) = torch.autograd.grad(dead.sum(), z)
    assert not dead.any() and slope.isfinite().all()


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_scaling_the_features(size):
    """w(s z, C) = w(z, C s^2) / s."""
    labels = labels_of(3, 3, 4)
    z = points(labels, 5)
    expected = svm_head(z, labels, 0.1 * size**2)[0] / size
    weight = svm_head(size * z, labels, 0.1)[0]
    torch.testing.assert_close(weight, expected, rtol=1e-7, atol=1e-9 * float(expected.max()))


@pytest.mark.parametrize("C", [0.0, -1.0, NAN, float("inf")])
def test_bad_C(C):
    with pytest.raises(ValueError, match="C must be positive and finite"):
        MetaOptNet(C)
    with pytest.raises(ValueError, match="C must be positive and finite"):
        svm_head(torch.ones(1, 2, 3), torch.tensor([[0, 1]]), C)


def test_bad_support_sets():
    model, batch = tiny_classifier(), classification()
    model.features = nn.Sequential(nn.Linear(3, 4)).double()
    batch.support_x[2, 0, 1] = NAN
    with pytest.raises(ValueError, match=r"NaN or infinity in the support set.*\(task 2\)"):
        MetaOptNet().meta_gradient(model, batch)
    with pytest.raises(ValueError, match="class labels must be integers"):
        MetaOptNet().adapt(model, batch.support_x[:2], torch.rand(2, 6, 1))
    with pytest.raises(ValueError, match="no optimum of the SVM was found"):
        svm_head(1e8 * torch.randn(1, 6, 2, generator=torch.Generator().manual_seed(0)), labels_of(3, 2, 1), 1e3)


def test_the_scale_multiplies_the_logits():
    model, batch = tiny_classifier(), classification()
    logits = []
    for scale in (1.0, 3.0):
        learner = MetaOptNet(scale=scale, learn_scale=False)
        logits.append(predict(model, learner.adapt(model, batch.support_x, batch.support_y), batch.query_x))
    torch.testing.assert_close(logits[1], 3 * logits[0])


def test_settings_round_trip():
    learner = MetaOptNet(0.3, 2.0, False, 5, 1, -0.1, False)
    assert MetaOptNet.from_settings(learner.settings()).settings() == learner.settings()
