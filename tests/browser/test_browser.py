"""Demos in a real JupyterLab in a real Chromium: the kit's own, and every demo of every notebook.

One server and one browser for all; each notebook is run once and its kernel ended. With
COURSE_SCREENSHOTS=FOLDER set, a picture of every demo as its controls were left goes into that folder, to be
looked at.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nbformat
import pytest

from tests.browser.lab import ROOT, Browser, LabServer

pytestmark = pytest.mark.browser
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FOLDER_OF_SCREENSHOTS = os.environ.get("COURSE_SCREENSHOTS")
CUT_OFF = "all => all.filter(e => e.scrollWidth > e.clientWidth).map(e => e.textContent)"
CELLS = [
    "from tests.browser import sine_demo\ndemo = sine_demo.make()\ndemo",
    """from course_lib.kit.demo import Demo, Slider
fragile = Demo("Fragile", [Slider("level", 0, 3, 0)],
               lambda values: {"y": float("nan") if values.level == 1 else 1 / (2 - values.level)},
               lambda fig: fig.subplots().plot([], []),
               lambda lines, data: lines[0].set_data([0, 1], [0, data["y"]]),
               lambda data: f"y is {data['y']}",
               size=(3, 2), hint="Go back to 0.")
fragile""",
]


@pytest.fixture(scope="module")
def lab(chromium, tmp_path_factory):
    """(server, browser) on a copy of the notebooks, and one notebook with the kit's own demos."""
    folder = tmp_path_factory.mktemp("notebooks")
    shutil.copytree(ROOT / "notebooks", folder, dirs_exist_ok=True)
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / "kit.ipynb")
    with LabServer(folder) as server, Browser(chromium) as browser:
        yield server, browser


@pytest.fixture
def open_notebook(lab):
    server, browser = lab
    opened = []

    def open_and_run(path):
        opened.append(browser.open(server, path))
        opened[-1].run_all()
        return opened[-1]

    yield open_and_run
    for notebook in opened:
        notebook.close()
    server.end_kernels()


def test_the_kit_in_a_browser(open_notebook):
    notebook = open_notebook("kit.ipynb")
    demo, fragile = notebook.demos()
    page = notebook.page
    first = demo.picture()

    for control in demo.controls():  # by keyboard
        demo.move(control)

    demo.box.get_by_role("button", name="reset").press("Enter")  # everything back where it was
    demo.wait_until(lambda: demo.picture() == first)
    assert demo.control("slider", "steps").locator(".widget-readout").inner_text() == "10"

    slider = demo.control("slider", "steps")  # by mouse: a fast drag ends on its last value
    demo.drag(slider, to=1.0)
    assert slider.locator(".widget-readout").inner_text() == "50"
    demo.wait_until(lambda: demo.caption.startswith("After 50 gradient steps"))
    assert page.get_by_role("img", name=demo.caption).count() == 1  # what a screen reader says

    before = demo.wait_until_steady()  # a run, frame by frame, to its end
    demo.control("run", "run").click()
    demo.wait_for_change(before)
    demo.wait_until(lambda: demo.caption.startswith("After 200 gradient steps"))

    width = demo.img.evaluate("img => img.naturalWidth")  # large print
    demo.box.get_by_label("large print").press("Space")
    demo.wait_until(lambda: demo.img.evaluate("img => img.naturalWidth") == round(1.3 * width))

    assert not demo.problem and not fragile.problem  # errors in words, and the way back
    whole = fragile.picture()
    fragile.control("slider", "level").locator(".noUi-handle").press("ArrowRight")
    fragile.wait_until(lambda: "not a finite number: y" in fragile.problem)
    assert "Go back to 0." in fragile.problem and fragile.picture() == whole
    fragile.control("slider", "level").locator(".noUi-handle").press("ArrowRight")
    fragile.wait_until(lambda: "ZeroDivisionError" in fragile.problem)
    if FOLDER_OF_SCREENSHOTS:
        page.screenshot(path=Path(FOLDER_OF_SCREENSHOTS) / "kit_error.png")
    fragile.box.get_by_role("button", name="reset").click()
    fragile.wait_until(lambda: not fragile.problem)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_control_of_every_demo_of_a_notebook_changes_its_picture(open_notebook, path: Path):
    notebook = open_notebook(path.name)
    for number, demo in enumerate(notebook.demos()):
        assert demo.caption and not demo.problem
        assert demo.box.locator(".widget-label, .jupyter-button").evaluate_all(CUT_OFF) == []
        default = demo.wait_until_steady()
        for control in demo.controls():
            demo.move(control, default)
            default = demo.reset(default)
        if FOLDER_OF_SCREENSHOTS:
            demo.box.screenshot(path=Path(FOLDER_OF_SCREENSHOTS) / f"{path.stem}_{number}.png")


def test_every_slider_of_notebook_01_follows_the_mouse(open_notebook):
    for number, demo in enumerate(open_notebook("01_adapting_at_test_time.ipynb").demos()):
        default = demo.wait_until_steady()
        for slider in filter(demo.is_slider, demo.controls()):
            readout = slider.locator(".widget-readout")
            before = readout.inner_text()
            demo.drag(slider, to=0.25)
            demo.wait_for_change(default)
            assert demo.wait_until_steady() != default and not demo.problem
            assert readout.inner_text() != before
            if FOLDER_OF_SCREENSHOTS:
                name = slider.get_attribute("class").split("demo-slider-")[1].split()[0]
                demo.box.screenshot(path=Path(FOLDER_OF_SCREENSHOTS) / f"01_{number}_dragged_{name}.png")
            default = demo.reset(default)
