"""What students answer to the exercises of notebook 03 (see tests/chapters/cells.py)."""

from course_lib.chapters.what_k_costs import solutions
from tests.chapters.cells import Answers

AT_ITS_BEST = "min(mean(errors) for errors in rates.values())"
ANSWERS = {
    "stretch": Answers(
        solutions.stretch,
        [
            ((".abs()", ""), "absolute values"),
            ((" ** k", ""), "one step"),
            ("(1 - alpha * eigenvalues.max()).abs() ** k", "does not decide"),
        ],
    ),
    "clip": Answers(
        solutions.my_clip,
        [
            ("g / g.norm() * max_norm", "stay as they are"),
            ("g.clamp(-max_norm, max_norm)", "each entry"),
            ("torch.nn.utils.clip_grad_norm_(g, max_norm)\nreturn g", "shortens the `.grad` of parameters"),
        ],
    ),
    "best_k": Answers(
        solutions.best_k,
        [
            (("min(mean(errors)", "min(min(errors)"), "One lucky seed"),
            ((AT_ITS_BEST, "mean(rates[min(rates)])"), "nothing has converged"),
            (("min(at_its_best, key=at_its_best.get)", "min(at_its_best.values())"), "Return the k"),
        ],
    ),
    "open": Answers(
        '"At 0.047 the second step lands where the loss is flat, so it survives."',
        [('"luck"', "in a sentence or two"), ("0.047", "between quotes"), ('"I do not know"', "in a sentence or two")],
    ),
    "segments": Answers(
        "round((50 * step_bytes / kept_bytes) ** 0.5)",
        [
            ("7", "sqrt(k)"),
            ("round(50 * step_bytes / kept_bytes)", "square root"),
            ("round((50 * kept_bytes / step_bytes) ** 0.5)", "other way round"),
        ],
    ),
}
