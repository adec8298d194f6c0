"""Which room of the house may import from which: commands -> chapters -> kit, analysis -> engine -> textbook.

Every import counts, also one inside a function or under ``TYPE_CHECKING``. What is not so is in a list that says why.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "course_lib"

ROOMS = "engine", "analysis", "kit", "chapters", "commands"  # all else is the textbook
MAY_IMPORT = {  # besides its own modules; a chapter may not import another chapter
    "textbook": set(),
    "engine": {"textbook"},
    "analysis": {"textbook", "engine"},
    "kit": {"textbook"},
    "chapters": {"textbook", "engine", "analysis", "kit"},
    "commands": {"textbook", "engine", "analysis", "kit", "chapters"},
    "entrance": set(),  # __init__ and __main__ import a name or a command when it is asked for
}
DOORS = {  # from the textbook and the kit to the engine
    ("course_lib.kit.progress", "course_lib.engine.files"): "what a reader has solved is one file, whole or not there",
    ("course_lib.kit.claim", "course_lib.engine.files"): "a table of odds is written whole",
    ("course_lib.kit.demo", "course_lib.engine.run"): "a picture is computed on one thread",
    ("course_lib.kit.many_seeds", "course_lib.engine.run"): "tiny networks train on one thread",
    ("course_lib.kit.many_seeds", "course_lib.engine.sweep"): "the seeds of an experiment train as one run",
    ("course_lib.kit.experiment", "course_lib.engine.provenance"): "how a table came about",
    ("course_lib.kit.experiment", "course_lib.engine.files"): "a table of results is written whole",
    ("course_lib.kit.experiment", "course_lib.engine.pool"): "processes that end with the experiment",
    ("course_lib.inner_loop", "course_lib.engine.fast_layers"): "predict asks for a fast layer",
    ("course_lib.algorithms.base", "course_lib.engine.pieces"): "a meta-gradient of a few tasks at a time",
    ("course_lib.algorithms.heads", "course_lib.engine.run"): "what is drawn, a resumed run draws again",
    ("course_lib.algorithms.reptile", "course_lib.engine.run"): "what is drawn, a resumed run draws again",
    ("course_lib.algorithms.implicit", "course_lib.engine.conjugate_gradients"): "a linear system for each task",
    ("course_lib.algorithms.solvers", "course_lib.engine.interior_point"): "where the optimum of an SVM lies",
    ("course_lib.algorithms.fitted", "course_lib.engine.any_module"): "whether a model's head can be solved for",
    ("course_lib.inner_loop", "course_lib.engine.any_module"): "whether a model's head stands on its features",
    ("course_lib.training", "course_lib.engine.hot_path"): "make_meta_gradient asks for a fast step",
    ("course_lib.training", "course_lib.engine.distributed"): "several processes share the tasks of a run",
    ("course_lib.training", "course_lib.engine.saved_state"): "a run that was stopped goes on",
    ("course_lib.training", "course_lib.engine.run"): "device, threads, randomness and interrupts of a run",
    ("course_lib.evaluation", "course_lib.engine.run"): "threads of an evaluation",
    ("course_lib.checkpoints", "course_lib.engine.files"): "a checkpoint is one sealed file",
    ("course_lib.tasks", "course_lib.engine.omniglot_files"): "what is raised where Omniglot is not",
    ("course_lib.tasks.omniglot", "course_lib.engine.omniglot_files"): "the archives, verified and shrunk once",
    ("course_lib.tasks.glyphs", "course_lib.engine.omniglot_files"): "whether Omniglot is there",
    ("course_lib.tasks.glyphs", "course_lib.engine.glyphs"): "the drawings",
}
LATE = {  # imports inside a function or a condition
    "course_lib.commands.doctor": "imports what it looks at, which may be missing",
}
BY_NAME = {"course_lib", "course_lib.__main__"}  # they import a module when it is asked for
GATHERERS = {  # they look for what chapters have, or answer before what draws is there
    *("course_lib.commands.claims", "course_lib.commands.experiments", "course_lib.chapters"),
    *("course_lib.commands.present", "course_lib.commands.site", "course_lib.kit.present.server"),
}
ELSEWHERE = {  # notebooks that show something of another chapter
    ("00_start_here", "adapting"): "the first demo of the course",
    ("01_adapting_at_test_time", "omniglot"): "real characters in the first ten minutes",
    ("08_reptile", "two_loops"): "the inner loop that the reader wrote there",
    ("03_what_k_costs", "two_loops"): "what the reader's own loop costs",
    ("07_closed_form_heads", "two_loops"): "the reader's own inner loop comes back",
}
NOT_IN_THE_TEXTBOOK = {"matplotlib", "ipywidgets", "anywidget", "IPython", "argparse"}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def room(module: str) -> str:
    """Where a module of course_lib lives."""
    if module in BY_NAME:
        return "entrance"
    name = module.split(".")[1]
    return name if name in ROOMS else "textbook"


def imports(tree: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    """Every import statement and the module it is from: of ``from package import module`` that module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                yield node, inside if inside in MODULES else node.module


