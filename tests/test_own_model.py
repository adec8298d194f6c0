"""A person's own module: frozen parts, dropout, batch norm, parameters that nothing uses."""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict

import pytest
import torch
from torch import nn

from course_lib.algorithms import ANIL, MAML, R2D2, ProtoNet, Reptile
from course_lib.algorithms.heads import StoredHeads
from course_lib.analysis.memory import CheckpointedMAML
from course_lib.engine.any_module import ONE_BY_ONE, TOGETHER, kinds
from course_lib.engine.hot_path import make_meta_gradient
from course_lib.engine.sweep import meta_train_sweep
from course_lib.evaluation import evaluate
from course_lib.inner_loop import adapt, stack_params
from course_lib.losses import cross_entropy, mse
from course_lib.models import MLP, Conv4
from course_lib.tasks import SinusoidTasks, TaskBatch
from course_lib.training import meta_train
from tests.gradients import TIGHT, largest_difference, regression, tiny_model


def own(*layers: nn.Module, width: int = 8) -> nn.Module:
    body = nn.Sequential(nn.Linear(1, width), *layers)
    return nn.Sequential(OrderedDict(features=body, head=nn.Linear(width, 1))).double()


def frozen_body() -> MLP:
    model = tiny_model()
    model.features.requires_grad_(False)
    return model


@pytest.mark.parametrize("make", [MAML, ANIL, Reptile, CheckpointedMAML, R2D2])
def test_a_frozen_body_neither_adapts_nor_trains(make):
    model, start = MLP(seed=0), MLP(seed=0)
    model.features.requires_grad_(False)
    learner = make(inner_steps=2)
    meta_train(learner, model, SinusoidTasks(), 3, progress=False)
    for name, p in start.features.named_parameters():
        assert torch.equal(p, model.features.get_parameter(name))
    moved = learner if make is R2D2 else model.head  # R2D2 has lambda and scale of its own
    before = make(inner_steps=2) if make is R2D2 else start.head
    assert not torch.equal(next(moved.parameters()), next(before.parameters()))
    result = evaluate(learner, model, SinusoidTasks(), num_tasks=20, steps=[0, 3], only=None)
    head_alone = evaluate(learner, model, SinusoidTasks(), num_tasks=20, steps=[0, 3], only="head")
    assert torch.equal(result.query_losses, head_alone.query_losses)
    assert not torch.equal(result.query_losses[0], result.query_losses[1])


def test_maml_with_a_frozen_body_has_anils_gradient_of_the_head():
    batch = regression()
    frozen, _ = MAML(3, 0.1).meta_gradient(frozen_body(), batch)
    anil, _ = ANIL(3, 0.1).meta_gradient(tiny_model(), batch)
    assert list(frozen) == ["head.weight", "head.bias"]
    assert largest_difference(frozen, {name: anil[name] for name in frozen}) < 1e-14
    checkpointed, _ = CheckpointedMAML(3, 0.1).meta_gradient(frozen_body(), batch)
    assert largest_difference(frozen, checkpointed) < 1e-14


def test_a_frozen_body_in_worker_threads():
    model = Conv4(ways=2, filters=3, size=8, downsample="stride").double()
    model.features.requires_grad_(False)
    g = torch.Generator().manual_seed(0)
    x = torch.rand(2, 5, 4, 1, 8, 8, generator=g, dtype=torch.float64)
    y = torch.arange(2).repeat(2).expand(5, -1)
    batch, learner = TaskBatch(x[0], y, x[1], y), MAML(2, 0.1, loss_fn=cross_entropy)
    grads, _ = make_meta_gradient(learner, model, 2)(batch)
    torch.testing.assert_close(grads, learner.meta_gradient(model, batch)[0], **TIGHT)


def test_a_sweep_leaves_a_frozen_body_too():
    models = [MLP(seed=s) for s in (0, 1)]
    for model in models:
        model.features.requires_grad_(False)
    trained, _ = meta_train_sweep(MAML(), models, SinusoidTasks(), [0.01, 0.02], [0, 1], 3, progress=False)
    for before, after in zip(models, trained):
        assert torch.equal(before.features[0].weight, after.features[0].weight)
        assert not torch.equal(before.head.weight, after.head.weight)


def test_where_nothing_is_left_to_learn_that_is_said():
    model = frozen_body()
    with pytest.raises(ValueError, match="nothing to train"):
        ProtoNet(loss_fn=cross_entropy).meta_gradient(model, labelled(regression()))
    model.head.requires_grad_(False)
    with pytest.raises(ValueError, match=r"nothing to adapt: of \['head.weight', 'head.bias'\] none"):
        ANIL().meta_gradient(model, regression())


def labelled(batch: TaskBatch) -> TaskBatch:
    targets = batch.support_y, batch.query_y
    support, query = (torch.arange(y.shape[1]).remainder(2).expand(y.shape[:2]) for y in targets)
    return TaskBatch(batch.support_x, support, batch.query_x, query)


