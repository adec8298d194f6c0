"""Omniglot's files: read, kept, found, fetched, and never believed when broken.

On a small archive made here, with the real disk, real processes and a real server.
"""

from __future__ import annotations

import dataclasses
import errno
import io
import os
import struct
import subprocess
import tracemalloc
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from course_lib.engine import omniglot_files as files
from course_lib.engine.files import write_tensors
from tests.engine.archives import Small, write_archive
from tests.faults import AS_ROOT, damage, forking, no_file_over

pytestmark = pytest.mark.data


def read_anew(archive: files.Archive) -> files.Drawings:
    files._load_file.cache_clear()
    files._kept.cache_clear()
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


@pytest.mark.trust("an archive of drawings cut short, damaged, or of other content")
@pytest.mark.parametrize("breaks", BROKEN)
def test_a_broken_archive_is_refused_even_where_a_sound_array_is_kept(small: Small, breaks):
    read_anew(small.archive)
    breaks(small)
    with pytest.raises(files.OmniglotDamaged, match="is not Omniglot's images_small.zip.*Delete it") as told:
        read_anew(small.archive)
    assert str(small.path) in str(told.value)


def rewritten(small: Small, first: bytes, method: int) -> None:
    """The archive with something else in the place of its first drawing."""
    with zipfile.ZipFile(small.path) as pack:
        drawings = {name: pack.read(name) for name in sorted(pack.namelist())}
    drawings[min(drawings)] = first
    with zipfile.ZipFile(small.path, "w", method) as pack:
        for name, drawing in drawings.items():
            pack.writestr(name, drawing)


def png(width: int, height: int, mode: str = "1") -> bytes:
    """A PNG that says it has this size; its pixels, all white, are there if they are few."""
    whole = io.BytesIO()
    Image.new(mode, (width, height) if width * height < 10**6 else (1, 1), "white").save(whole, "PNG")
    data = bytearray(whole.getvalue())
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 105 105\n%%EndComments\n(x) run showpage\n%%EOF\n"
DRAWING = png(105, 105)
BOMBS = {
    "an EPS file named .png": (EPS, zipfile.ZIP_DEFLATED),
    "a TIFF file named .png": (b"II*\0" + bytes(100), zipfile.ZIP_DEFLATED),
    "30,000 x 30,000 pixels": (png(30_000, 30_000), zipfile.ZIP_DEFLATED),
    "104 x 105 pixels": (png(104, 105), zipfile.ZIP_DEFLATED),
    "60 MB of zeros": (DRAWING + bytes(60_000_000), zipfile.ZIP_DEFLATED),
    "60 MB of zeros, bzip2": (DRAWING + bytes(60_000_000), zipfile.ZIP_BZIP2),
    "60 MB of zeros, LZMA": (DRAWING + bytes(60_000_000), zipfile.ZIP_LZMA),
}


@pytest.mark.trust("an image in an archive that is none, or inflates to 60 MB or 900 million pixels")
@pytest.mark.parametrize("bomb", BOMBS)
def test_nothing_but_a_drawing_is_opened_or_inflated(small: Small, monkeypatch, bomb: str):
    rewritten(small, *BOMBS[bomb])
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("an outside program was started"))
    monkeypatch.setattr(os, "system", lambda *a, **k: pytest.fail("an outside program was started"))
    tracemalloc.start()
    try:
        with pytest.raises(files.OmniglotDamaged, match="is no PNG of 105 x 105|is packed by another method"):
            files.read_archive(small.archive, small.path)
        assert tracemalloc.get_traced_memory()[1] < 2e6  # bytes, at the most
    finally:
        tracemalloc.stop()


@pytest.mark.trust("an archive of drawings damaged anywhere", cases=60, long=600)
def test_archives_damaged_anywhere_are_refused_in_words(small: Small, cases):
    sound = small.path.read_bytes()
    for seed in range(cases):
        small.path.write_bytes(damage(sound, seed))
        try:
            drawings = files.read_archive(small.archive, small.path)
        except files.OmniglotDamaged:
            continue
        assert files.digest(drawings) == small.archive.digest  # the damage is where nothing is read: a date, a flag


