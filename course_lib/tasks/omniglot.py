"""Omniglot: 1,623 characters of 50 alphabets, each drawn once by 20 people; episodes from it.

Lake, Salakhutdinov, Tenenbaum 2015, "Human-level concept learning through probabilistic program induction",
Science 350. The few-shot use of it is Vinyals et al. 2016 (arXiv 1606.04080).

Papers disagree about which characters are for training and whether rotations make new classes, and results
with different answers cannot be compared. So both are switches here:

| | split | rotations as classes |
|---|---|---|
| Lake et al. 2015 | alphabets: 30 background, 20 evaluation | no |
| MAML (arXiv 1703.03400), released code | 1200 / 423 characters, as a directory lists them | train and test |
| Reptile (arXiv 1803.02999), released code | 1200 / 423 characters, sorted then shuffled | train only |
| here, by default | alphabets | train only |
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

from course_lib.tasks import omniglot_files as files
from course_lib.tasks.episodes import CharacterTasks, check_split
from course_lib.tasks.omniglot_files import ARCHIVES, BACKGROUND, EVALUATION, load

TRAIN_CHARACTERS = 1200  # of 1,623: Santoro et al. 2016, MAML, Reptile
VAL_CHARACTERS = 100  # the last of those 1,200: MAML's released code
VAL_ALPHABETS = 5  # of the 30 background alphabets; no paper's
SPLIT_SEED = 0  # MAML's order was that of a directory listing, which no seed gives back


class OmniglotTasks(CharacterTasks):
    """Episodes from Omniglot.

    Args:
        split: "train" or "test", which share no character. "train" is "fit" and "val" together, for choosing
            settings: train on "fit", compare on "val", then train on "train" and report on "test".
        ways, shots, queries, within_alphabet: see ``CharacterTasks``.
        rotations: whether each character in four rotations is four classes; None means yes for training
            ("train" and "fit") and no for judging ("val" and "test").
        splits: "alphabets", the data set's own 30 background and 20 evaluation alphabets (964 and 659
            characters, so that whole alphabets are new at test time), or "characters", 1,200 and 423
            characters of all 50 alphabets mixed, as in most papers; ours are drawn by a fixed seed.
        download: whether to fetch missing data; None means yes, unless OMNIGLOT_DOWNLOAD is 0.

    Raises:
        OmniglotMissing: the data set is not on this machine and was not downloaded; it says where to put it.
        OmniglotDamaged: a file found is not the official data set.
        ValueError: for an unknown split, or more ways or drawings than there are.
    """

    name = "Omniglot"

    def __init__(
        self,
        split: str = "train",
        *,
        ways: int = 5,
        shots: int = 1,
        queries: int = 15,
        rotations: bool | None = None,
        within_alphabet: bool = False,
        splits: str = "alphabets",
        download: bool | None = None,
    ):
        check_split(split)
        if splits not in ("alphabets", "characters"):
            raise ValueError(f'splits must be "alphabets" or "characters", not {splits!r}')
        self.split, self.splits = split, splits
        if splits == "alphabets":
            drawings = [load(EVALUATION if split == "test" else BACKGROUND, download)]
        else:
            drawings = [load(archive, download) for archive in ARCHIVES]
        images = torch.cat([d.images for d in drawings])  # [C, 20, 28, 28]
        names = [name for d in drawings for name in d.names]
        chosen = _alphabets(split, names) if splits == "alphabets" else _characters(split, len(names))
        alphabets = sorted({names[c][0] for c in chosen})
        super().__init__(
            images[chosen],
            torch.tensor([alphabets.index(names[c][0]) for c in chosen]),
            alphabets,
            [names[c][1] for c in chosen],
            ways=ways,
            shots=shots,
            queries=queries,
            rotations=split in ("train", "fit") if rotations is None else rotations,
            within_alphabet=within_alphabet,
        )

    def settings(self) -> dict:
        return {"split": self.split, "splits": self.splits, **super().settings()}


def _alphabets(split: str, names: list[tuple[str, str]]) -> list[int]:
    """The rows of ``split`` in its archive: all, or those of the alphabets for validation, or the others."""
    if split in ("train", "test"):
        return list(range(len(names)))
    alphabets = sorted({alphabet for alphabet, _ in names})
    order = torch.randperm(len(alphabets), generator=torch.Generator().manual_seed(SPLIT_SEED)).tolist()
    held_out = {alphabets[i] for i in order[:VAL_ALPHABETS]}
    return [c for c, (alphabet, _) in enumerate(names) if (alphabet in held_out) == (split == "val")]


def _characters(split: str, count: int) -> list[int]:
    """The rows of ``split`` among all characters, shuffled by the fixed seed."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(SPLIT_SEED)).tolist()
    fit = TRAIN_CHARACTERS - VAL_CHARACTERS
    begin, end = {"train": (0, TRAIN_CHARACTERS), "fit": (0, fit), "val": (fit, TRAIN_CHARACTERS)}.get(
        split, (TRAIN_CHARACTERS, count)
    )
    return sorted(order[begin:end])


def main(argv: list[str] | None = None) -> int:
    """``python -m course_lib data``: 0 if the data set is here and sound, else 1 and a message on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m course_lib data", description="Fetch, verify and describe Omniglot (14 MB)."
    )
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
    try:
        if args.action in ("all", "fetch"):
            _fetch(args.folder or files.cache_folder())
        if args.action in ("all", "verify"):
            _verify()
        if args.action in ("all", "describe"):
            _describe()
    except (files.OmniglotMissing, files.OmniglotDamaged) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _fetch(folder: Path) -> None:
    for archive in ARCHIVES:
        path = files.find(archive)
        if path is None and files.find_kept(archive) is None:
            path = files.fetch(archive, folder)
            if folder not in files.places():
                print(f"set OMNIGLOT_ROOT={folder} so that {path.name} is found there")


def _verify() -> None:
    for archive in ARCHIVES:
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
