"""The kit's own demos in a real JupyterLab in a real Chromium, in one notebook that is run once."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from tests.browser.lab import FOLDER_OF_SCREENSHOTS, NotebookPage

pytestmark = pytest.mark.browser
CELLS = [
    "from tests.browser import sine_demo\ndemo = sine_demo.make()\ndemo",
    """from course_lib.kit.demo import Demo, Slider
def compute(values):
    return {"y": float("nan") if values.level == 1 else 1 / (2 - values.level)}
def picture(fig, show):
    show.line(fig.subplots(), [0, 1], lambda d: [0, d.y])
fragile = Demo("Fragile", [Slider("level", 0, 3, 0)], compute, picture, lambda d: f"y is {d.y}", size=(3, 2),
               hint="Go back to 0.")
fragile""",
    """from tests.kit.test_panel import touchable
touch = touchable()
touch""",
]


def test_the_kit_in_a_browser(notebook):
    demo, fragile, _ = notebook.demos()
    page, first = notebook.page, demo.settled(pause=1.0)

    for control in demo.controls():  # by keyboard
        demo.move(control)
        assert demo.reset() == first  # everything back where it was

    slider = demo.control("slider", "steps")  # by mouse: a fast drag ends on its last value
    demo.drag(slider, to=1.0)
    assert slider.locator("output").inner_text() == "50"
    demo.wait_until(lambda: demo.words.startswith("After 50 gradient steps"))
    demo.wait_until(lambda: demo.box.locator(".demo-caption").inner_text() == demo.words)

    demo.reset()
    slider.evaluate("""control => { const range = control.querySelector("input");
        for (const to of [20, 30, 40]) { range.value = to; range.dispatchEvent(new Event("input")); }
        control.closest(".course-demo").querySelector(".demo-reset").click(); }""")
    assert demo.settled() == first  # moves that waited for an answer do not come after what was done later

    demo.button("large print").click()  # and back
    assert demo.settled() != first
    demo.button("large print").click()
    demo.wait_until(lambda: demo.picture() == first)  # the room is measured once the words have come
    demo.button("large print").dblclick()  # there and back before an answer
    assert demo.settled() == first

    demo.control("run", "run").click()  # frame by frame, to its end
    demo.wait_until(lambda: demo.words.startswith("After 200 gradient steps"))

    demo.button("one point only").click()  # a view
    demo.wait_until(lambda: demo.control("slider", "shots").locator("output").inner_text() == "1")
    assert demo.button("one point only").get_attribute("aria-pressed") == "true"

    demo.reset()
    slider.evaluate("""control => { const output = control.querySelector("output"); window.passed = [];
        new MutationObserver(() => passed.push(output.textContent)).observe(output, {childList: true}); }""")
    demo.button("play").click()  # to its end, to its start and back
    demo.wait_until(lambda: demo.button("play").get_attribute("aria-pressed") == "false", patience=60.0)
    assert demo.settled() == first and slider.locator("output").inner_text() == "10"
    assert {"0", "50"} <= set(page.evaluate("passed"))

    assert not demo.problem and not fragile.problem  # errors in words, and the way back
    whole = fragile.settled()
    fragile.control("slider", "level").locator("input").press("ArrowRight")
    fragile.wait_until(lambda: "not a finite number: y" in fragile.problem)
    assert "Go back to 0." in fragile.problem and fragile.picture() == whole
    fragile.control("slider", "level").locator("input").press("ArrowRight")
    fragile.wait_until(lambda: "ZeroDivisionError" in fragile.problem)
    if FOLDER_OF_SCREENSHOTS:
        page.screenshot(path=Path(FOLDER_OF_SCREENSHOTS) / "kit_error.png")
    fragile.box.get_by_role("button", name="reset").click()
    fragile.wait_until(lambda: not fragile.problem)


def test_a_screen_reader_gets_names_values_and_the_picture_and_no_key_deletes_a_cell(notebook):
    demo, page = notebook.demos()[0], notebook.page
    demo.reset()
    slider = page.get_by_role("slider", name="rate", exact=True)
    assert slider.get_attribute("aria-valuetext") == "0.1"
    assert page.get_by_role("group", name="A sine wave from a few points").count() == 1
    assert page.get_by_role("radio", name="all ones").count() == 1
    assert page.get_by_role("img", name=demo.words).count() == 1
    assert demo.box.locator("[title]:not([title=''])").count() == 0  # no tooltip over the figure
    cells = page.locator(".jp-Cell").count()
    slider.focus()
    for key in "xddabm":
        page.keyboard.press(key)
    assert page.locator(".jp-Cell").count() == cells == len(CELLS)
    size = page.get_by_role("slider", name="rate", exact=True).bounding_box()
    assert size["height"] >= 24


def test_two_demos_with_the_same_controls_keep_names_and_choices_of_their_own(notebook):
    page = notebook.page
    notebook.demos()[0].reset()
    with notebook.cell_below(CELLS[0]):
        page.locator(".course-demo img.demo-picture").nth(len(CELLS)).wait_for()
        assert page.get_by_role("slider", name="rate", exact=True).count() == 2
        for name, checked in (("zero", 2), ("all ones", 0)):
            assert page.get_by_role("radio", name=name, checked=True).count() == checked


def test_points_of_a_picture_follow_mouse_finger_and_keys(notebook):
    demo, mouse = notebook.demos()[2], notebook.page.mouse
    demo.settled()
    handle = demo.box.get_by_role("button", name="theta")
    handle.scroll_into_view_if_needed()
    box, image = handle.bounding_box(), demo.img.bounding_box()
    mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    mouse.down()
    mouse.move(image["x"] + 0.6 * image["width"], image["y"] + 0.4 * image["height"], steps=10)
    mouse.up()
    demo.settled()
    moved = handle.bounding_box()
    assert abs(moved["x"] + moved["width"] / 2 - image["x"] - 0.6 * image["width"]) < 2
    assert demo.words != "theta at (3.0, 4.0)"
    before = demo.words
    handle.focus()
    notebook.page.keyboard.press("ArrowLeft")
    demo.wait_until(lambda: demo.words != before)
    slider = demo.control("slider", "a").locator("output")
    touch = [{"x": image["x"] + part * image["width"], "y": image["y"] + 0.5 * image["height"]} for part in (0.3, 0.8)]
    start = demo.box.get_by_role("button", name="('a', None)").bounding_box()
    finger = notebook.page.context.new_cdp_session(notebook.page)
    at = {"x": start["x"] + 15, "y": start["y"] + 15}
    for kind, points in (("touchStart", [at]), *(("touchMove", [t]) for t in touch), ("touchEnd", [])):
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    demo.wait_until(lambda: float(slider.inner_text()) > 7)
    marks = demo.box.locator(".demo-handle").count()
    demo.img.click(position={"x": 0.5 * image["width"], "y": 0.3 * image["height"]})  # sets a point
    demo.wait_until(lambda: demo.box.locator(".demo-handle").count() == marks + 1)
    new = demo.box.get_by_role("button", name="points").last
    new.click(button="right")  # opens JupyterLab's menu, no more
    notebook.page.keyboard.press("Escape")
    demo.settled()
    assert demo.box.locator(".demo-handle").count() == marks + 1
    new.press("Delete")  # takes it away, and goes to one that is left
    demo.wait_until(lambda: demo.box.locator(".demo-handle").count() == marks)
    assert demo.box.locator(".demo-handle:focus").count() == 1
    demo.img.click(position={"x": 0.5 * image["width"], "y": 0.3 * image["height"]})
    demo.wait_until(lambda: demo.box.locator(".demo-handle").count() == marks + 1)
    spot = new.bounding_box()
    mouse.move(spot["x"] + 15, spot["y"] + 15)  # as does a click of a hand that trembles
    mouse.down()
    mouse.move(spot["x"] + 17, spot["y"] + 16)
    mouse.up()
    demo.wait_until(lambda: demo.box.locator(".demo-handle").count() == marks)


def test_keys_are_the_sliders_where_the_notebook_hears_them_first(notebook):
    """As in Notebook 7, whose shortcuts are heard on the way down to what has the focus."""
    page, demo = notebook.page, notebook.demos()[0]
    cells = page.locator(".jp-Notebook .jp-CodeCell").count()
    listen = """first => {
        document.removeEventListener("keydown", jupyterapp, !first);
        document.addEventListener("keydown", jupyterapp, first); }"""
    page.evaluate(listen, True)
    try:
        demo.move(demo.control("slider", "steps"))
        for key in "xddb":  # else they cut, delete and insert cells
            page.keyboard.press(key)
        assert page.locator(".jp-Notebook .jp-CodeCell").count() == cells
    finally:
        page.evaluate(listen, False)


def test_a_slider_answers_while_a_cell_runs(notebook):
    with notebook.cell_below(CELLS[0]), notebook.cell_below("import time\ntime.sleep(60)"):
        notebook.page.locator(".course-demo img.demo-picture").nth(len(CELLS)).wait_for()
        demo = notebook.demos()[-1]
        demo.control("slider", "steps").locator("input").press("End")
        demo.wait_until(lambda: demo.words.startswith("After 50 gradient steps"))
        assert notebook.page.locator(".jp-InputPrompt", has_text="[*]").count() == 1


def test_a_notebook_that_was_saved_and_closed_shows_its_pictures_again_without_a_kernel(notebook, server, browser):
    demo = notebook.demos()[0]
    demo.move(demo.control("slider", "steps"))
    kept, words = demo.picture(), demo.words
    notebook.page.evaluate("jupyterapp.commands.execute('docmanager:save')")
    notebook.close()
    server.end_kernels()
    page = browser.open(server, "test_browser.ipynb")
    pictures = page.page.locator(".course-demo img.demo-picture")
    try:
        pictures.nth(2).wait_for()
    except PlaywrightTimeout:  # what ipywidgets asks a kernel that is starting may be lost, and it waits in vain
        page.page.reload()
        page = NotebookPage(page.page)
        pictures.nth(2).wait_for()
    again = page.demos()
    assert again[0].picture() == kept and again[0].words == words
    again[0].control("slider", "steps").locator("input").press("ArrowRight")
    again[0].wait_until(lambda: "has to be run again" in again[0].box.inner_text())
    assert page.page.get_by_text("Error displaying widget").count() == 0
