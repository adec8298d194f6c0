"""The doctor where things are really broken: packages missing, files damaged, files in folders' places."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import jupyter_core.paths
import pytest
import torch

from course_lib import checkpoints
from course_lib.commands import doctor
from course_lib.commands.doctor import NOTE, OK, PROBLEM, Finding
from course_lib.engine import omniglot_files
from course_lib.engine.compiled import check_compiler
from course_lib.engine.compiler import compiler_name
from tests.faults import flip_a_bit

ROOT = Path(__file__).parents[2]


def about(topic: str, findings) -> Finding:
    """The one finding on a topic."""
    (finding,) = [finding for finding in findings if finding.topic == topic]
    return finding


@pytest.mark.data
def test_every_look_succeeds_here_and_whatever_is_wrong_comes_with_a_remedy(monkeypatch, capsys):
    findings = doctor.check()
    assert not [finding for finding in findings if "could not be looked at" in finding.found]
    assert all(finding.todo for finding in findings if finding.status == PROBLEM)
    assert {"Python", "PyTorch", "live demos", "Omniglot", "checkpoints", "disk"} <= {f.topic for f in findings}

    monkeypatch.setattr(doctor, "LOOKS", (lambda: findings,))
    code = doctor.main([])
    printed = capsys.readouterr().out
    assert code == int("PROBLEM" in printed)
    assert str(ROOT) not in printed and str(Path.home()) not in printed  # fit to be shown in a notebook


@pytest.mark.trust("a Python with nothing installed")
def test_with_nothing_installed_it_says_so_without_a_traceback(tmp_path):
    venv.create(tmp_path, symlinks=True)
    bare = tmp_path / "bin" / "python"
    done = subprocess.run([bare, "-m", "course_lib", "doctor"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr == ""
    assert "OK       Python" in done.stdout
    assert "No module named 'torch'" in done.stdout and "pip install -r requirements.txt" in done.stdout


def test_a_look_that_fails_does_not_stop_the_others(monkeypatch):
    monkeypatch.setattr(doctor, "LOOKS", (doctor.autograd, doctor.folders))
    with torch.inference_mode():  # autograd really cannot differentiate here
        findings = doctor.check()
    assert about("autograd", findings).status == PROBLEM
    assert about("disk", findings)


def test_an_unsuitable_python(monkeypatch):
    assert about("Python", doctor.python()).status != PROBLEM
    monkeypatch.setattr(doctor, "PYTHONS", ((3, 98), (3, 99)))
    finding = about("Python", doctor.python())
    assert finding.status == PROBLEM and "3.98 to 3.99" in finding.found


def test_packages_of_other_versions_or_missing(monkeypatch, tmp_path):
    lines = [
        "numpy==2.1.0",
        "pytest==8.0.0",
        "torch==1.0 ; python_version < '3'",
        "no-such-package==1.0",
        "-e .",
    ]
    (tmp_path / "requirements.txt").write_text("\n".join(lines))
    monkeypatch.setattr(doctor, "PROJECT", tmp_path)
    findings = list(doctor.packages())
    assert about("numpy", findings).status == NOTE and "tested with ==2.1.0" in about("numpy", findings).found
    assert about("pytest", findings).status == NOTE
    assert about("no-such-package", findings).status == PROBLEM
    assert not [finding for finding in findings if finding.topic == "torch"]  # its pin is for another Python


def test_no_widgets_for_jupyterlab(monkeypatch, tmp_path):
    for name in ("ENV_JUPYTER_PATH", "SYSTEM_JUPYTER_PATH"):
        monkeypatch.setattr(jupyter_core.paths, name, [str(tmp_path)])
    for name in ("JUPYTER_DATA_DIR", "JUPYTER_PATH"):
        monkeypatch.setenv(name, str(tmp_path))
    findings = list(doctor.jupyter())
    assert about("widgets", findings).status == about("live demos", findings).status == PROBLEM


def test_a_kernel_of_another_python(monkeypatch, tmp_path):
    assert about("kernel", doctor.jupyter()).status == OK
    (tmp_path / "kernels/python3").mkdir(parents=True)
    spec = {
        "argv": ["/elsewhere/python", "-m", "ipykernel_launcher"],
        "display_name": "x",
        "language": "python",
    }
    (tmp_path / "kernels/python3/kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    finding = about("kernel", doctor.jupyter())
    assert finding.status == NOTE and "/elsewhere/python" in finding.found


@pytest.fixture
def no_omniglot(monkeypatch, tmp_path):
    """A machine without the data set: an empty OMNIGLOT_ROOT, project and cache."""
    monkeypatch.setenv("OMNIGLOT_ROOT", str(tmp_path))
    monkeypatch.setattr(omniglot_files, "PROJECT_DATA", tmp_path / "project")
    monkeypatch.setattr(omniglot_files, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path


def test_omniglot_missing_is_a_note_and_damaged_a_problem(no_omniglot):
    missing = list(doctor.data())
    assert {finding.status for finding in missing} == {NOTE}
    assert any("python -m course_lib data" in finding.todo for finding in missing)

    (no_omniglot / "images_background.zip").write_bytes(b"PK\3\4 cut short")
    damaged = [finding for finding in doctor.data() if finding.status == PROBLEM]
    assert len(damaged) == 1 and "images_background.zip" in damaged[0].found and damaged[0].todo


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that nobody can read")
def test_an_archive_that_cannot_be_read_is_not_to_be_deleted(no_omniglot):
    for archive in omniglot_files.ARCHIVES:
        (no_omniglot / archive.filename).symlink_to("/proc/self/mem")
    unreadable = [finding for finding in doctor.data() if finding.status == PROBLEM]
    assert len(unreadable) == 2 and not any("delete" in str(finding).lower() for finding in unreadable)


@pytest.mark.trust("a checkpoint with one bit flipped, looked at by the doctor", cases=100, long=1000)
def test_checkpoints_damaged_or_missing(monkeypatch, tmp_path, cases):
    shipped = checkpoints.path_of("sinusoid/maml_k1")
    monkeypatch.setattr(checkpoints, "FOLDER", tmp_path)
    assert about("checkpoints", doctor.shipped_checkpoints()).status == PROBLEM
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\0\0")
    finding = about("checkpoint", doctor.shipped_checkpoints())
    assert finding.status == PROBLEM and "cut" in finding.found
    for seed in range(cases):
        shutil.copy(shipped, tmp_path / "cut.safetensors")
        flip_a_bit(tmp_path / "cut.safetensors", seed)
        assert about("checkpoint", doctor.shipped_checkpoints()).status == PROBLEM


def test_the_record_of_a_checkpoint_can_be_read_by_a_person(capsys):
    assert doctor.main(["sinusoid/maml_k1"]) == 0
    said = capsys.readouterr().out
    assert '"iterations": 70000' in said and "python -m course_lib train sinusoid" in said and said.startswith(OK)
    assert doctor.main(["sinusoid/nothing"]) == 1 and "no checkpoint" in capsys.readouterr().out


@pytest.mark.trust("a file where a folder should be")
@pytest.mark.data
@pytest.mark.parametrize(
    ("topic", "status"),
    [
        ("project folder", PROBLEM),
        ("cache folder", NOTE),
        ("temporary folder", PROBLEM),
        ("Jupyter's folder", PROBLEM),
    ],
)
def test_a_file_where_a_folder_should_be(monkeypatch, tmp_path, topic, status):
    assert about(topic, doctor.folders()).status == OK
    blocked = tmp_path / "a file"
    blocked.touch()
    if topic == "project folder":
        monkeypatch.setattr(doctor, "PROJECT", blocked)
    elif topic == "cache folder":
        monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    elif topic == "temporary folder":
        monkeypatch.setattr(tempfile, "tempdir", str(blocked))
    else:
        monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(blocked))
    finding = about(topic, doctor.folders())
    assert finding.status == status and "cannot be written to" in finding.found and finding.todo


def test_a_full_disk(monkeypatch):
    free = shutil.disk_usage(ROOT).free
    monkeypatch.setattr(doctor, "LITTLE_DISK", free * 2)
    assert about("disk", doctor.folders()).status == NOTE
    monkeypatch.setattr(doctor, "TOO_LITTLE_DISK", free * 2)
    assert about("disk", doctor.folders()).status == PROBLEM


@pytest.mark.parametrize(("compiler", "found"), [("false", "does not compile"), ("no-such-compiler", "is not there")])
def test_a_compiler_that_does_not_compile(monkeypatch, compiler, found):
    monkeypatch.setenv("CXX", compiler)
    finding = about("C++ compiler", doctor.compiler())
    assert finding.status == NOTE and found in finding.found and "sudo apt install g++" in finding.todo


def test_the_compiler_looked_for_is_the_one_that_pytorch_calls():
    from torch._inductor import config

    assert compiler_name() == config.cpp.cxx[1]


@pytest.mark.parametrize(("compiler", "there"), [(None, False), ("", False), ("ccache c++", False), ("c++", True)])
def test_doctor_and_compiled_step_agree_on_whether_it_is_there(monkeypatch, tmp_path, compiler, there):
    (tmp_path / "c++").touch(mode=0o755)  # which PyTorch calls only where CXX says so
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False) if compiler is None else monkeypatch.setenv("CXX", compiler)
    assert ("is not there" not in about("C++ compiler", doctor.compiler()).found) == there
    with contextlib.nullcontext() if there else pytest.raises(RuntimeError, match="is not there.*CXX"):
        check_compiler()


def test_chromium_is_found_where_it_is_and_asked_for_where_it_is_not(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(doctor, "CHROMIUM_APPS", ())
    monkeypatch.delenv("CHROMIUM", raising=False)
    assert about("Chromium", doctor.browser()).todo == doctor.GET_CHROMIUM
    program = tmp_path / "google-chrome"
    program.touch(mode=0o755)
    assert doctor.find_chromium() == str(program)
    monkeypatch.setenv("CHROMIUM", str(tmp_path / "gone"))
    assert doctor.find_chromium() is None
    assert f"CHROMIUM names {tmp_path / 'gone'}" in about("Chromium", doctor.browser()).found


def test_a_finding_reads_as_one_line_and_its_remedy():
    assert str(Finding(OK, "disk", "5.0 GB free")) == "OK       disk               5.0 GB free"
    assert str(Finding(NOTE, "disk", "low", "make room")).splitlines()[1].strip() == "-> make room"


@pytest.mark.data
def test_the_command_line_reaches_it():
    done = subprocess.run([sys.executable, "-m", "course_lib", "doctor"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == int("PROBLEM" in done.stdout) and "PyTorch" in done.stdout
