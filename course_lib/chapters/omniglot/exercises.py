"""Checks for notebook 09, Omniglot."""

from __future__ import annotations

import math

import torch

from course_lib.chapters.omniglot import solutions
from course_lib.kit.checks import Verdict, compare, exercise, model_answer, number, right, run, wrong
from course_lib.tasks import GlyphTasks

# Exercise 3: alpha of MAML's released code at 20 ways, against the sum of 20 means
CODE_ALPHA, CODE_WAYS = 0.1, 20
EPISODES = 20  # that the check of exercise 1 draws


@exercise(
    "09",
    "an episode, with labels",
    solution=solutions.episode,
    why="Classes and drawings without replacement, from the generator; labels are new.",
)
def check_episode(my_episode) -> Verdict:
    """``my_episode(images, ways, shots, queries, generator)`` of images [C, D, 28, 28] -> four tensors."""
    images = torch.arange(6 * 8.0)[:, None, None].expand(-1, 28, 28).reshape(6, 8, 28, 28)  # value 8 c + d
    episode = lambda seed: run(my_episode, images, 4, 2, 3, torch.Generator().manual_seed(seed))
    episodes = []
    for seed in range(EPISODES):  # one might have no fault by chance
        episodes.append(episode(seed))
        fault = _fault_within(episodes[-1])
        if fault:
            return wrong(fault)
    if torch.equal(episodes[1][0], episodes[0][0]) and torch.equal(episodes[2][0], episodes[0][0]):
        return wrong("Another seed gives the same episode: use the generator that is passed in.")
    if not all(torch.equal(one, two) for one, two in zip(episodes[0], episode(0))):
        return wrong("The same seed gives two different episodes: every draw takes the generator that is passed in.")
    fault = _fault_among(episodes)
    if fault:
        return wrong(fault)
    return right("Labels are drawn anew with each episode, so nothing can be learnt about a label.")


