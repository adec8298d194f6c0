"""A folder for each notebook: its demos, exercises, lecture figures, experiments, and the theory that it alone uses."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any


@lru_cache(maxsize=1)
def demo_modules() -> dict[str, str]:
    """Of every demo of the course: its key, which is the name of its file, and its module; nothing is imported."""
    files = sorted(Path(__file__).parent.glob("*/*.py"))
    named = (path for path in files if re.search(r"^demo = \w+\(", path.read_text(encoding="utf-8"), re.MULTILINE))
    return {path.stem: f"{__name__}.{path.parent.name}.{path.stem}" for path in named}


def open_demo(key: str, function: str = "demo", /, **preset: Any) -> Any:
    """The demo that ``function`` of the file ``key`` makes, imported when it is asked for; ``preset`` goes to it.

    Raises:
        ValueError: there is no such demo.
    """
    if key not in demo_modules():
        raise ValueError(f"there is no demo {key!r}; there are {', '.join(demo_modules())}")
    return getattr(import_module(demo_modules()[key]), function)(**preset)
