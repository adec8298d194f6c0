"""Anyone's network with any method: the numbers of plain PyTorch, one task at a time, or words that say why not."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from course_lib.inner_loop import predict
from tests.contract.networks import NETWORKS, Network
from tests.contract.plain import LEARNERS, close, plain

WORDS = r"head|features|nothing to (train|adapt)|derivative"  # what a refusal speaks of


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", LEARNERS)
@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_the_numbers_of_plain_pytorch_or_words(network: Network, method: str):
    owed = network.owes(method)
    batch = network.batch(labels=method == "protonet")
    model, learner = network.make(), LEARNERS[method]()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    try:
        grads, _ = learner.meta_gradient(model, batch)
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
