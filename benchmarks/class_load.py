"""What a class costs one server: memory, time of "Run All", and how soon a moved slider is answered.

    python -m benchmarks.class_load                          # 1, 5, 10 and 20 students with notebook 01
    python -m benchmarks.class_load 20 --notebook 03 --dragging 10 --seconds 20

A JupyterLab on loopback; each student is a kernel of it and a websocket that says what the page says: all cells are run
(by all students at once), then some of them drag a slider, 20 moves a second, of which the page sends the last as soon
as the one before is answered. Latency: from a move to the arrival of the first picture that has it. Memory:
proportional set size, in which what kernels share is counted once. The pages' own work, in the students' browsers, is
not on this machine's account.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import random
import shutil
import statistics
import struct
import tempfile
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import nbformat
import psutil
import websocket

from tests.browser.lab import LabServer

MOVES_A_SECOND = 20
FRAME = 1 / 60  # seconds: when a page looks whether it may send
PATIENCE = 0.25  # seconds a page waits for an answer before it sends the next move all the same
NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"


class Student:
    """A notebook that is open in a page: its kernel's websocket, its first demo with a slider, the moves made."""

    def __init__(self, server: LabServer, notebook: Path):
        self.code = [cell.source for cell in nbformat.read(notebook, 4).cells if cell.cell_type == "code"]
        started = server.api("POST", "api/kernels")
        self.session = uuid.uuid4().hex
        place = f"{server.url}/api/kernels/{started['id']}/channels?session_id={self.session}"
        self.socket = websocket.create_connection(
            place.replace("http", "ws", 1), header=[f"Authorization: token {server.token}"]
        )
        self.demo: tuple[str, dict] | None = None  # comm's id, the declared slider
        self.moves: list[float] = []  # when each was made
        self.included = [0]  # of each message sent: how many moves the kernel knows of then
        self.latencies: list[float] = []
        self.pictures = 0
        self.heard: queue.Queue[dict] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def ask(self, channel: str, kind: str, content: dict, subshell: str | None = None) -> str:
        header = {"msg_id": uuid.uuid4().hex, "msg_type": kind, "session": self.session}
        header |= {"username": "", "version": "5.4"} | ({"subshell_id": subshell} if subshell else {})
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": channel}
        self.socket.send(json.dumps(message))
        return header["msg_id"]

    def _listen(self) -> None:
        with suppress(websocket.WebSocketConnectionClosedException):  # when the server ends
            while True:
                self._hear(self.socket.recv())

    def _hear(self, received: str | bytes) -> None:
        if isinstance(received, bytes):  # with a picture: the number of parts, where each starts, the parts
            (parts,) = struct.unpack_from("!i", received)
            start, end = struct.unpack_from("!2i", received, 4) if parts > 1 else (8, None)
            received = received[start:end]
        message = json.loads(received)
        self._see(message)
        self.heard.put(message)

    def _see(self, message: dict) -> None:
        content = message["content"]
        state = content.get("data", {}).get("state", {}) if message["msg_type"].startswith("comm_") else {}
        if self.demo is None and "declaration" in state:
            sliders = [control for control in state["declaration"].get("controls", []) if control["kind"] == "slider"]
            self.demo = (content["comm_id"], sliders[0]) if sliders else None
        elif self.demo and content.get("comm_id") == self.demo[0] and "state" in state:
            self.pictures += 1
            now, known = time.monotonic(), self.included[state["state"]["heard"][1]]
            self.latencies += [now - made for made in self.moves[len(self.latencies) : known]]

    def reply(self, request: str) -> dict:
        """The answer to a request, which must be ok, once the kernel is idle again; either may come first."""
        answer, idle = None, False
        while answer is None or not idle:
            message = self.heard.get(timeout=600)
            if message["parent_header"].get("msg_id") != request:
                continue
            if message["msg_type"].endswith("_reply"):
                answer = message["content"]
                assert answer["status"] == "ok", answer
                idle = idle or message["channel"] == "control"
            idle = idle or message["content"].get("execution_state") == "idle"
        return answer

    def run_all(self) -> float:
        """Seconds that all cells take."""
        started = time.monotonic()
        for source in self.code:
            content = {"code": source, "silent": False, "store_history": True, "allow_stdin": False}
            self.reply(self.ask("shell", "execute_request", content))
        return time.monotonic() - started

    def drag(self, seconds: float) -> None:
        """Move the slider up and down its notches, and wait for the last picture."""
        subshell = self.reply(self.ask("control", "create_subshell_request", {}))["subshell_id"]
        comm, slider = self.demo
        last = len(slider["texts"]) - 1
        path = [*range(last), *range(last, 0, -1)]
        due = started = time.monotonic() + random.random() / MOVES_A_SECOND  # hands don't move in step
        sent = 0.0
        while (now := time.monotonic()) < started + seconds or len(self.latencies) < len(self.moves):
            if due <= now < started + seconds:
                self.moves.append(now)
                due += 1 / MOVES_A_SECOND
            waits = len(self.latencies) < self.included[-1] and now - sent < PATIENCE
            if len(self.moves) > self.included[-1] and not waits:
                sent, to = now, path[len(self.moves) % len(path)]
                self.included.append(len(self.moves))
                move = {"do": "set", "name": slider["name"], "to": to, "view": "v", "n": len(self.included) - 1}
                content = {"comm_id": comm, "data": {"method": "custom", "content": move}}
                self.ask("shell", "comm_msg", content, subshell)
            time.sleep(FRAME)


