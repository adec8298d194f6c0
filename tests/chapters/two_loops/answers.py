"""What students answer to the exercises of notebook 02 (see tests/chapters/cells.py)."""

from course_lib.chapters.two_loops import solutions
from tests.chapters.cells import Answers

BY_BACKWARD = """
for _ in range(steps):
    loss = (functional_call(model, params, (x,)) - y).square().mean()
    loss.backward(create_graph=True)
    params = {name: p - inner_lr * p.grad for name, p in params.items()}
return params
"""
OF_THE_MODEL = """
for _ in range(steps):
    loss = (model(x) - y).square().mean()
    grads = torch.autograd.grad(loss, model.parameters(), create_graph=True)
    params = {name: p - inner_lr * g for (name, p), g in zip(params.items(), grads)}
return params
"""
LINE_7 = "            loss.backward(retain_graph=True)  # line 7\n"
LINE_8 = "            grads = torch.autograd.grad(loss, params.values(), create_graph=True)  # line 8\n"
MEAN_10 = "        (loss / batch.num_tasks).backward()"
ANSWERS = {
    "scalar": Answers(
        solutions.scalar_meta_gradient,
        [
            (("(1 - alpha) ** k * ", ""), "FOMAML"),
            (("(1 - alpha) ** k", "(1 - alpha)"), "Every step multiplies"),
            ("(1 - alpha) ** k * (theta - q)", "taken at theta, before"),
        ],
    ),
    "inner_loop": Answers(
        solutions.inner_loop,
        [
            ((", create_graph=True", ""), "create_graph=True is missing"),
            (OF_THE_MODEL, "does not know the newest `params`"),
            (BY_BACKWARD, "`.grad` is kept for the first weights only"),
        ],
    ),
    "meta_gradient": Answers(
        solutions.meta_gradient,
        [
            (("torch.stack(losses).mean()", "sum(losses)"), "Take the mean"),
            (("batch.query_", "batch.support_"), "query set judges"),
            (("theta.values())", "adapted.values())"), "the last task's adapted weights"),
        ],
    ),
    "open": Answers(
        '"From a tall wave the two arrows differ most, and the arrow of MAML is short."',
        [('"it depends"', "in a sentence or two"), ("2", "between quotes"), ('"no idea"', "in a sentence or two")],
    ),
    "bug_1": Answers("7", [("8", "remember"), ("9", "What do these weights remember"), ("10", "as line 8")]),
    "bug_2": Answers("7", [("8", "It is complete"), ("10", "What else"), ("11", "alone there")]),
    "repaired": Answers(
        (LINE_7, ""),
        [
            (("retain_graph=True", ""), "uses up the graph"),
            ((MEAN_10, f"        model.zero_grad()\n{MEAN_10}"), "Only the last task's is left"),
            ((LINE_8, ""), "Line 8 was innocent"),
        ],
    ),
    "bug_3": Answers("5", [("10", "Which weights"), ("9", "remember"), ("4", "same weights")]),
    "bug_4": Answers("6", [("11", "Which weights are that"), ("8", "It is complete"), ("9", "remember")]),
    "sum_rate": Answers("0.01 / 10", [("0.1", "other way round"), ("0.01", "How much longer"), ("0.005", "How many")]),
}
