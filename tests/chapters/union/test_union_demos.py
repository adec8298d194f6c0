"""Notebook 06's demos: every control at its ends, what the pictures must show; what its tables are made with."""

import math

import numpy as np
import pytest
import torch

from course_lib.algorithms import MAML
from course_lib.chapters.union import (
    images,
    negative_linear,
    negative_networks,
    negative_weights,
    union_baseline,
    union_gradient,
)
from course_lib.chapters.union.experiments import baseline, equal_compute_images, rate_sign
from course_lib.engine import recipes
from course_lib.kit.demo import check
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks


@pytest.fixture
def light(monkeypatch):
    """Fewer simulated runs, so that every corner is visited in seconds."""
    monkeypatch.setattr(negative_linear, "RUNS", {True: 8, False: 4})
    cached = negative_linear.missed, negative_linear.against_training, negative_linear.against_adapting
    for function in cached:
        function.cache_clear()
    yield
    for function in cached:
        function.cache_clear()


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
    assert (demo.set(inner_lr=0.0).data["tasks"][:, 1] == 1).all()


def test_a_tasks_weight_is_the_length_of_its_own_meta_gradient():
    _, _, lengths = negative_weights.after_step("random", -0.004, 0)  # MLP(seed=1 + 0)
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


@pytest.mark.parametrize("chapter", [union_baseline, negative_networks, images])
def test_shipped_tables_are_drawn_at_every_end(chapter):
    check(chapter.demo())


def test_each_at_its_best_is_never_worse_on_the_validation_tasks():
    """The rule of the comparison: of all rates and penalties the one of least median validation error."""
    for method, how in (("maml", "after_10"), ("union", "ridge")):
        chosen = baseline.best(method, 10, how)
        places = [i for i, (name, _) in enumerate(baseline.JUDGES) if name == how]
        least = math.inf
        for lr in baseline.OUTER_LRS:
            rows = baseline.runs.rows(method=method, outer_lr=lr, shots=10, moment=baseline.MOMENTS[-1])
            medians = [np.median(np.nan_to_num([row["validation"][i] for row in rows], nan=math.inf)) for i in places]
            if min(medians) < least:
                least, best = min(medians), (lr, baseline.JUDGES[places[int(np.argmin(medians))]][1])
        assert chosen == best


def test_compute_is_equal():
    cost = {method: baseline.operations(method) * count for method, count in baseline.ITERATIONS.items()}
    assert max(cost.values()) < 1.02 * min(cost.values())


def test_noise_is_on_the_labels_that_a_task_learns_from():
    draw = lambda **how: rate_sign.NoisyTasks(50, 1.0, **how).sample(40, generator=torch.Generator().manual_seed(0))
    clean = rate_sign.NoisyTasks(50, 0.0).sample(40, generator=torch.Generator().manual_seed(0))
    for batch, queries in ((draw(), 0.0), (draw(queries_too=True), 1.0)):
        assert 0.9 < (batch.support_y - clean.support_y).std() < 1.1
        assert abs((batch.query_y - clean.query_y).std() - queries) < 0.1


def test_a_run_that_diverges_does_not_take_the_others_with_it(monkeypatch):
    monkeypatch.setattr(rate_sign, "INNER_LRS", (0.0, 1e20))
    rows = rate_sign.measure([0, 1], tasks=5, queries=10, noise=0.0, iterations=4, validation_tasks=4, test_tasks=4)
    assert [row["seed"] for row in rows] == [0, 1] * 4
    for row in rows:
        assert len(row["error"]) == len(row["validation"]) == len(rate_sign.JUDGES)
        assert {math.isfinite(error) for error in row["error"]} == {row["inner_lr"] == 0}


def test_each_seed_has_tasks_of_its_own_that_never_change():
    tasks = rate_sign.TheSameTasks(5, rate_sign.NoisyTasks(2, 1.0, queries_too=True))
    one, two = (torch.Generator().manual_seed(seed) for seed in (0, 1))
    first, other, again = (tasks.sample(5, generator=generator) for generator in (one, two, one))
    assert torch.equal(first.query_y, again.query_y) and not torch.equal(first.query_y, other.query_y)


def test_on_images_both_methods_have_both_budgets():
    assert "+" not in equal_compute_images.runs.table["record"]["commit"]
    spent = {method: [] for method in equal_compute_images.METHODS}
    for run in equal_compute_images.runs.rows():
        assert run["shipped"] == (run["method"] == run["budget"])
        spent[run["method"]].append(run["operations"])
    assert sorted(spent["maml"]) == pytest.approx(sorted(spent["union"]), rel=1e-3)


def test_on_images_the_steps_at_test_time_are_those_of_training():
    settings = {name: recipes.find("omniglot", name).settings for name in images.METHODS}  # the union's have no steps
    assert images.STEPS == {name: str(of.get("inner_steps", 0)) for name, of in settings.items()}
