"""What a run owes its person: the same bits for a seed, a loss that only looks, and no other run's state."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from course_lib.algorithms import ANIL, MAML, R2D2, MetaOptNet, ProtoNet, Reptile
from course_lib.algorithms.heads import RandomHead, StoredHeads, WrittenBackHeads
from course_lib.analysis.tangent import Linearised
from course_lib.evaluation import evaluate
from course_lib.losses import cross_entropy
from course_lib.models import MLP, Conv4
from course_lib.tasks import SinusoidTasks, TaskBatch
from course_lib.training import make_meta_gradient
from tests.classes import classification, labels_of
from tests.contract.networks import D, join
from tests.contract.plain import close
from tests.contract.runs import same_bits, scaled, trained

# 8. The same seed gives the same bits.


def with_dropout() -> nn.Module:
    torch.manual_seed(0)
    return join(nn.Linear(1, 8), nn.ReLU(), nn.Dropout(0.5), width=8, outputs=1)


class Stop(Exception):
    pass


def stop_at(last: int) -> Callable:
    def on_step(iteration: int, info: dict) -> None:
        if iteration == last:
            raise Stop

    return on_step


def resumed(make_learner: Callable, make_model: Callable, folder: Path, tasks=None, **options) -> nn.Module:
    """Four iterations, of which a first process makes three and keeps two."""
    options |= {"state_file": folder / "run.safetensors", "save_every": 2}
    with pytest.raises(Stop):
        trained(make_learner(), make_model(), tasks, on_step=stop_at(3), **options)
    torch.rand(7)
    return trained(make_learner(), make_model(), tasks, **options)


@pytest.mark.parametrize("make", [MAML, ANIL, Reptile, R2D2])
def test_8_dropout_twice(make):
    first = trained(make(), with_dropout())
    second = with_dropout()
    torch.rand(11)
    assert same_bits(first, trained(make(), second))
    assert not same_bits(first, trained(make(), with_dropout(), seed=1))


@pytest.mark.parametrize("make", [MAML, ANIL, Reptile, R2D2])
def test_8_dropout_on_resume(make, tmp_path):
    assert same_bits(trained(make(), with_dropout()), resumed(make, with_dropout, tmp_path))


DRAWING = {
    "Reptile's minibatches": lambda: Reptile(inner_batch=4),
    "random heads": lambda: MAML(head="random"),
    "Reptile's minibatches of Adam": lambda: Reptile(inner_batch=4, inner_optimizer="adam"),
}


@pytest.mark.parametrize("which", DRAWING)
def test_8_one_object_twice(which, tmp_path):
    learner = DRAWING[which]()
    first = trained(learner)
    assert same_bits(first, trained(learner)) and same_bits(first, trained(DRAWING[which]()))
    assert same_bits(first, resumed(DRAWING[which], lambda: MLP(seed=0), tmp_path))


# 9. meta_loss changes nothing.

WITH_STATE = {
    "minibatches": lambda: Reptile(inner_batch=4),
    "carried squares": lambda: Reptile(inner_optimizer="adam", carry=True),
    "random heads": lambda: MAML(head=RandomHead()),
    "stored heads": lambda: MAML(head=StoredHeads(5, 40, 1)),
    "heads written back": lambda: MAML(head=WrittenBackHeads(5, 40, 1)),
    "ridge": R2D2,
}


@pytest.mark.parametrize("which", WITH_STATE)
def test_9_three_calls_give_one_value_and_move_nothing(which):
    learner, model = WITH_STATE[which](), MLP(seed=0)
    batch = SinusoidTasks(num_tasks=5).sample(3, generator=torch.Generator().manual_seed(0))
    learner.meta_gradient(model, batch)  # somewhere along the way
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    values = {learner.meta_loss(model, batch).item() for _ in range(3)}
    assert len(values) == 1
    assert all(torch.equal(value, before[name]) for name, value in learner.state_dict().items())
    assert same_bits(model, MLP(seed=0))


def test_9_running_statistics_stay():
    model = Conv4(ways=3, filters=3, size=8, downsample="stride", statistics="running", seed=0)
    before = {name: b.clone() for name, b in model.named_buffers()}
    labels = torch.arange(3).expand(2, 3)
    x = torch.rand(2, 3, 1, 8, 8)
    MAML(loss_fn=cross_entropy).meta_loss(model, TaskBatch(x, labels, x, labels))
    assert all(torch.equal(b, before[name]) for name, b in model.named_buffers())


def test_9_a_log_of_it_draws_no_dropout_of_the_training():
    batch, model = SinusoidTasks().sample(3, generator=torch.Generator().manual_seed(1)), with_dropout()
    learner = MAML()
    trained(learner, model, on_step=lambda *_: learner.meta_loss(model, batch))
    assert same_bits(model, trained(MAML(), with_dropout()))


@pytest.mark.parametrize("which", [name for name in WITH_STATE if name != "stored heads"])
def test_9_a_log_of_it_changes_no_training(which):
    tasks = SinusoidTasks(num_tasks=5)
    batch = tasks.sample(3, generator=torch.Generator().manual_seed(1))
    learner, model = WITH_STATE[which](), MLP(seed=0)
    trained(learner, model, tasks, on_step=lambda *_: learner.meta_loss(model, batch))
    assert same_bits(model, trained(WITH_STATE[which](), MLP(seed=0), tasks))


# 11. The result does not depend on how many tasks are held at once.


def uneven_classes() -> TaskBatch:
    """Three tasks of three, two and two classes."""
    batch = classification(num_tasks=3, ways=3, shots=2, queries=2)
    support, query = batch.support_y.clone(), batch.query_y.clone()
    support[1:], query[1:] = labels_of(2, 3, 2), labels_of(2, 3, 2)
    return TaskBatch(batch.support_x, support, batch.query_x, query)


@pytest.mark.parametrize("make", [R2D2, ProtoNet, MetaOptNet])
def test_11_tasks_of_different_numbers_of_classes(make):
    results = []
    for tasks_at_once in (None, 1, 2):
        torch.manual_seed(0)
        model = join(nn.Linear(3, D), nn.Tanh()).double()
        try:
            grads, info = make(loss_fn=cross_entropy).meta_gradient(model, uneven_classes(), tasks_at_once)
        except ValueError as error:
            assert "class" in str(error)
            results.append("refused")
        else:
            results.append((info["task_losses"], *grads.values()))
    assert results.count("refused") in (0, 3), "refused or not by how many are held at once"
    if "refused" not in results:
        for other in results[1:]:
            for found, expected in zip(other, results[0]):
                close("loss or gradient", found, expected)


class Uneven:
    def sample(self, num_tasks: int, *, generator: torch.Generator) -> TaskBatch:
        return uneven_classes()


@pytest.mark.parametrize("make", [R2D2, MetaOptNet])
def test_11_tasks_of_different_numbers_of_classes_are_evaluated_alike(make):
    results = []
    for tasks_at_once in (None, 1, 2):
        torch.manual_seed(0)
        model, learner = join(nn.Linear(3, D), nn.Tanh()).double(), make(loss_fn=cross_entropy)
        try:
            result = evaluate(learner, model, Uneven(), num_tasks=3, steps=[0], tasks_at_once=tasks_at_once)
        except ValueError as error:
            assert "class" in str(error)
            results.append("refused")
        else:
            results.append(result.query_losses)
    assert results.count("refused") in (0, 3), "refused or not by how many are held at once"
    if "refused" not in results:
        for result in results[1:]:
            close("losses", result, results[0])


@pytest.mark.parametrize("through", ["learner", "make_meta_gradient"])
@pytest.mark.parametrize("make", [MAML, ANIL, Reptile, R2D2])
def test_11_running_statistics(make, through):
    g = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, 4, 1, 8, 8, generator=g, dtype=torch.float64)
    y = torch.arange(2).repeat(2).expand(3, -1)
    batch, learner = TaskBatch(x[0], y, x[1], y), make(loss_fn=cross_entropy).double()
    results = []
    for tasks_at_once in (3, 1, 2):
        model = Conv4(ways=2, filters=3, size=8, downsample="stride", statistics="running", seed=0).double()
        try:
            if through == "learner":
                grads, _ = learner.meta_gradient(model, batch, tasks_at_once)
            else:
                grads, _ = make_meta_gradient(learner, model, tasks_at_once)(batch)
        except ValueError as error:
            assert "running statistics" in str(error)
            results.append(None)
        else:
            results.append({**grads, **{name: b.double() for name, b in model.named_buffers()}})
    first = next(r for r in results if r is not None)
    for result in results:
        for name in result or ():
            close(name, result[name], first[name])


# 12. A state file is of one run, and exact.


class Damped(MAML):
    def __init__(self, damping: float):
        super().__init__()
        self.damping = damping


def adapting(part: str | None) -> type[MAML]:
    return type("Partly", (MAML,), {"only": part})


class Lines:
    """A person's own tasks, without ``settings``."""

    def __init__(self, slope: float):
        self.slope, self.grid = slope, torch.linspace(-1, 1, 8).view(1, 8, 1)

    def sample(self, num_tasks: int, *, generator: torch.Generator) -> TaskBatch:
        x = self.grid + torch.rand(num_tasks, 1, 1, generator=generator)
        y = self.slope * torch.rand(num_tasks, 1, 1, generator=generator) * x
        return TaskBatch(x[:, :4], y[:, :4], x[:, 4:], y[:, 4:])


