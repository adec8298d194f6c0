"""The demos of notebook 03 at every control's ends, and what their pictures must show, in numbers."""

import numpy as np
import pytest
import torch

from course_lib.algorithms import MAML
from course_lib.analysis.memory import meta_gradient_bytes
from course_lib.chapters.two_loops import solutions
from course_lib.chapters.what_k_costs import (
    clipped_training,
    k_border,
    k_climbing,
    k_clipping,
    k_memory,
    k_train_test,
)
from course_lib.chapters.what_k_costs.experiments import train_k_test_k
from course_lib.kit.demo import check
from course_lib.kit.many_seeds import OUTER_LRS, tuned
from course_lib.tasks import SinusoidTasks

RATES = torch.tensor(k_border.RATES)


@pytest.fixture(autouse=True, scope="module")
def few_tasks():
    """Two tasks instead of five: what holds for the steepest of two holds for the steepest of five."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(k_border, "NUM_TASKS", 2)
        k_border.landscape.cache_clear()
        yield
        k_border.landscape.cache_clear()


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("module", [k_border, k_climbing, k_clipping, clipped_training, k_memory, k_train_test])
def test_every_corner(module, monkeypatch):
    monkeypatch.setattr(clipped_training, "ITERATIONS", 12)
    check(module.demo())


def test_a_readers_own_loop_is_measured():
    demo = k_memory.cost_of(solutions.meta_gradient, solutions.inner_loop, num_tasks=2)
    check(demo)
    own, library = demo.data.megabytes.values()
    assert own[-1] > 5 * own[0] and library[-1] > 5 * library[0]


# Where the meta-gradient explodes


def test_the_border_is_exact_where_the_head_alone_adapts():
    head = k_border.landscape("head")
    relative = head.norms / head.norms[:, :1]
    assert (relative[RATES < head.border, -1] < 1).all()
    assert not (relative[RATES > 1.2 * head.border, -1] < 1e6).any()
    finite = head.lambda_max[RATES < head.border]
    assert (finite / finite[0, 0] - 1).abs().max() < 1e-3  # one Hessian, at every step


def test_the_landscape_is_that_of_the_library():
    scape, steps = k_border.landscape("random"), [0, 3, 10]
    generator = torch.Generator().manual_seed(0)
    batch = SinusoidTasks(k_border.SHOTS, k_border.SHOTS).sample(k_border.NUM_TASKS, generator=generator)
    rows, columns = [0, 6, 9], [k_border.STEPS.index(k) for k in steps]
    for second_order, norms in ((True, scape.norms), (False, scape.first_order_norms)):
        for row in rows:
            for k, column in zip(steps, columns):
                learner = MAML(k, k_border.RATES[row], second_order)
                grads, _ = learner.meta_gradient(k_border.network("random"), batch)
                norm = torch.cat([g.flatten() for g in grads.values()]).norm()
                torch.testing.assert_close(norms[row, column], norm, rtol=1e-3, atol=0)


def test_networks_are_calm_well_below_the_border_and_explode_far_beyond():
    for problem in ("random", "maml"):
        scape = k_border.landscape(problem)
        relative = scape.norms / scape.norms[:, :1]
        soon = relative[:, : k_border.STEPS.index(20) + 1]  # later lambda_max may have grown past the border
        assert (soon[RATES < 0.5 * scape.border] < 1.05).all()
        assert not (relative[RATES > 8 * scape.border, k_border.STEPS.index(10)] < 10).any()


def test_the_title_names_the_last_calm_rate():
    data = k_border.demo(problem="head").set().data
    at = k_border.RATES.index(data.calm)
    assert data.calm < data.border < k_border.RATES[at + 1]  # the head's border is exact
    for problem in ("random", "maml"):
        scape = k_border.landscape(problem)
        calm = (scape.norms < 10 * scape.norms[:, :1]).all(1)
        at = k_border.RATES.index(k_border.demo(problem=problem).set().data.calm)
        assert calm[: at + 1].all() and not calm[at + 1]


def test_the_words_say_what_overflowed():
    demo = k_border.demo()
    demo.render(problem="maml", inner_lr=1.0, steps=50)
    assert "overflowed" in demo.alt
    demo.render(problem="maml", inner_lr=0.001, steps=50)
    assert "overflowed" not in demo.alt


# Clipping


def test_gradients_of_the_clipping_demo_are_the_learners():
    full, _ = k_clipping.gradients("random")
    tasks, generator = SinusoidTasks(k_clipping.SHOTS, k_clipping.SHOTS), torch.Generator().manual_seed(0)
    batch = tasks.sample(k_clipping.NUM_TASKS, generator=generator)
    model, at = k_border.network("random"), k_clipping.RATES.index(0.01)
    grads, _ = MAML(3, 0.01).meta_gradient(model, batch)
    expected = torch.cat([grads[name].flatten() for name, _ in model.named_parameters()])
    torch.testing.assert_close(full[k_clipping.STEPS.index(3), at].mean(0), expected, rtol=1e-3, atol=1e-4)


def test_clipping_the_mean_turns_nothing_and_clipping_each_task_does():
    loose, tight = (k_clipping.directions("maml", 2, c) for c in (1e3, 0.1))
    assert torch.equal(loose["mean"], tight["mean"]) and torch.equal(loose["share"], tight["share"])
    assert (loose["each"] - tight["each"]).abs().max() > 0.1
    calm, beyond = k_clipping.RATES.index(0.0022), k_clipping.RATES.index(0.022)
    assert loose["share"][calm] < 0.3 < 0.7 < loose["share"][beyond]
    assert loose["mean"][beyond] < 0 < 0.9 < loose["mean"][calm]


# Memory


def test_bytes_are_counted_and_grow_as_they_should():
    columns = [dict(zip(k_memory.STEPS, values)) for values in k_memory.saved_megabytes(5).values()]
    plain, checkpointed, anil, implicit, first_order, ridge = columns
    model, batch = k_memory.setting(5)
    assert plain[10] == meta_gradient_bytes(MAML(10), model, batch) / 1e6
    assert (plain[50] - plain[10]) / 40 == pytest.approx(plain[2] - plain[1], rel=1e-6)  # for each step
    assert checkpointed[50] < plain[50] / 3 and anil[50] < plain[50] / 3
    assert all(len(set(column.values())) == 1 for column in (implicit, first_order, ridge))


# Training k against test-time k


def test_the_table_is_whole():
    shape = len(train_k_test_k.runs.seeds), len(train_k_test_k.TRAIN_STEPS), len(train_k_test_k.TEST_STEPS)
    for budget in train_k_test_k.BUDGETS:
        for rate in k_train_test.RATES:
            errors = k_train_test.table(budget, rate)
            assert errors.shape == shape
            assert np.isfinite(errors).all() and (errors > 0).all()


def test_the_rate_that_suits_each_k_is_chosen_on_validation_tasks_alone():
    rows = train_k_test_k.runs.rows(budget="compute")
    chosen = {row["train_steps"]: row["outer_lr"] for row in tuned(rows, "train_steps")}
    for k, rate in chosen.items():
        means = {r: np.mean([row["validation"] for row in rows if (row["train_steps"], row["outer_lr"]) == (k, r)])
                 for r in OUTER_LRS}  # fmt: skip
        assert rate == min(means, key=means.get)


def test_budgets_of_updates():
    assert train_k_test_k.updates("compute", 3, work=8) == 2 and train_k_test_k.updates("iterations", 3, 7) == 7
    with pytest.raises(ValueError, match="budget must be"):
        train_k_test_k.updates("time", 1)
