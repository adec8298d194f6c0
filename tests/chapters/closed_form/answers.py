"""What students answer to the exercises of notebook 07 (see tests/chapters/cells.py)."""

from course_lib.chapters.closed_form import solutions
from tests.chapters.cells import Answers

ANSWERS = {
    "names": Answers(
        solutions.names,
        [
            ("list(params)", "that is MAML"),
            ('["head.weight"]', "bias, too"),
            (('name.startswith("head.")', '"head" in name'), "how the name begins"),
        ],
    ),
    "ridge": Answers(
        solutions.ridge,
        [
            (("lam * eye", "lam"), "diagonal only"),
            (("z.mT", "z.T"), "use `.mT`"),
            (("z.shape[-1]", "z.shape[1]"), "on a diagonal of D"),
        ],
    ),
    "solved_head": Answers(
        solutions.solved_head,
        [
            (("z = torch.cat([z, torch.ones_like(z[:, :1])], 1)\n", "\n"), "column of ones is missing"),
            (("functional_call(model.features, body, (x,))", "model.features(x)"), "the features of `model`"),
            (("functional_call(model.features, body, (x,))", "functional_call(model, params, (x,))"), "output"),
        ],
    ),
    "open": Answers(
        '"More noise wants a larger penalty, and so do more points."',
        [('"0.1"', "in a sentence or two"), ("0.1", "between quotes"), ('"the largest one"', "in a sentence or two")],
    ),
    "sizes": Answers(
        "5, 65", [("257, 65", "primal, one unknown"), ("5, 100", "primal is smaller"), ("5, 64", "column of ones")]
    ),
    "means": Answers(
        solutions.means,
        [
            (("2 * centers", "centers"), "the weight is twice the mean"),
            (("-centers.square().sum(1)", "torch.zeros(3)"), "bias is missing"),
            (("-centers", "centers"), "sign of the bias"),
        ],
    ),
}
