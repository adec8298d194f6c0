"""The command line.

    python -m course_lib train sinusoid --method maml --inner-steps 1
    python -m course_lib train omniglot --method r2d2 --ways 5 --shots 1 --device auto
    python -m course_lib train omniglot --recipe protonet
    python -m course_lib evaluate CHECKPOINT --steps 0 1 5 10
    python -m course_lib league omniglot
    python -m course_lib data          fetch, verify and describe Omniglot
    python -m course_lib doctor        what is right and wrong on this machine
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path

from course_lib.commands import doctor

if __name__ == "__main__" and sys.argv[1:2] == ["doctor"]:  # it also says what is wrong where PyTorch is missing
    sys.exit(doctor.main(sys.argv[2:]))

import torch

from course_lib import checkpoints
from course_lib.algorithms import LEARNERS
from course_lib.algorithms.fitted import FittedHead
from course_lib.chapters.omniglot import league
from course_lib.checkpoints import recipes
from course_lib.checkpoints.recipes import FAMILIES, Recipe
from course_lib.engine.hot_path import PRECISIONS
from course_lib.evaluation import LEARNERS_CHOICE, evaluate
from course_lib.tasks import omniglot
from course_lib.training import Diverged, meta_train, threads_for


def main(argv: list[str] | None = None) -> int:
    """Run one command; 0 if it did what was asked, else a message on stderr and 1 or 2."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        if argv and argv[0] in OTHERS:
            return OTHERS[argv[0]][0](argv[1:])
        args = parser().parse_args(argv)
        args.command_line = "python -m course_lib " + shlex.join(argv)
        return args.run(args)
    except (ValueError, TypeError, OSError, RuntimeError, Diverged) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m course_lib", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="meta-train a network and keep it as a checkpoint")
    train.set_defaults(run=run_train)
    train.add_argument("family", choices=FAMILIES)
    train.add_argument("--recipe", help="all settings at once, by name (see course_lib/checkpoints/recipes.py); other options win")
    train.add_argument("--method", choices=["fomaml", *LEARNERS], help="default: maml")
    train.add_argument("--inner-steps", type=int, help="k (default: the method's)")
    train.add_argument("--inner-lr", type=float, help="alpha, for mean losses (default: the method's)")
    train.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="other settings of the method")
    train.add_argument("--model", nargs="+", default=[], metavar="NAME=VALUE", help="settings of the network")
    train.add_argument("--shots", type=int, help="support points, or support images per class")
    train.add_argument("--queries", type=int, help="query points, or query images per class")
    train.add_argument("--ways", type=int, help="classes per task (images; default: 5)")
    train.add_argument("--num-tasks", type=int, help="sinusoid: a finite set of tasks that come back")
    train.add_argument("--iterations", type=int, help="default: 5000")
    train.add_argument("--meta-batch", type=int, help="tasks per iteration (default: 25 sinusoids, 32 of images)")
    train.add_argument("--outer-lr", type=float, help="beta, of Adam (default: 0.001)")
    train.add_argument("--seed", type=int, default=0, help="of the initial weights and of the stream of tasks")
    train.add_argument("--device", default="auto", help="cpu, cuda, ... (default: a GPU for images, if there is one)")
    train.add_argument("--tasks-at-once", type=int, help="bounds memory (default: by device and model)")
    train.add_argument("--compile", action="store_true", help="compile the step; needs a C++ compiler and 10 to 60 s")
    train.add_argument("--precision", choices=PRECISIONS, default="float32", help="of the forward passes")
    train.add_argument("--out", type=Path, help="checkpoint to write (default: runs/FAMILY/METHOD)")
    train.add_argument("--resume", action="store_true", help="go on with a run that was stopped")

    test = commands.add_parser("evaluate", help="fine-tune a checkpoint on new tasks")
    test.set_defaults(run=run_evaluate)
    test.add_argument("checkpoint", help="a name (see `evaluate list`) or a path")
    test.add_argument("--steps", type=int, nargs="+", help="of fine-tuning (default: those of its record)")
    test.add_argument("--tasks", type=int, default=600)
    test.add_argument("--seed", type=int, default=0)
    test.add_argument("--ways", type=int, help="other than it was trained with (images)")
    test.add_argument("--shots", type=int, help="other than it was trained with")
    test.add_argument("--head", choices=["ready", "random"], default="ready")
    test.add_argument("--only", choices=[LEARNERS_CHOICE, "all", "head"], default=LEARNERS_CHOICE)

    for name, (_, text) in OTHERS.items():
        commands.add_parser(name, help=text)
    return top


