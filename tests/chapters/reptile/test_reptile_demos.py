"""Notebook 08's demos: every control at its ends, what the pictures must show; the code behind its tables."""

from collections import OrderedDict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from course_lib.algorithms import MAML, Reptile
from course_lib.chapters.reptile import direction_cosines, directions, race, reptile_plane, reptile_wave, variants
from course_lib.chapters.reptile.experiments import loops
from course_lib.chapters.reptile.experiments import race as table
from course_lib.kit import two_parameters
from course_lib.kit.demo import check
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks, TaskBatch
from course_lib.training import linear_decay


@pytest.fixture(scope="module")
def few():
    """The tanh network and three minibatches of four tasks."""
    x, y = directions.minibatches(0, num_tasks=4)
    return directions.network("tanh", 0), x[:, :3], y[:, :3]


def joined(grads):
    return torch.cat([grad.flatten() for grad in grads.values()])


def as_network(theta, seed):
    """The plane's model and tasks for the library's learners, in float64."""
    head = nn.Linear(2, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        head.weight.copy_(torch.as_tensor(theta)[None])
    n, d = reptile_plane.lines(seed)
    x = torch.tensor(n * reptile_plane.LENGTHS[:, None])[:, None]  # [3, 1, 2]
    y = torch.tensor(d * reptile_plane.LENGTHS)[:, None, None]  # [3, 1, 1]
    return nn.Sequential(OrderedDict(features=nn.Identity(), head=head)), TaskBatch(x, y, x, y)


def test_wave_at_every_end():
    check(reptile_wave.demo())


@pytest.mark.parametrize(("steps", "draw"), [(1, 0), (5, 3), (50, 2)])
def test_the_waves_inner_loops_are_the_librarys(steps, draw):
    theta, tasks = (0.4, 1.3), reptile_wave.tasks(draw)
    ends = Reptile(steps, 0.1).adapt(two_parameters.wave(*theta), tasks.support_x, tasks.support_y)
    expected = reptile_wave.inner_loops(np.array(theta), steps, 0.1, draw)[-1]  # [T, 2]
    np.testing.assert_allclose(two_parameters.point(ends).numpy(), expected, atol=1e-10)


@pytest.mark.parametrize("steps", [1, 20])
def test_the_wave_rests_where_reptile_no_longer_moves(steps):
    place = reptile_wave.rest(steps, 0.1, 0)
    moves, _ = Reptile(steps, 0.1).meta_gradient(two_parameters.wave(*place), reptile_wave.tasks(0))
    assert two_parameters.point(moves).norm() < 1e-5


def test_plane_at_every_end():
    check(reptile_plane.demo())


@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize("steps", [1, 5, 50])
def test_plane_is_what_the_library_does(steps, seed):
    theta = np.array(reptile_plane.START)
    model, tasks = as_network(theta, seed)
    ends = Reptile(steps, 0.3).adapt(model, tasks.support_x, tasks.support_y)["head.weight"][:, 0]  # [3, 2]
    expected = reptile_plane.inner_ends(theta, reptile_plane.reptile_weights(steps, 0.3), seed)
    np.testing.assert_allclose(ends.detach().numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 5, 20])
def test_plane_rests_where_the_learners_directions_vanish(steps):
    for learner, weights in ((Reptile, reptile_plane.reptile_weights), (MAML, reptile_plane.maml_weights)):
        place = reptile_plane.rest(weights(steps, 0.2), seed=1)
        grads, _ = learner(steps, 0.2).meta_gradient(*as_network(place, seed=1))
        assert grads["head.weight"].abs().max() < 1e-12
        grads, _ = learner(steps, 0.2).meta_gradient(*as_network(place + 0.1, seed=1))
        assert grads["head.weight"].abs().max() > 1e-4


