"""The outer loop: same seed, same bits; kill and resume; stops that say why."""

import random
import signal
import subprocess
import sys
import time
from collections import OrderedDict

import pytest
import torch
from torch import nn

from course_lib.algorithms import MAML
from course_lib.engine.saved_state import read_tensors, write_tensors
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks
from course_lib.training import Diverged, linear_decay, meta_train


def train(**options):
    model = options.pop("model", None) or MLP(seed=1)
    learner = options.pop("learner", None) or MAML(inner_steps=1, inner_lr=0.01)
    return meta_train(learner, model, SinusoidTasks(), **{"iterations": 30, "progress": False, **options})


def same_bits(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_training_learns_to_adapt():
    _, history = train(iterations=400)
    assert sum(history.loss[-50:]) < 0.75 * sum(history.loss[:50])


def test_one_seed_gives_the_same_bits_and_another_does_not():
    assert same_bits(train(seed=3)[0], train(seed=3)[0])
    assert not same_bits(train(seed=3)[0], train(seed=4)[0])


def test_one_step_of_plain_descent_moves_by_rate_times_gradient():
    model, learner, tasks = MLP(seed=1).double(), MAML(inner_steps=1), SinusoidTasks()
    batch = tasks.sample(25, generator=torch.Generator().manual_seed(5)).map(torch.Tensor.double)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    grads, _ = learner.meta_gradient(model, batch)

    class InDoubles(SinusoidTasks):
        def sample(self, num_tasks, *, generator):
            return super().sample(num_tasks, generator=generator).map(torch.Tensor.double)

    sgd = lambda parameters, lr: torch.optim.SGD(parameters, lr=lr)
    meta_train(learner, model, InDoubles(), 1, outer_lr=0.1, seed=5, optimizer=sgd, progress=False)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach(), before[name] - 0.1 * grads[name])


def test_a_schedule_scales_the_outer_rate():
    sgd = lambda parameters, lr: torch.optim.SGD(parameters, lr=lr)
    still, _ = train(iterations=5, optimizer=sgd, outer_lr=0.1, schedule=lambda progress: 0.0)
    assert same_bits(still, MLP(seed=1))
    decayed, _ = train(iterations=5, optimizer=sgd, outer_lr=0.1, schedule=linear_decay)
    assert not same_bits(decayed, MLP(seed=1))
    assert [linear_decay(p) for p in (0.0, 0.25, 1.0)] == [1.0, 0.75, 0.0]


KILLED = """
import sys
from course_lib.algorithms import MAML
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks
from course_lib.training import meta_train
meta_train(MAML(), MLP(seed=1), SinusoidTasks(), 100_000, state_file=sys.argv[1], save_every=20, progress=False)
"""


@pytest.mark.trust("a training killed at a random moment, resumed bit for bit", cases=1, long=20)
def test_a_killed_run_resumes_to_exactly_the_parameters_of_an_uninterrupted_one(tmp_path, cases):
    state, chance, done = tmp_path / "run.state", random.Random(0), 0
    for _ in range(cases):
        process, deadline = subprocess.Popen([sys.executable, "-c", KILLED, str(state)]), time.monotonic() + 60
        while time.monotonic() < deadline and (not state.exists() or len(read_tensors(state)[1]["loss"]) == done):
            time.sleep(0.02)
        time.sleep(chance.uniform(0, 0.3))
        process.kill()
        process.wait()
        before, done = done, len(read_tensors(state)[1]["loss"])
        assert done >= before + 20
    resumed, history = train(learner=MAML(), iterations=done + 37, state_file=state)
    uninterrupted, whole = train(learner=MAML(), iterations=done + 37)
    assert same_bits(resumed, uninterrupted)
    assert history.loss == whole.loss


