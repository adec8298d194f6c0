"""What students answer to the exercises of notebook 05 (see tests/chapters/cells.py)."""

from course_lib.chapters.features import solutions
from tests.chapters.cells import Answers

PILED_UP = """
rows = []
for point in x:
    model(point).backward()
    rows.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
return torch.stack(rows)
"""
ANSWERS = {
    "tangent_features": Answers(
        solutions.tangent_features,
        [
            (("model(point)", "model(x)"), "All rows are the same"),
            (("g.flatten()", "g"), "flatten each one's gradient"),
            (PILED_UP, "left behind"),
        ],
    ),
    "energy_share": Answers(
        solutions.energy_share,
        [
            ((" / len(functions)", ""), "not sums"),
            (("coordinates.square()", "coordinates"), "Square the coordinates"),
            (
                (
                    "coordinates.square().sum() / curves.square().mean(1).sum()",
                    "(coordinates.square().sum(1) / curves.square().mean(1)).mean()",
                ),
                "sum first",
            ),
        ],
    ),  # fmt: skip
    "one_step_rate": Answers(
        "1 / (2 * 0.01)",
        [("1 / 0.01", "another factor of 2"), ("2 / 0.01", "other sign"), ("2 * 0.01", "solve 1 - 2 alpha lambda")],
    ),
    "open": Answers(
        '"It is learnt at the ends of the interval first, where the kernel is largest."',
        [('"at the ends"', "in a sentence or two"), ("4", "between quotes"), ('"the middle?"', "in a sentence or two")],
    ),
    "border": Answers(
        solutions.border,
        [
            (("len(J)", "2"), "mean over n points"),
            (("len(J)", "2 * len(J)"), "When is it -1"),
            (("[-1]", "[0]"), "not the smallest"),
        ],
    ),
    "feature_weights": Answers(
        solutions.feature_weights,
        [
            ((".square()", ""), "near zero"),
            ("coefficients.square().mean(0)", "share it"),
            (("(cosines + sines) / 2", "((cosines + sines) / 2).sqrt()"), "That is the root"),
        ],
    ),
}
