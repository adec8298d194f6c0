"""The two networks of the course. Each is ``features`` followed by ``head``, and nothing else.

``config`` holds the constructor's arguments, so that a checkpoint's record can rebuild the network. Any ``nn.Module``
with children named ``features`` and ``head`` works wherever these do, whatever its own ``forward`` does:

>>> class Reader(nn.Module):
...     "A sequence [N, L, 1] to one number [N, 1]."
...
...     def __init__(self):
...         super().__init__()
...         self.features, self.head = nn.LSTM(1, 8, batch_first=True), nn.Linear(8, 1)
...
...     def forward(self, x):
...         states, _ = self.features(x)  # [N, L, 8]
...         return self.head(states[:, -1])
>>> import warnings
>>> from course_lib import MAML
>>> from course_lib.tasks import TaskBatch
>>> x, y = torch.randn(4, 10, 6, 1), torch.randn(4, 10, 1)  # four tasks of ten sequences
>>> with warnings.catch_warnings():
...     warnings.simplefilter("ignore")  # recurrent layers say that they take tasks one after another
...     grads, info = MAML().meta_gradient(Reader(), TaskBatch(x, y, x, y))
>>> grads["features.weight_hh_l0"].shape, info["task_losses"].shape
(torch.Size([32, 8]), torch.Size([4]))
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from course_lib.validation import check_choice, check_count


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, modules draw their initial weights from ``seed``; the caller's random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


class MLP(nn.Sequential):
    """A multilayer perceptron, 1-40-40-1 with ReLU unless told otherwise (MAML, section 5.1).

    Args:
        in_features, hidden, out_features: layer widths; the last hidden width is the number of features D.
        activation: class of the nonlinearity (or its name in torch.nn), without parameters.
        seed: draws the initial weights.

    Raises:
        ValueError: torch.nn has no class of that name, or widths that are no whole numbers of at least 1.

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
        if isinstance(activation, str) and not hasattr(nn, activation):
            raise ValueError(f"activation must name a class of torch.nn, such as 'ReLU' or 'Tanh', not {activation!r}")
        activation = getattr(nn, activation) if isinstance(activation, str) else activation
        if not isinstance(hidden, Iterable):
            raise ValueError(f"hidden must be a list of widths, such as [40, 40], not {hidden!r}")
        widths = [check_count("a layer's width", width, 1) for width in (in_features, *hidden)]
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
    """Four blocks of [3x3 convolution, batch norm, ReLU], each halving the image, then a linear head.

    Images [N, in_channels, size, size] -> logits [N, ways]. A 28x28 image leaves 1x1 after four poolings, so
    the features are then as many as the filters.

    Args:
        ways: classes told apart, W.
        filters: of every block, or of each of the four: R2D2's are (96, 192, 384, 512) (arXiv 1805.08136).
        in_channels, size: of the images.
        downsample: "pool" halves by 2x2 max pooling (Vinyals et al. 2016; MAML on miniImageNet); "stride" by
            a convolution of stride 2 (MAML on Omniglot, section 5.2), which is a quarter of the work or less.
        pooling: "flatten" makes every remaining pixel a feature (256 for Reptile's Omniglot, with "stride");
            "mean" averages over them (MAML's released code for Omniglot).
        statistics: of batch norm. "batch": of the batch at hand, at test time too, which is transductive:
            query images are normalised together. "running": averages kept in training, for ``model.eval()``.
        seed: draws the initial weights.

    Raises:
        ValueError: for an unknown choice, other than four widths, an image too small to be halved four times.

    >>> Conv4(ways=5, filters=32, seed=0)(torch.zeros(7, 1, 28, 28)).shape
    torch.Size([7, 5])
    >>> [Conv4(downsample="stride", pooling=p).head.in_features for p in ("flatten", "mean")]
    [256, 64]
    """

    def __init__(
        self,
        ways: int = 5,
        filters: int | Sequence[int] = 64,
        in_channels: int = 1,
        size: int = 28,
        downsample: str = "pool",
        pooling: str = "flatten",
        statistics: str = "batch",
        seed: int = 0,
    ):
        check_choice("downsample", downsample, ("pool", "stride"))
        check_choice("pooling", pooling, ("flatten", "mean"))
        check_choice("statistics", statistics, ("batch", "running"))
        widths = [filters] * 4 if isinstance(filters, int) else list(filters)
        if len(widths) != 4:
            raise ValueError(f"filters must be one number or four, one for each block; not {filters!r}")
        stride, image_size = downsample == "stride", size
        for _ in widths:
            size = (size + 1) // 2 if stride else size // 2
        if size < 1:
            raise ValueError("2x2 pooling halves an image of 16 pixels or more four times; use 'stride'")
        with seeded(seed):
            layers: list[nn.Module] = []
            for fan_in, fan_out in zip([in_channels, *widths], widths):
                layers += [
                    nn.Conv2d(fan_in, fan_out, 3, stride=2 if stride else 1, padding=1),
                    nn.BatchNorm2d(fan_out, track_running_stats=statistics == "running"),
                    nn.ReLU(),
                ]
                layers += [] if stride else [nn.MaxPool2d(2)]
            layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()] if pooling == "mean" else [nn.Flatten()]
            head = nn.Linear(widths[-1] * (size**2 if pooling == "flatten" else 1), ways)
        super().__init__(OrderedDict(features=nn.Sequential(*layers), head=head))
        self.config = {
            "ways": ways,
            "filters": filters if isinstance(filters, int) else widths,
            "in_channels": in_channels,
            "size": image_size,
            "downsample": downsample,
            "pooling": pooling,
            "statistics": statistics,
            "seed": seed,
        }


def has_convolutions(model: nn.Module) -> bool:
    return any(isinstance(m, nn.modules.conv._ConvNd) for m in model.modules())
