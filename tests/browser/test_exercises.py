"""Every exercise of the course in JupyterLab: the dots wait, wrong answers get their hints, the right one its tick.

Each answer (tests/chapters/*/answers.py) is typed into its cell and run by keys; verdict and hint are read from the
page, and must be in sight. Then the notebook is saved, closed and opened again with a new kernel: what was solved and
guessed is there. With ``-s`` a table of the answers with the first words of their verdicts is printed.
"""

from __future__ import annotations

import shutil

import nbformat
import pytest

from tests.browser.cells import Cells, words_of
from tests.browser.lab import FOLDER_OF_SCREENSHOTS, LabServer
from tests.chapters.cells import NOTEBOOKS, Written, exercises_of, filled, preparation

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.slow]
SIGNS = {True: "Right.", False: "Not yet.", None: "Waiting for your answer."}


@pytest.fixture(scope="module")
def own_server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exercises")
    for path in NOTEBOOKS.values():
        shutil.copy(path, folder)
    with LabServer(folder, folder / "progress.json") as server:
        yield server


@pytest.fixture
def open_cells(own_server, browser):
    """``open_cells(number)`` closes what was open, ends its kernel, and opens a notebook of the course; a test begins
    with nothing solved."""
    own_server.progress.unlink(missing_ok=True)
    opened = []

    def close():
        while opened:
            opened.pop().close()
        own_server.end_kernels()

    def open_one(number):
        close()
        opened.append(browser.open(own_server, NOTEBOOKS[number].name))
        return Cells(opened[-1])

    yield open_one
    close()


def cell_with(number: str, text: str) -> int:
    cells = nbformat.read(NOTEBOOKS[number], as_version=4).cells
    return next(at for at, cell in enumerate(cells) if cell.cell_type == "code" and text in cell.source)


def answer(cells: Cells, written: Written) -> str:
    """Write and run an answer's cells; the verdict as the page shows it, which must be the one that was meant."""
    for index, source in written.cells.items():
        cells.write(index, source)
        shown = cells.run(index)
    verdict = "".join(cells.outputs(index)[-1]["data"]["text/plain"])  # PyTorch may have warned before
    assert verdict.startswith(SIGNS[written.passed]) and written.words in verdict, f"{source}\n{verdict}"
    for words in words_of(verdict):
        assert words in shown, f"{words}\nis not shown, but\n{shown}"
    return verdict.removeprefix(SIGNS[written.passed]).strip()


def row(name: str, verdicts: list[str]) -> str:
    return " | ".join([name, *(" ".join(verdict.split()[:9]) for verdict in verdicts)])


@pytest.mark.parametrize("number", NOTEBOOKS)
def test_every_exercise_right_and_wrong_and_what_is_kept(open_cells, number):
    cells, exercises = open_cells(number), list(exercises_of(number))
    for index in preparation(number):
        cells.run(index)
    question = cell_with(number, "ask(")
    cells.run(question)
    guess = cells.cell(question).locator("label").first.inner_text()
    cells.cell(question).get_by_role("radio").first.check()
    cells.cell(question).get_by_role("button", name="This is my guess").click()
    cells.cell(question).get_by_text("The answer:").wait_for()
    print(f"\n{number} | right | wrong, three times")
    for exercise in exercises:
        said = exercise.check.reveal(exercise.part).text if exercise.solution else exercise.check.model
        answer(cells, exercise.given)
        verdicts = [answer(cells, written) for written in exercise.wrong]
        assert words_of(said)[0] not in " ".join(cells.page.locator("body").inner_text().split())  # not yet
        verdicts.insert(0, answer(cells, exercise.right))
        if exercise.solution:
            cells.run(exercise.solution)
            below = cells.cell(exercise.solution)
            below.get_by_role("button", name="Show a solution").click()
            below.get_by_role("button", name="Hide it").wait_for()
            shown = cells.shown(exercise.solution)
            assert all(words in shown for words in words_of(said)), shown
        print(row(exercise.name, verdicts))
    if FOLDER_OF_SCREENSHOTS:
        cells.page.screenshot(path=f"{FOLDER_OF_SCREENSHOTS}/exercises_{number}.png")
    cells.page.evaluate("jupyterapp.commands.execute('docmanager:save')")

    cells = open_cells(number)  # a new page and a new kernel
    for exercise in exercises:
        assert all(cells.source(index) == source for index, source in exercise.right.cells.items())
    cells.run(preparation(number)[0])
    assert "You said" in cells.run(question)
    assert guess in cells.run(cell_with(number, 'guesses("'))
    ticks = cells.run(cell_with(number, 'progress("'))
    for exercise in exercises:
        assert f"{exercise.check.name}{f' {exercise.part}' if exercise.part else ''} (right)" in ticks
    cells.write(cell_with(number, 'progress("'), "progress()")
    everything = cells.run(cell_with(number, 'progress("'))
    assert f"Notebook {number}: {len(exercises) * '■'} {len(exercises)} of {len(exercises)} exercises" in everything


OWN_LOOP = """
weights = params
for number in range(steps):
    error = functional_call(model, weights, (x,)) - y
    slopes = torch.autograd.grad((error**2).mean(), list(weights.values()), create_graph=True)
    weights = {name: weights[name] - inner_lr * slope for name, slope in zip(weights, slopes)}
return weights
"""
CARRIED = {"03": "mine", "07": "inner_loop_of_02", "08": "inner_loop"}  # what each calls the loop of notebook 02


def test_the_loop_of_notebook_02_is_carried_through_or_the_course_s_stands_in(open_cells):
    inner_loop = next(exercise for exercise in exercises_of("02") if exercise.name == "inner_loop")
    said = {}
    for own in (False, True):
        if own:
            cells = open_cells("02")
            cells.run(preparation("02")[0])
            answer(cells, Written({inner_loop.index: filled(inner_loop.given.cells[inner_loop.index], OWN_LOOP)}, True))
        for number, name in CARRIED.items():
            cells, index = open_cells(number), cell_with(number, "check_inner_loop.use()")
            for needed in preparation(number):
                cells.run(needed)
            for exercise in exercises_of(number):
                answer(cells, exercise.given)
            said[number, own] = cells.run(index)
            last = cell_with(number, 'progress("')
            cells.write(last, f"print({name}.__code__.co_varnames)")
            assert ("slopes" in cells.run(last)) is own
    for number in CARRIED:
        stands_in = 'The course\'s answer to exercise "the inner loop" stands in: yours in notebook 02 is still open.'
        assert stands_in in said[number, False]
        used = 'Your own answer to exercise "the inner loop" of notebook 02 is used here.'
        assert said[number, True] == said[number, False].replace(stands_in, used)  # the same numbers
