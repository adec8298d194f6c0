"""Test time: fine-tuning curves, intervals, and the four cells of lecture 1.2."""

import math

import pytest
import torch
from scipy import stats
from torch import nn

from course_lib.algorithms import MAML
from course_lib.evaluation import evaluate, interval95, two_by_two
from course_lib.losses import accuracy, cross_entropy, mse
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks
from course_lib.tasks.sinusoid import ZERO_PREDICTOR_MSE


def zero_network() -> MLP:
    model = MLP(seed=0)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    return model


def test_the_zero_predictor_costs_what_the_integral_says():
    result = evaluate(MAML(), zero_network(), SinusoidTasks(queries=20), num_tasks=4000, steps=[0])
    mean, half = result.after(0)
    assert ZERO_PREDICTOR_MSE == pytest.approx(4.2517, abs=5e-5)
    assert abs(mean - ZERO_PREDICTOR_MSE) < 2 * half and half < 0.2


def test_a_curve_equals_plain_gradient_descent_on_one_task():
    tasks, model = SinusoidTasks(), MLP(seed=2).double()

    class InDoubles(SinusoidTasks):
        def sample(self, num_tasks, *, generator):
            return super().sample(num_tasks, generator=generator).map(torch.Tensor.double)

    result = evaluate(MAML(inner_lr=0.02), model, InDoubles(), num_tasks=3, steps=[7, 0, 3], seed=9)
    assert result.steps == [0, 3, 7]
    batch = tasks.sample(3, generator=torch.Generator().manual_seed(9)).map(torch.Tensor.double)
    copy = MLP(seed=2).double()
    sgd = torch.optim.SGD(copy.parameters(), lr=0.02)
    for step in range(8):
        if step in result.steps:
            loss = nn.functional.mse_loss(copy(batch.query_x[1]), batch.query_y[1])
            assert result.query_losses[result.steps.index(step), 1] == pytest.approx(loss.item(), abs=1e-12)
        sgd.zero_grad()
        nn.functional.mse_loss(copy(batch.support_x[1]), batch.support_y[1]).backward()
        sgd.step()


def test_head_only_leaves_the_body_and_everything_does_not():
    cells = two_by_two(MAML(inner_lr=0.02), MLP(seed=0), SinusoidTasks(), num_tasks=20, steps=[0, 10])
    assert set(cells) == {("ready", None), ("ready", "head"), ("random", None), ("random", "head")}
    assert torch.equal(cells["ready", None].query_losses[0], cells["ready", "head"].query_losses[0])
    assert not torch.equal(cells["ready", None].query_losses[1], cells["ready", "head"].query_losses[1])
    assert not torch.equal(cells["ready", None].query_losses[0], cells["random", None].query_losses[0])
    assert torch.equal(cells["random", None].query_losses[0], cells["random", "head"].query_losses[0])


def test_every_learner_meets_the_same_tasks_and_evaluating_changes_nothing():
    model = MLP(seed=0)
    before = {n: t.clone() for n, t in model.state_dict().items()}
    first = evaluate(MAML(), model, SinusoidTasks(), num_tasks=300, steps=[0, 2], seed=1)
    again = evaluate(MAML(second_order=False), model, SinusoidTasks(), num_tasks=300, steps=[0, 2], seed=1)
    assert torch.equal(first.query_losses, again.query_losses)
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items()) and model.training


def test_a_few_tasks_at_a_time_give_the_same_numbers():
    options = {"num_tasks": 50, "steps": [0, 3], "seed": 4}
    all_at_once = evaluate(MAML(), MLP(seed=0), SinusoidTasks(), **options)
    few = evaluate(MAML(), MLP(seed=0), SinusoidTasks(), tasks_at_once=7, **options)
    torch.testing.assert_close(all_at_once.query_losses, few.query_losses)


class Seen(SinusoidTasks):
    """Keeps the support sets it gave out."""

    def __init__(self):
        super().__init__()
        self.support_x = []

    def sample(self, num_tasks, *, generator):
        batch = super().sample(num_tasks, generator=generator)
        self.support_x.append(batch.support_x)
        return batch


