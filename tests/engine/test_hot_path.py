"""Every fast path gives the gradient of the plain one, and the same bits twice."""

from __future__ import annotations

import copy
import threading

import pytest
import torch
from torch import nn

from course_lib.algorithms import MAML, R2D2, MetaOptNet, ProtoNet, Reptile
from course_lib.engine.hot_path import (
    copy_sharing_parameters,
    few_tasks,
    in_threads,
    make_meta_gradient,
)
from course_lib.losses import cross_entropy
from course_lib.models import MLP, Conv4
from course_lib.tasks import SinusoidTasks, TaskBatch


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(num_tasks: int = 5, ways: int = 2, shots: int = 2, size: int = 8, seed: int = 0) -> TaskBatch:
    x = torch.rand(2, num_tasks, ways * shots, 1, size, size, generator=generator(seed), dtype=torch.float64)
    y = torch.arange(ways).repeat(shots).expand(num_tasks, -1)
    return TaskBatch(x[0], y, x[1], y)


def to_float(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def small_conv(**settings) -> Conv4:
    return Conv4(ways=2, filters=3, size=8, downsample="stride", **settings).double()


LEARNERS = {
    "maml": MAML(2, 0.1, loss_fn=cross_entropy),
    "fomaml": MAML(2, 0.1, second_order=False, loss_fn=cross_entropy),
    "random head": MAML(1, 0.1, loss_fn=cross_entropy, head="random"),
    "r2d2": R2D2(loss_fn=cross_entropy).double(),
    "reptile": Reptile(2, 0.1, loss_fn=cross_entropy, inner_batch=3),
}


@pytest.mark.parametrize("tasks_at_once", [None, 1, 2, 5])
@pytest.mark.parametrize("learner", LEARNERS.values(), ids=LEARNERS)
def test_worker_threads_give_the_plain_gradient(learner, tasks_at_once):
    model, batch, learner, plain = small_conv(), images(), copy.deepcopy(learner), copy.deepcopy(learner)
    grads, info = make_meta_gradient(learner, model, tasks_at_once)(batch)
    expected, expected_info = plain.meta_gradient(model, batch)
    torch.testing.assert_close(grads, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(info["task_losses"], expected_info["task_losses"])
    assert list(grads) == list(expected)


def test_no_thread_has_a_team_of_its_own_that_would_spin_beside_the_workers():
    at_work, before = [], torch.get_num_threads()

    def work(model, piece, num_tasks):
        at_work.append(torch.get_num_threads())
        return {}, torch.zeros(piece.num_tasks), {}

    torch.set_num_threads(2)
    try:
        meanwhile = [torch.get_num_threads() for _ in in_threads(work, small_conv(), images(num_tasks=4).split(1), 4)]
        assert at_work == meanwhile == [1] * 4
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_threads_repeat_their_bits_whatever_ends_first():
    learner, model, batch = LEARNERS["maml"], small_conv().float(), images(num_tasks=9).map(to_float)
    meta_gradient = make_meta_gradient(learner, model, 1)
    first = meta_gradient(batch)[0]
    for _ in range(3):
        again = meta_gradient(batch)[0]
        assert all(torch.equal(first[name], again[name]) for name in first)


class Twice(nn.Module):
    """A module without a stacked rule, so that it is called functionally."""

    def __init__(self, body: nn.Module):
        super().__init__()
        self.body = body

    def forward(self, x):
        return self.body(x) + self.body(x)


def test_threads_do_not_disturb_each_other_inside_a_module_called_functionally():
    model = small_conv()
    model.features = Twice(model.features)
    learner, batch = LEARNERS["maml"], images(num_tasks=8)
    grads, _ = make_meta_gradient(learner, model, 1)(batch)
    torch.testing.assert_close(grads, learner.meta_gradient(model, batch)[0], rtol=1e-10, atol=1e-12)


def test_workers_leave_the_number_of_threads_alone():
    before = torch.get_num_threads()
    make_meta_gradient(LEARNERS["maml"], small_conv(), 1)(images())
    in_a_new_thread = []
    thread = threading.Thread(target=lambda: in_a_new_thread.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert torch.get_num_threads() == before == in_a_new_thread[0]


def test_parameters_changed_between_steps_are_seen_by_the_workers():
    learner, model, batch = LEARNERS["maml"], small_conv(), images()
    meta_gradient = make_meta_gradient(learner, model, 1)
    meta_gradient(batch)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.1
    torch.testing.assert_close(meta_gradient(batch)[0], learner.meta_gradient(model, batch)[0])


def test_running_statistics_are_the_mean_over_the_tasks():
    """At k = 0 every task sees one batch, its queries; each worker starts from the same averages."""
    learner, batch = MAML(0, loss_fn=cross_entropy), images(num_tasks=4)
    together, apart = small_conv(statistics="running"), small_conv(statistics="running")
    learner.meta_gradient(together, batch)
    make_meta_gradient(learner, apart, 1)(batch)
    norm = together.features[1]
    first = together.features[0](batch.query_x.flatten(0, 1))
    mean = 0.1 * first.mean((0, 2, 3))  # from 0, with momentum 0.1
    torch.testing.assert_close(norm.running_mean, mean)
    for name, buffer in together.named_buffers():
        torch.testing.assert_close(apart.state_dict()[name], buffer)


def test_an_error_in_a_worker_reaches_the_caller():
    batch = images()
    batch.support_y = batch.support_y + 7
    with pytest.raises(ValueError, match="in 0 to 1 and run from 7 to 8"):
        make_meta_gradient(LEARNERS["maml"], small_conv(), 1)(batch)


def test_few_tasks_bounds_images_and_shares_out_all_tasks():
    assert few_tasks(images(num_tasks=100, shots=40)) == 1  # 160 images a task
    assert 1 <= few_tasks(images(num_tasks=2)) <= 2


def test_a_copy_has_the_parameters_but_not_the_buffers():
    model = small_conv(statistics="running")
    copied = copy_sharing_parameters(model)
    assert all(a is b for a, b in zip(model.parameters(), copied.parameters()))
    assert not any(a is b for a, b in zip(model.buffers(), copied.buffers()))


def test_a_machine_without_a_compiler_is_told_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(RuntimeError, match=r"needs a C\+\+ compiler.*apt install g\+\+"):
        make_meta_gradient(MAML(), MLP(), compile=True)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="tasks_at_once"):
        make_meta_gradient(MAML(), MLP(), tasks_at_once=0)
    with pytest.raises(ValueError, match="all tasks at once"):
        make_meta_gradient(MAML(), MLP(), tasks_at_once=2, compile=True)
    with pytest.raises(TypeError, match="features"):
        make_meta_gradient(MAML(), nn.Linear(1, 1))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("learner", "frozen"),
    [(MAML(1, 0.05), False), (R2D2(inner_steps=1, inner_lr=torch.tensor([0.01, -0.01])), True)],
    ids=["maml", "r2d2, a rate a task, a frozen body"],
)
def test_the_compiled_step_gives_the_plain_gradient(learner, frozen, compiler):
    model = MLP(hidden=(4,), seed=0)
    model.features.requires_grad_(not frozen)
    meta_gradient = make_meta_gradient(learner, model, compile=True)
    for seed in (0, 1):  # the second time, other points and other parameters through the same program
        batch = SinusoidTasks(3, 3).sample(2, generator=generator(seed))
        grads, info = meta_gradient(batch)
        expected, expected_info = learner.meta_gradient(model, batch)
        torch.testing.assert_close(grads, expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(info, expected_info, rtol=1e-4, atol=1e-5)
        assert list(grads) == list(expected)
        with torch.no_grad():
            for p in model.parameters():
                p += 0.1


@pytest.mark.slow
@pytest.mark.skipif(torch.__version__ < (2, 12), reason="PyTorch 2.11's compiler cannot lower this convolution")
def test_the_compiled_step_moves_running_statistics(compiler):
    model, learner = small_conv(statistics="running"), LEARNERS["maml"]
    plain, meta_gradient = copy.deepcopy(model), make_meta_gradient(learner, model, compile=True)
    for seed in (0, 1):
        meta_gradient(images(seed=seed))
        learner.meta_gradient(plain, images(seed=seed))
    torch.testing.assert_close(model.state_dict(), plain.state_dict())


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["maml", "r2d2", "protonet", "metaoptnet"])
def test_a_gpu_gives_the_gradient_of_the_cpu_and_waits_for_nothing(name):
    solved = {"protonet": ProtoNet().double(), "metaoptnet": MetaOptNet().double()}
    learner, model, batch = (LEARNERS | solved)[name], small_conv(), images()
    learner = copy.deepcopy(learner)
    batch.info["classes"] = torch.arange(2).expand(batch.num_tasks, -1)
    expected, _ = learner.meta_gradient(model, batch)
    meta_gradient, on_gpu = make_meta_gradient(learner.to("cuda"), model.to("cuda")), batch.to("cuda")
    meta_gradient(on_gpu)
    torch.cuda.set_sync_debug_mode("error")
    try:
        grads, _ = meta_gradient(on_gpu)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close({name: g.cpu() for name, g in grads.items()}, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["maml", "r2d2", "reptile", "reptile, carried"])
def test_the_captured_step_gives_the_plain_gradient(name):
    carried = Reptile(2, 0.1, loss_fn=cross_entropy, inner_optimizer="adam", carry=True)
    learner = copy.deepcopy((LEARNERS | {"reptile, carried": carried})[name]).to("cuda")
    model, plain = small_conv().to("cuda"), copy.deepcopy(learner)
    meta_gradient = make_meta_gradient(learner, model, compile=True)
    for seed in (0, 1):  # the second time, other images and other parameters through the same graph
        batch = images(seed=seed)
        batch.info["classes"] = torch.arange(2).expand(batch.num_tasks, -1)
        batch = batch.to("cuda")
        grads, info = meta_gradient(batch)
        expected, expected_info = plain.meta_gradient(model, batch)
        torch.testing.assert_close(grads, expected, rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(info, expected_info, rtol=1e-8, atol=1e-10)
        with torch.no_grad():
            for p in model.parameters():
                p += 0.1