def measure(students: int, notebook: Path, dragging: int, seconds: float) -> str:
    """One row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(notebook, folder)
        with LabServer(Path(folder)) as server, ThreadPoolExecutor(students) as pool:
            room = list(pool.map(lambda _: Student(server, notebook), range(students)))
            runs = list(pool.map(Student.run_all, room))
            if room[0].demo is None:
                raise SystemExit(f"{notebook.stem} shows no demo with a slider to drag: choose another --notebook")
            processes = [psutil.Process(server.process.pid)]
            processes += processes[0].children(recursive=True)
            memory = [process.memory_full_info().pss / 2**20 for process in processes]
            before, hands = _work(processes), room[:dragging]
            list(pool.map(lambda student: student.drag(seconds), hands))
            work = _work(processes) - before
    pictures = sum(student.pictures for student in hands)
    latencies = sorted(1000 * latency for student in hands for latency in student.latencies)
    return (
        f"| {students} | {sum(memory):,.0f} | {sum(memory[1:]) / students:,.0f} | {max(runs):.0f} | {len(hands)} "
        f"| {1000 * work / pictures:.0f} | {pictures / len(hands) / seconds:.1f} "
        f"| {statistics.median(latencies):.0f} | {latencies[int(0.95 * len(latencies))]:.0f} |"
    )


def _work(processes: list[psutil.Process]) -> float:
    """Seconds of a core that they have taken."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("students", nargs="*", type=int, default=[1, 5, 10, 20])
    parser.add_argument("--notebook", default="01", help="which one all have open (default 01)")
    parser.add_argument("--dragging", type=int, default=10, help="how many drag at once, at most (default 10)")
    parser.add_argument("--seconds", type=float, default=10, help="how long they drag (default 10)")
    options = parser.parse_args()
    (notebook,) = NOTEBOOKS.glob(f"{options.notebook}_*.ipynb")
    print(f"{notebook.stem}, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}", flush=True)
    head = (
        "students | memory, MiB | of it a kernel | Run All, s | dragging | CPU a picture, ms | pictures a second each"
    )
    print(f"| {head} | latency, ms | 95 % |\n|" + "---:|" * 9, flush=True)
    for students in options.students:
        print(measure(students, notebook, min(options.dragging, students), options.seconds), flush=True)


if __name__ == "__main__":
    main()
