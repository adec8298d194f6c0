"""One JupyterLab for all tests of a process, on a copy of the notebooks, and one Chromium, in which it is loaded once.

The Chromium is closed behind the tests of this folder: while one is driven no other test could run an event loop."""

from __future__ import annotations

import shutil

import pytest

from tests.browser.lab import ROOT, Browser, LabServer, write_notebook


@pytest.fixture(scope="session")
def server(chromium, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab") / "notebooks"
    shutil.copytree(ROOT / "notebooks", folder, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    with LabServer(folder) as server:
        yield server


@pytest.fixture(scope="package")
def browser(chromium):
    with Browser(chromium, 1280, 720) as browser:
        yield browser


@pytest.fixture
def open_notebook(server, browser):
    """``open_notebook(path)`` opens and runs one; afterwards its kernel is ended."""
    yield lambda path: open_and_run(server, browser, path)
    server.end_kernels()


@pytest.fixture(scope="module")
def notebook(request, server, browser):
    """A notebook of the test file's CELLS, which is run once: a test finds it as the ones before have left it."""
    path = f"{request.path.stem}.ipynb"
    write_notebook(server.folder / path, *request.module.CELLS)
    yield open_and_run(server, browser, path)
    server.end_kernels()


def open_and_run(server, browser, path):
    notebook = browser.open(server, path)
    notebook.page.evaluate("jupyterapp.shell.collapseLeft()")
    notebook.run_all()
    return notebook
