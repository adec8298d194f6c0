"""The two networks of the course. Each is ``features`` followed by ``head``, and nothing else.

Any ``nn.Module`` with children named ``features`` and ``head`` works wherever these do; ``config`` holds the
constructor's arguments, so that a checkpoint's record can rebuild the network.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, modules draw their initial weights from ``seed``; the caller's random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


class MLP(nn.Sequential):
    """A multilayer perceptron, 1-40-40-1 with ReLU unless told otherwise (MAML, section 5.1).

    Args:
        in_features, hidden, out_features: layer widths; the last hidden width is the number of features D.
        activation: class of the nonlinearity (or its name in torch.nn), without parameters.
        seed: draws the initial weights.

    >>> model = MLP(seed=0)
    >>> model(torch.zeros(3, 1)).shape, model.features(torch.zeros(3, 1)).shape
    (torch.Size([3, 1]), torch.Size([3, 40]))
    """

    def __init__(
        self,
        in_features: int = 1,
        hidden: Sequence[int] = (40, 40),
        out_features: int = 1,
        activation: type[nn.Module] | str = nn.ReLU,
        seed: int = 0,
    ):
        activation = getattr(nn, activation) if isinstance(activation, str) else activation
        widths = [in_features, *hidden]
        with seeded(seed):
            layers: list[nn.Module] = []
            for fan_in, fan_out in zip(widths, widths[1:]):
                layers += [nn.Linear(fan_in, fan_out), activation()]
            children = OrderedDict(features=nn.Sequential(*layers), head=nn.Linear(widths[-1], out_features))
        super().__init__(children)
        self.config = {
            "in_features": in_features,
            "hidden": list(hidden),
            "out_features": out_features,
            "activation": activation.__name__,
            "seed": seed,
        }


class Conv4(nn.Sequential):
    """Four blocks of [3x3 convolution, batch norm, ReLU, 2x2 max pool], then a linear head (MAML, section 5.2).

    Images [N, in_channels, size, size] -> logits [N, ways]. A 28x28 image leaves 1x1 after four poolings, so the
    features are as many as the filters. Batch norm uses the statistics of the batch at hand, at test time too:
    query images are normalised together, which is transductive.

    >>> Conv4(ways=5, filters=32, seed=0)(torch.zeros(7, 1, 28, 28)).shape
    torch.Size([7, 5])
    """

    def __init__(self, ways: int = 5, filters: int = 64, in_channels: int = 1, size: int = 28, seed: int = 0):
        with seeded(seed):
            layers: list[nn.Module] = []
            for channels in (in_channels, filters, filters, filters):
                layers += [
                    nn.Conv2d(channels, filters, 3, padding=1),
                    nn.BatchNorm2d(filters, track_running_stats=False),
                    nn.ReLU(),
                    nn.MaxPool2d(2),
                ]
            num_features = filters * (size // 16) ** 2
            head = nn.Linear(num_features, ways)
        super().__init__(OrderedDict(features=nn.Sequential(*layers, nn.Flatten()), head=head))
        self.config = {"ways": ways, "filters": filters, "in_channels": in_channels, "size": size, "seed": seed}


def check_model(model: nn.Module) -> nn.Module:
    """``model`` if it has children ``features`` and ``head``; else a TypeError that says what to do."""
    children = [name for name, _ in model.named_children()] if isinstance(model, nn.Module) else None
    if children is None or not {"features", "head"} <= set(children):
        found = type(model).__name__ + ("" if children is None else f" with children {children}")
        raise TypeError(
            f"a model needs two children, `features` and `head`; got {found}. Wrap it: "
            "nn.Sequential(OrderedDict(features=body, head=nn.Linear(num_features, num_outputs)))"
        )
    return model
