"""What students answer to the exercises of notebook 09 (see tests/chapters/cells.py)."""

from course_lib.chapters.omniglot import solutions
from tests.chapters.cells import Answers

CLASSES = "torch.randperm(len(images), generator=generator)[:ways]"
ANSWERS = {
    "episode": Answers(
        solutions.episode,
        [
            ((CLASSES, "torch.randint(len(images), (ways,), generator=generator)"), "came up twice in one episode"),
            (("torch.arange(ways)", "classes"), "Labels run from 0"),
            (("chosen[:, shots:]", "chosen[:, :queries]"), "testing on the training data"),
        ],
    ),
    "open": Answers(
        '"It takes an F that is turned by ninety degrees for a T."',
        [('"turn it"', "in a sentence or two"), ("90", "between quotes"), ('"it never fails"', "in a sentence or two")],
    ),
    "mean_alpha": Answers(
        "20 * 0.1", [("0.1 / 20", "must be larger"), ("0.1", "How much longer"), ("0.4", "20 times the mean")]
    ),
    "tasks_needed": Answers("16 * 600", [("4 * 600", "square root"), ("10_000", "round number"), ("1200", "0.28")]),
    "nearest": Answers(
        solutions.labels,
        [
            ("support_y[torch.cdist(query_x, support_x).argmin(1)]", "nearest drawing"),
            (("argmin(1)", "min(1)"), "`min` gives the values"),
            (("mean(0)", "mean()"), "is `mean(0)`"),
        ],
    ),
}
