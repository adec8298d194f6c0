"""Notebook 09's demos: every control at its ends, what the pictures must show, and drawings of any hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from course_lib.analysis.transduction import accuracies
from course_lib.chapters.omniglot import (
    draw_your_own,
    episode_browser,
    episode_steps,
    league_table,
    together_or_alone,
    why_not_match,
)
from course_lib.chapters.omniglot.experiments import dont_match
from course_lib.kit import characters, drawing_pad
from course_lib.kit.demo import check
from course_lib.tasks import GlyphTasks


@pytest.fixture(autouse=True)
def glyphs(monkeypatch):
    """Drawn glyphs everywhere, so that the tests see the same with and without Omniglot."""
    monkeypatch.setattr(characters, "OmniglotTasks", lambda split, download, **s: GlyphTasks(split, **s))
    caches = characters.pool, characters.episode, episode_steps.adapting, together_or_alone.labels
    for cached in (*caches, why_not_match.measured):
        cached.cache_clear()
    yield
    for cached in (*caches, why_not_match.measured):
        cached.cache_clear()


def test_episodes_at_every_end_and_more_ways_or_shots_add_to_them():
    demo = episode_browser.demo()
    check(demo)
    first = demo.set().data
    assert "glyphs" in demo.alt and "Which is which" in demo.alt
    for changes in ({"ways": 9}, {"shots": 3}):
        more = demo.set(**changes).data["support"]
        assert torch.equal(more[: len(first["support"]), :1], first["support"])
        demo.reset()
    pixels = (demo.set(judge="pixels").data["said"] == demo.data["truth"]).float().mean()
    network = (demo.set(judge="omniglot/r2d2").data["said"] == demo.data["truth"]).float().mean()
    assert network > pixels + 0.2 and "R2D2" in demo.alt


def test_inner_loop_at_every_end_and_one_step_does_most_of_it():
    demo = episode_steps.demo()
    check(demo)
    data = demo.set().data
    assert data["accuracy"][0] < 0.5 < 0.65 < data["accuracy"][1] and data["flipped"].any()
    assert np.allclose(data["shares"].sum(1), 1, atol=1e-5)
    assert not demo.set(steps=0).data["flipped"].any()


def test_transduction_at_every_end_and_running_statistics_know_no_company():
    demo = together_or_alone.demo()
    check(demo)
    assert demo.set(together=25, one_class=False).data["changed"].sum() == 0
    assert demo.set(network="running", together=5, one_class=True).data["changed"].sum() == 0
    company = [demo.set(network="maml", one_class=True, new_episode=e).data["changed"].sum() for e in range(4)]
    assert sum(company) > 0


def test_league_at_every_end_with_nothing_guessed():
    demo = league_table.demo()
    check(demo)
    for networks in league_table.NETWORKS:
        rows = league_table.table(networks)
        assert rows and {row["method"] for row in rows} <= set(league_table.METHODS)
    data = demo.set(task="20-way 1-shot, one alphabet").data
    assert data["people"] and "People: 95.5" in demo.alt
    assert "nearest neighbour, pixels" not in data["ours"]["yes"] and data["ours"]["yes"]["ANIL"][0] == 55.48
    row = demo.set(task="5-way 1-shot", published=False).data["ours"]["no"]["R2D2"]
    assert row == pytest.approx((97.22, 0.33)) and not demo.data["papers"]["yes"]
    assert "new alphabets" in demo.alt and "mixed" not in demo.alt


def test_league_of_the_papers_recipes_says_its_split_and_what_it_lacks():
    demo = league_table.demo()
    data = demo.set(networks="papers", task="20-way 1-shot, one alphabet").data
    assert not any(data["ours"].values()) and not data["people"]
    assert data["note"] and demo.alt.endswith(data["note"]) and not demo.picture.sticking_out()
    assert not demo.set(task="5-way 1-shot").data["note"] and "alphabets mixed" in demo.alt
    one, five = (demo.set(task=f"5-way {shots}-shot").data["ours"]["no"]["ProtoNet"] for shots in (1, 5))
    rows = [r for r in league_table.table("papers") if r["ways"] == "5" and r["transductive"] == "no"]
    mean = {(row["checkpoint"], row["shots"]): float(row["mean"]) for row in rows}
    assert (one[0], five[0]) == (mean["papers/protonet_1shot", "1"], mean["papers/protonet_5shot", "5"])


def test_rules_at_every_end_and_live_numbers_are_the_librarys(monkeypatch):
    monkeypatch.setattr(why_not_match, "FEW", 3)
    monkeypatch.setattr(why_not_match, "MANY", 4)
    demo = why_not_match.demo()
    check(demo)
    table = why_not_match.table_demo(question="transduction")
    check(table)
    assert eval(table.call, {"why_not_match": why_not_match}).start == table.start
    assert demo.alt.endswith("Changed: alpha 2.0 for 0.4.")
    assert "Changed" not in demo.set(inner_lr=dont_match.ALPHA).alt
    rules = why_not_match.USUAL["omniglot/r2d2"]
    model, learner = dont_match.network(rules.network)
    library = accuracies(learner, model, GlyphTasks("test", queries=5), transductive=False, num_tasks=4)[0]
    assert why_not_match.accuracies(rules, 4) == pytest.approx(100 * library.numpy())


def test_a_measurement_that_was_interrupted_begins_anew(monkeypatch):
    rules = replace(why_not_match.USUAL["omniglot/r2d2"], together=1)
    whole = why_not_match.accuracies(rules, 3)
    why_not_match.measured.cache_clear()

    def interrupted(*arguments):
        yield from whole[:2] / 100
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(dont_match, "measure", interrupted)
        why_not_match.accuracies(rules, 3)
    assert (why_not_match.accuracies(rules, 3) == whole).all()


def test_the_table_answers_every_question_it_was_asked():
    for question, lines in (dont_match.QUESTIONS | dont_match.TRAININGS).items():
        assert list(dont_match.lines(question)) == list(lines)
        assert len(lines) <= why_not_match.ROWS
    assert len(dont_match.lines(dont_match.NUMBER_OF_TASKS)) == 3


def test_a_running_interval():
    values = np.array([90.0, 100.0, 80.0, 95.0])
    half = why_not_match.interval(values)
    assert half[-1] == pytest.approx(1.96 * values.std(ddof=1) / 2) and half[0] == 100
    assert why_not_match.running(values)[-1] == values.mean()


# The drawing demo


def test_drawing_at_every_end():
    demo = draw_your_own.demo()
    check(demo)
    assert "this is character" in demo.alt
    assert "Draw characters" in demo.set(clear_all=1).alt and not demo.values["box1"]
    assert "this is character" in demo.set(examples=1).alt
    assert "sixth box" in demo.set(query=()).alt
    with pytest.raises(ValueError, match="a stroke is a list"):
        demo.set(box1=[[(0.1, math.nan)]])


def test_the_inner_loop_learns_the_drawings_and_pixels_stand_beside():
    demo = draw_your_own.demo()
    path = demo.set(network=draw_your_own.MAML).data.path  # [steps, W]
    assert path[0].max() < 0.4 < 0.8 < path[3].max() and path.shape == (4, 5)
    for k in range(4):
        assert (demo.set(steps=k).data.probabilities == path[k]).all()
    assert demo.set(query=demo.values["box2"]).data.nearest == 1  # the same drawing shares every pixel


HANDS = {  # what a hand may do to a drawing: points [N, 2] in 0..1
    "as it was": lambda p: p,
    "small, in a corner": lambda p: 0.3 * p + 0.02,
    "large": lambda p: (p - 0.5) * 1.3 + 0.5,
    "slanted as by a left hand": lambda p: np.stack([p[:, 0] + 0.25 * (p[:, 1] - 0.5), p[:, 1]], 1),
    "slanted as by a right hand": lambda p: np.stack([p[:, 0] - 0.25 * (p[:, 1] - 0.5), p[:, 1]], 1),
    "drawn backwards": lambda p: p[::-1],
}


@pytest.mark.parametrize("hand", HANDS)
def test_drawings_are_recognised_whatever_the_hand(hand):
    """Glyphs drawn anew: nine of ten or more, where a fifth is chance."""
    right = 0
    for seed in range(20):
        example = draw_your_own.example(100 + seed)
        drawn = [example[box] for box in draw_your_own.BOXES]
        query = drawing_pad.clean_strokes([HANDS[hand](np.array(s)) for s in example["query"]])
        truth = draw_your_own.recognise(drawn, example["query"]).argmax()
        again = draw_your_own.recognise(drawn, query)
        assert again.sum().item() == pytest.approx(1, abs=1e-5)
        right += int(again.argmax() == truth)
    assert right >= 17


@pytest.mark.parametrize("network", draw_your_own.NETWORKS)
def test_each_network_serves_two_to_five_boxes(network):
    example = draw_your_own.example(0)
    drawn = [example[box] for box in draw_your_own.BOXES]
    all_five = draw_your_own.recognise(drawn, example["query"], network)
    assert all_five.argmax() == 4
    some = draw_your_own.recognise([(), *drawn[1:3], (), drawn[4]], example["query"], network)
    assert some[[0, 3]].sum() == 0 and some.sum().item() == pytest.approx(1, abs=1e-5) and some.argmax() == 4
    assert draw_your_own.recognise([drawn[0], *[()] * 4], example["query"], network) is None
    assert draw_your_own.recognise(drawn, (), network) is None


def test_a_drawing_looks_the_same_in_any_size_and_place():
    strokes = draw_your_own.example(3)["box2"]
    pictures = []
    for size, corner in ((0.2, (0.7, 0.1)), (0.7, (0.1, 0.2))):
        moved = [size * np.array(stroke) + corner for stroke in strokes]
        pictures.append(draw_your_own.seen(drawing_pad.clean_strokes(moved)))
    assert (pictures[0] - pictures[1]).abs().max() < 0.2
    dot = draw_your_own.seen((((0.9, 0.1), (0.905, 0.1)),))
    assert 0 < dot.sum() < 6  # a dot stays one


def test_buttons_fill_and_clear_the_pads():
    demo = draw_your_own.demo()
    pads = (*draw_your_own.BOXES, "query")
    drawn = lambda: {name: demo.values[name] for name in pads}
    demo.panel.hear({"do": "press", "name": "clear_all"})
    demo.panel.wait()
    assert not any(drawn().values()) and demo.panel.state["at"]["box1"] == ()
    demo.panel.hear({"do": "press", "name": "examples"})
    demo.panel.wait()
    assert drawn() == draw_your_own.example(1)
    demo.panel.hear({"do": "set", "name": "query", "to": []})
    demo.panel.wait()
    assert "sixth box" in demo.alt
    demo.panel.hear({"do": "reset"})
    demo.panel.wait()
    assert drawn() == draw_your_own.example(0)
