"""Notebook 07's demos: every control at its ends, what pictures must show, the code of their tables."""

import numpy as np
import pytest
import torch
from torch.func import functional_call

from course_lib.algorithms.solvers import crammer_singer, one_hot, ridge_head
from course_lib.chapters.closed_form import (
    claims,
    heads_anil,
    heads_gradient,
    heads_plane,
    heads_ridge,
    heads_shots,
    implicit,
    own_loop,
    solutions,
)
from course_lib.chapters.closed_form.experiments import anil_and_maml, heads_and_shots, images, implicit_gradient
from course_lib.evaluation import evaluate
from course_lib.inner_loop import features, stack_params
from course_lib.kit.demo import check
from course_lib.models import MLP
from course_lib.tasks import GlyphTasks, SinusoidTasks


def test_anil_at_every_end():
    check(heads_anil.demo())


def test_rates_are_the_best_on_validation_tasks():
    for method, only in anil_and_maml.AS_TRAINED.items():
        rows = anil_and_maml.runs.rows(method=method, only=only)
        scores = {
            rate: np.median([row["validation"] for row in rows if row["outer_lr"] == rate])
            for rate in anil_and_maml.OUTER_LRS
        }
        assert anil_and_maml.chosen(method) == min(scores, key=scores.get)


def test_the_picture_of_anil_shows_the_tables():
    data = heads_anil.demo().set(problem="omniglot").data
    assert np.allclose(data.scores["ANIL"][3], images.runs.of(3, row="ANIL")[0]["accuracy"])
    data = heads_anil.demo().set(rate="0.001").data
    row = anil_and_maml.runs.of(2, method="MAML", outer_lr=1e-3, only="head")[0]
    assert np.allclose(data.scores["head"][2], row["errors"])


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
    assert distance[-1] < 1e-10 and 0.3 < np.linalg.norm(early - library[:, 0].numpy()) / float(library.norm()) < 1
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


def test_the_picture_of_heads_shows_the_table():
    data = heads_shots.demo().set(shots=5, body="protonet").data
    rows = heads_and_shots.runs.rows(body_name="protonet", shots=5)
    accuracy = {head: np.array([row["accuracy"][head] for row in rows]) for head in ("ridge", "means")}
    assert np.isclose(data.wrong["protonet", "means"][0], 100 - accuracy["means"].mean())
    assert np.isclose(data.paired["means"][0, 3], (accuracy["means"] - accuracy["ridge"]).mean())


def test_the_tables_features_are_the_librarys():
    """Running and batch statistics: a task's support set is one batch, its query set another."""
    batch = heads_and_shots.episodes("glyphs", "test", 2).sample(2, generator=torch.Generator().manual_seed(0))
    for name in ("r2d2", "maml"):
        body = heads_and_shots.Body(name, "glyphs")
        expected = features(body.model, stack_params(body.model, 2), batch.support_x)
        torch.testing.assert_close(body(batch.support_x) * body.length + body.center, expected, rtol=1e-4, atol=1e-4)


def test_mamls_own_row_is_its_one_step():
    score = heads_and_shots.maml_itself("glyphs", "test", 1, 3, seed=7, factor=2.0, name="MAML, everything")
    model, learner, _ = heads_and_shots.checkpoints.load("omniglot/maml")
    tasks = GlyphTasks("test", shots=1, queries=heads_and_shots.QUERIES, rotations=False)
    again = evaluate(learner, model, tasks, 3, steps=[1], seed=7, lr=2 * learner.inner_lr)
    assert score == again.mean[0]


def test_gradient_at_every_end():
    check(heads_gradient.demo())


def test_implicit_at_every_end():
    check(implicit.demo())


def test_far_from_the_start_the_unrolled_and_the_implicit_gradient_agree():
    """A stiff spring and many products: both are the gradient of the same minimum."""
    assert implicit_gradient.cosines("maml_k5", 100, 20, 0, (1000.0,)).item() > 0.9999
    grew = implicit.bytes_kept()
    assert len(set(grew["flat"])) == 1 and grew["growing"][-1] > 20 * grew["growing"][0]


def own_inner_loop(model, params, x, y, steps, inner_lr):
    for _ in range(steps):
        loss = (functional_call(model, params, (x,)) - y).square().mean()
        grads = torch.autograd.grad(loss, params.values(), create_graph=True)
        params = {name: p - inner_lr * g for (name, p), g in zip(params.items(), grads)}
    return params


def test_two_loops_of_ones_own_train_side_by_side(monkeypatch):
    monkeypatch.setattr(own_loop, "ITERATIONS", 40)
    demo = own_loop.demo(own_inner_loop, solutions.solved_head)
    data = demo.set(steps=2).data
    assert len(data.stepped) == len(data.solved) == 40
    assert np.mean(data.solved[-10:]) < np.mean(data.stepped[-10:])
    check(demo)


def test_the_claims_inner_loop_is_the_students():
    model, batch = MLP(seed=0), SinusoidTasks().sample(1, generator=torch.Generator().manual_seed(0))
    params, x, y = dict(model.named_parameters()), batch.support_x[0], batch.support_y[0]
    ours, theirs = claims.step(model, params, x, y, 3), own_inner_loop(model, params, x, y, 3, own_loop.INNER_LR)
    for name in params:
        torch.testing.assert_close(ours[name], theirs[name])
