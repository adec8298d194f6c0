"""Reptile's update in float64: against closed forms, against torch's optimisers, against joint training."""

from __future__ import annotations

import copy
import json

import pytest
import torch

from course_lib.algorithms import MAML, Reptile
from course_lib.evaluation import evaluate
from course_lib.losses import mse
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks
from course_lib.training import linear_decay, meta_train
from tests.gradients import EVERY_CHUNK, TIGHT, Quadratic, gradient, largest_difference, regression, tiny_model


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_quadratic_in_closed_form(steps):
    problem = Quadratic()
    grads, info = Reptile(steps, 0.3, problem.loss).meta_gradient(problem.model, problem.batch())
    expected = problem.theta - problem.adapted(steps, 0.3).mean(0)
    torch.testing.assert_close(grads["head.theta"], expected, **TIGHT)
    distance = problem.adapted(steps, 0.3) - problem.c[1]
    losses = 0.5 * torch.einsum("tp,tpq,tq->t", distance, problem.H[1], distance)
    torch.testing.assert_close(info["task_losses"], losses, **TIGHT)


def test_one_step_is_joint_training():
    model, batch, lr = tiny_model(), regression(), 0.1
    x, y = batch.support_x.flatten(0, 1), batch.support_y.flatten(0, 1)
    joint = gradient((model(x) - y).square().mean(), model)  # on all support points together
    grads, _ = Reptile(1, lr).meta_gradient(model, batch)
    assert largest_difference(grads, {name: lr * g for name, g in joint.items()}) < 1e-12


def test_two_steps_are_the_sum_of_both_gradients():
    """theta - theta'' = alpha (g_1 + g_2), the second gradient taken after the first step (paper, section 5.1)."""
    model, batch, lr = tiny_model(), regression(num_tasks=1), 0.1
    first = gradient(mse(model(batch.support_x[0])[None], batch.support_y).sum(), model)
    moved = copy.deepcopy(model)
    with torch.no_grad():
        for name, p in moved.named_parameters():
            p -= lr * first[name]
    second = gradient(mse(moved(batch.support_x[0])[None], batch.support_y).sum(), moved)
    grads, _ = Reptile(2, lr).meta_gradient(model, batch)
    assert largest_difference(grads, {name: lr * (first[name] + second[name]) for name in first}) < 1e-14


