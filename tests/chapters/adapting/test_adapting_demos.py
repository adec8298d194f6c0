"""Notebook 01's demos: every control at its ends, and what the pictures must show."""

import pytest
import torch

from course_lib.chapters.adapting import adapting, four_cells, held_out, many_tasks, one_wave
from course_lib.kit.demo import check
from course_lib.losses import mse
from course_lib.models import MLP


def test_adapting_at_every_end():
    check(adapting.demo())


def test_adapting_shows_plain_gradient_descent_from_the_chosen_weights():
    demo = adapting.demo().set(start="random", steps=6, shots=7, inner_lr=0.02)
    x, y = demo.data.support.T[..., None]  # [S, 1] each
    model = MLP(seed=1)
    sgd = torch.optim.SGD(model.parameters(), lr=0.02)
    for _ in range(6):
        sgd.zero_grad()
        mse(model(x)[None], y[None]).sum().backward()
        sgd.step()
    fit = model(adapting.GRID[0])[:, 0]
    torch.testing.assert_close(fit.detach(), demo.data.fit, rtol=1e-4, atol=1e-4)


def test_moving_a_slider_keeps_the_draw_and_more_points_keep_the_first():
    demo = adapting.demo()
    few = demo.set(shots=4).data.support
    more = demo.set(shots=9, inner_lr=0.003, steps=20).data.support
    assert (more[:4] == few).all()
    assert (demo.set(new_points=1).data.support[:4] != few).any()


def test_points_set_by_hand_are_the_support_set_until_others_are_drawn():
    demo = adapting.demo(points=(-4, -3, 1)).set()
    assert demo.data.support[:, 0].tolist() == [-4, -3, 1] and "3 support points" in demo.alt
    assert len(demo.set(phase=2.0).data.support) == 3  # on another curve, at the same places
    assert len(demo.set(shots=5).data.support) == 5


def test_the_default_view_makes_the_point():
    data = adapting.demo().set().data
    one_step = dict(zip(adapting.STARTS, data["errors"][1] / data["errors"][0]))
    assert one_step["maml"] < 0.25 and min(one_step["random"], one_step["pretrained"]) > 0.6


def test_a_diverged_fit_says_so_in_words():
    demo = adapting.demo().set(start="maml", steps=50, shots=20, inner_lr=0.1, amplitude=5.0)
    assert "diverged, the steps are too large" in demo.alt


def test_four_cells_at_every_end_and_in_order():
    demo = four_cells.demo()
    check(demo)
    after_ten = dict(zip(four_cells.CELLS, demo.set(steps=10).data["mean"][:, 10]))
    assert after_ten["ready", None] < min(v for cell, v in after_ten.items() if cell != ("ready", None)) / 3
    assert (demo.data["half"] < demo.data["mean"]).all()


def test_held_out_at_every_end_and_parting_with_few_shots():
    demo = held_out.demo()
    check(demo)
    data = demo.set(shots=3, steps=30).data
    assert data["query_curve"][30] > 10 * data["support_curve"][30]
    assert demo.set(shots=20, steps=30).data["query_curve"][30] < 0.2 * data["query_curve"][30]


def test_held_out_shows_every_task_inside_its_axes():
    for settings in ({}, {"shots": 1, "steps": 30}, {"shots": 20}, {"inner_lr": 0.02, "steps": 30}):
        demo = held_out.demo(**settings).set()
        left, right = demo.picture.figure.axes
        x, y = demo.data.tasks.T
        assert right.get_xlim()[0] <= x.min()
        assert x.max() <= right.get_xlim()[1] and right.get_ylim()[0] < y.min() and y.max() <= right.get_ylim()[1]
        assert left.get_ylim()[0] <= demo.data.support_curve.min() <= 10 * left.get_ylim()[0]
    assert "above 100 count as that" in demo.alt


def test_one_wave_at_every_end_and_with_anybodys_steps():
    check(one_wave.demo())
    mine = one_wave.demo_of(lambda theta, x, y, steps, alpha: theta + steps)
    assert mine(steps=2).set().data.path[:, 0].tolist() == pytest.approx([1.57, 2.57, 3.57])


def test_one_wave_descends_the_loss_it_draws():
    demo = one_wave.demo(steps=6).set()
    x, y = demo.data.support.T
    losses = [(one_wave.curve(theta, x) - y).square().mean() for theta in demo.data.path]
    assert all(after < before for before, after in zip(losses, losses[1:])) and demo.data.error < demo.data.first
    lost = one_wave.demo_of(lambda theta, x, y, steps, alpha: theta * torch.nan if steps else theta)
    assert "then it diverges" in lost().set().alt


def test_six_hundred_tasks_at_every_end():
    demo = many_tasks.demo()
    check(demo)
    assert demo.set(start="maml_k5_tuned").data["mean"][10] < demo.data["mean"][1]
    demo.set(start="maml_k1", new_tasks=29, steps=10)  # one of these tasks runs away from the sixth step on
    assert "k = 10: a task diverged: no mean" in demo.alt and "median 0.16; 1 of 600" in demo.alt


def test_the_reference_of_the_four_cells_is_the_unions_solved_head():
    demo = four_cells.demo(start="maml_k5_tuned").set()
    assert 0.05 < demo.data.union < 0.2 and demo.data["mean"][0, 10] < demo.data.union


def test_the_stop_is_chosen_on_other_tasks():
    demo = held_out.demo(start="random", steps=30).set()
    other = held_out.measure("random", 3, 0.01, held_out.VALIDATION)[1].median(1).values
    assert demo.data.stop == int(other.argmin()) and f"k = {demo.data.stop} has the lowest" in demo.alt
