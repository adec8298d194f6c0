"""The lecture's figures load in a real browser, whichever way the notebooks are opened.

`make lab` serves the project, `jupyter lab notebooks/` serves the notebooks' folder alone, as the tests' server does,
and nbconvert makes pages that lie beside them. One notebook holds every text cell that shows a picture.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import nbformat
import pytest

from tests.browser.lab import KERNEL, ROOT

pytestmark = pytest.mark.browser
IMAGE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)")
READY = "([images, count]) => { const all = [...document.querySelectorAll(images)];"
READY += " return all.length === count && all.every(image => image.complete); }"


@pytest.fixture(scope="module")
def pictures() -> tuple[nbformat.NotebookNode, list[str]]:
    """The notebook, and the names of the pictures in it."""
    sources = [
        cell.source
        for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "markdown" and IMAGE.search(cell.source)
    ]
    cells = [nbformat.v4.new_markdown_cell(source) for source in sources]
    names = [target.split("/")[-1] for source in sources for target in IMAGE.findall(source)]
    assert {f"figure_24_{number}.svg" for number in range(1, 8)} <= set(names)
    return nbformat.v4.new_notebook(cells=cells, metadata=KERNEL), names


def widths(page, images: str, count: int) -> list[int]:
    """How wide each picture really is, once all have loaded or failed; a picture that failed is 0 wide."""
    page.wait_for_function(READY, arg=[images, count])
    return page.locator(images).evaluate_all("all => all.map(image => image.naturalWidth)")


@pytest.mark.parametrize("place", ["project/notebooks", "."], ids=["make lab", "jupyter lab notebooks"])
def test_every_figure_loads_in_jupyterlab(server, browser, pictures, place):
    notebook, names = pictures
    folder = server.folder / place
    shutil.copytree(ROOT / "notebooks" / "figures", folder / "figures", dirs_exist_ok=True)
    nbformat.write(notebook, folder / "pictures.ipynb")
    page = browser.open(server, f"{place}/pictures.ipynb".removeprefix("./")).page
    found = widths(page, ".jp-MarkdownOutput img", len(names))
    server.end_kernels()
    assert min(found) > 100, dict(zip(names, found))


def test_every_figure_loads_in_a_page_made_by_nbconvert(browser, pictures, tmp_path):
    notebook, names = pictures
    shutil.copytree(ROOT / "notebooks" / "figures", tmp_path / "figures")
    nbformat.write(notebook, tmp_path / "pictures.ipynb")
    convert = [sys.executable, "-m", "jupyter", "nbconvert", "--to", "html", "pictures.ipynb"]
    subprocess.run(convert, cwd=tmp_path, check=True, capture_output=True)
    page = browser.chromium.new_page()
    page.goto((tmp_path / "pictures.html").as_uri(), wait_until="domcontentloaded")
    found = widths(page, "img", len(names))
    page.close()
    assert min(found) > 100, dict(zip(names, found))
