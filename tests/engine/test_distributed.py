"""``torchrun``: several processes end where one does, a killed run goes on in another number of them, and the first
process alone writes and prints."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from course_lib import checkpoints
from course_lib.engine.files import read_tensors
from tests.engine.shared_runs import NAMES, train

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(os.name != "posix", reason="torchrun needs a POSIX system")


def torchrun(*arguments: str) -> subprocess.Popen:
    """Two processes of shared_runs.py."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += [str(ROOT / "tests/engine/shared_runs.py"), *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, **pipes)


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> tuple[Path, str, str]:
    """Where two processes left what they ended with; what they said, and what on stderr."""
    folder = tmp_path_factory.mktemp("two")
    process = torchrun("methods", str(folder))
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    return folder, out, err


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_end_where_one_does(two, name):
    one, history = train(name, progress=False)
    first, second = (torch.load(two[0] / f"{name} {rank}.pt") for rank in (0, 1))
    assert first["loss"] == second["loss"] and len(first["loss"]) == history.iterations
    for parameter, end in one.items():
        assert torch.equal(first["ends"][parameter], second["ends"][parameter])  # bit for bit
        torch.testing.assert_close(first["ends"][parameter], end, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(first["loss"], history.loss, rtol=1e-7, atol=1e-9)


def test_the_first_process_alone_writes_and_prints(two):
    folder, out, err = two
    assert out.count("sinusoid regression") == out.count("written to") == 1 and err.count(" 0/20") == 1
    assert [path.name for path in (folder / "command").iterdir()] == ["two.safetensors"]
    assert checkpoints.load(folder / "command" / "two")[2]["training"]["processes"] == 2


@pytest.mark.trust("an interrupt from the keyboard")
def test_an_interrupt_of_one_process_ends_both_at_the_same_iteration(two):
    first, second = ((two[0] / f"interrupted {rank}").read_text() for rank in (0, 1))
    assert first == second and first.startswith("True")


def test_the_groups_threads_end_before_the_interpreter(two):
    """One that did not aborted one run in thirty on its way out."""
    assert [(two[0] / f"threads {rank}").read_text() for rank in (0, 1)] == ["", ""]


def test_a_meta_batch_of_fewer_tasks_than_processes_is_refused(two):
    for rank in (0, 1):
        assert "2 processes share out a meta-batch, but it has 1 task" in (two[0] / f"refused {rank}").read_text()


@pytest.mark.trust("a training in two processes killed, resumed in one")
def test_a_run_killed_in_two_processes_goes_on_in_one(tmp_path):
    state = tmp_path / "run.state"
    launcher = torchrun("until_killed", str(state))
    deadline = time.monotonic() + 100
    while not state.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    for process in (launcher, *psutil.Process(launcher.pid).children(recursive=True)):
        process.kill()
    launcher.communicate()
    done = len(read_tensors(state)[1]["loss"])
    assert done >= 20
    options = {"schedule": None, "progress": False}
    (resumed, history), (whole, _) = (
        train("MAML", done + 50, state_file=state, **options),
        train("MAML", done + 50, **options),
    )
    assert history.iterations == done + 50
    for name, end in whole.items():
        torch.testing.assert_close(resumed[name], end, rtol=1e-6, atol=1e-8)
