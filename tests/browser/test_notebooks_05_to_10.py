"""The demos of notebooks 05 to 10 in a browser (see chapters.py)."""

import pytest

from tests.browser.chapters import NOTEBOOKS, every_demo_fits_and_moves, write_demos

pytestmark = pytest.mark.browser
PATHS = NOTEBOOKS[5:]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_demos(PATHS, tmp_path_factory.mktemp("notebooks"))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_demo_fits_the_room_and_its_controls_change_its_picture(open_notebook, path, request):
    every_demo_fits_and_moves(open_notebook(path.name), path.stem, every=request.config.getoption("--long"))
