"""The smaller promises to a person's own code: numbers, batches, rates, precisions, images, labels and intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import nn

from course_lib.algorithms import ANIL, MAML, R2D2, Reptile
from course_lib.analysis.transduction import accuracies
from course_lib.checkpoints import load, save
from course_lib.evaluation import evaluate
from course_lib.losses import cross_entropy
from course_lib.models import MLP, Conv4
from course_lib.tasks import AllClasses, GlyphTasks, SinusoidTasks, TaskBatch
from course_lib.tasks.episodes import CharacterTasks
from course_lib.training import meta_train
from tests.contract.plain import close
from tests.contract.runs import REFUSALS, trained
from tests.gradients import regression, tiny_model


def test_13_an_evaluation_under_no_grad_is_the_same():
    for learner in (MAML(), ANIL(2), R2D2()):
        expected = evaluate(learner, MLP(seed=0), SinusoidTasks(), num_tasks=4, steps=[0, 2])
        with torch.no_grad():
            found = evaluate(learner, MLP(seed=0), SinusoidTasks(), num_tasks=4, steps=[0, 2])
        assert torch.equal(found.query_losses, expected.query_losses)


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8])
def test_13_integers_of_numpy_are_integers(kind, tmp_path):
    tasks = SinusoidTasks(shots=kind(4), queries=kind(3))
    learner, options = MAML(inner_steps=kind(2)), {"progress": False, "save_every": kind(1)}
    model, history = meta_train(
        learner, MLP(seed=0), tasks, kind(2), kind(3), state_file=tmp_path / "run.safetensors", **options
    )
    assert history.iterations == 2
    again = trained(MAML(2), tasks=SinusoidTasks(4, 3), iterations=2)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), again.parameters()))
    result = evaluate(learner, model, tasks, num_tasks=kind(5), steps=np.arange(3), tasks_at_once=kind(2))
    assert result.steps == [0, 1, 2] and result.num_tasks == 5
    assert Reptile(inner_steps=kind(2), inner_batch=kind(3)).inner_steps == 2
    assert GlyphTasks(ways=kind(3), shots=kind(1), queries=kind(2)).ways == 3


@pytest.mark.parametrize("count", [np.float64(2.0), np.bool_(True), True, 2.5])
def test_13_what_is_no_integer_is_still_refused(count):
    with pytest.raises(REFUSALS, match="inner_steps"):
        MAML(inner_steps=count)


@pytest.mark.parametrize("index", [0, 2, -1, np.int64(1)])
def test_13_an_integer_index_keeps_the_dimension_of_tasks(index):
    batch = regression(num_tasks=3, shots=4, queries=4)
    one = batch[index]
    assert len(one) == one.num_tasks == 1 and one.task_id.shape == (1,)
    assert torch.equal(one.support_x[0], batch.support_x[int(index)]) and one.query_y.shape == (1, 4, 1)
    _, info = MAML().meta_gradient(tiny_model(), one)
    _, whole = MAML().meta_gradient(tiny_model(), batch)
    close("loss", info["task_losses"][0], whole["task_losses"][int(index)])


def test_13_an_index_beyond_the_tasks_is_an_error():
    for index in (3, -4):
        with pytest.raises(IndexError):
            regression(num_tasks=3)[index]


@pytest.mark.parametrize("make", [MAML, ANIL, Reptile])
def test_13_a_rate_that_is_a_tensor_goes_along(make):
    rate = torch.tensor([0.1, 0.05, 0.02])
    learner = make(2, rate)
    assert learner.double().inner_lr.dtype == torch.float64
    assert learner.to("meta").inner_lr.device.type == "meta"
    learner = make(2, rate).double()
    grads, _ = learner.meta_gradient(tiny_model(), regression(num_tasks=3))
    expected, _ = make(2, rate.double()).meta_gradient(tiny_model(), regression(num_tasks=3))
    for name in expected:
        close(name, grads[name], expected[name])
    assert learner.settings()["inner_lr"] == pytest.approx([0.1, 0.05, 0.02])


def test_13_a_rate_to_be_learnt_is_refused_by_reptile_or_left_alone():
    model, batch = tiny_model(), regression()
    try:
        grads, _ = Reptile(2, nn.Parameter(torch.tensor(0.1, dtype=torch.float64))).meta_gradient(model, batch)
    except REFUSALS as error:
        assert "inner_lr" in str(error)
        return
    expected, _ = Reptile(2, torch.tensor(0.1, dtype=torch.float64)).meta_gradient(model, batch)
    for name in expected:
        close(name, grads[name], expected[name])
    assert not any(g.any() for name, g in grads.items() if name not in expected)


def test_13_checkpoints_in_float64_come_back_in_float64(tmp_path):
    model, learner = tiny_model(), R2D2().double()
    save(tmp_path / "mine", model, learner, {})
    again, learner_again, _ = load(tmp_path / "mine")
    for before, after in ((model, again), (learner, learner_again)):
        for (name, p), q in zip(before.state_dict().items(), after.state_dict().values(), strict=True):
            assert q.dtype == p.dtype == torch.float64 and torch.equal(p, q), name


@pytest.mark.parametrize("transductive", [True, False])
@pytest.mark.parametrize("statistics", ["running", "batch"])
def test_13_transduction_asks_for_no_config(statistics, transductive):
    tasks = GlyphTasks(ways=3, shots=1, queries=2)
    learner = MAML(loss_fn=cross_entropy)
    results = []
    for own in (False, True):
        model = Conv4(ways=3, filters=4, downsample="stride", statistics=statistics, seed=0)
        meta_train(learner, model, tasks, 1, meta_batch=2, progress=False)
        if own:
            del model.config
        results.append(accuracies(learner, model, tasks, transductive, num_tasks=4, steps=[0, 1]))
    assert torch.equal(*results)


def pool(*shape: int) -> CharacterTasks:
    """Six characters of four drawings each, every pixel its character's number."""
    images = torch.arange(6, dtype=torch.uint8).view(6, 1, *[1] * len(shape)).expand(6, 4, *shape)
    names = [str(i) for i in range(6)]
    options = dict(ways=3, shots=1, queries=2, rotations=True)
    return CharacterTasks(images, torch.zeros(6, dtype=torch.long), ["only"], names, **options)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 8, 8), (8, 8)])