def _fault_within(episode: object) -> str:
    """What is wrong with one episode of 4 ways, 2 shots, 3 queries, in words; "" where nothing is."""
    four = isinstance(episode, (tuple, list)) and len(episode) == 4
    if not four or not all(isinstance(part, torch.Tensor) for part in episode):
        return "Return four tensors, labels too (`torch.tensor(a_list)`): support_x, support_y, query_x, query_y."
    shapes = [list(part.shape) for part in episode]
    if shapes != [[8, 28, 28], [8], [12, 28, 28], [12]]:
        wanted = "[[8, 28, 28], [8], [12, 28, 28], [12]] for 4 ways, 2 shots and 3 queries of each class"
        return f"The shapes are {shapes}, expected {wanted}."
    support_x, support_y, query_x, query_y = episode
    if support_y.is_floating_point() or query_y.is_floating_point():
        return "Labels are whole numbers: the number of a class, torch.long."
    support, query = support_x[:, 0, 0].long(), query_x[:, 0, 0].long()  # which drawing each one is
    if set(support_y.tolist()) != set(range(4)) or set(query_y.tolist()) != set(range(4)):
        return "Labels run from 0 to ways - 1 whatever the characters are: the names mean nothing here."
    if torch.bincount(support_y).tolist() != [2] * 4 or torch.bincount(query_y).tolist() != [3] * 4:
        return "Every class has the same number of support drawings, and of queries."
    of_label = [set((support[support_y == w] // 8).tolist() + (query[query_y == w] // 8).tolist()) for w in range(4)]
    if any(len(characters) > 1 for characters in of_label):
        return "One label stands for two characters: support and query must agree on what a label means."
    if len(set.union(*of_label)) < 4:
        return "The same character came up twice in one episode: draw classes without replacement."
    if set(support.tolist()) & set(query.tolist()):
        return "A drawing is in the support set and in the query set: that is testing on the training data."
    if len(set(support.tolist())) < 8 or len(set(query.tolist())) < 12:
        return "A drawing came up twice in one set: draw without replacement."
    return ""


def _fault_among(episodes: list) -> str:
    """What is wrong with many episodes of 4 of 6 characters that no single one shows, in words."""
    support = torch.stack([x[:, 0, 0].long() for x, *_ in episodes])  # [E, 8], which drawing each one is
    query = torch.stack([x[:, 0, 0].long() for _, _, x, _ in episodes])  # [E, 12]
    labels = torch.stack([y for _, y, *_ in episodes])
    characters = support // 8
    if len(characters.unique()) < 6:
        return "Some characters never come up, whatever the seed: draw the classes, too."
    if len({frozenset(row) for row in characters.tolist()}) < 7:  # of 15; neighbours in a ring have 6
        return "The same few sets of characters come up again and again: draw each class by itself (`torch.randperm`)."
    for name, drawings, few in (("support", support, 24), ("query", query, 36)):  # of 48; fixed ones have half of it
        if len(drawings.unique()) < few:
            return f"The {name} set always has the same drawings of a character: draw those, too."
    if any(len(labels[characters == c].unique()) < 2 for c in (0, 5)):
        return "The first or the last character always has one label: the order of the classes is drawn, too."
    return ""


check_open = model_answer(
    "09",
    "fool it",
    "a character drawn askew is often taken for another one: in training a turned character was a class of its own, so "
    "the network learnt that turning matters. Two drawings that differ in a small stroke are often one to it: 28 x 28 "
    "points keep a pixel or two of that stroke. And it always answers: it cannot say *none of these*.",
)


@exercise(
    "09",
    "alpha for a mean",
    solution=solutions.mean_alpha,
    why="The code's loss is 20 times the mean, so its gradient is 20 times as long.",
)
def check_mean_alpha(alpha: float) -> Verdict:
    """alpha of MAML's released code at 20 ways, in units of the mean."""
    alpha = number(alpha)
    answer = CODE_ALPHA * CODE_WAYS
    if math.isclose(alpha, answer, rel_tol=1e-6):
        return right("The same 2.0 as at 5 ways: the two alphas of the paper's table are one step.")
    if math.isclose(alpha, CODE_ALPHA / CODE_WAYS, rel_tol=1e-6):
        return wrong("The sum is the larger loss, so its gradient is longer: the rate for the mean must be larger.")
    if math.isclose(alpha, CODE_ALPHA, rel_tol=1e-6):
        return wrong("That rate is for the sum over the 20 classes. How much longer is its gradient?")
    return wrong("The code's loss is the sum over 20 classes of a mean over the shots: 20 times the mean over all.")


@exercise(
    "09",
    "how many for a tenth?",
    solution=solutions.tasks_needed,
    why="The half width is 1.96 sd / sqrt(n): a quarter of it takes 4^2 = 16 times the tasks.",
)
def check_tasks_needed(count: int) -> Verdict:
    """How many test tasks make the 95 % interval +- 0.1 points where 600 give +- 0.4."""
    count = number(count)
    if abs(count - 9600) <= 1:
        return right("A quarter of the width takes sixteen times the tasks. That is why some papers judge on 10,000.")
    if abs(count - 2400) <= 1:
        return wrong("The width falls with the square root of the count.")
    if count < 600:
        return wrong("Fewer tasks make the interval wider, not narrower.")
    if count == 10000:
        return wrong("Nearly: that is the round number of some papers. How many times 600 makes it just a quarter?")
    if abs(count - 1200) <= 1:
        return wrong("Twice the tasks make it 0.4 / sqrt(2) = 0.28.")
    return wrong("The half width is 1.96 sd / sqrt(count). By what factor must it shrink?")


@exercise(
    "09",
    "the nearest class mean",
    solution=solutions.labels,
    why="With pixels it is a floor; with the features of a trained network it is ProtoNet.",
)
def check_nearest(my_labels) -> Verdict:
    """``my_labels(support_x, support_y, query_x) -> labels [Q]`` by the nearest class mean, in pixels."""
    batch = GlyphTasks("test", ways=5, shots=3, queries=4).sample(1, generator=torch.Generator().manual_seed(0))
    mixed = torch.randperm(15, generator=torch.Generator().manual_seed(0))  # labels need not come in order
    x, y, query_x = batch.support_x[0].flatten(1)[mixed], batch.support_y[0][mixed], batch.query_x[0].flatten(1)
    hints = {
        "at least 2D|same number of columns": "A class mean is a picture [D]: the mean over its drawings is `mean(0)`.",
        "must match the size": "Every query meets every mean: `query_x[:, None] - means` [Q, W, D], or `torch.cdist`.",
    }
    result = run(my_labels, x, y, query_x, hints=hints)
    if isinstance(result, list):
        result = torch.as_tensor(result)
    if isinstance(result, tuple) and hasattr(result, "indices"):
        return wrong("`min` gives the values and their places; the label is the place: `argmin(1)`.")
    if isinstance(result, torch.Tensor) and result.shape in ((20, 5), (5,), ()):
        return wrong("One label for each of the 20 queries: of [Q, W] distances, the place of the least, `argmin(1)`.")
    means = torch.stack([x[y == w].mean(0) for w in range(5)])  # [W, D]
    distance = torch.cdist(query_x, means)  # [Q, W]
    mistakes = [
        (distance.argmax(1), "That is the farthest mean."),
        (y[torch.cdist(query_x, x).argmin(1)], "That is the nearest drawing; take the nearest class mean."),
        (torch.cdist(query_x, x).argmin(1), "That is the number of a support drawing, not its label."),
        (
            torch.cdist(query_x, means[y]).argmin(1),
            "One mean for each CLASS, in the order of the labels: `support_y.unique()`.",
        ),
        ((query_x @ means.T).argmax(1), "That is the largest inner product; far means have an advantage there."),
        (distance.min(1).values, "Those are the distances; the label is the place of the least, `argmin(1)`."),
        (torch.cdist(query_x, means, 1).argmin(1), "Those are sums of absolute differences; square them (Euclid)."),
        ((query_x[:, None] - means).sum(-1).argmin(1), "Square the differences: those of opposite sign cancel here."),
        (torch.cdist(query_x, 3 * means).argmin(1), "Those are the sums of the drawings; take their means."),
    ]
    by_place = x.view(3, 5, -1).mean(0), x.view(5, 3, -1).mean(1)
    in_order = "The drawings do not come class by class: `support_y` says which are of class 0."
    mistakes += [(torch.cdist(query_x, of_place).argmin(1), in_order) for of_place in by_place]
    places = "`argmin(1)` gives a place, so row 0 must be the mean of class 0, row 1 that of class 1, and so on."
    orders = list(dict.fromkeys(y.tolist())), range(4, -1, -1)
    mistakes += [(distance[:, order].argmin(1), places) for order in orders]
    return compare(result, distance.argmin(1), mistakes, "Put features in the place of pixels, and this is ProtoNet.")
