"""The front door: the names a session begins with, and nothing that it can do without."""

import os
import subprocess
import sys

import pytest

import course_lib

NAMES = "MAML ANIL R2D2 MetaOptNet ProtoNet Reptile UnionOfTasks meta_train evaluate MLP Conv4 SinusoidTasks"
CAN_DO_WITHOUT = "matplotlib ipywidgets anywidget IPython PIL requests pooch scipy"  # torch takes long enough


def test_every_name_is_the_thing_itself():
    assert set(NAMES.split()) == set(course_lib.__all__) <= set(dir(course_lib))
    for home, names in course_lib.HOMES.items():
        for name in names:
            assert getattr(course_lib, name) is getattr(sys.modules[home], name)


def test_another_name_is_refused_as_of_any_module():
    with pytest.raises(ImportError, match="cannot import name 'Maml' from 'course_lib'"):
        from course_lib import Maml  # noqa: F401
    assert not hasattr(course_lib, "Maml")


def run(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_it_brings_no_picture_no_widget_and_no_network():
    brought = run("from course_lib import *; import sys; print(MAML.__name__, *sys.modules)").stdout.split()
    assert "MAML" in brought and not set(CAN_DO_WITHOUT.split()) & set(brought)


def test_without_pytorch_the_doctor_is_reached_and_the_others_name_it():
    broken = "import sys; sys.modules['torch'] = None; from course_lib.__main__ import main; "
    report = run(broken + "sys.exit(main(['doctor']))")
    assert report.returncode == 1 and not report.stderr and "PROBLEM  torch device" in report.stdout
    refused = run(broken + "sys.exit(main(['train', 'sinusoid']))")
    assert refused.returncode == 1 and "Traceback" not in refused.stderr and "course_lib doctor" in refused.stderr


@pytest.mark.parametrize("command", [["--help"], ["handout", "--help"], ["guide"]])
def test_who_has_read_enough_sees_no_traceback(command):
    out, into = os.pipe()
    os.close(out)  # as of a `head` that has ended
    run = [sys.executable, "-m", "course_lib", *command]
    done = subprocess.run(run, stdout=into, stderr=subprocess.PIPE, text=True)
    os.close(into)
    assert done.stderr == "" and done.returncode == (1 if command == ["guide"] else 0)
