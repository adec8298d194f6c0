"""Questions, the game and the drawing pads in JupyterLab, by keys and mouse; no key meant for them reaches a cell.

They share one notebook, which is run once, since JupyterLab is long in loading and a kernel in starting.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import pytest

from tests.browser.lab import FOLDER_OF_SCREENSHOTS

pytestmark = pytest.mark.browser
KEPT = 'import os\nos.environ["COURSE_PROGRESS"] = "progress.json"'
QUESTIONS = [
    "from course_lib.kit.question import ask",
    'ask("Rise or fall?", ["rises", "falls", r"stays at $\\alpha$"], answer="falls", key="01.steps")',
    'ask("How large?", number=0.2, unit="rad", because="So it was made.", key="01.size")',
    "x = 1",
    "from course_lib.chapters.two_loops import exercises\nexercises.check_inner_loop.reveal()",
]
GAME = [
    'from course_lib.kit import game\nplayed = game.play(10, key="00.game")\nplayed',
    'print("truth", played.truth)',
]
DRAWING = "from course_lib.chapters.omniglot import draw_your_own\ndemo = draw_your_own.demo()\ndemo"
CELLS = [KEPT, *QUESTIONS, *GAME, DRAWING]
CIRCLE = [(0.5 + 0.3 * math.cos(t / 3), 0.5 + 0.3 * math.sin(t / 3)) for t in range(20)]
SHAPES = {
    "circle": [CIRCLE],
    "cross": [[(0.2, 0.2), (0.8, 0.8)], [(0.8, 0.2), (0.2, 0.8)]],
    "triangle": [[(0.5, 0.2), (0.85, 0.8), (0.15, 0.8), (0.5, 0.2)]],
    "arrow": [[(0.1, 0.5), (0.9, 0.5)], [(0.6, 0.25), (0.9, 0.5), (0.6, 0.75)]],
    "zigzag": [[(0.2, 0.2), (0.8, 0.2), (0.2, 0.8), (0.8, 0.8)]],
}


@pytest.fixture
def demo(notebook):
    return notebook.demos()[0]


def test_a_question_by_keyboard_alone(notebook):
    page, keys = notebook.page, notebook.page.keyboard
    choice, number = (page.locator(".course-question").nth(i) for i in range(2))
    focused = lambda: page.evaluate("document.activeElement.textContent")

    assert choice.get_by_role("group", name="Your guess").get_by_role("radio").count() == 3
    assert choice.get_by_role("radio", name="stays at α").is_visible() and choice.locator("math").text_content() == "α"
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


def test_the_game_by_keys_and_clicks(server, notebook):
    page = notebook.page
    keys, played = page.keyboard, page.locator(".course-game")
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
    keys.press("Tab")  # to the first character
    for label in truth[1:9]:
        keys.press(str(label + 1))
    keys.press(str((truth[9] + 1) % 5 + 1))
    status.get_by_text("you: 9 of 10").wait_for()
    assert played.locator(".game-wrong", has_text="✗").count() >= 1
    deadline = time.monotonic() + 20
    while "00.game" not in (scores := json.loads((server.folder / "progress.json").read_text()).get("scores", {})):
        assert time.monotonic() < deadline, "the score is not kept"
        page.wait_for_timeout(50)
    assert scores["00.game"]["right"] == 9

    played.get_by_role("button", name="New characters").click()
    status.get_by_text("Drawing 1 of 10").wait_for()
    keys.press("1")
    keys.press("2")
    assert status.inner_text() == "Which of the five is it? Drawing 3 of 10."
    played.get_by_role("button", name="Show me without playing").click()
    status.get_by_text("nearest pixels").wait_for()
    assert "you" not in status.inner_text()


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
            mouse.move(*point, steps=2)
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


def test_the_picture_comes_to_rest_on_a_screen_of_two_pixels_a_point(demo):
    """With heights rounded it had become a hair wider, smaller, wider, and so on, and no demo of the page answered."""
    screen = demo.page.context.new_cdp_session(demo.page)
    for ratio in (2, 1.5, 1):
        metrics = {"width": 1280, "height": 720, "deviceScaleFactor": ratio, "mobile": False}
        screen.send("Emulation.setDeviceMetricsOverride", metrics)
        demo.settled(pause=1.0, patience=20.0)
    screen.send("Emulation.clearDeviceMetricsOverride")


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
