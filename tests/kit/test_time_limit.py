"""Code that never ends is ended, in any thread, and code that does is left alone."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from course_lib.kit.time_limit import TimedOut, time_limit

ROOT = Path(__file__).parents[2]


def endless():
    while True:
        pass


def deaf():
    while True:
        try:
            endless()
        except Exception:
            pass


def stubborn():
    while True:
        try:
            sum(range(100))
        except BaseException:
            pass


never_in_310 = pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 never looks between the tries")


def seconds_until_stopped(code):
    begun = time.perf_counter()
    with pytest.raises(TimedOut), time_limit(0.1):
        code()
    return time.perf_counter() - begun


@pytest.mark.trust("an exercise's answer that never ends")
@pytest.mark.parametrize("code", [endless, deaf, pytest.param(stubborn, marks=never_in_310)])
def test_endless_code_is_stopped(code):
    assert 0.09 < seconds_until_stopped(code) < 60


def test_so_it_is_in_another_thread():
    seconds = []
    thread = threading.Thread(target=lambda: seconds.append(seconds_until_stopped(endless)))
    thread.start()
    endless_until = time.perf_counter() + 5
    while thread.is_alive() and time.perf_counter() < endless_until:
        pass  # this thread is as busy and is not stopped
    assert seconds and 0.09 < seconds[0] < 5


def test_code_that_ends_in_time_is_never_hit_not_even_late():
    for trial in range(300):
        limit = 5e-3 + 1e-4 * (trial % 10)
        try:
            with time_limit(limit):
                time.sleep(limit - 1e-3)
        except TimedOut:
            pass
        sum(range(1000))  # an exception on its way would come here
    assert threading.active_count() < 20


def test_an_error_in_the_block_is_itself():
    with pytest.raises(ZeroDivisionError), time_limit(5):
        1 / 0


def test_nothing_is_left_behind_that_a_profiler_would_wait_for():
    code = """
import sys
from course_lib.kit.time_limit import TimedOut, time_limit
with time_limit(60):
    pass
try:
    with time_limit(0.05):
        while True:
            pass
except TimedOut:
    pass
sys.setprofile(lambda *event: None)
(lambda: print("done"))()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "done\n", done.stderr
