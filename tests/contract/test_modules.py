"""What a person's module may be: one test for each way in which a network was once silently another."""

from __future__ import annotations

import warnings
from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn

from course_lib.algorithms import ANIL, MAML, R2D2, MetaOptNet, ProtoNet, Reptile
from course_lib.analysis.tangent import tangent_features
from course_lib.evaluation import evaluate
from course_lib.inner_loop import predict, stack_params
from course_lib.losses import cross_entropy
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks, TaskBatch
from course_lib.training import make_meta_gradient, meta_train
from tests.classes import classification
from tests.contract.networks import IMAGES, VECTORS, D, Network, join
from tests.contract.plain import LEARNERS, close, plain
from tests.contract.wild_networks import BY_NAME, Model

REFUSALS = (TypeError, ValueError)


def check_against_plain(name: str, method: str = "maml") -> None:
    network = BY_NAME[name]
    batch = network.batch(labels=method == "protonet")
    grads, _ = LEARNERS[method]().meta_gradient(network.make(), batch)
    _, expected = plain(method, network, batch)
    assert grads.keys() == expected.keys()
    for parameter in expected:
        close(parameter, grads[parameter], expected[parameter])


def one_hidden(*layers: nn.Module, width: int = 8) -> nn.Module:
    """1-width-1, in float32, with ``layers`` in between."""
    return join(nn.Linear(1, width), *layers, width=width, outputs=1)


# 1. One module in two places.


def separate(shared: bool, make: type[nn.Module], *arguments, images: bool = False) -> nn.Module:
    """A network with two layers of a kind without parameters: one object twice, or two objects."""
    torch.manual_seed(3)
    first = make(*arguments)
    second = first if shared else make(*arguments)
    if not images:
        return join(nn.Linear(3, D), first, nn.Linear(D, D), second).double()
    return join(nn.Conv2d(2, D, 3, padding=1), first, nn.Tanh(), second, nn.Flatten()).double()


@pytest.mark.parametrize(
    ("make", "arguments", "inputs"),
    [(nn.ReLU, (), VECTORS), (nn.Tanh, (), VECTORS), (nn.MaxPool2d, (2,), IMAGES)],
    ids=["ReLU", "Tanh", "MaxPool2d"],
)
def test_1_a_module_without_parameters_used_twice_is_two(make, arguments, inputs):
    images = inputs is IMAGES
    one, two = (separate(shared, make, *arguments, images=images) for shared in (True, False))
    batch = Network("", lambda: two, inputs).batch()
    close("outputs", predict(one, stack_params(one, 3), batch.query_x)[1].detach(), one(batch.query_x[1]).detach())
    found, expected = (MAML(2, 0.1).meta_gradient(model, batch)[0] for model in (one, two))
    renamed = dict(zip(expected, found.values(), strict=True))
    for name in expected:
        close(name, renamed[name], expected[name])
    x = batch.query_x[0]
    close("tangent features", tangent_features(one, x), tangent_features(two, x))


@pytest.mark.parametrize("method", ["maml", "anil", "r2d2"])
@pytest.mark.parametrize("name", ["shared_linear", "shared_norm", "shared_block"])
def test_1_a_layer_used_twice_is_used_twice(name, method):
    check_against_plain(name, method)


# 2. One parameter in two modules.


@pytest.mark.parametrize("method", ["maml", "fomaml", "reptile"])
@pytest.mark.parametrize("name", ["tied_body_and_head", "embedding_tied_to_the_head"])
def test_2_parameters_tied_across_body_and_head_move_together(name, method):
    check_against_plain(name, method)


@pytest.mark.parametrize("name", ["tied_within_the_body", "tied_biases"])
def test_2_parameters_tied_between_two_linears_move_together(name):
    check_against_plain(name)


def test_2_a_trained_network_is_still_tied():
    torch.manual_seed(0)
    model = one_hidden(nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8))
    model.features[4].weight = model.features[2].weight
    before = model.features[2].weight.detach().clone()
    meta_train(MAML(), model, SinusoidTasks(), 2, progress=False)
    assert model.features[4].weight is model.features[2].weight and not torch.equal(model.features[2].weight, before)
    torch.testing.assert_close(predict(model, stack_params(model, 2), torch.ones(2, 3, 1))[1], model(torch.ones(3, 1)))


