"""The course's own answer to an exercise, and the reader's own in another notebook."""

import ast
import builtins
import inspect
import json
import pkgutil
from importlib import import_module
from pathlib import Path

import torch

from course_lib import chapters
from course_lib.kit import answers, checks

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def double(x):
    return 2 * x


@checks.exercise("97", solution=double, why="Twice.")
def check_double(answer):
    """Twice x."""
    return checks.compare(checks.run(answer, torch.ones(2)), 2 * torch.ones(2), [])


def names_of(notebook: str) -> set[str]:
    """What the cells of a notebook, such as "02", import or define."""
    (path,) = NOTEBOOKS.glob(f"{notebook}_*.ipynb")
    cells = [cell for cell in json.loads(path.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    nodes = [node for cell in cells for node in ast.walk(ast.parse("".join(cell["source"])))]
    imports = [
        name.asname or name.name
        for node in nodes
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in node.names
    ]
    return {*imports, *(node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef)))}


def test_a_notebook_has_imported_what_the_answers_to_its_exercises_need():
    modules = [
        import_module(f"{chapters.__name__}.{m.name}.exercises") for m in pkgutil.iter_modules(chapters.__path__)
    ]
    exercises = {x for module in modules for x in vars(module).values() if isinstance(x, checks.Exercise)}
    models = [(x, x.model) for x in exercises if inspect.isfunction(x.model)]
    needed = {(x.notebook, name) for x, model in models for name in answers.names_in(model.__code__)}
    needed &= {(x.notebook, name) for x, model in models for name in vars(inspect.getmodule(model))}
    assert ("10", "TaskBatch") in needed and ("02", "functional_call") in needed
    known = {notebook: names_of(notebook) | set(dir(builtins)) for notebook, _ in needed}
    assert {(notebook, name) for notebook, name in needed if name not in known[notebook]} == set()


def test_a_solution_is_out_of_sight_until_it_is_asked_for():
    shown = check_double.reveal()._repr_mimebundle_()
    assert "return 2" not in str(shown) and "button" in shown["text/markdown"]
    assert "def double(x):\n    return 2 * x" in check_double.reveal().text and "Twice." in check_double.reveal().text


def test_the_readers_own_answer_is_used_and_kept_for_a_later_notebook(capsys):
    mine = lambda x: x + x
    assert check_double.use(mine) is mine and "Your own" in capsys.readouterr().out
    assert check_double.use(lambda x: x) is double and "above is not right yet" in capsys.readouterr().out
    assert check_double.use(lambda x: ...) is double and "above is still open" in capsys.readouterr().out
    assert check_double.use() is double and "in notebook 97 is still open" in capsys.readouterr().out

    def with_torch(x):
        return torch.stack([x, x]).sum(0)

    assert check_double(with_torch).passed
    capsys.readouterr()
    again = check_double.use()  # from its source
    assert again is not double and again(3 * torch.ones(1)) == 6 and "Your own" in capsys.readouterr().out
    assert not check_double(lambda x: x).passed and check_double.use() is not double  # a wrong one takes nothing away


def with_helpers(x):
    return [by_two(part).add(0) for part in (x,)][0]


def by_two(x):
    return x + itself(x) if len(x) else with_helpers(x)  # each calls the other: kept once


itself = lambda x: x


def with_a_number(x):
    return TWO * x


TWO = 2


def add(x, to=torch.eye(TWO)):  # not what ``with_helpers`` calls: it would not run where TWO is unknown
    return x + to


def test_the_functions_that_an_answer_calls_are_kept_with_it(capsys):
    assert check_double(with_helpers).passed
    again = check_double.use()
    assert again is not double and again(3 * torch.ones(1)) == 6 and "Your own" in capsys.readouterr().out
    assert again.__globals__["by_two"] is not by_two  # it runs where this module is not

    assert check_double(with_a_number).passed  # a number of another cell is not kept
    assert (
        check_double.use() is double
        and "needs a number, a class or an import of another cell" in capsys.readouterr().out
    )


def test_an_open_exercise_shows_a_model_answer_after_one_is_written():
    check_open = checks.model_answer("97", "open", "The larger, the slower, in 8 of 8<!--kit.slower-->.")
    assert check_open(...).passed is None and check_open("it falls").passed is None
    verdict = check_open("With larger steps the error falls more slowly.")
    assert verdict.passed and verdict.message.endswith("The larger, the slower, in 8 of 8.")  # its quotation is hidden
    assert "<!--" not in check_open.model
    assert "The larger" not in str(check_open("   ")) and not check_open([1, 2, 3, 4, 5, 6]).passed
