"""Where Omniglot's drawings are, how they are read, and how they are kept.

The data set (Lake, Salakhutdinov, Tenenbaum 2015, "Human-level concept learning through probabilistic
program induction", Science 350) is two zip archives of 32,460 small pictures, in the authors' repository
github.com/brendenlake/omniglot. An archive is read without unpacking it, shrunk once, and kept as one uint8
array.

Every array is held against the digest of the official drawings, written down below: an archive zipped anew is
as good as the authors', and no damaged or foreign file, archive or cache, is ever believed.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import struct
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from course_lib.engine.download import LARGEST, DownloadFailed, fetch_file
from course_lib.engine.files import read_tensors, write_tensors
from course_lib.engine.strokes import CANVAS, shrink

DRAWINGS = 20  # of each character, each by another person
FORMAT = "28 x 28 by area, ink 255, version 1"  # part of the digest: an array of another kind has another
PROJECT_DATA = Path(__file__).parents[2] / "data" / "omniglot"
SOURCES = (  # the same files; the digest, not the address, says that they are the right ones
    "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/",
    "https://github.com/brendenlake/omniglot/raw/master/python/",
    "https://cdn.jsdelivr.net/gh/brendenlake/omniglot@master/python/",
)
LARGEST_DRAWING = 10_000  # bytes; the largest of the data set has 522
# How the PNG file of every drawing begins: its size stands there, before anything is inflated.
PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", CANVAS, CANVAS)
WRITTEN_BY_ZIP = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class OmniglotMissing(FileNotFoundError):
    """The data set is nowhere to be found and could not be downloaded."""


class OmniglotDamaged(ValueError):
    """A file that should hold the data set holds something else."""


class OmniglotUnreadable(OmniglotDamaged):
    """A file that should hold the data set may be sound, but this user or this disk cannot read it."""


@dataclass(frozen=True)
class Archive:
    """One of the official archives: its name, what it must hold, and where to get it."""

    name: str
    alphabets: int
    characters: int
    digest: str  # of the shrunk drawings and their names: see ``digest``
    md5: str  # of the file to download; an archive zipped again has another
    sources: tuple[str, ...] = SOURCES

    @property
    def filename(self) -> str:
        return self.name + ".zip"


BACKGROUND = Archive(
    "images_background",
    alphabets=30,
    characters=964,
    digest="2c3377df51a3fcc2dcae5baa1a0cfc78fd0a51a3f4760ae622b3b6cc9dad29ba",
    md5="68d2efa1b9178cc56df9314c21c6e718",
)
EVALUATION = Archive(
    "images_evaluation",
    alphabets=20,
    characters=659,
    digest="df0f8e57fcd7a6dbdefb6a311dccb963c459604204eea7897f5da3bec5e8e67b",
    md5="6b91aef0f799c5bb55b94e3f2daec811",
)
ARCHIVES = (BACKGROUND, EVALUATION)


@dataclass(frozen=True)
class Drawings:
    """What an archive holds: ``images`` uint8 [C, 20, 28, 28], 255 is ink, and each character's two names."""

    images: Tensor
    names: tuple[tuple[str, str], ...]  # (alphabet, character), sorted


def digest(drawings: Drawings) -> str:
    """SHA-256 of the shrunk drawings and their names: the same on every machine and for every zip."""
    sha = hashlib.sha256(json.dumps([FORMAT, drawings.names]).encode())
    sha.update(drawings.images.numpy().tobytes())
    return sha.hexdigest()


def cache_folder() -> Path:
    """The user's cache, such as ~/.cache/meta-learning-course on Linux; it need not exist."""
    import pooch

    return Path(pooch.os_cache("meta-learning-course"))


def places() -> list[Path]:
    """The folders where an archive is looked for, in order."""
    root = os.environ.get("OMNIGLOT_ROOT")  # unset and empty are the same
    return ([Path(os.path.expanduser(root))] if root else []) + [PROJECT_DATA, cache_folder()]


