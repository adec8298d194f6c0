"""You first: the reader names drawings of five new characters, then sees how two methods did on the same drawings.

    play(10, key="00.game")             # in a notebook: keys 1 to 5 or clicks; the cell ends at once
    result("09.game")                   # what was kept of the reader's last game, or None
    declaration(20, hands=4, seed=0)    # plain data: all that ``game.js`` needs on a page without a kernel

Pictures, rivals' answers and intervals are made here; ``game.js`` shows them, counts, and tells the answers once all
are given. They are kept by ``progress``. Where no kernel runs, the characters and the drawings stand as a picture.
"""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import anywidget
import matplotlib.image
import numpy as np
import torch
import traitlets
from matplotlib.figure import Figure
from torch import Tensor

from course_lib.kit import plots, progress
from course_lib.kit.characters import episode, labels, name, pool
from course_lib.kit.panel import answer_at_once

HERE = Path(__file__).parent
WAYS, EACH = 5, 10  # characters of a hand, and drawings of each that its questions are drawn from
RIVALS = {"pixels": "nearest pixels", "omniglot/r2d2": "R2D2, a network"}
NUMBERS = {4: "four", 10: "ten", 20: "twenty"}

_shown: dict[str, Game] = {}  # by key: the games of this session


def wilson95(right: int, total: int) -> tuple[float, float]:
    """Ends of the 95 % interval, in %, of a share of which ``right`` of ``total`` were seen (Wilson 1927).

    >>> [round(end) for end in wilson95(10, 10)], [round(end) for end in wilson95(4, 10)]
    ([72, 100], [17, 69])
    """
    z = 1.959964
    middle = (right + z**2 / 2) / (total + z**2)
    half = z * (right * (total - right) / total + z**2 / 4) ** 0.5 / (total + z**2)
    return 100 * max(middle - half, 0.0), 100 * min(middle + half, 1.0)


