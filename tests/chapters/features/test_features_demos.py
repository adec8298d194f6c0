"""The demos of notebook 05 at every corner, and what their pictures must show, in numbers."""

from statistics import median
from types import SimpleNamespace

import pytest
import torch

from course_lib.analysis.tangent import linear_finetune, tangent_features
from course_lib.chapters.features import (
    feature_reuse,
    feature_weights,
    fourier,
    reuse_bars,
    setup,
    similarity,
    tangent_eigenfunctions,
    tangent_kernel,
    tangent_layers,
    tangent_linearised,
    tangent_principal,
    tangent_width,
)
from course_lib.chapters.features.experiments import meta_features, reuse, tangent_training
from course_lib.inner_loop import adapt, predict, stack_params
from course_lib.kit.demo import check
from course_lib.kit.touch import touched
from course_lib.losses import mse
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks
from course_lib.tasks.sinusoid import sinusoid

DEMOS = [
    feature_reuse,
    reuse_bars,
    similarity,
    tangent_kernel,
    tangent_layers,
    tangent_width,
    tangent_eigenfunctions,
    tangent_linearised,
    tangent_principal,
    feature_weights,
]


def values(module, **changes) -> SimpleNamespace:
    return SimpleNamespace(**module.demo().start | changes)


@pytest.mark.parametrize("module", DEMOS, ids=lambda module: module.__name__.rpartition(".")[2])
def test_every_corner(module):
    check(module.demo())


# What the demos stand on


def test_two_curves_hold_the_energy_of_the_whole_family():
    info = SinusoidTasks().sample(4000, generator=torch.Generator().manual_seed(0)).info
    curves = sinusoid(setup.GRID.expand(4000, -1, -1), info["amplitude"].double(), info["phase"].double())
    for way in ("maml", "plain"):
        now = setup.spectrum(way, 1000)
        sampled = setup.energy_share(now.functions, curves[..., 0])[:8]
        torch.testing.assert_close(now.shares[:8], sampled, rtol=0, atol=0.02)
        assert abs(now.aligned - setup.alignment(now.kernel, curves[..., 0])) < 0.02


def test_snapshots_begin_at_the_seeds_weights_and_training_repeats_them():
    for seed in tangent_training.SEEDS:
        begun = [tangent_training.network(way, 0, seed).state_dict() for way in tangent_training.INNER_LRS]
        for name, p in tangent_training.MLP(seed=seed).state_dict().items():
            assert torch.equal(begun[0][name], p) and torch.equal(begun[1][name], p)
    for way in tangent_training.INNER_LRS:
        _, trained = tangent_training.train(way, tangent_training.SEEDS, (0, 30))
        for seed, again in zip(tangent_training.SEEDS, trained):
            shipped = tangent_training.network(way, 30, seed).state_dict()
            torch.testing.assert_close(again.state_dict(), shipped, rtol=1e-3, atol=1e-4)


def test_unknown_snapshots_are_named():
    for wrong in (("fomaml", 0, 0), ("maml", 5, 0), ("maml", 0, 9), ("maml", tangent_training.FINAL, 1)):
        with pytest.raises(ValueError, match="must be one of"):
            tangent_training.network(*wrong)


# What the pictures show


def test_the_head_alone_in_closed_form_is_gradient_descent():
    network = setup.network_at("maml")
    x, y, grid, truth = feature_reuse.points(0)
    options = {"loss_fn": mse, "steps": 7, "lr": 0.05, "only": "head"}
    adapted = adapt(network, stack_params(network, len(x)), x, y, **options)
    outputs = predict(network, adapted, grid.expand(len(x), -1, -1))[..., 0]
    walked = feature_reuse.head_alone(network, 0.05, 7)
    torch.testing.assert_close(walked[7], (outputs - truth).square().mean(-1).detach())
    torch.testing.assert_close(walked[0], feature_reuse.tune(network, steps=1).errors[0, 0])