def find(archive: Archive) -> Path | None:
    """The first copy of the archive in ``places``, or None; a place that cannot be looked into has none."""
    for number, folder in enumerate(places()):
        path = folder / archive.filename
        try:
            if stat.S_ISREG(path.stat().st_mode):
                return path
            why = "not a file"
        except (OSError, ValueError) as error:  # a ValueError: no such name is possible
            why = getattr(error, "strerror", None) or str(error)
        if number == 0 and os.environ.get("OMNIGLOT_ROOT"):
            said = f"OMNIGLOT_ROOT is set, but there is no {_name(path)} ({why}): looking elsewhere"
            warnings.warn(said, stacklevel=2)
    return None


def _name(path: Path) -> str:
    """A path as it is told, which is not a page long."""
    return str(path) if len(str(path)) < 200 else f"{str(path)[:90]}...{str(path)[-90:]}"


def find_kept(archive: Archive) -> tuple[Path, Drawings] | None:
    """A sound array in the user's cache, where the archive it was made from may be gone; or None."""
    try:
        paths = {path: path.stat().st_mtime_ns for path in cache_folder().glob(f"{archive.name}-*.safetensors")}
    except OSError:
        return None
    for path in sorted(paths):
        drawings = _kept(archive, path, paths[path])
        if drawings is not None:
            return path, drawings
    return None


@lru_cache(maxsize=4)
def _kept(archive: Archive, path: Path, modified: int) -> Drawings | None:
    return read_cache(archive, path)


def require(archives: Sequence[Archive], download: bool | None = None) -> None:
    """See to it that the archives are all here, as files or as kept arrays: a part of them counts as none.

    Args:
        download: whether to fetch a missing archive. None means yes, unless OMNIGLOT_DOWNLOAD is 0.

    Raises:
        OmniglotMissing: one is not here, and it may not or could not be downloaded.
    """
    for archive in archives:
        if find(archive) is None and find_kept(archive) is None:
            if not (os.environ.get("OMNIGLOT_DOWNLOAD") != "0" if download is None else download):
                raise OmniglotMissing(how_to_get(archive, "downloading is switched off"))
            _fetch_once(archive, cache_folder())


def load(archive: Archive, download: bool | None = None) -> Drawings:
    """The archive's drawings: from memory, from a copy on disk and its cached array, or from the network.

    Args:
        download: as for ``require``.

    Raises:
        OmniglotMissing: there is no copy, and it may not or could not be downloaded.
        OmniglotDamaged: the first copy found is not the official data set. No other is taken in its stead.
        OmniglotUnreadable: the first copy found may not be read.
    """
    require([archive], download)
    path = find(archive)
    if path is None:
        return find_kept(archive)[1]
    return _load_file(archive, path, cache_folder(), path.stat().st_mtime_ns)


_unreachable: dict[Archive, str] = {}  # why this process could not download it


def _fetch_once(archive: Archive, folder: Path) -> Path:
    """``fetch``, whose failure is remembered: without a network, only the first try waits for it."""
    if archive in _unreachable:
        raise OmniglotMissing(_unreachable[archive])
    try:
        return fetch(archive, folder)
    except OmniglotMissing as error:
        _unreachable[archive] = str(error)
        raise


@lru_cache(maxsize=4)
def _load_file(archive: Archive, path: Path, cache: Path, modified: int) -> Drawings:
    """``path`` read once for a process, and once for a machine where ``cache`` can be written."""
    md5 = hashlib.md5(_bytes(path), usedforsecurity=False).hexdigest()
    cached = cache / f"{archive.name}-{md5[:12]}.safetensors"
    drawings = read_cache(archive, cached)
    if drawings is None:
        drawings = read_archive(archive, path)
        write_cache(drawings, cached)
    return drawings


def _bytes(path: Path) -> bytes:
    """What stands in an archive."""
    try:
        with path.open("rb") as file:
            return file.read(min(os.fstat(file.fileno()).st_size, LARGEST) + 1)
    except OSError as error:
        raise OmniglotUnreadable(
            f"{path} is there but cannot be read ({error.strerror}): make it readable, or set OMNIGLOT_ROOT to a "
            "folder with another copy"
        ) from error


