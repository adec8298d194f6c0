"""Every check of every notebook: no answer, however odd, makes it raise, hang, or say yes."""

import html
import pkgutil
import re
import sys
import time
from importlib import import_module
from inspect import signature
from pathlib import Path

import numpy as np
import pytest
import torch
from jupyter_client.manager import start_new_kernel

from course_lib import chapters
from course_lib.algorithms import MAML
from course_lib.chapters.closed_form import exercises as closed_form
from course_lib.chapters.features import exercises as tangent
from course_lib.chapters.omniglot import exercises as omniglot
from course_lib.chapters.reptile import exercises as reptile
from course_lib.chapters.task_heads import exercises as task_heads
from course_lib.chapters.two_loops import exercises as two_loops
from course_lib.chapters.union import exercises as union
from course_lib.chapters.what_k_costs import exercises as what_k_costs
from course_lib.kit import checks, progress
from course_lib.kit.checks import Verdict, attempt, code, compare, run

MODULES = [
    checks,
    *(import_module(f"{chapters.__name__}.{m.name}.exercises") for m in pkgutil.iter_modules(chapters.__path__)),
]
CHECKS = {
    f"{module.__name__}.{name}": check
    for module in MODULES
    for name, check in vars(module).items()
    if name.startswith("check_") and check.__module__ in (module.__name__, checks.__name__)
}
LONG = list(range(20_000))


class Unspeakable(Exception):
    def __str__(self):
        raise ValueError

    __repr__ = __str__


def raising(error):
    def answer(*inputs):
        raise error

    return answer


def endless(*inputs):
    while True:
        pass


def recursive(*inputs):
    return recursive(*inputs)


def generator(*inputs):
    while True:
        yield "head"


def leaving(*inputs):
    sys.exit("bye")


def emptying(*inputs):
    for part in inputs:
        if isinstance(part, torch.Tensor):
            part.detach().zero_()
    return torch.zeros(())


def line_of(function):
    """The line below its head."""
    return function.__code__.co_firstlineno + 1


ODD = {
    "None": None,
    "words": "a",
    "nothing": [],
    "no numbers": torch.ones(2) > 0,
    "whole numbers": torch.arange(3),
    "numpy": np.ones(3),
    "NaN": float("nan"),
    "infinity": torch.tensor(torch.inf),
    "a huge number": 10**5000,
    "many numbers": LONG,
    "no words": Unspeakable(),
    "returns None": lambda *inputs: None,
    "returns words": lambda *inputs: "a",
    "returns nothing": lambda *inputs: [],
    "returns a number": lambda *inputs: 3,
    "returns whole numbers": lambda *inputs: torch.arange(3),
    "returns numpy": lambda *inputs: np.ones(3),
    "returns NaN": lambda *inputs: torch.tensor(float("nan")),
    "returns many numbers": lambda *inputs: LONG,
    "returns itself": recursive,
    "yields": generator,
    "takes nothing": lambda: 3,
    "never ends": endless,
    "ends Python": leaving,
    "interrupts": raising(KeyboardInterrupt()),
    "closes": raising(GeneratorExit()),
    "raises": raising(ValueError("<b> is no $number$ of `yours`")),
    "raises many numbers": raising(KeyError(LONG)),
    "raises no words": raising(Unspeakable()),
    "empties its inputs": emptying,
}


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_odd_answers_get_a_verdict(check, monkeypatch):
    for name, answer in ODD.items():
        monkeypatch.setattr(checks, "SECONDS", 0.02 if answer is endless or answer is generator else 10.0)
        begun = time.process_time()
        verdict = check(*[answer] * len(signature(check).parameters))
        assert isinstance(verdict, Verdict) and not verdict.passed, name
        assert 10 < len(verdict.message) < 1200 and time.process_time() - begun < 5, name


def test_every_exercise_has_a_name_of_its_own_in_its_notebook():
    enlisted = {notebook: names for notebook, names in progress._exercises.items() if notebook < "90"}  # not a test's
    names = [(notebook, name) for notebook, names in enlisted.items() for name in names]
    assert len(names) == len(set(names)) == sum(check.parts or 1 for check in CHECKS.values())
    assert len(enlisted) == len(MODULES) - 1  # a chapter is a notebook


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_dots_are_no_answer(check):
    if check.__name__ != "check_mended":  # it calls the function to be mended, which is there from the start
        assert check(*[...] * len(signature(check).parameters)) is checks.WAITING


def filling(*inputs):
    for part in inputs:
        if isinstance(part, torch.Tensor) and part.is_floating_point():
            part.fill_(1.0)
    return torch.ones((), dtype=torch.float64)


def emptying_the_model(model, batch, steps, inner_lr):
    gradient = MAML(steps, inner_lr).meta_gradient(model, batch)[0]  # right, but then
    for parameter in model.parameters():
        parameter.detach().zero_()
    return gradient


