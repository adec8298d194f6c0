"""The demos of notebook 04, and the experiment behind them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from course_lib.algorithms import MAML
from course_lib.algorithms.heads import BIAS, WEIGHT
from course_lib.chapters.task_heads import head_gradients as gradients
from course_lib.chapters.task_heads import task_visits as visits
from course_lib.chapters.task_heads import three_heads as curves
from course_lib.chapters.task_heads.experiments import training_heads as experiment
from course_lib.inner_loop import adapt
from course_lib.kit.demo import check
from course_lib.losses import mse
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks
from course_lib.training import meta_train


@pytest.mark.parametrize("demo", [curves, gradients, visits])
def test_every_corner(demo):
    check(demo.demo())


def defaults(module, **changes):
    return SimpleNamespace(**(module.demo().start | changes))


# The experiment ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 2])
def test_a_batched_run_ends_where_meta_train_ends(steps):
    runs = [experiment.Run(head, 7, steps, 1) for head in (*experiment.HEADS, "stored")]
    *_, (iteration, networks, losses) = experiment.train(runs, (0, 6), progress=False)
    assert iteration == 6 and losses.shape == (6, 4)
    for r, run in enumerate(runs):
        learner = MAML(steps, experiment.INNER_LR, head=run.make_head())
        tasks = SinusoidTasks(10, 10, num_tasks=7)
        options = dict(iterations=6, meta_batch=experiment.META_BATCH, seed=1, progress=False)
        alone, history = meta_train(learner, MLP(seed=1), tasks, **options)
        assert losses[:, r].tolist() == pytest.approx(history.loss, rel=1e-4)
        for p, q in zip(networks[r].parameters(), alone.parameters()):
            torch.testing.assert_close(p, q, rtol=1e-3, atol=1e-5)


def test_the_shipped_table_is_the_whole_grid_with_its_record():
    table = experiment.load()
    assert table["command"].endswith("training_heads") and "+" not in table["commit"] and table["seconds"] > 0
    assert tuple(table["stops"]) == experiment.STOPS
    shipped = {tuple(run[name] for name in ("head", "num_tasks", "steps", "seed")) for run in table["runs"]}
    assert shipped == {(r.head, r.num_tasks, r.steps, r.seed) for r in experiment.grid()}


def test_shipped_bodies_score_as_the_table_says():
    kept = {"num_tasks": 200, "steps": 1}
    for head, rows in experiment.table("ridge", **kept).items():
        for iteration, score in zip(experiment.STOPS, rows[0]):
            network = experiment.shipped_network(head, iteration)
            assert experiment.ridge_error(network) == pytest.approx(float(score), rel=1e-2)


def test_unknown_settings_say_what_there_is():
    with pytest.raises(KeyError, match="NUM_TASKS"):
        experiment.table(num_tasks=51)
    with pytest.raises(KeyError, match="iterations"):
        experiment.shipped_network("meta", 3)


def test_a_diverged_body_has_no_score():
    network = MLP(seed=0)
    with torch.no_grad():
        network.features[0].weight[0] = torch.inf
    assert np.isnan(experiment.ridge_error(network))


# The curves -------------------------------------------------------------------------------------------------


def test_who_leads_depends_on_how_often_a_task_returns():
    few, many = (experiment.table("ridge", num_tasks=n, steps=1) for n in (50, 5000))
    middle, late, last = (experiment.STOPS.index(iteration) for iteration in (400, 800, 3200))
    for stop in (late, last):
        assert (few["written back"][:, stop] < 0.8 * few["meta"][:, stop]).all()
    assert (many["written back"][:, middle] > 1.5 * many["meta"][:, middle]).all()
    assert many["written back"][:, last].mean() < many["meta"][:, last].mean()  # six visits later
    for table in (few, many):
        assert (table["random"][:, middle] > 2 * table["meta"][:, middle].mean()).all()


def test_default_view_counts_visits():
    data = curves.compute(defaults(curves))
    assert data["visits"] == 640 and data["now"]["written back"][2] < data["now"]["meta"][1]


def test_the_title_names_a_leader_only_if_three_seeds_show_one():
    few = {"num_tasks": 5000, "iteration": 800}
    said = {"stored heads lead": {}, "one head for all leads": few, "no clear leader": {"iteration": 100}}
    for words, where in said.items():
        assert curves.leader(curves.demo(**where).set().data) == words
    assert curves.leader(curves.demo(steps=5).set().data) == "no clear leader"


@pytest.mark.parametrize("number", curves.NUMBERS)
def test_every_seed_lies_on_the_axis_at_every_stop(number):
    demo = curves.demo()
    for num_tasks in experiment.NUM_TASKS:
        for steps in experiment.STEPS:
            demo.set(number=number, num_tasks=num_tasks, steps=steps, iteration=experiment.STOPS[-1])
            values = np.concatenate([seeds.ravel() for seeds in demo.data["seeds"].values()])
            assert curves.FLOORS[number] < values.min() and values.max() < curves.CEILING
            places = demo.data["places"]
            assert (places[0], places[-1]) == (number != "ridge", len(experiment.STOPS) - 1)
    assert "Iteration 3,200, 6.4 visits a task" in demo.alt


# The visits -------------------------------------------------------------------------------------------------


def test_walking_in_closed_form_is_gradient_descent():
    generator = torch.Generator().manual_seed(0)
    for points in (3, 30):
        z = torch.randn(4, points, 5, generator=generator, dtype=torch.float64)
        y = torch.randn(4, points, 1, generator=generator, dtype=torch.float64)
        w = torch.randn(4, 6, 1, generator=generator, dtype=torch.float64)
        head = {WEIGHT: w[:, :-1].mT.clone().requires_grad_(), BIAS: w[:, -1].clone().requires_grad_()}
        model = torch.nn.Sequential()
        model.features, model.head = torch.nn.Identity(), torch.nn.Linear(5, 1, dtype=torch.float64)
        walked = adapt(model, head, z, y, loss_fn=mse, steps=7, lr=0.05)
        expected = torch.cat([walked[WEIGHT].mT, walked[BIAS][..., None]], dim=1)
        torch.testing.assert_close(visits.walk(visits.with_one(z), y, w, 0.05, 7), expected)


def test_a_remembered_head_goes_below_a_ridge_head_on_one_visit():
    errors = visits.compute(defaults(visits))["errors"]
    assert errors["fresh"][9] > 5 * errors["kept"][9]
    assert errors["kept"][9] < 0.6 * errors["solved_visit"].mean()
    assert errors["kept"][0] == pytest.approx(errors["fresh"][0])  # at the first visit both are new
    assert errors["solved_all"][-1] < 0.1 * errors["kept"][-1]
    assert abs(np.log(errors["fresh"] / errors["fresh"].mean())).max() < 0.3  # a fresh head gains nothing


def test_the_title_says_from_which_visit_on_remembering_pays():
    data = visits.demo().set().data
    first = int(visits.beaten(data).split()[-1])
    ahead = data.errors["kept"] < data.errors["solved_visit"].mean()
    assert ahead[first - 1 :].all() and not ahead[first - 2]
    assert visits.beaten(visits.demo(rate=0.001).set().data) == "Remembering does not beat ridge"


def test_moving_the_visit_keeps_the_draws():
    first, later = (visits.compute(defaults(visits, visit=v)) for v in (3, 8))
    assert np.array_equal(first["truth"], later["truth"]) and len(later["earlier"]) == 70
    assert np.array_equal(first["now"], later["earlier"].view(7, 10, 2)[2])


# The gradients ----------------------------------------------------------------------------------------------


def test_body_gradients_are_each_task_s_own():
    batch = SinusoidTasks(12).sample(3, generator=torch.Generator().manual_seed(0))
    heads = visits.draw_heads(3, 40, torch.Generator().manual_seed(1))
    model = MLP(seed=0)
    rows = gradients.body_gradients(model, heads, batch.support_x, batch.support_y)
    for task in range(3):
        outputs = model.features(batch.support_x[task]) @ heads[task, :-1] + heads[task, -1]
        loss = (outputs - batch.support_y[task]).square().mean()
        alone = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.features.parameters()))])
        torch.testing.assert_close(rows[task], alone)


def test_a_random_head_has_no_direction_and_a_remembered_one_gains_it():
    data = gradients.compute(defaults(gradients))
    assert abs(data["mean"]["fresh"]).max() < 0.15
    assert data["mean"]["kept"][-1] - data["half"]["kept"][-1] > 0.3 > data["mean"]["kept"][0]
    assert data["of_means"]["kept"] > 0.6 and data["of_means"]["fresh"] < 0.3
    assert (data["tasks"]["kept"] > 0).mean() > 0.9


def test_the_body_is_named_after_its_training():
    assert gradients.body_in_words("meta", 0) == "Body: 0 iterations, one meta-learned head"
    assert gradients.body_in_words("written back", 3200) == "Body: 3,200 iterations, remembered heads"
