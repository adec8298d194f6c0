"""One JupyterLab and one Chromium for all tests of a file."""

from __future__ import annotations

import pytest

from tests.browser.lab import Browser, LabServer


@pytest.fixture(scope="module")
def lab(chromium, folder):
    """(server, browser) on the notebooks in ``folder``, a fixture of the file."""
    with LabServer(folder) as server, Browser(chromium, 1280, 720) as browser:
        yield server, browser


@pytest.fixture
def open_notebook(lab):
    """``open_notebook(path)`` opens and runs one; afterwards its page is closed and its kernel ended."""
    server, browser = lab
    opened = []

    def open_and_run(path, wait=True):
        opened.append(browser.open(server, path))
        opened[-1].page.evaluate("void jupyterapp.commands.execute('application:toggle-left-area')")
        opened[-1].run_all(wait=wait)
        return opened[-1]

    yield open_and_run
    for notebook in opened:
        notebook.close()
    server.end_kernels()
