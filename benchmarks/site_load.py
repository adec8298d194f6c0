"""How soon a file server has given a chapter of the site to a whole class.

    python -m course_lib site
    python -m benchmarks.site_load build/site --readers 200 --chapter 02

Each reader is a thread that asks a file server in plain Python, on loopback and in one process, for the chapter's page
and for every file that the page names, its recordings too: all at the same moment, none with anything kept.
"""

from __future__ import annotations

import argparse
import os
import re
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

ASSET = re.compile(r"assets/[\w./-]+")
DEMO = re.compile(r'data-demo="([\w-]+)"')


class Server(ThreadingHTTPServer):
    request_queue_size = 1024  # who knocks while others are let in is not sent away


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def run(site: Path, port: Connection) -> None:
    server = Server(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    port.send(server.server_port)
    server.serve_forever()


def files_of(site: Path, chapter: str) -> list[str]:
    """The chapter's page, and what of the folder's files it names."""
    (page,) = site.glob(f"{chapter}_*.html")
    text = page.read_text(encoding="utf-8")
    named = {*ASSET.findall(text), *(f"assets/demos/{name}.js" for name in DEMO.findall(text))}
    return [page.name, *sorted(name for name in named if (site / name).is_file())]


def serve(site: Path, files: list[str], readers: int) -> float:
    """Seconds until every reader has every file."""
    ours, theirs = get_context("spawn").Pipe()
    server = get_context("spawn").Process(target=run, args=(site, theirs), daemon=True)
    server.start()
    address = f"http://127.0.0.1:{ours.recv()}"

    def read(_: int) -> None:
        for name in files:
            with urllib.request.urlopen(f"{address}/{name}", timeout=120) as answer:
                assert len(answer.read()) == (site / name).stat().st_size

    with ThreadPoolExecutor(readers) as pool:
        started = time.monotonic()
        list(pool.map(read, range(readers)))
        seconds = time.monotonic() - started
    server.kill()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("site", type=Path, help="the folder that `python -m course_lib site` wrote")
    parser.add_argument("--readers", type=int, default=200)
    parser.add_argument("--chapter", default="02")
    options = parser.parse_args()
    files = files_of(options.site, options.chapter)
    size = sum((options.site / name).stat().st_size for name in files) / 2**20
    seconds = serve(options.site, files, options.readers)
    print(
        f"{options.readers} readers, {len(files)} files of {size:.1f} MiB each: {seconds:.1f} s, "
        f"{options.readers * len(files) / seconds:.0f} requests, {options.readers * size / seconds:.0f} MiB a second "
        f"(load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores)"
    )


if __name__ == "__main__":
    main()
