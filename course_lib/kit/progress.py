"""What a reader has solved and guessed, kept in one small file of their own.

The file is ``$COURSE_PROGRESS``, or ``progress.json`` in the user's data folder. It is written only while a person
runs a notebook: never under CI, by a test or where notebooks are run to be saved, whose pages must not depend on it;
there, and with COURSE_PROGRESS=off, progress lasts as long as the session. Where the file cannot be read or written
the course says so once and goes on.
"""

from __future__ import annotations

import html
import json
import os
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from course_lib.engine.files import write_whole

_lock = threading.RLock()  # a check runs in a cell, a guess arrives in a widget's thread
_exercises: dict[str, list[str]] = {}  # notebook: names, of those whose checks have been imported


@dataclass
class _Session:
    """What lasts as long as the kernel."""

    kept: dict[str, Any]  # where no file is
    person: bool = False  # somebody has run a cell
    trouble: str = ""  # why the file is not used


def _nothing() -> dict[str, Any]:
    return {"exercises": {}, "guesses": {}, "answers": {}, "scores": {}}  # {notebook: {exercise: solved}}, ...


_session = _Session(_nothing())


# Where it is kept ------------------------------------------------------------------------------------------------


def file() -> Path | None:
    """The file that progress is kept in; None where it is kept for the session alone."""
    chosen = os.environ.get("COURSE_PROGRESS")
    _session.person = _session.person or _somebody_is_there()
    if _session.trouble or (chosen is not None and chosen.lower() in ("", "off", "0", "no")):
        return None
    if chosen is not None:
        return Path(chosen).expanduser()
    return data_folder() / "progress.json" if _session.person else None


def data_folder() -> Path:
    """The user's folder for this course's data, such as ~/.local/share/meta-learning-course; it need not exist."""
    if sys.platform == "win32":
        place = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local"
    elif sys.platform == "darwin":
        place = Path.home() / "Library/Application Support"
    else:
        place = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share"
    return Path(place) / "meta-learning-course"


def _somebody_is_there() -> bool:
    """Whether the running cell comes from where a person sits: a front end that can be asked for input."""
    ipython = sys.modules.get("IPython")
    shell = ipython and ipython.get_ipython()
    parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
    return bool(parent.get("content", {}).get("allow_stdin")) and not os.environ.get("CI")


def _read(path: Path) -> dict[str, Any]:
    """What the file at ``path`` says; a damaged one is put aside, and said so."""
    try:
        kept = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return _nothing()
    except (ValueError, RecursionError):  # no JSON, or no text at all
        kept = None
    if _is_sound(kept):
        return _nothing() | kept
    aside = path.with_suffix(".damaged.json")
    os.replace(path, aside)
    print(f"Your progress file was damaged. It is now {aside}, and progress begins anew; the course is not affected.")
    return _nothing()


def _is_sound(kept: Any) -> bool:
    if not isinstance(kept, dict):
        return False
    parts = [kept.get("exercises"), kept.get("guesses"), kept.get("answers", {}), kept.get("scores", {})]
    entries = [entry for part in parts if isinstance(part, dict) for entry in part.values()]
    if not all(isinstance(part, dict) for part in [*parts, *entries]):
        return False
    return all(isinstance(state, bool | None) for states in kept["exercises"].values() for state in states.values())


def _use(change: Callable[[dict], None] | None = None) -> dict[str, Any]:
    """All that is kept, after ``change`` to it. Where files can be locked no other kernel changes it meanwhile."""
    with _lock, ExitStack() as stack:
        path, kept = file(), _session.kept
        if path and change:
            with suppress(OSError, NotImplementedError):
                stack.enter_context(FileLock(path.with_suffix(".lock"), timeout=5))
        try:
            kept = _read(path) if path else kept
        except OSError as error:
            _keep_for_the_session(kept, path, error)
        before = json.dumps(kept)
        if change:
            change(kept)
        if path and not _session.trouble and json.dumps(kept) != before:
            try:
                write_whole(path, json.dumps(kept, indent=1))
            except OSError as error:
                _keep_for_the_session(kept, path, error)
        return kept


def _keep_for_the_session(kept: dict[str, Any], path: Path, error: OSError) -> None:
    _session.kept, _session.trouble = kept, f"{path} cannot be used ({error.strerror or error})"
    print(f"Your progress is not kept: {_session.trouble}. Everything else works.")


# What is noted ---------------------------------------------------------------------------------------------------


def enlist(notebook: str, names: list[str]) -> None:
    """Exercises that ``notebook`` has, such as "02" and ["inner loop"]."""
    known = _exercises.setdefault(notebook, [])
    known += [name for name in names if name not in known]


