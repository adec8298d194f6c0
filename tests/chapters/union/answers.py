"""What students answer to the exercises of notebook 06 (see tests/chapters/cells.py)."""

from course_lib.chapters.union import solutions
from tests.chapters.cells import Answers

ONES = "(1 - alpha * support_hessian)"
ANSWERS = {
    "union_loss": Answers(
        solutions.union_loss,
        [
            (("heads[task_id]", "heads[: len(z)]"), "look its head up"),
            ("(z @ heads.T - y[..., None]).square().mean()", "every head's output"),
            (("(z * own[:, None]).sum(-1)", "z @ own"), "meet as"),
        ],
    ),
    "weight": Answers(
        solutions.weight,
        [
            ("1 - alpha * h", "One factor is missing"),
            ("(1 + alpha * h) ** 2", "Mind the sign"),
            ("h * (1 - alpha * h) ** 2", "divide by what it is"),
        ],
    ),
    "rate_for_weight": Answers("-0.25", [("0.75", "overshoots"), ("0.25", "weight is 0"), ("-0.75", "weight is 16")]),
    "open": Answers(
        '"With more than ten query points the best rate is positive, noise or not."',
        [('"at ten"', "in a sentence or two"), ("10", "between quotes"), ('"nowhere"', "in a sentence or two")],
    ),
    "share": Answers(
        solutions.share,
        [
            (("return gradient - alpha * support_hessian @ gradient", "return gradient"), "first-order MAML"),
            (f"{ONES} @ query_hessian @ {ONES} @ (theta - w)", "`torch.eye`"),
            (("query_hessian @ left", "support_hessian @ left"), "query set's Hessian, the one in the middle"),
        ],
    ),
}
