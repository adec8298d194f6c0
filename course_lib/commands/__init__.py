"""What ``python -m course_lib`` runs: each command is a module with a ``main(argv) -> int``."""

from __future__ import annotations

from collections.abc import Collection


def check_port(port: int, least: int) -> int:
    """``port`` if it can be one; else a ValueError."""
    if not least <= port <= 65535:
        lowest = "0 (any that is free)" if least == 0 else least
        raise ValueError(f"--port must be from {lowest} to 65535, not {port}")
    return port


def check_names(what: str, asked: Collection[str], there: Collection[str]) -> None:
    """A ValueError that lists what is there, if something is asked for that is not.

    >>> check_names("notebook", ["02", "99"], ["01", "02"])
    Traceback (most recent call last):
    ValueError: there is no notebook '99'; there are 01, 02
    """
    if unknown := [name for name in dict.fromkeys(asked) if name not in there]:
        raise ValueError(f"there is no {what} {' or '.join(map(repr, unknown))}; there are {', '.join(there)}")