def read_archive(archive: Archive, path: Path) -> Drawings:
    """Every drawing of the zip file at ``path``, shrunk; else an OmniglotDamaged that says what is wrong."""

    def damaged(problem: str) -> OmniglotDamaged:
        return OmniglotDamaged(
            f"{path} is not Omniglot's {archive.filename}: {problem}. Delete it and get it again with "
            f"`python -m course_lib data`, or copy it from {SOURCES[1]}{archive.filename}"
        )

    content = _bytes(path)
    if len(content) > LARGEST:
        raise damaged(f"it has more than {LARGEST / 1e6:.0f} MB")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as pack:
            members: dict[tuple[str, ...], list[zipfile.ZipInfo]] = {}  # (alphabet, character): its drawings
            for member in sorted(pack.infolist(), key=lambda member: member.filename):
                if member.filename.endswith(".png"):
                    members.setdefault(tuple(member.filename.split("/")[-3:-1]), []).append(member)
            counts = {len(drawn) for drawn in members.values()}
            if len(members) != archive.characters or counts != {DRAWINGS}:
                held = f"{sum(map(len, members.values()))} drawings of {len(members)} characters"
                raise damaged(f"it holds {held}, not {DRAWINGS} of each of {archive.characters}")
            names = sorted(members)
            drawn = (torch.stack([_drawing(pack, member) for member in members[name]]) for name in names)
            images = torch.stack([shrink(character) for character in drawn])  # [C, 20, 28, 28]
    except OmniglotDamaged:
        raise
    except Exception as error:  # zipfile, zlib and Pillow give up in many ways, and promise no list of them
        raise damaged(f"it cannot be read ({error})") from error
    drawings = Drawings(images, tuple(names))
    if digest(drawings) != archive.digest:
        raise damaged("it holds the right number of drawings, but not the official ones")
    return drawings


def _drawing(pack: zipfile.ZipFile, member: zipfile.ZipInfo) -> Tensor:
    """One drawing, bool [105, 105], where ink is True; in the archive it is black on white paper.

    Nothing but a PNG of this size is opened, and never more is inflated than a drawing can have.

    Raises:
        ValueError: it is something else.
    """
    from PIL import Image

    if member.compress_type not in WRITTEN_BY_ZIP:
        raise ValueError(f"{member.filename} is packed by another method")
    with pack.open(member) as file:
        png = file.read(LARGEST_DRAWING + 1)
    if len(png) > LARGEST_DRAWING or not png.startswith(PNG):
        raise ValueError(f"{member.filename} is no PNG of {CANVAS} x {CANVAS} pixels, {LARGEST_DRAWING} bytes at most")
    with Image.open(io.BytesIO(png), formats=["PNG"]) as picture:
        return torch.from_numpy(np.asarray(picture.convert("1")) == 0)


def read_cache(archive: Archive, path: Path) -> Drawings | None:
    """The drawings kept at ``path``, or None where there are none or they are not the official ones."""
    try:
        tensors, header = read_tensors(path)
        names = tuple((alphabet, character) for alphabet, character in header["names"])
        drawings = Drawings(tensors["images"], names)
        believed = digest(drawings) == archive.digest
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, KeyError, TypeError, ValueError):
        believed = False
    if not believed:
        warnings.warn(f"{path} is damaged or of another version, and is not used", stacklevel=2)
        return None
    return drawings


def write_cache(drawings: Drawings, path: Path) -> None:
    """Keeps the drawings at ``path``: whole or not at all, whoever else writes there. No failure stops us."""
    try:
        write_tensors(path, {"images": drawings.images}, {"names": drawings.names})
    except OSError as error:
        warnings.warn(f"not kept for next time: {path} cannot be written ({error})", stacklevel=2)


def how_to_get(archive: Archive, why: str) -> str:
    """What to tell a person who lacks the archive."""
    looked = ", ".join(map(_name, places()))
    return (
        f"Omniglot's {archive.filename} is not here: none of the folders {looked} has it, and {why}. "
        f"Get it with `python -m course_lib data`, or copy it from {SOURCES[1]}{archive.filename} into one "
        "of these folders, or set OMNIGLOT_ROOT to the folder that has it."
    )


def fetch(archive: Archive, folder: Path) -> Path:
    """Downloads the archive into ``folder``.

    Raises:
        OmniglotMissing: no address gave the file, or the folder cannot be written; with every reason.
    """
    try:
        return fetch_file(archive.sources, archive.filename, archive.md5, folder)
    except DownloadFailed as error:
        raise OmniglotMissing(how_to_get(archive, str(error))) from error
