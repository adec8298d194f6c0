"""The site without a browser: recordings, what they depend on, pages of a notebook by its structure."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import numpy as np
import pytest

from course_lib.kit.controls import Slider
from course_lib.kit.demo import Demo
from course_lib.kit.site import cache, network, words
from course_lib.kit.site.build import build
from course_lib.kit.site.fonts import faces
from course_lib.kit.site.pages import demos_in, page_of
from course_lib.kit.site.recording import painter_of, record, settings
from course_lib.kit.site.svg import Draughtsman, document, markup
from tests.browser import sine_demo
from tests.kit.test_panel import touchable


@pytest.fixture(scope="module")
def sine() -> tuple[Demo, dict]:
    demo = sine_demo.make()
    return demo, record(demo)


def applied(svg: str, change: dict) -> dict[str, str]:
    """The parts on show once a frame's change was made, as markup: what ``recorded.js`` does in a page."""
    root = ElementTree.fromstring(f"<svg>{svg}</svg>")
    shown = {}
    for part in root:
        if "data-part" in part.attrib:
            name = part.attrib.pop("data-part")
            change_here = change.get(name, [])
            if isinstance(change_here, str):
                part = ElementTree.fromstring(change_here)
            else:
                elements = list(part.iter())
                for number, attribute, value in change_here:
                    if attribute == "":
                        elements[number].text = value
                    elif value is None:
                        del elements[number].attrib[attribute]
                    else:
                        elements[number].set(attribute, value)
            if part.get("display") != "none":
                shown[name] = normal(part)
    return shown


def normal(part: ElementTree.Element) -> str:
    for element in part.iter():
        element.attrib = dict(sorted(element.attrib.items()))
        element.text = element.text or None
    return markup(part)


def drawn_afresh(demo: Demo, painter: Draughtsman, values: dict) -> dict[str, str]:
    """The parts of the picture of some values, every one of them drawn."""
    demo.values = dict(values)
    *_, data = demo.frames()
    drawing = painter.draw(data, afresh=True)
    return {name: normal(part) for name, part in drawing.parts.items()}


def test_each_frame_applied_to_the_base_is_its_own_svg(sine):
    demo, recording = sine
    painter, every = painter_of(demo), settings(demo)
    assert len(every) == len(recording["frames"]) > 40
    for values, frame in zip(every, recording["frames"]):
        assert applied(recording["svg"], frame["change"]) == drawn_afresh(demo, painter, values)


def test_two_demos_of_a_page_share_no_id():
    ids = []
    for demo in (sine_demo.make(), sine_demo.make(steps=3)):
        *_, data = demo.frames()
        ids.append(painter_of(demo).draw(data).definitions.keys())
    assert ids[0] and len(ids[0]) == len(ids[1]) and not ids[0] & ids[1]


def test_a_run_is_recorded_from_its_first_picture_to_its_last(sine):
    demo, recording = sine
    demo.values = demo.start | {"run": True}
    yielded = list(demo.frames())
    painter = painter_of(demo)
    run = recording["runs"]["run"]
    assert len(run) == len(yielded) == 21
    for frame, data in zip(run, yielded):
        parts = painter.draw(data).parts
        assert applied(recording["svg"], frame["change"]) == {name: normal(part) for name, part in parts.items()}


def test_the_first_frame_is_where_the_demo_opens(sine):
    demo, recording = sine
    first = recording["frames"][0]
    assert first["change"] == {} and first["words"] == demo.set(**demo.start).alt
    for control, place in zip(recording["declaration"]["controls"], first["at"]):
        if "texts" in control and "stands" not in control:
            assert control["texts"][place] == demo.controls[control["name"]].text(demo.start[control["name"]])


def test_every_control_moves_and_every_view_is_there(sine):
    demo, recording = sine
    declaration, frames = recording["declaration"], recording["frames"]
    for number, control in enumerate(declaration["controls"]):
        if control["kind"] != "run":
            assert control["recorded"] and len({frame["at"][number] for frame in frames}) > 1, control["name"]
    for at in declaration["views"].values():
        assert at in [frame["at"] for frame in frames]


