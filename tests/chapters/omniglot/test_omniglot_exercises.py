"""The checks of notebook 09 confirm right answers and turn each common mistake into its hint."""

from itertools import count

import pytest
import torch

from course_lib.chapters.omniglot import exercises as omniglot
from course_lib.chapters.omniglot import solutions

SEEDS = count()


def episode(images, ways, shots, queries, generator, classes=None, chosen=None, fixed=False):
    """An episode with one decision turned: ``classes`` and ``chosen`` make a draw of classes and of drawings."""
    generator = torch.Generator().manual_seed(0) if fixed else generator
    count, drawings = images.shape[:2]
    drawn = torch.randperm(count, generator=generator)[:ways]
    classes = drawn if classes is None else classes(drawn, count, generator)
    mixed = torch.stack([torch.randperm(drawings, generator=generator) for _ in classes])
    chosen = mixed if chosen is None else chosen(mixed, generator)
    support, query = chosen[:, :shots], chosen[:, shots : shots + queries]
    labels = torch.arange(ways)
    x = [images[classes[:, None], part].flatten(0, 1) for part in (support, query)]
    return x[0], labels.repeat_interleave(shots), x[1], labels.repeat_interleave(queries)


def shuffled_labels(*arguments):
    x, y, query_x, query_y = episode(*arguments)
    return x, y, query_x, 3 - query_y


def query_last(mixed, generator):
    """The last three drawings are always the queries, and the support set is drawn among the others."""
    first = torch.stack([torch.randperm(5, generator=generator)[:2] for _ in mixed])
    return torch.cat([first, torch.tensor([5, 6, 7]).expand(len(mixed), 3)], 1)


def neighbours(drawn, count, generator):
    """Characters that stand side by side, in any order."""
    return (drawn[0] + torch.randperm(len(drawn), generator=generator)) % count


def uneven(*arguments):
    x, y, query_x, query_y = episode(*arguments)
    return x, torch.tensor([0, 0, 0, 1, 2, 2, 3, 3]), query_x, query_y


def twice(*arguments):
    x, y, query_x, query_y = episode(*arguments)
    return x.view(4, 2, 28, 28)[:, :1].expand(-1, 2, -1, -1).reshape(8, 28, 28), y, query_x, query_y


@pytest.mark.parametrize(
    ("answer", "passed", "message"),
    [
        (episode, True, "drawn anew"),
        (lambda *a: episode(*a, classes=lambda drawn, *_: torch.arange(len(drawn))), False, "never come up"),
        (lambda *a: episode(*a, classes=lambda drawn, *_: drawn.sort().values), False, "the order of the classes"),
        (lambda *a: episode(*a, chosen=lambda mixed, _: mixed.sort(1).values), False, "always has the same drawings"),
        (lambda *a: episode(*a, chosen=query_last), False, "The query set always has the same drawings"),
        (lambda *a: episode(*a, classes=neighbours), False, "The same few sets of characters"),
        (lambda *a: episode(*a, chosen=lambda mixed, _: mixed[:1].expand_as(mixed)), True, "drawn anew"),
        (lambda *a: episode(*a, fixed=True), False, "use the generator"),
        (lambda *a: episode(*a[:4], torch.Generator().manual_seed(next(SEEDS))), False, "The same seed gives two"),
        (shuffled_labels, False, "must agree on what a label means"),
        (uneven, False, "same number of support drawings"),
        (twice, False, "twice in one set"),
        (lambda *a: episode(*a)[:2], False, "four tensors"),
        (lambda *a: [part.tolist() for part in episode(*a)], False, "four tensors"),
        (lambda *a: [part.float() for part in episode(*a)], False, "whole numbers"),
        (lambda *a: (*episode(*a)[:3], torch.zeros(1)), False, "The shapes are"),
        (lambda *a: ..., None, "Replace the dots"),
    ],
)
def test_episode(answer, passed, message):
    verdict = omniglot.check_episode(answer)
    assert verdict.passed is passed and message in str(verdict)


