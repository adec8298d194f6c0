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
import tempfile
import warnings
import zipfile
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from course_lib.tasks.strokes import shrink

DRAWINGS = 20  # of each character, each by another person
FORMAT = "28 x 28 by area, ink 255, version 1"  # part of the digest: an array of another kind has another
PROJECT_DATA = Path(__file__).parents[2] / "data" / "omniglot"
SOURCES = (  # the same files; the digest, not the address, says that they are the right ones
    "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/",
    "https://github.com/brendenlake/omniglot/raw/master/python/",
    "https://cdn.jsdelivr.net/gh/brendenlake/omniglot@master/python/",
)
TIMEOUT = (3, 20)  # seconds to wait for an address, and for the next bytes from it
ATTEMPTS = 2  # at each address that answers
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError)  # what a broken file may raise


class OmniglotMissing(FileNotFoundError):
    """The data set is nowhere to be found and could not be downloaded."""


class OmniglotDamaged(ValueError):
    """A file that should hold the data set holds something else."""


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
    return ([Path(root).expanduser()] if root else []) + [PROJECT_DATA, cache_folder()]


def find(archive: Archive) -> Path | None:
    """The first copy of the archive in ``places``, or None."""
    paths = [folder / archive.filename for folder in places()]
    if os.environ.get("OMNIGLOT_ROOT") and not paths[0].is_file():
        warnings.warn(f"OMNIGLOT_ROOT is set, but there is no {paths[0]}: looking elsewhere", stacklevel=2)
    return next((path for path in paths if path.is_file()), None)


def find_kept(archive: Archive) -> tuple[Path, Drawings] | None:
    """A sound array in the user's cache, where the archive it was made from may be gone; or None."""
    for path in sorted(cache_folder().glob(f"{archive.name}-*.npz")):
        drawings = read_cache(archive, path)
        if drawings is not None:
            return path, drawings
    return None


def load(archive: Archive, download: bool | None = None) -> Drawings:
    """The archive's drawings: from memory, from a copy on disk and its cached array, or from the network.

    Args:
        download: whether to fetch a missing archive. None means yes, unless OMNIGLOT_DOWNLOAD is 0.

    Raises:
        OmniglotMissing: there is no copy, and it may not or could not be downloaded.
        OmniglotDamaged: the first copy found is not the official data set. No other is taken in its stead.
    """
    path = find(archive)
    if path is None:
        kept = find_kept(archive)
        if kept is not None:
            return kept[1]
        if download is None:
            download = os.environ.get("OMNIGLOT_DOWNLOAD") != "0"
        if not download:
            raise OmniglotMissing(how_to_get(archive, "downloading is switched off"))
        path = _fetch_once(archive, cache_folder())
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
    cached = cache / f"{archive.name}-{_md5(path)[:12]}.npz"
    drawings = read_cache(archive, cached)
    if drawings is None:
        drawings = read_archive(archive, path)
        write_cache(drawings, cached)
    return drawings


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def read_archive(archive: Archive, path: Path) -> Drawings:
    """Every drawing of the zip file at ``path``, shrunk; else an OmniglotDamaged that says what is wrong."""

    def damaged(problem: str) -> OmniglotDamaged:
        return OmniglotDamaged(
            f"{path} is not Omniglot's {archive.filename}: {problem}. Delete it and get it again with "
            f"`python -m course_lib data`, or copy it from {SOURCES[1]}{archive.filename}"
        )

    try:
        with zipfile.ZipFile(path) as pack:
            members: dict[tuple[str, ...], list[str]] = {}  # (alphabet, character): its drawings
            for member in sorted(pack.namelist()):
                if member.endswith(".png"):
                    members.setdefault(tuple(member.split("/")[-3:-1]), []).append(member)
            counts = {len(drawn) for drawn in members.values()}
            if len(members) != archive.characters or counts != {DRAWINGS}:
                held = f"{sum(map(len, members.values()))} drawings of {len(members)} characters"
                raise damaged(f"it holds {held}, not {DRAWINGS} of each of {archive.characters}")
            names = sorted(members)
            images = torch.stack([_shrunk(pack, members[name]) for name in names])  # [C, 20, 28, 28]
    except OmniglotDamaged:
        raise
    except (*UNREADABLE, SyntaxError, RuntimeError) as error:  # Pillow's and zipfile's ways to give up
        raise damaged(f"it cannot be read ({error})") from error
    drawings = Drawings(images, tuple(names))
    if digest(drawings) != archive.digest:
        raise damaged("it holds the right number of drawings, but not the official ones")
    return drawings


