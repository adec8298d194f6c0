"""The lecture's figures load in a real browser, whichever way the notebooks are opened.

`make lab` serves the project, `jupyter lab notebooks/` serves the notebooks' folder alone, and nbconvert makes pages
that lie beside them. One notebook holds every text cell that shows a picture.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import sync_playwright

from tests.browser.lab import CHROMIUM_FLAGS, ROOT, Browser, LabServer

pytestmark = pytest.mark.browser
IMAGE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)")
READY = "([images, count]) => { const all = [...document.querySelectorAll(images)];"
READY += " return all.length === count && all.every(image => image.complete); }"


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> tuple[Path, list[str]]:
    """A project folder whose notebooks/ holds the figures and pictures.ipynb, and the names of the pictures in it."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "notebooks" / "figures", folder / "notebooks" / "figures")
    sources = [
        cell.source
        for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "markdown" and IMAGE.search(cell.source)
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    cells = [nbformat.v4.new_markdown_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / "notebooks" / "pictures.ipynb")
    names = [target.split("/")[-1] for source in sources for target in IMAGE.findall(source)]
    assert {f"figure_24_{number}.svg" for number in range(1, 8)} <= set(names)
    return folder, names


def widths(page, images: str, count: int) -> list[int]:
    """How wide each picture really is, once all have loaded or failed; a picture that failed is 0 wide."""
    page.wait_for_function(READY, arg=[images, count])
    return page.locator(images).evaluate_all("all => all.map(image => image.naturalWidth)")


@pytest.mark.parametrize("root", [".", "notebooks"], ids=["make lab", "jupyter lab notebooks"])
def test_every_figure_loads_in_jupyterlab(chromium, project, root):
    folder, names = project
    path = (folder / "notebooks" / "pictures.ipynb").relative_to(folder / root)
    with LabServer(folder / root) as server, Browser(chromium) as browser:
        found = widths(browser.open(server, path.as_posix()).page, ".jp-MarkdownOutput img", len(names))
        server.end_kernels()
    assert min(found) > 100, dict(zip(names, found))


def test_every_figure_loads_in_a_page_made_by_nbconvert(chromium, project):
    folder, names = project
    convert = [sys.executable, "-m", "jupyter", "nbconvert", "--to", "html", "pictures.ipynb"]
    subprocess.run(convert, cwd=folder / "notebooks", check=True, capture_output=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        page = browser.new_page()
        page.goto((folder / "notebooks" / "pictures.html").as_uri(), wait_until="domcontentloaded")
        found = widths(page, "img", len(names))
        browser.close()
    assert min(found) > 100, dict(zip(names, found))
