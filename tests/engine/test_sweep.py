"""A sweep is its runs: every model ends where ``meta_train`` brings it alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from course_lib.algorithms import ANIL, MAML, R2D2, Reptile, UnionOfTasks
from course_lib.algorithms.heads import StoredHeads, WrittenBackHeads
from course_lib.engine.sweep import Runs, meta_train_sweep
from course_lib.models import MLP, Conv4
from course_lib.tasks import SinusoidTasks
from course_lib.training import Diverged, meta_train

RATES, SEEDS = [0.05, 0.0, -0.02], [3, 3, 7]
TASKS = SinusoidTasks(5, 5)


def models() -> list[MLP]:
    return [MLP(hidden=(6, 6), seed=seed).double() for seed in SEEDS]


class DoubleTasks:
    """The sinusoids in float64, where two ways of one computation agree to many digits."""

    def sample(self, num_tasks, *, generator):
        return TASKS.sample(num_tasks, generator=generator).map(torch.Tensor.double)


class DoubleTasksThatReturn:
    """Six of them, in float64."""

    def sample(self, num_tasks, *, generator):
        tasks = SinusoidTasks(5, 5, num_tasks=6)
        return tasks.sample(num_tasks, generator=generator).to(dtype=torch.float64)


def fomaml(**settings) -> MAML:
    return MAML(second_order=False, **settings)


def stored(num_tasks: int = 6, kind: type = StoredHeads) -> StoredHeads:
    return kind(num_tasks, 6, 1).double()


@pytest.mark.parametrize("make", [MAML, ANIL, fomaml])
def test_each_run_is_the_run_alone(make):
    steps, options = 2, dict(iterations=20, meta_batch=4, outer_lr=1e-2, progress=False)
    trained, losses = meta_train_sweep(
        make(inner_steps=steps, inner_lr=1.0), models(), DoubleTasks(), RATES, SEEDS, **options
    )
    for run, (rate, seed, start) in enumerate(zip(RATES, SEEDS, models())):
        learner = make(inner_steps=steps, inner_lr=rate)
        alone, history = meta_train(learner, start, DoubleTasks(), seed=seed, device="cpu", **options)
        torch.testing.assert_close(trained[run].state_dict(), alone.state_dict(), rtol=1e-7, atol=1e-9)
        torch.testing.assert_close(losses[:, run], torch.tensor(history.loss), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda rate: Reptile(3, rate),
        lambda rate: Reptile(3, rate, inner_batch=4, use_queries=True),
        lambda rate: Reptile(2, rate, inner_optimizer="adam"),
        lambda rate: MAML(2, rate, head="random"),
        lambda rate: MAML(2, rate, head=stored()),
        lambda rate: ANIL(2, rate, head=stored(kind=WrittenBackHeads)),
        lambda rate: UnionOfTasks("meta", inner_lr=rate),
        lambda rate: UnionOfTasks(stored(), inner_lr=rate),
    ],
)
def test_each_run_of_another_learner_is_the_run_alone(make):
    learner, options = make(1.0), dict(iterations=20, meta_batch=4, outer_lr=1e-2, progress=False)
    tasks = DoubleTasksThatReturn()
    trained, losses = meta_train_sweep(learner, models(), tasks, RATES, SEEDS, **options)
    for run, (rate, seed, start) in enumerate(zip(RATES, SEEDS, models())):
        alone, history = meta_train(own := make(rate), start, tasks, seed=seed, device="cpu", **options)
        if isinstance(own.head, StoredHeads):  # a new task begins with their mean
            alone.head.load_state_dict({"weight": own.head.weight.mean(0), "bias": own.head.bias.mean(0)})
        torch.testing.assert_close(trained[run].state_dict(), alone.state_dict(), rtol=1e-7, atol=1e-9)
        torch.testing.assert_close(losses[:, run], torch.tensor(history.loss), rtol=1e-5, atol=1e-6)
    assert learner.describe() == make(1.0).describe()  # as it was
    if isinstance(learner.head, StoredHeads):
        assert torch.equal(learner.head.weight, stored().weight)


def test_a_sweeps_task_without_a_stored_head_gets_no_other_runs():
    with pytest.raises(ValueError, match="has no stored head, there are 3"):
        meta_train_sweep(UnionOfTasks(stored(3)), models(), DoubleTasksThatReturn(), RATES, SEEDS, progress=False)


@pytest.mark.slow
def test_compiled_runs_are_the_runs(compiler):
    options = dict(iterations=20, meta_batch=4, outer_lr=1e-2, progress=False)
    starts = models()
    for model in starts:
        model.features[0].requires_grad_(False)
    learner = MAML(inner_steps=2)
    plain, losses = meta_train_sweep(learner, starts, DoubleTasks(), RATES, SEEDS, **options)
    trained, again = meta_train_sweep(learner, starts, DoubleTasks(), RATES, SEEDS, compile=True, **options)
    torch.testing.assert_close(again, losses)
    for model, other, start in zip(trained, plain, starts):
        torch.testing.assert_close(model.state_dict(), other.state_dict(), rtol=1e-7, atol=1e-9)
        assert torch.equal(model.features[0].weight, start.features[0].weight)


class Growing:
    """The first batch of each stream has 5 points a task, the others 7: a program serves one shape."""

    def __init__(self):
        self.seen = set()

    def sample(self, num_tasks, *, generator):
        points = 7 if generator.initial_seed() in self.seen else 5
        self.seen.add(generator.initial_seed())
        return SinusoidTasks(points, points).sample(num_tasks, generator=generator).map(torch.Tensor.double)


@pytest.mark.slow
def test_batches_of_another_shape_are_compiled_anew(compiler):
    options = dict(inner_lrs=[0.05, 0.01], seeds=[0, 1], iterations=3, meta_batch=2, progress=False)
    _, losses = meta_train_sweep(MAML(), models()[:2], Growing(), **options)
    _, again = meta_train_sweep(MAML(), models()[:2], Growing(), compile=True, **options)
    torch.testing.assert_close(again, losses)


def test_the_given_models_are_left_as_they_were():
    given = models()
    meta_train_sweep(MAML(), given, DoubleTasks(), RATES, SEEDS, iterations=2, progress=False)
    for model, fresh in zip(given, models()):
        assert all(torch.equal(p, q) for p, q in zip(model.parameters(), fresh.parameters()))


def test_what_cannot_be_swept_is_named():
    with pytest.raises(ValueError, match="as many models as inner rates and seeds"):
        meta_train_sweep(MAML(), models(), TASKS, [0.01], SEEDS)
    with pytest.raises(ValueError, match="finite"):
        meta_train_sweep(MAML(), models(), TASKS, [0.01, float("nan"), 0.0], SEEDS)
    with pytest.raises(ValueError, match="one architecture"):
        meta_train_sweep(MAML(), [MLP(hidden=(2,)), MLP(hidden=(3,))], TASKS, [0.1, 0.1], [0, 1])
    frozen, rotated = MLP(seed=1), [MLP(seed=1), MLP(seed=1)]
    frozen.features.requires_grad_(False)
    for shift, model in enumerate(rotated):
        model.features.register_buffer("shift", torch.tensor(float(shift)))
    for pair in ([MLP(), MLP(activation="Tanh")], [MLP(), frozen], rotated, [MLP(), MLP(seed=1).eval()]):
        with pytest.raises(ValueError, match="differ in their parameters' values alone"):
            meta_train_sweep(MAML(), pair, TASKS, [0.1, 0.1], [0, 1])
    with pytest.raises(ValueError, match="compiles for a CPU"):
        meta_train_sweep(MAML(), [m.to("meta") for m in models()], TASKS, RATES, SEEDS, compile=True)
    with pytest.raises(ValueError, match="R2D2.*meta_train"):
        meta_train_sweep(R2D2(), models(), TASKS, RATES, SEEDS)
    running = [Conv4(statistics="running", downsample="stride", filters=2) for _ in SEEDS]
    with pytest.raises(ValueError, match="track_running_stats=False"):
        meta_train_sweep(MAML(), running, TASKS, RATES, SEEDS)
    with pytest.raises(ValueError, match="Reptile.*meta_train"):
        meta_train_sweep(Reptile(inner_optimizer="adam", carry=True), models(), TASKS, RATES, SEEDS)
    learns_its_rate = MAML(inner_lr=nn.Parameter(torch.tensor(0.1)))
    with pytest.raises(ValueError, match="MAML.*meta_train"):
        meta_train_sweep(learns_its_rate, models(), TASKS, RATES, SEEDS)
    with pytest.raises(ValueError, match="leave out compile"):
        meta_train_sweep(Reptile(), models(), TASKS, RATES, SEEDS, compile=True)


class Halfway(MAML):
    """A method of its own: half of each inner step."""

    def adapt(self, model, x, y, start=None):
        start = self.start(model, x, y) if start is None else start
        return {name: start[name].lerp(p, 0.5) for name, p in super().adapt(model, x, y, start).items()}


def test_an_inner_loop_of_ones_own_is_refused_not_replaced():
    with pytest.raises(ValueError, match="Halfway.*meta_train"):
        meta_train_sweep(Halfway(), models(), TASKS, RATES, SEEDS)


def test_dropout_is_refused():
    with_dropout = [MLP(seed=seed) for seed in SEEDS]
    for model in with_dropout:
        model.features.append(nn.Dropout(0.5))
    with pytest.raises(ValueError, match="dropout"):
        meta_train_sweep(MAML(), with_dropout, TASKS, RATES, SEEDS)


def test_one_model_may_be_where_every_run_starts():
    one, options = MLP(hidden=(6, 6)).double(), dict(iterations=5, progress=False)
    trained, _ = meta_train_sweep(MAML(), [one] * 3, DoubleTasks(), [0.1] * 3, [1, 2, 1], **options)
    first, second, third = (torch.cat([p.flatten() for p in model.parameters()]) for model in trained)
    torch.testing.assert_close(first, third)
    assert not torch.allclose(first, second)


def test_the_callers_threads_are_as_before():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        meta_train_sweep(MAML(), models(), DoubleTasks(), RATES, SEEDS, iterations=1, progress=False)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("make", [MAML, Reptile])
def test_a_run_that_diverges_leaves_the_others_alone(make):
    runs, alone = (
        Runs(make(2), models()[first:2], DoubleTasks(), [1e200, 0.1][first:], SEEDS[first:2], 4, 1e-2)
        for first in (0, 1)
    )
    for _ in range(5):
        losses, expected = runs.step(), alone.step()
    assert not losses[0].isfinite()
    torch.testing.assert_close(losses[1:], expected)
    torch.testing.assert_close(runs.trained()[1].state_dict(), alone.trained()[0].state_dict())


def test_a_run_that_diverges_stops_the_sweep():
    with pytest.raises(Diverged, match="iteration 1"):
        meta_train_sweep(MAML(5), models(), DoubleTasks(), [1e200, 0.1, 0.1], SEEDS, 3, progress=False)


@pytest.mark.gpu
def test_on_a_gpu_it_stops_at_the_end():
    on_gpu = [model.to("cuda") for model in models()]
    with pytest.raises(Diverged, match="iteration 1"):
        meta_train_sweep(MAML(5), on_gpu, DoubleTasks(), [1e200, 0.1, 0.1], SEEDS, 3, progress=False)


def test_settings_made_on_the_learner_and_double_precision_count():
    learner, model = MAML(), MLP(seed=0).double()
    learner.only = "head"
    options = {"inner_lrs": [0.1], "seeds": [0], "iterations": 2, "progress": False}
    _, found = meta_train_sweep(learner, [model], SinusoidTasks(), **options)
    _, expected = meta_train_sweep(ANIL(), [model], SinusoidTasks(), **options)
    assert torch.equal(found, expected)


def test_dropout_of_nothing_is_none():
    model = MLP(seed=0)
    model.features.append(nn.Dropout(0.0))
    meta_train_sweep(MAML(), [model], SinusoidTasks(), [0.01], [0], iterations=1, progress=False)
