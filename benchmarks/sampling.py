"""Is drawing episodes ever the bottleneck? Time to sample a meta-batch beside the meta-step it feeds.

    python benchmarks/sampling.py

Omniglot where it is at hand, else drawn glyphs. Least CPU time of several repeats, sampling and step in turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from course_lib.engine import recipes
from course_lib.tasks import AllClasses, character_tasks
from course_lib.training import make_meta_gradient

REPEATS = 7


def least(repeats: int, *works: Callable[[], object]) -> list[float]:
    """The least CPU seconds of each of ``works``, done in turn."""
    times = []
    for _ in range(repeats):
        for work in works:
            begin = time.process_time()
            work()
            times.append(time.process_time() - begin)
    return [min(times[i :: len(works)]) for i in range(len(works))]


def main() -> None:
    print(f"{'recipe':12} {'sample, ms':>10} {'step, ms':>9} {'share':>6}")
    for name in ("r2d2", "protonet", "union", "maml"):
        recipe = recipes.TWO_CORES[name]
        episodes = character_tasks("train", **recipe.tasks)
        tasks = AllClasses(episodes, recipe.pool) if recipe.pool else episodes
        model = recipe.build_model("omniglot")
        learner = recipe.build_learner("omniglot", model, tasks)
        step = make_meta_gradient(learner, model)
        generator = torch.Generator().manual_seed(0)
        batch = tasks.sample(recipe.meta_batch, generator=generator)
        sample, work = least(REPEATS, lambda: tasks.sample(recipe.meta_batch, generator=generator), lambda: step(batch))
        print(f"{name:12} {1e3 * sample:10.2f} {1e3 * work:9.1f} {sample / work:6.1%}   {tasks.name}")


if __name__ == "__main__":
    main()
