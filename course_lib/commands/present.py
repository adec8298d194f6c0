"""The demos full screen from one local process, for a lecture hall: a question, the picture on a key, then the next.

    python -m course_lib present                    all of them, in the notebooks' order
    python -m course_lib present --chapter 03       those of one notebook, or of several: --chapter 02 03
    python -m course_lib present adapting?steps=5   from one demo on, at a link
    python -m course_lib present --pdf demos.pdf    no lecture: every demo at all its views, as a file

PageDown shows the picture, then the next question; h on the page lists all keys. The process that draws is started
again if it dies, and the page goes on where it was.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import socket
import sys
import threading
import time
import webbrowser
from importlib import import_module
from pathlib import Path

from course_lib.chapters import demo_modules, open_demo
from course_lib.commands import check_names, check_port
from course_lib.kit.lesson import Lesson, lessons
from course_lib.kit.present.supervise import end_with_supervisor, free_port, supervise

PORT = 8424
TOKEN = "COURSE_PRESENT_TOKEN"  # the environment of the process that draws: arguments can be read by others


def chosen(chapters: list[str] | None) -> list[Lesson]:
    """The notebooks whose demos are shown.

    Raises:
        ValueError: a number that no notebook has, or notebooks without a demo.
    """
    read = lessons()
    wanted = {name.zfill(2) for name in chapters or ()}
    check_names("notebook", sorted(wanted), [lesson.number for lesson in read])
    picked = [lesson for lesson in read if not wanted or lesson.number in wanted]
    if not any(lesson.showings for lesson in picked):
        raise ValueError(f"no demos in notebook {', '.join(sorted(wanted))}")
    return picked


def opening(demo: str, there: list[Lesson]) -> str:
    """The query of the page for what a person typed: ``adapting``, or ``adapting?steps=5``.

    Raises:
        ValueError: no such demo.
    """
    name, _, values = demo.partition("?")
    known = {showing.id for lesson in there for showing in lesson.showings} | demo_modules().keys()
    check_names("demo", [name] if name else (), sorted(known))
    return "&".join(part for part in (f"demo={name}" if name else "", values) if part)


def show(address: str, port: int, patience: float = 20.0) -> None:
    """Open a browser once the server answers."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                webbrowser.open(address)
                return
        time.sleep(0.05)


def main(argv: list[str] | None = None) -> int:
    """Serve until Ctrl-C, or write the PDF; 0 unless it could not run.

    Raises:
        ValueError: a notebook, a demo or a port that is not there.
    """
    parser = argparse.ArgumentParser(
        prog="python -m course_lib present", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("demo", nargs="?", default="", help="where to begin: a demo's name, or a link to it")
    parser.add_argument("--chapter", nargs="+", metavar="NN", help="only the demos of these notebooks")
    parser.add_argument("--port", type=int, default=PORT, help=f"of this machine ({PORT}, or another if it is taken)")
    no_browser = "only print the address; in a browser's arguments others on this machine can read it"
    parser.add_argument("--no-browser", action="store_true", help=no_browser)
    parser.add_argument("--pdf", type=Path, metavar="FILE", help="write every demo at all its views, and end")
    parser.add_argument("--draw", action="store_true", help=argparse.SUPPRESS)  # the process that is supervised
    options = parser.parse_args(argv)
    check_port(options.port, 0)
    there = chosen(options.chapter)
    query = opening(options.demo, there)
    if options.draw:
        end_with_supervisor()
        server = import_module("course_lib.kit.present.server")  # here alone: who supervises is to start this at once
        asyncio.run(server.serve(server.Program(there, open_demo), os.environ[TOKEN], options.port))
        return 0
    if options.pdf:
        showings = [showing for lesson in there for showing in lesson.showings]
        demos = (open_demo(showing.key, showing.function, **showing.preset) for showing in showings)
        pages = import_module("course_lib.kit.present.stage").pdf(demos, options.pdf)
        print(f"{options.pdf}: {pages} pages")
        return 0
    port = free_port(options.port)
    os.environ[TOKEN] = secrets.token_urlsafe(24)
    address = f"http://127.0.0.1:{port}/?{query}{'&' if query else ''}token={os.environ[TOKEN]}"
    print(f"The demos are at\n\n    {address}\n\nCtrl-C ends it.", flush=True)
    if not options.no_browser:
        threading.Thread(target=show, args=(address, port), daemon=True).start()
    chapters = ["--chapter", *options.chapter] if options.chapter else []
    command = [sys.executable, "-m", "course_lib", "present", "--draw", "--port", str(port), *chapters]
    return supervise(command)
