"""Notebooks 05 to 10 in a browser (see chapters.py)."""

import pytest

from tests.browser.chapters import NOTEBOOKS, every_demo_fits_and_moves

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("path", NOTEBOOKS[5:], ids=lambda path: path.stem)
def test_every_cell_runs_and_every_demo_fits_the_room_and_its_controls_change_its_picture(open_notebook, path, request):
    every_demo_fits_and_moves(open_notebook(path.name), path.stem, every=request.config.getoption("--long"))
