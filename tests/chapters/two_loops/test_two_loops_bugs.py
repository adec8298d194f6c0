"""The hunt for bugs of notebook 02: a hint for every innocent line, and loop two repaired."""

from course_lib.chapters.two_loops import exercises as two_loops
from tests.chapters.cells import exercises_of, namespace, run_cell


def test_loop_two_waits_as_it_was_and_is_right_without_its_line():
    names, exercise = namespace("02"), next(it for it in exercises_of("02") if it.name == "repaired")
    for written, words in ((exercise.given, "as it was"), (exercise.right, "Equal to the library")):
        verdicts = [run_cell(source, names) for source in written.cells.values()]
        assert words in verdicts[-1].message


def test_bug_lines():
    for loop, line, why in (
        (1, 7, "FOMAML"),
        (2, 7, "is collected"),
        (3, 5, "before adapting"),
        (4, 6, "only the last"),
    ):
        assert two_loops.check_bug(loop, ...).passed is None
        assert two_loops.check_bug(loop, line).passed and why in str(two_loops.check_bug(loop, line))
        others = [two_loops.check_bug(loop, other) for other in set(range(1, 12)) - {line}]
        assert all(verdict.passed is False for verdict in others)
        numbered = [verdict.message for verdict in others if "Lines with a number" not in verdict.message]
        assert len(set(numbered)) == len(numbered) == {1: 6, 2: 7, 3: 7, 4: 7}[loop]  # a hint for each innocent line
        assert f"wrong_line = {line}" in two_loops.check_bug.reveal(loop).text
    hints = {(1, 8): "remember", (2, 10): "What else", (3, 10): "Which weights", (1, 6): "support set"}
    hints |= {(1, 9): "What do these weights remember", (2, 11): "alone there", (3, 4): "same weights"}
    hints |= {(1, "7"): "number", (2, 5): "1, 4, 6, 7, 8, 9, 10, 11", (3, 12): "1, 4, 5, 7, 8, 9, 10, 11"}
    hints |= {(4, 11): "Which weights are that"}
    for answer, hint in hints.items():
        assert hint in str(two_loops.check_bug(*answer))
