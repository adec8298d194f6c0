"""The union of tasks: the lecture's identity with MAML at k = 0, its heads at test time, one large problem."""

from __future__ import annotations

import json

import pytest
import torch

from course_lib.algorithms import ANIL, MAML, UnionOfTasks
from course_lib.algorithms.base import trainable
from course_lib.algorithms.heads import StoredHeads
from course_lib.algorithms.solvers import mean_head, ridge_head, svm_head
from course_lib.evaluation import evaluate
from course_lib.inner_loop import features, predict, stack_params
from course_lib.losses import cross_entropy, mse
from course_lib.models import MLP, Conv4
from course_lib.tasks import AllClasses, SinusoidTasks, TaskBatch
from course_lib.tasks.episodes import CharacterTasks
from course_lib.training import meta_train
from tests.gradients import EVERY_CHUNK, finite_differences, largest_difference, regression, tiny_model


def stored() -> StoredHeads:
    return StoredHeads(8, 3, 1, seed=1).double()


def visit() -> TaskBatch:
    """Five visits to four of the eight tasks."""
    batch = regression()
    batch.task_id = torch.tensor([6, 0, 3, 0, 2])
    return batch


def all_points_as_queries(batch: TaskBatch) -> TaskBatch:
    x = torch.cat([batch.support_x, batch.query_x], 1)
    y = torch.cat([batch.support_y, batch.query_y], 1)
    return TaskBatch(batch.support_x, batch.support_y, x, y, batch.task_id)


@pytest.mark.parametrize("learner_class", [MAML, ANIL])
@pytest.mark.parametrize("second_order", [True, False])
@pytest.mark.parametrize("head", ["stored", "meta"])
def test_no_steps_is_a_zero_rate_is_the_union_of_tasks(learner_class, second_order, head):
    model, batch = tiny_model(), visit()
    head = stored() if head == "stored" else head
    union, _ = UnionOfTasks(head).meta_gradient(model, batch)
    for k, lr in ((0, 0.1), (1, 0.0), (5, 0.0)):
        learner = learner_class(k, lr, second_order, head=head)
        grads, _ = learner.meta_gradient(model, all_points_as_queries(batch))
        assert largest_difference(grads, union) < 1e-12
    learner = learner_class(1, 0.1, second_order, head=head)
    assert largest_difference(learner.meta_gradient(model, all_points_as_queries(batch))[0], union) > 1e-3


def test_is_supervised_training_written_out():
    """Each task's points through the body and through its own nn.Linear, one loss, backward."""
    model, batch, learner = tiny_model(), visit(), UnionOfTasks(stored())
    weight, bias = (p.detach().clone().requires_grad_() for p in (learner.head.weight, learner.head.bias))
    loss = 0
    for i, task in enumerate(batch.task_id.tolist()):
        x, y = torch.cat([batch.support_x[i], batch.query_x[i]]), torch.cat([batch.support_y[i], batch.query_y[i]])
        outputs = torch.nn.functional.linear(model.features(x), weight[task], bias[task])
        loss = loss + torch.nn.functional.mse_loss(outputs, y) / 5
    names = [n for n, _ in model.named_parameters() if n.startswith("features")]
    wanted = [model.get_parameter(n) for n in names] + [weight, bias]
    expected = dict(zip(names + ["learner.head.weight", "learner.head.bias"], torch.autograd.grad(loss, wanted)))
    grads, info = learner.meta_gradient(model, batch)
    torch.testing.assert_close(info["loss"], loss.detach())
    assert largest_difference({n: grads[n] for n in expected}, expected) < 1e-14


