"""Notebook 07's demos: every control at its ends, what pictures must show, the code of their tables."""

import numpy as np
import pytest
import torch

from course_lib.algorithms.solvers import crammer_singer, one_hot, ridge_head
from course_lib.chapters.closed_form import heads_anil, heads_plane, heads_ridge, heads_shots
from course_lib.chapters.closed_form.experiments import anil_and_maml, heads_and_shots
from course_lib.evaluation import evaluate
from course_lib.inner_loop import features, stack_params
from course_lib.kit.demo import check
from course_lib.tasks import GlyphTasks


def test_anil_at_every_end():
    check(heads_anil.demo())


def test_anil_keeps_up_with_maml_and_remembers_less():
    data = heads_anil.demo().set().data
    error = {row: mean[10] for row, (mean, _) in data["scores"].items() if len(mean) > 1}
    assert error["ANIL"] < 2 * error["MAML"] < error["MAML's network, head only"]
    memory = data["megabytes"]
    assert memory["ridge head"] < 0.6 * memory["ANIL"] < 0.3 * memory["MAML"]


def test_ridge_at_every_end():
    check(heads_ridge.demo())


def test_both_solves_and_descent_end_at_the_librarys_head():
    batch = heads_ridge.draw_tasks(5, 1, seed=3, noise=0.2)
    z, y = heads_ridge.body("r2d2")(batch.support_x[0]), batch.support_y[0]
    weight, bias = ridge_head(z[None], y[None], 0.5)
    library = torch.cat([weight[0].T, bias])  # [D + 1, 1]
    primal, dual = heads_ridge.two_solves(heads_ridge.with_ones(z), y, 0.5)
    distance, early, ratio = heads_ridge.descend(heads_ridge.with_ones(z), y, 0.5, library)
    for solution in (primal, dual):
        torch.testing.assert_close(solution, library, rtol=1e-9, atol=1e-9)
    assert (
        distance[-1] < 1e-10
        and 0.3 < np.linalg.norm(early - library[:, 0].numpy()) / float(library.norm()) < 1
    )
    assert (distance <= 1.001 * (1 - ratio) ** heads_ridge.AT + 1e-12).all()  # the dotted line is a bound


def test_five_points_are_enough_for_a_solved_head_and_noise_wants_a_penalty():
    demo = heads_ridge.demo()
    clean, noisy = demo.set().data, demo.set(noise=0.5).data
    assert clean["error"] < 0.05 and clean["distance"][heads_ridge.ANIL_STEPS - 1] > 0.5
    assert clean["errors"].argmin() < 5 < 8 < noisy["errors"].argmin() < 20


def test_plane_at_every_end():
    check(heads_plane.demo())


@pytest.mark.parametrize("setting", [{}, {"C": 0.01}, {"body": "untrained", "shots": 10}])
def test_support_vectors_are_those_of_the_dual(setting):
    demo = heads_plane.demo()
    data = demo.set(**setting).data
    z = torch.from_numpy(data["support"])[None]
    hot = one_hot(torch.arange(3).repeat_interleave(data["shots"])[None], 3, torch.float64)
    C = demo.values["C"]
    used = crammer_singer(z @ z.mT, hot.mT, C)[0].abs().amax(0) > 1e-6 * C  # [S]
    assert used.tolist() == data["vectors"].tolist()


def test_boundaries_and_margins_lie_where_the_scores_say():
    generator = torch.Generator().manual_seed(0)
    weight, bias = (
        torch.randn(3, 2, generator=generator).double(),
        0.1 * torch.randn(3, generator=generator).double(),
    )
    for level in (0.0, 0.7):
        line = torch.from_numpy(heads_plane.border(weight, bias, level))
        line = line[line.isfinite().all(1)]
        first, second = (line @ weight.T + bias).topk(2).values.T
        assert len(line) > 50
        torch.testing.assert_close(first - second, torch.full_like(first, level), rtol=0, atol=1e-8)


def test_trained_features_part_the_characters():
    demo = heads_plane.demo()
    assert min(demo.set().data["accuracy"].values()) == 100
    assert max(demo.set(body="untrained").data["accuracy"].values()) < 100


def test_shots_at_every_end():
    check(heads_shots.demo())


def test_heads_lie_together_and_bodies_apart():
    data = heads_shots.demo().set().data
    assert max(np.abs(curve[0]).max() for curve in data.differences.values()) < 2
    assert (data.others["untrained"] - data.others["r2d2"]).min() > 10


def test_the_tables_features_are_the_librarys():
    """Running and batch statistics: a task's support set is one batch, its query set another."""
    batch = heads_and_shots.episodes("glyphs", "test", 2, "any", 2)
    for name in ("r2d2", "maml"):
        body = heads_and_shots.Body(name, "glyphs")
        expected = features(body.model, stack_params(body.model, 2), batch.support_x)
        torch.testing.assert_close(
            body(batch.support_x) * body.length + body.center, expected, rtol=1e-4, atol=1e-4
        )


def test_the_tables_own_heads_are_the_learners():
    """MAML's row is evaluate()'s, and the records of the shipped tables name the commands that make them."""
    scores = heads_and_shots.maml_itself("glyphs", 1, "any", 3)
    model, learner, _ = anil_and_maml.checkpoints.load("omniglot/maml")
    again = evaluate(
        learner, model, GlyphTasks("test", shots=1, queries=heads_and_shots.QUERIES), 3, steps=[1]
    )
    torch.testing.assert_close(scores["MAML, everything"], again.scores[0])
    for table in (heads_and_shots, anil_and_maml):
        assert table.load()["command"] == f"python -m {table.__name__}" and not table.load()[
            "commit"
        ].endswith("+")