def test_an_honest_episode_passes_whatever_it_draws():
    for seed in range(200):
        skipped = lambda *a, seed=seed: episode(
            *a[:4], torch.Generator().manual_seed(1000 * seed + a[4].initial_seed())
        )
        assert omniglot.check_episode(skipped).passed


def means(x, y, labels=None):
    return torch.stack([x[y == label].mean(0) for label in (y.unique() if labels is None else labels)])


@pytest.mark.parametrize(
    ("answer", "passed", "message"),
    [
        (lambda x, y, q: torch.cdist(q, means(x, y)).argmin(1), True, "this is ProtoNet"),
        (lambda x, y, q: torch.cdist(q, means(x, y)).argmax(1), False, "farthest"),
        (lambda x, y, q: torch.cdist(q, x).argmin(1), False, "not its label"),
        (lambda x, y, q: torch.cdist(q, means(x, y)[y]).argmin(1), False, "One mean for each CLASS"),
        (lambda x, y, q: (q @ means(x, y).T).argmax(1), False, "inner product"),
        (lambda x, y, q: torch.cdist(q, means(x, y)).argmin(1).tolist(), True, "this is ProtoNet"),
        (lambda x, y, q: torch.cdist(q, x.view(5, 3, -1).mean(1)).argmin(1), False, "class by class"),
        (lambda x, y, q: torch.cdist(q, means(x, y, dict.fromkeys(y.tolist()))).argmin(1), False, "row 0 must be"),
        (lambda x, y, q: torch.cdist(q, means(x, y).flip(0)).argmin(1), False, "row 0 must be"),
        (lambda x, y, q: torch.cdist(q, means(x, y)).min(1).values, False, "Those are the distances"),
        (lambda x, y, q: torch.cdist(q, means(x, y)), False, "One label for each of the 20"),
        (lambda x, y, q: torch.cdist(q, means(x, y)).argmin(0), False, "One label for each of the 20"),
        (lambda x, y, q: torch.cdist(q, means(x, y)).argmin(), False, "One label for each of the 20"),
        (lambda x, y, q: torch.cdist(q, means(x, y), p=1).argmin(1), False, "absolute differences"),
        (lambda x, y, q: (q[:, None] - means(x, y)).sum(-1).argmin(1), False, "opposite sign cancel"),
        (lambda x, y, q: torch.cdist(q, 3 * means(x, y)).argmin(1), False, "take their means"),
        (lambda x, y, q: (q - means(x, y)).square().sum(-1).argmin(1), False, "Every query meets every mean"),
        (lambda x, y, q: ..., None, "Replace the dots"),
    ],
)
def test_nearest(answer, passed, message):
    verdict = omniglot.check_nearest(answer)
    assert verdict.passed is passed and message in str(verdict)


@pytest.mark.parametrize(
    ("check", "answer", "passed", "message"),
    [
        (omniglot.check_mean_alpha, 2.0, True, "one step"),
        (omniglot.check_mean_alpha, 8.0, False, "20 times the mean"),
        (omniglot.check_mean_alpha, ..., None, "Replace the dots"),
        (omniglot.check_tasks_needed, 9600, True, "10,000"),
        (omniglot.check_tasks_needed, 5000, False, "what factor"),
        (omniglot.check_tasks_needed, 150, False, "wider, not narrower"),
        (omniglot.check_tasks_needed, ..., None, "Replace the dots"),
    ],
)
def test_numbers(check, answer, passed, message):
    verdict = check(answer)
    assert verdict.passed is passed and message in str(verdict)


def test_the_solutions_pass():
    assert omniglot.check_episode.solution(solutions.episode).passed
    assert omniglot.check_nearest.solution(solutions.labels).passed
    assert omniglot.check_mean_alpha.solution(20 * 0.1).passed and omniglot.check_tasks_needed.solution(16 * 600).passed
    assert omniglot.check_open.solution("it takes a turned F for a T").passed
