"""What all tests share: one thread, a Chromium where there is one, and plain words for what is skipped."""

from __future__ import annotations

import os
from collections.abc import Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch comes in, and for the kernels of notebooks
os.environ.setdefault("OMNIGLOT_DOWNLOAD", "0")  # no test reaches for the network
os.environ.setdefault("COURSE_PROGRESS", "off")  # nor writes what a reader has solved

from pathlib import Path

import pytest
import torch

from course_lib.commands.doctor import GET_CHROMIUM, find_chromium
from course_lib.commands.trust import number_of_cases
from course_lib.engine import omniglot_files

torch.set_num_threads(1)


LOOKS_FOR_DATA = "00_start_here", "09_omniglot"  # notebooks
IN_JUPYTERLAB = "tests/browser/test_notebooks_"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="long tests too, and faults as often as `long` says")
    parser.addoption("--most", type=int, help="inject no fault more often than this in one test")


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    if not config.getoption("--long"):
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("long")])
        items[:] = [item for item in items if not item.get_closest_marker("long")]
    for item in items:
        if any(notebook in item.nodeid for notebook in LOOKS_FOR_DATA):
            item.add_marker(pytest.mark.data)
    if not torch.cuda.is_available():
        no_gpu = pytest.mark.skip(reason="needs a CUDA device, and PyTorch sees none here")
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(no_gpu)
    yield  # of the tests that were asked for (-k, -m), those are left that run
    run_in_jupyterlab = {item.callspec.id for item in items if IN_JUPYTERLAB in item.nodeid and find_chromium()}
    for item in items:
        if item.path.suffix == ".ipynb" and item.path.stem in run_in_jupyterlab:
            item.add_marker(pytest.mark.skip(reason=f"JupyterLab runs it in {IN_JUPYTERLAB}*"))


@pytest.fixture(autouse=True)
def hidden_data(request, monkeypatch, tmp_path_factory) -> None:
    """No test sees the data set unless it is marked ``data``: such tests are run with it and without."""
    if request.node.get_closest_marker("data") is None:
        nowhere = tmp_path_factory.getbasetemp() / "no data set"
        monkeypatch.setenv("OMNIGLOT_ROOT", "")
        monkeypatch.setattr(omniglot_files, "PROJECT_DATA", nowhere)
        monkeypatch.setattr(omniglot_files, "cache_folder", lambda: nowhere)


@pytest.fixture
def cases(request) -> int:
    """How often a test marked ``trust`` is to inject its fault (see commands/trust.py)."""
    return number_of_cases(request.node, request.config.getoption("--most"))


@pytest.fixture(scope="session")
def omniglot() -> Path:
    """The folder with Omniglot's two archives; where they are not at hand the test is skipped and says so."""
    root = os.environ.get("OMNIGLOT_ROOT", "")
    if not root or not all((Path(root) / archive.filename).is_file() for archive in omniglot_files.ARCHIVES):
        pytest.skip("needs the data set: set OMNIGLOT_ROOT to the folder with Omniglot's two archives")
    return Path(root)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium or Chrome; where there is none the test is skipped and says how to get one."""
    path = find_chromium()
    if path is None:
        pytest.skip(f"needs a Chromium or Chrome. {GET_CHROMIUM}")
    return path