@pytest.mark.trust("a run's state that lacks a part, or is another run's", cases=8)
def test_a_state_file_of_another_run_is_refused(tmp_path):
    state = tmp_path / "run.state"
    train(state_file=state)
    with pytest.raises(ValueError, match="another run.*outer_lr: 0.001 there, 0.01 here"):
        train(state_file=state, outer_lr=0.01)
    with pytest.raises(ValueError, match=r"hidden: \[40, 40\] there, \[40, 20\] here.*shapes features.2.weight"):
        train(state_file=state, model=MLP(hidden=(40, 20)))
    with pytest.raises(ValueError, match="hidden.*activation: 'ReLU' there, 'Tanh' here"):
        train(state_file=state, model=MLP(hidden=(40, 20), activation=nn.Tanh))
    with pytest.raises(ValueError, match=r"model: 'MLP' there, 'Sequential' here; model_settings in_features: 1"):
        train(state_file=state, model=nn.Sequential(OrderedDict(MLP().named_children())))
    with pytest.raises(ValueError, match="another run.*optimizer: 'Adam' there, 'SGD' here"):
        train(state_file=state, optimizer=torch.optim.SGD)
    with pytest.raises(ValueError, match="schedule: None there, 'linear_decay' here; iterations: None there, 30 here"):
        train(state_file=state, schedule=linear_decay)
    frozen = MLP()
    frozen.features.requires_grad_(False)
    with pytest.raises(ValueError, match=r"frozen: \[\] there, \['features.0.weight'"):
        train(state_file=state, model=frozen)


def test_a_schedule_of_another_length_is_another_run(tmp_path):
    state = tmp_path / "run.state"
    train(state_file=state, schedule=linear_decay)
    with pytest.raises(ValueError, match="iterations: 30 there, 60 here"):
        train(state_file=state, schedule=linear_decay, iterations=60)
    again, _ = train(state_file=state, schedule=linear_decay)
    assert same_bits(again, train(schedule=linear_decay)[0])


@pytest.mark.trust("a run's state cut short", cases=1, long=200)
def test_a_state_file_cut_short_is_refused(tmp_path, cases):
    state = tmp_path / "run.state"
    train(state_file=state)
    whole = state.read_bytes()
    for number in range(cases):
        state.write_bytes(whole[: len(whole) - 1 - number * len(whole) // cases])
        with pytest.raises(ValueError, match="not a whole .safetensors file"):
            train(state_file=state)


def test_writing_leaves_no_half_file_behind(tmp_path):
    target = tmp_path / "x.state"
    write_tensors(target, {"a": torch.ones(2)}, {"n": 1})
    with pytest.raises(TypeError):
        write_tensors(target, {"a": torch.zeros(2)}, {"n": object()})
    tensors, header = read_tensors(target)
    assert tensors["a"].tolist() == [1.0, 1.0] and header == {"n": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["x.state"]


@pytest.mark.trust("an interrupt from the keyboard")
def test_an_interrupt_ends_the_run_with_the_work_kept(tmp_path):
    state = tmp_path / "run.state"

    def interrupt(iteration, info):
        if iteration == 12:
            signal.raise_signal(signal.SIGINT)

    model, history = train(iterations=500, on_step=interrupt, state_file=state)
    assert history.interrupted and 12 <= history.iterations <= 13
    assert same_bits(model, train(iterations=history.iterations)[0])
    resumed, _ = train(iterations=30, state_file=state)
    assert same_bits(resumed, train(iterations=30)[0])

    with pytest.raises(KeyboardInterrupt, match="after 1[23] of 500 iterations"):  # no file, no half a training
        train(iterations=500, on_step=interrupt)


@pytest.mark.trust("an inner rate at which the inner loop explodes")
def test_a_loss_that_is_not_finite_stops_before_it_spoils_the_parameters():
    model = MLP(seed=1)
    with pytest.raises(Diverged, match=r"at iteration \d+: the loss is (nan|inf).*smaller inner_lr"):
        meta_train(MAML(inner_steps=30, inner_lr=10.0), model, SinusoidTasks(), 50, progress=False)
    assert all(p.isfinite().all() for p in model.parameters())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="no CUDA GPU here; use device='auto'"):
        train(device="cuda")


@pytest.mark.parametrize("option", ["iterations", "meta_batch", "save_every"])
def test_counts_below_one_are_refused(option):
    with pytest.raises(ValueError, match=f"{option} must be a whole number of at least 1, not 0"):
        train(**{option: 0})


def test_a_model_without_a_head_is_refused():
    with pytest.raises(TypeError, match="two children, `features` and `head`"):
        meta_train(MAML(), nn.Linear(1, 1), SinusoidTasks(), 1)


def test_progress_shows_the_loss(capfd):
    train(iterations=200, progress=True)
    assert "loss=" in capfd.readouterr().err