# 5. Solved heads on models whose outputs are not head(features(x)).


def normalised(z: Tensor) -> Tensor:
    return z / z.norm(dim=-1, keepdim=True)


class Normalise(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        return normalised(z)


BETWEEN = {
    "a third child": (
        lambda: nn.Sequential(OrderedDict(features=nn.Linear(3, D), neck=nn.Tanh(), head=nn.Linear(D, 2))),
        lambda m: nn.Sequential(m.features, m.neck),
    ),
    "a third child of a model with its own forward": (
        lambda: Model(lambda m, x: m.head(m.neck(m.features(x))), neck=nn.Linear(D, D)),
        lambda m: nn.Sequential(m.features, m.neck),
    ),
    "a normalisation in the forward": (
        lambda: Model(lambda m, x: m.head(normalised(m.features(x)))),
        lambda m: nn.Sequential(m.features, Normalise()),
    ),
}


@pytest.mark.parametrize("make", [R2D2, ProtoNet, MetaOptNet])
@pytest.mark.parametrize("between", BETWEEN)
def test_5_what_stands_between_features_and_a_solved_head_counts_or_is_refused(between, make):
    build, whole_body = BETWEEN[between]
    torch.manual_seed(0)
    model = build().double()
    batch = classification()
    learner = make(loss_fn=cross_entropy)
    try:
        _, info = learner.meta_gradient(model, batch)
        adapted = learner.adapt(model, batch.support_x, batch.support_y)
    except REFUSALS as error:
        assert "head" in str(error) and "features" in str(error)
        return
    twin = nn.Sequential(OrderedDict(features=whole_body(model), head=model.head))
    expected = learner.adapt(twin, batch.support_x, batch.support_y)
    found = predict(model, adapted, batch.query_x)
    close("outputs", found.detach(), predict(twin, expected, batch.query_x).detach())
    close("losses", info["task_losses"], learner.meta_gradient(twin, batch)[1]["task_losses"])


@pytest.mark.parametrize("between", BETWEEN)
def test_5_a_ridge_without_penalty_fits_its_support_set_or_is_refused(between):
    torch.manual_seed(0)
    model = BETWEEN[between][0]().double()
    batch = BY_NAME["dense_tanh"].batch()
    learner = R2D2(lam=0, learn_lam=False, learn_scale=False)
    try:
        adapted = learner.adapt(model, batch.support_x, batch.support_y)
    except REFUSALS as error:
        assert "head" in str(error) and "features" in str(error)
        return
    close("support outputs", predict(model, adapted, batch.support_x).detach(), batch.support_y)


# 6. Where the stacked path cannot serve, one task after another does.

LOOPED = ["gru", "lstm", "rnn", "gru_cell", "attention", "transformer_layer", "spectral_norm", "if_on_data"]
LOOPED += ["loop_on_data", "pruned", "pruned_images"]


@pytest.mark.parametrize("name", LOOPED)
def test_6_it_serves_with_one_notice_at_most(name):
    network = BY_NAME[name]
    batch, model = network.batch(), network.make()
    meta_gradient = make_meta_gradient(MAML(2, 0.1), model)
    with warnings.catch_warnings(record=True) as notices:
        warnings.simplefilter("always")
        steps = [meta_gradient(batch)[0] for _ in range(3)]
    _, expected = plain("maml", network, batch)
    for grads in steps:
        for parameter in expected:
            close(parameter, grads[parameter], expected[parameter])
    assert len(notices) <= 1, [str(notice.message) for notice in notices]


class Sines:
    """Sinusoids given as sequences of five values of x, three of them shifted."""

    def __init__(self):
        self.tasks = SinusoidTasks(shots=4, queries=3)

    def sample(self, num_tasks: int, *, generator: torch.Generator) -> TaskBatch:
        b = self.tasks.sample(num_tasks, generator=generator)
        shift = torch.linspace(0, 1, 15).view(5, 3)
        return TaskBatch(b.support_x[..., None] + shift, b.support_y, b.query_x[..., None] + shift, b.query_y)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["gru", "lstm", "attention"])