def test_plane_goes_from_joint_training_to_the_nearest_point():
    demo = reptile_plane.demo()
    one, many = (demo.set(steps=k).data for k in (1, 100))
    np.testing.assert_allclose(one["rest"], one["joint"])
    assert np.linalg.norm(many["rest"] - many["nearest"]) < 0.02 < np.linalg.norm(one["rest"] - one["nearest"])


@pytest.mark.trust("a demo's system of equations that is nearly singular", cases=200, long=2000)
def test_plane_rests_where_the_two_flat_lines_cross_when_the_steep_task_is_solved(cases):
    """MAML's weights span 200 powers of ten there, which made the normal equations singular."""
    weights = reptile_plane.maml_weights(100, 0.45)
    for seed in range(cases):
        n, d = reptile_plane.lines(seed)
        crossing = np.linalg.solve(n[1:], d[1:])
        np.testing.assert_allclose(reptile_plane.rest(weights, seed), crossing, atol=1e-5)
    demo = reptile_plane.demo().set(steps=100, inner_lr=0.45)
    assert all(np.isfinite(demo.data[name]).all() for name in reptile_plane.RESTS)


def test_every_order_uses_each_pair_as_often():
    orders = directions.all_orders(torch.arange(4).view(1, 4, 1))[..., 0]  # [8, 4]
    assert (orders.sort(1).values == torch.arange(4)).all()
    place = orders.argsort(1)  # [8, 4]: where each minibatch stands
    for i in range(4):
        assert (place == i).sum(0).tolist() == [2] * 4
        assert all((place[:, i] < place[:, j]).sum() == 4 for j in range(4) if j != i)


def test_directions_are_the_librarys(few):
    model, x, y = few
    episode = TaskBatch(x[:, 0], y[:, 0], x[:, 1], y[:, 1])  # a minibatch to adapt on, another to be judged on
    found = directions.in_sequence(model, x[:, :2], y[:, :2], 0.01)
    for name, second_order in (("maml", True), ("fomaml", False)):
        expected = joined(MAML(1, 0.01, second_order).meta_gradient(model, episode)[0])
        torch.testing.assert_close(found[name], expected, rtol=0, atol=1e-12)
    batch = TaskBatch(x.flatten(1, 2), y.flatten(1, 2), x[:, 0], y[:, 0])
    batch.info["minibatches"] = torch.arange(30).view(1, 3, 10).expand(4, -1, -1)
    expected = joined(Reptile(3, 0.01, inner_batch=10).gradient(model, batch, batch.num_tasks)[0]) / 0.03
    torch.testing.assert_close(directions.in_sequence(model, x, y, 0.01)["reptile"], expected, rtol=0, atol=1e-12)


def test_the_second_term_is_half_the_gradient_of_agreement(few):
    """AvgGradInner along a direction, by a difference of mean(g_i . g_j)."""
    model, x, y = few
    _, inner = directions.two_terms(model, x, y)

    def agreement(shift):
        moved = directions.network("tanh", 0)
        with torch.no_grad():
            vector = torch.nn.utils.parameters_to_vector(moved.parameters())
            torch.nn.utils.vector_to_parameters(vector + shift * inner / inner.norm(), moved.parameters())
        products = []
        for task_x, task_y in zip(x, y):
            losses = [(moved(a) - b).square().mean() for a, b in zip(task_x, task_y)]
            g = torch.stack([joined(dict(enumerate(torch.autograd.grad(v, list(moved.parameters()))))) for v in losses])
            products.append(((g @ g.T).sum() - g.square().sum()) / 6)
        return torch.stack(products).mean()

    slope = (agreement(1e-5) - agreement(-1e-5)) / 2e-5
    torch.testing.assert_close(slope / 2, inner.norm(), rtol=1e-5, atol=0)


def test_coefficients_come_out_and_the_error_is_of_second_order(few):
    model, x, y = few
    low, high = (directions.measure(model, x, y, rate) for rate in (1e-4, 1e-3))
    for method in ("maml", "fomaml", "reptile"):
        first, second = low.fitted(method)
        assert abs(first - 1) < 1e-3 and abs(second / directions.coefficient(method, 3) - 1) < 0.02
        assert 60 < high.missed(method) / low.missed(method) < 140  # tenfold alpha, a hundredfold error


