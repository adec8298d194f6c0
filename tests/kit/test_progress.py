"""What a reader has solved is kept in their file and nowhere else, and no state of that file stops the course."""

import ast
import json
import subprocess
import sys
import threading
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import start_new_kernel

from course_lib.kit import progress as kept
from course_lib.kit.checks import Verdict, exercise, right, wrong
from tools import notebooks

ROOT = Path(__file__).parents[2]


def restart(monkeypatch):
    """As if the kernel had been started anew."""
    monkeypatch.setattr(kept, "_session", kept._Session(kept._nothing()))


@pytest.fixture
def path(tmp_path, monkeypatch) -> Path:
    """The reader's file, which is not there yet, and a course of two notebooks."""
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "folder" / "progress.json"))
    monkeypatch.setattr(kept, "_exercises", {})
    restart(monkeypatch)
    kept.enlist("01", ["fine tune", "oracle"])
    kept.enlist("02", ["bug 1", "bug 2"])
    return tmp_path / "folder" / "progress.json"


def test_what_is_solved_stays_solved_over_sessions(path, monkeypatch):
    kept.note_verdict("01", "oracle", False)
    kept.note_verdict("01", "fine tune", True)
    kept.note_verdict("01", "fine tune", False)
    kept.note_verdict("01", "fine tune", None)
    restart(monkeypatch)
    page = kept.progress("01")
    assert repr(page).splitlines()[0] == "Notebook 01: \N{BLACK SQUARE}\N{WHITE SQUARE} 1 of 2 exercises"
    assert "fine tune (right)" in repr(page) and "oracle (not yet)" in page._repr_html_()
    assert json.loads(path.read_text())["exercises"] == {"01": {"fine tune": True, "oracle": False}}


def test_the_whole_course_and_where_it_is_kept(path):
    assert "Nothing is begun yet." in repr(kept.progress())
    kept.note_verdict("01", "oracle", True)
    kept.note_guess("02.sum", question="?", guess="rises", fact="falls", right=False)
    kept.note_guess("02.step", question="?", guess="falls", fact="falls", right=True)
    kept.note_guess("02.skipped", question="?", guess=None, fact="falls", right=None)
    lines = repr(kept.progress()).splitlines()
    assert lines[0].startswith("Notebook 01:") and lines[0].endswith("1 of 2 exercises")
    assert lines[1].endswith("0 of 2 exercises, 1 of 2 guesses right")
    assert lines[2] == f"Kept in {path}; delete that file to begin anew."
    assert kept.progress()._repr_html_().count("<li>") == 2


def test_exercises_of_an_older_edition_are_forgotten(path, monkeypatch):
    kept.enlist("01", ["gone"])
    kept.note_verdict("01", "gone", True)
    kept._exercises["01"].remove("gone")
    kept.note_verdict("01", "oracle", None)
    assert json.loads(path.read_text())["exercises"]["01"] == {"fine tune": None, "oracle": None}


def test_a_check_notes_the_readers_answers_not_the_solution(path):
    @exercise("01", parts=2)
    def check_sum(part: int, answer: int) -> Verdict:
        """Twice the part."""
        return right() if answer == 2 * part else wrong("Twice.")

    assert check_sum.solution(1, 2).passed and not path.exists()
    assert check_sum(1, 3).passed is False and check_sum(2, 4).passed
    assert check_sum([], None).passed is False  # no part, so nothing is noted
    assert {"sum 1": False, "sum 2": True}.items() <= json.loads(path.read_text())["exercises"]["01"].items()


def test_two_notebooks_do_not_forget_each_others_progress(path, monkeypatch):
    sessions = [kept._Session(kept._nothing()) for _ in range(2)]
    for session, notebook, name in zip(sessions * 2, ("01", "02") * 2, ("oracle", "bug 1", "fine tune", "bug 2")):
        monkeypatch.setattr(kept, "_session", session)
        kept.note_verdict(notebook, name, True)
    assert json.loads(path.read_text())["exercises"] == {
        "01": {"fine tune": True, "oracle": True},
        "02": {"bug 1": True, "bug 2": True},
    }


