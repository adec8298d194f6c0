"""Few-shot episodes from a pool of characters: W classes, S support and Q query drawings of each.

Vinyals et al. 2016, "Matching networks for one-shot learning" (arXiv 1606.04080), set the task: tell W
characters never seen before apart, from S drawings of each. One tensor holds the pool, and a meta-batch is a
look-up in it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from course_lib.tasks.base import TaskBatch
from course_lib.validation import check_count

QUARTER_TURNS = 4
SPLITS = ("train", "fit", "val", "test")  # "train" is "fit" and "val" together


class CharacterTasks:
    """W-way episodes from ``images`` uint8 [C, D, 28, 28]: C characters, D drawings of each, 255 is ink.

    Args:
        images: the pool; [C, D, channels, height, width] for pictures in colour.
        alphabet_ids: int64 [C], the alphabet of each character.
        alphabets: the alphabets' names.
        characters: the C characters' names within their alphabets.
        ways, shots, queries: classes, and support and query drawings of each class. A class has D drawings,
            so shots + queries is at most D.
        rotations: each character turned by 0, 90, 180 and 270 degrees is four classes (Santoro et al. 2016,
            arXiv 1605.06065, and most since), so the pool has 4 C classes. Class c + C t is character c after
            t quarter turns.
        within_alphabet: all classes of an episode come from one alphabet (and one rotation), which is harder.
            The alphabet is drawn first, each with the same chance, among those with enough characters.

    Attributes:
        images: uint8 [num_classes, D, 28, 28], the pool, rotations included, to train on all classes at once.
        num_classes: C, or 4 C with rotations.

    Raises:
        ValueError: for more ways than there are characters, or more drawings than a class has.
    """

    name = "characters"
    is_standin = False  # drawn by people, not by a program

    def __init__(
        self,
        images: Tensor,
        alphabet_ids: Tensor,
        alphabets: Sequence[str],
        characters: Sequence[str],
        *,
        ways: int = 5,
        shots: int = 1,
        queries: int = 15,
        rotations: bool = False,
        within_alphabet: bool = False,
    ):
        self.ways = check_count("ways", ways, 2)
        self.shots = check_count("shots", shots, 1)
        self.queries = check_count("queries", queries, 1)
        self.rotations, self.within_alphabet = rotations, within_alphabet
        self.alphabets, self.characters = list(alphabets), list(characters)
        self.num_characters, self.num_drawings = images.shape[:2]
        if shots + queries > self.num_drawings:
            raise ValueError(
                f"a character has {self.num_drawings} drawings, so shots={shots} and queries={queries} are "
                f"{shots + queries - self.num_drawings} too many: ask for fewer queries"
            )
        turns = range(QUARTER_TURNS if rotations else 1)
        self.images = torch.cat([torch.rot90(images, t, (-2, -1)) for t in turns])  # [num_classes, D, 28, 28]
        self.num_classes = len(self.images)
        # Which classes may meet in one episode: of one alphabet and rotation, or any.
        group = torch.cat([alphabet_ids + t * len(self.alphabets) for t in turns])  # [num_classes]
        group = group if within_alphabet else torch.zeros_like(group)
        sizes = torch.bincount(group)  # [groups]
        enough = (sizes >= ways).nonzero().squeeze(1)  # the groups with enough classes
        self._groups = {"cpu": (group, enough)}  # for each device that has drawn
        self.alphabet_ids = torch.cat([alphabet_ids for _ in turns])  # [num_classes]
        if len(enough) == 0:
            where = "the largest alphabet" if within_alphabet else "the pool"
            raise ValueError(f"{where} has {int(sizes.max())} classes, too few for ways={ways}")

    def to(self, device: torch.device | str) -> CharacterTasks:
        """These tasks with their pictures on ``device``, where ``sample`` then makes its batches."""
        moved = object.__new__(type(self))
        moved.__dict__.update(self.__dict__)
        moved.images = self.images.to(device)
        return moved

    def sample(self, num_tasks: int, *, generator: torch.Generator | None = None) -> TaskBatch:
        """A meta-batch of ``num_tasks`` episodes, on the device of ``images``.

        ``support_x`` [T, W S, 1, 28, 28] and ``query_x`` [T, W Q, 1, 28, 28] are float from 0 to 1, which is
        ink; ``support_y`` [T, W S] and ``query_y`` [T, W Q] are labels 0 to W-1. ``info["classes"]`` [T, W]
        is the class of each label (see ``class_name``), ``info["drawings"]`` [T, W, S + Q] which of its
        drawings, the support's first.

        Random numbers are drawn where ``generator`` lives (the CPU by default). With a CPU generator and
        pictures on a GPU, the choice is copied over without waiting for the GPU.
        """
        check_count("num_tasks", num_tasks, 1)
        device = self.images.device
        picked = self._pick(num_tasks, generator)  # [T, W, S + Q]
        if device.type == "cuda" and picked.device.type == "cpu":
            picked = picked.pin_memory()
        picked = picked.to(device, non_blocking=device.type != "cpu")
        pool = self.images.flatten(0, 1)  # [num_classes D, 28, 28]
        labels = torch.arange(self.ways, device=device)  # [W]

        def half(picked: Tensor) -> tuple[Tensor, Tensor]:
            images = with_channel(pool[picked].flatten(1, 2))  # [T, W N, 1, 28, 28]
            y = labels.repeat_interleave(picked.shape[2]).repeat(num_tasks, 1)  # [T, W N]
            return images / 255, y

        support, query = half(picked[..., : self.shots]), half(picked[..., self.shots :])
        info = {"classes": picked[..., 0] // self.num_drawings, "drawings": picked % self.num_drawings}
        return TaskBatch(*support, *query, info=info)

    def _pick(self, num_tasks: int, generator: torch.Generator | None) -> Tensor:
        """Which drawings, as rows of the flattened pool: int64 [T, W, S + Q], where ``generator`` lives.

        The largest of independent uniform numbers stand at a uniformly random subset, in random order: that
        is drawing without replacement, for all tasks at once.
        """
        device = generator.device if generator is not None else "cpu"
        random = {"generator": generator, "device": device}
        score = torch.rand(num_tasks, self.num_classes, **random)  # [T, num_classes]
        if self.within_alphabet:
            if str(device) not in self._groups:
                self._groups[str(device)] = tuple(g.to(device) for g in self._groups["cpu"])
            group, enough = self._groups[str(device)]
            chosen = enough[torch.randint(len(enough), (num_tasks, 1), **random)]  # [T, 1]
            score = score.masked_fill(group != chosen, -1.0)
        classes = score.topk(self.ways).indices  # [T, W]
        score = torch.rand(num_tasks, self.ways, self.num_drawings, **random)  # [T, W, D]
        drawings = score.topk(self.shots + self.queries).indices  # [T, W, S + Q]
        return classes[..., None] * self.num_drawings + drawings

    def class_name(self, index: int) -> str:
        """What class ``index`` is: its alphabet, its character, and how far it was turned."""
        turns, character = divmod(int(index), self.num_characters)
        name = f"{self.alphabets[int(self.alphabet_ids[character])]}, {self.characters[character]}"
        return f"{name}, turned {90 * turns} degrees" if turns else name

    def settings(self) -> dict:
        """The constructor's arguments, for a checkpoint's record."""
        names = ("ways", "shots", "queries", "rotations", "within_alphabet")
        return {name: getattr(self, name) for name in names}

    def describe(self) -> str:
        pool = f"{self.num_characters} characters of {len(self.alphabets)} alphabets"
        if self.rotations:
            pool += f" in four rotations ({self.num_classes} classes)"
        together = ", classes of one alphabet together" if self.within_alphabet else ""
        return (
            f"{self.name}: {self.ways}-way {self.shots}-shot, {self.queries} queries a class, "
            f"from {pool}, {self.num_drawings} drawings each{together}"
        )


def with_channel(images: Tensor) -> Tensor:
    """Pictures [T, N, H, W] as [T, N, 1, H, W]; those that have a dimension of channels as they are."""
    return images if images.ndim == 5 else images.unsqueeze(2)
