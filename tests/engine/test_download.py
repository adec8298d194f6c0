"""Downloading: what breaks off goes on, what is another file is dropped, what never ends is given up. A real server."""

from __future__ import annotations

import dataclasses
import http.server
import socket
import threading
import time
from contextlib import suppress

import pytest

from course_lib.engine import download
from course_lib.engine import omniglot_files as files
from tests.engine.archives import Small

pytestmark = pytest.mark.data


def kept(small: Small) -> list[str]:
    return sorted(p.name for p in small.cache.iterdir())


def a_byte_each_50_ms(body: bytes):
    for number in range(len(body)):
        time.sleep(0.05)
        yield body[number : number + 1]


def without_end(body: bytes):
    while True:
        yield body


class Server:
    """Serves ``body`` over HTTP, in parts if asked; breaks off after ``limit`` bytes the first time."""

    def __init__(self, body: bytes, status: int = 200, limit: int | None = None, parts=lambda rest: [rest]):
        self.asked: list[str | None] = []  # the Range header of each request
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                wanted = self.headers.get("Range")
                outer.asked.append(wanted)
                begin = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
                if begin >= len(body):
                    self.send_error(416)
                    return
                self.send_response(206 if wanted else status)
                if parts is not without_end:
                    self.send_header("Content-Length", str(len(body) - begin))
                self.end_headers()
                with suppress(ConnectionError):  # nobody listens any more
                    for part in parts(body[begin:][: limit if len(outer.asked) == 1 else None]):
                        self.wfile.write(part)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.source = f"http://127.0.0.1:{self.server.server_port}/"

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *raised) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def elsewhere(small: Small, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The small archive, no longer on this machine."""
    body = small.path.read_bytes()
    small.path.unlink()
    monkeypatch.delenv("OMNIGLOT_ROOT")
    return body


def from_sources(small: Small, *sources: str) -> files.Archive:
    return dataclasses.replace(small.archive, sources=sources)


@pytest.mark.trust("a download that breaks off")
def test_download_goes_on_where_it_broke_off(small: Small, elsewhere: bytes):
    with Server(elsewhere, limit=100_000) as server:
        drawings = files.load(from_sources(small, server.source), download=True)
    first, second = server.asked
    assert first is None and 0 < int(second.removeprefix("bytes=").removesuffix("-")) <= 100_000
    assert files.digest(drawings) == small.archive.digest
    assert kept(small) == [f"images_small-{small.archive.md5[:12]}.safetensors", "images_small.zip"]


@pytest.mark.trust("a server that sends something else")
def test_download_takes_the_next_address(small: Small, elsewhere: bytes):
    with Server(b"no such file", status=404) as wrong, Server(elsewhere) as right:
        drawings = files.load(from_sources(small, wrong.source, right.source), download=True)
    assert files.digest(drawings) == small.archive.digest and len(wrong.asked) == 1


@pytest.mark.trust("a server that sends something else")
def test_a_download_that_is_another_file_is_dropped(small: Small, elsewhere: bytes):
    with Server(elsewhere[:-1] + b"x") as server:
        with pytest.raises(files.OmniglotMissing, match="no address gave it"):
            files.load(from_sources(small, server.source), download=True)
    assert len(server.asked) == download.ATTEMPTS and kept(small) == []


@pytest.mark.trust("a rest of another download")
def test_a_stale_rest_does_not_stop_the_download(small: Small, elsewhere: bytes):
    small.cache.mkdir(parents=True)
    (small.cache / "images_small.zip.part").write_bytes(b"x" * (len(elsewhere) + 7))
    with Server(elsewhere) as server:
        drawings = files.load(from_sources(small, server.source), download=True)
    assert files.digest(drawings) == small.archive.digest and len(server.asked) == 2


@pytest.mark.trust("no network")
def test_no_network_is_told_once_and_asked_once(small: Small, elsewhere: bytes):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    archive = from_sources(small, f"http://127.0.0.1:{port}/")
    for _ in range(2):
        with pytest.raises(files.OmniglotMissing, match="Connection refused.*OMNIGLOT_ROOT"):
            files.load(archive, download=True)
    assert archive in files._unreachable


def test_download_into_a_folder_that_cannot_be_written(small: Small, elsewhere: bytes):
    small.cache.parent.mkdir(parents=True)
    small.cache.write_text("a file where the folder should be")
    with Server(elsewhere) as server, pytest.raises(files.OmniglotMissing, match="cannot be written"):
        files.load(from_sources(small, server.source), download=True)


@pytest.mark.trust("a server that sends a byte each 50 ms, or without end")
@pytest.mark.parametrize("parts", [a_byte_each_50_ms, without_end])
def test_an_address_that_would_take_for_ever_is_given_up_for_the_next(small, elsewhere, monkeypatch, parts):
    monkeypatch.setattr(download, "PATIENCE", 1)
    monkeypatch.setattr(download, "LARGEST", 10 * len(elsewhere))
    begin = time.monotonic()
    with Server(elsewhere, parts=parts) as slow, Server(elsewhere) as right:
        drawings = files.load(from_sources(small, slow.source, right.source), download=True)
        assert time.monotonic() - begin < 60  # for ever: hours
    assert files.digest(drawings) == small.archive.digest and len(slow.asked) == 1