@pytest.fixture
def two_tasks(monkeypatch):
    """The demo of directions on two tasks, of which nothing is known yet."""
    monkeypatch.setattr(direction_cosines, "NUM_TASKS", 2)
    direction_cosines.measuring.cache_clear()
    yield direction_cosines.demo()
    direction_cosines.measuring.cache_clear()


def test_directions_demo_at_every_end(two_tasks):
    check(two_tasks)
    assert all(abs(cosine - 1) < 1e-9 for cosine in two_tasks.set(steps=1).data["now"].values())
    now = two_tasks.set(steps=4, inner_lr=0.007, network="tanh").data["now"]
    assert 1 > now["fomaml"] > now["reptile"] > now["joint"]


def test_directions_are_seen_first_at_the_rate_that_is_marked_then_rate_by_rate(two_tasks):
    values = SimpleNamespace(**two_tasks.values)
    first, *growing, whole = direction_cosines.compute(values)
    at = [direction_cosines.RATES.index(values.inner_lr)]
    for part in ("real", "inner"):
        for m in directions.METHODS:
            assert np.isfinite(first[part][m]).nonzero()[0].tolist() == at
            np.testing.assert_allclose(first[part][m][at], whole[part][m][at], rtol=0, atol=1e-9)  # least squares twice
            assert np.isfinite(whole[part][m]).all()
    counts = [np.isfinite(frame["real"]["maml"]).sum() for frame in (first, *growing, whole)]
    assert counts == list(range(1, len(direction_cosines.RATES) + 1))  # a new k is heard after one rate
    np.testing.assert_allclose(first["theory"]["fomaml"], whole["theory"]["fomaml"], rtol=1e-9)
    assert len(list(direction_cosines.compute(values))) == 1  # nothing is left to measure


def test_variants_at_every_end():
    check(variants.demo())


def test_race_at_every_end(monkeypatch):
    monkeypatch.setattr(race, "LOOKS", 1000)  # short slices
    monkeypatch.setattr(race, "TEST_TASKS", 3)
    check(race.demo(), frames=2)


def test_race_trains_all_three_live(monkeypatch):
    monkeypatch.setattr(race, "TEST_TASKS", 3)
    *_, end = race.race(budget=0.2, outer_lr=1e-2, test_steps=5)
    assert not end["diverged"] and end["live"] == 0.2
    assert all(end["times"][m][-1] >= 0.2 and np.isfinite(end["curves"][m]).all() for m in race.NAMES)


def test_a_live_run_that_diverges_is_told(monkeypatch):
    racer = race.Racer("maml", 1e30, 0.01, 1)
    racer.train(until=1.0)
    assert racer.diverged and len(racer.seen) == 1


def test_the_outer_loops_are_what_they_are_called():
    published = table.outer_loop_of("as published", 1.0)
    assert published["schedule"] is linear_decay and published["outer_lr"] == 1.0
    assert loops.SCHEDULES["constant"] is None and "inner_batch" not in loops.POINTS["all_20"]


def test_agreement_is_one_where_all_points_are_the_same(monkeypatch):
    class OnePoint(SinusoidTasks):
        def sample(self, num_tasks, *, generator):
            batch = super().sample(num_tasks, generator=generator)
            first = lambda points: points[:, :1].expand(-1, 10, -1)
            x, y = first(batch.support_x), first(batch.support_y)
            return TaskBatch(x, y, x, y)

    network = MLP(seed=0)
    assert 0 < table.agreement(network, 0, 20) < 0.9
    monkeypatch.setattr(table, "SinusoidTasks", OnePoint)
    assert abs(table.agreement(network, 0, 20) - 1) < 1e-5
