"""Together, one at a time, or by running statistics: what a query may see of the others."""

from collections import OrderedDict

import pytest
import torch

from course_lib.algorithms import MAML, ProtoNet
from course_lib.analysis.transduction import accuracies, has_running_statistics, predict_one_by_one, with_statistics
from course_lib.evaluation import evaluate
from course_lib.inner_loop import predict, stack_params
from course_lib.losses import cross_entropy
from course_lib.models import Conv4
from course_lib.tasks import GlyphTasks


def network(statistics: str) -> Conv4:
    model = Conv4(filters=4, downsample="stride", statistics=statistics, seed=0)
    if statistics == "running":
        model(
            torch.rand(64, 1, 28, 28, generator=torch.Generator().manual_seed(1))
        )  # so that there is something to keep
    return model.eval()


def episodes(num_tasks: int = 1, **settings):
    return GlyphTasks("test", **settings).sample(num_tasks, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_one_by_one_no_query_sees_another():
    batch, model = episodes(queries=2), network("batch")
    params = stack_params(model, 1)
    changed = batch.query_x.clone()
    changed[:, 1:] = 0  # every query but the first
    alone = [predict_one_by_one(model, params, batch.support_x, x)[0, 0] for x in (batch.query_x, changed)]
    together = [predict(model, params, x)[0, 0] for x in (batch.query_x, changed)]
    torch.testing.assert_close(alone[0], alone[1], rtol=0, atol=1e-6)
    assert (together[0] - together[1]).abs().max() > 1e-3
    by_hand = model(torch.cat([batch.support_x[0], batch.query_x[0, :1]]))[-1]
    torch.testing.assert_close(alone[0], by_hand, rtol=0, atol=1e-5)


@torch.no_grad()
def test_with_running_statistics_alone_and_together_are_one():
    batch, model = episodes(queries=2), network("running")
    params = stack_params(model, 1)
    alone = predict_one_by_one(model, params, batch.support_x, batch.query_x)
    torch.testing.assert_close(alone, predict(model, params, batch.query_x), rtol=0, atol=1e-5)


@torch.no_grad()
def test_with_statistics_changes_the_statistics_alone():
    x, model = torch.rand(8, 1, 28, 28, generator=torch.Generator().manual_seed(0)), network("running")
    of_batch = with_statistics(model, "batch")
    assert (of_batch(x) - model(x)).abs().max() > 1e-3
    torch.testing.assert_close(of_batch(x), model.train()(x))  # training mode takes the batch's too
    with pytest.raises(ValueError, match="kept no running statistics"):
        with_statistics(of_batch, "running")


@torch.no_grad()
def test_batch_norm_of_vectors_counts_too():
    body = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 4), torch.nn.BatchNorm1d(4))
    model = torch.nn.Sequential(OrderedDict(features=body, head=torch.nn.Linear(4, 5))).eval()
    x, of_batch = torch.rand(8, 1, 28, 28, generator=torch.Generator().manual_seed(0)), with_statistics(model, "batch")
    assert has_running_statistics(model) and not has_running_statistics(of_batch)
    torch.testing.assert_close(of_batch(x), model.train()(x))


@pytest.mark.parametrize("statistics", ["batch", "running"])
def test_accuracies_agree_with_evaluate(statistics):
    model, tasks = network(statistics), GlyphTasks("test", queries=2)
    learner = ProtoNet() if statistics == "running" else MAML(inner_lr=0.1, loss_fn=cross_entropy)
    plain = evaluate(learner, model, tasks, num_tasks=3, steps=[0, 1]).accuracies
    same = accuracies(learner, model, tasks, statistics == "batch", 3, [0, 1])
    other = accuracies(learner, model, tasks, statistics != "batch", 3, [0, 1])
    assert same.equal(plain) and other.shape == plain.shape
    for switch in (True, False):  # rows in the order asked for, and the model as it was
        in_order = accuracies(learner, model.train(), tasks, switch, 3, [0, 1])
        assert accuracies(learner, model, tasks, switch, 3, [1, 0, 1]).equal(in_order[[1, 0, 1]]) and model.training
    with pytest.raises(ValueError, match="at least one number of steps"):
        accuracies(learner, model, tasks, True, 3, [])
