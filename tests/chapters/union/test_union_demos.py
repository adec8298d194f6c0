"""Notebook 06's demos: every control at its ends, what the pictures must show; the trainer of its tables."""

import numpy as np
import pytest
import torch

from course_lib.algorithms import MAML, UnionOfTasks
from course_lib.algorithms.heads import StoredHeads
from course_lib.chapters.union import (
    negative_linear,
    negative_networks,
    negative_weights,
    union_baseline,
    union_gradient,
)
from course_lib.chapters.union.experiments import equal_compute, equal_compute_images, inner_rate_sign
from course_lib.kit.demo import check
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks
from course_lib.training import meta_train


@pytest.fixture
def light(monkeypatch):
    """Fewer simulated runs, so that every corner is visited in seconds."""
    monkeypatch.setattr(negative_linear, "RUNS", {True: 8, False: 4})
    negative_linear.trained.cache_clear()
    yield
    for cached in (
        negative_linear.trained,
        negative_linear.against_training,
        negative_linear.against_adapting,
    ):
        cached.cache_clear()


def test_union_gradient_at_every_end_and_equal_where_the_inner_loop_is_off():
    demo = union_gradient.demo()
    check(demo)
    for setting in ({"inner_lr": 0.0, "steps": 5}, {"inner_lr": 0.01, "steps": 0, "head": "meta"}):
        assert demo.set(**setting).data["difference"] < 1e-12
    assert demo.set(inner_lr=0.006, steps=1).data["difference"] > 0.05


def test_union_gradients_curves_leave_the_axis_instead_of_levelling_off():
    demo = union_gradient.demo().set()
    drawn = [line.get_ydata() for line in demo.picture.figure.axes[0].lines]
    for differences in demo.data.differences:
        assert any(np.array_equal(line, differences) for line in drawn)
    assert demo.data.differences.max() > union_gradient.TOP


def test_negative_weights_at_every_end_and_through_zero():
    demo = negative_weights.demo()
    check(demo)
    assert demo.set(network="random", inner_lr=-0.005, new_tasks=0).data["median"] > 1
    assert demo.set(inner_lr=0.005).data["median"] < 1
    assert (demo.set(inner_lr=0.0).data.tasks[:, 1] == 1).all()


def test_a_tasks_weight_is_the_length_of_its_own_meta_gradient():
    _, _, lengths = negative_weights.after_step("random", -0.004, 0)
    batch = SinusoidTasks(shots=10, queries=10).sample(60, generator=torch.Generator().manual_seed(0))
    for i in (0, 7):
        grads, _ = MAML(1, -0.004).meta_gradient(MLP(seed=1), batch[i : i + 1])
        assert torch.isclose(torch.cat([g.flatten() for g in grads.values()]).norm(), lengths[i], rtol=1e-3)


def test_negative_linear_at_every_end(light):
    check(negative_linear.demo())


def test_negative_linear_shows_figure_2():
    data = negative_linear.demo().set().data
    assert data["train"]["best"] < 0 < data["adapt"]["best"]
    part = data["train"]
    assert (abs(part["mean"] - part["curve"][:: negative_linear.EVERY]) < 2 * part["half"]).all()


def test_shipped_tables_are_drawn_at_every_end():
    check(negative_networks.demo())
    check(union_baseline.demo())


def test_one_shared_head_is_the_strawman_and_wants_a_positive_rate():
    means = {method: curve[0, -1] for method, curve in union_baseline.demo().set().data.curves.items()}
    assert means["union"] < means["maml"] < means["one_head"]
    data = negative_networks.demo().set(score="after_10").data
    shared = dict(zip(data.rates, data.curves["shared"][0]))
    assert shared[0.01] < 0.5 * shared[-0.01]


@pytest.mark.parametrize("steps", [0, 1])
def test_the_batched_runs_are_the_librarys_own_training(steps):
    """Two rates and two seeds as one batch end where meta_train brings each alone."""
    ((_, networks),) = inner_rate_sign.train(
        [-0.01, 0.02], [0, 1], 20, at=[5], inner_steps=steps, progress=False
    )
    for run, network in enumerate(networks):
        rate, seed = ([-0.01, 0.02][run // 2], run % 2)
        heads = StoredHeads(20, 40, 1, seed=seed)
        learner = MAML(1, rate, head=heads) if steps else UnionOfTasks(heads)
        options = {"iterations": 5, "seed": seed, "outer_lr": inner_rate_sign.OUTER_LR, "progress": False}
        alone, _ = meta_train(
            learner, MLP(seed=seed), SinusoidTasks(num_tasks=20, seed=seed), device="cpu", **options
        )
        for name, p in network.features.named_parameters():
            torch.testing.assert_close(p, alone.features.get_parameter(name), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            network.head.weight.detach(), heads.weight.mean(0).detach(), rtol=1e-4, atol=1e-5
        )


def test_compute_is_equal():
    maml = equal_compute.operations(MAML(inner_steps=1)) * equal_compute.iterations("maml")[-1]
    for method, (steps, num_tasks) in equal_compute.METHODS.items():
        if steps == 0:
            head = "meta" if num_tasks is None else StoredHeads(num_tasks, 40, 1)
            own = (
                equal_compute.operations(UnionOfTasks(head), num_tasks) * equal_compute.iterations(method)[-1]
            )
            assert 0.98 < own / maml < 1.02


def test_on_images_both_methods_have_both_budgets():
    table = equal_compute_images.load()
    assert table["command"].endswith("equal_compute_images") and "+" not in table["commit"]
    spent = {method: [] for method in equal_compute_images.METHODS}
    for run in table["runs"]:
        assert run["operations"] == run["iterations"] * table["operations"][run["method"]]
        spent[run["method"]].append(run["operations"])
    assert sorted(spent["maml"]) == pytest.approx(sorted(spent["union"]), rel=1e-3)
