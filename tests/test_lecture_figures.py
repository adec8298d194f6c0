"""The lecture's figures: the files are what the code draws, can be read aloud, and no words collide."""

import importlib.util
import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch

from course_lib.chapters.two_loops.lecture_figures import draw_unrolled
from course_lib.kit import plots

ROOT = Path(__file__).parents[1]
FOLDER, SCRIPT = ROOT / "notebooks" / "figures", ROOT / "figures" / "draw.py"
SVG = "{http://www.w3.org/2000/svg}"


def load_script():
    spec = importlib.util.spec_from_file_location("draw", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


draw = load_script()
FIGURES = draw.FIGURES


def test_the_seven_figures_of_the_lecture():
    assert list(FIGURES) == [f"figure_24_{number}" for number in range(1, 8)]
    assert sorted(path.stem for path in FOLDER.glob("*.svg")) == list(FIGURES)


@pytest.mark.skipif(mpl.__version_info__ < (3, 11), reason="the files are of Matplotlib 3.11; before, the bytes differ")
def test_the_files_are_what_the_code_draws():
    done = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_check_names_what_is_stale(tmp_path, monkeypatch, capsys):
    names = ["figure_24_1", "figure_24_2", "figure_24_6"]
    (tmp_path / "figure_24_1.svg").write_bytes(draw.to_svg("figure_24_1"))
    (tmp_path / "figure_24_2.svg").write_text("<svg/>")
    monkeypatch.setattr(draw, "FOLDER", tmp_path)
    monkeypatch.setattr(draw, "FIGURES", {name: FIGURES[name] for name in names})
    assert draw.main(["--check"]) == 1
    assert re.findall(r"figure_24_\d", capsys.readouterr().err) == ["figure_24_2", "figure_24_6"]
    assert not (tmp_path / "figure_24_6.svg").exists()


@pytest.mark.parametrize("name", FIGURES)
def test_a_file_speaks_and_needs_no_fonts(name):
    root = ElementTree.parse(FOLDER / f"{name}.svg").getroot()
    title, description = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title.text.startswith(f"Figure {name[7:].replace('_', '.')}:") and len(description.text) > 80
    assert root.get("role") == "img" and not list(root.iter(f"{SVG}text"))
    assert b"<dc:date>" not in (FOLDER / f"{name}.svg").read_bytes()


def collisions(fig: Figure) -> list[str]:
    """Words that leave the figure, run into other words, or stick out of the box they stand in."""
    renderer = FigureCanvasAgg(fig).get_renderer()
    fig.draw(renderer)
    texts = [t for axes in fig.axes for t in axes.texts]
    extents = {text: text.get_window_extent(renderer) for text in texts}
    boxes = [p.get_window_extent() for a in fig.axes for p in a.patches if isinstance(p, (Circle, FancyBboxPatch))]
    inside = lambda small, big: big.x0 <= small.x0 and small.x1 <= big.x1 and big.y0 <= small.y0 and small.y1 <= big.y1
    found = [f"{text.get_text()!r} leaves the figure" for text in texts if not inside(extents[text], fig.bbox)]
    for text in texts:
        x, y = (extents[text].x0 + extents[text].x1) / 2, (extents[text].y0 + extents[text].y1) / 2
        found += [
            f"{text.get_text()!r} sticks out of its box"
            for box in boxes
            if box.contains(x, y) and not inside(extents[text], box)
        ]
    found += [
        f"{a.get_text()!r} meets {b.get_text()!r}" for a, b in combinations(texts, 2) if extents[a].overlaps(extents[b])
    ]
    return found


@pytest.mark.parametrize("name", FIGURES)
def test_no_words_collide(name):
    assert collisions(draw.draw(FIGURES[name])) == []


@pytest.mark.parametrize("k", [0, 1, 2, 4, 5, 12])
def test_the_unrolled_loop_for_any_k(k):
    with plots.style():
        fig = Figure(figsize=(8.4, 3.2))
        axes = fig.add_axes((0, 0, 1, 1))
        draw_unrolled(axes, 3)
        draw_unrolled(axes, k)  # what was there goes
        assert collisions(fig) == []
    words = [text.get_text() for text in axes.texts]
    assert words.count("SGD\nstep") == min(k, 4 if k <= 4 else 3)
    assert rf"$\theta_{{{k}}}$" in words and rf"$\theta_{{{k + 1}}}$" not in words
    assert any("support set:" in word for word in words) == (k > 0)
    assert (rf"$I - \alpha H_{{{k - 1}}}$" in words) == (k > 0)


def test_a_negative_k_is_refused():
    with pytest.raises(ValueError, match="k"):
        draw_unrolled(Figure().subplots(), -1)
