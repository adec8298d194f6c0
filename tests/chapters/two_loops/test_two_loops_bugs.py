"""The hunt for bugs of notebook 02: a hint for every innocent line, and for the commonest repairs of loop two."""

import pytest
import torch
from torch.func import functional_call

from course_lib.chapters.two_loops import exercises as two_loops
from course_lib.kit.answers import function_from, source_of


def loop_two(model, batch, steps, inner_lr):
    theta = dict(model.named_parameters())
    model.zero_grad()
    for i in range(batch.num_tasks):
        params = theta
        for _ in range(steps):
            loss = (functional_call(model, params, (batch.support_x[i],)) - batch.support_y[i]).square().mean()
            loss.backward(retain_graph=True)
            grads = torch.autograd.grad(loss, params.values(), create_graph=True)
            params = {name: p - inner_lr * g for (name, p), g in zip(params.items(), grads)}
        loss = (functional_call(model, params, (batch.query_x[i],)) - batch.query_y[i]).square().mean()
        (loss / batch.num_tasks).backward()
    return {name: p.grad for name, p in theta.items()}


@pytest.mark.parametrize(
    ("old", "new", "passed", "message"),
    [
        ("", "", None, "as it was"),
        ("            loss.backward(retain_graph=True)\n", "", True, "Equal to the library"),
        ("retain_graph=True", "", False, "uses up the graph"),
        ("        (loss /", "        model.zero_grad()\n        (loss /", False, "Only the last task's is left"),
    ],
)
def test_loop_two_and_its_repairs(old, new, passed, message):
    verdict = two_loops.check_repaired(function_from(source_of(loop_two).replace(old, new)))
    assert verdict.passed is passed and message in str(verdict)


def test_bug_lines():
    for loop, line, why in (
        (1, 7, "FOMAML"),
        (2, 7, "is collected"),
        (3, 5, "before adapting"),
        (4, 6, "only the last"),
    ):
        assert two_loops.check_bug(loop, ...).passed is None
        assert two_loops.check_bug(loop, line).passed and why in str(two_loops.check_bug(loop, line))
        others = [two_loops.check_bug(loop, other) for other in set(range(1, 12)) - {line}]
        assert all(verdict.passed is False for verdict in others)
        numbered = [verdict.message for verdict in others if "Lines with a number" not in verdict.message]
        assert len(set(numbered)) == len(numbered) == {1: 6, 2: 7, 3: 7, 4: 7}[loop]  # a hint for each innocent line
        assert f"wrong_line = {line}" in two_loops.check_bug.reveal(loop).text
    hints = {(1, 8): "remember", (2, 10): "What else", (3, 10): "Which weights", (1, 6): "support set"}
    hints |= {(1, 9): "What do these weights remember", (2, 11): "alone there", (3, 4): "same weights"}
    hints |= {(1, "7"): "number", (2, 5): "1, 4, 6, 7, 8, 9, 10, 11", (3, 12): "1, 4, 5, 7, 8, 9, 10, 11"}
    hints |= {(4, 11): "Which weights are that"}
    for answer, hint in hints.items():
        assert hint in str(two_loops.check_bug(*answer))
