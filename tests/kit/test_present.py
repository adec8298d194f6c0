"""The lecture hall's server without a browser: who is refused, what a page gets, a process that is started again."""

from __future__ import annotations

import asyncio
import io
import json
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from course_lib.kit.demo import Demo
from course_lib.kit.lesson import Lesson, Question, Showing
from course_lib.kit.present import stage
from course_lib.kit.present.server import Program, application
from course_lib.kit.present.supervise import free_port, supervise
from course_lib.kit.present.words import html_of
from tests.browser import sine_demo

TOKEN = "token-of-the-tests"
ROOM = {"width": 800, "height": 450, "ratio": 1.0}


def program() -> Program:
    question = Question("Does $k = 0$ *fit*?", ("yes", "no"), "no", "It never saw the points.")
    showings = [
        Showing("sine_demo", "sine_demo", "demo", {}, "01", "Part", False, question, "**Look** at $\\alpha$."),
        Showing("sine_demo-2", "sine_demo", "demo", {"steps": 30}, "01", "Part", False),
        Showing("broken", "broken", "demo", {}, "01", "Part", False),
    ]

    def open_demo(key: str, function: str = "demo", **preset) -> Demo:
        if key != "sine_demo":
            raise ValueError(f"there is no demo {key!r}")
        return sine_demo.make(**preset)

    return Program([Lesson("01", "Sines", Path("01.ipynb"), showings=showings)], open_demo)


class Served:
    """The server at a free port, in this thread's loop."""

    async def __aenter__(self) -> Served:
        self.port = free_port(0)
        shown = program()
        self.server = application(shown, TOKEN, self.port).listen(self.port, "127.0.0.1")
        shown.load()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.stop()
        await self.server.close_all_connections()

    async def get(self, path: str, **headers: str):
        address = f"http://127.0.0.1:{self.port}{path}"
        return await AsyncHTTPClient().fetch(HTTPRequest(address, headers=headers, follow_redirects=False))

    async def page(self, **headers: str):
        address = f"ws://127.0.0.1:{self.port}/socket"
        headers = {"Cookie": f'course-{self.port}="{TOKEN}"', "Origin": f"http://127.0.0.1:{self.port}"} | headers
        return await websocket_connect(HTTPRequest(address, headers=headers))


async def answer(page, patience: float = 60.0) -> tuple[dict, bytes]:
    message = await asyncio.wait_for(page.read_message(), patience)
    end = 4 + struct.unpack(">I", message[:4])[0]
    return json.loads(message[4:end]), message[end:]


async def until(page, holds) -> tuple[dict, bytes]:
    while not holds((news := await answer(page))[0]):
        pass
    return news


def ask(name: str, slide: int = 1, query: str = "", **more) -> str:
    return json.dumps({"open": name, "query": query, "fit": ROOM, "large": False, "drawn": {}, "slide": slide} | more)


def test_other_machines_other_pages_and_people_without_the_token_are_refused():
    async def everything():
        async with Served() as served:
            refused = [
                ("/", {}),
                ("/page.js", {"Cookie": f"course-{served.port}=guess"}),
                ("/?token=guess", {}),
                (f"/?token={TOKEN}", {"Host": "evil.example"}),
                (f"/?token={TOKEN}", {"Origin": "http://evil.example"}),
                (f"/page.js?token={TOKEN}", {"Origin": "null"}),
            ]
            for path, headers in refused:
                with pytest.raises(HTTPClientError, match="403"):
                    await served.get(path, **headers)
            for headers in ({"Cookie": ""}, {"Origin": "http://evil.example"}, {"Host": f"evil.example:{served.port}"}):
                with pytest.raises(HTTPClientError, match="403"):
                    await served.page(**headers)
            with pytest.raises(
                HTTPClientError, match="302"
            ) as moved:  # from then on a cookie, and no token on the screen
                await served.get(f"/?demo=sine_demo&steps=3&token={TOKEN}")
            given = moved.value.response.headers
            assert given["Location"] == "/?demo=sine_demo&steps=3"
            assert "HttpOnly" in given["Set-Cookie"] and "SameSite=Strict" in given["Set-Cookie"]
            mine = {"Cookie": given["Set-Cookie"].split(";")[0]}
            script = (await served.get("/page.js", **mine)).body.decode()
            assert 'Does <span class="whole"><math' in script.replace(chr(92), "")
            assert "function mount" in script and "export" not in script
            assert (await served.get("/", **mine)).headers["Content-Security-Policy"].startswith("default-src 'self'")

    asyncio.run(everything())