def test_what_moves_no_recorded_picture_is_not_offered():
    picture = lambda fig, show: show.line(fig.subplots(), [0, 1], lambda d: [0, d["y"]])
    controls = [Slider("x", 0, 3, 2), Slider("seconds", 1, 9, 5)]  # of a live run, say
    demo = Demo("Live", controls, lambda values: {"y": values.x}, picture, lambda d: f"{d['y']}")
    told = record(demo)["declaration"]["controls"]
    assert [control["recorded"] for control in told] == [True, False]


def test_points_are_dragged_over_a_lattice_and_clicked_points_are_left_out():
    recording = record(touchable())
    theta = {frame["at"][1] for frame in recording["frames"]}
    assert len(theta) > 30
    assert {handle["handle"] for frame in recording["frames"] for handle in frame["handles"]} == {0, 1}


def test_a_setting_without_a_picture_is_a_frame_in_words():
    compute = lambda values: {"y": 1.0 / values.x if values.x else float("inf")}
    picture = lambda fig, show: show.line(fig.subplots(), [0, 1], lambda d: [0, d.y])
    demo = Demo("Fragile", [Slider("x", 0, 3, 2)], compute, picture, lambda d: f"{d.y}", hint="Raise <x>.")
    problems = [frame["problem"] for frame in record(demo)["frames"] if "problem" in frame]
    assert len(problems) == 1 and problems[0].endswith("Raise &lt;x&gt;.")


def test_a_layout_that_hardly_moves_is_kept():
    def picture(fig, show):
        axes = fig.subplots()
        show.line(axes, [0, 1], lambda d: [0, d["top"]])
        show.limits(axes, y=lambda d: (0, d["top"]))

    demo = Demo("Limits", [Slider("top", 1, 9, 1)], lambda v: {}, picture, lambda d: "", size=(4, 3))
    painter = painter_of(demo)
    places = []
    for top in (1, 0.9, 1000):  # the labels of the last are wider
        painter.draw({"top": top})
        places.append(painter.figure.axes[0].get_position().x0)
    assert places[0] == places[1] < places[2]


def test_fonts_hold_what_is_shown_and_little_else():
    demo = sine_demo.make()
    painter = painter_of(demo)
    rules = faces([document(painter.draw(next(iter(demo.frames()))))])
    assert rules.count("@font-face") == 1 and '"DejaVu Sans"' in rules and len(rules) < 60_000


def test_a_recording_is_made_again_where_what_it_shows_changed(tmp_path, monkeypatch):
    folder = tmp_path / "course_lib"
    folder.mkdir()
    sources = {"a": "from course_lib import b", "b": "import course_lib.c", "c": "x = 1", "d": "y = 1", "e": ""}
    for name, text in sources.items():
        (folder / f"{name}.py").write_text(text)

    def found(*about):
        monkeypatch.setattr(cache, "PACKAGE", folder)
        monkeypatch.setattr(cache, "RECORDER", "course_lib.e")
        for each in (cache._content, cache._file, cache._imports):
            each.cache_clear()
        return cache.digest("course_lib.a", *about)

    before = found()
    (folder / "d.py").write_text("y = 2")
    assert found() == before != found("steps=3")
    (folder / "c.py").write_text("x = 2")
    after = found()
    (folder / "e.py").write_text("FRAMES = 9")
    assert len({before, after, found()}) == 3


def test_weights_come_back_rounded_to_sixteen_bits():
    import base64

    import torch

    values = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    three = np.frombuffer(base64.b64decode(network.packed(values)), np.uint8).reshape(-1, 3)
    four = np.concatenate([np.zeros((len(three), 1), np.uint8), three], 1)
    back = torch.from_numpy(four.view("<f4").ravel().copy())
    assert ((back - values) / values).abs().max() < 2.0**-16


# Pages --------------------------------------------------------------------------------------------------------

CELLS = [
    "# 03 What k costs",
    "> from course_lib.kit.question import ask, guesses\nfrom course_lib.kit import checks",
    "## Part 1: The border (12 minutes)\n\nIt is $a_i$<!--what_k_costs.border-->, [before](02_the_two_loops.ipynb).",
    "> ask('Will it $e^x$?', ['rises', 'falls'], answer='falls', because='So *it* is.', key='03.steps')",
    "> ask('How large?', number=0.2, unit='of it', key='03.size')",
    "> demo = sine_demo.demo(steps=3)\ndemo",
    "## Deeper: more of it (8 minutes)",
    "> print('deep')",
    "### Below",
    "## What you can do now",
    "> guesses('03')",
]


