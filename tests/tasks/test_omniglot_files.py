"""Omniglot's files: read, kept, found, fetched, and never believed when broken.

On a small archive made here, with the real disk, real processes and a real server.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import http.server
import io
import multiprocessing
import os
import resource
import socket
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from course_lib.tasks import omniglot_files as files
from course_lib.tasks.strokes import shrink


@dataclasses.dataclass
class Small:
    """An archive of 3 alphabets with 2 characters each, what it holds, and a cache of its own."""

    archive: files.Archive
    path: Path
    ink: torch.Tensor  # bool [6, 20, 105, 105]
    cache: Path


def write_archive(path: Path, ink: torch.Tensor) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as pack:
        for c in reversed(range(len(ink))):  # the order in the zip means nothing
            for d in range(ink.shape[1]):
                png = io.BytesIO()
                Image.fromarray(~ink[c, d].numpy()).save(png, "PNG")
                folder = f"images_small/Alphabet{c // 2}/character{c % 2:02d}"
                pack.writestr(f"{folder}/{c:04d}_{d:02d}.png", png.getvalue())


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Small:
    generator = torch.Generator().manual_seed(0)
    ink = torch.rand(6, 20, 105, 105, generator=generator) < 0.1
    (tmp_path / "here").mkdir()
    path = tmp_path / "here" / "images_small.zip"
    write_archive(path, ink)
    images = torch.stack([shrink(drawings) for drawings in ink])
    names = tuple((f"Alphabet{c // 2}", f"character{c % 2:02d}") for c in range(6))
    digest = files.digest(files.Drawings(images, names))
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setenv("OMNIGLOT_ROOT", str(path.parent))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(files, "PROJECT_DATA", tmp_path / "project")
    files._load_file.cache_clear()
    files._unreachable.clear()
    return Small(files.Archive("images_small", 3, 6, digest, md5), path, ink, files.cache_folder())


def read_anew(archive: files.Archive) -> files.Drawings:
    files._load_file.cache_clear()
    return files.load(archive)


# Reading


def test_drawings_are_shrunk_by_area_and_inverted(small: Small):
    drawings = files.read_archive(small.archive, small.path)
    assert drawings.images.shape == (6, 20, 28, 28) and drawings.names[3] == ("Alphabet1", "character01")
    # Area by another route: cut each pixel into 4 x 4, so that blocks of 15 x 15 are whole.
    fine = small.ink[3, 7].numpy().repeat(4, axis=0).repeat(4, axis=1).reshape(28, 15, 28, 15)
    grey = 255 * fine.mean(axis=(1, 3))
    assert np.abs(grey - drawings.images[3, 7].numpy()).max() <= 0.5


def truncated(small: Small) -> None:
    small.path.write_bytes(small.path.read_bytes()[:-1000])


def not_a_zip(small: Small) -> None:
    small.path.write_text("404: Not Found")


def too_few_characters(small: Small) -> None:
    write_archive(small.path, small.ink[:5])


def too_few_drawings(small: Small) -> None:
    write_archive(small.path, small.ink[:, :19])


def other_drawings(small: Small) -> None:
    small.ink[2, 3, 50, 50] ^= True
    write_archive(small.path, small.ink)


def other_size(small: Small) -> None:
    write_archive(small.path, small.ink[..., :100])


def a_flipped_bit(small: Small) -> None:
    data = bytearray(small.path.read_bytes())
    data[len(data) // 3] ^= 16
    small.path.write_bytes(data)


WRONG_CONTENT = (too_few_characters, too_few_drawings, other_drawings, other_size)
BROKEN = (truncated, not_a_zip, a_flipped_bit, *WRONG_CONTENT)


@pytest.mark.parametrize("breaks", BROKEN)
def test_a_broken_archive_is_refused_even_where_a_sound_array_is_kept(small: Small, breaks):
    read_anew(small.archive)
    breaks(small)
    with pytest.raises(files.OmniglotDamaged, match="is not Omniglot's images_small.zip.*Delete it") as told:
        read_anew(small.archive)
    assert str(small.path) in str(told.value)


# Keeping


def kept(small: Small) -> list[str]:
    return sorted(p.name for p in small.cache.iterdir())


def test_the_array_is_kept_and_serves_without_the_archive(small: Small):
    first = read_anew(small.archive)
    assert kept(small) == [f"images_small-{small.archive.md5[:12]}.npz"]
    small.path.unlink()
    with pytest.warns(UserWarning, match="OMNIGLOT_ROOT is set, but there is no"):
        again = read_anew(small.archive)
    assert torch.equal(first.images, again.images) and first.names == again.names


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_half_written_array_is_not_believed_and_is_replaced(small: Small, share: float):
    whole = read_anew(small.archive)
    (path,) = small.cache.iterdir()
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.warns(UserWarning, match="is not used"):
        assert torch.equal(read_anew(small.archive).images, whole.images)
    assert path.read_bytes() == data


def test_a_foreign_array_is_not_believed(small: Small):
    whole = read_anew(small.archive)
    (path,) = small.cache.iterdir()
    images = whole.images.clone()
    images[0, 0, 0, 0] ^= 1
    for arrays in (
        {"images": images.numpy(), "names": np.array(whole.names)},  # one grey is off by one
        {"images": whole.images.numpy(), "names": np.array(whole.names[::-1])},
        {"images": whole.images.numpy()},
        {"images": np.array([{}], dtype=object), "names": np.array(whole.names)},  # a pickle
    ):
        np.savez(path, **arrays)
        with pytest.warns(UserWarning, match="is not used"):
            assert torch.equal(read_anew(small.archive).images, whole.images)


def test_many_processes_at_once(small: Small):
    context = multiprocessing.get_context("fork")
    with context.Pool(4) as workers:
        results = workers.map(_load_digest, [small.archive] * 8, chunksize=1)
    assert set(results) == {small.archive.digest}
    assert kept(small) == [f"images_small-{small.archive.md5[:12]}.npz"]  # and nothing half-done beside it


def _load_digest(archive: files.Archive) -> str:
    return files.digest(read_anew(archive))


def test_a_folder_that_cannot_be_written_costs_only_the_cache(small: Small):
    small.cache.parent.mkdir(parents=True)
    small.cache.write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="not kept for next time"):
        assert files.digest(read_anew(small.archive)) == small.archive.digest


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to a read-only folder")
def test_a_read_only_folder_costs_only_the_cache(small: Small):
    small.cache.mkdir(parents=True)
    small.cache.chmod(0o500)
    with pytest.warns(UserWarning, match="not kept for next time.*Permission denied"):
        assert files.digest(read_anew(small.archive)) == small.archive.digest
    small.cache.chmod(0o700)


def test_a_write_that_breaks_off_leaves_nothing(small: Small):
    """No file may grow over 50 kB, so that writing the array fails half-way, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.warns(UserWarning, match=f"not kept for next time.*Errno {errno.EFBIG}"):
            assert files.digest(read_anew(small.archive)) == small.archive.digest
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert kept(small) == []