def note_verdict(notebook: str, name: str, passed: bool | None) -> None:
    """Keep whether an exercise was solved; once solved it stays so."""

    def change(kept: dict) -> None:
        before = kept["exercises"].get(notebook, {})
        now = {other: before.get(other) for other in _exercises[notebook]}  # in order; gone: those of older editions
        if name in now and passed is not None and not now[name]:
            now[name] = passed
        kept["exercises"][notebook] = now

    _use(change)


def note_guess(key: str, **entry: Any) -> None:
    """Keep the guess at question ``key``, such as "01.steps": its "question", "guess", "fact" and whether "right"."""
    _use(lambda kept: kept["guesses"].update({key: entry}))


def note_answer(notebook: str, name: str, source: str) -> None:
    """Keep the source of an answer that passed; a later notebook builds on it."""
    _use(lambda kept: kept["answers"].update({f"{notebook}.{name}": {"source": source}}))


def answer_at(notebook: str, name: str) -> str:
    """The source kept by ``note_answer``; "" if none is."""
    source = _use()["answers"].get(f"{notebook}.{name}", {}).get("source")
    return source if isinstance(source, str) else ""


def guess_at(key: str) -> dict[str, Any]:
    """What was kept of question ``key``; {} if nothing."""
    return _use()["guesses"].get(key, {})


def guesses_in(notebook: str) -> dict[str, dict[str, Any]]:
    """What was kept of the questions of ``notebook``, by their keys."""
    return {key: entry for key, entry in _use()["guesses"].items() if key.startswith(f"{notebook}.")}


def note_score(key: str, **entry: Any) -> None:
    """Keep the last finished game ``key``, such as "00.game": how many "right" of a "total", and what it was."""
    _use(lambda kept: kept["scores"].update({key: entry}))


def score_at(key: str) -> dict[str, Any] | None:
    """What was kept of game ``key``; None if nothing."""
    return _use()["scores"].get(key)


# What is shown ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Page:
    """Something to show, as HTML in a notebook and as plain text elsewhere."""

    html: str
    text: str

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return self.text


MARKS = {True: "\N{HEAVY CHECK MARK}", False: "\N{CONSTRUCTION SIGN}", None: "\N{WHITE SQUARE}"}
STATES = {True: "right", False: "not yet", None: "open"}


def progress(notebook: str | None = None) -> Page:
    """The exercises and guesses of one notebook, such as "02", or, without one, of all that were begun."""
    kept = _use()
    if notebook is not None:
        solved = {name: None for name in _exercises.get(notebook, [])} | kept["exercises"].get(notebook, {})
        head = f"Notebook {notebook}: {_summary(kept, notebook)}"
        rows = [f"{MARKS.get(state)} {name} ({STATES.get(state)})" for name, state in solved.items()]
        items = "".join(f"<li>{html.escape(row)}</li>" for row in rows)
        style = "list-style: none; padding-left: 1em"
        return Page(f'<b>{html.escape(head)}</b><ul style="{style}">{items}</ul>', "\n  ".join([head, *rows]))
    begun = {*kept["exercises"], *(key.partition(".")[0] for key in kept["guesses"])}
    rows = [f"Notebook {number}: {_summary(kept, number)}" for number in sorted(begun)] or ["Nothing is begun yet."]
    path = file()
    where = f"Kept in {path}; delete that file to begin anew." if path else ""
    where = where or (f"Not kept: {_session.trouble}." if _session.trouble else "Kept for this session only.")
    items = "".join(f"<li>{html.escape(row)}</li>" for row in rows)
    return Page(f"<b>Your course so far</b><ul>{items}</ul>{html.escape(where)}", "\n".join([*rows, where]))


def _summary(kept: dict, notebook: str) -> str:
    """ "■■□ 2 of 3 exercises, 1 of 2 guesses right"."""
    known = {name: None for name in _exercises.get(notebook, [])} | kept["exercises"].get(notebook, {})
    solved = sum(state is True for state in known.values())
    bar = "\N{BLACK SQUARE}" * solved + "\N{WHITE SQUARE}" * (len(known) - solved)
    made = [entry for entry in guesses_in(notebook).values() if entry.get("guess") is not None]
    hits = sum(entry.get("right") is True for entry in made)
    words = f"{bar} {solved} of {len(known)} exercises".strip()
    words += f", {hits} of {len(made)} guesses right" if made else ""
    games = [score for key, score in kept["scores"].items() if key.startswith(f"{notebook}.")]
    return words + "".join(f", {score.get('right')} of {score.get('total')} in the game" for score in games)
