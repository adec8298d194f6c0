"""A process that is started again when it dies: in front of an audience nobody looks at a terminal."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence

QUICK = 2.0  # seconds: a process that dies sooner will not work
MOST = 3  # quick deaths, one after another, before it is given up
STOPS = signal.SIGINT, signal.SIGTERM


def free_port(wanted: int) -> int:
    """``wanted`` if it is free on this machine, else one that is."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return probe.getsockname()[1]
    raise OSError("no port of this machine is free")


def supervise(command: Sequence[str], say: Callable[[str], None] = print) -> int:
    """Run ``command`` until it ends by itself or this process is told to stop; 0, or 1 if it could not run.

    It reads nothing: its standard input is open as long as this process lives (see ``end_with_supervisor``).
    """
    process, stopped, quick = None, False, 0

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True
        if process is not None:
            process.terminate()

    before = {number: signal.signal(number, stop) for number in STOPS}
    try:
        while not stopped:
            started, process = time.monotonic(), subprocess.Popen(command, stdin=subprocess.PIPE)
            if stopped:
                process.terminate()
            code = process.wait()
            if stopped or code == 0:
                return 0
            quick = quick + 1 if time.monotonic() - started < QUICK else 0
            if quick == MOST:
                say(f"error: it ended {MOST} times within {QUICK:g} s; the lines above say why")
                return 1
            say(f"The process that draws ended (code {code}) and is started again.")
        return 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_with_supervisor() -> None:
    """In a supervised process: end at once when the one that supervises is gone, even killed."""

    def wait() -> None:
        os.read(sys.stdin.fileno(), 1)  # not by its buffer, whose lock would be in the way at the end
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()
