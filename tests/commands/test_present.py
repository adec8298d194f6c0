"""``python -m course_lib present``: what can be asked for, and what is said where it is not there."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from course_lib import __main__
from course_lib.commands import present

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("asked", "query"),
    [("", ""), ("k_border", "demo=k_border"), ("adapting?steps=5&hide=phase", "demo=adapting&steps=5&hide=phase")],
)
def test_a_demo_is_named_as_in_links(asked, query):
    assert present.opening(asked, present.chosen(None)) == query


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "there is no demo 'nonsense'; there are adapting"),
        (["--chapter", "99"], "there is no notebook '99'; there are 00, 01"),
        (["--port", "99999"], "--port must be from 0 (any that is free) to 65535, not 99999"),
        (["--port", "-1"], "--port must be from 0 (any that is free) to 65535, not -1"),
    ],
)
def test_what_is_not_there_is_said(arguments, said, capsys):
    assert __main__.main(["present", *arguments]) == 1
    assert f"error: {said}" in capsys.readouterr().err


def test_chapters_are_chosen_by_their_numbers():
    assert [lesson.number for lesson in present.chosen(["3", "08"])] == ["03", "08"]


def test_the_pdf_has_every_view(tmp_path, capsys):
    assert __main__.main(["present", "--chapter", "00", "--pdf", str(tmp_path / "demos.pdf")]) == 0
    pages = int(re.search(r"demos.pdf: (\d+) pages", capsys.readouterr().out)[1])
    assert pages == len(re.findall(rb"/Type /Page\b", (tmp_path / "demos.pdf").read_bytes())) >= 1


def test_the_terminal_shows_an_address_that_works_and_ctrl_c_ends_all():
    command = [sys.executable, "-m", "course_lib", "present", "--no-browser", "--port", "0", "k_border"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        address = next(line.strip() for line in process.stdout if "http" in line)
        assert "demo=k_border&token=" in address
        for _ in range(200):
            try:
                with urllib.request.build_opener(urllib.request.HTTPCookieProcessor()).open(address) as page:
                    assert b"page.js" in page.read() and "token" not in page.url
                break
            except OSError:
                signal.sigtimedwait([], 0.05)
        else:
            raise AssertionError("no answer")
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