def notebook(cells: list[str] = CELLS) -> dict:
    made = []
    for source in cells:
        if source.startswith("> "):
            cell = nbformat.v4.new_code_cell(source[2:])
            if "demo" in source:
                words_ = "<A sine wave from a few points: sine_demo.demo(steps=3)>\nAfter 3 steps"
                shown = {"text/plain": words_, "image/png": "AA=="}
                cell.outputs = [nbformat.v4.new_output("display_data", shown)]
            made.append(cell)
        else:
            folded = {"jp-MarkdownHeadingCollapsed": "Deeper" in source}
            made.append(nbformat.v4.new_markdown_cell(source, metadata=folded))
    return nbformat.v4.new_notebook(cells=made)


def test_a_page_is_read_from_the_notebooks_structure():
    page = page_of(Path("03_what_k_costs.ipynb"), notebook(), lambda placed: f"[{placed.call}]")
    assert page.title == "03 What k costs"
    assert "[sine_demo.demo(steps=3)]" in page.body and "AA==" not in page.body
    assert "what_k_costs.border" not in page.body and 'href="02_the_two_loops.html"' in page.body
    fold = re.search(r'<details class="fold">.*(?=<h2 id="what-you-can-do-now">)', page.body, re.S)[0]
    assert "deep" in fold and 'id="below"' in fold and fold.rstrip().endswith("</details>")
    assert [words for level, _, words in page.headings if level == 2][0] == "Part 1: The border (12 minutes)"
    about = [json.loads(data.replace("&quot;", '"')) for data in re.findall(r"data-about='([^']+)'", page.body)]
    assert [each["fact"] for each in about] == ["falls", "0.2 of it"] and about[1]["tolerance"] == pytest.approx(0.02)
    assert "<em>it</em>" in page.body and '<div class="guesses"' in page.body
    assert [title for _, title, _ in page.sections][:2] == ["03 What k costs", "Part 1: The border (12 minutes)"]


def test_a_demo_is_known_by_what_its_cell_showed():
    (placed,) = demos_in(notebook())
    assert (placed.key, placed.function, placed.values()) == ("sine_demo", "demo", {"steps": 3})
    assert placed.name.startswith("sine_demo-")


def test_a_solution_is_folded_with_its_source():
    cells = ["# 02", "> from course_lib.chapters.two_loops import exercises", "> exercises.check_inner_loop.reveal()"]
    body = page_of(Path("02.ipynb"), notebook(cells), str).body
    solution = re.search(r'<details class="solution"><summary>(.*?)</summary>(.*?)</details>', body, re.S)
    assert solution and solution[1] == "Show a solution"


def test_the_site_is_a_folder_of_files_that_name_no_other(tmp_path, sine):
    demo, recording = sine
    (placed,) = demos_in(notebook())
    path = tmp_path / "03_what_k_costs.ipynb"
    pads = {"title": "Draw", "pads": [{"label": "1", "strokes": []}] * 6, "examples": [[[]] * 6]}
    files = build(tmp_path / "out", {path: notebook()}, {placed.name: recording | {"about": "Recorded."}}, pads)
    for name, content in files.items():
        assert (tmp_path / "out" / name).read_bytes() == content
        text = content.decode(errors="ignore").replace("http://www.w3.org/", "")
        assert not re.search(r"(src|href)=.?https?://|@import|fetch\(|import\s*\(", text), name
    assert nbformat.reads(files["notebooks/03_what_k_costs.ipynb"], 4).cells[5].outputs == []
    for name in ("index.html", "03_what_k_costs.html"):
        for address in re.findall(r'(?:src|href)="([^"#:]+)"', files[name].decode()):
            assert (tmp_path / "out" / address).is_file(), address
    assert ", before." in files["03_what_k_costs.html"].decode()  # of a link to a chapter that is not there its words


def test_words_of_formulas_and_code_are_found_by_the_search():
    html_, _ = words.markdown("The *inner* rate $\\alpha$ is `small`.")
    assert words.plain(html_) == "The inner rate α is small ."
