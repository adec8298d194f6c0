"""The checks of notebook 04 confirm right answers and turn each common mistake into its hint."""

import math

import pytest
import torch

from course_lib.chapters.task_heads import exercises as task_heads
from course_lib.chapters.task_heads import solutions


def remembering(heads, task, learn):
    heads = heads.clone()
    heads[task] = learn(heads[task])
    return heads


def from_zero(heads, task, learn):
    heads = heads.clone()
    heads[task] = learn(torch.zeros_like(heads[task]))
    return heads


def fresh(heads, task, learn):
    return torch.cat([heads[:task], learn(torch.randn_like(heads[task]))[None], heads[task + 1 :]])


def forgotten(heads, task, learn):
    learn(heads[task])
    return torch.cat([heads[:task], torch.randn_like(heads[task])[None], heads[task + 1 :]])


def unlearnt(heads, task, learn):
    return torch.cat([heads[:task], torch.randn_like(heads[task])[None], heads[task + 1 :]])


def added(heads, task, learn):
    heads = heads.clone()
    heads[task] += learn(heads[task])
    return heads


def stored_too_soon(heads, task, learn):
    head = 2 * heads[task]
    learn(head)
    return torch.cat([heads[:task], head[None], heads[task + 1 :]])


def into(row, learnt):
    """A visit that learns ``learnt(heads, task, learn)`` and writes it to ``row(task)``."""

    def revisit(heads, task, learn):
        heads = heads.clone()
        heads[row(task)] = learnt(heads, task, learn)
        return heads

    return revisit


@pytest.mark.parametrize(
    ("revisit", "passed", "message"),
    [
        (fresh, False, "began with fresh numbers"),
        (forgotten, False, "store what `learn` returns"),
        (unlearnt, False, "No head has learnt"),
        (stored_too_soon, False, "before it learnt"),
        (remembering, True, "remembering"),
        (added, False, "You added"),
        (from_zero, False, "began at zero"),
        (lambda heads, task, learn: heads, False, "as before"),
        (lambda heads, task, learn: learn(heads), False, "Only the task"),
        (into(lambda task: task - 1, lambda heads, task, learn: learn(heads[task - 1])), False, "another task's head"),
        (into(lambda task: task, lambda heads, task, learn: learn(heads[0])), False, "another task's head"),
        (into(lambda task: task, lambda heads, task, learn: learn(learn(heads[task]))), False, "learnt twice"),
        (into(lambda task: task, lambda heads, task, learn: learn(task)), False, "`learn(heads[task])`"),
        (into(lambda task: task, lambda heads, task, learn: learn), False, "`learn(heads[task])`"),
        (lambda heads, task, learn: torch.cat([heads, learn(heads[task])[None]]), False, "has grown"),
        (lambda heads, task, learn: heads.copy(), False, "`heads.clone()`"),
        (lambda heads, task, learn: ..., None, "Replace the dots"),
        (lambda heads, task, learn: heads @ heads, False, "raised RuntimeError"),
    ],
)
def test_revisit(revisit, passed, message):
    verdict = task_heads.check_revisit(revisit)
    assert verdict.passed is passed and message in str(verdict)


@pytest.mark.parametrize(
    ("answer", "passed", "message"),
    [
        ((1.6, math.exp(-1.6)), True, "A fifth"),
        ((1.6, (1 - 1 / 5000) ** 8000), True, "A fifth"),
        ((16, 0.2), False, "in all"),
        ((1.6, 20.2), False, "not in percent"),
        ((1.6, 1009), False, "not a number of tasks"),
        ((1.6, 0.5), False, "8000"),
        ((1.6, ...), None, "Replace"),
    ],
)
def test_visits(answer, passed, message):
    verdict = task_heads.check_visits(*answer)
    assert verdict.passed is passed and message in str(verdict)


def by_autograd(z, w, y):
    z = z.clone().requires_grad_()
    return torch.autograd.grad((z @ w - y).square().mean(), z)[0]


@pytest.mark.parametrize(
    ("gradient", "passed", "message"),
    [
        (by_autograd, True, "the head alone"),
        (lambda z, w, y: z.copy_(by_autograd(z, w, y)), True, "the head alone"),
        (lambda z, w, y: by_autograd(z, w, y) / 2, False, "factor of two"),
        (lambda z, w, y: len(z) * by_autograd(z, w, y), False, "mean over the points"),
        (lambda z, w, y: -by_autograd(z, w, y), False, "sign"),
        (lambda z, w, y: 2 / z.numel() * (z @ w - y)[:, None] * w, False, "not over the features"),
        (lambda z, w, y: 2 / len(w) * (z @ w - y)[:, None] * w, False, "number of features"),
        (lambda z, w, y: 2 / len(z) * z.T @ (z @ w - y), False, "the shape of z"),
        (lambda z, w, y: by_autograd(z, w, y).T, False, "lies on its side"),
        (lambda z, w, y: 2 / len(z) * (z @ w - y), False, "one number for each point"),
        (lambda z, w, y: 2 / len(z) * (z @ w - y)[:, None] @ w, False, "`*` and not `@`"),
        (lambda z, w, y: w.expand_as(z), False, "Where is the residual"),
        (lambda z, w, y: 2 / len(z) * w.expand_as(z), False, "Where is the residual"),
    ],
)
def test_feature_gradient(gradient, passed, message):
    verdict = task_heads.check_feature_gradient(gradient)
    assert verdict.passed is passed and message in str(verdict)


def test_the_solutions_pass_and_the_open_question_shows_a_model_answer():
    assert task_heads.check_revisit.solution(solutions.revisit).passed
    assert task_heads.check_feature_gradient.solution(solutions.feature_gradient).passed
    assert task_heads.check_visits.solution(*eval(task_heads.check_visits.model.strip("`"))).passed
    assert task_heads.check_open.solution(...).passed is None
    assert "outer rate" in task_heads.check_open.solution("With many tasks the stored heads lose their lead.").message
