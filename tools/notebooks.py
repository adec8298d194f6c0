"""Run the course's notebooks from top to bottom and keep them clean.

    python tools/notebooks.py              execute all of notebooks/, in place
    python tools/notebooks.py 01 03        only those whose name begins so
    python tools/notebooks.py --check      execute nothing; say what breaks the rules below
    python tools/notebooks.py --lessons    execute nothing; how long each lesson is, counted

A committed notebook was executed in order from a fresh kernel and shows no error. It carries no widget state,
no progress bar, no warning, no time stamp and no path of the machine it ran on. Every live demo is saved as its
picture until it is run again, every picture has a description (that of a plain figure is "alt" in its cell's
metadata), and no code cell is longer than a screen.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks"
MAX_BYTES = 1_000_000
CELL_TIMEOUT = 600  # seconds
WIDGET = "application/vnd.jupyter.widget-view+json"
STANDS_IN = ("image/png", "image/svg+xml", "text/html", "text/markdown")  # shown where a widget is not
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
CELL_METADATA = {"tags", "jupyter", "jp-MarkdownHeadingCollapsed", "slideshow", "alt"}  # what an author may set

MACHINE_PATH = re.compile(r"(?<![\w.:/])(/(root|home|Users|work|tmp|private|var/folders)/[\w.-]+|[A-Z]:\\\\?Users\\)")
ADDRESS = re.compile(r"\bat 0x[0-9a-f]{6,}")
PROGRESS = re.compile(r"\d+%\|.*\||\d+(\.\d+)?\s?(it/s|s/it)\b")
IMAGE = re.compile(r"!\[(?P<alt>[^\]]*)\]\((?P<target>[^)\s]+)[^)]*\)|<img\b(?P<attributes>[^>]*)>")
ATTRIBUTE = re.compile(r"""\b(alt|src)\s*=\s*["']([^"']*)["']""")


def execute(path: Path) -> nbformat.NotebookNode:
    """The notebook at `path` after a run in a fresh kernel of this Python, working in the notebook's folder.

    Raises nbclient's CellExecutionError (or CellTimeoutError, DeadKernelError) naming the cell that failed.
    """
    notebook = nbformat.read(path, as_version=4)
    own_kernels = KernelSpecManager(kernel_dirs=[str(Path(sys.prefix) / "share/jupyter/kernels")])
    client = NotebookClient(
        notebook,
        km=AsyncKernelManager(kernel_name="python3", kernel_spec_manager=own_kernels),
        timeout=CELL_TIMEOUT,
        resources={"metadata": {"path": str(path.parent)}},
    )
    return client.execute()


def clean(notebook: nbformat.NotebookNode) -> list[str]:
    """Strip `notebook` in place of what differs between runs or machines; return the warnings dropped."""
    dropped = []
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k in CELL_METADATA})
        if cell.cell_type != "code":
            continue
        kept = []
        for output in cell.outputs:
            if output.output_type == "stream" and output.name == "stderr":
                dropped += [line for line in _last_writing(output.text).splitlines() if not PROGRESS.search(line)]
            elif output.output_type == "stream":
                _append_stream(kept, _last_writing(output.text))
            elif not _is_progress_bar(output):
                if any(kind in output.get("data", {}) for kind in STANDS_IN):
                    output.data.pop(WIDGET, None)  # dead without its kernel: JupyterLab would show an error for it
                if "alt" in cell.metadata:  # its author's words for a plain figure; a demo brings its own
                    for kind in _pictures(output):
                        output.metadata.setdefault(kind, {}).setdefault("alt", cell.metadata["alt"])
                kept.append(output)
        cell.outputs = kept
    return [line for line in dropped if line.strip()]


def problems(path: Path) -> list[str]:
    """What in the notebook at `path` breaks a rule of this file's head, a sentence each; [] if nothing."""
    if path.stat().st_size > MAX_BYTES:
        megabytes = path.stat().st_size / 1e6
        return [f"is {megabytes:.1f} MB; at most {MAX_BYTES / 1e6:.0f} MB: draw fewer or smaller pictures"]
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except Exception as error:  # whatever the reader trips over, the file is not a notebook
        return [f"is not a valid notebook: {str(error).splitlines()[0]}"]

    found = []
    if notebook.metadata.get("widgets"):
        found.append("keeps widget state")
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        found.append("its kernel is not python3")
    count = 0
    for number, cell in enumerate(notebook.cells):
        complaints = _markdown_problems(cell.source, path.parent) if cell.cell_type == "markdown" else []
        if cell.cell_type == "code":
            count += 1
            complaints = _code_problems(cell, count)
        if MACHINE_PATH.search(cell.source):
            complaints.append(f"names a folder of one machine: {MACHINE_PATH.search(cell.source).group()}")
        found += [f"cell {number}: {complaint}" for complaint in complaints]
    return found


