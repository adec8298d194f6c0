"""Ridge heads: three ways to the same weights, the gradient through them, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from course_lib.algorithms import R2D2
from course_lib.algorithms.base import trainable
from course_lib.algorithms.solvers import one_hot, ridge_head
from course_lib.inner_loop import predict
from course_lib.losses import cross_entropy
from tests.classes import classification, labels_of, points, tiny_classifier
from tests.gradients import EVERY_CHUNK, TIGHT, finite_differences, largest_difference, regression, tiny_model

NAN = float("nan")


def problem(num_points, num_features, num_outputs=2, num_tasks=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    z = torch.randn(num_tasks, num_points, num_features, generator=g, dtype=torch.float64)
    return z, torch.randn(num_tasks, num_points, num_outputs, generator=g, dtype=torch.float64)


def with_ones(z):
    return torch.cat([z, torch.ones_like(z[..., :1])], -1)


def joined(head):
    weight, bias = head
    return torch.cat([weight, bias[..., None]], -1).mT  # [T, D + 1, W]


def gradient_descent(z, y, lam, steps):
    """Heavy-ball descent on |z w - y|^2 + lam |w|^2 from zero."""
    z = with_ones(z)
    values = torch.linalg.eigvalsh(z.mT @ z)
    low, high = (values.amin(-1) + lam).sqrt(), (values.amax(-1) + lam).sqrt()
    lr = (2 / (low + high)).square()[:, None, None]
    momentum = ((high - low) / (high + low)).square()[:, None, None]
    w = last = torch.zeros(z.shape[0], z.shape[2], y.shape[2], dtype=z.dtype)
    for _ in range(steps):
        w, last = w - lr * (z.mT @ (z @ w - y) + lam * w) + momentum * (w - last), w
    return w


@pytest.mark.parametrize("num_points,num_features", [(1, 5), (4, 6), (5, 5), (6, 5), (20, 3)])
@pytest.mark.parametrize("lam", [1e-3, 0.1, 50.0])
def test_primal_is_dual_is_gradient_descent(num_points, num_features, lam):
    z, y = problem(num_points, num_features)
    ours, ones = joined(ridge_head(z, y, lam)), with_ones(z)
    eye = lambda n: lam * torch.eye(n, dtype=z.dtype)
    primal = torch.linalg.inv(ones.mT @ ones + eye(num_features + 1)) @ ones.mT @ y
    dual = ones.mT @ torch.linalg.inv(ones @ ones.mT + eye(num_points)) @ y
    torch.testing.assert_close(ours, primal, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(ours, dual, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(ours, gradient_descent(z, y, lam, 2500), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("num_points,num_features", [(4, 6), (20, 3)])
def test_lam_zero_is_the_limit(num_points, num_features):
    z, y = problem(num_points, num_features)
    limit = joined(ridge_head(z, y, 0))
    torch.testing.assert_close(limit, joined(ridge_head(z, y, 1e-9)), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(limit, torch.linalg.lstsq(with_ones(z), y, driver="gelsd").solution, **TIGHT)


@pytest.mark.parametrize("num_points,num_features", [(6, 8), (8, 4)])
def test_lam_zero_stays_right_where_the_system_is_singular(num_points, num_features):
    """The same point twice with two answers: the least-squares head of least norm."""
    z, y = problem(num_points, num_features)
    z[:, 1] = z[:, 0]
    z[:, :, 1] = z[:, :, 0]
    expected = torch.linalg.lstsq(with_ones(z), y, driver="gelsd").solution
    torch.testing.assert_close(joined(ridge_head(z, y, 0)), expected, **TIGHT)
    torch.testing.assert_close(joined(ridge_head(z, y, 1e-7)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("lam", [0, 0.3])
@pytest.mark.parametrize("num_points,num_features", [(3, 4), (7, 3)])
def test_gradient_through_the_solve(num_points, num_features, lam):
    z, y = problem(num_points, num_features)
    solve = lambda z, y: ridge_head(z, y, lam)
    assert torch.autograd.gradcheck(solve, (z.requires_grad_(), y.requires_grad_()))


@pytest.mark.parametrize("shots", [2, 9])  # fewer and more points than features
@pytest.mark.parametrize("learn", [True, False])
def test_finite_differences_regression(shots, learn):
    model, batch = tiny_model(), regression(shots=shots)
    learner = R2D2(0.2, learn, 1.3, learn).double()
    check_meta_gradient(learner, model, batch)


@pytest.mark.parametrize("shots", [1, 3])
def test_finite_differences_classification(shots):
    learner = R2D2(0.2, True, 3.0, True, loss_fn=cross_entropy).double()
    check_meta_gradient(learner, tiny_classifier(), classification(shots=shots))


def test_finite_differences_with_gradient_steps_from_the_solved_head():
    check_meta_gradient(R2D2(0.2, True, 1.3, True, inner_steps=2, inner_lr=0.1).double(), tiny_model(), regression())


def check_meta_gradient(learner, model, batch):
    grads, _ = learner.meta_gradient(model, batch)
    for name, parameter in trainable(learner, model).items():
        expected = finite_differences(lambda: learner.meta_loss(model, batch), parameter)
        torch.testing.assert_close(grads[name], expected, rtol=1e-5, atol=1e-8, msg=lambda text: f"{name}: {text}")


def test_the_head_minimises_its_objective_on_the_support_set():
    model, batch = tiny_model(), regression(shots=9)
    start = R2D2(0.2, learn_lam=False).start(model, batch.support_x, batch.support_y)
    head = [start["head.weight"].detach().requires_grad_(), start["head.bias"].detach().requires_grad_()]
    outputs = predict(model, start | dict(zip(("head.weight", "head.bias"), head)), batch.support_x)
    objective = (outputs - batch.support_y).square().sum() + 0.2 * sum(p.square().sum() for p in head)
    for slope in torch.autograd.grad(objective, head):
        assert slope.abs().max() < 1e-12


def test_labels_are_one_hot_targets_and_a_class_without_examples_gets_zero():
    labels = torch.tensor([[0, 2, 2, 0]])
    z = points(labels, 3)
    weight, bias = ridge_head(z, labels, 0.5)
    expected = ridge_head(z, one_hot(labels, 3, torch.float64), 0.5)
    torch.testing.assert_close((weight, bias), expected)
    assert weight.shape == (1, 3, 3) and not weight[:, 1].any() and not bias[:, 1].any()


def test_one_shot_and_one_class():
    one_shot = labels_of(5, 1, 2)
    weight, bias = ridge_head(points(one_shot, 8), one_shot, 1e-6)
    outputs = points(one_shot, 8) @ weight.mT + bias[:, None]
    torch.testing.assert_close(outputs, torch.eye(5, dtype=torch.float64).expand(2, 5, 5), rtol=0, atol=1e-4)
    weight, bias = ridge_head(points(one_shot, 8), torch.zeros(2, 5, dtype=torch.long), 0.1)
    assert weight.shape == (2, 1, 8) and weight.isfinite().all()


def test_a_network_of_two_ways_serves_five_and_its_own_head_gets_no_gradient():
    model, batch = tiny_classifier(), classification(ways=5)
    grads, _ = R2D2(loss_fn=cross_entropy).meta_gradient(model, batch)
    assert not grads["head.weight"].any() and grads["features.0.weight"].any()
    adapted = R2D2(loss_fn=cross_entropy).adapt(model, batch.support_x, batch.support_y)
    assert predict(model, adapted, batch.query_x).shape == (5, 10, 5)


def test_a_shift_of_all_logits_is_nothing_to_the_loss():
    """Why the paper's learnt bias, one number for all classes, is left out."""
    logits, labels = torch.randn(2, 6, 3, dtype=torch.float64), labels_of(3, 2, 2)
    torch.testing.assert_close(cross_entropy(logits + 7, labels), cross_entropy(logits, labels), **TIGHT)


