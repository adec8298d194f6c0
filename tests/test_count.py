"""tools/count.py counts what is there: every line once, and every function that a meta-step passes."""

import sys

import pytest

from tools import count

with_classes = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="Python 3.10 does not say of what class a method is"
)


@with_classes
def test_a_meta_step_is_followed_to_its_end():
    first, later = count.meta_steps()
    assert first[0][1] == "make_meta_gradient" and first[0] not in later
    for passed in (first, later):
        assert ("inner_loop.py", "adapt") in passed and ("losses.py", "mse") in passed
        assert len(passed) == len(set(passed))
    textbook = [file for file, _ in later if count.room(file) == "textbook"]
    assert len(later) <= 32 and len(textbook) <= 19 and len(set(textbook)) <= 4  # it may become shorter, not longer


@with_classes
def test_a_function_counts_once_and_a_comprehension_with_its_function():
    assert count.functions_passed(lambda: [count.room(name) for name in "ab"]) == []  # not of course_lib
    passed = count.functions_passed(lambda: [count.MLP(seed=0) for _ in range(2)])
    assert passed[0] == ("models.py", "MLP.__init__") and len(passed) == len(set(passed))


def test_every_line_is_in_one_room():
    lines = count.lines()
    assert lines["inner_loop.py"][0] == len((count.PACKAGE / "inner_loop.py").read_text().splitlines())
    rooms = {count.room(file) for file in lines}
    assert {"entrance", "textbook", *count.ROOMS, "chapters/union"} <= rooms
    assert count.room("algorithms/maml.py") == "textbook" and count.room("engine/compiler.py") == "engine"


def test_code_is_what_is_neither_empty_nor_said(tmp_path, monkeypatch):
    said = '"""A head."""\n\n# why\ndef f():\n    """What."""\n'
    (tmp_path / "some.py").write_text(said + "    x = '''two\n    lines'''\n    return x  # so\n")
    monkeypatch.setattr(count, "PACKAGE", tmp_path)
    assert count.lines() == {"some.py": (8, 4)}