def test_halves_of_a_change_that_are_put_back():
    tuned = feature_reuse.tune(setup.network_at("plain"), steps=3)
    assert torch.equal(tuned.errors[0, 0], tuned.errors[1, 0]) and torch.equal(tuned.errors[0, 0], tuned.errors[2, 0])
    assert len({float(errors.sum()) for errors in tuned.errors[:, 3]}) == 3


def test_both_ways_are_taken_at_their_best_on_validation_tasks():
    for checkpoint, data in reuse.CHECKPOINTS.items():
        sign = 1 if data == "sinusoid" else -1
        for part in reuse.PARTS:
            chosen = reuse.best(checkpoint, part)
            assert len(chosen) == len(reuse.runs.seeds)
            assert len({(row["multiple"], row["steps"]) for row in chosen}) == 1
            others = reuse.runs.rows(checkpoint=checkpoint, part=part, multiple=1, steps=1)
            best, other = (median(sign * row["validation"] for row in rows) for rows in (chosen, others))
            assert best <= other


def test_the_table_can_be_measured_again(monkeypatch):
    monkeypatch.setattr(reuse, "CHECKPOINTS", {"sinusoid/maml_k1": "sinusoid"})
    rows = reuse.measure(0, "sinusoid/maml_k1", 2)
    assert {row["part"] for row in rows} == {"everything", "head"}
    assert len(rows) == 2 * len(reuse.MULTIPLES["sinusoid"]) * len(reuse.STEPS["sinusoid"])


def test_linear_cka_is_the_cosine_of_the_two_pictures():
    data = similarity.demo(steps=5).set().data
    cosine = torch.cosine_similarity(data.before.flatten(), data.after.flatten(), dim=0)
    assert float(cosine) == pytest.approx(data.cka, abs=1e-4)


def test_the_layers_kernels_add_up_to_the_tangent_kernel():
    for way, iteration in (("maml", 3000), ("plain", 0)):
        parts = tangent_layers.kernels(way, iteration)
        torch.testing.assert_close(parts[-1], setup.spectrum(way, iteration).kernel)
        for part, layer in zip(parts, ("features.0", "features.2", "head")):
            block = tangent_features(setup.network(way, iteration), setup.GRID, [f"{layer}.weight", f"{layer}.bias"])
            torch.testing.assert_close(part, block @ block.T)
        assert float(tangent_layers.shares(parts[:-1]).sum()) == pytest.approx(1)


def test_a_linearised_fit_by_the_kernel_is_the_one_by_tangent_features():
    tuned, network = tangent_width.tune(20, 0), MLP(hidden=(20, 20), seed=0).double()
    batch, _ = setup.test_tasks(tangent_width.NUM_TASKS, 10, 0)
    x, y = batch.support_x, batch.support_y
    support = tangent_features(network, x.flatten(0, 1)).unflatten(0, x.shape[:2])
    steepest = torch.linalg.eigvalsh(support @ support.mT).max().item()
    options = {"steps": 50, "lr": tangent_width.OF_BORDER * 10 / steepest}
    features = tangent_features(network, setup.GRID[::2])
    moved = linear_finetune(support, (y - network(x)).detach()[..., 0], features, **options)
    torch.testing.assert_close(tuned.linear, network(setup.GRID[::2]).detach()[:, 0] + moved)
    assert tangent_width.median_gap(160, 50) < tangent_width.median_gap(20, 50)


def test_energy_rises_to_the_top_with_meta_training_for_every_seed():
    history = setup.history()  # [2, 3, 7, 8]
    top_two = history[..., 1]
    assert (top_two[0, :, -1] > 0.7).all() and (top_two[0, :, 0] < 0.2).all()
    assert (top_two[1, :, -1] < 0.35).all()
    assert setup.ideal().shares[1] > 1 - 1e-9


def test_the_table_holds_every_cell_and_seed():
    for cell in meta_features.runs.cells:
        assert {row["seed"] for row in meta_features.best(**cell)} == set(meta_features.runs.seeds)
        for row in meta_features.runs.rows(**cell):
            assert sum(row["after"]["layers"]) == pytest.approx(1, abs=1e-3)


