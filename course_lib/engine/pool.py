"""Processes that work for this one: one thread each, and none that outlives it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from signal import SIG_DFL, SIGINT, signal
from threading import Thread


@contextmanager
def process_pool(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """``jobs`` new processes. They end with this one, however it ends: killed, it could not tell them, and each would
    wait for work for ever with a third of a gigabyte. An exception inside, an interrupt too, ends them at once."""
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), begin)
    try:
        yield pool
    except BaseException:
        for process in active_children():  # of this process, whoever made them: it is about to end
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def begin() -> None:
    import torch  # here: who makes the pool may need none

    torch.set_num_threads(1)  # the networks are tiny
    signal(SIGINT, SIG_DFL)  # an interrupt from the keyboard reaches all: no half of an answer, and not a word
    Thread(target=end_with_parent, daemon=True).start()


def end_with_parent() -> None:
    parent_process().join()
    os._exit(1)
