"""Which C++ compiler ``compile=True`` needs on a CPU. Standard library alone, so that the doctor may ask."""

from __future__ import annotations

import os
import sys


def compiler_name() -> str:
    """The program that PyTorch will call: $CXX, else what is usual on this system (``torch._inductor.config.cpp.cxx``).

    >>> isinstance(compiler_name(), str)
    True
    """
    return os.environ.get("CXX", {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++"))