def test_the_reduced_experiment_describes_networks():
    rows = meta_features.measure([0, 1], "maml", 10, 0.01, (1e-3,), 2)
    network = MLP(hidden=(10, 10), seed=0).double()
    kernel = tangent_layers.layer_kernels(network, setup.GRID)
    assert [row["seed"] for row in rows] == [0, 1]
    assert rows[0]["before"]["layers"] == pytest.approx(tangent_layers.shares(kernel).tolist())
    assert rows[0]["before"]["shares"] == pytest.approx(setup.describe(kernel.sum(0)).shares[:8].tolist())


def test_a_small_step_moves_the_network_along_the_kernels_column():
    for way, iteration in (("maml", 0), ("maml", 70_000), ("plain", 1000)):
        data = tangent_kernel.compute(values(tangent_kernel, way=way, iteration=iteration, inner_lr=1e-4))
        gap = abs(data["moved"] - data["linear"])
        assert gap.mean() < 0.1 * abs(data["linear"]).mean()


def test_a_push_moves_mamls_network_and_hardly_the_random_one():
    moved = {}
    for iteration in (0, 70_000):
        data = tangent_kernel.demo(iteration=iteration).set().data
        moved[iteration] = data["moved"][abs(setup.X - data["x"]).argmin()]
    assert abs(moved[0]) < 0.1 and 0.6 < moved[70_000] < 1.6


def test_the_pushed_point_is_dragged_in_both_panels():
    demo = tangent_kernel.demo().set()
    assert touched(demo, 0, 0, (3.0, -2.0)) == {"x": -2.0} and touched(demo, 1, 0, (3.0, -2.0)) == {"x": 3.0}
    assert [handle.where(demo.data).tolist() for handle in demo.picture.show.handles] == [[[1.0, 1.0]], [[1.0, 1.0]]]


def test_linearised_and_real_agree_below_the_border_and_part_above():
    low, high = tangent_linearised.measure("maml", 0.001), tangent_linearised.measure("maml", 0.02)
    real, linear, flow = low.errors[:, 5].median(-1).values
    assert abs(linear / real - 1) < 0.2 and abs(flow / real - 1) < 0.2
    assert (high.border < 0.02).all()
    assert high.errors[1, 50].min() > 1e3 * high.errors[2, 50].max()


def test_principal_features_carry_the_task_after_meta_training_only():
    at = tangent_principal.RANKS.index
    maml, random = (tangent_principal.medians(start, 10) for start in ("maml", "random"))
    assert maml[at(3)] < 0.2 * random[at(3)] and maml[at(3)] < maml[-1]
    assert maml[at(10)] > 50 * maml[at(3)] and random[at(10)] > 50 * random[-1]  # r = S


def test_learned_weights_beat_equal_ones_and_come_near_the_spectrum():
    equal, learned, spectrum = (
        feature_weights.median_errors(kind, 100, 12, False)[-1] for kind in ("equal", "learned", "spectrum")
    )
    assert learned < 0.1 * equal and abs(learned / spectrum - 1) < 0.5
    by_rank = feature_weights.median_errors("equal", 100, 12, False)
    five, six, seven = (by_rank[feature_weights.RANKS.index(r)] for r in (5, 6, 7))
    assert five < 0.3 * equal and six > max(five, seven)  # the right five alone; a peak where 2 r = S
    assert feature_weights.median_errors("learned", 3, 12, False)[-1] < 0.1 * equal


def test_kept_weights_are_those_of_most_power():
    weights = feature_weights.kept("learned", 100, 4)
    assert (weights > 0).sum() == 4 and weights.argmax() == fourier.bump_spectrum(50).argmax()


@pytest.mark.parametrize("inner_lr", [0.05, 0.1])
def test_a_diverged_fit_is_still_drawn(inner_lr):
    assert tangent_linearised.demo().render(inner_lr=inner_lr, steps=50).startswith(b"\x89PNG")
