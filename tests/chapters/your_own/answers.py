"""What students answer to the exercises of notebook 10 (see tests/chapters/cells.py)."""

from course_lib.chapters.your_own import solutions
from tests.chapters.cells import Answers

NUMBERS = '{"trained": trained, "untrained": untrained}'
ANSWERS = {
    "batch": Answers(
        solutions.batch,
        [
            (("height[:, :shots].mean", "height.mean"), "a leak"),
            (("y = y[..., None]", ""), "y[..., None]"),
            (("2 * place - 1", "place"), "still in 0 to 1"),
        ],
    ),
    "choice": Answers(
        '"R2D2", "MAML", "Reptile"',
        [
            ('"MAML", "MAML", "Reptile"', "no gradient step at test time"),
            ('"R2D2", "Reptile", "Reptile"', "what MAML is made for"),
            ('"R2D2", "MAML", "R2D2"', "shared with the first"),
        ],
    ),
    "claim": Answers(
        solutions.claim,
        [
            ((", draw)", ", 0)"), "Pass the draw on"),
            (("trained < untrained", "trained > untrained"), "other way round"),
            ((f"trained < untrained, {NUMBERS}", "trained < untrained"), "Return two things"),
        ],
    ),
    "open": Answers(
        '"On small squares the ten points tell more of each other."',
        [('"24"', "in a sentence or two"), ("24", "between quotes"), ('"as you like"', "in a sentence or two")],
    ),
}
