"""Claims: their odds, their tables, and words that say otherwise."""

import pytest

from course_lib.kit.claim import Odds, chance, claim, gather, misquotes, quoted, read, try_once, write


@claim("An even draw is even", draws=4)
def even(draw):
    return draw % 2 == 0, {"draw": draw, "half": draw / 2}


def test_a_claim_gives_its_odds_and_its_table_keeps_them(tmp_path):
    odds = gather(try_once(even, draw) for draw in range(5))
    assert str(odds) == "3 of 5" and odds.median("draw") == 2 and odds.range("half") == (0, 2)
    assert odds.quartiles("draw") == (1, 3)
    path = tmp_path / "claims.json"
    assert read(path) == {}
    write(path, [even], {"even": odds}, {"command": "by a test"})
    again = read(path)["even"]
    assert again.held == odds.held and again.numbers == odds.numbers
    write(path, [even], {}, {})  # what was not measured stays
    assert read(path)["even"] == again
    write(path, [], {}, {})  # a claim that is made no longer goes
    assert read(path) == {}


def test_a_claim_must_say_whether_it_held():
    with pytest.raises(TypeError, match="must return"):
        claim("Nothing")(lambda draw: 3)(0)


TABLES = {"reptile.order": Odds([True] * 19 + [False], {"gap": [0.01 * i for i in range(20)], "up": [1234.5]}, 0.0)}


@pytest.mark.parametrize(
    "words",
    [
        "in 19 of 20 draws<!--reptile.order-->",
        "**19 of 20**<!-- reptile.order -->",
        "by 0.10<!--reptile.order.gap-->, or $0.095$<!--reptile.order.gap-->",
        "0 to 0.19<!--reptile.order.gap--> apart",
        "(0.05 to 0.14<!--reptile.order.gap quartiles-->)",
        "1,234<!--reptile.order.up-->, 1,200<!--reptile.order.up--> or 1.2e3<!--reptile.order.up-->",
        "no claim at all: 3 of 20",
    ],
)
def test_true_words(words):
    assert misquotes(words, TABLES) == []


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("in 20 of 20 draws<!--reptile.order-->", "19 of 20"),
        ("19 of 20 draws, and then, in a long sentence, nothing more of it<!--reptile.order-->", "19 of 20"),
        ("in most draws<!--reptile.order-->", "19 of 20"),
        ("by 0.11<!--reptile.order.gap-->", "0.095"),
        ("0 to 0.2<!--reptile.order.gap quartiles-->", "0.0475 to 0.1425"),
        ("by much<!--reptile.order.gap-->", "0.095"),
        ("0.1<!--reptile.order.size-->", "which has"),
        ("3 of 3<!--reptile.other-->", "no table"),
        ("19 of 20<!--reptile.order--> and<!--reptile.order-->", "19 of 20"),  # each needs words of its own
    ],
)
def test_false_words(words, complaint):
    assert len(misquotes(words, TABLES)) == 1 and complaint in misquotes(words, TABLES)[0]


def test_what_is_quoted():
    assert quoted("a<!--reptile.order--> b<!--union.best.error--> <!-- a remark -->") == {"reptile.order", "union.best"}


def test_chance_is_small_only_where_fresh_draws_speak_against_the_table():
    odds = lambda m, n: Odds([True] * m + [False] * (n - m), {}, 0.0)
    assert chance(odds(20, 20), odds(2, 2)) > 0.5 and chance(odds(20, 20), odds(0, 2)) < 0.01
    assert chance(odds(10, 20), odds(0, 2)) > 0.2 and chance(odds(0, 20), odds(8, 8)) < 1e-6
