"""The house itself: the notebooks as they are committed, the pins, what gets installed, and the tools."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from packaging.requirements import Requirement

from course_lib.__main__ import COMMANDS
from tools import notebooks

ROOT = Path(__file__).parents[1]
FOLDERS = "course_lib", "tests", "tools", "figures", "benchmarks"
SOURCES = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
COMMITTED = sorted((ROOT / "notebooks").glob("*.ipynb"))


# ---- notebooks as they are committed


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_notebook_keeps_the_rules(path):
    assert notebooks.problems(path) == []


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_notebook_is_no_longer_than_a_lesson(path):
    assert notebooks.too_long(path) == []


# ---- the tool that runs and cleans them: on real notebooks, in real kernels

MESSY = """
import logging, sys, tqdm
from pathlib import Path
import ipywidgets
from tqdm.notebook import tqdm as widget_bar
logging.basicConfig(stream=sys.stderr)
logging.warning("a warning")
print("first")
for _ in tqdm.trange(3): pass
for _ in widget_bar(range(3)): pass
print("\\rsecond", end="\\rthird\\n")
"""
DEMO = """
import base64
class Demo(ipywidgets.VBox):
    def _repr_mimebundle_(self, **options):
        pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
        return {**super()._repr_mimebundle_(**options), "image/png": pixel}, {"image/png": {"alt": "A pixel."}}
Demo([ipywidgets.IntSlider()])
"""


def write(path: Path, *cells: str) -> Path:
    """A notebook with these code cells at `path`; a cell that begins with # is text."""
    new = {True: nbformat.v4.new_markdown_cell, False: nbformat.v4.new_code_cell}
    nbformat.write(nbformat.v4.new_notebook(cells=[new[c.startswith("#")](c.strip()) for c in cells]), path)
    return path


