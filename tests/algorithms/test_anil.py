"""ANIL is MAML with a shorter list of names, and nothing else."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn

from course_lib.algorithms import ANIL, MAML, Learner
from course_lib.evaluation import evaluate
from course_lib.inner_loop import features, stack_params
from course_lib.tasks import SinusoidTasks, TaskBatch
from tests.gradients import EVERY_CHUNK, TIGHT, finite_differences, largest_difference, regression, tiny_model


@pytest.mark.parametrize("steps", [0, 1, 5])
@pytest.mark.parametrize("lr", [0.2, -0.2])
def test_finite_differences(steps, lr):
    model, batch = tiny_model(), regression()
    learner = ANIL(steps, lr)
    grads, _ = learner.meta_gradient(model, batch)
    for name, parameter in model.named_parameters():
        expected = finite_differences(lambda: learner.meta_loss(model, batch), parameter)
        torch.testing.assert_close(grads[name], expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize("second_order", [True, False])
def test_with_frozen_features_it_is_maml_on_the_head(steps, second_order):
    model, batch = tiny_model(), regression()
    with torch.no_grad():
        params = stack_params(model, batch.num_tasks)
        support_z = features(model, params, batch.support_x)
        query_z = features(model, params, batch.query_x)
    on_features = TaskBatch(support_z, batch.support_y, query_z, batch.query_y)
    head_only = nn.Sequential(OrderedDict(features=nn.Identity(), head=model.head))
    settings = (steps, 0.2, second_order)
    anil, anil_info = ANIL(*settings).meta_gradient(model, batch)
    maml, maml_info = MAML(*settings).meta_gradient(head_only, on_features)
    torch.testing.assert_close(anil_info["task_losses"], maml_info["task_losses"], **TIGHT)
    assert largest_difference({name: anil[name] for name in maml}, maml) < 1e-12


def test_the_adapted_features_are_the_models_own():
    model, batch = tiny_model(), regression()
    adapted = ANIL(5, 0.2).adapt(model, batch.support_x, batch.support_y)
    for name, parameter in model.named_parameters():
        same = bool((adapted[name] == parameter).all())
        assert same == name.startswith("features."), name


@pytest.mark.parametrize("nothing", [dict(inner_steps=0), dict(inner_steps=5, inner_lr=0.0)])
def test_without_an_inner_loop_it_is_maml_without_one(nothing):
    model, batch = tiny_model(), regression()
    anil, _ = ANIL(**nothing).meta_gradient(model, batch)
    maml, _ = MAML(inner_steps=0).meta_gradient(model, batch)
    assert largest_difference(anil, maml) < 1e-12


def test_the_gradient_does_not_depend_on_the_chunks():
    model, batch = tiny_model(), regression()
    whole, _ = ANIL(2, 0.2).meta_gradient(model, batch)
    for tasks_at_once in EVERY_CHUNK:
        part, _ = ANIL(2, 0.2).meta_gradient(model, batch, tasks_at_once)
        assert largest_difference(whole, part) < 1e-12


def test_at_test_time_too_the_head_alone_is_fine_tuned():
    model, tasks = tiny_model().float(), SinusoidTasks()
    ours = evaluate(ANIL(1, 0.1), model, tasks, num_tasks=20, steps=[0, 5])
    head = evaluate(MAML(1, 0.1), model, tasks, num_tasks=20, steps=[0, 5], only="head")
    everything = evaluate(MAML(1, 0.1), model, tasks, num_tasks=20, steps=[0, 5], only=None)
    torch.testing.assert_close(ours.query_losses, head.query_losses)
    assert not torch.allclose(ours.query_losses[1], everything.query_losses[1])


def test_settings_round_trip():
    learner = ANIL(3, -0.05, False)
    again = ANIL.from_settings(learner.settings())
    assert isinstance(again, ANIL) and isinstance(again, Learner) and again.only == "head"
    assert again.settings() == learner.settings()