def test_guesses_from_many_threads_are_all_kept(path):
    def note(thread):
        for i in range(10):
            kept.note_guess(f"01.t{thread}_{i}", question="?", guess="1", fact="1", right=True)

    threads = [threading.Thread(target=note, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(kept.guesses_in("01")) == 80
    assert {file.name for file in path.parent.iterdir()} <= {path.name, path.with_suffix(".lock").name}


def test_guesses_of_several_kernels_at_once_are_all_kept(path):
    code = """
import sys
from course_lib.kit import progress
for i in range(25):
    progress.note_guess(f"01.{sys.argv[1]}_{i}", question="?", guess="1", fact="1", right=True)"""
    kernels = [subprocess.Popen([sys.executable, "-c", code, str(number)], cwd=ROOT) for number in range(3)]
    assert [kernel.wait() for kernel in kernels] == [0, 0, 0]
    assert len(kept.guesses_in("01")) == 75


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"\xff\xfe",
        b"[]",
        b"3",
        b"[" * 100_000,
        b'{"exercises": {"01": 3}, "guesses": {}}',
        b'{"exercises": {"01": {"oracle": []}}, "guesses": {}}',
        b'{"exercises": {}, "guesses": []}',
    ],
)
def test_a_damaged_file_is_put_aside_and_said_once(path, content, capsys):
    path.parent.mkdir()
    path.write_bytes(content)
    kept.note_verdict("01", "oracle", True)
    kept.note_verdict("01", "fine tune", True)
    said = capsys.readouterr().out
    assert said.count("was damaged") == 1 and str(path.with_suffix(".damaged.json")) in said
    assert path.with_suffix(".damaged.json").read_bytes() == content
    assert json.loads(path.read_text())["exercises"]["01"] == {"fine tune": True, "oracle": True}


@pytest.mark.parametrize("obstacle", ["a file for its folder", "a folder in its place"])
def test_where_it_cannot_be_kept_the_session_goes_on_and_says_so_once(path, obstacle, capsys):
    if obstacle == "a folder in its place":
        path.mkdir(parents=True)
    else:
        path.parent.write_text("")
    kept.note_verdict("01", "oracle", True)
    kept.note_verdict("01", "fine tune", True)
    assert capsys.readouterr().out.count("Your progress is not kept") == 1
    assert "2 of 2 exercises" in repr(kept.progress("01")) and str(path) in repr(kept.progress())


def test_a_failing_write_leaves_the_file_as_it_was(path, monkeypatch, capsys):
    kept.note_verdict("01", "oracle", True)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept.os, "replace", full)
    kept.note_verdict("01", "fine tune", True)
    assert path.read_bytes() == before and len(list(path.parent.glob("*.json*"))) == 1
    assert "No space left on device" in capsys.readouterr().out and "2 of 2" in repr(kept.progress("01"))


@pytest.mark.parametrize("word", ["off", "OFF", "", "0", "no"])
def test_it_can_be_switched_off(path, monkeypatch, word, tmp_path):
    monkeypatch.setenv("COURSE_PROGRESS", word)
    monkeypatch.chdir(tmp_path)
    kept.note_verdict("01", "oracle", True)
    assert kept.file() is None and list(tmp_path.iterdir()) == []
    assert "1 of 2" in repr(kept.progress("01")) and "this session only" in repr(kept.progress())


@pytest.mark.parametrize(
    ("platform", "variable", "folder"),
    [
        ("linux", "XDG_DATA_HOME", "meta-learning-course"),
        ("win32", "LOCALAPPDATA", "meta-learning-course"),
        ("darwin", "HOME", "Library/Application Support/meta-learning-course"),
    ],
)
def test_the_data_folder_of_each_system(platform, variable, folder, monkeypatch, tmp_path):
    monkeypatch.setattr(kept.sys, "platform", platform)
    monkeypatch.setenv(variable, str(tmp_path))
    assert kept.data_folder() == tmp_path / folder


# In a kernel ----------------------------------------------------------------------------------------------------

CELL = """
from course_lib.kit import checks, progress
verdict = checks.check_line(2)
progress.progress("00")
"""


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """The reader's data folder, for kernels that are started now."""
    monkeypatch.delenv("COURSE_PROGRESS", raising=False)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path / "data"


def run_as_a_person(code: str, expression: str):
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(ROOT))
    try:
        reply = client.execute_interactive(code, user_expressions={"it": expression}, timeout=60)
        assert reply["content"]["status"] == "ok", reply["content"]
        return ast.literal_eval(reply["content"]["user_expressions"]["it"]["data"]["text/plain"])
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


@pytest.mark.skipif(kept.sys.platform != "linux", reason="the data folder is set by XDG_DATA_HOME")
def test_it_is_written_for_a_person_and_never_where_a_notebook_is_run_to_be_saved(home, monkeypatch):
    path = home.parent / "00_x.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)]), path)
    saved = notebooks.execute(path)
    file = home / "meta-learning-course" / "progress.json"
    assert "1 of 1 exercises" in saved.cells[0].outputs[0].data["text/plain"] and not file.parent.exists()

    monkeypatch.setenv("CI", "true")
    assert run_as_a_person(CELL, "str(progress.file())") == "None" and not file.parent.exists()

    monkeypatch.delenv("CI")
    assert run_as_a_person(CELL, "str(progress.file())") == str(file)
    assert json.loads(file.read_text())["exercises"] == {"00": {"how an exercise works": True}}
