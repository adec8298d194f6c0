"""The lecture hall's server: the page, the questions, and a web socket for each page that is open.

Only this machine is answered (loopback), only pages of this server (Host and Origin are checked), and only who has the
token: the address that is printed holds it once, a cookie from then on, so that addresses can be shared. The page is
served before PyTorch is imported; what draws (``stage``) comes in meanwhile, in a thread of its own.
"""

from __future__ import annotations

import asyncio
import hmac
import html
import json
import struct
import threading
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import tornado.web
import tornado.websocket

from course_lib.kit import front
from course_lib.kit.lesson import Lesson, Showing
from course_lib.kit.present.guide import guide
from course_lib.kit.present.words import html_of
from course_lib.kit.site.words import markdown

HERE = Path(__file__).parent
KEPT = 3  # demos that a page keeps ready: the one on show, the next, and the last
SECURE = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "connect-src 'self' ws:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Program:
    """What is shown, in order: ``lessons`` or some of their demos, and how a demo is opened by its key."""

    def __init__(self, lessons: Sequence[Lesson], open_demo: Callable[..., Any]):
        self.lessons, self.open_demo = lessons, open_demo
        self.showings = {showing.id: showing for lesson in lessons for showing in lesson.showings}
        self._stage: Any = None
        self._ready = threading.Event()

    def load(self) -> None:
        """Import what draws and all chapters, in a thread; ``stage()`` waits for the first of it."""
        threading.Thread(target=self._load, name="load", daemon=True).start()

    def _load(self) -> None:
        self._stage = import_module("course_lib.kit.present.stage")
        self._ready.set()

    def stage(self) -> Any:
        """The module that draws, once it is there."""
        self._ready.wait()
        return self._stage

    def listing(self) -> list[dict[str, Any]]:
        """For the page: every demo's id, notebook, heading, and the words around it."""
        return [
            {
                "id": showing.id,
                "key": showing.key,
                "chapter": f"{lesson.number} {lesson.title}",
                "part": html_of(showing.part),
            }
            | {"question": _asked(showing), "see": html_of(showing.see), "deeper": showing.deeper}
            for lesson in self.lessons
            for showing in lesson.showings
        ]


def _asked(showing: Showing) -> dict[str, Any] | None:
    question = showing.question
    if question is None:
        return None
    return {
        "text": html_of(question.text),
        "choices": [html_of(choice) for choice in question.choices],
        "right": question.choices.index(question.answer) if question.answer in question.choices else -1,
        "answer": html_of(question.answer),
        "because": html_of(question.because),
    }


class Guarded(tornado.web.RequestHandler):
    """Refuses other machines' names, other pages' requests, and who has no token."""

    def initialize(self, token: str, port: int, program: Program):
        self.token, self.program = token, program
        self.hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self.cookie = f"course-{port}"

    def set_default_headers(self) -> None:
        for name, value in SECURE.items():
            self.set_header(name, value)
        self.clear_header("Server")

    def prepare(self) -> None:
        origin = self.request.headers.get("Origin")
        if self.request.host not in self.hosts:
            raise tornado.web.HTTPError(403, reason="This server answers to 127.0.0.1 and localhost only")
        if origin is not None and origin not in {f"http://{host}" for host in self.hosts}:
            raise tornado.web.HTTPError(403, reason="Another page may not ask this server")
        given = self.get_query_argument("token", "") or self.get_cookie(self.cookie, "")
        if not hmac.compare_digest(given.encode(), self.token.encode()):
            raise tornado.web.HTTPError(403, reason="No token: open the address that the terminal shows")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(f"<!doctype html><title>Not here</title><p>{html.escape(self._reason)}.</p>")


class Page(Guarded):
    """``page.html``; a token in the address becomes a cookie, and the address is what can be shared."""

    def initialize(self, file: str, **guard: Any):
        super().initialize(**guard)
        self.file = file

    def get(self) -> None:
        if self.get_query_argument("token", ""):
            self.set_cookie(self.cookie, self.token, httponly=True, samesite="Strict")
            rest = {name: self.get_query_argument(name) for name in self.request.query_arguments if name != "token"}
            self.redirect(f"{self.request.path}?{urlencode(rest)}" if rest else self.request.path)
            return
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish((HERE / self.file).read_bytes())


class Script(Guarded):
    """One of the texts that the page asks for."""

    def initialize(self, kind: str, make: Callable[[], str], **guard: Any):
        super().initialize(**guard)
        self.kind, self.make = kind, make

    def get(self) -> None:
        self.set_header("Content-Type", f"{self.kind}; charset=utf-8")
        self.finish(self.make())


class Guide(Guarded):
    """The instructor's guide; its links lead to this server's demos."""

    async def get(self) -> None:
        everything = partial(guide, self.program.lessons, self.program.open_demo, "/")
        text = await asyncio.get_running_loop().run_in_executor(None, everything)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(guide_page(text))


