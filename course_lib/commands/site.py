"""``python -m course_lib site [OUT]``: the course as web pages whose sliders move, from a folder, without Python.

Demos are recorded in two processes and kept by what they depend on (build/recordings): the first time takes minutes,
a changed word of a notebook seconds.
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import json
import os
import time
from concurrent.futures import as_completed
from pathlib import Path

from course_lib.chapters import demo_modules
from course_lib.chapters.omniglot import draw_your_own
from course_lib.commands import check_names
from course_lib.engine.pool import process_pool
from course_lib.kit.drawing_pad import Drawing
from course_lib.kit.site.build import build
from course_lib.kit.site.cache import closure, digest
from course_lib.kit.site.network import pads_of
from course_lib.kit.site.pages import Placed, demos_in
from course_lib.kit.site.recording import PLANE, PLANES, record

PROJECT = Path(__file__).parents[2]
BUILD = PROJECT / "build"
KEPT = BUILD / "recordings"
HEAVY = 3_000_000  # bytes of a whole site, packed


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m course_lib site", description=__doc__)
    parser.add_argument("out", nargs="?", type=Path, default=BUILD / "site", help="folder (build/site)")
    parser.add_argument("--only", nargs="+", metavar="03", help="notebooks by number")
    parser.add_argument(
        "--planes",
        action="store_true",
        help="record the slider that plays with every control: some three times the size",
    )
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="processes that record")
    arguments = parser.parse_args(argv)
    began = time.perf_counter()
    paths = sorted((PROJECT / "notebooks").glob("[0-9]*.ipynb"))
    check_names("notebook", arguments.only or (), [path.name[:2] for path in paths])
    paths = [path for path in paths if not arguments.only or path.name[:2] in arguments.only]
    notebooks = {path: json.loads(path.read_text(encoding="utf-8")) for path in paths}
    placed = list(dict.fromkeys(demo for notebook in notebooks.values() for demo in demos_in(notebook)))
    recordings = recorded(placed, arguments.planes, arguments.jobs)
    files = build(arguments.out, notebooks, recordings, pads_of(draw_your_own.demo()))
    packed = sum(len(gzip.compress(content)) for content in files.values())
    size = sum(map(len, files.values()))
    if packed > HEAVY and not arguments.planes:
        print(f"more than {HEAVY / 1e6:g} MB packed: lower FRAMES and PLANE in course_lib/kit/site/recording.py")
    print(
        f"{arguments.out / 'index.html'}: {len(paths)} chapters, {len(recordings)} demos, {size / 1e6:.1f} MB "
        f"({packed / 1e6:.1f} MB packed) in {time.perf_counter() - began:.0f} s"
    )
    return 0


def recorded(demos: list[Placed], planes: bool, jobs: int) -> dict[str, dict]:
    """The recordings by name: kept ones, and those made anew."""
    KEPT.mkdir(parents=True, exist_ok=True)
    modules = demo_modules()
    files = {d: KEPT / f"{d.name}-{digest(modules[d.key], d, planes)}.json" for d in demos if d.key in modules}
    missing = [demo for demo, file in files.items() if not file.is_file()]
    with process_pool(jobs) as pool:
        waiting = {pool.submit(make, demo, modules[demo.key], planes, files[demo]): demo for demo in missing}
        for done in as_completed(waiting):
            print(f"recorded {waiting[done].name}: {done.result()}", flush=True)
    return {demo.name: json.loads(file.read_text(encoding="utf-8")) for demo, file in files.items()}


def make(placed: Placed, module: str, planes: bool, file: Path) -> str:
    """Record one demo into ``file``; what it came to, in words."""
    began = time.perf_counter()
    demo = getattr(importlib.import_module(module), placed.function)(**placed.values())
    drawn_on = any(isinstance(control, Drawing) for control in demo.controls.values())
    recording = pads_of(demo) if drawn_on else record(demo, PLANES if planes else PLANE) | {"about": about(module)}
    text = json.dumps(recording, separators=(",", ":"))
    for old in file.parent.glob(f"{placed.name}-{'[0-9a-f]' * 16}.json"):
        old.unlink()
    part = file.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)
    frames, packed = len(recording.get("frames", ())), len(gzip.compress(text.encode())) / 1e3
    return f"{frames} settings, {packed:.0f} KB packed, {time.perf_counter() - began:.0f} s"


def about(module: str) -> str:
    """What a recording shows, for the reader."""
    sources = {path.relative_to(PROJECT).as_posix() for path in closure(module)}
    shipped = "experiments/" in " ".join(sources) and "measurements that ship with the course"
    trained = "from course_lib import checkpoints" in Path(importlib.import_module(module).__file__).read_text("utf-8")
    shown = " and ".join(filter(None, [trained and "networks trained before", shipped]))
    return "Recorded" + (f" with {shown}." if shown else ".")