@pytest.mark.trust("an archive that may not or cannot be read")
@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that nobody can read")
def test_an_archive_that_cannot_be_read_is_not_to_be_deleted(small: Small):
    small.path.unlink()
    small.path.symlink_to("/proc/self/mem")  # a file, whose first byte nobody can read
    with pytest.raises(files.OmniglotUnreadable, match="cannot be read .Input/output error.*another copy") as told:
        read_anew(small.archive)
    assert "elete" not in str(told.value)


# Keeping


def kept(small: Small) -> list[str]:
    return sorted(p.name for p in small.cache.iterdir())


def test_the_array_is_kept_and_serves_without_the_archive(small: Small):
    first = read_anew(small.archive)
    assert kept(small) == [f"images_small-{small.archive.md5[:12]}.safetensors"]
    small.path.unlink()
    with pytest.warns(UserWarning, match="OMNIGLOT_ROOT is set, but there is no"):
        again = read_anew(small.archive)
    assert torch.equal(first.images, again.images) and first.names == again.names


@pytest.mark.trust("a cached array cut short")
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_half_written_array_is_not_believed_and_is_replaced(small: Small, share: float):
    whole = read_anew(small.archive)
    (path,) = small.cache.iterdir()
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.warns(UserWarning, match="is not used"):
        assert torch.equal(read_anew(small.archive).images, whole.images)
    assert path.read_bytes() == data


@pytest.mark.trust("a cached array of other content", cases=6)
def test_a_foreign_array_is_not_believed(small: Small):
    whole = read_anew(small.archive)
    (path,) = small.cache.iterdir()
    images = whole.images.clone()
    images[0, 0, 0, 0] ^= 1
    for tensors, header in (
        ({"images": images}, {"names": whole.names}),  # one grey is off by one
        ({"images": whole.images}, {"names": whole.names[::-1]}),
        ({"images": whole.images}, {}),
        ({"images": whole.images}, {"names": [["one name"]]}),
        ({"images": whole.images.float()}, {"names": whole.names}),
        ({}, ["names"]),
    ):
        write_tensors(path, tensors, header)
        with pytest.warns(UserWarning, match="is not used"):
            assert torch.equal(read_anew(small.archive).images, whole.images)


@pytest.mark.trust("a cached array damaged anywhere", cases=300, long=3000)
def test_damaged_arrays_are_all_made_anew(small: Small, cases):
    whole = read_anew(small.archive)
    (path,) = small.cache.iterdir()
    sound, mended = path.read_bytes(), []
    for seed in range(cases):
        path.write_bytes(damage(sound, seed))
        with pytest.warns(UserWarning, match="is not used"):
            assert files.read_cache(small.archive, path) is None
        if seed < 6:  # one of each kind, all the way
            with pytest.warns(UserWarning, match="is not used"):
                mended.append(torch.equal(read_anew(small.archive).images, whole.images))
            assert path.read_bytes() == sound
    assert mended == [True] * 6


@pytest.mark.trust("a cache that several processes make at once", cases=8)
def test_many_processes_at_once(small: Small):
    context = forking()
    with context.Pool(4) as workers:
        results = workers.map(_load_digest, [small.archive] * 8, chunksize=1)
    assert set(results) == {small.archive.digest}
    assert kept(small) == [f"images_small-{small.archive.md5[:12]}.safetensors"]  # and nothing half-done beside it


def _load_digest(archive: files.Archive) -> str:
    return files.digest(read_anew(archive))


@pytest.mark.trust("a cache folder that cannot be written")
def test_a_folder_that_cannot_be_written_costs_only_the_cache(small: Small):
    small.cache.parent.mkdir(parents=True)
    small.cache.write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="not kept for next time"):
        assert files.digest(read_anew(small.archive)) == small.archive.digest


