"""The site in a real Chromium, opened from its folder: every recorded control moved, nothing else asked for.

The network and the wave that run in the page are held against PyTorch here.
"""

from __future__ import annotations

import gzip
import os
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from course_lib import checkpoints
from course_lib.chapters.omniglot.draw_your_own import PADS, example, recognise, seen
from course_lib.commands import site
from course_lib.inner_loop import adapt, predict, stack_params
from course_lib.kit import two_parameters as plane
from course_lib.kit.characters import episode
from course_lib.kit.site.home import RATE
from course_lib.losses import mse
from tests.browser.chapters import IDLE

pytestmark = pytest.mark.browser
CHAPTERS = ("04",)  # little to record, and controls of every kind
LIMIT = 300_000  # bytes of a demo, packed
FOLDER_OF_SCREENSHOTS = os.environ.get("COURSE_SCREENSHOTS")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("site")
    assert site.main([str(out), "--jobs", "1", "--only", *CHAPTERS]) == 0
    return out


def test_every_recording_is_light(folder):
    packed = {path.stem: len(gzip.compress(path.read_bytes())) for path in (folder / "assets/demos").glob("*.js")}
    assert len(packed) > 3 and max(packed.values()) < LIMIT, packed


@pytest.fixture
def open_page(browser, folder):
    """``open_page(name)``; what the page complains of or asks for outside its folder fails the test."""
    said, pages = [], []

    def open_page(name: str, **options):
        page = browser.chromium.new_page(**{"viewport": {"width": 1280, "height": 800}} | options)
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        own = f"file://{folder}/", "data:"
        page.on("request", lambda request: None if request.url.startswith(own) else said.append(request.url))
        page.on("requestfailed", lambda request: said.append(f"failed: {request.url}"))
        page.goto(f"file://{folder}/{name}")
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert said == []


MOVE_ALL = """async place => {
    const moved = {}, svg = place.querySelector("svg.demo-picture");
    for (const control of place.querySelectorAll(".demo-control")) {
        const seen = new Set([svg.outerHTML]), range = control.querySelector("input[type=range]");
        const look = async (pause = 30) => {
            await new Promise(done => setTimeout(done, pause));
            seen.add(svg.outerHTML);
        };
        for (let at = 0; range && at <= +range.max; at++) {
            range.value = at;
            range.dispatchEvent(new Event("input"));
            await look();
        }
        for (const input of control.querySelectorAll("input[type=radio], input[type=checkbox]")) {
            input.click();
            await look();
        }
        if (control.matches("button")) { control.click(); await look(300); }
        place.querySelector(".demo-reset").click();
        await look();
        moved[control.className] = seen.size;
    }
    return moved;
}"""


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_recorded_control_moves_its_picture(open_page, folder, chapter):
    (path,) = folder.glob(f"{chapter}_*.html")
    page = open_page(path.name)
    page.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
    places = page.locator("[data-demo]")
    assert places.count() >= 3
    for place in places.all():
        place.scroll_into_view_if_needed()
        place.locator(".demo-controls").wait_for()
        before = place.locator("svg.demo-picture").inner_html()
        title, moved = place.locator(".demo-title").inner_text(), place.evaluate(MOVE_ALL)
        still = {name for name, pictures in moved.items() if pictures == 1}
        assert moved and all((title, name.split("-")[-1]) in IDLE for name in still), moved
        assert place.locator("svg.demo-picture").inner_html() == before  # after the last reset
        if FOLDER_OF_SCREENSHOTS:
            place.screenshot(path=f"{FOLDER_OF_SCREENSHOTS}/site_{place.get_attribute('data-demo')}.png")


def test_a_link_opens_a_demo_where_it_says(open_page):
    page = open_page("04_task_heads.html#task_visits")
    place = page.locator("#task_visits")
    place.locator(".demo-controls").wait_for()
    slider = place.locator("input[type=range]").first
    slider.focus()
    page.keyboard.press("End")
    page.wait_for_function("location.hash.includes('?')")
    words, link = place.locator("svg.demo-picture").get_attribute("aria-label"), page.url
    other = open_page(link.rpartition("/")[2])
    other.locator("#task_visits .demo-controls").wait_for()
    assert other.locator("#task_visits svg.demo-picture").get_attribute("aria-label") == words


def test_a_stray_percent_in_a_link_harms_nothing(open_page):
    page = open_page("04_task_heads.html#task_visits?x=100%")
    page.locator("#task_visits .demo-controls").wait_for()
    page.evaluate("location.hash = 'task_visits?x=50%'")
    page.locator("form.question .skip").first.click()
    assert page.locator("form.question[data-revealed]").count() == 1


