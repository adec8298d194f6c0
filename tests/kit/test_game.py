"""The game deals what it says, counts right, keeps the score, and shows a picture where no kernel runs."""

import base64
import json

import pytest
import torch

from course_lib.kit import characters, game, progress


@pytest.fixture(autouse=True)
def session(monkeypatch, tmp_path):
    """A reader who has not played, with drawn glyphs (no test sees the data set unasked)."""
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "progress.json"))
    monkeypatch.setattr(progress, "_session", progress._Session(progress._nothing()))
    monkeypatch.setattr(game, "_shown", {})
    for cached in (characters.pool, characters.episode):
        cached.cache_clear()
    yield
    for cached in (characters.pool, characters.episode):
        cached.cache_clear()


def test_what_is_dealt_is_new_and_the_rivals_answer_the_same_drawings():
    hand = game.deal(10, seed=3)
    support = {picture.numpy().tobytes() for picture in hand["support"]}
    query = {picture.numpy().tobytes() for picture in hand["query"]}
    assert len(support) == 5 and len(query) == 10 and not support & query
    nearest = torch.cdist(hand["query"].flatten(1), hand["support"].flatten(1)).argmin(1)
    assert hand["pixels"].equal(nearest)
    network = [
        (game.deal(10, seed)["omniglot/r2d2"] == game.deal(10, seed)["truth"]).float().mean() for seed in range(8)
    ]
    assert torch.stack(network).mean() > 0.8  # drawn glyphs, on which it was not trained


def test_a_declaration_is_plain_data_with_an_interval_for_every_score():
    told = json.loads(json.dumps(game.declaration(20, hands=4)))
    assert [len(hand["queries"]) for hand in told["hands"]] == [5] * 4 and len(told["intervals"]) == 21
    assert "drawn glyphs" in told["note"] and told["pictures"] == "drawn glyphs"
    url = told["hands"][0]["support"][0]
    assert base64.b64decode(url.partition("base64,")[2]).startswith(b"\x89PNG")
    assert told["intervals"][20][1] == 100 and 80 < told["intervals"][20][0] < 90


def test_wilsons_interval_is_that_of_other_peoples_code():
    stats = pytest.importorskip("scipy.stats")
    for right in (0, 3, 10, 20):
        theirs = stats.binomtest(right, 20).proportion_ci(method="wilson")
        assert game.wilson95(right, 20) == pytest.approx((100 * theirs.low, 100 * theirs.high), abs=1e-4)


def test_a_score_is_kept_and_found_again_and_new_characters_are_new():
    played = game.play(10, key="00.game")
    assert game.result("00.game") is None and played.answers == []
    answers = [*played.truth[:9], (played.truth[9] + 1) % 5]
    played.hear({"do": "done", "answers": answers})
    assert game.result("00.game") == {
        "right": 9,
        "total": 10,
        "pictures": "drawn glyphs",
        "seed": 0,
        "answers": answers,
    }
    assert "9 of 10 in the game" in repr(progress.progress("00"))
    before = played.declaration
    again = game.play(10, key="00.game")
    assert again.answers == answers and again.declaration == before
    again.hear({"do": "again"})
    assert again.answers == [] and again.declaration["hands"] != before["hands"]
    again.hear({"do": "done", "answers": [None] * 10})  # shown without playing
    assert game.result("00.game")["right"] == 9


WHOLE = {"right": 9, "total": 10, "pictures": "drawn glyphs", "seed": 1, "answers": [0] * 10}


@pytest.mark.parametrize(
    "change",
    [{"seed": None}, {"seed": "1"}, {"answers": None}, {"answers": 10}, {"answers": [0] * 9}, {"answers": [5] * 10}],
)
def test_a_kept_game_that_is_not_whole_is_not_gone_on_with(change):
    progress.note_score("00.game", **WHOLE)
    fresh, whole = game.declaration(10), game.play(10, key="00.game")
    assert whole.answers == [0] * 10 and whole.declaration == game.declaration(10, seed=1)
    progress.note_score("00.game", **{name: value for name, value in (WHOLE | change).items() if value is not None})
    played = game.play(10, key="00.game")
    assert played.answers == [] and played.declaration == fresh
    played.hear({"do": "done", "answers": played.truth})
    assert game.result("00.game")["right"] == 10


def test_where_no_kernel_runs_there_is_a_picture_with_its_words():
    data, about = game.play(20, hands=4, key="09.game")._repr_mimebundle_()
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert "nearest pixels" in about["image/png"]["alt"] and "of 20 right" in data["text/plain"]


@pytest.mark.parametrize(
    ("arguments", "message"), [({"key": "game"}, "such as"), ({"key": "00.game", "hands": 3}, "multiple")]
)
def test_what_cannot_be_played_is_said(arguments, message):
    with pytest.raises(ValueError, match=message):
        game.play(10, **arguments)