def test_a_page_gets_the_picture_at_its_size_and_every_move_answered():
    async def everything():
        async with Served() as served:
            page = await served.page()
            page.write_message(ask("sine_demo", query="?steps=7&steps2=1&hide=rate"))
            news, png = await answer(page)
            assert news["declaration"]["hidden"] == ["rate"] and news["state"]["at"]["steps"] == 7
            assert "steps2" in news["state"]["note"] and news["state"]["link"] == "steps=7&hide=rate"
            assert Image.open(io.BytesIO(png)).size == (800, 450)

            for n, place in enumerate((20, 21, 22), 1):
                page.write_message(
                    json.dumps({"do": "set", "name": "steps", "to": place, "view": "v", "n": n, "slide": 1})
                )
            news, moved = await until(page, lambda news: news["state"]["heard"] == ["v", 3])
            assert news["state"]["at"]["steps"] == 22 and "declaration" not in news and moved != png

            page.write_message(json.dumps({"save": "svg", "slide": 1}))
            news, svg = await until(page, lambda news: "saved" in news)
            assert svg.startswith(b"<?xml") and b"</svg>" in svg

            page.write_message(ask("broken", slide=2))
            assert "no demo 'broken'" in (await until(page, lambda news: news["slide"] == 2))[0]["failed"]
            page.write_message(ask("sine_demo-2", slide=3))
            news, _ = await until(page, lambda news: news["slide"] == 3)
            assert news["state"]["at"]["steps"] == 30 and news["state"]["link"] == ""

    asyncio.run(everything())


def test_four_pages_have_values_of_their_own():
    async def everything():
        async with Served() as served:
            pages = [await served.page() for _ in range(4)]
            for number, page in enumerate(pages):
                page.write_message(ask("sine_demo", query=f"steps={number}"))
            states = [(await answer(page))[0]["state"] for page in pages]
            assert [state["at"]["steps"] for state in states] == [0, 1, 2, 3]
            pages[2].close()
            message = {"do": "set", "name": "steps", "to": 40, "view": "v", "n": 1, "slide": 1}
            pages[3].write_message(json.dumps(message))
            news, _ = await until(pages[3], lambda news: news["state"]["heard"] == ["v", 1])
            assert news["state"]["at"]["steps"] == 40

    asyncio.run(everything())


def test_a_sweep_is_saved_as_a_moving_picture_and_all_views_as_pages(tmp_path):
    demo = sine_demo.make(steps=4)
    demo.set()
    moving = Image.open(io.BytesIO(stage.gif(demo)))
    assert moving.n_frames == 40 and demo.values["steps"] == 4 and demo.data.steps == 4
    told = []
    assert (
        stage.pdf([sine_demo.make(), sine_demo.make(steps=4)], tmp_path / "all.pdf", told.append) == 2 * len(told) + 2
    )
    assert (tmp_path / "all.pdf").read_bytes().startswith(b"%PDF")


DIES = """
import os, signal, sys
from pathlib import Path
lives = Path(sys.argv[1])
lives.write_text(lives.read_text() + "x")
if len(lives.read_text()) == 1:
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(int(sys.argv[2]) if len(lives.read_text()) == 3 else 7)
"""


@pytest.mark.parametrize(("last", "code"), [(0, 0), (7, 1)])
def test_a_process_that_is_killed_is_started_again_until_it_ends_or_does_not_work(tmp_path, last, code):
    lives, said = tmp_path / "lives", []
    lives.touch()
    assert supervise([sys.executable, "-c", DIES, str(lives), str(last)], said.append) == code
    assert lives.read_text() == "xxx" and "code -9" in said[0] and ("3 times" in said[-1]) == bool(code)


DRAWS = """
import time
from course_lib.kit.present.supervise import end_with_supervisor
end_with_supervisor()
print("drawing", flush=True)
time.sleep(20)
print("still drawing")
"""
SUPERVISES = f"""
import sys
from course_lib.kit.present.supervise import supervise
supervise([sys.executable, "-c", {DRAWS!r}])
"""


def test_what_is_supervised_ends_with_who_supervises():
    with subprocess.Popen([sys.executable, "-c", SUPERVISES], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"drawing\n"
        process.kill()
        assert process.stdout.read() == b""  # open as long as one of the two lives


def test_a_notebooks_words_become_a_page_that_leads_nowhere():
    assert re.findall(r"(\S*)<math.*?</math>(\S*)", html_of("At ($k$), or")) == [('class="whole">(', "),</span>")]
    assert html_of("1 % of 5 %") == "<p>1\u00a0% of 5\u00a0%</p>"
    shown = html_of("It ends at $\\theta'_i$<!--two_loops.x-->.\n\n* [one](02_x.ipynb)\n* ![two](x.svg) `three`")
    assert "<!--" not in shown and "<math" in shown and "&#x003B8;" in shown
    assert "<li>one</li>" in shown and "<code>three</code>" in shown and "<img" not in shown