@pytest.mark.parametrize("tasks_at_once", [None, 1])
def test_dropout_draws_anew_for_each_task(tasks_at_once):
    model, batch = own(nn.ReLU(), nn.Dropout(0.5)), regression()
    grads, _ = MAML(2, 0.1).meta_gradient(model, batch, tasks_at_once)
    assert all(g.isfinite().all() for g in grads.values())
    same = TaskBatch(*(t[:1].expand_as(t) for t in (batch.support_x, batch.support_y, batch.query_x, batch.query_y)))
    _, info = MAML(0, 0.1).meta_gradient(model, same, tasks_at_once)
    assert len(info["task_losses"].unique()) > 1
    _, info = MAML(0, 0.1).meta_gradient(model.eval(), same, tasks_at_once)
    assert info["task_losses"].std() < 1e-14


def test_batch_norm_with_running_statistics_moves_them_to_the_mean_of_the_tasks():
    batch, model = regression(), own(nn.BatchNorm1d(8))
    with pytest.warns(UserWarning, match="BatchNorm1d takes its tasks one after another"):
        ONE_BY_ONE.discard(frozenset({nn.BatchNorm1d}))
        TOGETHER.discard(frozenset({nn.BatchNorm1d}))  # where it keeps no statistics, vmap serves
        MAML(0).meta_gradient(model, batch)
    norm, means = model.features[1], model.features[0](batch.query_x).mean((0, 1))  # of tasks with as many points each
    torch.testing.assert_close(norm.running_mean, 0.1 * means)
    whole = {name: buffer.clone() for name, buffer in model.named_buffers()}
    for tasks_at_once in (1, 2):
        again = own(nn.BatchNorm1d(8))
        again.load_state_dict(model.state_dict())
        again.features[1].reset_running_stats()
        MAML(0).meta_gradient(again, batch, tasks_at_once)
        torch.testing.assert_close(dict(again.named_buffers()), whole)


def test_one_network_taken_task_by_task_leaves_others_of_its_class_together(recwarn):
    class Whole(nn.Sequential):  # of which fast_layers.py knows nothing
        def forward(self, x):
            return self[1](self[0](x))

    class Branching(nn.Module):
        def forward(self, x):
            return x.relu() if x.sum() > 0 else x

    batch = regression()
    for last in (Branching(), nn.Tanh()):
        parts = OrderedDict(features=Whole(nn.Linear(1, 8), last), head=nn.Linear(8, 1))
        MAML(1, 0.1).meta_gradient(nn.Sequential(parts).double(), batch)
    assert kinds(Whole(nn.Linear(1, 8), nn.Tanh())) in TOGETHER
    assert [str(w.message) for w in recwarn if "one after another" in str(w.message)]


def test_a_parameter_that_nothing_uses_stays():
    model, batch = tiny_model(), regression()
    expected, _ = MAML(2, 0.1).meta_gradient(model, batch)
    adapted = MAML(2, 0.1).adapt(model, batch.support_x, batch.support_y)
    model.features.register_parameter("spare", nn.Parameter(torch.ones(3, dtype=torch.float64)))
    for second_order in (True, False):
        grads, _ = MAML(2, 0.1, second_order).meta_gradient(model, batch)
        assert not grads["features.spare"].any()
    again = MAML(2, 0.1).adapt(model, batch.support_x, batch.support_y)
    assert (again.pop("features.spare") == 1).all() and largest_difference(again, adapted) == 0
    grads = MAML(2, 0.1).meta_gradient(model, batch)[0]
    assert largest_difference({name: grads[name] for name in expected}, expected) == 0


def test_rates_of_each_task_want_all_tasks_together():
    rates, model, batch = torch.linspace(0.01, 0.1, 5, dtype=torch.float64), tiny_model(), regression()
    for learner in (MAML(2, rates), Reptile(2, rates), Reptile(2, rates, inner_optimizer="adam")):
        learner.meta_gradient(model, batch)
        for tasks_at_once in (1, 2):
            with pytest.raises(ValueError, match="want all tasks of a meta-batch together"):
                learner.meta_gradient(model, batch, tasks_at_once)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_rate_that_is_not_finite_is_refused_as_a_tensor_too(bad):
    model, batch = tiny_model(), regression()
    for lr in (torch.tensor(bad), torch.tensor([0.1, 0.1, bad, 0.1, 0.1])):
        with pytest.raises(ValueError, match="lr must be finite"):
            adapt(model, stack_params(model, 5), batch.support_x, batch.support_y, loss_fn=mse, steps=1, lr=lr)


class Body(nn.Module):
    """Linear, or recurrent: one class, of which vmap serves some modules and not others."""

    def __init__(self, recurrent: bool):
        super().__init__()
        self.layer = nn.GRUCell(1, 8) if recurrent else nn.Linear(1, 8)
        self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
        self.register_buffer("scale", torch.tensor(2.0))

    def forward(self, x):
        return self.layer(x) * self.mask.exp()[0] / self.scale


