"""A project of one's own in one file: from data to odds.

    python -m course_lib.chapters.your_own.template --copy my_tasks.py      a copy to change
    python my_tasks.py --method maml --seeds 5                              runs it

As it stands it learns to draw a hillside from ten measured points. The data are real: elevations in metres about
Jacksboro, Tennessee, one every 74 by 93 metres, which come with Matplotlib. Training, validation and test tasks lie in
parts of the map that do not overlap.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from matplotlib import cbook
from torch import Tensor

from course_lib import checkpoints
from course_lib.algorithms import ANIL, MAML, R2D2
from course_lib.evaluation import evaluate, interval95
from course_lib.losses import mse
from course_lib.models import MLP
from course_lib.tasks import TaskBatch
from course_lib.training import meta_train

# ---- Yours: the data, what a task is, the model, the loss, what must be beaten, the methods to try


def load_map() -> dict[str, Tensor]:
    """Elevations in metres of the west (training), the middle (validation) and the east (test), [344, columns] each."""
    with cbook.get_sample_data("jacksboro_fault_dem.npz") as stored:
        elevation = torch.tensor(stored["elevation"], dtype=torch.get_default_dtype())  # [344, 403]
    return {"train": elevation[:, :230], "validation": elevation[:, 230:300], "test": elevation[:, 300:]}


class Hills:
    """A task is a square of the map: from the heights at a few points (support) to those at others (query).

    Places are in -1 to 1; heights in units of 75 m, above the mean of the SUPPORT points: all that a person with those
    measurements knows.
    """

    def __init__(self, region: Tensor, shots: int = 10, queries: int = 20, side: int = 24):
        self.region, self.shots, self.queries, self.side = region, shots, queries, side

    def sample(self, num_tasks: int, *, generator: torch.Generator) -> TaskBatch:
        rows, columns = (
            torch.randint(length - self.side, (num_tasks, 1), generator=generator) for length in self.region.shape
        )
        place = torch.rand(num_tasks, self.shots + self.queries, 2, generator=generator)  # [T, S + Q, 2]
        down, right = (place * self.side).long().unbind(-1)  # [T, S + Q]
        height = self.region[rows + down, columns + right]  # [T, S + Q]
        height = (height - height[:, : self.shots].mean(1, keepdim=True)) / 75
        x, y = 2 * place - 1, height[..., None]  # [T, S + Q, 2], [T, S + Q, 1]
        return TaskBatch(x[:, : self.shots], y[:, : self.shots], x[:, self.shots :], y[:, self.shots :])


def support_mean(batch: TaskBatch) -> Tensor:
    """A flat hill [T, Q, 1]."""
    return batch.support_y.mean(1, keepdim=True).expand_as(batch.query_y)


def nearest_point(batch: TaskBatch) -> Tensor:
    """The height of the nearest measured point [T, Q, 1]."""
    nearest = torch.cdist(batch.query_x, batch.support_x).argmin(2, keepdim=True)  # [T, Q, 1]
    return batch.support_y.gather(1, nearest)


def make_model(seed: int) -> MLP:
    return MLP(in_features=2, hidden=(40, 40), seed=seed)


LOSS = mse
BASELINES = {"support mean": support_mean, "nearest point": nearest_point}
METHODS = {"r2d2": lambda: R2D2(), "anil": lambda: ANIL(5, 0.05), "maml": lambda: MAML(5, 0.05)}
TEST_STEPS = {"r2d2": 0, "anil": 10, "maml": 10}

# ---- As it is: train, judge on tasks that nothing was chosen on, say how often the baselines are beaten


def main(argv: list[str] | None = None) -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = options.add_argument
    add("--method", choices=METHODS, default="r2d2")
    add("--iterations", type=int, default=1000, help="outer steps")
    add("--outer-lr", type=float, default=3e-3)
    add("--seeds", type=int, default=3, help="how many networks to train")
    add("--test-tasks", type=int, default=600)
    add("--out", type=Path, help="keep the last network there, as a checkpoint")
    add("--copy", type=Path, help="write this file there and do nothing else")
    args = options.parse_args(argv)
    if args.copy:
        if args.copy.exists():
            options.error(f"{args.copy} is there already: name another file")
        args.copy.write_text(Path(__file__).read_text("utf-8"), "utf-8")
        print(f"written: {args.copy}")
        return 0
    torch.set_num_threads(1)  # a network this small is faster on one thread
    parts = load_map()
    test, steps = Hills(parts["test"]), TEST_STEPS[args.method]
    batch = test.sample(args.test_tasks, generator=torch.Generator().manual_seed(0))
    floors = {name: LOSS(predict(batch), batch.query_y) for name, predict in BASELINES.items()}  # [T] each
    for name, losses in floors.items():
        print(f"{name:>16s}  {losses.mean():.3f} +- {interval95(losses):.3f}")
    untrained = "same network untrained"
    ahead = dict.fromkeys([*BASELINES, untrained], 0)
    for seed in range(args.seeds):
        how = {"outer_lr": args.outer_lr, "seed": seed, "progress": False}
        learner, model = METHODS[args.method](), make_model(seed)  # both anew: R2D2 learns its penalty, too
        before = evaluate(learner, model, test, args.test_tasks, steps=[steps], seed=0).mean[0]
        meta_train(learner, model, Hills(parts["train"]), args.iterations, **how)
        result = evaluate(learner, model, test, args.test_tasks, steps=[steps], seed=0)
        print(f"{args.method:>9s} seed {seed}  {result.mean[0]:.3f} +- {result.ci95[0]:.3f}, untrained {before:.3f}")
        ahead[untrained] += result.mean[0] < before
        for name, losses in floors.items():
            ahead[name] += result.mean[0] < losses.mean()
    for name, count in ahead.items():
        print(f"ahead of the {name} in {count} of {args.seeds} seeds")
    if args.out:
        score = {"steps": [steps], "mean": result.mean, "ci95": result.ci95}
        print(f"written: {checkpoints.save(args.out, model, learner, {'score': score, 'seed': seed})}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
