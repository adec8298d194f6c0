"""Anyone's network with any method: the numbers of plain PyTorch, one task at a time, or words that say why not."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from course_lib.inner_loop import predict
from course_lib.training import make_meta_gradient
from tests.contract.networks import Network
from tests.contract.plain import LEARNERS, close, outputs_of, plain
from tests.contract.wild_networks import NETWORKS

WORDS = r"head|features|nothing to (train|adapt)|derivative|gradient|plain module|outputs"  # what a refusal speaks of


def pairs() -> Iterator[pytest.param]:
    """Every network with every method; without --long with MAML, with one of the others in turn, and where it is
    owed a refusal."""
    others = [method for method in LEARNERS if method != "maml"]
    for number, network in enumerate(NETWORKS):
        for method in LEARNERS:
            often = method in ("maml", others[number % len(others)]) or network.owes(method) != "right"
            yield pytest.param(network, method, id=f"{network.name}-{method}", marks=[] if often else pytest.mark.long)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("network", "method"), list(pairs()))
def test_the_numbers_of_plain_pytorch_or_words(network: Network, method: str):
    owed = network.owes(method)
    batch = network.batch(labels=method == "protonet")
    model, learner = network.make(), LEARNERS[method]()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    try:
        grads, _ = make_meta_gradient(learner, model)(batch)  # as a run begins
        in_pieces, _ = learner.meta_gradient(model, batch, tasks_at_once=2)
        adapted = learner.adapt(model, batch.support_x, batch.support_y)
        found = predict(model, adapted, batch.query_x).detach()
    except (TypeError, ValueError, NotImplementedError) as error:
        assert owed != "right", f"refused: {error}"
        assert re.search(WORDS, str(error)), f"not in words: {error}"
        return
    assert owed != "refused", "taken, although it cannot be done"
    outputs, expected = plain(method, network, batch)
    for out, reference in zip(found, outputs):
        close("outputs", out, reference)
    for some in (grads, in_pieces):
        assert some.keys() == expected.keys()
        for name in expected:
            close(name, some[name], expected[name])
    for name, value in model.state_dict().items():  # but for the vectors that a spectral norm iterates
        assert torch.equal(value, before[name]) or name.endswith(("._u", "._v")), f"{name} has moved"
    assert all(isinstance(p, nn.Parameter) and p.grad is None for p in model.parameters())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_the_plain_code_is_a_module_whose_parameters_were_set(network: Network):
    g, x = torch.Generator().manual_seed(5), network.batch().support_x[0]
    model = network.make().requires_grad_()
    theta = {
        name: (p.detach() + 0.2 * torch.randn(p.shape, generator=g, dtype=p.dtype)).requires_grad_()
        for name, p in model.named_parameters()
    }
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(theta[name])
    expected, found = model(x), outputs_of(network, theta, x)
    close("outputs", found.detach(), expected.detach())
    weigh = torch.randn(expected.shape, generator=g, dtype=expected.dtype)
    grads = torch.autograd.grad((expected * weigh).sum(), list(model.parameters()), materialize_grads=True)
    again = torch.autograd.grad((found * weigh).sum(), list(theta.values()), materialize_grads=True)
    for name, here, there in zip(theta, grads, again):
        close(name, there, here)