# Finding


def test_places_in_order(small: Small, monkeypatch: pytest.MonkeyPatch):
    assert files.places() == [small.path.parent, files.PROJECT_DATA, small.cache]
    monkeypatch.setenv("OMNIGLOT_ROOT", "")
    assert files.places() == [files.PROJECT_DATA, small.cache]
    monkeypatch.delenv("OMNIGLOT_ROOT")
    assert files.places() == [files.PROJECT_DATA, small.cache]
    for folder in reversed(files.places()):  # a copy further up is taken first
        folder.mkdir(parents=True)
        (folder / small.path.name).write_bytes(small.path.read_bytes())
        assert files.find(small.archive) == folder / small.path.name


def test_missing_and_not_to_be_downloaded(small: Small, monkeypatch: pytest.MonkeyPatch):
    small.path.unlink()
    monkeypatch.delenv("OMNIGLOT_ROOT")
    with pytest.raises(files.OmniglotMissing, match="python -m course_lib data") as told:
        files.load(small.archive, download=False)
    assert str(small.cache) in str(told.value)
    monkeypatch.setenv("OMNIGLOT_DOWNLOAD", "0")
    with pytest.raises(files.OmniglotMissing, match="switched off"):
        files.load(small.archive)


# Fetching


class Server:
    """Serves ``body`` over HTTP, in parts if asked; breaks off after ``limit`` bytes the first time."""

    def __init__(self, body: bytes, status: int = 200, limit: int | None = None):
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
                self.send_header("Content-Length", str(len(body) - begin))
                self.end_headers()
                self.wfile.write(body[begin:][: limit if len(outer.asked) == 1 else None])

            def log_message(self, *args):
                pass

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
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


def test_download_goes_on_where_it_broke_off(small: Small, elsewhere: bytes):
    with Server(elsewhere, limit=100_000) as server:
        drawings = files.load(from_sources(small, server.source), download=True)
    first, second = server.asked
    assert first is None and 0 < int(second.removeprefix("bytes=").removesuffix("-")) <= 100_000
    assert files.digest(drawings) == small.archive.digest
    assert kept(small) == [f"images_small-{small.archive.md5[:12]}.npz", "images_small.zip"]


def test_download_takes_the_next_address(small: Small, elsewhere: bytes):
    with Server(b"no such file", status=404) as wrong, Server(elsewhere) as right:
        drawings = files.load(from_sources(small, wrong.source, right.source), download=True)
    assert files.digest(drawings) == small.archive.digest and len(wrong.asked) == 1


def test_a_download_that_is_another_file_is_dropped(small: Small, elsewhere: bytes):
    with Server(elsewhere[:-1] + b"x") as server:
        with pytest.raises(files.OmniglotMissing, match="no address gave it"):
            files.load(from_sources(small, server.source), download=True)
    assert len(server.asked) == files.ATTEMPTS and kept(small) == []


def test_a_stale_rest_does_not_stop_the_download(small: Small, elsewhere: bytes):
    small.cache.mkdir(parents=True)
    (small.cache / "images_small.zip.part").write_bytes(b"x" * (len(elsewhere) + 7))
    with Server(elsewhere) as server:
        drawings = files.load(from_sources(small, server.source), download=True)
    assert files.digest(drawings) == small.archive.digest and len(server.asked) == 2


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
