"""The game in JupyterLab: played by keys and clicks, its score kept; no key that is meant for it reaches a cell."""

import json

import nbformat
import pytest

from tests.browser.lab import Browser, LabServer

CELLS = [
    'from course_lib.kit import game\nplayed = game.play(10, key="00.game")\nplayed',
    'print("truth", played.truth)',
]

pytestmark = pytest.mark.browser


def test_by_keys_and_clicks(chromium, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "progress.json"))
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), tmp_path / "g.ipynb")
    with LabServer(tmp_path) as server, Browser(chromium, 1280, 720) as browser:
        notebook = browser.open(server, "g.ipynb")
        notebook.run_all()
        page, keys, played = notebook.page, notebook.page.keyboard, notebook.page.locator(".course-game")
        printed = page.locator(".jp-OutputArea-output").get_by_text("truth").inner_text()
        truth = json.loads(printed.removeprefix("truth "))
        status = played.get_by_role("status")

        assert status.inner_text() == "Which of the five is it? Drawing 1 of 10."
        played.get_by_role("button", name=f"It is character {truth[0] + 1}", exact=True).click()
        keys.press("9")  # no character
        keys.press(str((truth[1] + 1) % 5 + 1))
        assert status.inner_text() == "Which of the five is it? Drawing 3 of 10."
        keys.press("Backspace")
        for key in "xddb":  # in JupyterLab: cut, delete, a new cell
            keys.press(key)
        assert page.locator(".jp-Notebook .jp-CodeCell").count() == len(CELLS)
        for label in truth[1:9]:
            keys.press(str(label + 1))
        keys.press(str((truth[9] + 1) % 5 + 1))
        status.get_by_text("you: 9 of 10").wait_for()
        assert played.locator(".game-wrong", has_text="✗").count() >= 1
        page.wait_for_timeout(500)
        assert json.loads((tmp_path / "progress.json").read_text())["scores"]["00.game"]["right"] == 9

        played.get_by_role("button", name="New characters").click()
        status.get_by_text("Drawing 1 of 10").wait_for()
        played.get_by_role("button", name="Show me without playing").click()
        status.get_by_text("nearest pixels").wait_for()
        assert "you" not in status.inner_text()