def test_ready_and_random_heads_meet_the_same_tasks():
    """Also beyond the first draw of 200."""
    seen = {head: Seen() for head in ("ready", "random")}
    for head, tasks in seen.items():
        evaluate(MAML(), MLP(seed=0), tasks, num_tasks=401, steps=[0], head=head)
    ready, random = (torch.cat(tasks.support_x) for tasks in seen.values())
    assert ready.shape[0] == 401 and torch.equal(ready, random)


def test_a_learner_of_random_heads_begins_each_task_with_a_draw_of_its_own():
    """Task i gets draw i, however the tasks are cut up; and asking for random heads outright is the same."""
    options = {"num_tasks": 203, "steps": [0, 1], "seed": 3}
    whole = evaluate(MAML(head="random"), MLP(seed=0), SinusoidTasks(), **options)
    for changes in ({"tasks_at_once": 1}, {"tasks_at_once": 7}, {"head": "random"}):
        again = evaluate(MAML(head="random"), MLP(seed=0), SinusoidTasks(), **options, **changes)
        torch.testing.assert_close(again.query_losses, whole.query_losses)

    class OneTask(SinusoidTasks):
        def sample(self, num_tasks, *, generator):
            batch = super().sample(1, generator=torch.Generator().manual_seed(0))
            return batch[torch.zeros(num_tasks, dtype=torch.long)]

    result = evaluate(MAML(head="random"), MLP(seed=0), OneTask(), num_tasks=203, steps=[0], tasks_at_once=1)
    assert len(result.query_losses.unique()) == 203


def test_the_interval_is_the_textbook_one():
    values = torch.rand(3, 900, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for count in (2, 3, 5, 10, 14, 15, 20, 50, 900):
        expected = stats.t.ppf(0.975, count - 1) * values[:, :count].numpy().std(1, ddof=1) / math.sqrt(count)
        assert interval95(values[:, :count]).tolist() == pytest.approx(expected.tolist(), rel=2e-4)
    assert interval95(values[:, :1]).isnan().all()


def test_accuracy_is_reported_for_classification():
    outputs = torch.tensor([[[2.0, 1.0], [0.0, 3.0]], [[1.0, 2.0], [5.0, 4.0]]])  # [2, 2, 2]
    assert accuracy(outputs, torch.tensor([[0, 1], [0, 0]])).tolist() == [1.0, 0.5]

    class Signs(SinusoidTasks):
        """Which of two classes: the sign of the curve."""

        def sample(self, num_tasks, *, generator):
            batch = super().sample(num_tasks, generator=generator)
            batch.support_y = (batch.support_y[..., 0] > 0).long()
            batch.query_y = (batch.query_y[..., 0] > 0).long()
            return batch

    result = evaluate(MAML(loss_fn=cross_entropy, inner_lr=0.5), MLP(out_features=2), Signs(), 100, steps=[0, 10])
    assert result.mean[1] > result.mean[0] + 5 and 0 <= min(result.mean) <= max(result.mean) <= 100
    assert "accuracy, %" in str(result)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": []}, "at least one number of steps"),
        ({"steps": [-1]}, "steps must be a whole number of at least 0, not -1"),
        ({"num_tasks": 0}, "num_tasks must be"),
        ({"head": "fresh"}, "head must be one of 'ready', 'random'"),
        ({"only": "tail"}, "no parameter is 'tail'"),
    ],
)
def test_bad_questions_get_an_answer(options, message):
    with pytest.raises(ValueError, match=message):
        evaluate(MAML(), MLP(seed=0), SinusoidTasks(), **{"num_tasks": 5, **options})


def test_losses_refuse_shapes_that_would_broadcast():
    with pytest.raises(ValueError, match=r"one shape, not \[2, 5, 1\] and \[2, 5\]"):
        mse(torch.zeros(2, 5, 1), torch.zeros(2, 5))
    with pytest.raises(ValueError, match=r"labels \[T, N\]"):
        cross_entropy(torch.zeros(2, 5, 3), torch.zeros(2, 5, 1, dtype=torch.long))
