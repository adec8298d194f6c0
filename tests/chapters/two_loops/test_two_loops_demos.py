"""The demos of notebook 02 hold at all their corners, and their pictures show what the notebook says."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from course_lib.algorithms import MAML
from course_lib.analysis.curvature import Curvature
from course_lib.chapters.two_loops import dropped, how_many_tasks, judging, wrong_loops
from course_lib.chapters.two_loops import landscape as landscape
from course_lib.chapters.two_loops import live_training as training
from course_lib.chapters.two_loops import stepper as stepper
from course_lib.chapters.two_loops import two_losses as loss
from course_lib.chapters.two_loops import unrolled_loop as unrolled
from course_lib.inner_loop import stack_params
from course_lib.kit import two_parameters as plane
from course_lib.kit.demo import check
from course_lib.kit.touch import touched
from course_lib.losses import mse
from course_lib.models import MLP


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    "module",
    [stepper, landscape, loss, unrolled, training, dropped, judging, how_many_tasks],
    ids=lambda m: m.__name__[-9:],
)
def test_every_corner(module):
    check(module.demo())


def values_of(module, **changes):
    return SimpleNamespace(**module.demo().start | changes)


def angle(vector):
    return math.degrees(math.atan2(vector[1], vector[0]))


def test_the_arrow_turns_and_stays_when_unrelated_sliders_move():
    ways = stepper.compute(values_of(stepper))["arrows"]
    angles = [angle(ways[m]) for m in ("maml", "fomaml", "reptile", "union")]
    assert all(a - b > 10 for a, b in zip(angles, angles[1:]))
    longer = stepper.compute(values_of(stepper, outer_lr=1.0))["arrows"]
    assert angle(longer["maml"]) == pytest.approx(angles[0])
    at_zero = stepper.compute(values_of(stepper, steps=0))["arrows"]
    assert np.allclose(at_zero["maml"], at_zero["fomaml"], atol=1e-14)
    assert not at_zero["reptile"].any()


def test_every_task_starts_from_the_same_theta_and_ends_where_the_library_ends():
    data = stepper.compute(values_of(stepper, position=stepper.POSITIONS - 1))
    assert (data["paths"][:, 0] == data["from"]).all()
    batch = stepper.batch_of(stepper.ROUNDS - 1, 0)
    adapted = MAML(3, 0.2).adapt(plane.wave(*data["from"]), batch.support_x, batch.support_y)
    assert np.allclose(data["paths"][:, -1], plane.point(adapted).numpy(), atol=1e-12)
    assert len(data["trail"]) == stepper.ROUNDS + 1


def test_walking_the_lines():
    lines = [stepper.compute(values_of(stepper, position=p))["line"] for p in range(11)]
    assert lines == ["1", "3", "5", "6", "5", "6", "5", "6", "8", "8", "3"]


def test_the_arrow_is_the_slope_of_the_query_loss_after_adapting():
    batch, theta, h = stepper.batch_of(0, 0), torch.tensor(plane.START, dtype=torch.float64), 1e-5
    learner = MAML(3, 0.2)

    def loss_at(point):
        return learner.meta_loss(plane.wave(*point), batch).item()

    slopes = [(loss_at(theta + h * e) - loss_at(theta - h * e)) / (2 * h) for e in torch.eye(2, dtype=torch.float64)]
    assert np.allclose(plane.direction("maml", plane.wave(*theta), batch, 3, 0.2), slopes, atol=1e-8)


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_all_methods_in_one_batch_go_where_each_goes_alone(steps):
    batch, points = plane.sample(5, seed=3), torch.tensor([[0.5, 1], [0.2, 2], [1.1, 0.7], [2, 1.5]]).double()
    ways, losses = plane.directions(points, batch, steps, 0.3)
    for method, place, way, found in zip(plane.METHODS, points, ways, losses, strict=True):
        model = plane.wave(*place.tolist())
        torch.testing.assert_close(way, plane.direction(method, model, batch, steps, 0.3), rtol=0, atol=1e-13)
        assert found.item() == pytest.approx(MAML(steps, 0.3).meta_loss(model, batch).item(), rel=1e-12)


def test_without_inner_steps_maml_fomaml_and_the_landscape_agree():
    *_, last = landscape.compute(values_of(landscape, steps=0))
    assert np.allclose(last["paths"]["maml"], last["paths"]["fomaml"], rtol=0, atol=1e-12)
    assert last["losses"]["maml"][-1] == pytest.approx(last["landscape"].min(), abs=1e-2)


def test_zero_one_error_is_flat_where_cross_entropy_slopes():
    data = loss.compute(values_of(loss, zoom=1024))
    assert len(set(data["error"])) == 1
    slope = (data["cross_entropy"][-1] - data["cross_entropy"][0]) / (data["line"][-1] - data["line"][0])
    assert slope == pytest.approx(data["slope"], rel=1e-3) and data["slope"] < -0.1
    assert set(np.round(loss.compute(values_of(loss))["error"] * 2 * loss.QUERIES, 9)) <= set(
        range(2 * loss.QUERIES + 1)
    )


def test_downhill_the_slope_is_the_length_of_the_meta_gradient():
    model, learner, batch, _ = loss.line_of("downhill", 1, 0)
    grads, _ = learner.meta_gradient(model, batch)
    length = torch.cat([g.flatten() for g in grads.values()]).norm().item()
    assert loss.here("downhill", 1, 0, 0.0)["slope"] == pytest.approx(-length, rel=1e-9)


@pytest.mark.parametrize("start", unrolled.STARTS)
def test_the_product_of_jacobians_is_the_meta_gradient(start):
    for steps in (0, 1, 4, 10):
        data = unrolled.compute(values_of(unrolled, start=start, steps=steps, inner_lr=0.01))
        assert (
            data["difference"] < 1e-10 and len(data["norms"]) == steps + 1 and data["cosines"][-1] == pytest.approx(1)
        )


def test_a_runaway_inner_loop_is_told_in_words():
    demo = unrolled.demo(start="maml", steps=12, inner_lr=0.1).set()
    assert demo.data.diverged and "diverges" in demo.alt


def test_a_live_run_is_repeatable_and_can_be_left(monkeypatch):
    monkeypatch.setattr(training, "ITERATIONS", 20)
    first, second = (list(training.train(1, 0.01, 0.01, True)) for _ in range(2))
    assert np.array_equal(first[-1]["losses"], second[-1]["losses"]) and len(first[-1]["losses"]) == 20
    assert np.array_equal(first[-1]["after"], second[-1]["after"])
    frames = training.train(1, 0.01, 0.01, True)
    next(frames), next(frames)
    frames.close()
    demo = training.demo(steps=5, inner_lr=0.1, outer_lr=0.1).set(train=True)
    assert demo.data.diverged and "Diverged" in demo.alt


def test_the_default_run_learns():
    (data,) = training.compute(values_of(training))
    mean = training.running_mean(data["losses"])
    assert mean[-1] < 0.4 * data["losses"][0] and len(mean) == training.ITERATIONS
    assert mean[-1] == pytest.approx(data["losses"][-training.WINDOW :].mean())
    (fresh,) = training.compute(values_of(training, steps=2))
    assert len(fresh["losses"]) == 0


def test_a_reader_sees_their_own_network():
    network, losses = MLP(seed=0), [5.0, 4.0, 3.0]
    watched = training.watch(network, losses)
    check(watched)
    call = watched.set(steps=3).call  # opens it where it stands, in the notebook that made it
    assert eval(call, {"live_training": training, "network": network, "losses": losses}).values == watched.values


def test_a_loop_of_ones_own_is_measured():
    check(
        wrong_loops.errors(lambda model, batch, k, lr: MAML(k, lr, second_order=False).meta_gradient(model, batch)[0])
    )


@pytest.mark.parametrize("start", dropped.STARTS)
def test_the_two_parts_of_the_hessian_are_the_whole(start):
    model, batch = unrolled.network(start), unrolled.one_task(0)
    here = Curvature(model, stack_params(model, 1), batch.support_x, batch.support_y, mse)
    basis = torch.randn(1, here.gradient.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    first = dropped.gauss_newton_times(model, stack_params(model, 1), batch.support_x, basis)
    rest = here.hessian_times(basis) - first
    own = dict(model.named_parameters())
    outputs = model(batch.support_x[0])  # [S, 1]
    jacobian = torch.stack([torch.cat([g.flatten() for g in torch.autograd.grad(out, own.values(), retain_graph=True)])
                            for out in outputs[:, 0]])  # fmt: skip
    expected = 2 / len(outputs) * jacobian.T @ (jacobian @ basis[0])
    torch.testing.assert_close(first[0], expected)
    last = sum(p.numel() for p in model.head.parameters())  # the network is linear in its head
    alone = torch.cat([torch.zeros(basis.shape[1] - last), torch.ones(last)]).double()[None]
    part = here.hessian_times(alone) - dropped.gauss_newton_times(model, stack_params(model, 1), batch.support_x, alone)
    assert part[0, -last:].abs().max() < 1e-9 < rest.abs().max()
    exact = MAML(3, 0.01).meta_gradient(model, batch)[0]
    found = dropped.meta_gradients(start, 3, 0.01, 0)
    torch.testing.assert_close(found["all"], torch.cat([g.flatten() for g in exact.values()]))


def test_the_title_compares_each_part_with_nothing():
    demo = dropped.demo()
    titles = [dropped.headline(demo.set(**view).data) for view in ({}, {"start": "random"}, {"steps": 1})]
    assert titles == [
        "First derivatives mend 90 % of it",
        "First derivatives mend 16 % of it",
        "Second derivatives mend 63 % of it",
    ]
    assert dropped.headline(SimpleNamespace(missed=[0.2, 0.3, 0.1])) == "Neither alone beats nothing"


def test_the_start_of_theta_is_dragged_in_both_planes():
    for module in (stepper, landscape):
        demo = module.demo().set()
        demo.set(**touched(demo, 0, 0, (2.0, 2.5)))
        assert demo.values["theta"] == (2.0, 2.5) and "theta=(2.0, 2.5)" in demo.call
    assert tuple(demo.data.paths["maml"][0]) == (2.0, 2.5)
    data = stepper.demo(theta=(2.0, 2.5)).set().data
    assert (data["from"] == (2.0, 2.5)).all() and (data.paths[:, 0] == (2.0, 2.5)).all()


def test_names_of_arrows_keep_apart():
    demo = stepper.demo()
    for draw in range(8):
        data = demo.set(new_tasks=draw).data
        heights = sorted(y for _, y in stepper.names_at(data).values())
        assert len(heights) == 4 and min(np.diff(heights)) >= 0.2 - 1e-9
