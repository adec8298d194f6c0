"""Processes that work for another: what they are given, and that none is left when it is killed."""

import multiprocessing
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch

from course_lib.engine.pool import process_pool

PARENT = """
import os, sys, time
from course_lib.engine.pool import process_pool

if __name__ == "__main__":
    with process_pool(2) as pool:
        first, second = pool.submit(os.getpid), pool.submit(time.sleep, 1)
        print(first.result(), *pool._processes, flush=True)
        pool.submit(time.sleep, 600).result()
"""


def test_the_work_comes_back_from_one_thread_each():
    with process_pool(2) as pool:
        assert list(pool.map(abs, [-1, 2, -3])) == [1, 2, 3]
        assert pool.submit(torch.get_num_threads).result() == 1


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE  # ended, and not yet looked at by its new parent
    except psutil.NoSuchProcess:
        return False


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
@pytest.mark.trust("a process killed while others work for it", cases=2)
def test_none_is_left_when_their_parent_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    workers = {int(pid) for pid in parent.stdout.readline().split()}
    assert len(workers) == 2 and all(map(alive, workers))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 60
    while any(map(alive, workers)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(alive, workers))


@pytest.mark.trust("an interrupt from the keyboard")
def test_an_interrupt_waits_for_nobodys_work():
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt), process_pool(2) as pool:
        works = [pool.submit(time.sleep, 600) for _ in range(4)]
        while not works[0].running():
            time.sleep(0.05)
        raise KeyboardInterrupt
    assert time.monotonic() - started < 120 and multiprocessing.active_children() == []
