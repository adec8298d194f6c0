"""What students answer to the exercises of notebook 04 (see tests/chapters/cells.py)."""

from course_lib.chapters.task_heads import solutions
from tests.chapters.cells import Answers

ANSWERS = {
    "revisit": Answers(
        solutions.revisit,
        [
            (("heads = heads.clone()", ""), "heads.clone()"),
            ("learn(heads[task])", "whole table"),
            (("heads[task] = learn", "learn"), "write what the head has learnt back"),
        ],
    ),
    "visits": Answers(
        "800 * 10 / 5000\n(1 - 1 / 5000) ** 8000",
        [
            ("800 / 5000\n(1 - 1 / 5000) ** 800", "Ten tasks"),
            ("1.6\n0", "by chance"),
            ("1.6\n1 - (1 - 1 / 5000) ** 8000", "WERE"),
        ],
    ),
    "feature_gradient": Answers(
        solutions.feature_gradient,
        [
            (("2 / len(z) * ", ""), "Two factors are missing"),
            (("[:, None]", ""), "residual[:, None]"),
            (("[:, None] * w", "[:, None] * z"), "for the HEAD"),
        ],
    ),
    "open": Answers(
        '"With five thousand tasks a fast body leaves the stored heads behind."',
        [('"slowly"', "in a sentence or two"), ("0.003", "between quotes"), ('"not too fast"', "in a sentence or two")],
    ),
}
