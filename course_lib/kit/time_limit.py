"""A block of code that may run for so many seconds and no longer, in any thread and on any system."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, repeat
from queue import Empty, SimpleQueue

AGAIN = 0.5, 0.01  # seconds until code that caught the exception and goes on gets the next, and each one after


class TimedOut(BaseException):
    """The block ran for too long. Not an Exception: ``except Exception`` in the block does not swallow it."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimedOut in the block once it has run for ``seconds``, between two steps of the interpreter.

    A single long call of compiled code, such as ``time.sleep``, is stopped only when it returns. Python 3.10 looks for
    exceptions thrown from outside within a ``try`` but not on the way into it: there a loop with nothing in it but a
    ``try`` that takes every BaseException is not stopped at all.
    No signal is used: those reach the main thread alone, and another program may have a claim on them.
    """
    thread, over, gone = ctypes.c_ulong(threading.get_ident()), SimpleQueue(), []
    throw = ctypes.pythonapi.PyThreadState_SetAsyncExc

    def watch() -> None:
        for wait in chain([seconds, AGAIN[0]], repeat(AGAIN[1])):
            try:
                over.get(timeout=wait)
                break
            except Empty:
                throw(thread, ctypes.py_object(TimedOut))
        gone.append(True)

    try:
        threading.Thread(target=watch, daemon=True).start()
        yield
    finally:
        while True:  # one thrown in the last moment lands here; no lock, which it could leave closed
            try:
                while not gone:
                    over.put(None)
                    time.sleep(1e-4)
                for _ in range(3):  # a turn of a loop is where it lands; taking it back would leave Python 3.11 with
                    pass  # a mark that one is on its way, for which a profiler would wait for ever
                break
            except TimedOut:
                pass
