"""Where Omniglot is looked for: a small archive, with a cache and a home of its own. What needs a compiler."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from course_lib.engine import omniglot_files as files
from course_lib.engine.compiled import check_compiler
from course_lib.engine.strokes import shrink
from tests.engine.archives import Small, write_archive


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
    files._kept.cache_clear()
    files._unreachable.clear()
    return Small(files.Archive("images_small", 3, 6, digest, md5), path, ink, files.cache_folder())


@pytest.fixture
def compiler() -> None:
    """Skips where no C++ compiler is found."""
    try:
        check_compiler()
    except RuntimeError as error:
        pytest.skip(str(error))
