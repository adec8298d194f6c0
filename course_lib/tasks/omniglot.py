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

import torch

from course_lib.engine.omniglot_files import ARCHIVES, BACKGROUND, EVALUATION, load, require
from course_lib.tasks.episodes import SPLITS, CharacterTasks
from course_lib.validation import check_choice

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
        OmniglotMissing: the data set is not on this machine, or only one of its archives is, and it was not
            downloaded; it says where to put it.
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
        check_choice("split", split, SPLITS)
        check_choice("splits", splits, ("alphabets", "characters"))
        self.split, self.splits = split, splits
        require(ARCHIVES, download)
        of_split = [EVALUATION if split == "test" else BACKGROUND] if splits == "alphabets" else ARCHIVES
        drawings = [load(archive, download) for archive in of_split]
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