@pytest.mark.skipif(AS_ROOT or os.name != "posix", reason="root may write to a read-only folder")
def test_a_read_only_folder_costs_only_the_cache(small: Small):
    small.cache.mkdir(parents=True)
    small.cache.chmod(0o500)
    with pytest.warns(UserWarning, match="not kept for next time.*Permission denied"):
        assert files.digest(read_anew(small.archive)) == small.archive.digest
    small.cache.chmod(0o700)


@pytest.mark.trust("a disk that is full half-way through a write")
def test_a_write_that_breaks_off_leaves_nothing(small: Small):
    """No file may grow over 50 kB, so that writing the array fails half-way, as on a full disk."""
    with no_file_over(50_000), pytest.warns(UserWarning, match=f"not kept for next time.*Errno {errno.EFBIG}"):
        assert files.digest(read_anew(small.archive)) == small.archive.digest
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


def not_to_be_looked_into(tmp_path: Path) -> str:
    folder = tmp_path / "loop"
    folder.symlink_to(folder)
    return str(folder)


@pytest.mark.trust("OMNIGLOT_ROOT of another person, endless, or in a circle")
@pytest.mark.parametrize("root", ["~nobody-of-this-name/x", "x" * 5000, "a/" * 2500, not_to_be_looked_into])
def test_a_root_that_cannot_be_is_told_and_the_others_are_looked_into(small: Small, monkeypatch, tmp_path, root):
    files.PROJECT_DATA.mkdir()
    small.path.rename(files.PROJECT_DATA / small.path.name)
    monkeypatch.setenv("OMNIGLOT_ROOT", root(tmp_path) if callable(root) else root)
    with pytest.warns(UserWarning, match="OMNIGLOT_ROOT is set, but there is no .*: looking elsewhere") as told:
        assert files.digest(read_anew(small.archive)) == small.archive.digest
    assert all(len(str(warning.message)) < 400 for warning in told)
    (files.PROJECT_DATA / small.path.name).unlink()
    files._load_file.cache_clear()
    with pytest.warns(UserWarning), pytest.raises(files.OmniglotMissing) as missing:
        files.load(dataclasses.replace(small.archive, name="images_other"), download=False)
    assert len(str(missing.value)) < 1500


def as_nobody(function, *arguments) -> object:
    """What ``function`` gives or raises in a process of a user without rights."""
    context = forking()
    with context.Pool(1, initializer=os.setuid, initargs=(65534,)) as nobody:
        return nobody.apply(function, arguments)


@pytest.mark.trust("an archive that may not or cannot be read", cases=2)
@pytest.mark.skipif(not AS_ROOT, reason="needs root, to become a user without rights")
def test_what_others_may_not_read_is_told_in_words(small: Small):
    for folder in (small.path.parent, *small.path.parents):
        if folder.stat().st_uid == os.getuid() and str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    small.path.chmod(0)
    with pytest.raises(files.OmniglotUnreadable, match="Permission denied.*make it readable"):
        as_nobody(files.read_archive, small.archive, small.path)
    small.path.parent.chmod(0)  # then not even whether the archive is there can be seen
    with pytest.raises(files.OmniglotMissing, match="is not here"):
        as_nobody(_load_quietly, small.archive)


def _load_quietly(archive: files.Archive) -> files.Drawings:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return files.load(archive, download=False)


def test_missing_and_not_to_be_downloaded(small: Small, monkeypatch: pytest.MonkeyPatch):
    small.path.unlink()
    monkeypatch.delenv("OMNIGLOT_ROOT")
    with pytest.raises(files.OmniglotMissing, match="python -m course_lib data") as told:
        files.load(small.archive, download=False)
    assert str(small.cache) in str(told.value)
    monkeypatch.setenv("OMNIGLOT_DOWNLOAD", "0")
    with pytest.raises(files.OmniglotMissing, match="switched off"):
        files.load(small.archive)