def test_13_characters_in_colour_keep_their_channels(shape):
    g = torch.Generator().manual_seed(0)
    channels = shape[0] if len(shape) == 3 else 1
    batch = pool(*shape).sample(2, generator=g)
    assert batch.support_x.shape == (2, 3, channels, 8, 8) and batch.query_x.shape == (2, 6, channels, 8, 8)
    numbers = (255 * batch.support_x[:, :, 0, 0, 0]).round()
    assert torch.equal(numbers, (batch.info["classes"] % 6).float())
    together = AllClasses(pool(*shape), points=4).sample(2, generator=g)
    assert together.support_x.shape == (2, 2, channels, 8, 8)
    Conv4(ways=3, in_channels=channels, size=8, filters=4, downsample="stride")(batch.support_x[0])


def test_13_labels_to_ignore_are_not_in_the_mean():
    g = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(3, 5, 4, generator=g), torch.randint(4, (3, 5), generator=g)
    labels[0, :3], labels[1, 4] = -100, -100
    expected = torch.stack([F.cross_entropy(logits[t], labels[t]) for t in range(3)])
    torch.testing.assert_close(cross_entropy(logits, labels), expected)


@pytest.mark.parametrize("num_tasks", [2, 5, 10, 600])
def test_13_intervals_of_few_tasks_are_students(num_tasks):
    result = evaluate(MAML(), MLP(seed=0), SinusoidTasks(), num_tasks=num_tasks, steps=[0, 1])
    spread = result.scores.std(1) / math.sqrt(num_tasks)
    expected = stats.t.ppf(0.975, num_tasks - 1) * spread
    assert result.ci95 == pytest.approx(expected.tolist(), rel=2e-3)


class Tasks64(SinusoidTasks):
    def sample(self, num_tasks: int, *, generator: torch.Generator) -> TaskBatch:
        return super().sample(num_tasks, generator=generator).map(lambda t: t.double() if t.is_floating_point() else t)


@pytest.mark.parametrize("what", ["meta_gradient", "meta_loss", "adapt", "meta_train", "evaluate"])
@pytest.mark.parametrize("make", [MAML, ANIL, R2D2, Reptile])
@pytest.mark.parametrize("which", ["model", "tasks"])
def test_13_two_precisions_that_do_not_go_together_are_named_or_made_to(which, make, what):
    model, tasks = (MLP(seed=0).double(), SinusoidTasks()) if which == "model" else (MLP(seed=0), Tasks64())
    learner, batch = make(), tasks.sample(3, generator=torch.Generator().manual_seed(0))
    calls = {
        "meta_gradient": lambda: learner.meta_gradient(model, batch)[1]["loss"],
        "meta_loss": lambda: learner.meta_loss(model, batch),
        "adapt": lambda: learner.adapt(model, batch.support_x, batch.support_y)["head.bias"].sum(),
        "meta_train": lambda: torch.tensor(meta_train(learner, model, tasks, 1, 3, progress=False)[1].loss),
        "evaluate": lambda: evaluate(learner, model, tasks, num_tasks=3, steps=[0, 1]).query_losses.sum(),
    }
    try:
        assert calls[what]().isfinite().all()
    except REFUSALS as error:
        assert "float64" in str(error) and "float32" in str(error)
