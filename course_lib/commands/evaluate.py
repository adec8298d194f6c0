"""Fine-tune a checkpoint on new tasks: ``python -m course_lib evaluate CHECKPOINT``."""

from __future__ import annotations

import argparse

from course_lib import checkpoints
from course_lib.engine.recipes import Recipe
from course_lib.evaluation import LEARNERS_CHOICE, evaluate


def main(argv: list[str]) -> int:
    """Print the errors or accuracies of a checkpoint on tasks it was not trained on; 0.

    Raises:
        FileNotFoundError: there is no such checkpoint. ValueError: it cannot serve these tasks.
    """
    parser = argparse.ArgumentParser(prog="python -m course_lib evaluate", description=__doc__.partition(":")[0] + ".")
    parser.add_argument("checkpoint", help="a name (see `evaluate list`) or a path")
    parser.add_argument("--steps", type=int, nargs="+", help="of fine-tuning (default: those of its record)")
    parser.add_argument("--tasks", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ways", type=int, help="other than it was trained with (images)")
    parser.add_argument("--shots", type=int, help="other than it was trained with")
    parser.add_argument("--head", choices=["ready", "random"], default="ready")
    parser.add_argument("--only", choices=[LEARNERS_CHOICE, "all", "head"], default=LEARNERS_CHOICE)
    args = parser.parse_args(argv)
    if args.checkpoint == "list":
        print("\n".join(checkpoints.available()))
        return 0
    model, learner, record = checkpoints.load(args.checkpoint)
    changes = {name: value for name in ("ways", "shots") if (value := getattr(args, name)) is not None}
    trained_on = checkpoints.task_settings(record)
    if "num_tasks" in trained_on:
        changes["num_tasks"] = None  # judge on new tasks, not on those it was trained on
    if "ways" in trained_on:
        changes |= {"split": "test", "rotations": False}
    settings = trained_on | changes
    tasks = checkpoints.TASKS[settings.pop("class")](**settings)
    only = None if args.only == "all" else args.only
    print(f"{learner.describe()} on {tasks.describe()}")
    steps = args.steps or record.get("score", {}).get("steps", Recipe.steps)
    options = {"num_tasks": args.tasks, "steps": steps, "seed": args.seed}
    print(evaluate(learner, model, tasks, head=args.head, only=only, **options))
    return 0
