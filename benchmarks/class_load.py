"""What a class costs one server: memory, time of "Run All", and how soon a moved slider is answered.

    python -m benchmarks.class_load                          # 1, 5, 10 and 20 students with notebook 01
    python -m benchmarks.class_load 20 --notebook 03 --dragging 10 --seconds 20

A JupyterLab on loopback; each student is a kernel of it and a websocket that says what the page says: all cells are run
(by all students at once), then some of them drag a slider, 20 moves a second, and the page's picture is 700 points
wide. Latency: from a move to the arrival of the first picture that has it. Memory: proportional set size, in which what
kernels share is counted once. The pages' own work, in the students' browsers, is not on this machine's account here.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import struct
import tempfile
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import psutil
import websocket

from tests.browser.lab import LabServer

MOVES_A_SECOND = 20
NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"


class Student:
    """A notebook that is open in a page: its kernel's websocket, its first demo with a slider, the moves made."""

    def __init__(self, server: LabServer, notebook: Path):
        self.code = [cell.source for cell in nbformat.read(notebook, 4).cells if cell.cell_type == "code"]
        started = server.api("POST", "api/kernels")
        self.session = uuid.uuid4().hex
        address = f"{server.url}/api/kernels/{started['id']}/channels?session_id={self.session}".replace(
            "http", "ws", 1
        )
        self.socket = websocket.create_connection(address, header=[f"Authorization: token {server.token}"], timeout=600)
        self.demo: tuple[str, dict] | None = None  # comm's id, the declared slider
        self.sent: list[float] = []
        self.latencies: list[float] = []
        self.pictures = 0

    def ask(self, channel: str, kind: str, content: dict, subshell: str | None = None) -> str:
        header = {
            "msg_id": uuid.uuid4().hex,
            "msg_type": kind,
            "session": self.session,
            "username": "",
            "version": "5.4",
        }
        header |= {"subshell_id": subshell} if subshell else {}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": channel}
        self.socket.send(json.dumps(message))
        return header["msg_id"]

    def hear(self) -> dict:
        """The next message; of one with a picture, the words before it."""
        received = self.socket.recv()
        if isinstance(received, bytes):
            (parts,) = struct.unpack_from("!i", received)
            start, end = struct.unpack_from("!2i", received, 4) if parts > 1 else (8, None)
            received = received[start:end]
        message = json.loads(received)
        self._see(message)
        return message

    def _see(self, message: dict) -> None:
        content = message["content"]
        state = content.get("data", {}).get("state", {}) if message["msg_type"].startswith("comm_") else {}
        if self.demo is None and "declaration" in state:
            sliders = [control for control in state["declaration"]["controls"] if control["kind"] == "slider"]
            self.demo = (content["comm_id"], sliders[0]) if sliders else None
        elif self.demo and content.get("comm_id") == self.demo[0] and "state" in state:
            self.pictures += 1
            now, answered = time.monotonic(), state["state"]["heard"][1]
            self.latencies += [now - sent for sent in self.sent[len(self.latencies) : answered]]

    def reply(self, request: str) -> dict:
        """The answer to a request, which must be ok, once the kernel is idle again; either may come first."""
        answer, idle = None, False
        while answer is None or not idle:
            message = self.hear()
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
        hand = threading.Thread(target=self._move, args=(comm, slider["name"], path, subshell, seconds))
        hand.start()
        moves = round(MOVES_A_SECOND * seconds)
        while len(self.latencies) < moves:
            self.hear()
        hand.join()

    def _move(self, comm: str, name: str, path: list[int], subshell: str, seconds: float) -> None:
        time.sleep(random.random() / MOVES_A_SECOND)  # hands don't move in step
        for number in range(round(MOVES_A_SECOND * seconds)):
            message = {"do": "set", "name": name, "to": path[number % len(path)], "view": "v", "n": number + 1}
            self.sent.append(time.monotonic())
            content = {"comm_id": comm, "data": {"method": "custom", "content": message}}
            self.ask("shell", "comm_msg", content, subshell)
            time.sleep(1 / MOVES_A_SECOND)


def measure(students: int, notebook: Path, dragging: int, seconds: float) -> str:
    """One row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(notebook, folder)
        with LabServer(Path(folder)) as server, ThreadPoolExecutor(students) as pool:
            started = time.monotonic()
            room = list(pool.map(lambda _: Student(server, notebook), range(students)))
            opened = time.monotonic() - started
            runs = list(pool.map(Student.run_all, room))
            processes = [psutil.Process(server.process.pid)]
            processes += processes[0].children(recursive=True)
            memory = [process.memory_full_info().pss / 2**20 for process in processes]
            work = sum(sum(process.cpu_times()[:2]) for process in processes)
            hands = room[:dragging]
            list(pool.map(lambda student: student.drag(seconds), hands))
            work = sum(sum(process.cpu_times()[:2]) for process in processes) - work
            latencies = sorted(1000 * latency for student in hands for latency in student.latencies)
            pictures = sum(student.pictures for student in hands)
            for student in room:
                student.socket.close()
    late = latencies[int(0.95 * len(latencies))]
    return (
        f"| {students} | {sum(memory):,.0f} | {sum(memory[1:]) / students:,.0f} | {opened:.0f} | {max(runs):.0f} "
        f"| {len(hands)} | {1000 * work / pictures:.0f} | {pictures / len(hands) / seconds:.1f} "
        f"| {statistics.median(latencies):.0f} | {late:.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("students", nargs="*", type=int, default=[1, 5, 10, 20])
    parser.add_argument("--notebook", default="01", help="which one all have open (default 01)")
    parser.add_argument("--dragging", type=int, default=10, help="how many drag at once, at most (default 10)")
    parser.add_argument("--seconds", type=float, default=10, help="how long they drag (default 10)")
    options = parser.parse_args()
    (notebook,) = NOTEBOOKS.glob(f"{options.notebook}_*.ipynb")
    print(f"{notebook.stem}, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}", flush=True)
    print(
        "| students | memory, MiB | a kernel | opened, s | Run All, s | dragging | CPU a picture, ms | pictures/s "
        "| latency, ms | 95 % |\n|" + "---:|" * 10,
        flush=True,
    )
    for students in options.students:
        print(measure(students, notebook, min(options.dragging, students), options.seconds), flush=True)


if __name__ == "__main__":
    main()
