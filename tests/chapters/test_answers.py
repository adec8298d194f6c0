"""The answers that students write most, each run in its cell: right is right, wrong gets its hint, dots wait."""

import pytest

from tests.chapters.cells import NOTEBOOKS, answers_of, exercises_of, namespace, run_cell


@pytest.mark.parametrize("number", NOTEBOOKS)
def test_every_exercise_and_its_commonest_wrong_answers(number):
    names, found = namespace(number), []
    for exercise in exercises_of(number):
        found.append(exercise.name)
        assert len(exercise.wrong) == 3
        for written in (exercise.given, *exercise.wrong, exercise.right):
            for source in written.cells.values():
                verdict = run_cell(source, names)
            assert verdict.passed is written.passed, f"{source}\n{verdict}"
            assert written.words in verdict.message, f"{source}\n{verdict}"
    assert found == list(answers_of(number))
