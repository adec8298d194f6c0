"""How a result came about, for the record that is kept beside it."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import torch

FOLDER = Path(__file__).parent


def provenance(command: str, seconds: float, device: torch.device | str = "cpu", threads: int | None = None) -> dict:
    """Where and how a run was made, for its record.

    ``threads`` is how many an operation of the training had, where that was not PyTorch's number (``threads_for``).
    """
    kind = torch.device(device).type
    return {
        "command": command,
        "commit": commit(),
        "seconds": round(seconds, 1),
        "device": torch.cuda.get_device_name(device) if kind == "cuda" else f"{platform.machine()} {kind.upper()}",
        "threads": threads or torch.get_num_threads(),
        "torch": torch.__version__,
    }


def commit() -> str:
    """The commit of the code that ran, "+" if Python files had been changed since; "unknown" outside a checkout."""
    git = ["git", "-C", str(FOLDER.parent)]
    try:
        asked = [*git, "rev-parse", "--show-toplevel", "HEAD"]
        top, head = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()
        if Path(top).resolve() != FOLDER.parents[1]:  # a copy of the course inside another project's checkout
            return "unknown"
        changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", "*.py"]).returncode
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head[:12] + "+" * bool(changed)