def test_a_run_is_clean_and_keeps_the_rules(tmp_path, monkeypatch):
    where = "Path('here').write_text(sys.executable)\nprint(Path.cwd().name)"
    path = write(tmp_path / "01_messy.ipynb", "# Title", MESSY, DEMO, where)
    assert notebooks.problems(path)[0].startswith("its kernel is not python3")

    monkeypatch.setattr(notebooks, "FOLDER", tmp_path)
    assert notebooks.main([]) == 0

    run = nbformat.read(path, as_version=4)
    code = [cell for cell in run.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [1, 2, 3]
    assert [(o.output_type, o.text) for o in code[0].outputs] == [("stream", "first\nthird\n")]
    assert "image/png" in code[1].outputs[0].data and notebooks.WIDGET not in code[1].outputs[0].data
    assert run.metadata == notebooks.METADATA and all(cell.metadata == {} for cell in run.cells)
    assert code[2].outputs[0].text == tmp_path.name + "\n"  # it worked in the notebook's folder
    assert Path((tmp_path / "here").read_text()) == Path(sys.executable)  # in this environment's kernel


def test_a_failing_notebook_is_named_and_left_alone(tmp_path, monkeypatch, capsys):
    path = write(tmp_path / "01_fails.ipynb", "print('fine')", "1 / 0")
    before = path.read_bytes()
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        notebooks.execute(path)

    monkeypatch.setattr(notebooks, "FOLDER", tmp_path)
    assert notebooks.main(["01"]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().out
    assert path.read_bytes() == before


def test_a_plain_figure_gets_its_cells_description_and_a_demo_keeps_its_own():
    plain, demo = (nbformat.v4.new_output("display_data", {"image/png": ""}) for _ in range(2))
    demo.metadata = nbformat.from_dict({"image/png": {"alt": "After 3 steps the error is 0.1.", "width": 900}})
    cell = nbformat.v4.new_code_cell("draw()", metadata={"alt": "A line."}, outputs=[plain, demo])
    notebooks.clean(nbformat.v4.new_notebook(cells=[cell]))
    assert cell.metadata == {"alt": "A line."} and plain.metadata == {"image/png": {"alt": "A line."}}
    assert demo.metadata == {"image/png": {"alt": "After 3 steps the error is 0.1.", "width": 900}}


def executed(path: Path, source: str = "x = 1", count: int = 1, **output) -> Path:
    """A clean notebook at `path` whose one code cell shows `output`."""
    cell = nbformat.v4.new_code_cell(source, execution_count=count)
    if output:
        cell.outputs = [nbformat.v4.new_output(**output)]
    nbformat.write(nbformat.v4.new_notebook(metadata=notebooks.METADATA, cells=[cell]), path)
    return path


WIDGET_DATA = {notebooks.WIDGET: {"model_id": "1", "version_major": 2, "version_minor": 0}}


@pytest.mark.parametrize(
    ("complaint", "content"),
    [
        ("not executed in order", {"count": 2}),
        ("is empty", {"source": ""}),
        ("has 41 lines", {"source": "x = 1\n" * 40 + "x"}),
        ("names a folder of one machine", {"source": "open('/home/ada/data')"}),
        ("ended in an error", {"output_type": "error", "ename": "E", "evalue": "bad"}),
        ("shows a warning", {"output_type": "stream", "name": "stderr", "text": "careful"}),
        ("progress bar", {"output_type": "stream", "text": "\r 50%|#####     | 5/10 [00:01<00:01, 4.0it/s]"}),
        (
            "progress bar",
            {"output_type": "display_data", "data": {**WIDGET_DATA, "text/plain": " 50%|## | 1/2"}},
        ),
        (
            "keeps a widget",
            {"output_type": "display_data", "data": {**WIDGET_DATA, "text/plain": "VBox()"}},
        ),
        ("without a description", {"output_type": "display_data", "data": {"image/png": "", "text/plain": "Figure"}}),
        ("prints a path", {"output_type": "stream", "text": "read /root/data/a.zip"}),
        ("prints a path", {"output_type": "display_data", "data": {"text/html": "<p>/Users/ada/x</p>"}}),
        (
            "memory address",
            {"output_type": "display_data", "data": {"text/plain": "<Line2D at 0x7f12ab34cd>"}},
        ),
    ],
)
def test_what_breaks_a_rule_in_code_is_found(tmp_path, complaint, content):
    found = notebooks.problems(executed(tmp_path / "x.ipynb", **content))
    assert len(found) == 1 and complaint in found[0], found


@pytest.mark.parametrize(
    ("complaint", "source"),
    [
        ("without a description", "# ![](here.svg)"),
        ("without a description", "# <img src='here.svg' width='300'>"),
        ("without a description", "# <img src='here.svg' alt=' '>"),
        ("not there", "# ![a curve](gone.svg)"),
    ],
)
def test_what_breaks_a_rule_in_text_is_found(tmp_path, complaint, source):
    (tmp_path / "here.svg").touch()
    path = write(tmp_path / "x.ipynb", source, "# ![a curve](here.svg) <img src='here.svg' alt='a curve'> `![](code)`")
    found = [problem for problem in notebooks.problems(path) if problem.startswith("cell")]
    assert len(found) == 1 and complaint in found[0], found


def test_what_breaks_a_rule_in_the_file_is_found(tmp_path):
    path = executed(tmp_path / "x.ipynb")
    assert notebooks.problems(path) == []
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {}}}
    nbformat.write(notebook, path)
    assert notebooks.problems(path) == ["keeps widget state"]
    path.write_text(path.read_text()[:-20])
    assert "not a valid notebook" in notebooks.problems(path)[0]
    path.write_bytes(b" " * 1_000_001)
    assert "1.0 MB" in notebooks.problems(path)[0]


def test_a_name_that_fits_no_notebook_says_which_there_are(tmp_path, monkeypatch):
    write(tmp_path / "01_adapt.ipynb", "1")
    monkeypatch.setattr(notebooks, "FOLDER", tmp_path)
    with pytest.raises(SystemExit, match="'07'.*01_adapt"):
        notebooks.main(["07", "--check"])


# ---- the README

README = (ROOT / "README.md").read_text()


def test_the_readmes_commands_are_there():
    commands = set(re.findall(r"python -m course_lib (\w+)", README))
    assert {"train", "evaluate", "data", "doctor"} <= commands <= set(COMMANDS)


def test_the_readmes_python_runs(capsys):
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(re.sub(r"iterations=\d+", "iterations=3", block), "README.md", "exec"), {})


# ---- what is installed


