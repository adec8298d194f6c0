"""Class means as a linear head: the same probabilities as distances, and the gradient through the means."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from course_lib.algorithms import ProtoNet
from course_lib.algorithms.base import trainable
from course_lib.algorithms.solvers import mean_head
from course_lib.inner_loop import features, predict, stack_params
from course_lib.losses import cross_entropy
from tests.classes import classification, labels_of, points, tiny_classifier
from tests.gradients import EVERY_CHUNK, TIGHT, finite_differences, largest_difference


@pytest.mark.parametrize("scale", [1.0, 0.2])
def test_probabilities_are_those_of_distances_to_the_means(scale):
    model, batch = tiny_classifier(), classification(ways=3, shots=4)
    adapted = ProtoNet(scale).adapt(model, batch.support_x, batch.support_y)
    logits = predict(model, adapted, batch.query_x)
    params = stack_params(model, batch.num_tasks)
    support_z, query_z = features(model, params, batch.support_x), features(model, params, batch.query_x)
    for i in range(batch.num_tasks):
        means = torch.stack([support_z[i][batch.support_y[i] == k].mean(0) for k in range(3)])
        distances = torch.cdist(query_z[i], means).square()
        torch.testing.assert_close(logits[i].softmax(-1), (-scale * distances).softmax(-1), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shots", [1, 3])
@pytest.mark.parametrize("inner_steps", [0, 2])
def test_finite_differences(shots, inner_steps):
    model, batch = tiny_classifier(), classification(shots=shots)
    learner = ProtoNet(0.5, True, inner_steps=inner_steps, inner_lr=0.1).double()
    grads, _ = learner.meta_gradient(model, batch)
    for name, parameter in trainable(learner, model).items():
        expected = finite_differences(lambda: learner.meta_loss(model, batch), parameter)
        torch.testing.assert_close(grads[name], expected, rtol=1e-6, atol=1e-8, msg=lambda text: f"{name}: {text}")


def test_batched_is_one_by_one():
    model, batch = tiny_classifier(), classification()
    together = ProtoNet().adapt(model, batch.support_x, batch.support_y)
    for i in range(batch.num_tasks):
        alone = ProtoNet().adapt(model, batch.support_x[i : i + 1], batch.support_y[i : i + 1])
        assert largest_difference({n: p[i : i + 1] for n, p in together.items()}, alone) < 1e-12
    whole, _ = ProtoNet().meta_gradient(model, batch)
    for tasks_at_once in EVERY_CHUNK:
        assert largest_difference(whole, ProtoNet().meta_gradient(model, batch, tasks_at_once)[0]) < 1e-12


def test_ways_come_from_the_labels_or_are_said_beforehand():
    labels = labels_of(7, 1, 2)
    z = points(labels, 4)
    assert mean_head(z, labels)[0].shape == (2, 7, 4)
    torch.testing.assert_close(mean_head(z, labels), mean_head(z, labels, ways=7), **TIGHT)
    with pytest.raises(ValueError, match="labels must lie in 0 .. 4"):
        mean_head(z, labels, ways=5)


def test_one_class_is_certain():
    model, batch = tiny_classifier(), classification(ways=1)
    assert ProtoNet().meta_loss(model, batch) == 0


def test_bad_support_sets():
    model, batch = tiny_classifier(), classification()
    missing = batch.support_y.where(batch.support_y != 1, 2)
    with pytest.raises(ValueError, match=r"a class has no example.*\(task 0, 1, 2, 3, 4\)"):
        ProtoNet().adapt(model, batch.support_x, missing)
    with pytest.raises(ValueError, match="class labels must be integers"):
        ProtoNet().adapt(model, batch.support_x, batch.support_x)
    with pytest.raises(ValueError, match="labels must lie in"):
        ProtoNet().adapt(model, batch.support_x, batch.support_y - 1)
    model.features = nn.Sequential(nn.Linear(3, 4)).double()
    batch.support_x[4, 0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"NaN or infinity in the support set.*\(task 4\)"):
        ProtoNet().meta_gradient(model, batch)
    with pytest.raises(ValueError, match="scale must be a positive"):
        ProtoNet(-1.0)


def test_settings_round_trip():
    learner = ProtoNet(2.0, True, 5, 1, 0.3, False, cross_entropy)
    assert ProtoNet.from_settings(learner.settings()).settings() == learner.settings()