@pytest.mark.parametrize(
    ("check", "answer"),
    [
        (reptile.check_update, lambda *inputs: (emptying(*inputs), inputs[0])[1]),
        (tangent.check_energy_share, lambda f, c, r: r * filling(f, c)),
        (closed_form.check_ridge, lambda z, y, lam: z.mT @ y.zero_()),
        (union.check_union_loss, emptying),
        (tangent.check_border, lambda J: len(J) / J.fill_(1).numel()),
        (two_loops.check_meta_gradient, emptying_the_model),
        (two_loops.check_repaired, emptying_the_model),
    ],
)
def test_nothing_is_gained_by_changing_the_inputs(check, answer):
    assert check(answer).passed is False


@pytest.mark.parametrize(
    "verdict",
    [
        reptile.check_update(lambda *inputs: reptile.solutions.update(*inputs) + 7j),
        reptile.check_reptile(lambda *i: {name: part + 7j for name, part in reptile.solutions.reptile(*i).items()}),
        reptile.check_coefficients(np.complex128(-8 + 1j), -4, -2),
        closed_form.check_means(lambda *inputs: [part + 1j for part in closed_form.solutions.means(*inputs)]),
        tangent.check_energy_share(lambda *inputs: tangent.solutions.energy_share(*inputs) + 5j),
        tangent.check_feature_weights(lambda c: tangent.solutions.feature_weights(c) + 5j),
        tangent.check_border(lambda J: tangent.solutions.border(J) + 5j),
        tangent.check_border(lambda J: np.complex64(tangent.solutions.border(J) + 5j)),
        tangent.check_border(lambda J: np.array(tangent.solutions.border(J).item() + 5j)),
        *map(tangent.check_one_step_rate, (50 + 30j, np.complex128(50 + 30j), torch.tensor(50 + 30j))),
        what_k_costs.check_stretch(lambda *inputs: what_k_costs.solutions.stretch(*inputs) + 5j),
    ],
)
def test_an_imaginary_part_is_not_dropped(verdict):
    assert verdict.passed is False and "Real numbers were expected, and this is complex" in verdict.message


@pytest.mark.parametrize("kind", [float, np.float64, np.array, torch.tensor])
def test_a_number_may_be_of_any_real_kind(kind):
    assert tangent.check_one_step_rate(kind(50.0)).passed
    assert tangent.check_border(lambda J: kind(tangent.solutions.border(J).item())).passed


def test_a_students_function_gets_copies_and_the_check_may_look_at_them():
    given = torch.ones(3, requires_grad=True)
    result, (copy_given,) = attempt(lambda x: x.detach().mul_(2), given)
    assert result.tolist() == copy_given.tolist() == [2, 2, 2] and given.tolist() == [1, 1, 1]
    assert copy_given.is_leaf and copy_given.requires_grad


def test_gradients_are_on_whatever_an_earlier_cell_has_switched_off():
    def answer(x):
        (grad,) = torch.autograd.grad(x.square(), x)
        torch.set_grad_enabled(False)
        return grad

    with torch.no_grad():
        assert run(answer, torch.tensor(3.0, requires_grad=True)) == 6
        assert two_loops.check_inner_loop(two_loops.solutions.inner_loop).passed
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("verdict", "message"),
    [
        (checks.check_line([2, 2]), "two unknown numbers"),
        (tangent.check_one_step_rate("50"), "a number was expected, not '50'`). Asked for: The kernel's eigenvalue"),
        (tangent.check_one_step_rate(float("nan")), "a finite number was expected, not nan"),
        (tangent.check_one_step_rate(True), "a number was expected, not True"),
        (task_heads.check_visits(1.6, None), "Asked for: 800 iterations of 10 out of 5000 tasks"),
        (two_loops.check_inner_loop(lambda m, params, *a: dict.fromkeys(params)), "inner_loop(model, params, x,"),
        (closed_form.check_ridge(3), "A function was expected, not `3`."),
        (closed_form.check_ridge(LONG), "not `[0, 1, 2, 3, 4, 5, ...]`."),
        (closed_form.check_ridge(lambda z, y, lam: LONG), "was expected, not `list`."),
        (omniglot.check_nearest(lambda x, y, q: torch.zeros(20) > 0), "largest difference"),
        (reptile.check_update(lambda *a: torch.full((7,), torch.nan)), "7 of 7 values is NaN, not a number"),
        (compare(torch.tensor([1.0, torch.inf]), torch.zeros(2), []), "1 of 2 values is infinite"),
        (compare(torch.tensor([True]), torch.tensor([False]), []), "largest difference to the expected result is 1."),
        (
            reptile.check_update(leaving),
            f'raised SystemExit in line {line_of(leaving)}, `sys.exit("bye")`: `bye`. End it with',
        ),
        (reptile.check_update(ODD["interrupts"]), "raised KeyboardInterrupt in line"),
        (
            reptile.check_update(recursive),
            f"raised RecursionError in line {line_of(recursive)}, `return recursive(*inputs)`",
        ),
        (
            reptile.check_update(ODD["raises no words"]),
            f"raised Unspeakable in line {line_of(ODD['raises no words'])}, `raise error`.",
        ),
        (reptile.check_update(ODD["takes nothing"]), "takes 0 positional arguments but 3 were given"),
    ],
)
def test_it_says_what_is_wrong(verdict, message):
    assert verdict.passed is False and message in verdict.message