def pinned() -> list[Requirement]:
    """The lines of requirements.txt that count for this Python."""
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line and line[0] not in "#-"]
    return [pin for pin in map(Requirement, lines) if pin.marker is None or pin.marker.evaluate()]


def test_every_requirement_is_pinned_exactly_and_within_its_range():
    pins = {pin.name: str(pin.specifier) for pin in pinned()}
    assert all(specifier.startswith("==") and "*" not in specifier for specifier in pins.values())
    assert pins["torch"] == "==2.13.0"
    ranges = {r.name: r.specifier for r in map(Requirement, metadata.requires("meta-learning-course"))}
    assert ranges.keys() == pins.keys()
    assert all(ranges[name].contains(pin.removeprefix("==")) for name, pin in pins.items())


def imported(path: Path) -> set[str]:
    """Top-level names of the modules that a Python file imports."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 0]
    return {name.split(".")[0] for name in names}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 cannot say which package most modules are of")
def test_every_import_is_a_requirement():
    providers = metadata.packages_distributions()
    jupyterlabs_parts = {"jupyter-client", "jupyter-core", "ipython", "traitlets", "tornado", "mistune"}
    declared = {pin.name.lower() for pin in pinned()} | jupyterlabs_parts
    own = {*FOLDERS, *(path.stem for path in SOURCES), *sys.stdlib_module_names}
    unknown = {}
    for path in SOURCES:
        if not path.is_relative_to(ROOT / "benchmarks"):  # what is measured beside the library is installed apart
            for module in imported(path) - own:
                if not declared & {name.lower().replace("_", "-") for name in providers.get(module, [])}:
                    unknown[module] = str(path.relative_to(ROOT))
    assert unknown == {}


def test_a_demo_touches_nothing_that_a_running_cell_shares():
    shared = re.compile(
        r"catch_warnings|simplefilter|rc_context|rcParams|set_num_threads|set_default_dtype|manual_seed"
    )
    demos = [p for p in (ROOT / "course_lib" / "chapters").rglob("*.py") if "def picture(" in p.read_text()]
    own = re.compile(r"Generator\(\S*\)\.manual_seed")  # a generator of its own
    found = {p.name: shared.findall(own.sub("", p.read_text())) for p in demos}
    assert len(demos) > 40 and {name: words for name, words in found.items() if words} == {}


@pytest.mark.slow
def test_an_installed_package_brings_its_data(tmp_path):
    copy = tmp_path / "project"
    shutil.copytree(
        ROOT / "course_lib", copy / "course_lib", ignore=shutil.ignore_patterns("__pycache__", "league_*.svg")
    )
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    build = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"
    wheel = subprocess.run([sys.executable, "-c", build], cwd=copy, check=True, capture_output=True, text=True)
    inside = set(zipfile.ZipFile(copy / wheel.stdout.split()[-1]).namelist())
    sources = {str(p.relative_to(copy)) for p in (copy / "course_lib").rglob("*") if p.is_file()}
    assert sources <= inside


def test_no_file_is_over_350_lines():
    assert {str(p.relative_to(ROOT)): n for p in SOURCES if (n := len(p.read_text().splitlines())) > 350} == {}


def test_a_test_lies_where_what_it_tests_lies():
    folders = {path.parent.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")}
    # JupyterLab as a person sees it; anyone's networks with any method; what is done to the course on purpose
    of_all = {Path("browser"), Path("contract"), Path("trust")}
    assert [folder for folder in folders - of_all if not (ROOT / "course_lib" / folder).is_dir()] == []


@pytest.mark.parametrize("command", [["check", *FOLDERS, "notebooks"], ["format", "--check", *FOLDERS]])
def test_ruff_finds_nothing(command):
    ruff = [sys.executable, "-m", "ruff", *command, "--no-cache"]
    done = subprocess.run(ruff, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


# ---- make


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_make_alone_lists_every_target():
    phony = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith(".PHONY"))
    make = ["make", "--no-print-directory"]
    shown = subprocess.run(make, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert [line.split()[1] for line in shown.splitlines()] == phony.split()[1:]


def test_no_suitable_python_is_said_plainly(tmp_path):
    done = subprocess.run(
        [ROOT / "tools/make_venv.sh", tmp_path / "venv"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "needs Python 3.10" in done.stderr and "sudo apt install" in done.stderr