@pytest.mark.parametrize("inner_optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("use_queries", [False, True])
def test_minibatches_against_torch_optim(inner_optimizer, use_queries):
    """One task at a time with an optimiser of torch, on the minibatches that the learner dealt out."""
    model, batch = tiny_model(), regression()
    learner = Reptile(5, 0.05, inner_batch=3, use_queries=use_queries, inner_optimizer=inner_optimizer)
    batch = learner.prepare(model, batch)
    x, y = learner.points(batch)
    assert x.shape[1] == (7 if use_queries else 4)
    moves = []
    for i in range(batch.num_tasks):
        own = copy.deepcopy(model)
        if inner_optimizer == "sgd":
            optimizer = torch.optim.SGD(own.parameters(), lr=0.05)
        else:
            optimizer = torch.optim.Adam(own.parameters(), lr=0.05, betas=(0.0, 0.999))
        for picked in batch.info["minibatches"][i]:
            optimizer.zero_grad()
            (own(x[i, picked]) - y[i, picked]).square().mean().backward()
            optimizer.step()
        moves.append([(p - q).detach() for p, q in zip(model.parameters(), own.parameters())])
    expected = {n: torch.stack(move).mean(0) for (n, _), move in zip(model.named_parameters(), zip(*moves))}
    assert largest_difference(learner.meta_gradient(model, batch)[0], expected) < 1e-8


@pytest.mark.parametrize("tasks_at_once", EVERY_CHUNK)
@pytest.mark.parametrize("inner_batch", [None, 2])
def test_the_result_does_not_depend_on_tasks_at_once(tasks_at_once, inner_batch):
    model, batch = tiny_model(), regression()
    grads, info = Reptile(3, 0.1, inner_batch=inner_batch).meta_gradient(model, batch, tasks_at_once)
    expected, expected_info = Reptile(3, 0.1, inner_batch=inner_batch).meta_gradient(model, batch)
    assert largest_difference(grads, expected) < 1e-14
    torch.testing.assert_close(info["task_losses"], expected_info["task_losses"], **TIGHT)


def test_minibatches_deal_out_every_point_before_any_returns():
    batch = regression(num_tasks=6, shots=10)
    learner = Reptile(inner_steps=6, inner_batch=5)
    dealt = learner.prepare(None, batch).info["minibatches"]  # [6, 6, 5]: three rounds of ten points
    rounds = dealt.reshape(6, 3, 10).sort(-1).values
    assert (rounds == torch.arange(10)).all()
    assert len({tuple(order.tolist()) for order in dealt.reshape(18, 10)}) == 18  # shuffled anew each time


def test_minibatches_differ_from_visit_to_visit_and_repeat_from_the_seed():
    batch, first, again = regression(shots=10), Reptile(inner_batch=5, seed=1), Reptile(inner_batch=5, seed=1)

    def deal(learner: Reptile) -> torch.Tensor:
        dealt = learner.prepare(None, batch).info["minibatches"]
        learner.remember(batch, {})
        return dealt

    visits = [deal(first) for _ in range(3)]
    assert not visits[0].equal(visits[1])
    assert all(visit.equal(deal(again)) for visit in visits)
    resumed = Reptile(inner_batch=5, seed=1)
    deal(resumed)
    late = Reptile(inner_batch=5, seed=1)
    late.load_state_dict(resumed.state_dict())
    assert deal(late).equal(visits[1])


def test_outer_sgd_interpolates():
    """old + epsilon (new - old), epsilon falling in a line to zero."""
    tasks = SinusoidTasks(shots=5)
    model, learner = MLP(seed=0), Reptile(3, 0.01)
    expected = {name: p.detach().clone() for name, p in model.named_parameters()}
    g = torch.Generator().manual_seed(0)
    own = MLP(seed=0)
    for iteration in range(4):
        batch = tasks.sample(6, generator=g)
        own.load_state_dict(expected)
        adapted = learner.adapt(own, batch.support_x, batch.support_y)
        epsilon = 0.5 * (1 - iteration / 4)
        expected = {n: (old + epsilon * (adapted[n].mean(0) - old)).detach() for n, old in expected.items()}
    meta_train(
        learner, model, tasks, iterations=4, meta_batch=6, outer_lr=0.5, optimizer=torch.optim.SGD,
        schedule=linear_decay, device="cpu", progress=False,
    )  # fmt: skip
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.detach(), expected[name], rtol=1e-4, atol=1e-6)


def test_resumes_exactly_where_it_was(tmp_path):
    options = dict(meta_batch=4, outer_lr=0.5, optimizer=torch.optim.SGD, device="cpu", progress=False, save_every=3)
    make = lambda: Reptile(3, 0.02, inner_batch=5, use_queries=True)
    whole, _ = meta_train(make(), MLP(), SinusoidTasks(), iterations=6, **options)
    file = tmp_path / "run.safetensors"
    meta_train(make(), MLP(), SinusoidTasks(), iterations=3, state_file=file, **options)
    resumed, _ = meta_train(make(), MLP(seed=9), SinusoidTasks(), iterations=6, state_file=file, **options)
    for name, p in resumed.named_parameters():
        assert p.equal(whole.get_parameter(name)), name


def test_learns_the_sinusoid_a_little():
    model, learner, tasks = MLP(), Reptile(5, 0.02, inner_batch=10, use_queries=True), SinusoidTasks()
    before = evaluate(learner, model, tasks, num_tasks=100, steps=[10]).mean[0]
    meta_train(learner, model, tasks, iterations=300, outer_lr=0.5, optimizer=torch.optim.SGD, progress=False)
    after = evaluate(learner, model, tasks, num_tasks=100, steps=[10]).mean[0]
    assert after < 0.6 * before, (before, after)


def test_test_time_follows_the_learners_own_optimiser():
    model, learner = tiny_model().float(), Reptile(3, 0.05, inner_optimizer="adam")
    tasks = SinusoidTasks()
    drawn = tasks.sample(7, generator=torch.Generator().manual_seed(0))
    adapted = learner.adapt(model, drawn.support_x, drawn.support_y)
    losses = torch.stack([
        mse(torch.func.functional_call(model, {n: p[i] for n, p in adapted.items()}, (drawn.query_x[i],))[None],
            drawn.query_y[i : i + 1])[0]
        for i in range(7)
    ])  # fmt: skip
    result = evaluate(learner, model, tasks, num_tasks=7, steps=[0, 2, 3], seed=0)
    torch.testing.assert_close(result.query_losses[-1], losses.detach())


