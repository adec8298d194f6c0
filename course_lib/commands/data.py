"""Fetch, verify and describe Omniglot (14 MB): ``python -m course_lib data``."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from course_lib.engine import omniglot_files as files
from course_lib.tasks import OmniglotTasks


def main(argv: list[str]) -> int:
    """Do what is asked; 0.

    Raises:
        OmniglotMissing: the data set is not here and could not be downloaded. OmniglotDamaged: it is not sound.
    """
    parser = argparse.ArgumentParser(prog="python -m course_lib data", description=__doc__.partition(":")[0] + ".")
    parser.add_argument(
        "action",
        nargs="?",
        choices=("all", "fetch", "verify", "describe"),
        default="all",
        help="fetch: download the archives that are not here; verify: read every drawing anew and hold it "
        "against the official ones; describe: what there is to learn from (default: all three)",
    )
    parser.add_argument(
        "--folder", type=Path, default=None, help=f"where to download to (default: {files.cache_folder()})"
    )
    args = parser.parse_args(argv)
    if args.action in ("all", "fetch"):
        _fetch(args.folder or files.cache_folder())
    if args.action in ("all", "verify"):
        _verify()
    if args.action in ("all", "describe"):
        _describe()
    return 0


def _fetch(folder: Path) -> None:
    for archive in files.ARCHIVES:
        path = files.find(archive)
        if path is None and files.find_kept(archive) is None:
            path = files.fetch(archive, folder)
            if folder not in files.places():
                print(f"set OMNIGLOT_ROOT={folder} so that {path.name} is found there")


def _verify() -> None:
    for archive in files.ARCHIVES:
        begin = time.perf_counter()
        path = files.find(archive)
        if path is not None:
            drawings = files.read_archive(archive, path)
        else:
            kept = files.find_kept(archive)
            if kept is None:
                raise files.OmniglotMissing(files.how_to_get(archive, "there is nothing to verify"))
            path, drawings = kept
        alphabets = len({alphabet for alphabet, _ in drawings.names})
        print(
            f"{path}: {len(drawings.names)} characters of {alphabets} alphabets, {files.DRAWINGS} drawings "
            f"each, all as the authors published them ({time.perf_counter() - begin:.1f} s)"
        )


def _describe() -> None:
    for splits in ("alphabets", "characters"):
        print(f'\nsplits="{splits}"')
        for split in ("train", "fit", "val", "test"):
            tasks = OmniglotTasks(split, splits=splits, rotations=False, download=False)
            print(f"  {split:5}  {tasks.num_characters:4} characters of {len(tasks.alphabets)} alphabets")
    print("\nalphabets for testing: " + ", ".join(OmniglotTasks("test", download=False).alphabets))
