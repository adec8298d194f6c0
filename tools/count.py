"""Count what a reader of course_lib meets: one meta-step call by call, the textbook file by file, every room.

    python tools/count.py

Counted is the course_lib that Python finds first, so PYTHONPATH names another checkout's.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterable
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


def lines() -> dict[str, tuple[int, int]]:
    """{file: (lines, those that are code: neither empty nor of a comment or a docstring)} of course_lib."""
    counted = {}
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text().splitlines()
        tree = ast.parse("\n".join(text))
        says = [node for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)]
        said = {number for node in says for number in range(node.lineno, node.end_lineno + 1)}
        code = [line for n, line in enumerate(text, 1) if n not in said and line.strip() and line.strip()[0] != "#"]
        counted[str(path.relative_to(PACKAGE))] = len(text), len(code)
    return counted


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
        checks = sum("check" in name for _, name in textbook)
        print(f"    the {which}: {sizes[0]}, of the textbook {sizes[1]}, {checks} of them checks of what one gave")
    print()
    textbook = {file: both for file, both in counted.items() if room(file) == "textbook"}
    rooms = {
        name: [both for file, both in counted.items() if room(file) == name] for name in sorted(map(room, counted))
    }
    for title, table in (("The textbook", textbook), ("course_lib by room", {n: sums(r) for n, r in rooms.items()})):
        print(f"{title}: lines, and those that are code")
        for name, (all_lines, code) in sorted(table.items()):
            print(f"    {name:32} {all_lines:6,} {code:6,}")
        print(f"    {'':32} {sums(table.values())[0]:6,} {sums(table.values())[1]:6,}\n")


def sums(pairs: Iterable[tuple[int, int]]) -> tuple[int, int]:
    return tuple(map(sum, zip(*pairs)))


if __name__ == "__main__":
    main()
