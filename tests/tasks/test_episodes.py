"""Episodes, on a pool whose pictures say which class and drawing they are."""

from __future__ import annotations

import pytest
import torch

from course_lib.tasks.episodes import CharacterTasks

SIZES = (3, 6, 9)  # characters of three alphabets
DRAWINGS = 7


def pool() -> tuple[torch.Tensor, torch.Tensor, list[str], list[str]]:
    """Images [18, 7, 28, 28]: the first pixel is the class, the next one the drawing, plus one each."""
    images = torch.zeros(sum(SIZES), DRAWINGS, 28, 28, dtype=torch.uint8)
    images[:, :, 0, 0] = torch.arange(1, sum(SIZES) + 1)[:, None]
    images[:, :, 0, 1] = torch.arange(1, DRAWINGS + 1)
    alphabet = torch.arange(len(SIZES)).repeat_interleave(torch.tensor(SIZES))
    return images, alphabet, ["small", "middle", "large"], [f"c{c}" for size in SIZES for c in range(size)]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_batch_holds_the_pictures_it_names():
    tasks = CharacterTasks(*pool(), ways=4, shots=2, queries=3)
    batch = tasks.sample(50, generator=seeded())
    assert batch.support_x.shape == (50, 8, 1, 28, 28) and batch.query_x.shape == (50, 12, 1, 28, 28)
    assert batch.support_y.dtype == torch.int64 and batch.support_x.dtype == torch.float32
    classes, drawings = batch.info["classes"], batch.info["drawings"]  # [T, W], [T, W, S + Q]
    for x, y, drawn in (
        (batch.support_x, batch.support_y, drawings[..., :2]),
        (batch.query_x, batch.query_y, drawings[..., 2:]),
    ):
        first, second = (x[:, :, 0, 0, 0] * 255).round().long(), (x[:, :, 0, 0, 1] * 255).round().long()
        assert torch.equal(first - 1, classes.gather(1, y))  # each label means the class it says
        assert torch.equal(second - 1, drawn.flatten(1))


def test_classes_are_distinct_and_no_query_drawing_was_shown():
    batch = CharacterTasks(*pool(), ways=18, shots=3, queries=4).sample(200, generator=seeded())
    classes, drawings = batch.info["classes"], batch.info["drawings"]
    assert torch.equal(classes.sort(dim=1).values, torch.arange(18).expand(200, -1))
    assert torch.equal(drawings.sort(dim=2).values, torch.arange(7).expand(200, 18, -1))


def test_every_class_and_drawing_is_as_likely():
    batch = CharacterTasks(*pool(), ways=5, shots=1, queries=1).sample(5_000, generator=seeded())
    for picked, kinds in ((batch.info["classes"], 18), (batch.info["drawings"][..., 0], DRAWINGS)):
        count = torch.bincount(picked.flatten(), minlength=kinds).double()
        expected = count.sum() / kinds
        assert ((count - expected).abs() < 5 * expected.sqrt()).all()
    # The order of the classes, which gives their labels, is random too.
    first = torch.bincount(batch.info["classes"][:, 0], minlength=18).double()
    assert ((first - 5_000 / 18).abs() < 5 * (5_000 / 18) ** 0.5).all()


def test_same_seed_same_bits():
    tasks = CharacterTasks(*pool(), queries=3)
    one, two, other = (tasks.sample(8, generator=seeded(s)) for s in (1, 1, 2))
    assert torch.equal(one.support_x, two.support_x) and torch.equal(one.query_x, two.query_x)
    assert not torch.equal(one.info["classes"], other.info["classes"])


def test_rotations_are_classes():
    images, *rest = pool()
    tasks = CharacterTasks(images, *rest, queries=3, rotations=True)
    assert tasks.num_classes == 72 and tasks.images.shape == (72, DRAWINGS, 28, 28)
    for turns in range(4):
        assert torch.equal(tasks.images[4 + 18 * turns], torch.rot90(images[4], turns, dims=(-2, -1)))
    assert tasks.class_name(4) == "middle, c1"
    assert tasks.class_name(4 + 18) == "middle, c1, turned 90 degrees"


