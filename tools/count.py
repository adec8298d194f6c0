"""Count what a reader of course_lib meets: one meta-step call by call, the textbook file by file, every room.

    python tools/count.py

Counted is the course_lib that Python finds first, so PYTHONPATH names another checkout's.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType

import torch

import course_lib
from course_lib.algorithms import MAML
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks
from course_lib.training import make_meta_gradient

PACKAGE = Path(course_lib.__file__).parent
ROOMS = "engine", "analysis", "kit", "chapters", "commands"  # all else at the top is the textbook


def functions_passed(run: Callable[[], object]) -> list[tuple[str, str]]:
    """(file, function) of course_lib, each once, in the order in which ``run`` first enters them.

    Comprehensions count with the function they stand in.
    """
    passed: dict[CodeType, None] = {}

    def look(frame: FrameType, event: str, _) -> None:
        code = frame.f_code
        ours = code.co_filename.startswith(str(PACKAGE)) and not code.co_name.endswith(("comp>", "expr>"))
        if event == "call" and ours:
            passed.setdefault(code)

    sys.setprofile(look)
    try:
        run()
    finally:
        sys.setprofile(None)
    names = [(Path(code.co_filename), getattr(code, "co_qualname", code.co_name)) for code in passed]  # 3.10: no class
    return [(str(path.relative_to(PACKAGE)), name.replace(".<locals>", "")) for path, name in names]


def meta_steps() -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """What MAML's first meta-step passes, from ``make_meta_gradient`` to the gradient, and what each later one does."""
    learner, model = MAML(), MLP(seed=0)
    batch = SinusoidTasks(shots=10).sample(2, generator=torch.Generator().manual_seed(0))
    made = []
    first = functions_passed(lambda: made.append(make_meta_gradient(learner, model)) or made[0](batch))
    return first, functions_passed(lambda: made[0](batch))


def lines() -> Counter:
    """{file: lines} of course_lib."""
    return Counter({str(p.relative_to(PACKAGE)): len(p.read_text().splitlines()) for p in PACKAGE.rglob("*.py")})


def room(file: str) -> str:
    """Where a file lives: "textbook", "engine", "chapters/union", ..."""
    first, *rest = file.split("/")
    if first in ("__init__.py", "__main__.py"):
        return "entrance"
    if first == "chapters" and len(rest) > 1:
        return f"chapters/{rest[0]}"
    return first if first in ROOMS else "textbook"


def main() -> None:
    (first, later), counted = meta_steps(), lines()
    print("One meta-step, make_meta_gradient(MAML(), MLP())(batch):")
    for file, name in first:
        print(f"    {file:32} {name}{'' if (file, name) in later else '   (first step only)'}")
    for passed, which in ((first, "first"), (later, "later")):
        textbook = [(file, name) for file, name in passed if room(file) == "textbook"]
        sizes = [f"{len(some)} functions in {len({file for file, _ in some})} files" for some in (passed, textbook)]
        print(f"    the {which}: {sizes[0]}, of the textbook {sizes[1]}")
    print()
    print("The textbook, lines:")
    textbook = {file: count for file, count in counted.items() if room(file) == "textbook"}
    for file, count in sorted(textbook.items()):
        print(f"    {file:32} {count:6,}")
    print(f"    {'':32} {sum(textbook.values()):6,}\n")
    print("course_lib by room, lines:")
    rooms = Counter()
    for file, count in counted.items():
        rooms[room(file)] += count
    for name, count in sorted(rooms.items()):
        print(f"    {name:32} {count:6,}")
    print(f"    {'':32} {sum(counted.values()):6,}")


if __name__ == "__main__":
    main()
