"""``python -m course_lib guide``: printed, or written as a page."""

from __future__ import annotations

from course_lib import __main__


def test_the_guide_is_printed_or_written(tmp_path, capsys):
    assert __main__.main(["guide", "--port", "9000"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("# The instructor's guide") and "http://127.0.0.1:9000/?demo=" in printed
    assert __main__.main(["guide", str(tmp_path / "guide.html")]) == 0
    page = (tmp_path / "guide.html").read_text(encoding="utf-8")
    count = page.count('href="http://127.0.0.1:8424/?demo=')
    assert page.startswith("<!doctype html>") and f": {count} links into the demos" in capsys.readouterr().out
    assert __main__.main(["guide", "--port", "99999"]) != 0
    assert "--port must be from 1 to 65535, not 99999" in capsys.readouterr().err
