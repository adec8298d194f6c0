"""What all tests share: one thread, a Chromium where there is one, and plain words for what is skipped."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch comes in, and for the kernels of notebooks
os.environ.setdefault("OMNIGLOT_DOWNLOAD", "0")  # no test reaches for the network

import pytest
import torch

from course_lib.commands.doctor import GET_CHROMIUM, find_chromium

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        no_gpu = pytest.mark.skip(reason="needs a CUDA device, and PyTorch sees none here")
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(no_gpu)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium or Chrome; where there is none the test is skipped and says how to get one."""
    path = find_chromium()
    if path is None:
        pytest.skip(f"needs a Chromium or Chrome. {GET_CHROMIUM}")
    return path
