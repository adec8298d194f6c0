"""The demos of notebook 04, and the experiment behind them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from course_lib.algorithms import MAML
from course_lib.algorithms.heads import BIAS, WEIGHT, RandomHead, WrittenBackHeads
from course_lib.algorithms.solvers import ridge_head
from course_lib.chapters.task_heads import head_gradients as gradients
from course_lib.chapters.task_heads import task_visits as visits
from course_lib.chapters.task_heads import three_heads as curves
from course_lib.chapters.task_heads import wave
from course_lib.chapters.task_heads.experiments import training_heads as experiment
from course_lib.inner_loop import adapt
from course_lib.kit.demo import check
from course_lib.losses import mse
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks
from course_lib.training import meta_train


@pytest.mark.parametrize("demo", [curves, gradients, visits, wave])
def test_every_corner(demo):
    check(demo.demo())


def defaults(module, **changes):
    return SimpleNamespace(**(module.demo().start | changes))


# The wave ---------------------------------------------------------------------------------------------------


def test_a_fresh_amplitude_pushes_by_the_sign_of_its_product_with_the_true_one():
    trained = wave.train(1, 0.06, 60, 0)
    heads, ways = wave.pushes(trained, 0, 1, 0.06, 0)
    amplitudes = wave.WaveTasks(60, 0).amplitudes
    clear = abs(heads[0] * amplitudes) > 1  # the sampled points blur what is near zero
    assert clear.sum() > 10
    assert torch.equal((ways[0] > 0)[clear], (heads[0] * amplitudes > 0)[clear])  # home lies to the right


def test_home_is_also_half_a_period_on():
    phases = wave.SHARED + torch.tensor([0.0, 0.3, -torch.pi, 1.0])
    torch.testing.assert_close(wave.astray(phases), torch.tensor([0.0, 0.3, 0.0, 1.0]), atol=1e-6, rtol=0)
    path = wave.SHARED + torch.tensor([[1.0, 0.0], [0.1, 0.0], [0.5, 0.1], [0.1, 0.1]])  # [4, 2]
    assert wave.arrivals(path).tolist() == [3, 0]


def test_only_the_visited_heads_are_written_back():
    heads = wave.train(1, 0.06, 12, 0).heads  # [101, 3, N]
    changed = (heads[1:, 1] != heads[:-1, 1]).sum(1)
    assert changed.min() >= 1 and changed.max() <= wave.META_BATCH


@pytest.mark.parametrize("steps", [0, 1, 6])
def test_the_adapted_amplitude_is_the_inner_loops_with_its_gradient(steps):
    unit = torch.rand(2, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x, y = wave.points(unit[0], 5, torch.Generator().manual_seed(1))
    phase, head = (part.clone().requires_grad_() for part in unit)
    params = {wave.PHASE: phase[:, None], wave.HEAD: head[:, None, None]}
    looped = adapt(wave.plane.wave(), params, x, y, loss_fn=mse, steps=steps, lr=0.2, only="head")[wave.HEAD][:, 0, 0]
    direct = wave.adapted(phase, head, x, y, steps, 0.2)
    torch.testing.assert_close(direct, looped)
    if steps:
        grads = [torch.autograd.grad(heads.square().sum(), (phase, head)) for heads in (direct, looped)]
        torch.testing.assert_close(*grads)


# The experiment ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", experiment.HEADS)
def test_networks_trained_together_end_where_meta_train_ends_with_heads_of_their_own(head):
    (start, none, untrained), (_, losses, networks) = experiment.train([1, 4], head, 7, 2, 1e-2, (0, 6))
    assert (start, len(none), losses.shape) == (0, 0, (6, 2))
    for run, seed in enumerate((1, 4)):
        kinds = {"random": RandomHead(seed), "written back": WrittenBackHeads(7, 40, 1, seed), "meta": None}
        learner, tasks = MAML(2, experiment.INNER_LR, head=kinds[head]), SinusoidTasks(10, 10, num_tasks=7)
        options = dict(iterations=6, meta_batch=experiment.META_BATCH, outer_lr=1e-2, seed=seed, progress=False)
        alone, history = meta_train(learner, MLP(seed=seed), tasks, **options)
        assert losses[:, run].tolist() == pytest.approx(history.loss, rel=1e-4)
        torch.testing.assert_close(dict(networks[run].features.named_parameters()),
                                   dict(alone.features.named_parameters()), rtol=1e-3, atol=1e-5)  # fmt: skip
        assert torch.equal(untrained[run].head.weight, MLP(seed=seed).head.weight)


def test_the_judge_fits_ridge_heads():
    body, batch = MLP(seed=0).double(), experiment.new_tasks(5, 3).map(torch.Tensor.double)
    errors = experiment.ridge_errors(body.features, batch, (0.1, 1.0))
    for penalty, error in zip((0.1, 1.0), errors):
        weight, bias = ridge_head(body.features(batch.support_x), batch.support_y, penalty)
        outputs = body.features(batch.query_x) @ weight.mT + bias[:, None]
        torch.testing.assert_close(error, mse(outputs, batch.query_y).median())


def test_a_diverged_body_has_no_score():
    body = MLP().features
    torch.nn.init.constant_(body[0].bias, torch.nan)
    assert experiment.judge(body, 2)["validation"] == np.inf


def test_every_cell_of_the_table_has_all_seeds():
    for cell in experiment.runs.cells:
        rows = experiment.runs.rows(**cell)
        assert sorted(row["seed"] for row in rows) == experiment.runs.seeds
        for row in rows:
            assert np.shape(row["errors"]) == (len(experiment.STOPS), len(experiment.PENALTIES))


# The curves -------------------------------------------------------------------------------------------------


def test_the_title_counts_the_seeds_in_which_the_leader_leads():
    data = curves.demo().set().data
    places, seeds = curves.places(data), len(experiment.runs.seeds)
    assert sum(count[0] for count in places.values()) == seeds and data.visits == 320
    first = max(places, key=lambda head: places[head][0])
    assert curves.leader(data) == f"{curves.HEADS[first]} heads lead in {places[first][0]} of {seeds} seeds"


def test_nobody_leads_where_all_are_alike_or_nothing_is_measured():
    demo = curves.demo()
    data = demo.set(iteration=0).data
    assert curves.leader(data) == "all alike" and not any(count.any() for count in curves.places(data).values())
    assert curves.leader(demo.set(number="training_loss").data) == "not measured" and "inf" not in demo.alt


def test_a_place_that_two_share_is_nobodys():
    seeds = {"random": [1.0, 1.0, 1.0], "written back": [1.0, 2.0, np.nan], "meta": [3.0, 3.0, 2.0]}
    data = SimpleNamespace(seeds={head: np.array(row)[:, None] for head, row in seeds.items()}, at=0)
    counts = {head: count.tolist() for head, count in curves.places(data).items()}
    assert counts == {"random": [2, 0, 0], "written back": [0, 1, 1], "meta": [0, 1, 2]}
    assert curves.leader(data) == "fresh random heads lead in 2 of 3 seeds"
    data = curves.demo(iteration=50).set().data
    assert curves.leader(data) == "stored and meta-learned heads lead in 10 of 20 seeds each"


@pytest.mark.parametrize("number", curves.NUMBERS)
def test_every_seed_lies_on_the_axis_at_every_stop(number):
    demo = curves.demo()
    for setting in curves.SETTINGS:
        for outer_lr in ("best", *experiment.OUTER_LRS):
            demo.set(number=number, setting=setting, outer_lr=outer_lr)
            values = np.concatenate([seeds.ravel() for seeds in demo.data["seeds"].values()])
            assert curves.FLOORS[number] < np.nanmin(values) and np.nanmax(values) < curves.CEILING


# The visits -------------------------------------------------------------------------------------------------


def test_walking_among_the_residuals_is_gradient_descent():
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
        ones = visits.with_one(z)
        torch.testing.assert_close(visits.walk(ones, y, w, 0.05, 7, ones @ ones.mT), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_ridge_head_by_running_sums_is_that_of_all_points_so_far(dtype):
    data = visits.visits("maml", 5, 0)
    z, y = data["z"].to(dtype), data["y"][..., None].to(dtype)
    every = visits.ridge_so_far(z, y, 0.1)
    assert every.dtype == dtype
    for number in (1, 4):
        points = z[:, :number, :, :-1].flatten(1, 2).double(), y[:, :number].flatten(1, 2).double()
        weight, bias = ridge_head(*points, 0.1)
        expected = torch.cat([weight.mT, bias[..., None]], 1).to(dtype)
        torch.testing.assert_close(every[:, number - 1], expected, rtol=1e-5, atol=1e-5)


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
    assert visits.overtakes(data.errors) == first


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
    (data,) = gradients.compute(defaults(gradients))
    assert abs(data["mean"]["fresh"]).max() < 0.15
    assert data["mean"]["kept"][-1] - data["half"]["kept"][-1] > 0.3 > data["mean"]["kept"][0]
    assert data["of_means"]["kept"] > 0.6 and data["of_means"]["fresh"] < 0.3
    assert (data["tasks"]["kept"] > 0).mean() > 0.9


def test_the_body_is_named_after_its_training():
    assert gradients.body_in_words("meta", 0) == "Body: untrained"
    assert gradients.body_in_words("written back", 400) == "Body: 400 iterations, stored heads"


def test_a_training_of_bodies_shows_as_it_goes_and_is_kept():
    gradients.training.cache_clear()
    values = defaults(gradients, body="random", iteration=100)
    with torch.no_grad():
        gradients.network("random", 0)
        assert not torch.is_grad_enabled()
    frames = [*gradients.compute(values)]
    assert [frame["trained"] for frame in frames] == [20, 50, 100]
    (again,) = gradients.compute(values)
    assert (again["tasks"]["kept"] == frames[-1]["tasks"]["kept"]).all()
    values.iteration = 400
    assert [frame["trained"] for frame in gradients.compute(values)] == [120, 160, 220, 300, 400]
