"""The demos of notebook 05 at every corner, and what their pictures must show, in numbers."""

from types import SimpleNamespace

import pytest
import torch

from course_lib.chapters.features import (
    feature_reuse,
    feature_weights,
    fourier,
    setup,
    tangent_eigenfunctions,
    tangent_kernel,
    tangent_linearised,
    tangent_principal,
)
from course_lib.chapters.features.experiments import tangent_rates, tangent_training
from course_lib.kit.demo import check
from course_lib.kit.touch import touched
from course_lib.tasks import SinusoidTasks
from course_lib.tasks.sinusoid import sinusoid

DEMOS = [
    feature_reuse,
    tangent_kernel,
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
    curves = sinusoid(
        setup.GRID.expand(4000, -1, -1), info["amplitude"].double(), info["phase"].double()
    )
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
    again = tangent_training.train((0, 30), progress=False)
    for name, p in tangent_training.load().items():
        torch.testing.assert_close(again[name], p[:2], rtol=1e-3, atol=1e-4)


def test_unknown_snapshots_are_named():
    for wrong in (("fomaml", 0, 0), ("maml", 5, 0), ("maml", 0, 9), ("maml", tangent_training.FINAL, 1)):
        with pytest.raises(ValueError, match="must be one of"):
            tangent_training.network(*wrong)


# What the pictures show


def test_the_bodys_change_alone_does_it_and_the_heads_alone_does_nothing():
    after = feature_reuse.measure("maml").errors[:, 10].median(-1).values
    before = feature_reuse.measure("maml").errors[0, 0].median()
    assert after[1] < 1.5 * after[0] < 0.1 * before and after[2] > 0.8 * before
    assert feature_reuse.measure("maml").reuse[10].mean() > 0.75


def test_energy_rises_to_the_top_with_meta_training_for_every_seed():
    history = setup.history()  # [2, 3, 7, 8]
    top_two = history[..., 1]
    assert (top_two[0, :, -1] > 0.7).all() and (top_two[0, :, 0] < 0.2).all()
    assert (top_two[1, :, -1] < 0.35).all()
    assert setup.ideal().shares[1] > 1 - 1e-9


def test_eigenvalues_follow_the_inner_rate():
    rows = tangent_rates.load()
    assert len(rows) == 9 and all(0.45 < row["inner_lr"] * row["eigenvalues"][0] < 0.8 for row in rows)


def test_the_rates_can_be_measured_again():
    rows = tangent_rates.measure((0.01, 0.03), (0,), iterations=3, progress=False)
    assert [row["inner_lr"] for row in rows] == [0.01, 0.03] and rows[0]["eigenvalues"][0] > rows[0][
        "eigenvalues"
    ][1]


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
