"""What a recording depends on, as a digest: it is made again only where that changes."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import matplotlib
import torch

PACKAGE = Path(__file__).parents[2]
RECORDER = "course_lib.kit.site.recording"
TABLES = ".json", ".csv", ".safetensors"


def digest(module: str, *about: object) -> str:
    """Of a demo's module: its source and that of all it imports of the course, and of what records it, tables beside
    them, the checkpoints, the versions of PyTorch and Matplotlib, and what else is said ``about`` it."""
    found = hashlib.sha256(repr([about, torch.__version__, matplotlib.__version__]).encode())
    sources = sorted(closure(module) | closure(RECORDER))
    folders = {path.parent for path in sources} - {PACKAGE, PACKAGE / "kit"}
    tables = {file for folder in folders for file in folder.rglob("*") if file.suffix in TABLES}
    for path in [*sources, *sorted(file for file in tables if file.name != "claims.json")]:
        found.update(_content(path))
    return found.hexdigest()[:16]


@lru_cache(maxsize=None)
def _content(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


def closure(module: str) -> set[Path]:
    """Files of the course that ``module`` imports, directly or not."""
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        path = _file(waiting.pop())
        if path and path not in found:
            found.add(path)
            waiting += _imports(path)
    return found


@lru_cache(maxsize=None)
def _file(module: str) -> Path | None:
    place = PACKAGE.parent / Path(*module.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


@lru_cache(maxsize=None)
def _imports(path: Path) -> tuple[str, ...]:
    return tuple(_of_the_course(ast.walk(ast.parse(path.read_text(encoding="utf-8")))))


def _of_the_course(nodes: Iterable[ast.AST]) -> Iterable[str]:
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("course_lib"):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("course_lib"))
