"""What torchrun starts for the tests: ``shared_runs.py methods FOLDER`` or ``shared_runs.py until_killed STATE``."""

from __future__ import annotations

import _thread
import atexit
import os
import sys
import threading
from pathlib import Path

import torch
from torch import Tensor, nn

from course_lib.__main__ import main
from course_lib.algorithms import ANIL, MAML, R2D2, MetaOptNet, ProtoNet, Reptile, UnionOfTasks
from course_lib.algorithms.heads import RandomHead, StoredHeads, WrittenBackHeads
from course_lib.engine.distributed import processes
from course_lib.engine.saved_state import History
from course_lib.losses import cross_entropy
from course_lib.models import MLP, Conv4
from course_lib.tasks import GlyphTasks, SinusoidTasks
from course_lib.training import linear_decay, meta_train

STEPS, TASKS = 50, 5  # two processes get two tasks and three
FEATURES, CURVES = 8, 12


class OneLayer(nn.Module):
    """A small network with a buffer that moves and one that does not."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(1, FEATURES), nn.BatchNorm1d(FEATURES), nn.Tanh())
        self.head = nn.Linear(FEATURES, 1)
        self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def heads(kind: type) -> StoredHeads:
    return kind(CURVES, FEATURES, 1)


CURVE_LEARNERS = {
    "MAML": MAML,
    "FOMAML": lambda: MAML(inner_steps=2, second_order=False),
    "ANIL": ANIL,
    "R2D2": lambda: R2D2(loss_fn=MAML().loss_fn, learn_lam=True),
    "Reptile on minibatches": lambda: Reptile(inner_batch=3, use_queries=True),
    "Reptile with Adam carried on": lambda: Reptile(inner_optimizer="adam", inner_lr=0.003, carry=True),
    "union of tasks": lambda: UnionOfTasks(head=heads(StoredHeads)),
    "random heads": lambda: ANIL(head=RandomHead()),
    "stored heads": lambda: MAML(head=heads(StoredHeads)),
    "written-back heads": lambda: ANIL(head=heads(WrittenBackHeads)),
}
IMAGE_LEARNERS = {
    "ProtoNet": ProtoNet,
    "MetaOptNet": MetaOptNet,
    "MAML on images": lambda: MAML(loss_fn=cross_entropy),
}
NAMES = [*CURVE_LEARNERS, "running statistics", *IMAGE_LEARNERS]


def train(name: str, iterations: int = STEPS, meta_batch: int = TASKS, **options) -> tuple[dict[str, Tensor], History]:
    """Where the run ends, all parameters and buffers of model and learner, and its history; in float64."""
    torch.manual_seed(0)
    if name in IMAGE_LEARNERS:
        learner, model, iterations = IMAGE_LEARNERS[name](), Conv4(ways=3, filters=4, seed=1), min(iterations, 4)
        tasks = GlyphTasks("train", ways=3, shots=1, queries=2)
        options["optimizer"] = (
            torch.optim.SGD
        )  # Adam blows up rounding: the gradient of a bias before a norm is no more
    else:
        learner = MAML() if name == "running statistics" else CURVE_LEARNERS[name]()
        model = OneLayer() if name == "running statistics" else MLP(hidden=(FEATURES,), activation=nn.Tanh, seed=1)
        tasks = SinusoidTasks(num_tasks=CURVES)
    options = {"outer_lr": 0.01, "schedule": linear_decay, **options}
    model, history = meta_train(learner.double(), model.double(), tasks, iterations, meta_batch, **options)
    ends = {f"model.{n}": t for n, t in model.state_dict().items()}
    ends |= {f"learner.{n}": t for n, t in learner.state_dict().items()}
    return {n: t.detach().clone() for n, t in ends.items()}, history


def methods(folder: str) -> None:
    """Every method once; a run that one process interrupts; a meta-batch too small; the command line."""
    atexit.register(note_threads, Path(folder))  # before the group's end is, so that it comes after
    rank, _ = processes()
    for name in NAMES:
        ends, history = train(name)
        torch.save({"ends": ends, "loss": history.loss}, Path(folder) / f"{name} {rank}.pt")
    if rank == 1:
        threading.Timer(0.5, _thread.interrupt_main).start()
    _, history = train("MAML", 10**6, state_file=Path(folder) / "stopped.state")
    (Path(folder) / f"interrupted {rank}").write_text(f"{history.interrupted} {history.iterations}")
    try:
        train("MAML", meta_batch=1)
    except ValueError as error:
        (Path(folder) / f"refused {rank}").write_text(str(error))
    main(["train", "sinusoid", "--iterations", "20", "--out", str(Path(folder) / "command" / "two")])


def note_threads(folder: Path) -> None:
    """Which of gloo's threads are left at the end of the process (Linux tells their names)."""
    names = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
    (folder / f"threads {os.environ['RANK']}").write_text("".join(name for name in names if "gloo" in name))


def until_killed(state: str) -> None:
    train("MAML", 10**6, state_file=state, save_every=20, schedule=None)


if __name__ == "__main__":
    {"methods": methods, "until_killed": until_killed}[sys.argv[1]](sys.argv[2])
