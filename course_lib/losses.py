"""Losses for stacked tasks. Each returns one MEAN per task [T]; summing those gives each task its own gradient.

The mean matters: the inner rate is measured against it. MAML's released code adds the cross-entropies of N ways
where these take the mean, so its alpha = 0.4 at 5-way is 2.0 here.

Any callable of (outputs, targets) that returns one mean per task is a loss: your own function, an ``nn.Module`` (whose
parameters are then learnt), a ``functools.partial``:

>>> def huber(outputs, targets, delta):  # [T, N, D] twice -> [T]
...     return F.huber_loss(outputs, targets, reduction="none", delta=delta).flatten(1).mean(1)
>>> from course_lib import MAML, MLP, SinusoidTasks, meta_train
>>> learner = MAML(loss_fn=partial(huber, delta=0.5))
>>> model, history = meta_train(learner, MLP(), SinusoidTasks(), iterations=3, progress=False)
>>> history.iterations
3
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor

LossFn = Callable[[Tensor, Tensor], Tensor]  # (outputs, targets) -> one mean per task [T]

IGNORED = -100  # the label that PyTorch's cross-entropy leaves out


def mse(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error: outputs [T, N, D], targets [T, N, D] -> [T].

    Raises:
        ValueError: if the shapes differ (torch would broadcast them into a wrong mean).
    """
    if outputs.shape != targets.shape:
        raise ValueError(f"mse needs outputs and targets of one shape, not {_shapes(outputs, targets)}")
    return (outputs - targets).square().flatten(1).mean(1)


def cross_entropy(outputs: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy: logits [T, N, W], integer labels [T, N] -> [T]. Points labelled -100 do not count.

    Raises:
        ValueError: if labels are not [T, N] beside logits [T, N, W]; on a CPU also if one is not in 0..W-1.
    """
    if outputs.ndim != 3 or outputs.shape[:2] != labels.shape:
        raise ValueError(f"cross_entropy needs logits [T, N, W] and labels [T, N], not {_shapes(outputs, labels)}")
    how = {"reduction": "none", "ignore_index": IGNORED, "label_smoothing": label_smoothing}
    try:
        losses = F.cross_entropy(outputs.flatten(0, 1), labels.flatten(), **how)  # [T N]
    except IndexError as error:
        raise ValueError(
            f"labels must lie in 0 to {outputs.shape[2] - 1} and run from {int(labels.min())} to {int(labels.max())}: "
            "a network's head needs one output for each of a task's ways"
        ) from error
    return losses.view(labels.shape).sum(1) / (labels != IGNORED).sum(1)


def accuracy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Share of the points that count whose largest logit is the label's: [T, N, W], [T, N] -> [T], in 0..1."""
    right = (outputs.argmax(-1) == labels).to(outputs.dtype)  # [T, N]
    return right.sum(1) / (labels != IGNORED).sum(1)


def classifies(outputs: Tensor, targets: Tensor) -> bool:
    """Whether ``targets`` are class labels [T, N] for logits [T, N, W]: then tasks are scored by accuracy."""
    return not targets.is_floating_point() and outputs.ndim == 3 and targets.shape == outputs.shape[:2]


LOSSES = {loss.__name__: loss for loss in (mse, cross_entropy)}  # what a checkpoint's record may name


def loss_settings(loss_fn: LossFn) -> str | dict:
    """A loss as a JSON value: its name, with its keywords if it is a ``partial``.

    >>> loss_settings(mse), loss_settings(partial(cross_entropy, label_smoothing=0.1))
    ('mse', {'name': 'cross_entropy', 'label_smoothing': 0.1})
    """
    if isinstance(loss_fn, partial):
        return {"name": loss_settings(loss_fn.func), **loss_fn.keywords}
    return getattr(loss_fn, "__name__", type(loss_fn).__name__)


def loss_from_settings(settings: str | dict) -> LossFn:
    """The loss that ``loss_settings`` described.

    Raises:
        ValueError: it is none of ``LOSSES``.
    """
    keywords = {"name": settings} if isinstance(settings, str) else dict(settings)
    name = keywords.pop("name")
    if name not in LOSSES:
        raise ValueError(f"the loss {name!r} is not one of course_lib.losses: {', '.join(LOSSES)}")
    return partial(LOSSES[name], **keywords) if keywords else LOSSES[name]


def _shapes(a: Tensor, b: Tensor) -> str:
    return f"{list(a.shape)} and {list(b.shape)}"
