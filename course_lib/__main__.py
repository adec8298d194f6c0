"""The command line: ``python -m course_lib COMMAND``, each a module of ``course_lib.commands``.

    python -m course_lib train sinusoid --method maml --inner-steps 1
    python -m course_lib train omniglot --method r2d2 --ways 5 --shots 1 --device auto
    python -m course_lib train omniglot --recipe protonet
    python -m course_lib evaluate CHECKPOINT --steps 0 1 5 10
    python -m course_lib league omniglot

Each says with ``--help`` what it takes.
"""

from __future__ import annotations

import argparse
import atexit
import os
import sys
from importlib import import_module

COMMANDS = {
    "train": "meta-train a network and keep it as a checkpoint",
    "evaluate": "fine-tune a checkpoint on new tasks",
    "league": "all methods on the same tasks, beside published numbers",
    "present": "the demos full screen, for a lecture hall",
    "guide": "for instructors: what to ask, to expect, to point at",
    "claims": "how often each sentence about a result holds",
    "experiments": "remake the tables of results that the chapters ship",
    "handout": "the exercises without solutions, for students and for autograders",
    "data": "fetch, verify and describe Omniglot",
    "site": "the course as web pages whose sliders move, from a folder",
    "doctor": "what is right and wrong on this machine",
    "trust": "what was done to the course on purpose, and how often it held",
}


def main(argv: list[str] | None = None) -> int:
    """Run one command; 0 if it did what was asked, else a message on stderr and 1 or 2."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(
        prog="python -m course_lib", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in COMMANDS.items():
        commands.add_parser(name, help=text)
    try:
        command = parser.parse_args(argv[:1]).command
        # imported when it is asked for: the doctor also runs where PyTorch is missing or broken
        code = import_module(f"course_lib.commands.{command}").main(argv[1:])
        return code if heard() else 1
    except ImportError as error:
        print(f"error: {error}; `python -m course_lib doctor` says what to do about it", file=sys.stderr)
        return 1
    except BrokenPipeError:  # who ended ``| head`` has read enough; of --help only Python 3.10 says so
        return int(not {"-h", "--help"} & set(argv))
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130  # as shells call it
    except (ValueError, TypeError, OSError, RuntimeError, FloatingPointError) as error:  # the last: a loss diverged
        print(f"error: {error}", file=sys.stderr)
        return 1


def heard() -> bool:
    """Whether all that was printed found a reader; if not, the rest goes nowhere, in silence."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


if __name__ == "__main__":
    atexit.register(heard)  # for --help, which ends by itself
    sys.exit(main())
