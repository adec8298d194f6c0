"""The four wrong loops of notebook 02: which line it is, why, and what to say to each innocent one."""

from __future__ import annotations

SHARED = {  # lines that the loops have in common, and why they are innocent
    "theta": "Line 1 takes the model's own parameters, uncopied: the outer gradient is theirs.",
    "start": "Line 4 starts every task from the same weights, as it should. Nothing changes them in place.",
    "support loss": "That line takes the loss that the inner loop descends: support set, present weights.",
    "inner gradient": "That line takes the inner gradient, with a graph of its own. It is complete.",
    "step": "That line is the step of the formula, into a new dictionary. Do the gradients it gets remember "
    "where they came from?",
    "outer gradient": "That line differentiates the mean query loss for theta, as line 8 of algorithm 1 says.",
    "judge": "That line judges the adapted weights on the query set, as it should. What do these weights remember?",
}
BUGS = {  # loop: the wrong line, why, and a hint for each innocent one
    1: (
        7,
        "Without `create_graph=True` the inner gradients are constants to the outer loop: this is FOMAML.",
        {1: "theta", 4: "start", 6: "support loss", 8: "step", 9: "judge", 10: "outer gradient"},
    ),
    2: (
        7,
        "`backward` adds every support loss's gradient to `.grad`, where the meta-gradient is collected.",
        {1: "theta", 4: "start", 6: "support loss", 8: "inner gradient", 9: "step"}
        | {10: "Line 10 puts the meta-gradient into `.grad`, as it should. What else was put there before?"}
        | {11: "Line 11 reads the meta-gradient where line 10 has put it. Is it alone there?"},
    ),
    3: (
        5,
        "The prediction that is judged was made before adapting; line 5 belongs after the inner loop.",
        {1: "theta", 4: "start", 7: "support loss", 8: "inner gradient", 9: "step", 11: "outer gradient"}
        | {10: "Line 10 judges the `outputs` it is given. Which weights made them?"},
    ),
    4: (
        6,
        "Each step begins with a copy that autograd does not connect with the step before: of the product of Jacobians "
        "only the last is left. The copy belongs before the loop over the steps.",
        {1: "theta", 4: "start", 7: "support loss", 8: "inner gradient", 9: "step", 10: "judge"}
        | {11: "Line 11 differentiates for `start`. Which weights are that when there are several steps?"},
    ),
}
