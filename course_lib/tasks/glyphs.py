"""Drawn glyphs: characters nobody ever wrote, for where Omniglot is not at hand.

Strokes between the nodes of a grid, by an unsteady hand (engine/glyphs.py). A stand-in that says so in its name:
accuracies on it are not those on Omniglot.
"""

from __future__ import annotations

import warnings

import torch

from course_lib.engine.glyphs import CHARACTERS, draw_alphabets
from course_lib.engine.omniglot_files import OmniglotMissing
from course_lib.tasks.episodes import SPLITS, CharacterTasks
from course_lib.tasks.omniglot import OmniglotTasks
from course_lib.validation import check_choice

VAL_ALPHABETS = 4  # the last of those to train on


class GlyphTasks(CharacterTasks):
    """Episodes of drawn glyphs, with the interface of ``OmniglotTasks``.

    Args:
        split: "train" (400 characters of 20 alphabets) or "test" (200 of 10); "train" is "fit" and "val"
            together.
        ways, shots, queries, within_alphabet: see ``CharacterTasks``.
        rotations: whether each character in four rotations is four classes; None means yes for training
            ("train" and "fit") and no for judging ("val" and "test").
        seed: draws other characters; the same seed gives the same pictures.

    Raises:
        ValueError: for an unknown split, or more ways or drawings than there are.
    """

    name = "drawn glyphs (stand-in for Omniglot)"
    is_standin = True

    def __init__(
        self,
        split: str = "train",
        *,
        ways: int = 5,
        shots: int = 1,
        queries: int = 15,
        rotations: bool | None = None,
        within_alphabet: bool = False,
        seed: int = 0,
    ):
        check_choice("split", split, SPLITS)
        self.split, self.seed = split, seed
        images = draw_alphabets("test" if split == "test" else "train", seed)  # [A, 20, 20, 28, 28]
        last = len(images) - VAL_ALPHABETS
        chosen = {"fit": range(last), "val": range(last, len(images))}.get(split, range(len(images)))
        super().__init__(
            images[chosen.start : chosen.stop].flatten(0, 1),
            torch.arange(len(chosen)).repeat_interleave(CHARACTERS),
            [f"{'new' if split == 'test' else 'drawn'} alphabet {a + 1}" for a in chosen],
            [f"character{c + 1:02d}" for c in range(CHARACTERS)] * len(chosen),
            ways=ways,
            shots=shots,
            queries=queries,
            rotations=split in ("train", "fit") if rotations is None else rotations,
            within_alphabet=within_alphabet,
        )

    def settings(self) -> dict:
        return {"split": self.split, "seed": self.seed, **super().settings()}


def character_tasks(
    split: str = "train",
    *,
    ways: int = 5,
    shots: int = 1,
    queries: int = 15,
    rotations: bool | None = None,
    within_alphabet: bool = False,
    download: bool | None = None,
) -> OmniglotTasks | GlyphTasks:
    """Omniglot if it is here or can be had, else drawn glyphs and a warning that says so.

    ``tasks.name`` belongs in every title and table, and ``tasks.is_standin`` tells the two apart.

    Args:
        download: as for ``OmniglotTasks``; the other arguments are as for both.

    Raises:
        OmniglotDamaged: there is a file of Omniglot's, and it is broken, which is not to be passed over.
        ValueError: for arguments neither can serve.
    """
    episodes = {
        "ways": ways,
        "shots": shots,
        "queries": queries,
        "rotations": rotations,
        "within_alphabet": within_alphabet,
    }
    try:
        return OmniglotTasks(split, download=download, **episodes)
    except OmniglotMissing as missing:
        warnings.warn(f"Using {GlyphTasks.name}, because {missing}", stacklevel=2)
        return GlyphTasks(split, **episodes)