def _shrunk(pack: zipfile.ZipFile, members: list[str]) -> Tensor:
    """One character's drawings, uint8 [20, 28, 28]. In the archive, ink is black on white paper."""
    from PIL import Image

    ink = []
    for member in members:
        with Image.open(io.BytesIO(pack.read(member))) as picture:
            ink.append(torch.from_numpy(np.asarray(picture.convert("1")) == 0))  # bool [105, 105]
    return shrink(torch.stack(ink))


def read_cache(archive: Archive, path: Path) -> Drawings | None:
    """The drawings kept at ``path``, or None where there are none or they are not the official ones."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            names = tuple((alphabet, character) for alphabet, character in kept["names"].tolist())
            drawings = Drawings(torch.from_numpy(kept["images"]), names)
        believed = digest(drawings) == archive.digest
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (*UNREADABLE, TypeError, KeyError):
        believed = False
    if not believed:
        warnings.warn(f"{path} is damaged or of another version, and is not used", stacklevel=2)
        return None
    return drawings


def write_cache(drawings: Drawings, path: Path) -> None:
    """Keeps the drawings at ``path``: whole or not at all, whoever else writes there. No failure stops us."""
    half = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.stem, delete=False) as file:
            half = Path(file.name)
            np.savez(file, images=drawings.images.numpy(), names=np.array(drawings.names))
        os.replace(half, path)
    except OSError as error:
        if half is not None:
            half.unlink(missing_ok=True)
        warnings.warn(f"not kept for next time: {path} cannot be written ({error})", stacklevel=2)


def how_to_get(archive: Archive, why: str) -> str:
    """What to tell a person who lacks the archive."""
    looked = ", ".join(str(folder) for folder in places())
    return (
        f"Omniglot's {archive.filename} is not here: none of the folders {looked} has it, and {why}. "
        f"Get it with `python -m course_lib data`, or copy it from {SOURCES[1]}{archive.filename} into one "
        "of these folders, or set OMNIGLOT_ROOT to the folder that has it."
    )


def fetch(archive: Archive, folder: Path) -> Path:
    """Downloads the archive into ``folder`` with a progress bar, going on where an earlier try broke off.

    The file appears under its name only when it is whole and its MD5 is right.

    Raises:
        OmniglotMissing: no address gave the file, or the folder cannot be written; with every reason.
    """
    import pooch
    import requests

    reasons = []
    for source in archive.sources:
        url = source + archive.filename
        for _ in range(ATTEMPTS):
            try:
                known = f"md5:{archive.md5}"
                return Path(pooch.retrieve(url, known, archive.filename, folder, downloader=_resume))
            except (requests.RequestException, ValueError) as error:  # a ValueError: the wrong checksum
                reasons.append(f"{source.split('/')[2]}: {_short(error)}")
                if isinstance(error, (requests.ConnectionError, requests.HTTPError)):
                    break  # no such host, or no such file there: asking again would not help
            except OSError as error:
                raise OmniglotMissing(how_to_get(archive, f"{folder} cannot be written ({error})")) from error
    raise OmniglotMissing(how_to_get(archive, f"no address gave it ({'; '.join(reasons)})"))


def _short(error: Exception) -> str:
    """What went wrong, without the layers of a network library around it."""
    while error.args and isinstance(error.args[0], Exception):
        error = error.args[0]
    return str(getattr(error, "reason", error)).rpartition("): ")[2]


def _resume(url: str, output_file: str, pooch) -> None:
    """A downloader for pooch that keeps what came when it breaks off, and asks for the rest next time."""
    import requests
    from tqdm.auto import tqdm

    output = Path(output_file)  # a temporary name in the folder of the download
    rest = output.with_name(f"{url.rsplit('/', 1)[-1]}.part")
    if rest.exists():
        os.replace(rest, output)  # taken from under any other process
    have = output.stat().st_size
    try:
        headers = {"Range": f"bytes={have}-"} if have else {}
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            if answer.status_code == requests.codes.range_not_satisfiable:
                return  # there is no rest: the checksum says whether this is the file
            answer.raise_for_status()
            if answer.status_code != requests.codes.partial_content:
                have = 0
            length = int(answer.headers.get("Content-Length", 0))
            bar = tqdm(desc=rest.stem, initial=have, total=have + length, unit="B", unit_scale=True)
            with bar, open(output, "r+b") as file:
                file.seek(have)
                file.truncate()
                for chunk in answer.iter_content(1 << 16):
                    file.write(chunk)
                    bar.update(len(chunk))
    except BaseException:  # a keyboard interrupt too
        os.replace(output, rest)
        raise