def decaying(weight_decay: float) -> Callable:
    return lambda parameters, lr: torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay)


def half(progress: float) -> float:
    return 1 - progress / 2


OTHER_RUNS = {  # a learner, tasks and options; then what another run has in their place
    "weight decay": ({"optimizer": decaying(0.0)}, {"optimizer": decaying(0.1)}),
    "optimiser": ({"optimizer": decaying(0.01)}, {"optimizer": torch.optim.NAdam}),
    "momentum": tuple({"optimizer": functools.partial(torch.optim.SGD, momentum=m)} for m in (0.0, 0.9)),
    "schedule": ({}, {"schedule": half}),
    "an attribute of a subclass": ({"learner": lambda: Damped(0.1)}, {"learner": lambda: Damped(0.2)}),
    "a subclass's class attribute": ({"learner": adapting("head")}, {"learner": adapting("features")}),
    "tasks without settings": ({"tasks": Lines(1.0)}, {"tasks": Lines(2.0)}),
    "a partial's argument": tuple(
        {"learner": lambda by=by: MAML(loss_fn=functools.partial(scaled, by=by))} for by in (1.0, 2.0)
    ),
}


@pytest.mark.parametrize("which", OTHER_RUNS)
def test_12_another_run_is_refused_and_the_same_goes_on(which, tmp_path):
    mine, other = ({"learner": MAML} | options for options in OTHER_RUNS[which])
    alone = trained(mine["learner"](), **{name: value for name, value in mine.items() if name != "learner"})
    make = mine.pop("learner")
    assert same_bits(alone, resumed(make, lambda: MLP(seed=0), tmp_path, **mine))
    make = other.pop("learner")
    with pytest.raises(ValueError, match="another run"):
        trained(make(), **other, state_file=tmp_path / "run.safetensors", save_every=2)


