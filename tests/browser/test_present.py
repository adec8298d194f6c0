"""The lecture hall's page in a real browser: reveal and next, views, keys, links, and a process that is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from playwright.sync_api import Page, expect

from course_lib.kit import front, links
from tests.browser.lab import ROOT
from tests.kit.test_links import READ, every_kind

pytestmark = pytest.mark.browser
expect.set_options(timeout=30_000)
FOLDER_OF_SCREENSHOTS = os.environ.get("COURSE_SCREENSHOTS")


@pytest.fixture(scope="module")
def server():
    command = [sys.executable, "-m", "course_lib", "present", "--no-browser", "--port", "0", "--chapter", "01"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    yield process, next(line.strip() for line in process.stdout if "http" in line)
    process.terminate()
    assert process.wait(20) == 0


@pytest.fixture
def page(browser, server):
    context = browser.chromium.new_context(viewport={"width": 1280, "height": 720})
    page, problems = context.new_page(), []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "console", lambda said: problems.append(said.text) if said.type == "error" and "socket" not in said.text else 0
    )
    for _ in range(100):  # the server is on its way
        try:
            page.goto(server[1])
            break
        except Exception:
            time.sleep(0.1)
    settled(page)
    yield page
    assert problems == []
    context.close()


def settled(page: Page, patience: float = 60.0) -> None:
    """Wait for the demo on show, drawn at the size of its room, and for an answer to everything that was done."""
    deadline = time.monotonic() + patience
    while missing := page.evaluate("""() => {
        const room = document.querySelector("#demo"), img = room.querySelector("img.demo-picture");
        const scroll = room.querySelector(".demo-scroll");
        if (room.dataset.slide !== String(slide)) return `slide ${slide}, on show ${room.dataset.slide}`;
        if (room.dataset.pending !== "false") return "an answer";
        const [has, place] = [[img.naturalWidth, img.naturalHeight], [scroll.clientWidth, scroll.clientHeight]];
        const fits = img.complete && has.every((size, i) => Math.abs(size - place[i]) < 2);
        return fits ? "" : `a picture of ${place}, not ${has}`; }"""):
        assert time.monotonic() < deadline, f"{page.url} waits for {missing}: {page.locator('body').inner_text()}"
        time.sleep(0.05)


def words(page: Page) -> str:
    return page.locator("img.demo-picture").get_attribute("alt")


def test_two_keys_walk_through_questions_and_pictures(page):
    question = page.locator("#question")
    shown = page.evaluate("LISTING.map(each => Boolean(each.question))")
    assert len(shown) >= 3 and any(shown)
    for number, has_question in enumerate(shown):
        settled(page)
        if has_question:
            expect(question).to_be_visible()
            page.keyboard.press("PageDown")
        expect(question).to_be_hidden()
        assert page.evaluate("at") == number
        inside = page.evaluate(
            "[document.body.scrollHeight, document.querySelector('#demo').getBoundingClientRect().bottom]"
        )
        assert max(inside) <= 720
        if FOLDER_OF_SCREENSHOTS:
            page.screenshot(path=Path(FOLDER_OF_SCREENSHOTS) / f"present_{number}.png")
        page.keyboard.press("PageDown")
    assert page.evaluate("at") == len(shown) - 1  # after the last there is nothing
    for _ in range(2 * len(shown)):
        page.keyboard.press("PageUp")
    assert page.evaluate("at") == 0


def test_values_are_in_the_address_and_survive_reload_and_a_killed_process(page, server):
    address = urlsplit(page.url)._replace(query="demo=adapting&steps=7&inner_lr=0.02&hide=phase&stepz=1").geturl()
    page.goto(address)
    settled(page)
    expect(page.locator("#said")).to_contain_text("no control stepz")
    expect(page.locator(".demo-slider-phase")).to_be_hidden()
    slider = page.locator(".demo-slider-steps input")
    slider.focus()
    page.keyboard.press("ArrowRight")
    settled(page)
    assert "k = 8" in words(page)
    page.wait_for_url("**/?demo=adapting-2&steps=8&inner_lr=0.02&hide=phase")
    page.reload()
    settled(page)
    assert "k = 8" in words(page)

    (worker,) = psutil.Process(server[0].pid).children()
    asked, began = page.evaluate("slide"), time.monotonic()
    os.kill(worker.pid, signal.SIGKILL)
    page.keyboard.press("PageUp")  # the page goes on meanwhile
    page.keyboard.press("PageDown")
    while page.evaluate("slide") == asked:
        assert time.monotonic() - began < 20, "the page has found no new process"
        time.sleep(0.05)
    settled(page)
    assert "k = 8" in words(page)
    page.locator(".demo-slider-steps input").press("ArrowRight")
    settled(page)
    assert "k = 9" in words(page)


def test_views_tools_and_notes_are_a_key_away(page):
    page.goto(urlsplit(page.url)._replace(query="demo=adapting&steps=7").geturl())
    settled(page)
    first = words(page)
    page.keyboard.press("2")
    settled(page)
    assert words(page) != first
    expect(page.locator(".demo-view[aria-pressed=true]")).to_have_count(1)
    page.keyboard.press("r")
    settled(page)
    page.locator(".demo-slider-steps input").focus()
    page.keyboard.press("l")  # keys are the page's wherever the focus is
    settled(page)
    expect(page.locator("#demo.demo-large")).to_be_visible()
    page.keyboard.press("l")
    for key, selector in {
        "b": "#blank",
        ".": "#blank",
        "p": "#pointer",
        "d": "#ink",
        "h": "#help",
        "i": "#list",
    }.items():
        page.keyboard.press(key)
        expect(page.locator(selector)).to_be_visible()
        page.keyboard.press(key)
        expect(page.locator(selector)).to_be_hidden()
    page.keyboard.press("h")
    page.keyboard.press("i")
    expect(page.locator("dialog[open]")).to_have_id("list")
    page.keyboard.press("PageUp")
    expect(page.locator("dialog[open]")).to_have_count(0)
    page.keyboard.press("PageDown")
    settled(page)
    with page.context.expect_page() as opened:
        page.keyboard.press("n")
    notes = opened.value
    expect(notes.locator("body")).to_contain_text("What to see")
    before = page.evaluate("at")
    notes.keyboard.press("PageDown")
    notes.keyboard.press("PageDown")
    deadline = time.monotonic() + 20
    while page.evaluate("at") == before:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    notes.close()
    with page.context.expect_page() as opened:
        page.keyboard.press("t")
    guide = opened.value
    guide.get_by_role("link", name="too large a step").first.click()
    guide.wait_for_url("**/?demo=*")
    settled(guide)
    assert "inner_lr=0.1" in guide.url and "hide" not in guide.url
    guide.close()
    settled(page)
    for key, start in {"s": b"\x89PNG", "v": b"<?xml"}.items():
        with page.expect_download() as saved:
            page.keyboard.press(key)
        assert Path(saved.value.path()).read_bytes().startswith(start)


def test_a_demo_that_is_slow_to_come_is_named(page):
    page.evaluate("window.asks = ask; ask = () => {}; go(1, true)")
    expect(page.locator("#demo")).to_contain_text("is being drawn")
    if FOLDER_OF_SCREENSHOTS:
        page.screenshot(path=Path(FOLDER_OF_SCREENSHOTS) / "present_slow.png")
    page.evaluate("ask = asks; ask()")
    settled(page)
    assert "is being drawn" not in page.locator("#demo").inner_text()


def test_the_buttons_of_pads_fit_in_both_prints(page):
    page.goto(urlsplit(page.url)._replace(query="demo=draw_your_own").geturl())
    settled(page)
    wide = "rows => rows.map(row => row.scrollWidth - row.clientWidth)"
    for _ in range(2):
        for width, height in ((1280, 720), (1920, 1080), (1024, 768)):
            page.set_viewport_size({"width": width, "height": height})
            settled(page)
            assert page.locator(".demo-drawing .demo-buttons").evaluate_all(wide) == [0] * 6, (width, height)
        page.keyboard.press("l")
        settled(page)


def test_the_page_reads_and_writes_links_as_python_does(browser):
    demo = every_kind(preset={"steps": 3})
    demo.picture = None
    declaration = {
        "controls": [control.describe() for control in demo.controls.values()],
        "start": {n: c.place(demo.start[n]) for n, c in demo.controls.items() if n != "train"},
        "hidden": [],
    }
    page = browser.chromium.new_page()
    page.add_script_tag(content=front.script())
    page.evaluate("d => { window.declaration = d; }", declaration)
    for query in READ:
        found = links.read(query, demo)
        told = page.evaluate("query => readLink(query.replace(/^\\?/, ''), declaration)", query)
        assert (told["said"], told["hidden"]) == (found.said, found.hidden), query
        assert told["at"].keys() == found.values.keys(), query
        places = {name: demo.controls[name].place(value) for name, value in found.values.items()}
        exact = {name for name in places if name not in ("theta", "support")}  # Python moves points into their range
        assert {name: told["at"][name] for name in exact} == {name: places[name] for name in exact}, query
        again = every_kind(preset={"steps": 3})
        again.accept(found.values)
        at = {n: c.place(again.values[n]) for n, c in again.controls.items() if n != "train"}
        snapped = all(again.values[n] in c.notches() for n, c in again.controls.items() if n in ("inner_lr", "phase"))
        if snapped:  # the page knows notches alone
            assert page.evaluate("at => writeLink(declaration, at)", json.loads(json.dumps(at))) == links.write(again)
    page.close()
