"""What a task's head begins with: gradients, repeatability, and what is kept between visits."""

from __future__ import annotations

import copy
import json
from collections import OrderedDict

import pytest
import torch
from torch import nn

from course_lib.algorithms import ANIL, MAML
from course_lib.algorithms.base import trainable
from course_lib.algorithms.heads import RandomHead, StoredHeads, TaskHead, WrittenBackHeads, make_head, random_heads
from course_lib.inner_loop import stack_params
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks
from course_lib.training import meta_train
from tests.gradients import EVERY_CHUNK, finite_differences, largest_difference, regression, tiny_model

NUM_TASKS = 8


def every_head(seed: int = 0) -> dict[str, TaskHead | None]:
    sizes = (NUM_TASKS, 3, 1)
    heads = [RandomHead(seed), StoredHeads(*sizes, seed), WrittenBackHeads(*sizes, seed)]
    return {"meta": None} | {head.kind: head.double() for head in heads}


KINDS = list(every_head())


def visit(seed: int = 0):
    """Five of the eight tasks, none twice."""
    batch = regression(seed=seed)
    batch.task_id = torch.tensor([6, 0, 3, 7, 2])
    return batch


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("learner_class", [MAML, ANIL])
@pytest.mark.parametrize("steps", [0, 2])
def test_finite_differences(kind, learner_class, steps):
    model, learner = tiny_model(), learner_class(steps, 0.2, head=every_head()[kind])
    batch = visit()
    before = copy.deepcopy(learner.state_dict())
    grads, _ = learner.meta_gradient(model, batch)
    learner.load_state_dict(before)  # draws the same random heads again, with the written ones as they were
    assert grads.keys() == trainable(learner, model).keys()
    for name, parameter in trainable(learner, model).items():
        expected = finite_differences(lambda: learner.meta_loss(model, batch), parameter)
        torch.testing.assert_close(grads[name], expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tasks_at_once", EVERY_CHUNK)
def test_the_result_does_not_depend_on_tasks_at_once(kind, tasks_at_once):
    """Over two visits, so that what is drawn, kept or written back at the first one counts."""
    model, results = tiny_model(), []
    for size in (None, tasks_at_once):
        learner = MAML(2, 0.2, head=every_head()[kind])
        results.append([learner.meta_gradient(model, visit(seed), size)[0] for seed in range(2)])
    for expected, grads in zip(*results):
        assert largest_difference(grads, expected) < 1e-14


@pytest.mark.parametrize("kind", KINDS)
def test_a_copied_learner_keeps_its_head(kind):
    learner = MAML(2, 0.2, head=every_head()[kind])
    copied = copy.deepcopy(learner)
    assert copied.settings() == learner.settings() and type(copied.head) is type(learner.head)
    grads = [each.meta_gradient(tiny_model(), visit())[0] for each in (learner, copied)]
    assert largest_difference(*grads) == 0


def test_a_task_drawn_twice_begins_twice_with_the_same_head():
    model, batch = tiny_model(), visit()
    batch.task_id = torch.tensor([3, 3, 3, 3, 3])
    for kind in ("stored", "written back"):
        grads = [MAML(2, 0.2, head=every_head()[kind]).meta_gradient(model, batch, n)[0] for n in (None, 1)]
        assert largest_difference(*grads) < 1e-14


def test_stored_heads_learn_only_where_their_task_was_seen():
    learner, batch = MAML(1, 0.2, head=every_head()["stored"]), visit()
    grads, _ = learner.meta_gradient(tiny_model(), batch)
    moved = grads["learner.head.weight"].flatten(1).norm(dim=1) > 0  # [num_tasks]
    assert sorted(moved.nonzero().flatten().tolist()) == sorted(batch.task_id.tolist())
    assert grads["head.weight"].abs().max() == 0  # the model's own head is not used


def test_written_back_heads_are_where_the_inner_loop_ended():
    model, head, batch = tiny_model(), every_head()["written back"], visit()
    before = head.weight.clone()
    learner = MAML(2, 0.2, head=head)
    start = stack_params(model, 5) | {"head.weight": before[batch.task_id], "head.bias": head.bias[batch.task_id]}
    start = {name: p.detach().requires_grad_() for name, p in start.items()}
    expected = learner.adapt(model, batch.support_x, batch.support_y, start)["head.weight"].detach()
    learner.meta_gradient(model, batch)
    torch.testing.assert_close(head.weight[batch.task_id], expected, rtol=1e-12, atol=1e-12)
    others = [i for i in range(NUM_TASKS) if i not in batch.task_id]
    assert head.weight[others].equal(before[others])


def test_random_heads_are_anew_at_every_visit_and_repeat_from_the_seed():
    model, heads = tiny_model(), every_head()

    def draw(head: RandomHead) -> torch.Tensor:
        batch = head.prepare(model, visit())
        assert head.prepare(model, visit()).info["head.weight"].equal(batch.info["head.weight"])  # until remembered
        head.remember(batch, {})
        return batch.info["head.weight"]

    first, second = draw(heads["random"]), draw(heads["random"])
    assert not first.equal(second)
    assert len({tuple(head.flatten().tolist()) for head in first}) == 5  # another for each task
    again = every_head()["random"]
    assert draw(again).equal(first) and draw(again).equal(second)
    assert not draw(every_head(seed=1)["random"]).equal(first)
    resumed = every_head()["random"]
    draw(resumed)
    late = every_head()["random"]
    late.load_state_dict(resumed.state_dict())
    assert draw(late).equal(second)


def test_random_heads_are_drawn_as_torch_draws_a_linear_layer():
    heads = random_heads(4000, 25, 2, torch.Generator().manual_seed(0))
    assert heads["head.weight"].shape == (4000, 2, 25) and heads["head.bias"].shape == (4000, 2)
    torch.manual_seed(0)
    layers = [nn.Linear(25, 2) for _ in range(200)]
    for name in ("weight", "bias"):
        ours, torchs = heads[f"head.{name}"], torch.stack([getattr(layer, name) for layer in layers])
        assert ours.abs().max() <= 0.2 and torchs.abs().max() <= 0.2  # 1 / sqrt(25)
        assert abs(ours.mean()) < 0.01
        assert abs(ours.std() - 0.2 / 3**0.5) < 0.002 and abs(torchs.std() - 0.2 / 3**0.5) < 0.01


def test_new_tasks():
    model, batch, heads = tiny_model(), regression(), every_head()
    start = {kind: MAML(head=head).start(model, batch.support_x, batch.support_y) for kind, head in heads.items()}
    assert start["meta"]["head.weight"].equal(model.head.weight.expand(5, 1, 3))
    for kind in ("stored", "written back"):
        torch.testing.assert_close(start[kind]["head.weight"], heads[kind].weight.mean(0).expand(5, 1, 3))
    again = MAML(head=heads["random"]).start(model, batch.support_x, batch.support_y)
    assert again["head.weight"].equal(start["random"]["head.weight"])  # an evaluation repeats exactly
    assert not again["head.weight"][0].equal(again["head.weight"][1])
    for kind, head in heads.items():  # and each can adapt from there
        adapted = MAML(2, 0.1, head=head).adapt(model, batch.support_x, batch.support_y)
        assert not adapted["head.weight"].equal(start[kind]["head.weight"]), kind


@pytest.mark.parametrize("kind", ["random", "stored", "written back"])
def test_resumes_exactly_where_it_was(kind, tmp_path):
    tasks = SinusoidTasks(num_tasks=NUM_TASKS)
    options = dict(meta_batch=4, device="cpu", progress=False, save_every=3)
    settings = {"kind": kind} if kind == "random" else {
        "kind": kind, "num_tasks": NUM_TASKS, "num_features": 40, "num_outputs": 1
    }  # fmt: skip
    file = tmp_path / "run.safetensors"
    whole, part, resumed = (MAML(1, 0.01, head=settings) for _ in range(3))
    expected, _ = meta_train(whole, MLP(), tasks, iterations=6, **options)
    meta_train(part, MLP(), tasks, iterations=3, state_file=file, **options)
    model, _ = meta_train(resumed, MLP(seed=9), tasks, iterations=6, state_file=file, **options)
    for name, p in model.named_parameters():
        assert p.equal(expected.get_parameter(name)), name
    for name, value in resumed.state_dict().items():
        assert value.equal(whole.state_dict()[name]), name


@pytest.mark.parametrize("kind", KINDS)
def test_settings_describe_the_head(kind):
    learner = MAML(head=every_head(seed=5)[kind])
    again = MAML.from_settings(json.loads(json.dumps(learner.settings())))
    assert again.settings() == learner.settings() and type(again.head) is type(learner.head)
    for name, value in again.state_dict().items():
        torch.testing.assert_close(value, learner.state_dict()[name], check_dtype=False)


def test_what_a_person_may_get_wrong():
    stored, model, batch = StoredHeads(NUM_TASKS, 3, 1).double(), tiny_model(), visit()
    batch.task_id = None
    with pytest.raises(ValueError, match="no task_id: use a finite set of tasks"):
        MAML(head=stored).meta_gradient(model, batch)
    batch.task_id = torch.tensor([0, 1, 2, 3, NUM_TASKS])
    with pytest.raises(ValueError, match="task 8 has no stored head, there are 8"):
        MAML(head=stored).meta_gradient(model, batch)
    batch.task_id = torch.tensor([0, 1, 2, 3, -1])
    with pytest.raises(ValueError, match="a task's number is 0 or more"):
        MAML(head=stored).meta_gradient(model, batch)
    with pytest.raises(ValueError, match=r"pass StoredHeads\(num_tasks, num_features, num_outputs\)"):
        make_head("stored")
    with pytest.raises(ValueError, match="there are .*'written back'"):
        make_head("borrowed")
    with pytest.raises(ValueError, match="num_tasks must be a whole number of at least 1"):
        StoredHeads(0, 40, 1)
    deep = nn.Sequential(OrderedDict(features=nn.Identity(), head=nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))))
    with pytest.raises(TypeError, match="this model's head has"):
        MAML(head="random").meta_gradient(deep.double(), regression())