def test_settings_describe_the_learner():
    learner = Reptile(10, 5e-4, inner_batch=20, use_queries=True, inner_optimizer="adam", seed=4)
    again = Reptile.from_settings(json.loads(json.dumps(learner.settings())))
    assert again.settings() == learner.settings()


def test_no_gradient_is_taken_through_the_loop():
    """The outer step is not the gradient of anything MAML computes: its direction is the support set's."""
    model, batch = tiny_model(), regression()
    other = copy.copy(batch)
    other.query_y = batch.query_y + 1
    learner = Reptile(3, 0.1)
    assert largest_difference(learner.meta_gradient(model, batch)[0], learner.meta_gradient(model, other)[0]) == 0
    assert largest_difference(*(MAML(3, 0.1).meta_gradient(model, b)[0] for b in (batch, other))) > 0.1


class OfTheHead(Reptile):
    only = "head"


@pytest.mark.parametrize("inner_batch", [None, 2])
def test_what_may_change_is_the_same_in_training_and_at_test_time(inner_batch):
    moves, _ = OfTheHead(3, 0.1, inner_batch=inner_batch).meta_gradient(tiny_model(), regression())
    assert {name for name, move in moves.items() if move.abs().max() > 0} == {"head.weight", "head.bias"}


class Learnt(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, outputs, targets):
        return self.weight * mse(outputs, targets)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (dict(inner_steps=0), "inner_steps must be a whole number of at least 1"),
        (dict(inner_batch=0), "inner_batch must be a whole number of at least 1"),
        (dict(inner_optimizer="momentum"), "inner_optimizer must be"),
        (dict(inner_lr=float("inf")), "inner_lr must be finite"),
        (dict(use_queries="False"), "use_queries must be True or False, not 'False'"),
        (dict(loss_fn=Learnt()), "cannot learn its loss"),
    ],
)
def test_what_a_person_may_get_wrong(wrong, says):
    with pytest.raises(ValueError, match=says):
        Reptile(**wrong)


def test_a_minibatch_larger_than_the_task():
    with pytest.raises(ValueError, match="inner_batch=5, but a task has 4 points"):
        Reptile(inner_batch=5).meta_gradient(tiny_model(), regression())


@pytest.mark.parametrize("tasks_at_once", [None, 1])
def test_carried_squares_against_one_optimiser_of_torch(tasks_at_once):
    """Visit after visit, torch's Adam keeps its state while the weights go back to the initialisation."""
    model, learner = tiny_model(), Reptile(3, 0.05, inner_optimizer="adam", carry=True)
    own = copy.deepcopy(model)
    optimizer = torch.optim.Adam(own.parameters(), lr=0.05, betas=(0.0, 0.999))
    for seed in range(3):
        batch = regression(num_tasks=1, seed=seed)
        own.load_state_dict(model.state_dict())
        for _ in range(3):
            optimizer.zero_grad()
            (own(batch.support_x[0]) - batch.support_y[0]).square().mean().backward()
            optimizer.step()
        grads, _ = learner.meta_gradient(model, batch, tasks_at_once)
        expected = {n: (p - q).detach() for (n, p), q in zip(model.named_parameters(), own.parameters())}
        assert largest_difference(grads, expected) < 1e-7
    adapted = learner.adapt(model, batch.support_x, batch.support_y)  # test time begins where training ended
    own.load_state_dict(model.state_dict())
    for _ in range(3):
        optimizer.zero_grad()
        (own(batch.support_x[0]) - batch.support_y[0]).square().mean().backward()
        optimizer.step()
    assert all((adapted[n][0] - p).abs().max() < 1e-7 for n, p in own.named_parameters())
    again = Reptile(3, 0.05, inner_optimizer="adam", carry=True)
    again.load_state_dict(learner.state_dict())
    torch.testing.assert_close(again.adapt(model, batch.support_x, batch.support_y), adapted, rtol=1e-6, atol=1e-7)


def test_carried_squares_do_not_depend_on_how_tasks_are_cut():
    learners = [Reptile(2, 0.05, inner_batch=2, inner_optimizer="adam", carry=True) for _ in range(2)]
    for seed in range(2):
        batch = regression(seed=seed)
        grads = [one.meta_gradient(tiny_model(), batch, cut)[0] for one, cut in zip(learners, (None, 2))]
        assert largest_difference(*grads) < 1e-12
    torch.testing.assert_close(*(learner.state_dict()["carried._extra_state"] for learner in learners))


def test_gradient_descent_has_nothing_to_carry():
    with pytest.raises(ValueError, match="carry"):
        Reptile(carry=True)
