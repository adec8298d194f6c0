"""Omniglot itself, where OMNIGLOT_ROOT says it is: its two splits and its pixels."""

from __future__ import annotations

import pytest
import torch

from course_lib.engine import omniglot_files as files
from course_lib.tasks import OmniglotTasks, character_tasks

pytestmark = pytest.mark.data


@pytest.mark.parametrize(("split", "characters", "alphabets"), [("train", 964, 30), ("test", 659, 20)])
def test_omniglot_by_alphabets(omniglot, split: str, characters: int, alphabets: int):
    tasks = OmniglotTasks(split, rotations=False)
    assert tasks.images.shape == (characters, 20, 28, 28) and len(tasks.alphabets) == alphabets
    assert OmniglotTasks(split).num_classes == characters * (4 if split == "train" else 1)
    assert tasks.name == "Omniglot" and not tasks.is_standin


@pytest.mark.parametrize("splits", ["alphabets", "characters"])
def test_omniglot_splits_share_nothing(omniglot, splits: str):
    pictures = {}
    for split in ("train", "fit", "val", "test"):
        tasks = OmniglotTasks(split, splits=splits, rotations=False)
        pictures[split] = {image.numpy().tobytes() for image in tasks.images}
        assert len(pictures[split]) == tasks.num_characters
    assert not pictures["train"] & pictures["test"] and not pictures["fit"] & pictures["val"]
    assert pictures["train"] == pictures["fit"] | pictures["val"]
    if splits == "characters":
        assert [len(pictures[s]) for s in ("train", "fit", "val", "test")] == [1200, 1100, 100, 423]


@pytest.mark.parametrize(("ways", "shots", "measured"), [(5, 1, 0.42), (5, 5, 0.63), (20, 1, 0.23)])
def test_pixels_leave_something_to_learn(omniglot, ways: int, shots: int, measured: float):
    """The nearest support drawing, by Euclidean distance, is of the right class this often."""
    tasks = OmniglotTasks("test", ways=ways, shots=shots, queries=5)
    batch = tasks.sample(300, generator=torch.Generator().manual_seed(0))
    nearest = torch.cdist(batch.query_x.flatten(2), batch.support_x.flatten(2)).argmin(dim=-1)  # [T, Q]
    accuracy = (batch.support_y.gather(1, nearest) == batch.query_y).float().mean().item()
    assert accuracy == pytest.approx(measured, abs=0.03)


@pytest.mark.trust("one of Omniglot's two archives alone")
@pytest.mark.filterwarnings("ignore:OMNIGLOT_ROOT is set")
@pytest.mark.parametrize("alone", files.ARCHIVES, ids=lambda archive: archive.name)
def test_one_archive_alone_counts_as_none(omniglot, monkeypatch, tmp_path, alone: files.Archive):
    (tmp_path / alone.filename).symlink_to(omniglot / alone.filename)
    monkeypatch.setenv("OMNIGLOT_ROOT", str(tmp_path))
    monkeypatch.setattr(files, "PROJECT_DATA", tmp_path / "none")
    monkeypatch.setattr(files, "cache_folder", lambda: tmp_path / "cache")
    (other,) = set(files.ARCHIVES) - {alone}
    for split in ("train", "test"):
        for splits in ("alphabets", "characters"):
            with pytest.raises(files.OmniglotMissing, match=f"{other.filename} is not here"):
                OmniglotTasks(split, splits=splits, download=False)
        with pytest.warns(UserWarning, match="drawn glyphs"):
            assert character_tasks(split, download=False).is_standin


def test_unknown_splits():
    with pytest.raises(ValueError, match="'train', 'fit', 'val', 'test'"):
        OmniglotTasks("dev")
    with pytest.raises(ValueError, match="splits must be"):
        OmniglotTasks("train", splits="letters")
