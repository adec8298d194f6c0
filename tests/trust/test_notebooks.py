"""Every notebook under a reader's habits: other defaults, cells run twice and in any order, other seeds."""

from __future__ import annotations

import random
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SEED = re.compile(r"(\bseed=|\"seed\": |\bmanual_seed\(|\bdraw=)(\d+)\b")
RC = "text.usetex: True\nfont.size: 23\nfont.family: serif\nlines.linewidth: 9\naxes.grid: True\nfigure.dpi: 37\n"

pytestmark = pytest.mark.long
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def run(path: Path, change=lambda cells: cells) -> None:
    """Run the notebook with its code cells changed; an error of a cell is raised."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells = change([cell for cell in notebook.cells if cell.cell_type == "code"])
    where = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=where).execute()


def code(source: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_code_cell(source)


@pytest.mark.trust("a notebook after torch.set_default_dtype(torch.float64)")
@every_notebook
def test_float64_is_the_default(path):
    run(path, lambda cells: [code("import torch\ntorch.set_default_dtype(torch.float64)"), *cells])


@pytest.mark.trust("a notebook under a matplotlibrc that asks for LaTeX, large serif type and thick lines")
@every_notebook
def test_a_readers_matplotlibrc(path, tmp_path, monkeypatch):
    (tmp_path / "matplotlibrc").write_text(RC)
    monkeypatch.setenv("MATPLOTLIBRC", str(tmp_path))
    run(path)


@pytest.mark.trust("a notebook with every cell run twice")
@every_notebook
def test_every_cell_twice(path):
    run(path, lambda cells: [cell for cell in cells for cell in (cell, code(cell.source))])


@pytest.mark.trust("a notebook whose cells are run again in another order", cases=1)
@every_notebook
def test_cells_in_another_order(path):
    again = lambda cells: random.Random(0).sample([code(cell.source) for cell in cells], len(cells))
    run(path, lambda cells: [*cells, *again(cells)])


@pytest.mark.trust("a notebook with other seeds", cases=20)
@every_notebook
def test_other_seeds(path, cases, record_property):
    for draw in range(1, cases + 1):

        def other(cells):
            for cell in cells:
                cell.source = SEED.sub(lambda found: f"{found[1]}{int(found[2]) + 1000 * draw}", cell.source)
            return cells

        run(path, other)
        record_property("survived", draw)
