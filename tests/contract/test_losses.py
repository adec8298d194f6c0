"""A person's own method and loss: it is theirs that is trained, evaluated and swept, or words say why not."""

from __future__ import annotations

import functools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.algorithms import ANIL, MAML, R2D2, ProtoNet, Reptile
from course_lib.engine.sweep import meta_train_sweep
from course_lib.evaluation import evaluate
from course_lib.inner_loop import predict, stack_params
from course_lib.losses import cross_entropy, mse
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks, TaskBatch
from tests.classes import classification
from tests.contract.runs import REFUSALS, same_bits, scaled, trained
from tests.gradients import regression


class Characters:
    """Three-way tasks for a small network: points about three centres."""

    def sample(self, num_tasks: int, *, generator: torch.Generator) -> TaskBatch:
        seed = int(torch.randint(1000, (), generator=generator))
        batch = classification(num_tasks, ways=3, shots=2, queries=2, seed=seed)
        return TaskBatch(batch.support_x.float(), batch.support_y, batch.query_x.float(), batch.query_y)


def classifier() -> MLP:
    return MLP(in_features=3, hidden=(4,), out_features=3, seed=0)


# 3. A learner with an adapt of its own.


class SignStep(MAML):
    """One step along the signs of the gradient, always from the initialisation."""

    def adapt(self, model: nn.Module, x: Tensor, y: Tensor, *args, **options) -> dict[str, Tensor]:
        params = stack_params(model, x.shape[0])
        with torch.enable_grad():
            loss = self.loss_fn(predict(model, params, x), y).sum()
            grads = torch.autograd.grad(loss, list(params.values()))
        return {name: p - self.inner_lr * g.sign() for (name, p), g in zip(params.items(), grads)}


def test_3_it_is_what_evaluate_scores():
    tasks, learner, model = SinusoidTasks(), SignStep(1, 0.05), MLP(seed=0)
    batch = tasks.sample(6, generator=torch.Generator().manual_seed(4))
    adapted = learner.adapt(model, batch.support_x, batch.support_y)
    expected = mse(predict(model, adapted, batch.query_x), batch.query_y).detach()
    result = evaluate(learner, model, tasks, num_tasks=6, steps=[1], seed=4)
    torch.testing.assert_close(result.query_losses[0], expected)
    other = evaluate(MAML(1, 0.05), model, tasks, num_tasks=6, steps=[1], seed=4)
    assert not torch.allclose(result.query_losses, other.query_losses)


def test_3_it_is_what_is_trained():
    assert not same_bits(trained(SignStep(1, 0.05)), trained(MAML(1, 0.05)))


def test_3_it_is_what_a_sweep_trains_or_refuses_in_words():
    learner = SignStep(1, 0.05)
    try:
        options = dict(inner_lrs=[0.05], seeds=[0], iterations=4, meta_batch=3, progress=False)
        (swept,), _ = meta_train_sweep(learner, [MLP(seed=0)], SinusoidTasks(), **options)
    except REFUSALS as error:
        assert "SignStep" in str(error) or "adapt" in str(error)
        return
    alone = trained(learner)
    for name, p in alone.named_parameters():
        torch.testing.assert_close(swept.get_parameter(name), p)


# 4. A loss that is not one mean per task.

BAD_LOSSES = {
    "mse_loss": F.mse_loss,
    "MSELoss": nn.MSELoss(),
    "a sum": lambda outputs, targets: (outputs - targets).square().sum(),
    "one per point": lambda outputs, targets: (outputs - targets).square().mean(-1),
    "one in a list": lambda outputs, targets: (outputs - targets).square().mean().view(1),
}
ENTRIES = {
    "adapt": lambda learner, model, b: learner.adapt(model, b.support_x, b.support_y),
    "meta_loss": lambda learner, model, b: learner.meta_loss(model, b),
    "meta_gradient": lambda learner, model, b: learner.meta_gradient(model, b),
    "meta_train": lambda learner, model, b: trained(learner, model.float(), iterations=1),
    "evaluate": lambda learner, model, b: evaluate(learner, model.float(), SinusoidTasks(), num_tasks=3, steps=[1]),
}