def test_the_line_that_failed_is_the_students_own():
    def helper(theta):
        return theta @ torch.ones(3, dtype=theta.dtype)  # this line is theirs, torch's below it are not

    verdict = reptile.check_update(lambda theta, ends, epsilon: torch.stack([helper(theta) for _ in range(2)]))
    assert "in line" in verdict.message and "`return theta @ torch.ones(3, dtype=theta.dtype) # this line" in str(
        verdict
    )
    inside_torch = reptile.check_update(lambda theta, ends, epsilon: torch.nn.functional.interpolate(theta))
    assert "torch.nn.functional.interpolate(theta)" in str(inside_torch)
    assert " in line" not in str(reptile.check_update(torch.nn.functional.interpolate))
    decorated = torch.no_grad()(lambda *inputs: helper(*inputs[:1]))
    assert "`return theta @ torch.ones(3, dtype=theta.dtype) # this line" in str(reptile.check_update(decorated))


def test_an_endless_answer_is_stopped_at_its_line(monkeypatch):
    monkeypatch.setattr(checks, "SECONDS", 0.1)
    verdict = reptile.check_update(endless)
    line = line_of(endless)
    assert re.search(
        f"stopped after 0.1 seconds in line ({line}|{line + 1}), `(pass|while True:)`. Is", verdict.message
    )
    still = closed_form.check_names(lambda names: map(endless, names))
    assert "still being checked after 0.1 seconds. Asked for: ``names(params)" in still.message


@pytest.mark.parametrize(
    "words", ["<lambda> & <b>", "**bold** _x_ *y*", "`tick` ``two``", "$a_1$ | [x](y) #1", "a\n\n- b"]
)
def test_a_students_words_reach_the_page_letter_by_letter(words):
    for verdict in (reptile.check_update(raising(ValueError(words))), closed_form.check_names(lambda p: [words, "x"])):
        page = pytest.importorskip("mistune").html(verdict._repr_markdown_())  # JupyterLab brings it
        shown = html.unescape(re.sub("<[^>]*>", "", page))
        assert " ".join(words.split()) in shown or repr(words) in shown


def test_code_is_cut_where_it_is_long():
    assert code("") == "" and code("x" * 1000) == f"`{'x' * 300} ...`"


def test_a_solution_is_checked_as_an_answer_is():
    assert checks.check_line.solution(2).passed and checks.check_line.solution(3).passed is False
    assert checks.check_line.solution(...) is checks.WAITING


# In a kernel ----------------------------------------------------------------------------------------------------

CELL = """\
import time
from course_lib.chapters.reptile import exercises
from course_lib.kit import checks, progress

def helper(theta):
    return theta @ theta[:3]

def failing(theta, ends, epsilon):
    return helper(theta)

def endless(theta, ends, epsilon):
    print("running", flush=True)
    while True:
        time.sleep(0.001)

def interrupting(theta, ends, epsilon):
    raise KeyboardInterrupt
"""


def test_in_a_kernel_lines_are_the_cells_and_only_the_person_interrupts():
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(Path(__file__).parents[2]))
    try:

        def answer(code, on_output=None):
            shown = []
            hook = lambda message: (shown.append(message["content"]), on_output and on_output(message))
            reply = client.execute_interactive(code, output_hook=hook, timeout=60)["content"]
            texts = [content["data"]["text/plain"] for content in shown if "data" in content]
            return reply["status"], reply.get("ename") or "".join(texts)

        assert answer(CELL) == ("ok", "")
        assert (
            "raised RuntimeError in line 6, `return theta @ theta[:3]`" in answer("exercises.check_update(failing)")[1]
        )
        said = answer("checks.SECONDS = 0.3; exercises.check_update(endless)")
        assert said[0] == "ok" and "stopped after 0.3 seconds in line 14, `time.sleep(0.001)`" in said[1]
        assert "raised KeyboardInterrupt in line 17" in answer("exercises.check_update(interrupting)")[1]

        def interrupt(message):
            if message["content"].get("text", "").startswith("running"):
                manager.interrupt_kernel()

        stopped = answer("checks.SECONDS = 60; exercises.check_update(endless)", interrupt)
        assert stopped == ("error", "KeyboardInterrupt")
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