def declaration(queries: int = 10, hands: int = 1, seed: int = 0) -> dict[str, Any]:
    """The whole game as JSON values: pictures as data URLs, the truth, what the rivals say, and the intervals.

    Args:
        queries: drawings to name, in all.
        hands: how often five new characters are dealt; each hand has its share of the queries.
        seed: of the characters and the drawings.
    """
    characters = "five characters" if hands == 1 else f"{NUMBERS.get(hands, hands)} times five characters"
    standin = "Omniglot is not on this machine, so characters that a program drew stand in (drawn glyphs)."
    return {
        "title": f"You first: {characters}, {NUMBERS.get(queries, queries)} drawings",
        "pictures": name(),
        "note": standin if pool().is_standin else "",
        "hands": [
            {
                "support": [data_url(picture) for picture in hand["support"]],
                "queries": [
                    {
                        "picture": data_url(hand["query"][i]),
                        "truth": int(hand["truth"][i]),
                        "said": {rival: int(hand[rival][i]) for rival in RIVALS},
                    }
                    for i in range(queries // hands)
                ],
            }
            for hand in dealt_hands(queries, hands, seed)
        ],
        "rivals": RIVALS,
        "intervals": [wilson95(right, queries) for right in range(queries + 1)],
        "chance": 100 / WAYS,
    }


def dealt_hands(queries: int, hands: int, seed: int) -> list[dict[str, Tensor]]:
    """The hands of a game; another seed shares none of them."""
    return [deal(queries // hands, hands * seed + hand) for hand in range(hands)]


def deal(queries: int, seed: int) -> dict[str, Tensor]:
    """Five characters, one drawing of each [5, 28, 28]; drawings to name [Q, 28, 28], what they are and what the rivals
    say [Q]. Each drawing is of any of the five, so none can be told by elimination."""
    task = episode(WAYS, 1, EACH, seed)
    chosen = torch.randperm(WAYS * EACH, generator=torch.Generator().manual_seed(seed))[:queries]
    said = {judge: labels(judge, task)[chosen] for judge in ("truth", *RIVALS)}
    return {"support": task.support_x[0, :, 0], "query": task.query_x[0, chosen, 0]} | said


def data_url(picture: Tensor) -> str:
    """A picture [28, 28], 1 is ink, as a PNG in a URL."""
    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, 1 - picture.numpy(), cmap="gray", vmin=0, vmax=1, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def result(key: str) -> dict[str, Any] | None:
    """The reader's last finished game under ``key``: "right", "total", "pictures", "seed", "answers"; None if none."""
    return progress.score_at(key)


def play(queries: int = 10, *, hands: int = 1, seed: int = 0, key: str) -> Game:
    """The game in a notebook; its score is kept under ``key``, the notebook and a word, such as "00.game".

    The other arguments are those of ``declaration``.

    Raises:
        ValueError: a key of another form, or queries that the hands cannot share.
    """
    if not re.fullmatch(r"\d\d\.\w+", key):
        raise ValueError(f"key must be a notebook and a word, such as '00.game', got {key!r}.")
    if hands < 1 or queries < hands or queries % hands:
        raise ValueError(f"{queries} queries cannot be shared by {hands} hands: take a multiple.")
    if key in _shown:
        _shown[key].close()
    _shown[key] = Game(queries, hands, seed, key)
    return _shown[key]


def _fits(kept: dict[str, Any], queries: int) -> bool:
    """Whether a kept game is of these pictures, this long and whole: another edition or a hand may have written it."""
    answers, seed = kept.get("answers"), kept.get("seed")
    alike = kept.get("pictures") == name() and kept.get("total") == queries
    whole = isinstance(seed, int) and isinstance(answers, list) and len(answers) == queries
    return alike and whole and all(answer in range(WAYS) for answer in answers)


class Game(anywidget.AnyWidget):
    """What ``play`` returns; its arguments are those of ``play``."""

    _esm, _css = HERE / "game.js", HERE / "game.css"
    declaration = traitlets.Dict().tag(sync=True)
    answers = traitlets.List().tag(sync=True)  # of an earlier day, all or none

    def __init__(self, queries: int, hands: int, seed: int, key: str):
        self._size, self._first, self._key, kept = (queries, hands), seed, key, result(key) or {}
        fits = _fits(kept, queries)
        self._seed = kept["seed"] if fits else seed
        super().__init__(declaration=declaration(*self._size, self._seed), answers=kept["answers"] if fits else [])
        self.on_msg(lambda _, message, buffers: self.hear(message))
        answer_at_once(self)

    def hear(self, message: dict) -> None:
        """What the reader did: {"do": "done", "answers": [...]} or {"do": "again"}."""
        if message["do"] == "again":
            self._seed += 1
            with self.hold_sync():
                self.answers, self.declaration = [], declaration(*self._size, self._seed)
        elif None not in message["answers"]:
            right = sum(said == truth for said, truth in zip(message["answers"], self.truth, strict=True))
            about = {"right": right, "total": len(self.truth), "pictures": name()}
            progress.note_score(self._key, **about, seed=self._seed, answers=message["answers"])
        answer_at_once(self)

    @property
    def truth(self) -> list[int]:
        """What the drawings are, in the order asked."""
        return [query["truth"] for hand in self.declaration["hands"] for query in hand["queries"]]

    def close(self) -> None:
        self.layout.close()  # a widget of its own
        super().close()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict, dict]:
        """The live game, and beside it a picture and words for places where no kernel runs."""
        view = super()._repr_mimebundle_()[0]
        words = still_words(*self._size, self._first)
        png = base64.b64encode(still(*self._size, self._first)).decode()
        return {**view, "image/png": png, "text/plain": words}, {"image/png": {"alt": words}}


def still_words(queries: int, hands: int, seed: int) -> str:
    """The picture of ``still`` in words, and how the rivals did."""
    dealt = dealt_hands(queries, hands, seed)
    scores = [
        f"{rival} {sum(int((hand[judge] == hand['truth']).sum()) for hand in dealt)} of {queries} right"
        for judge, rival in RIVALS.items()
    ]
    return (
        f"You first, on {name()}: above five new characters, one drawing of each, numbered; below drawings by other "
        f"hands. Which is which? {', '.join(scores)}."
    )


def still(queries: int, hands: int, seed: int) -> bytes:
    """The first hand as PNG: the five characters, and below them the drawings to name."""
    hand = deal(queries // hands, hands * seed)
    with plots.style():
        figure = Figure(figsize=(8.6, 2.3), layout="constrained")
        above, below = figure.subfigures(2, 1, height_ratios=(1.2, 1))
        above.suptitle(f"Five characters nobody has told you about ({name()})", fontsize=11, x=0.01, ha="left")
        below.suptitle("Which is which?", fontsize=11, x=0.01, ha="left")
        numbers = [str(i + 1) for i in range(WAYS)]
        for part, pictures, words in ((above, hand["support"], numbers), (below, hand["query"], "?" * EACH)):
            for axes, picture, word in zip(part.subplots(1, EACH), [*pictures, *[None] * EACH], [*words, *[""] * EACH]):
                axes.set_axis_off()
                if picture is not None:
                    axes.imshow(np.asarray(picture), cmap="gray_r", vmin=0, vmax=1, interpolation="bilinear")
                    axes.text(-3, 2, word, ha="right", va="top", fontsize=10)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=140)
    return buffer.getvalue()