@pytest.mark.parametrize("make", [MAML, ANIL, Reptile, R2D2])
def test_6_it_is_trained_and_evaluated(name, make):
    model = BY_NAME[name].make().float()
    model.head = nn.Linear(D, 1)
    learner = make()
    _, history = meta_train(learner, model, Sines(), 2, meta_batch=3, progress=False)
    assert len(history.loss) == 2
    result = evaluate(learner, model, Sines(), num_tasks=3, steps=[0, 1])
    assert result.query_losses.isfinite().all()


# 10. What is frozen or in eval() stays so.


def modes(model: nn.Module) -> dict[str, bool]:
    return {name: module.training for name, module in model.named_modules()}


def with_frozen_norm() -> nn.Module:
    torch.manual_seed(0)
    model = one_hidden(nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5))
    model.features[1].eval().requires_grad_(False)
    model.features[3].eval()
    return model


@pytest.mark.parametrize("make", [MAML, ANIL, Reptile, R2D2])
def test_10_parts_in_eval_stay_in_eval_while_the_rest_trains(make):
    model = with_frozen_norm()
    before, buffers = modes(model), {name: b.clone() for name, b in model.named_buffers()}
    seen = []
    meta_train(make(), model, SinusoidTasks(), 2, progress=False, on_step=lambda *_: seen.append(modes(model)))
    assert seen == [before] * 2 and modes(model) == before
    assert all(torch.equal(b, buffers[name]) for name, b in model.named_buffers())
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("mode", [True, False])
def test_10_a_model_comes_back_as_it_came(mode):
    model, learner = MLP(seed=0).train(mode), R2D2()
    meta_train(learner, model, SinusoidTasks(), 2, progress=False)
    assert set(modes(model).values()) == {mode}
    assert all(p.grad is None for p in (*model.parameters(), *learner.parameters()))


def test_10_an_evaluation_wakes_no_part_that_slept():
    model = with_frozen_norm()
    before = modes(model)
    evaluate(MAML(), model, SinusoidTasks(), num_tasks=2, steps=[0, 1])
    assert modes(model) == before


def test_10_an_interrupted_run_leaves_no_gradient_behind():
    def stop(iteration: int, info: dict) -> None:
        raise KeyError("stop")

    model = with_frozen_norm()
    before = modes(model)
    with pytest.raises(KeyError, match="stop"):
        meta_train(MAML(), model, SinusoidTasks(), 2, progress=False, on_step=stop)
    assert modes(model) == before and all(p.grad is None for p in model.parameters())


# 13. Hooks, and heads that are not one linear layer.


def test_13_a_subclass_of_an_activation_is_what_it_is():
    check_against_plain("activation_with_a_parameter")


@pytest.mark.parametrize("name", ["hooks", "hook_on_a_sequential", "hook_on_the_head", "hook_on_the_model"])
def test_13_forward_hooks_run(name):
    model = BY_NAME[name].make()
    x = BY_NAME[name].batch().query_x
    close("outputs", predict(model, stack_params(model, 3), x)[2].detach(), model(x[2]).detach())
    check_against_plain(name)


def test_13_a_hook_that_only_looks_is_called():
    seen = []
    model = MLP(seed=0)
    model.features[0].register_forward_hook(lambda module, args, out: seen.append(out.shape))
    predict(model, stack_params(model, 2), torch.zeros(2, 3, 1))
    assert seen


@pytest.mark.parametrize(
    "head",
    [nn.Linear(8, 1, bias=False), nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 1))],
    ids=["no bias", "two layers"],
)
def test_13_a_random_head_that_cannot_be_drawn_is_refused_in_words(head):
    model = nn.Sequential(OrderedDict(features=nn.Linear(1, 8), head=head))
    with pytest.raises(REFUSALS, match="head"):
        evaluate(MAML(), model, SinusoidTasks(), num_tasks=2, steps=[0, 1], head="random")