@pytest.mark.parametrize("learner", [R2D2(0.1, scale=2.0), R2D2(0.0, False, inner_steps=2)])
def test_batched_is_one_by_one(learner):
    model, batch = tiny_model(), regression()
    learner.double()
    together = learner.adapt(model, batch.support_x, batch.support_y)
    for i in range(batch.num_tasks):
        alone = learner.adapt(model, batch.support_x[i : i + 1], batch.support_y[i : i + 1])
        assert largest_difference({n: p[i : i + 1] for n, p in together.items()}, alone) < 1e-12
    whole, _ = learner.meta_gradient(model, batch)
    for tasks_at_once in EVERY_CHUNK:
        for name, grad in learner.meta_gradient(model, batch, tasks_at_once)[0].items():
            torch.testing.assert_close(grad, whole[name], **TIGHT)


def test_settings_round_trip():
    learner = R2D2(0.3, True, 2.0, True, 5, 1, -0.1, False, cross_entropy)
    again = R2D2.from_settings(learner.settings())
    assert again.settings() == learner.settings()
    again.load_state_dict(learner.state_dict())
    assert sorted(dict(again.named_parameters())) == ["lam.log", "scale.log"]


@pytest.mark.parametrize(
    "settings,message",
    [
        (dict(lam=-0.1), "lam must be a positive"),
        (dict(lam=NAN), "lam must be a positive"),
        (dict(lam=0.0), "lam must be a positive"),
        (dict(scale=0.0), "scale must be a positive"),
        (dict(ways=0), "ways must be a whole number"),
        (dict(inner_steps=-1), "inner_steps must be a whole number"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        R2D2(**settings)


@pytest.mark.parametrize("spoil", [NAN, float("inf")])
@pytest.mark.parametrize("which", ["support_x", "support_y"])
@pytest.mark.parametrize("lam", [0, 0.1])
def test_what_is_not_finite_is_named(spoil, which, lam):
    model, batch = tiny_model(), regression()
    getattr(batch, which)[3, 1] = spoil
    if which == "support_x":
        model.features = nn.Sequential(nn.Linear(1, 3)).double()  # tanh would swallow an infinity
    with pytest.raises(ValueError, match=r"NaN or infinity in the support set.*\(task 3\)"):
        R2D2(lam, learn_lam=False).meta_gradient(model, batch)


def test_bad_labels_and_heads():
    z, labels = points(labels_of(3, 2, 2), 4), labels_of(3, 2, 2)
    with pytest.raises(ValueError, match="labels must lie in 0 .. 1"):
        ridge_head(z, labels, 0.1, ways=2)
    with pytest.raises(ValueError, match="labels must lie in 0 .. 2"):
        ridge_head(z, labels.where(labels > 0, -1), 0.1)
    with pytest.raises(ValueError, match="lam must be at least 0"):
        ridge_head(z, labels, -1.0)
    with pytest.raises(ValueError, match="as many targets"):
        ridge_head(z, labels[:, :-1], 0.1)
    with pytest.raises(ValueError, match="at least one shot"):
        ridge_head(z[:, :0], z[:, :0], 0.1)
    model, batch = tiny_model(), regression()
    model.head = nn.Linear(3, 1, bias=False).double()
    with pytest.raises(TypeError, match="one linear layer with a bias"):
        R2D2().meta_gradient(model, batch)


def test_a_penalty_lost_in_rounding_is_refused():
    z, y = problem(6, 8)
    z[:, 1] = z[:, 0]
    with pytest.raises(ValueError, match="singular in torch.float32: raise lam"):
        ridge_head(1e3 * z.float(), y.float(), 1e-12)


def test_half_precision_features_are_solved_in_single():
    model, batch = tiny_model().float(), regression().map(lambda t: t.float() if t.is_floating_point() else t)
    single = R2D2(lam=1.0).start(model, batch.support_x, batch.support_y)["head.weight"]
    with torch.autocast("cpu", torch.bfloat16):
        half = R2D2(lam=1.0).start(model, batch.support_x, batch.support_y)["head.weight"]
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, single, rtol=0.03, atol=0.03)


def test_the_ways_come_from_the_batch_where_it_has_them():
    """Then a class may be missing from a support set, and nobody has to look for the largest label."""
    model, batch = tiny_classifier(), classification(ways=2)
    learner = R2D2(0.2, loss_fn=cross_entropy).double()
    batch.info["classes"] = torch.arange(4).expand(batch.num_tasks, -1)
    adapted = learner.visit(model, batch).adapted
    assert adapted["head.weight"].shape == (5, 4, 4) and not adapted["head.weight"][:, 2:].any()
    assert learner.visit(model, classification(ways=2)).adapted["head.weight"].shape == (5, 2, 4)
    fixed = R2D2(0.2, ways=3, loss_fn=cross_entropy).double()
    assert fixed.visit(model, batch).adapted["head.weight"].shape == (5, 3, 4)
