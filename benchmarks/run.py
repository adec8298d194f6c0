"""Time and memory of a meta-step: every method, what it grows with, other libraries where they are installed.

    make bench                                        everything, in an environment with the other libraries
    python benchmarks/run.py peers methods            some of: peers methods scaling sweep imports

Prints tables, and writes benchmarks/results.csv and benchmarks/results.svg. Ratios are taken within one run,
the steps called in turn; memory is that of a fresh process for each step.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import torch

from benchmarks.measure import Timing, interleaved, peak_memory
from benchmarks.peers import OUTER_LR, PEERS
from course_lib import losses
from course_lib.algorithms import ANIL, MAML, R2D2, MetaOptNet, ProtoNet, Reptile
from course_lib.algorithms.base import trainable
from course_lib.engine.hot_path import cores, workers
from course_lib.engine.sweep import Runs, make_groups
from course_lib.models import MLP, Conv4, has_convolutions
from course_lib.tasks import GlyphTasks, SinusoidTasks
from course_lib.training import adam, make_meta_gradient, meta_train

SECTIONS = ("peers", "methods", "scaling", "sweep", "imports")
EAGER, COMPILED = "course_lib", "course_lib, compiled"


def sinusoid(num_tasks: int = 25, hidden: int = 40):
    """MAML, section 5.1: MLP 1-40-40-1, 10 support and 10 query points, alpha 0.01."""
    batch = SinusoidTasks(10, 10).sample(num_tasks, generator=torch.Generator().manual_seed(0))
    return MLP(hidden=(hidden, hidden), seed=0), losses.mse, batch, 0.01


def characters(num_tasks: int = 32, queries: int = 15, downsample: str = "pool"):
    """Conv-4, 64 filters, 5-way 1-shot on drawn glyphs: the cost of Omniglot without its data. With "stride" it is the
    network of MAML, section 5.2."""
    tasks = GlyphTasks("train", ways=5, shots=1, queries=queries)
    batch = tasks.sample(num_tasks, generator=torch.Generator().manual_seed(0))
    return Conv4(downsample=downsample, seed=0), losses.cross_entropy, batch, 0.4


POOLED, STRIDED, SMALL = "conv-4, 5+75 images", "strided, 5+75 images", "conv-4, 5+5 images"
WORKS = {
    "sinusoid": sinusoid,
    POOLED: characters,
    STRIDED: lambda num_tasks=32: characters(num_tasks, downsample="stride"),
    SMALL: lambda num_tasks=32: characters(num_tasks, queries=1),
}
METHODS = {
    "MAML": lambda k, lr, loss: MAML(k, lr, loss_fn=loss),
    "FOMAML": lambda k, lr, loss: MAML(k, lr, second_order=False, loss_fn=loss),
    "ANIL": lambda k, lr, loss: ANIL(k, lr, loss_fn=loss),
    "Reptile": lambda k, lr, loss: Reptile(k, lr, loss_fn=loss),
    "R2D2": lambda k, lr, loss: R2D2(loss_fn=loss),
    "MetaOptNet": lambda k, lr, loss: MetaOptNet(loss_fn=loss),
    "ProtoNet": lambda k, lr, loss: ProtoNet(loss_fn=loss),
}
CLASSIFIERS = ("MetaOptNet", "ProtoNet")
SOLVED = ("R2D2", *CLASSIFIERS)  # no inner steps


def our_step(learner, model, batch, compile: bool = False) -> Callable[[], object]:
    """What one iteration of ``meta_train`` does, without drawing the tasks."""
    parameters = trainable(learner, model)
    optimizer = adam(parameters.values(), OUTER_LR)
    meta_gradient = make_meta_gradient(learner, model, compile=compile)

    def step():
        grads, _ = meta_gradient(batch)
        for name, parameter in parameters.items():
            parameter.grad = grads[name]
        optimizer.step()

    return step


def make_step(work: str, name: str, k: int, num_tasks: int | None = None) -> Callable[[], object]:
    """The step called ``name``: a method, a peer, or MAML eager or compiled."""
    model, loss_fn, batch, lr = WORKS[work]() if num_tasks is None else WORKS[work](num_tasks)
    torch.set_num_threads(cores() if has_convolutions(model) else 1)
    if name in PEERS:
        return PEERS[name](model, loss_fn, batch, k, lr)
    method = METHODS.get(name, METHODS["MAML"])
    return our_step(method(k, lr, loss_fn), model, batch, compile=name == COMPILED)


def memory_in_new_process(work: str, name: str, k: int, num_tasks: int | None = None) -> float:
    """Peak MiB of one step, by calling this file again."""
    case = json.dumps([work, name, k, num_tasks])
    out = subprocess.run([sys.executable, __file__, "--memory-of", case], capture_output=True, text=True)
    return float(out.stdout) if out.returncode == 0 else float("nan")


class Table:
    """Rows that are printed as they come and kept for the CSV file and the figure."""

    def __init__(self):
        self.rows: list[dict] = []

    def add(self, section: str, work: str, name: str, k: int, timing: Timing, mib: float, **more) -> None:
        times = dict(ms=timing.least, median_ms=timing.median)
        self.rows.append(dict(section=section, work=work, name=name, k=k, mib=mib) | times | more)
        numbers = f"{timing.least:9.2f} {timing.median:9.2f} {mib:8.0f}"
        ratio = f"{more['ratio']:7.3f}" if "ratio" in more else ""
        print(f"{work:20s} k={k:<2d} {name:24s} {numbers} {ratio}", flush=True)

    def header(self, title: str, ratio: str = "") -> None:
        print(f"\n{title}\n{'':49s}{'ms, least':>10s} {'median':>9s} {'peak MiB':>8s} {ratio:>7s}")

    def save(self, path: Path) -> None:
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(self.rows)


def peers(table: Table, quick: bool) -> None:
    table.header("Second-order MAML and Adam, beside other libraries", "/ loop")
    for work, k in (("sinusoid", 1), ("sinusoid", 5), (POOLED, 1), (STRIDED, 1), (SMALL, 1)):
        small = work == "sinusoid"
        names = [EAGER, *([COMPILED] if small and not quick else []), *PEERS]
        steps = {}
        for name in names:
            if name.startswith("JAX") and not small:
                continue
            try:
                steps[name] = make_step(work, name, k)
            except (ImportError, RuntimeError) as error:
                print(f"{work:20s} k={k:<2d} {name:24s} not measured: {str(error).splitlines()[0]}")
        timings = interleaved(steps, seconds=1.0 if quick else 3.0, least=3)
        loop = timings.get("torchopt, loop")
        for name, timing in timings.items():
            more = {"ratio": timing.least / loop.least} if loop else {}
            mib = float("nan") if quick and small else memory_in_new_process(work, name, k)
            table.add("peers", work, name, k, timing, mib, **more)


def methods(table: Table, quick: bool) -> None:
    table.header("Every method")
    for work, k in (("sinusoid", 1), ("sinusoid", 5), (SMALL, 1)):
        steps = {}
        for name in METHODS:
            if (work == "sinusoid" and name in CLASSIFIERS) or (k > 1 and name in SOLVED):
                continue
            steps[name] = make_step(work, name, k)
        for name, timing in interleaved(steps, seconds=1.0, least=3).items():
            table.add("methods", work, name, k, timing, memory_in_new_process(work, name, k))


def scaling(table: Table, quick: bool) -> None:
    table.header("What a step grows with: tasks, k, width (MAML)")
    for num_tasks in (5, 25, 125, 625):
        timing = interleaved({"": make_step("sinusoid", EAGER, 1, num_tasks)}, 1.0)[""]
        mib = memory_in_new_process("sinusoid", EAGER, 1, num_tasks)
        table.add("scaling", "sinusoid", f"{num_tasks} tasks", 1, timing, mib, axis="tasks", value=num_tasks)
    for k in (0, 1, 2, 5, 10, 20):
        timing = interleaved({"": make_step("sinusoid", EAGER, k)}, 1.0)[""]
        mib = memory_in_new_process("sinusoid", EAGER, k)
        table.add("scaling", "sinusoid", f"{k} inner steps", k, timing, mib, axis="k", value=k)
    for width in (20, 40, 80, 160, 320):
        model, loss_fn, batch, lr = sinusoid(hidden=width)
        timing = interleaved({"": our_step(MAML(1, lr, loss_fn=loss_fn), model, batch)}, 1.0)[""]
        table.add("scaling", "sinusoid", f"width {width}", 1, timing, float("nan"), axis="width", value=width)
    for num_tasks in (2, 8) if quick else (4, 16, 64):
        timing = interleaved({"": make_step(POOLED, EAGER, 1, num_tasks)}, 0.0, least=2)[""]
        mib = memory_in_new_process(POOLED, EAGER, 1, num_tasks)
        table.add("scaling", POOLED, f"{num_tasks} tasks", 1, timing, mib, axis="conv tasks", value=num_tasks)


def sweep(table: Table, quick: bool) -> None:
    table.header("A sweep of 16 runs as one, against one run", "/ one")
    runs, iterations, tasks = 16, 25, SinusoidTasks(10, 10)
    rates, seeds = [0.001 * 1.3**r for r in range(runs)], list(range(runs))

    def one():
        meta_train(MAML(), MLP(seed=0), tasks, iterations=iterations, progress=False, device="cpu")

    def together(compile: bool) -> Callable[[], object]:
        groups = make_groups(MAML(), [MLP(seed=seed) for seed in seeds], tasks, rates, seeds, compile=compile)

        def steps():
            with workers() as pool:
                for _ in range(iterations):
                    list(pool.map(Runs.step, groups))

        return steps

    ways = {"one run": one, "16 runs as one": together(False)}
    if not quick:
        ways["16 runs as one, compiled"] = together(True)
    timings = interleaved(ways, seconds=1.0 if quick else 3.0, least=3)
    for name, timing in timings.items():
        step = Timing(timing.least / iterations, timing.median / iterations)
        ratio = timing.least / timings["one run"].least
        table.add("sweep", "sinusoid", name, 1, step, float("nan"), ratio=ratio)


def imports(table: Table, quick: bool) -> None:
    table.header("Importing, in new processes (k means nothing here)")

    def importing(what: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, "-c", what], cwd=HERE.parent, check=True)

    everything = "import torch, course_lib.training, course_lib.evaluation, course_lib.checkpoints"
    steps = {"import torch": importing("import torch"), "and all of course_lib": importing(everything)}
    for name, timing in interleaved(steps, seconds=0.0, least=5).items():
        table.add("imports", "-", name, 0, timing, float("nan"))


def main() -> None:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("sections", nargs="*", help=f"of {', '.join(SECTIONS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="shorter measurements, nothing compiled")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if unknown := set(args.sections) - set(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    if args.memory_of:
        print(peak_memory(make_step(*json.loads(args.memory_of))))
        return
    started, table = time.time(), Table()
    print(f"torch {torch.__version__}, {cores()} cores, load {os.getloadavg()[0]:.1f}")
    for section in args.sections or SECTIONS:
        globals()[section](table, args.quick)
    if not args.sections:
        from benchmarks.figure import draw

        table.save(HERE / "results.csv")
        draw(table.rows, HERE / "results.svg")
        print(f"\nwrote {HERE.name}/results.csv and results.svg")
    print(f"{time.time() - started:.0f} s")


if __name__ == "__main__":
    main()
