"""Processes that work for this one: one thread each, and none that outlives it."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from threading import Thread


def process_pool(jobs: int) -> ProcessPoolExecutor:
    """``jobs`` new processes. They end with this one, however it ends: killed, it could not tell them, and each would
    wait for work for ever with a third of a gigabyte."""
    return ProcessPoolExecutor(jobs, get_context("spawn"), begin)


def begin() -> None:
    import torch  # here: who makes the pool may need none

    torch.set_num_threads(1)  # the networks are tiny
    Thread(target=end_with_parent, daemon=True).start()


def end_with_parent() -> None:
    parent_process().join()
    os._exit(1)
