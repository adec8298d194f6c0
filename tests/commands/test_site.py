"""What ``python -m course_lib site`` finds, keeps and says."""

from __future__ import annotations

import json

from course_lib.__main__ import main
from course_lib.chapters import demo_modules
from course_lib.commands import site
from course_lib.kit.site.pages import Placed, demos_in


def test_every_demo_of_the_notebooks_is_found():
    modules = demo_modules()
    for path in sorted((site.PROJECT / "notebooks").glob("[0-9]*.ipynb")):
        for placed in demos_in(json.loads(path.read_text(encoding="utf-8"))):
            assert placed.key in modules, f"{path.name}: {placed.call}"


def test_a_recording_is_kept_until_what_it_shows_changes(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(site, "KEPT", tmp_path)
    placed = Placed("field_map", "demo", "", "A map of the field")
    first = site.recorded([placed], planes=False, jobs=1)
    assert "recorded field_map" in capsys.readouterr().out
    assert site.recorded([placed], planes=False, jobs=1) == first
    assert capsys.readouterr().out == ""
    assert len([*tmp_path.iterdir()]) == 1


def test_a_number_of_no_notebook_is_told(capsys):
    assert main(["site", "--only", "03", "77"]) == 1
    assert "there is no notebook '77'; there are 00, 01" in capsys.readouterr().err