def guide_page(text: str) -> str:
    """The guide's Markdown as a page of its own."""
    style = (HERE / "guide.css").read_text(encoding="utf-8")
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>Instructor\'s guide</title><style>{style}</style>'
    )
    body = f"<main>{markdown(text)[0]}</main>"
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>\n'


class Socket(Guarded, tornado.websocket.WebSocketHandler):
    """One page. It sends {open: id, query, fit, large, drawn, slide} or {prepare: id, ...}, {save: kind}, and what a
    person did; it gets one binary message for each picture: length, news as JSON, PNG."""

    def open(self) -> None:
        self.set_nodelay(True)
        self.main, self.closed = asyncio.get_running_loop(), False
        self.stages: dict[str, Any] = {}  # by id; of the drawing thread
        self.shown, self.slide = None, 0

    def on_message(self, text: str | bytes) -> None:
        message = json.loads(text)
        kind = next((kind for kind in ("open", "prepare", "save") if kind in message), "do")
        if kind == "do":
            if message["slide"] == self.slide and self.shown is not None:
                self.shown.hear(message)
            return
        if kind == "open":
            self.slide, self.shown = message["slide"], None
        self.main.run_in_executor(None, self._draw, getattr(self, f"_{kind}"), message)

    def _draw(self, act: Callable[[dict], None], message: dict) -> None:
        """Have the drawing thread act, once there is one."""
        self.program.stage().loop().call_soon_threadsafe(self._safely, act, message)

    def _safely(self, act: Callable[[dict], None], message: dict) -> None:
        try:
            act(message)
        except Exception as error:  # a demo that cannot be made: the lecture goes on
            self._tell({"slide": message["slide"], "failed": f"{type(error).__name__}: {error}"})

    def _open(self, message: dict) -> None:
        if message["slide"] != self.slide or self.closed:
            return  # the speaker went on meanwhile
        name, slide = message["open"], message["slide"]
        stage = self._stage(name)
        stage.send = partial(self._show, slide)
        self.shown = stage
        stage.open(message["query"], message["fit"], message["large"], message["drawn"])

    def _prepare(self, message: dict) -> None:
        """The next demo, while people think: it is there when it is asked for."""
        name = message["prepare"]
        if self.closed or message["slide"] != self.slide or name in self.stages or name not in self.program.showings:
            return
        stage = self._stage(name)
        stage.send = lambda news, png: None
        stage.open(message["query"], message["fit"], message["large"], {})

    def _stage(self, name: str) -> Any:
        """The stage of the demo ``name``, made if it is not kept; the oldest of too many goes."""
        stage = self.stages.pop(name, None)
        if stage is None:
            showing = self.program.showings.get(name)
            made = self.program.open_demo
            demo = made(showing.key, showing.function, **showing.preset) if showing else made(name)
            stage = self.program.stage().Stage(demo, lambda news, png: None)
        self.stages[name] = stage
        while len(self.stages) > KEPT:
            oldest = next(iter(self.stages))
            self.stages.pop(oldest).end()
        return stage

    def _save(self, message: dict) -> None:
        if self.shown is not None:
            self._tell({"slide": self.slide, "saved": message["save"]}, self.shown.save(message["save"]))

    def _show(self, slide: int, news: dict, png: bytes) -> None:
        self._tell({"slide": slide, **news}, png)

    def _tell(self, news: dict, content: bytes = b"") -> None:
        """To the page, from the drawing thread."""
        head = json.dumps(news).encode()
        self.main.call_soon_threadsafe(self._write, struct.pack(">I", len(head)) + head + content)

    def _write(self, frame: bytes) -> None:
        if not self.closed:
            self.write_message(frame, binary=True)

    def on_close(self) -> None:
        self.closed = True
        self.main.run_in_executor(None, self._draw, self._end, {"slide": self.slide})

    def _end(self, message: dict) -> None:
        while self.stages:
            self.stages.popitem()[1].end()


def application(program: Program, token: str, port: int) -> tornado.web.Application:
    """The server of ``program`` for who has ``token``, at ``port`` of this machine."""
    guard = {"token": token, "port": port, "program": program}
    listing = lambda: f"const LISTING = {json.dumps(program.listing())};"
    own = lambda name: lambda: (HERE / name).read_text(encoding="utf-8")
    scripts = {
        "/page.js": ("text/javascript", lambda: "\n".join([front.script(), listing(), own("page.js")()])),
        "/notes.js": ("text/javascript", lambda: "\n".join([listing(), own("notes.js")()])),
        "/page.css": ("text/css", lambda: front.style() + own("page.css")()),
    }
    return tornado.web.Application(
        [
            ("/", Page, guard | {"file": "page.html"}),
            ("/notes", Page, guard | {"file": "notes.html"}),
            ("/guide", Guide, guard),
            ("/socket", Socket, guard),
            *((path, Script, guard | {"kind": kind, "make": make}) for path, (kind, make) in scripts.items()),
        ],
        websocket_max_message_size=4_000_000,
    )


async def serve(program: Program, token: str, port: int) -> None:
    """Answer until the process ends."""
    application(program, token, port).listen(port, "127.0.0.1")
    program.load()
    await asyncio.Event().wait()
