"""Recipes: what they say they are, and that each of them runs."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from course_lib.engine import recipes
from course_lib.evaluation import evaluate
from course_lib.inner_loop import adapt, stack_params
from course_lib.losses import cross_entropy
from course_lib.models import Conv4
from course_lib.tasks import AllClasses, GlyphTasks
from course_lib.training import meta_train

SHORT = {"iterations": 2, "meta_batch": 2}


@pytest.mark.parametrize("name", recipes.TWO_CORES)
def test_each_two_core_recipe_trains_and_serves_new_tasks(name):
    recipe = recipes.TWO_CORES[name]
    recipe = replace(recipe, model={**recipe.model, "filters": 4}, pool=min(recipe.pool, 16))
    learner, model, tasks = recipe.build("glyphs")
    before = {n: p.clone() for n, p in model.named_parameters()}
    meta_train(learner, model, tasks, **recipe.outer | SHORT, progress=False)
    assert any(not p.equal(before[n]) for n, p in model.named_parameters())
    learner = recipes.keep(learner)
    assert sum(p.numel() for p in learner.parameters()) < 5  # nothing of the training tasks is shipped
    result = evaluate(learner, model, recipe.build_tasks("glyphs", test=True), num_tasks=2, steps=recipe.steps[:2])
    assert result.query_losses.isfinite().all()


@pytest.mark.parametrize("name", recipes.SINUSOID)
def test_each_sinusoid_recipe_trains(name):
    recipe = recipes.SINUSOID[name]
    _, history = meta_train(*recipe.build("sinusoid"), **recipe.outer | SHORT, progress=False)
    assert all(map(math.isfinite, history.loss))
    assert recipe.build_tasks("sinusoid", test=True).num_tasks is None


@pytest.mark.parametrize("name", recipes.PAPERS)
def test_papers_recipes_build(name):
    recipe = recipes.find("omniglot", name)
    model = recipe.build_model("omniglot")
    assert recipe.build_learner("omniglot", model, None).loss_fn is cross_entropy
    assert model.head.out_features == recipe.tasks["ways"]
    assert "arXiv" in recipe.source
    if recipe.schedule is not None:
        assert recipe.schedule(0.0) == 1.0 and recipe.schedule(1.0) < 0.01


@pytest.mark.parametrize("ways, released", [(5, 0.4), (20, 0.1)])
def test_the_n_times_trap(ways, released):
    """MAML's released code takes each example's cross-entropy over K and sums over N K examples."""
    shots = 2
    batch = GlyphTasks("test", ways=ways, shots=shots, queries=1).sample(1, generator=torch.Generator().manual_seed(0))
    model = Conv4(ways=ways, filters=4, seed=0).double()
    x, y = batch.support_x.double(), batch.support_y

    def released_loss(outputs, labels):
        return F.cross_entropy(outputs.flatten(0, 1), labels.flatten(), reduction="none").div(shots).sum()[None]

    ours = recipes.PAPERS[f"paper-maml-{ways}way1shot"].settings["inner_lr"]
    theirs = adapt(model, stack_params(model, 1), x, y, loss_fn=released_loss, steps=1, lr=released)
    mean = adapt(model, stack_params(model, 1), x, y, loss_fn=cross_entropy, steps=1, lr=ours)
    for name in mean:
        torch.testing.assert_close(mean[name], theirs[name], rtol=1e-10, atol=1e-12)


def test_kept_learner_predicts_as_the_trained_one():
    recipe = replace(recipes.TWO_CORES["union"], model={"filters": 4, "statistics": "running"}, pool=16)
    learner, model, tasks = recipe.build("glyphs")
    assert isinstance(tasks, AllClasses)
    test = recipe.build_tasks("glyphs", test=True)
    scores = [
        evaluate(one, model, test, num_tasks=2, steps=[0]).query_losses for one in (learner, recipes.keep(learner))
    ]
    assert scores[0].equal(scores[1])
