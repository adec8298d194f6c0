"""A question in JupyterLab: answered by keyboard alone, and no key that is meant for it reaches a cell."""

import nbformat
import pytest

from tests.browser.lab import Browser, LabServer

CELLS = [
    'from course_lib.kit.question import ask\nask("Rise or fall?", ["rises", "falls"], answer="falls", key="01.steps")',
    'ask("How large?", number=0.2, unit="rad", because="So it was made.", key="01.size")',
    "x = 1",
    "from course_lib.chapters.two_loops import exercises\nexercises.check_inner_loop.reveal()",
]

pytestmark = pytest.mark.browser


def test_by_keyboard_alone(chromium, tmp_path):
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), tmp_path / "q.ipynb")
    with LabServer(tmp_path) as server, Browser(chromium) as browser:
        notebook = browser.open(server, "q.ipynb")
        notebook.run_all()
        page, keys = notebook.page, notebook.page.keyboard
        choice, number = (page.locator(".course-question").nth(i) for i in range(2))
        focused = lambda: page.evaluate("document.activeElement.textContent")

        assert choice.get_by_role("group", name="Your guess").get_by_role("radio").count() == 2
        choice.get_by_role("button", name="This is my guess").click()
        choice.get_by_role("alert").get_by_text("Choose one first").wait_for()
        choice.get_by_role("radio", name="rises").focus()
        keys.press("Space")
        keys.press("ArrowDown")
        assert choice.get_by_role("radio", name="falls").is_checked()
        for key in "xddb":  # in JupyterLab: cut, delete, a new cell
            keys.press(key)
        assert page.locator(".jp-Notebook .jp-CodeCell").count() == len(CELLS)
        keys.press("Enter")
        choice.get_by_text("The answer: falls.").wait_for()
        assert choice.get_by_role("alert").inner_text() == "You said falls: right. The answer: falls."
        assert focused() == "Guess again" and choice.get_by_role("radio", name="rises").is_disabled()

        number.get_by_role("textbox", name="a number").fill("0,3")
        number.get_by_role("button", name="This is my guess").dblclick()  # the second click does not take it back
        number.get_by_text("You said 0,3. The answer: 0.2 rad. So it was made.").wait_for()
        page.wait_for_timeout(1000)
        keys.press("Enter")  # "Guess again" has the focus
        number.get_by_role("button", name="Show me").wait_for()
        assert number.get_by_role("textbox").input_value() == "" and number.get_by_text("The answer").count() == 0
        number.get_by_role("button", name="Show me").click()
        number.get_by_text("The answer: 0.2 rad.").wait_for()

        solution = page.get_by_text("create_graph=True")
        assert solution.count() == 0  # out of sight until it is asked for
        page.get_by_role("button", name="Show a solution").click()
        solution.first.wait_for()
        page.get_by_role("button", name="Hide it").click()
        solution.first.wait_for(state="detached")