@pytest.mark.parametrize(
    ("make", "entry"),
    [(make, entry) for make in (MAML, ANIL, Reptile, R2D2) for entry in ENTRIES if (make, entry) != (R2D2, "adapt")],
)  # a solve asks for no loss
@pytest.mark.parametrize("loss", BAD_LOSSES)
def test_4_it_is_refused_with_the_way_out(loss, make, entry):
    learner = make(loss_fn=BAD_LOSSES[loss])
    with pytest.raises(REFUSALS, match="mean per task") as refusal:
        ENTRIES[entry](learner, MLP(seed=0).double(), regression())
    assert "course_lib.losses" in str(refusal.value) or "reduction" in str(refusal.value)


def test_4_one_task_at_a_time_too():
    with pytest.raises(REFUSALS, match="mean per task"):
        MAML(loss_fn=F.mse_loss).meta_gradient(MLP(seed=0).double(), regression(num_tasks=1))
    with pytest.raises(REFUSALS, match="mean per task"):
        MAML(loss_fn=F.mse_loss).meta_gradient(MLP(seed=0).double(), regression(), tasks_at_once=1)


# 7. Losses are any callable, and a classifier is known for one.


class Scaled(nn.Module):
    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return 2.0 * mse(outputs, targets)


class Huber:
    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.huber_loss(outputs, targets, reduction="none").flatten(1).mean(1)


LOSSES = {
    "partial": functools.partial(scaled, by=2.0),
    "partial of a partial": functools.partial(functools.partial(scaled), by=2.0),
    "lambda": lambda outputs, targets: 2.0 * mse(outputs, targets),
    "module": Scaled(),
    "callable": Huber(),
    "method": Huber().__call__,
}


@pytest.mark.parametrize("make", [MAML, ANIL, Reptile, R2D2])
@pytest.mark.parametrize("loss", LOSSES)
def test_7_any_callable_trains_saves_and_is_evaluated(loss, make, tmp_path):
    learner = make(loss_fn=LOSSES[loss])
    model = trained(learner, iterations=2, state_file=tmp_path / "run.safetensors")
    result = evaluate(learner, model, SinusoidTasks(), num_tasks=3, steps=[0, 1])
    assert result.accuracies is None and result.query_losses.isfinite().all()
    assert make.__name__ in learner.describe()


def test_7_a_partial_is_the_loss_it_stands_for():
    batch = regression()
    found, _ = MAML(2, 0.05, loss_fn=LOSSES["partial"]).meta_gradient(MLP(seed=0).double(), batch)
    plain, _ = MAML(2, 0.1, loss_fn=mse).meta_gradient(MLP(seed=0).double(), batch)
    for name in plain:
        torch.testing.assert_close(found[name], 2 * plain[name])


@functools.wraps(cross_entropy)
def doubled(outputs: Tensor, labels: Tensor) -> Tensor:
    return 2.0 * cross_entropy(outputs, labels)


SMOOTH = functools.partial(cross_entropy, label_smoothing=0.1)
CLASSIFYING = {"smoothed": SMOOTH, "a partial": functools.partial(cross_entropy), "a wrapper": doubled}


@pytest.mark.parametrize("make", [MAML, R2D2, ProtoNet, Reptile])
@pytest.mark.parametrize("loss", CLASSIFYING)
def test_7_a_classifier_is_scored_by_its_accuracy(loss, make):
    results = []
    for loss_fn in (CLASSIFYING[loss], cross_entropy):
        results.append(evaluate(make(loss_fn=loss_fn), classifier(), Characters(), num_tasks=8, steps=[0]))
    found, expected = results
    assert torch.equal(found.accuracies, expected.accuracies) and "accuracy" in str(found)
    assert not torch.equal(found.query_losses, expected.query_losses) or loss == "a partial"


def test_7_label_smoothing_is_that_of_pytorch():
    g = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(3, 5, 4, generator=g), torch.randint(4, (3, 5), generator=g)
    expected = [F.cross_entropy(logits[t], labels[t], label_smoothing=0.1) for t in range(3)]
    torch.testing.assert_close(SMOOTH(logits, labels), torch.stack(expected))