def test_a_chapter_fits_a_phone_and_its_guesses_show_their_formulas(open_page, folder):
    (path,) = folder.glob(f"{CHAPTERS[0]}_*.html")
    page = open_page(path.name, viewport={"width": 390, "height": 800})
    page.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
    for form in page.locator("form.question").all():
        form.locator(".skip").click()
    guesses = page.locator(".guesses")
    assert guesses.locator("tr").count() == 1 + page.locator("form.question").count() > 1
    assert "$" not in guesses.inner_text() and "**" not in guesses.inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_ids_headings_and_choices_serve_a_screen_reader(open_page, folder):
    (path,) = folder.glob(f"{CHAPTERS[0]}_*.html")
    page = open_page(path.name)
    names = page.locator("[id]").evaluate_all("all => all.map(element => element.id)")
    assert len(names) == len(set(names))  # two clips of one name: the first is taken, folded away or not
    page.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
    levels = page.locator("h1, h2, h3, h4").evaluate_all("all => all.map(heading => +heading.tagName[1])")
    assert levels[0] == 1 and all(below <= above + 1 for above, below in pairwise(levels))
    assert page.get_by_role("radio", name="the amplitude a").is_visible()


def test_search_dark_and_phone(open_page):
    page = open_page("index.html", viewport={"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("#search").fill("support")
    assert page.locator("#found a").count() > 0
    page.locator("#theme").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 23, 26)"
    page.emulate_media(media="print")  # on white paper, whatever the screen shows
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    filters = "places => places.map(place => getComputedStyle(place).filter)"
    assert set(page.locator(".course-demo, .code, img").evaluate_all(filters)) == {"none"}


def test_the_network_in_the_page_says_what_pytorch_says(open_page):
    page = open_page("index.html")
    page.locator(".pads-said", has_text="The network says").wait_for()
    model, learner, _ = checkpoints.load("omniglot/r2d2")
    for seed in range(3):
        task = episode(5, 1, 3, seed)
        with torch.no_grad():
            adapted = learner.adapt(model.eval(), task.support_x, task.support_y)
            expected = predict(model, adapted, task.query_x)[0].softmax(-1)  # [Q, W]
        support = task.support_x[0][task.support_y[0].argsort()].flatten(1).tolist()
        queries = task.query_x[0].flatten(1).tolist()
        say = "([support, queries]) => queries.map(query => recognised(support, query))"
        found = page.evaluate(say, [support, queries])
        assert torch.allclose(torch.tensor(found), expected, rtol=0, atol=1e-4)


def test_drawings_are_seen_and_named_as_in_the_notebook(open_page):
    page = open_page("index.html")
    page.locator(".pads-said", has_text="The network says").wait_for()
    for seed in range(2):
        drawn = example(seed)
        for strokes in drawn.values():
            found = torch.tensor(page.evaluate("strokes => [...seen(strokes)]", strokes)).view(1, 28, 28)
            assert (found - seen(strokes)).abs().mean() < 1e-3
        support, query = [drawn[pad] for pad in PADS[:-1]], drawn["query"]
        found = page.evaluate("([support, query]) => recognised(support.map(seen), seen(query))", [support, query])
        assert torch.allclose(torch.tensor(found), recognise(support, query), atol=1e-3)


def test_five_shapes_drawn_by_hand_are_told_apart(open_page):
    from tests.browser.test_widgets import SHAPES

    page = open_page("index.html")
    page.locator(".pads-clear").click()
    for pad, shape in zip(page.locator(".pads canvas[tabindex]").all(), [*SHAPES.values(), SHAPES["triangle"]]):
        pad.scroll_into_view_if_needed()
        box = pad.bounding_box()
        for stroke in shape:
            for number, (x, y) in enumerate(stroke):
                page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=3)
                page.mouse.down() if number == 0 else None
            page.mouse.up()
    page.locator(".pads-said", has_text="The network says: character 3.").wait_for()


def test_the_waves_inner_loop_is_the_librarys(open_page):
    page = open_page("index.html")
    batch = plane.sample(3, seed=5)
    model = plane.wave()
    for steps in (1, 4):
        adapted = adapt(
            model, stack_params(model, 3), batch.support_x, batch.support_y, loss_fn=mse, steps=steps, lr=RATE
        )
        expected = plane.point(adapted)  # [T, 2]
        data = [batch.support_x[..., 0].tolist(), batch.support_y[..., 0].tolist(), list(plane.START), RATE, steps]
        walk = "([xs, ys, theta, rate, k]) => xs.map((x, i) => wavePath(theta, x, ys[i], rate, k)[k])"
        found = page.evaluate(walk, data)
        assert torch.allclose(torch.tensor(found, dtype=torch.float64), expected, atol=1e-9)


def test_theta_is_dragged_and_the_game_is_played(open_page):
    page = open_page("index.html")
    before = page.locator(".wave").get_attribute("aria-label")
    handle = page.locator(".wave-handle")
    handle.focus()
    page.keyboard.press("ArrowRight")
    assert page.locator(".wave").get_attribute("aria-label") != before
    game = page.locator(".course-game")
    for _ in range(10):
        game.locator(".game-choice").first.click()
    assert "nearest pixels:" in game.locator(".game-status").inner_text()
