"""The drawing demo in a real browser: five shapes drawn with the mouse, then one of them again elsewhere."""

from __future__ import annotations

import math
import os
from pathlib import Path

import nbformat
import pytest

from tests.browser.lab import Browser, LabServer

pytestmark = pytest.mark.browser
FOLDER_OF_SCREENSHOTS = os.environ.get("COURSE_SCREENSHOTS")
CELL = "from course_lib.chapters.omniglot import draw_your_own\ndemo = draw_your_own.demo()\ndemo"
CIRCLE = [(0.5 + 0.3 * math.cos(t / 3), 0.5 + 0.3 * math.sin(t / 3)) for t in range(20)]
SHAPES = {
    "circle": [CIRCLE],
    "cross": [[(0.2, 0.2), (0.8, 0.8)], [(0.8, 0.2), (0.2, 0.8)]],
    "triangle": [[(0.5, 0.2), (0.85, 0.8), (0.15, 0.8), (0.5, 0.2)]],
    "arrow": [[(0.1, 0.5), (0.9, 0.5)], [(0.6, 0.25), (0.9, 0.5), (0.6, 0.75)]],
    "zigzag": [[(0.2, 0.2), (0.8, 0.2), (0.2, 0.8), (0.8, 0.8)]],
}


@pytest.fixture(scope="module")
def demo(chromium, tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawing")
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)], metadata=kernel)
    nbformat.write(notebook, folder / "drawing.ipynb")
    with LabServer(folder) as server, Browser(chromium) as browser:
        page = browser.open(server, "drawing.ipynb")
        page.run_all()
        yield page.demos()[0]
        page.close()
        server.end_kernels()


def draw(demo, pad: str, strokes, size: float = 1.0, corner: tuple[float, float] = (0.0, 0.0)) -> None:
    """Draw with the mouse on a pad."""
    canvas = demo.box.locator(f".demo-drawing-{pad} canvas")
    canvas.scroll_into_view_if_needed()
    box, mouse = canvas.bounding_box(), demo.page.mouse
    for stroke in strokes:
        points = [
            (box["x"] + (corner[0] + size * x) * box["width"], box["y"] + (corner[1] + size * y) * box["height"])
            for x, y in stroke
        ]
        mouse.move(*points[0])
        mouse.down()
        for point in points[1:]:
            mouse.move(*point, steps=5)
        mouse.up()


def test_five_shapes_drawn_with_the_mouse_are_told_apart(demo):
    demo.box.locator(".demo-button-clear_all").click()
    demo.wait_until(lambda: "Draw characters" in demo.words)
    for number, shape in enumerate(SHAPES.values()):
        draw(demo, f"box{number + 1}", shape)
    demo.wait_until(lambda: "sixth box" in demo.words)

    places = [(0.35, (0.6, 0.1)), (1.0, (0.0, 0.0)), (0.5, (0.05, 0.45))]  # small in a corner, as before, ...
    for number, (name, shape) in enumerate(SHAPES.items()):
        draw(demo, "query", shape, *places[number % 3])
        demo.wait_until(lambda: f"this is character {number + 1}" in demo.words)
        demo.settled()
        assert f"this is character {number + 1}" in demo.words and not demo.problem, name
        if FOLDER_OF_SCREENSHOTS and name == "arrow":
            demo.box.screenshot(path=Path(FOLDER_OF_SCREENSHOTS) / "drawing.png")
        demo.box.locator(".demo-drawing-query .drawing-clear").click()
        demo.wait_until(lambda: "sixth box" in demo.words)

    draw(demo, "query", SHAPES["cross"])  # undo takes one stroke back at a time
    demo.wait_until(lambda: "this is character 2" in demo.words)
    demo.box.locator(".demo-drawing-query .drawing-undo").click(click_count=2, delay=50)
    demo.wait_until(lambda: "sixth box" in demo.words)


def test_the_pads_can_be_used_and_left_by_keyboard(demo):
    demo.box.locator(".demo-drawing-query canvas").focus()
    for key in ("Space", *["ArrowRight"] * 6, *["ArrowDown"] * 3, "Space"):
        demo.page.keyboard.press(key)
    demo.wait_until(lambda: "this is character" in demo.words)
    demo.page.keyboard.press("Tab")  # a canvas keeps the keys to itself; the pad passes this one on
    undo = demo.box.locator(".demo-drawing-query .drawing-undo")
    demo.wait_until(lambda: undo.evaluate("button => button === document.activeElement"))
    demo.page.keyboard.press("Enter")
    demo.wait_until(lambda: "sixth box" in demo.words)
    demo.box.get_by_role("button", name="other examples").press("Enter")
    demo.wait_until(lambda: "this is character" in demo.words)
