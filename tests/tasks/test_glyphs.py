"""Drawn glyphs and pictures of strokes: reproducible, varied, and drawn with Omniglot's pen."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from course_lib.engine import omniglot_files as files
from course_lib.engine.glyphs import design, draw, draw_alphabets, ink
from course_lib.engine.strokes import CANVAS, DRAWN_SIDE, PEN_RADIUS, SIDE, picture, shrink
from course_lib.tasks import GlyphTasks, OmniglotTasks, character_tasks


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_glyphs_have_the_interface_of_omniglot():
    tasks = GlyphTasks("test", ways=20, shots=2, queries=3, within_alphabet=True)
    batch = tasks.sample(3, generator=seeded())
    assert batch.support_x.shape == (3, 40, 1, 28, 28) and batch.query_y.shape == (3, 60)
    assert 0 <= batch.query_x.min() and batch.query_x.max() == 1
    assert tasks.images.shape == (200, 20, 28, 28) and tasks.class_name(21) == "new alphabet 2, character02"
    assert GlyphTasks("train").num_classes == 1600 and GlyphTasks("train", rotations=False).num_classes == 400


def test_glyphs_say_what_they_are():
    tasks = GlyphTasks("test")
    assert tasks.is_standin and "stand-in for Omniglot" in tasks.name and tasks.name in tasks.describe()


def test_a_seed_draws_the_same_glyphs_again_and_another_seed_others():
    first = draw_alphabets("test", 0)
    draw_alphabets.cache_clear()
    assert torch.equal(first, draw_alphabets("test", 0))
    assert not torch.equal(first, draw_alphabets("test", 1))


def test_training_and_test_glyphs_differ():
    pictures = {}
    for split in ("train", "fit", "val", "test"):
        tasks = GlyphTasks(split, rotations=False)
        pictures[split] = {image.numpy().tobytes() for image in tasks.images.flatten(0, 1)}
    assert not pictures["train"] & pictures["test"] and not pictures["fit"] & pictures["val"]
    assert pictures["train"] == pictures["fit"] | pictures["val"]
    assert len(pictures["train"]) == 8000  # no drawing twice


def test_every_glyph_leaves_ink_and_stays_on_the_canvas():
    images = GlyphTasks("train", rotations=False).images.float() / 255  # [400, 20, 28, 28]
    share = images.mean(dim=(-2, -1))
    assert share.min() > 0.01 and share.max() < 0.3
    border = torch.cat([images[..., 0, :], images[..., -1, :], images[..., :, 0], images[..., :, -1]], dim=-1)
    assert (border.amax(dim=-1) > 0.5).float().mean() < 0.05


@pytest.mark.parametrize(("ways", "shots", "omniglot"), [(5, 1, 0.42), (5, 5, 0.63), (20, 1, 0.23)])
def test_pixels_tell_as_much_as_on_omniglot(ways: int, shots: int, omniglot: float):
    batch = GlyphTasks("test", ways=ways, shots=shots, queries=5).sample(300, generator=seeded())
    nearest = torch.cdist(batch.query_x.flatten(2), batch.support_x.flatten(2)).argmin(dim=-1)
    accuracy = (batch.support_y.gather(1, nearest) == batch.query_y).float().mean().item()
    assert accuracy == pytest.approx(omniglot, abs=0.05)


def test_the_fast_pen_draws_what_the_exact_one_does():
    legs = draw(design(1, seeded()), 2, seeded()).flatten(0, 1)  # [40, L, P, 2]
    fast = ink(legs * (SIDE / CANVAS))
    exact = torch.stack([picture(list(strokes.double().numpy()), CANVAS, fit=False)[0] for strokes in legs])
    assert (fast - exact).abs().mean() < 0.02
    assert fast.mean().item() == pytest.approx(exact.mean().item(), rel=0.08)


# Pictures of strokes


def test_a_line_is_five_pixels_wide():
    """A long line of width 2 r covers (2 r) x length of the canvas, plus a round end at each side."""
    line = picture([np.array([[20.0, 52.3], [85.0, 52.3]])], CANVAS, fit=False)
    area = float(line.sum()) * (CANVAS / SIDE) ** 2
    assert area == pytest.approx(2 * PEN_RADIUS * 65 + np.pi * PEN_RADIUS**2, rel=0.03)
    rows = (line[0].sum(dim=1) > 0).nonzero().squeeze(1)
    assert rows.tolist() == [13, 14]  # canvas rows 50 to 54


def test_x_is_to_the_right_and_y_is_down():
    corner = picture([np.array([[10, 80], [20, 80]])], 100, fit=False)[0]
    y, x = (corner > 0).nonzero().float().mean(dim=0)
    assert 20 < y < 24 and 2 < x < 6


def test_fit_brings_a_scribble_to_where_drawings_are():
    shape = np.array([[0, 0], [1, 0], [1, 1], [0.2, 0.8]])
    small, large, usual = (picture([shape * size + 3], 300) for size in (20, 290, 60 / CANVAS * 300))
    for drawn in (small, large, usual):
        y, x = (drawn[0] > 0).nonzero().float().unbind(1)
        side = (max(y.max() - y.min(), x.max() - x.min()) + 1) * CANVAS / SIDE
        assert DRAWN_SIDE[0] - 4 < side < DRAWN_SIDE[1] + 8
        assert abs((y.max() + y.min()) / 2 - 13.5) <= 1 and abs((x.max() + x.min()) / 2 - 13.5) <= 1
    # One that is of a usual size keeps it, wherever it was drawn.
    assert torch.equal(usual, picture([shape * (60 / CANVAS * 300) + 100], 300))
    assert small.sum() < usual.sum() < large.sum()


def test_dots_and_nothing():
    assert picture([], 100).sum() == 0 and picture([np.zeros((0, 2))], 100).sum() == 0
    dot = picture([np.array([[7, 7]])], 100)
    assert 0.5 < float(dot.sum()) * (CANVAS / SIDE) ** 2 / (np.pi * PEN_RADIUS**2) < 1.5
    stay = picture([np.array([[7, 7], [7, 7], [7, 7]])], 100)  # the mouse did not move
    assert torch.equal(dot, stay)


@pytest.mark.parametrize("stroke", [np.array([1.0, 2.0]), np.array([[1.0, np.nan]]), np.zeros((3, 3))])
def test_strokes_that_are_none(stroke: np.ndarray):
    with pytest.raises(ValueError, match="a stroke must be"):
        picture([stroke], 100)
    with pytest.raises(ValueError, match="canvas must be"):
        picture([np.zeros((2, 2))], 0)


def test_shrink_keeps_the_share_of_ink():
    drawings = torch.rand(50, CANVAS, CANVAS, generator=seeded()) < 0.3
    grey = shrink(drawings).double().mean(dim=(1, 2)) / 255
    assert torch.allclose(grey, drawings.double().mean(dim=(1, 2)), atol=1e-3)


# Which of the two


@pytest.mark.data
def test_without_omniglot_glyphs_stand_in_and_say_so(tmp_path, monkeypatch):
    monkeypatch.setenv("OMNIGLOT_ROOT", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(files, "PROJECT_DATA", tmp_path)
    with pytest.raises(files.OmniglotMissing):
        OmniglotTasks("test", download=False)
    with pytest.warns(UserWarning, match="drawn glyphs .stand-in for Omniglot., because.*course_lib data"):
        tasks = character_tasks("test", ways=7, download=False)
    assert tasks.is_standin and tasks.ways == 7
    for archive in files.ARCHIVES:
        (tmp_path / archive.filename).write_text("something else")
    with pytest.raises(files.OmniglotDamaged):
        character_tasks("test", download=False)
