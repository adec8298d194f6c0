"""Meta-train a network and keep it as a checkpoint: ``python -m course_lib train``.

A run that is stopped keeps its state beside the checkpoint it is to become; ``--resume`` goes on with it. Several
processes, on as many GPUs, share the tasks: ``torchrun --nproc-per-node 4 -m course_lib train ...``.
"""

from __future__ import annotations

import argparse
import json
import shlex
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch

from course_lib import checkpoints
from course_lib.algorithms import LEARNERS
from course_lib.algorithms.fitted import FittedHead
from course_lib.commands.doctor import write_error
from course_lib.engine import recipes
from course_lib.engine.distributed import processes
from course_lib.engine.files import only_writer
from course_lib.engine.hot_path import PRECISIONS
from course_lib.engine.provenance import provenance
from course_lib.engine.recipes import FAMILIES, Recipe
from course_lib.engine.run import threads_for
from course_lib.evaluation import evaluate
from course_lib.training import meta_train


def parser() -> argparse.ArgumentParser:
    train = argparse.ArgumentParser(prog="python -m course_lib train", description=__doc__.partition(":")[0] + ".")
    add = train.add_argument
    add("family", choices=FAMILIES)
    add("--recipe", help="all settings at once, by name (course_lib/engine/recipes.py); other options win")
    add("--method", choices=["fomaml", *LEARNERS], help="default: maml")
    add("--inner-steps", type=int, help="k (default: the method's)")
    add("--inner-lr", type=float, help="alpha, for mean losses (default: the method's)")
    add("--set", nargs="+", default=[], metavar="NAME=VALUE", help="other settings of the method")
    add("--model", nargs="+", default=[], metavar="NAME=VALUE", help="settings of the network")
    add("--shots", type=int, help="support points, or support images per class")
    add("--queries", type=int, help="query points, or query images per class")
    add("--ways", type=int, help="classes per task (images; default: 5)")
    add("--num-tasks", type=int, help="sinusoid: a finite set of tasks that come back")
    add("--iterations", type=int, help="default: 5000")
    add("--meta-batch", type=int, help="tasks per iteration (default: 25 sinusoids, 32 of images)")
    add("--outer-lr", type=float, help="beta, of Adam (default: 0.001)")
    add("--seed", type=int, default=0, help="of the initial weights and of the stream of tasks")
    add("--device", default="auto", help="cpu, cuda, ... (default: a GPU for images, if there is one)")
    add("--tasks-at-once", type=int, help="bounds memory (default: by device and model)")
    add("--compile", action="store_true", help="compile the step; needs a C++ compiler and 10 to 60 s")
    add("--precision", choices=PRECISIONS, default="float32", help="of the forward passes")
    add("--out", type=Path, help="checkpoint to write (default: runs/FAMILY/METHOD)")
    add("--resume", action="store_true", help="go on with a run that was stopped")
    return train


def main(argv: list[str]) -> int:
    """Train as ``argv`` says and write the checkpoint; 1 if the run was interrupted, else 0.

    Raises:
        ValueError: the options do not fit together, or the checkpoint could not be written.
        InUse: another run is writing that checkpoint.
        Diverged: the loss became infinite or NaN.
    """
    args = parser().parse_args(argv)
    recipe = build_recipe(args)
    out = args.out or Path("runs") / args.family / (args.recipe or recipe.method)
    if problem := write_error(out.parent):
        raise ValueError(f"{out.parent} {problem}: name another place with --out")
    with only_writer(checkpoints.file_at(out)) if processes()[0] == 0 else nullcontext():
        return _train(args, recipe, out, shlex.join(argv))