def _code_problems(cell: nbformat.NotebookNode, count: int) -> list[str]:
    found = []
    if not cell.source.strip():
        return ["is empty"]
    if cell.source.count("\n") + 1 > FEW_LINES:
        found.append(f"has {cell.source.count(chr(10)) + 1} lines; at most {FEW_LINES}")
    if cell.execution_count != count:
        found.append(f"was not executed in order (count {cell.execution_count}, expected {count})")
    if "execution" in cell.metadata:
        found.append("keeps execution times")
    for output in cell.outputs:
        data = output.get("data", {})
        shown = output.get("text", "") + "".join(
            json.dumps(content) if not isinstance(content, str) else content
            for kind, content in data.items()
            if kind.startswith("text/") or kind == "image/svg+xml"
        )
        if output.output_type == "error":
            found.append(f"ended in an error: {output.ename}: {output.evalue}")
        if output.get("name") == "stderr":
            found.append(f"shows a warning: {output.text.strip().splitlines()[0] if output.text.strip() else ''}")
        if _is_progress_bar(output) or PROGRESS.search(output.get("text", "")):
            found.append("keeps a progress bar")
        elif WIDGET in data:
            found.append("keeps a widget, which is dead without its kernel; a picture must stand in for it")
        if any(not output.metadata.get(kind, {}).get("alt", "").strip() for kind in _pictures(output)):
            found.append('shows a picture without a description ("alt" in the metadata of the cell)')
        if MACHINE_PATH.search(shown):
            found.append(f"prints a path of this machine: {MACHINE_PATH.search(shown).group()}")
        if ADDRESS.search(shown):
            found.append(f"prints a memory address: {ADDRESS.search(shown).group()}")
    return found


def _pictures(output: nbformat.NotebookNode) -> list[str]:
    """The kinds of picture that `output` holds, such as ["image/png"]."""
    return [kind for kind in output.get("data", {}) if kind.startswith("image/")]


def _markdown_problems(source: str, folder: Path) -> list[str]:
    found = []
    for image in IMAGE.finditer(re.sub(r"```.*?```|`[^`\n]*`", "", source, flags=re.DOTALL)):
        attributes = dict(ATTRIBUTE.findall(image["attributes"] or ""))
        alt, target = image["alt"] or attributes.get("alt", ""), image["target"] or attributes.get("src", "")
        if not alt.strip():
            found.append(f"has a picture without a description (alt text): {target}")
        if not re.match(r"\w+:", target) and not (folder / target).exists():
            found.append(f"shows a picture that is not there: {target}")
    return found


# ---- how long a lesson is

READING, CODE, DEMO, QUESTION = 200, 15, 2.5, 0.5  # words and lines of code a minute; minutes a demo, a question
PRINTED = 150  # words that all outputs together may print
FEW_WORDS, FEW_LINES, WIDE, MINUTES = 2000, 15, 100, 45
EXERCISE = re.compile(r"^#{2,4} Exercise[^\n]*\((\d+) min", re.MULTILINE)
HEADING = re.compile(r"^(#+) ")


def folded(notebook: nbformat.NotebookNode) -> list[bool]:
    """Of each cell, whether it is in a folded section, which a reader may leave out: a folded heading of level n
    folds all up to the next heading of its level or above."""
    states, level = [], None
    for cell in notebook.cells:
        heading = HEADING.match(cell.source) if cell.cell_type == "markdown" else None
        if heading and (level is None or len(heading[1]) <= level):
            level = len(heading[1]) if cell.metadata.get("jp-MarkdownHeadingCollapsed") else None
        states.append(level is not None)
    return states


