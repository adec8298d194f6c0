"""A small archive like Omniglot's, on the real disk."""

from __future__ import annotations

import dataclasses
import io
import zipfile
from pathlib import Path

import torch
from PIL import Image

from course_lib.engine import omniglot_files as files


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
