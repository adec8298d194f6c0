"""The sentences of notebook 09 about results, and one of notebook 01. They are measured on Omniglot, which must be
there (``python -m course_lib data``)."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.chapters.omniglot import episode_steps
from course_lib.kit import characters
from course_lib.kit.claim import claim

EPISODES = 12


def share_right(start: str, inner_lr: float, draw: int) -> Tensor:
    """The share of queries that is right after 0, 1, ..., 10 steps, mean over twelve episodes [11]."""
    shares = []
    for seed in range(EPISODES * draw, EPISODES * (draw + 1)):
        labels = episode_steps.adapting(start, inner_lr, seed).argmax(-1)  # [11, Q]
        truth = characters.episode(episode_steps.WAYS, episode_steps.SHOTS, episode_steps.EACH, seed).query_y[0]
        shares.append((labels == truth).float().mean(1))
    return 100 * torch.stack(shares).mean(0)


@claim("One step of MAML takes the share that is right from chance to nine tenths and more")
def one_step_does_it(draw: int):
    """Twelve 5-way 1-shot episodes, alpha 0.4, in %; the numbers: before, after one step, after ten."""
    share = share_right("omniglot/maml", 0.4, draw)
    return bool(share[0] < 30 and share[1] > 90), {"before": share[0], "one": share[1], "ten": share[10]}


@claim("Ten steps from untrained weights stay far behind one from MAML's")
def untrained_learns_slowly(draw: int):
    """The same episodes and rate, in %: at least 20 points."""
    untrained, maml = share_right("untrained", 0.4, draw)[10], share_right("omniglot/maml", 0.4, draw)[1]
    return bool(untrained < maml - 20), {"ten": untrained, "maml": maml}


@claim("Five times the rate it was trained with undoes what the first step won")
def long_steps_undo_it(draw: int):
    """MAML's weights, alpha 2.0, the same episodes: at least 10 points lost from the first step to the tenth."""
    share = share_right("omniglot/maml", 2.0, draw)
    return bool(share[10] < share[1] - 10), {"one": share[1], "ten": share[10]}
