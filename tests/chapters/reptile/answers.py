"""What students answer to the exercises of notebook 08 (see tests/chapters/cells.py)."""

from course_lib.chapters.reptile import solutions
from tests.chapters.cells import Answers

ANSWERS = {
    "update": Answers(
        solutions.update,
        [
            ("theta - epsilon * (ends.mean(0) - theta)", "sign is turned around"),
            ("theta + epsilon * ends.mean(0)", "DIFFERENCE"),
            ("theta + epsilon * (ends - theta).sum(0)", "take their mean"),
        ],
    ),
    "reptile": Answers(
        solutions.reptile,
        [
            (("(theta[name] - adapted[name])", "(adapted[name] - theta[name])"), "SUBTRACTS"),
            ((" / batch.num_tasks", ""), "You summed over the tasks"),
            (("batch.support_", "batch.query_"), "the inner loop sees the support set"),
        ],
    ),
    "coefficients": Answers(
        "-8, -4, -2", [("-8, -4, -10", "Divide by 5"), ("-4, -4, -2", "once more"), ("-10, -5, -2.5", "k counts")]
    ),
    "open": Answers(
        '"At 0.001 nothing has converged, and Reptile looks best by its own outer steps."',
        [('"Reptile"', "in a sentence or two"), ("0.01", "between quotes"), ('"MAML, later"', "in a sentence or two")],
    ),
    "pull": Answers(
        solutions.pull,
        [
            ("(1 - 2 * alpha * length**2) ** k", "LEFT"),
            ("2 * alpha * length**2", "That is one step"),
            (("2 * alpha", "alpha"), "a factor of 2"),
        ],
    ),
    "mended": Answers(
        solutions.outer_step,
        [
            (("p.detach().clone()", "p.detach()"), "moved along (clone it)"),
            (("        model.load_state_dict(theta)\n", ""), "put theta back first"),
            ((" / batch.num_tasks", ""), "You summed over the tasks"),
        ],
    ),
}
