"""Damage as disks, cables and other programs do it: the same for the same seed."""

from __future__ import annotations

import multiprocessing
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def damage(data: bytes, seed: int) -> bytes:
    """Other bytes than ``data``: by turns of the seed a bit flipped, a byte of the first 400 changed, a stretch of
    zeros, the end cut off, bytes put in, two stretches swapped."""
    chance = random.Random(seed)
    spoilt = bytearray(data)
    at = chance.randrange(len(data))
    kind = seed % 6
    if kind == 0:
        spoilt[at] ^= 1 << chance.randrange(8)
    elif kind == 1:
        spoilt[at % 400] ^= chance.randrange(1, 256)
    elif kind == 2:
        spoilt[at : at + 64] = bytes(len(spoilt[at : at + 64]))
    elif kind == 3:
        del spoilt[at:]
    elif kind == 4:
        spoilt[at:at] = chance.randbytes(8)
    else:
        half = len(data) // 2
        spoilt = spoilt[half:] + spoilt[:half]
    return bytes(spoilt) if bytes(spoilt) != data else damage(data, seed + 6)


def flip_a_bit(path: Path, seed: int) -> None:
    """Flip one bit of the file, anywhere."""
    data = bytearray(path.read_bytes())
    chance = random.Random(seed)
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


@contextmanager
def no_file_over(size: int) -> Iterator[None]:
    """Inside, writing more than ``size`` bytes to a file fails half-way, as on a full disk."""
    resource = pytest.importorskip("resource", reason="needs a system that bounds the size of files")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def forking() -> multiprocessing.context.BaseContext:
    """Processes that begin as copies of this one; where a system has none the test is skipped."""
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("needs a system that forks")
    return multiprocessing.get_context("fork")