@lru_cache(maxsize=1)
def arrows() -> set[tuple[str, str]]:
    """(importing, imported) modules of course_lib."""
    trees = {module: ast.parse(path.read_text()) for module, path in MODULES.items()}
    return {(m, other) for m, tree in trees.items() for _, other in imports(tree) if other in MODULES}


def chapter(module: str) -> str:
    return module.split(".")[2] if module.startswith("course_lib.chapters.") else ""


def test_arrows_run_one_way():
    through = {(a, b) for a, b in arrows() if room(b) not in {room(a), *MAY_IMPORT[room(a)]}}
    through |= {(a, b) for a, b in arrows() if chapter(a) and chapter(b) not in ("", chapter(a))}
    assert through == DOORS.keys()


def test_every_import_is_seen_and_names_a_module():
    for module, path in MODULES.items():
        tree = ast.parse(path.read_text())
        late = [node for node, other in imports(tree) if other.startswith("course_lib") and node not in tree.body]
        assert not late or module in LATE, f"{module} imports inside a function or a condition"
        assert not any(isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(tree)), module
        unknown = [other for _, other in imports(tree) if re.match(r"course_lib\b", other) and other not in MODULES]
        assert not unknown, f"{module} imports {unknown}"
        by_name = {"import_module", "__import__", "spec_from_file_location"} & {
            node.id if isinstance(node, ast.Name) else getattr(node, "attr", "") for node in ast.walk(tree)
        }
        assert not by_name or module in BY_NAME | GATHERERS, f"{module} imports by name"


def circles(arrows: set[tuple[str, str]]) -> list[set[str]]:
    """Groups of modules that import each other, by whatever way round (Tarjan's strongly connected components)."""
    after = {one: [b for a, b in arrows if a == one] for one, _ in arrows}
    index, low, stack, found = {}, {}, [], []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in after.get(module, []):
            if other not in index:
                visit(other)
            if other in stack:
                low[module] = min(low[module], low[other])
        if low[module] == index[module]:
            group = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            found.extend([set(group)] if len(group) > 1 or module in after.get(module, []) else [])

    for module in after:
        if module not in index:
            visit(module)
    return found


def test_no_module_imports_one_that_imports_it():
    """A package comes in with any of its modules, unless the importing one lives in it."""
    whole = set(arrows())
    for one, other in arrows():
        parents = [".".join(other.split(".")[:n]) for n in range(2, other.count(".") + 1)]
        whole |= {(one, parent) for parent in parents if not f"{one}.".startswith(f"{parent}.")}
    assert circles(whole) == []


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [("ab bc", []), ("ab bc ca cd", ["abc"]), ("ab ba bc cd dc", ["ab", "cd"]), ("aa", ["a"]), ("ab ac bd cd", [])],
)
def test_circles_are_found(drawn, expected):
    assert sorted("".join(sorted(group)) for group in circles({tuple(pair) for pair in drawn.split()})) == expected


def test_the_textbook_knows_no_widget_and_no_picture_and_has_eight_modules_at_the_top():
    for module, path in MODULES.items():
        known = {other.split(".")[0] for _, other in imports(ast.parse(path.read_text()))}
        if room(module) in ("textbook", "engine", "analysis"):
            assert not known & NOT_IN_THE_TEXTBOOK, module
    assert len({*PACKAGE.glob("*.py")} - {PACKAGE / "__init__.py", PACKAGE / "__main__.py"}) <= 8


def test_a_notebook_is_served_by_its_own_chapter():
    shown, folders = set(), {}
    for folder in (PACKAGE / "chapters").glob("*/__init__.py"):
        folders[re.match(r'"""Notebook (\d\d): ', folder.read_text())[1]] = folder.parent.name
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        own = folders[path.stem[:2]]
        code = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        known = {chapter(other) for cell in code for _, other in imports(ast.parse(cell))} - {""}
        assert own in known
        shown |= {(path.stem, other) for other in known - {own}}
    assert shown == ELSEWHERE.keys()