def run_train(args: argparse.Namespace) -> int:
    recipe = build_recipe(args)
    out = args.out or Path("runs") / args.family / (args.recipe or recipe.method)
    state = state_file(out)
    if args.resume and not state.exists():
        raise ValueError(f"there is no stopped run to resume ({state}); leave out --resume to begin one")
    if state.exists() and not args.resume:
        raise ValueError(f"{state} holds a run that was stopped: add --resume to go on, or delete it to begin afresh")
    if problem := doctor.write_error(out.parent):
        raise ValueError(f"{out.parent} {problem}: name another place with --out")
    tasks = recipe.build_tasks(args.family)
    model = recipe.build_model(args.family, args.seed)
    learner = recipe.build_learner(args.family, model, tasks)
    print(f"{learner.describe()} on {tasks.describe()}")
    cpu_seconds = time.process_time()
    model, history = meta_train(
        learner,
        model,
        tasks,
        iterations=recipe.iterations,
        meta_batch=recipe.meta_batch,
        outer_lr=recipe.outer_lr,
        seed=args.seed,
        device=args.device,
        optimizer=recipe.optimizer,
        schedule=recipe.schedule,
        tasks_at_once=args.tasks_at_once,
        compile=args.compile,
        precision=args.precision,
        state_file=state,
    )
    cpu_seconds = time.process_time() - cpu_seconds
    if history.interrupted:
        print(f"interrupted after {history.iterations} iterations; the same command with --resume goes on")
        return 1
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
        },
        "score": {"tasks": result.num_tasks, "steps": result.steps, "mean": result.mean, "ci95": result.ci95},
        **checkpoints.provenance(args.command_line, history.seconds, device, threads),
        "cpu_seconds": None if args.resume else round(cpu_seconds, 1),
    }
    path = checkpoints.save(out, model.cpu(), learner.cpu(), record)
    state.unlink(missing_ok=True)
    print(f"{history.iterations} iterations in {history.seconds:.1f} s\n{result}\nwritten to {path}")
    return 0


def state_file(out: Path) -> Path:
    """Where the run that is to become the checkpoint ``out`` keeps its state."""
    return out.with_name(out.name + ".state")


def run_evaluate(args: argparse.Namespace) -> int:
    if args.checkpoint == "list":
        print("\n".join(checkpoints.available()))
        return 0
    model, learner, record = checkpoints.load(args.checkpoint)
    changes = given({"ways": args.ways, "shots": args.shots})
    trained_on = checkpoints.task_settings(record)
    if "num_tasks" in trained_on:
        changes["num_tasks"] = None  # judge on new tasks, not on those it was trained on
    if "ways" in trained_on:
        changes |= {"split": "test", "rotations": False}
    tasks = checkpoints.load_tasks(record, **changes)
    only = None if args.only == "all" else args.only
    print(f"{learner.describe()} on {tasks.describe()}")
    steps = args.steps or record.get("score", {}).get("steps", Recipe.steps)
    options = {"num_tasks": args.tasks, "steps": steps, "seed": args.seed}
    print(evaluate(learner, model, tasks, head=args.head, only=only, **options))
    return 0


OTHERS = {  # commands that read their own options
    "league": (league.main, "all methods on the same tasks, beside published numbers"),
    "data": (omniglot.main, "fetch, verify and describe Omniglot"),
    "doctor": (doctor.main, "check this machine"),
}


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
    inner = {"inner_steps": args.inner_steps, "inner_lr": args.inner_lr}
    counts = {"shots": args.shots, "queries": args.queries}
    counts |= {"ways": args.ways} if images else {"num_tasks": args.num_tasks}
    outer = {name: getattr(args, name) for name in ("method", "iterations", "meta_batch", "outer_lr")}
    return replace(
        recipe,
        settings={**recipe.settings, **parse_settings(args.set), **given(inner)},
        model={**recipe.model, **parse_settings(args.model)},
        tasks={**recipe.tasks, **given(counts)},
        **given(outer),
    )


def given(options: dict) -> dict:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def parse_settings(pairs: list[str]) -> dict:
    """["lam=0.1", "hidden=[40, 40]"] -> {"lam": 0.1, "hidden": [40, 40]}; what is not JSON is a string.

    >>> parse_settings(["filters=32", "pooling=mean"])
    {'filters': 32, 'pooling': 'mean'}
    """
    settings = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"settings are written NAME=VALUE, not {pair!r}")
        try:
            settings[name] = json.loads(value)
        except json.JSONDecodeError:
            settings[name] = value
    return settings


if __name__ == "__main__":
    sys.exit(main())
