"""Files that are whole or not there, and that are believed only if every byte is as it was written.

One writer for all files of the course, one file format for tensors with their description, one lock on an output.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

# A sealed file is a .safetensors file whose JSON begins so; then come the SHA-256 of the whole file, taken with zeros
# in its own place, and what else there is to say.
SEAL = b'{"__metadata__": {"sha256": "'
BEGIN, END = 8 + len(SEAL), 8 + len(SEAL) + 64  # of the digest; the first 8 bytes are the JSON's length


class InUse(RuntimeError):
    """Another process is writing there."""


def write_whole(path: str | os.PathLike, content: bytes | str) -> None:
    """Write a file all or nothing: beside its place, out to the disk, then renamed.

    Raises:
        OSError: it cannot be written there; what was there before still is.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{os.getpid()}-{threading.get_ident()}.part")
    try:
        with beside.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    if os.name == "posix":  # the new name is out on the disk too
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            with suppress(OSError):  # not every file system can
                os.fsync(folder)
        finally:
            os.close(folder)


def write_tensors(path: str | os.PathLike, tensors: dict[str, Tensor], header: dict) -> None:
    """Write tensors and a JSON header to ``path`` as one sealed .safetensors file, all or nothing.

    Raises:
        OSError: it cannot be written there.
        ValueError: the header holds NaN or infinity, which JSON cannot say.
    """
    data = save({name: t.detach().to("cpu").contiguous().clone() for name, t in tensors.items()})
    size = int.from_bytes(data[:8], "little")
    about = {"sha256": "0" * 64, "header": json.dumps(header, allow_nan=False)}
    text = json.dumps({"__metadata__": about, **json.loads(data[8 : 8 + size])}).encode()
    text += b" " * (-len(text) % 8)
    data = len(text).to_bytes(8, "little") + text + data[8 + size :]
    write_whole(path, data[:BEGIN] + _digest(data) + data[END:])


def read_tensors(path: str | os.PathLike) -> tuple[dict[str, Tensor], dict]:
    """The tensors and the JSON header of a file of ``write_tensors``; its seal is looked at before anything else.

    Raises:
        OSError: there is no such file, or it may not be read.
        ValueError: the file is cut short, has been changed, or is something else.
    """
    data = Path(path).read_bytes()
    problem = "its bytes are not those that were written"
    try:
        if data[8:BEGIN] == SEAL and data[BEGIN:END] == _digest(data):
            size = int.from_bytes(data[:8], "little")
            header = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["header"])
            return {name: tensor.clone() for name, tensor in load(data).items()}, header
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        problem = str(error)
    raise ValueError(
        f"{path} is not a whole .safetensors file of this course ({problem}): delete it, and train or fetch it again"
    )


def _digest(data: bytes) -> bytes:
    """SHA-256 of a sealed file, taken with zeros in the digest's own place."""
    sha, view = hashlib.sha256(), memoryview(data)
    for part in (view[:BEGIN], b"0" * 64, view[END:]):
        sha.update(part)
    return sha.hexdigest().encode()


@contextmanager
def only_writer(path: str | os.PathLike) -> Iterator[None]:
    """Inside, this process alone may write the output ``path``, and what is named after it.

    The lock is the operating system's, on a file beside ``path``: it ends with its process, however that ends. Where a
    file system has no locks there is none.

    Raises:
        InUse: another process is inside; says which.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}.lock")
    while True:
        with lock.open("a+") as file:
            try:
                _lock(file.fileno())
            except BlockingIOError as error:
                file.seek(0)
                who = file.read().strip() or "unknown"
                raise InUse(
                    f"{path} is being written by another run (process {who}): wait for it, or name another place"
                ) from error
            if not _is_there(lock, file.fileno()):
                continue  # its last owner removed it while we waited
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            try:
                yield
            finally:
                with suppress(OSError):  # Windows removes no open file
                    lock.unlink()
            return


def _is_there(path: Path, descriptor: int) -> bool:
    """Whether the open file is still the one at ``path``."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _lock(descriptor: int) -> None:
    """Lock an open file for this process; BlockingIOError if another has it."""
    try:
        import fcntl
    except ImportError:
        import msvcrt

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError(*error.args) from error
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # no locks on this file system
        return