def _train(args: argparse.Namespace, recipe: Recipe, out: Path, command: str) -> int:
    state = state_file(out)
    if args.resume and not state.exists():
        raise ValueError(f"there is no stopped run to resume ({state}); leave out --resume to begin one")
    if state.exists() and not args.resume:
        raise ValueError(f"{state} holds a run that was stopped: add --resume to go on, or delete it to begin afresh")
    learner, model, tasks = recipe.build(args.family, args.seed)
    rank, num_processes = processes()
    say = print if rank == 0 else (lambda line: None)
    say(f"{learner.describe()} on {tasks.describe()}")
    cpu_seconds = time.process_time()
    model, history = meta_train(
        learner,
        model,
        tasks,
        **recipe.outer,
        seed=args.seed,
        device=args.device,
        tasks_at_once=args.tasks_at_once,
        compile=args.compile,
        precision=args.precision,
        state_file=state,
    )
    cpu_seconds = time.process_time() - cpu_seconds
    if history.interrupted:
        say(f"interrupted after {history.iterations} iterations; the same command with --resume goes on")
        return 1
    if rank:
        return 0
    device = next(model.parameters()).device
    with threads_for(model, device):
        threads = torch.get_num_threads()
    learner = recipes.keep(learner)
    result = evaluate(learner, model, recipe.build_tasks(args.family, test=True), steps=recipe.steps)
    record = {
        "recipe": {"name": args.recipe, "source": recipe.source},
        "tasks": {"class": type(tasks).__name__, **tasks.settings()},
        "training": {
            "iterations": history.iterations,
            "meta_batch": recipe.meta_batch,
            "outer_lr": recipe.outer_lr,
            "schedule": getattr(recipe.schedule, "__name__", None),
            "optimizer": recipe.optimizer.__name__,
            "seed": args.seed,
            "precision": args.precision,
            "processes": num_processes,
        },
        "score": {"tasks": result.num_tasks, "steps": result.steps, "mean": result.mean, "ci95": result.ci95},
        **provenance(f"python -m course_lib train {command}", history.seconds, device, threads),
        "cpu_seconds": None if args.resume or num_processes > 1 else round(cpu_seconds, 1),
    }
    path = checkpoints.save(out, model.cpu(), learner.cpu(), record)
    state.unlink(missing_ok=True)
    say(f"{history.iterations} iterations in {history.seconds:.1f} s\n{result}\nwritten to {path}")
    return 0


def state_file(out: Path) -> Path:
    """Where the run that is to become the checkpoint ``out`` keeps its state."""
    return out.with_name(out.name + ".state")


def build_recipe(args: argparse.Namespace) -> Recipe:
    """The recipe named, or the method's defaults; what the command line says wins."""
    images = args.family != "sinusoid"
    strange = "num_tasks" if images else "ways"
    if getattr(args, strange) is not None:
        raise ValueError(f"--{strange.replace('_', '-')} is not for {args.family}")
    if args.recipe:
        recipe = recipes.find(args.family, args.recipe)
    else:
        method = args.method or "maml"
        solved = issubclass(LEARNERS.get(method, object), FittedHead)  # its head needs no gradient step
        batch, steps = 32 if images else 25, (0,) if solved else Recipe.steps
        recipe = Recipe(method, "the command line", meta_batch=batch, steps=steps)
    return replace(
        recipe,
        settings={**recipe.settings, **parse_settings(args.set), **_given(args, "inner_steps", "inner_lr")},
        model={**recipe.model, **parse_settings(args.model)},
        tasks={**recipe.tasks, **_given(args, "shots", "queries", "ways", "num_tasks")},
        **_given(args, "method", "iterations", "meta_batch", "outer_lr"),
    )


def _given(args: argparse.Namespace, *names: str) -> dict:
    """Those of the options ``names`` that were given."""
    return {name: value for name in names if (value := getattr(args, name)) is not None}


def parse_settings(pairs: list[str]) -> dict:
    """["lam=0.1", "hidden=[40, 40]"] -> {"lam": 0.1, "hidden": [40, 40]}; what is not JSON, nor Python's True, False or
    None, is a string.

    >>> parse_settings(["filters=32", "pooling=mean", "learn_lam=False"])
    {'filters': 32, 'pooling': 'mean', 'learn_lam': False}
    """
    settings = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"settings are written NAME=VALUE, not {pair!r}")
        try:
            settings[name] = json.loads(value)
        except json.JSONDecodeError:
            settings[name] = {"True": True, "False": False, "None": None}.get(value, value)
    return settings