@pytest.mark.parametrize("rotations", [False, True])
def test_within_alphabet(rotations: bool):
    tasks = CharacterTasks(*pool(), ways=5, queries=3, within_alphabet=True, rotations=rotations)
    classes = tasks.sample(2000, generator=seeded()).info["classes"]  # [T, W]
    alphabets, turns = tasks.alphabet_ids[classes], classes // 18
    assert (alphabets == alphabets[:, :1]).all() and (turns == turns[:, :1]).all()
    assert (classes.sort(dim=1).values.diff(dim=1) > 0).all()
    # The small alphabet cannot give five classes; the others come up equally often.
    share = (alphabets[:, 0] == 1).double().mean()
    assert set(alphabets[:, 0].tolist()) == {1, 2} and abs(share - 0.5) < 0.06


def test_moved_tasks_draw_the_same():
    tasks = CharacterTasks(*pool(), queries=3, within_alphabet=True)
    there, here = (some.sample(4, generator=seeded()) for some in (tasks.to("cpu"), tasks))
    assert torch.equal(there.query_x, here.query_x)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"ways": 19}, "18 classes, too few for ways=19"),
        ({"ways": 10, "within_alphabet": True}, "largest alphabet has 9"),
        ({"queries": 7}, "7 drawings, so shots=1 and queries=7 are 1 too many"),
        ({"shots": 0}, "shots must be a whole number of at least 1"),
        ({"ways": 1}, "ways must be a whole number of at least 2"),
    ],
)
def test_asking_for_more_than_there_is(changes: dict, says: str):
    with pytest.raises(ValueError, match=says):
        CharacterTasks(*pool(), **{"queries": 3, **changes})


def test_a_batch_is_not_read_on_the_cpu_before_it_has_come_from_a_gpu(monkeypatch: pytest.MonkeyPatch):
    batch, asked = CharacterTasks(*pool(), queries=3).sample(2, generator=seeded()), []
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *place, non_blocking: asked.append(non_blocking) or tensor)
    batch.to("cpu")
    assert asked and not any(asked)
    asked.clear()
    batch.to("cuda")
    assert asked and all(asked)


@pytest.mark.gpu
@pytest.mark.parametrize("within_alphabet", [False, True])
def test_on_a_gpu_nothing_waits_and_the_batch_is_the_same(within_alphabet: bool):
    tasks = CharacterTasks(*pool(), queries=3, rotations=True, within_alphabet=within_alphabet)
    there = tasks.to("cuda")
    there.sample(4, generator=seeded())
    there.sample(4, generator=torch.Generator("cuda").manual_seed(0))
    torch.cuda.set_sync_debug_mode("error")
    try:
        batch = there.sample(4, generator=seeded())
        there.sample(4, generator=torch.Generator("cuda").manual_seed(0))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    here = tasks.sample(4, generator=seeded())
    torch.testing.assert_close(batch.query_x.cpu(), here.query_x)  # the two divide by 255 with other roundings
    assert torch.equal(batch.query_y.cpu(), here.query_y)


@pytest.mark.gpu
@pytest.mark.parametrize("within_alphabet", [False, True])
def test_a_gpu_may_draw_for_pictures_on_the_cpu(within_alphabet: bool):
    tasks = CharacterTasks(*pool(), queries=3, within_alphabet=within_alphabet)
    batch = tasks.sample(64, generator=torch.Generator("cuda").manual_seed(0))
    again = tasks.to("cuda").sample(64, generator=torch.Generator("cuda").manual_seed(0)).to("cpu")
    assert batch.query_x.device.type == "cpu"
    torch.testing.assert_close(batch.query_x, again.query_x)
