"""``data``: what it says of Omniglot where OMNIGLOT_ROOT has it, and of a file that is not it."""

import pytest

from course_lib.__main__ import main


@pytest.mark.data
def test_the_data_command_describes_and_complains(omniglot, capsys, monkeypatch, tmp_path):
    assert main(["data", "describe"]) == 0
    assert "964 characters of 30 alphabets" in capsys.readouterr().out
    whole = (omniglot / "images_background.zip").read_bytes()
    (tmp_path / "images_background.zip").write_bytes(whole[: len(whole) // 2])
    monkeypatch.setenv("OMNIGLOT_ROOT", str(tmp_path))
    assert main(["data", "verify"]) == 1
    assert "is not Omniglot's images_background.zip" in capsys.readouterr().err