class Counting(torch.optim.Optimizer):
    """Descent whose rate hangs on numbers of three kinds that it keeps."""

    def __init__(self, parameters, lr: float):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                state["calls"] = state.get("calls", 0) + 1
                state["decay"] = state.get("decay", 1.0) * 0.7
                state["seen"] = state.get("seen", torch.zeros((), dtype=torch.int64)) + 2**25 + 1
                p -= group["lr"] * state["decay"] / state["calls"] * (1 + (state["seen"] % 3)) * p.grad
                assert isinstance(state["calls"], int) and state["seen"].dtype == torch.int64


OPTIMIZERS = {
    "Counting": Counting,
    **{
        name: getattr(torch.optim, name)
        for name in "Adadelta Adafactor Adagrad Adam Adamax AdamW ASGD NAdam RAdam RMSprop Rprop SGD".split()
    },
    "AMSGrad": functools.partial(torch.optim.Adam, amsgrad=True),
    "fused Adam": functools.partial(torch.optim.Adam, fused=True),
    "momentum": functools.partial(torch.optim.SGD, momentum=0.9),
    "centred RMSprop": functools.partial(torch.optim.RMSprop, centered=True, momentum=0.9),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_12_every_optimiser_goes_on_exactly(optimizer, tmp_path):
    def make(parameters, lr: float) -> torch.optim.Optimizer:
        return OPTIMIZERS[optimizer](list(parameters), lr=lr)

    alone = trained(MAML(), optimizer=make, outer_lr=0.01)
    assert same_bits(alone, resumed(MAML, lambda: MLP(seed=0), tmp_path, optimizer=make, outer_lr=0.01))
    assert not same_bits(alone, MLP(seed=0))


def test_12_a_linearised_model_holds_where_it_began(tmp_path):
    model = Linearised(MLP(seed=0))
    names = [name for name, _ in model.named_parameters()]
    assert names == [name for name, _ in MLP(seed=0).named_parameters()], "theta0 is no parameter"
    trained(MAML(), model)
    other, x = Linearised(MLP(seed=1)), torch.linspace(-5, 5, 9)[:, None]
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(x), model(x)) and not torch.equal(other(x), Linearised(MLP(seed=1))(x))
    start = itertools.count()  # a new process begins elsewhere; the file says where theta0 was
    again = resumed(MAML, lambda: Linearised(MLP(seed=next(start))), tmp_path)
    assert torch.equal(again(x), model(x))
