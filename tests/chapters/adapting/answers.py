"""What students answer to the exercises of notebook 01 (see tests/chapters/cells.py)."""

from course_lib.chapters.adapting import solutions
from tests.chapters.cells import Answers

BY_BACKWARD = """
for _ in range(steps):
    loss = (theta[1] * torch.sin(x - theta[0]) - y).square().mean()
    loss.backward()
    theta = theta - alpha * theta.grad
return theta
"""
IN_PLACE = """
for _ in range(steps):
    loss = (theta[1] * torch.sin(x - theta[0]) - y).square().mean()
    (grad,) = torch.autograd.grad(loss, theta)
    with torch.no_grad():
        theta -= alpha * grad
return theta
"""
ANSWERS = {
    "by_hand": Answers(
        "(1.0, 1.75)",
        [("(2.0, 3.0)", "factor of two"), ("(-1.0, -2.25)", "Uphill"), ("(1.0, 2.0)", "second step starts at 1")],
    ),
    "fine_tune": Answers(
        solutions.fine_tune,
        [
            (BY_BACKWARD, "its `.grad` stays None"),
            (IN_PLACE, "changed the initialisation"),
            (("mean()", "sum()"), "the loss is their mean"),
        ],
    ),
    "zero_predictor": Answers(
        "(5**3 - 0.1**3) / (3 * 4.9) / 2",
        [
            ("2.55**2 / 2", "You squared the mean amplitude"),
            ("(5**3 - 0.1**3) / (3 * 4.9)", "The mean of sin^2 is still missing"),
            ("5**2 / 2", "for the largest amplitude"),
        ],
    ),
    "oracle": Answers(
        solutions.oracle,
        [
            (("torch.linalg.lstsq(features(x), y[:, None]).solution", "torch.linalg.solve(features(x), y)"), "lstsq"),
            (("return features(new_x) @ weights[:, 0]", "return weights[:, 0]"), "These are a and b"),
            (("features(new_x)", "features(x)"), "at the support points"),
        ],
    ),
    "open": Answers(
        '"At a rate of 0.1 the steps of MAML overshoot, and random weights end nearer."',
        [('"it breaks"', "in a sentence or two"), ("0.1", "between quotes"), ('""', "in a sentence or two")],
    ),
}