@pytest.mark.parametrize("head", ["stored", "meta"])
def test_finite_differences(head):
    model, batch = tiny_model(), visit()
    learner = UnionOfTasks(stored() if head == "stored" else head)
    grads, _ = learner.meta_gradient(model, batch)
    for name, parameter in trainable(learner, model).items():
        expected = finite_differences(lambda: learner.meta_loss(model, batch), parameter)
        torch.testing.assert_close(grads[name], expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("tasks_at_once", EVERY_CHUNK)
def test_the_result_does_not_depend_on_tasks_at_once(tasks_at_once):
    model, batch, learner = tiny_model(), visit(), UnionOfTasks(stored())
    expected, _ = learner.meta_gradient(model, batch)
    assert largest_difference(learner.meta_gradient(model, batch, tasks_at_once)[0], expected) < 1e-14


def test_ridge_head_for_a_new_task():
    model, batch = tiny_model(), regression()
    learner = UnionOfTasks(stored(), lam=0.3)
    start = learner.start(model, batch.support_x, batch.support_y)
    for i in range(5):  # the normal equations, one task at a time
        z = torch.cat([model.features(batch.support_x[i]), torch.ones(4, 1).double()], 1)
        w = torch.linalg.solve(z.T @ z + 0.3 * torch.eye(4).double(), z.T @ batch.support_y[i])
        torch.testing.assert_close(start["head.weight"][i], w[:-1].T)
        torch.testing.assert_close(start["head.bias"][i], w[-1])
    assert start["features.0.weight"].equal(stack_params(model, 5)["features.0.weight"])


@pytest.mark.parametrize("test_head", ["ridge", "svm", "means"])
def test_heads_for_new_classes(test_head):
    """A body trained under 12 classes meets 3 new ones: the head has the new task's size."""
    torch.manual_seed(0)
    model = MLP(2, (6,), 12, seed=0).double()
    x, y = torch.randn(4, 9, 2).double(), torch.tensor([[0, 1, 2] * 3] * 4)
    learner = UnionOfTasks(StoredHeads(1, 6, 12), test_head=test_head, scale=2.0, loss_fn=cross_entropy)
    adapted = learner.adapt(model, x, y)
    z = features(model, stack_params(model, 4), x)
    fit = {"ridge": lambda: ridge_head(z, y, 0.1), "svm": lambda: svm_head(z, y, 0.1)}
    weight, bias = fit.get(test_head, lambda: mean_head(z, y))()
    assert weight.shape == (4, 3, 6)
    expected = 2 * (torch.einsum("tnd,twd->tnw", z, weight) + bias[:, None])
    torch.testing.assert_close(predict(model, adapted, x), expected)


def test_gradient_steps_for_a_new_task():
    model, batch, head = tiny_model(), regression(), stored()
    learner = UnionOfTasks(head, test_head="gradient", inner_steps=4, inner_lr=0.1)
    adapted = learner.adapt(model, batch.support_x, batch.support_y)
    for i in range(5):
        own = torch.nn.Linear(3, 1).double()
        with torch.no_grad():
            own.weight.copy_(head.weight.mean(0))
            own.bias.copy_(head.bias.mean(0))
        optimizer = torch.optim.SGD(own.parameters(), lr=0.1)
        for _ in range(4):
            optimizer.zero_grad()
            mse(own(model.features(batch.support_x[i]).detach())[None], batch.support_y[i : i + 1]).sum().backward()
            optimizer.step()
        torch.testing.assert_close(adapted["head.weight"][i], own.weight)
        torch.testing.assert_close(adapted["head.bias"][i], own.bias)
    for name in ("features.0.weight", "features.2.bias"):
        assert adapted[name].equal(stack_params(model, 5)[name])


def characters(ways: int = 3) -> CharacterTasks:
    """Twelve classes, each a blot at its own place of a small picture."""
    g = torch.Generator().manual_seed(0)
    images = torch.randint(0, 60, (12, 8, 16, 16), generator=g)
    for c in range(12):
        images[c, :, c : c + 4, 15 - c : 19 - c] += 180
    names = [str(c) for c in range(12)]
    return CharacterTasks(images.to(torch.uint8), torch.zeros(12, dtype=torch.long), ["blots"], names,
                          ways=ways, shots=1, queries=3)  # fmt: skip


def test_all_classes_as_one_task():
    pool = characters()
    tasks = AllClasses(pool, points=10)
    batch = tasks.sample(2, generator=torch.Generator().manual_seed(0))
    assert batch.support_x.shape == batch.query_x.shape == (2, 5, 1, 16, 16)
    assert batch.task_id.tolist() == [0, 0]
    for x, y in zip(batch.support_x.flatten(0, 1), batch.support_y.flatten()):
        assert any(x[0].equal(drawing / 255) for drawing in pool.images[y])
    again = tasks.sample(2, generator=torch.Generator().manual_seed(0))
    assert again.query_x.equal(batch.query_x) and again.query_y.equal(batch.query_y)
    many = tasks.sample(40, generator=torch.Generator().manual_seed(0))
    assert set(many.support_y.flatten().tolist()) == set(range(12))


def test_learns_all_classes_under_one_large_head_and_serves_new_tasks():
    pool = characters()
    model = Conv4(ways=3, filters=8, size=16)
    learner = UnionOfTasks(StoredHeads(1, 8, pool.num_classes), loss_fn=cross_entropy)
    own_head = model.head.weight.detach().clone()
    _, history = meta_train(
        learner, model, AllClasses(pool, points=24), iterations=40, meta_batch=1, outer_lr=1e-2, device="cpu",
        progress=False,
    )  # fmt: skip
    assert history.loss[0] > 2 and history.loss[-1] < 0.5, history.loss
    assert model.head.weight.equal(own_head)
    assert evaluate(learner, model, pool, num_tasks=20, steps=[0]).mean[0] > 80  # %; chance is 33


def test_learns_the_sinusoid_a_little():
    """With a head a task a ridge head finds its features; with one shared head there is little to find."""
    errors = {}
    for name, head in {"own": StoredHeads(20, 40, 1), "shared": "meta"}.items():
        model, learner = MLP(), UnionOfTasks(head)
        meta_train(learner, model, SinusoidTasks(num_tasks=20), iterations=300, progress=False)
        errors[name] = evaluate(learner, model, SinusoidTasks(), num_tasks=100, steps=[0]).mean[0]
    assert errors["own"] < 0.7 * errors["shared"], errors


def test_settings_describe_the_learner():
    for head in (StoredHeads(8, 3, 1, seed=4), "meta"):
        learner = UnionOfTasks(head, "svm", lam=1.0, C=2.0, scale=3.0, inner_steps=2, loss_fn=cross_entropy)
        again = UnionOfTasks.from_settings(json.loads(json.dumps(learner.settings())))
        assert again.settings() == learner.settings()
        assert again.state_dict().keys() == learner.state_dict().keys()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (dict(test_head="lasso"), "test_head must be one of 'ridge', 'svm', 'means', 'gradient'"),
        (dict(lam=-1.0), "lam must be at least 0"),
        (dict(C=0.0), "C must be positive"),
        (dict(inner_steps=-1), "inner_steps must be a whole number"),
        (dict(head="stored"), "needs sizes"),
        (dict(head="random"), "random ones learn nothing"),
    ],
)
def test_what_a_person_may_get_wrong(wrong, says):
    with pytest.raises(ValueError, match=says):
        UnionOfTasks(**{"head": "meta"} | wrong)


def test_tasks_without_identity():
    batch = regression()
    batch.task_id = None
    with pytest.raises(ValueError, match="no task_id"):
        UnionOfTasks(stored()).meta_gradient(tiny_model(), batch)