def with_body(recurrent: bool) -> nn.Module:
    return nn.Sequential(OrderedDict(features=Body(recurrent), head=nn.Linear(8, 1)))


@pytest.mark.filterwarnings("ignore:.*one after another")
def test_what_a_class_did_once_it_need_not_do_always():
    for recurrent in (False, True):
        meta_train(MAML(), with_body(recurrent), SinusoidTasks(), 1, progress=False)
    norm = nn.Sequential(OrderedDict(features=nn.Sequential(nn.Linear(1, 8), nn.BatchNorm1d(8)), head=nn.Linear(8, 1)))
    evaluate(MAML(), norm, SinusoidTasks(), num_tasks=4, steps=[1])  # vmap serves a norm in evaluation
    meta_train(MAML(), norm, SinusoidTasks(), 1, progress=False)


@pytest.mark.filterwarnings("ignore:.*one after another")
def test_a_mask_of_infinities_is_left_as_it_is():
    model = with_body(recurrent=True)
    evaluate(MAML(), model, SinusoidTasks(), num_tasks=4, steps=[1])
    assert model.features.mask.tolist() == [0, -torch.inf]


def test_the_meta_loss_can_be_differentiated_with_buffers_in_its_graph():
    model = with_body(recurrent=False)
    batch = SinusoidTasks().sample(4, generator=torch.Generator().manual_seed(0))
    MAML().meta_loss(model, batch).backward()
    grads, _ = MAML().meta_gradient(model, batch)
    assert torch.equal(model.head.weight.grad, grads["head.weight"])


@pytest.mark.parametrize("options", [{"head": "random"}, {"lr": 0.1}, {"lr": 0.1, "only": "head"}])
@pytest.mark.parametrize("head", [None, StoredHeads(2, 40, 1)])
def test_an_inner_loop_of_ones_own_is_tested_as_asked(head, options):
    settings = {"head": head, "inner_lr": torch.tensor(0.02)}
    own, plain = CheckpointedMAML(**settings), MAML(**settings)
    how = {"num_tasks": 4, "steps": [0, 1, 3]} | options
    found, expected = (evaluate(learner, MLP(seed=0), SinusoidTasks(), **how) for learner in (own, plain))
    torch.testing.assert_close(found.query_losses, expected.query_losses)
    assert own.inner_lr == torch.tensor(0.02)


def test_stored_heads_follow_the_model_in_precision():
    model, tasks = MLP(seed=0).double(), SinusoidTasks(num_tasks=4)
    meta_train(MAML(head=StoredHeads(4, 40, 1)), model, tasks, 1, progress=False)


class Carefree:
    """Tasks drawn from PyTorch's own generator rather than from the one given."""

    def sample(self, num_tasks: int, generator: torch.Generator) -> TaskBatch:
        x = torch.rand(num_tasks, 10, 1)
        return TaskBatch(x, 2 * x, x, 2 * x)


def test_tasks_of_pytorchs_own_generator_repeat_too():
    first, second = (meta_train(MAML(), MLP(seed=0), Carefree(), 3, progress=False)[1] for _ in range(2))
    assert first.loss == second.loss


def test_attention_that_drops_out_is_not_checkpointed():
    model = with_body(recurrent=False)
    model.features.attention = nn.MultiheadAttention(8, 2, dropout=0.5)
    batch = SinusoidTasks().sample(4, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="does not do the same twice"):
        CheckpointedMAML(4).meta_gradient(model, batch)


class Locked(nn.Conv2d):
    def __init__(self):
        super().__init__(1, 4, 3)
        self.lock = threading.Lock()

    def forward(self, x):
        return super().forward(x.unflatten(-1, (1, 3, 3))).flatten(1)


def test_a_model_that_cannot_be_copied_trains_without_threads():
    model = nn.Sequential(OrderedDict(features=Locked(), head=nn.Linear(4, 1)))
    x = torch.randn(16, 10, 9)
    batch = TaskBatch(x, x[..., :1], x, x[..., :1])
    grads, _ = make_meta_gradient(MAML(), model)(batch)
    expected, _ = MAML().meta_gradient(model, batch)
    assert largest_difference(grads, expected) < 1e-5


def test_a_buffer_that_a_forward_pass_replaces_moves_like_one_that_it_changes():
    class Mean(nn.Module):
        def __init__(self, in_place: bool):
            super().__init__()
            self.in_place = in_place
            self.register_buffer("seen", torch.zeros(8, dtype=torch.float64))

        def forward(self, x):
            seen = 0.9 * self.seen + 0.1 * x.detach().mean(0)
            self.seen = self.seen.copy_(seen) if self.in_place else seen
            return x - self.seen

    ends = []
    for in_place in (True, False):
        torch.manual_seed(0)
        model = own(Mean(in_place))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for tasks_at_once in (None, 2):
                MAML(1).meta_gradient(model, regression(), tasks_at_once)
        ends.append(model.features[1].seen)
    assert ends[0].any()
    torch.testing.assert_close(*ends)