def lesson(path: Path) -> dict[str, int | str]:
    """The length of the notebook at `path`, in words, lines and minutes of its main path."""
    notebook = nbformat.read(path, as_version=4)
    main = [cell for cell, away in zip(notebook.cells, folded(notebook)) if not away]
    words = lambda cells: sum(len(_prose(c.source).split()) for c in cells if c.cell_type == "markdown")
    code = [cell.source.splitlines() for cell in notebook.cells if cell.cell_type == "code"]
    on_the_way = [cell.source for cell in main if cell.cell_type == "code"]
    typed = sum(source.count("\n") + 1 for source in on_the_way if "ask(" not in source)
    exercises = sum(int(m) for c in main if c.cell_type == "markdown" for m in EXERCISE.findall(c.source))
    demos, questions = (sum(part in source for source in on_the_way) for part in (".demo(", "ask("))
    minutes = words(main) / READING + typed / CODE + DEMO * demos + QUESTION * questions + exercises
    return {
        "words": words(main),
        "folded": words(notebook.cells) - words(main),
        "code": sum(map(len, code)),
        "longest": max(map(len, code), default=0),
        "widest": max((len(line) for lines in code for line in lines), default=0),
        "asserts": sum(line.lstrip().startswith("assert ") for lines in code for line in lines),
        "printed": sum(len(_printed(output).split()) for c in notebook.cells for output in c.get("outputs", [])),
        "minutes": round(minutes),
    }


def too_long(path: Path) -> list[str]:
    """What of the lesson at `path` is longer than a lesson should be, a sentence each; [] if nothing."""
    counts = lesson(path)
    bounds = {
        "words": FEW_WORDS,
        "longest": FEW_LINES,
        "widest": WIDE,
        "printed": PRINTED,
        "minutes": MINUTES,
        "asserts": 2 if path.name.startswith("02") else 0,
    }
    return [f"{name}: {counts[name]}, at most {most}" for name, most in bounds.items() if counts[name] > most]


def _prose(source: str) -> str:
    """Markdown without what nobody reads word by word: comments, pictures, addresses of links."""
    return re.sub(r"<!--.*?-->|!\[[^\]]*\]\([^)]*\)|(?<=\])\([^)]*\)", "", source, flags=re.DOTALL)


def _printed(output: nbformat.NotebookNode) -> str:
    """What a cell printed, and what it shows as plain text only."""
    data = output.get("data", {})
    return output.get("text", "") + (data["text/plain"] if set(data) == {"text/plain"} else "")


def _is_progress_bar(output: nbformat.NotebookNode) -> bool:
    """Whether `output` is tqdm's bar: a widget that has only its text beside it."""
    data = output.get("data", {})
    bare_widget = WIDGET in data and not any(kind in data for kind in STANDS_IN)
    return bare_widget and bool(PROGRESS.search(data.get("text/plain", "")))


def _last_writing(text: str) -> str:
    """`text` as a terminal shows it in the end: of a line written over and over, the last writing."""
    return re.sub(r"[^\n]*\r(?!\n)", "", text)


def _append_stream(outputs: list, text: str) -> None:
    """Add printed `text` to `outputs`, joined to what was printed just before."""
    if outputs and outputs[-1].output_type == "stream":
        outputs[-1].text += text
    elif text:
        outputs.append(nbformat.v4.new_output("stream", name="stdout", text=text))


def chosen(names: list[str]) -> list[Path]:
    """The notebooks whose names begin with one of `names`, in course order; all of them for an empty list."""
    known = sorted(FOLDER.glob("*.ipynb"))
    for name in names:
        if not any(path.name.startswith(name) for path in known):
            there = ", ".join(path.stem for path in known) or "none"
            raise SystemExit(f"No notebook begins with {name!r}. There are: {there}.")
    return [path for path in known if not names or path.name.startswith(tuple(names))]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Run the course's notebooks in place, or check them.")
    parser.add_argument("names", nargs="*", help="how their file names begin, such as 01; none: all")
    parser.add_argument("--check", action="store_true", help="execute nothing, only hold the files to the rules")
    parser.add_argument("--lessons", action="store_true", help="execute nothing, print how long each lesson is")
    options = parser.parse_args(argv)
    if options.lessons:
        for path in chosen(options.names):
            print(path.stem, ", ".join(f"{name} {count}" for name, count in lesson(path).items()))
            print(*(f"    {complaint}" for complaint in too_long(path)), sep="\n")
        return 0

    failed = []
    for path in chosen(options.names):
        print(f"{path.name} ", end="", flush=True)
        start, dropped = time.perf_counter(), []
        if not options.check:
            try:
                notebook = execute(path)
            except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
                print(f"FAILED after {time.perf_counter() - start:.1f} s; the file was left as it was.\n{error}")
                failed.append(path.name)
                continue
            dropped = clean(notebook)
            nbformat.write(notebook, path)
        complaints = problems(path)
        print(f"{'PROBLEM' if complaints else 'ok'}  {time.perf_counter() - start:5.1f} s")
        for line in dropped:
            print(f"    warning left out: {line}")
        for complaint in complaints:
            print(f"    {complaint}")
        if complaints:
            failed.append(path.name)
    if failed:
        print(f"To mend: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
