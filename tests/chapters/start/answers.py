"""What students answer to the exercises of notebook 00 (see tests/chapters/cells.py)."""

from tests.chapters.cells import Answers

ANSWERS = {
    "line": Answers("2", [("1", "two unknown numbers"), ("3", "each point gives one equation"), ("10", "two unknown")]),
    "rate": Answers("0.05", [("0.04", "still end"), ("0.063", "earlier too"), ("0.1", "earlier too")]),
    "caption": Answers("4.3", [("0.14", "random weights"), ("5.1", "support points"), ("4.7", "before the step")]),
    "zero_line": Answers("9", [("3", "squares"), ("1 / 9", "Turn it round"), ("4.4", "divide")]),
}
