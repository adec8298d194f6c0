"""What notebook 05 says, and how often it holds."""

from __future__ import annotations

import torch
from torch import nn

from course_lib.analysis.curvature import Curvature
from course_lib.chapters.features import (
    feature_reuse,
    feature_weights,
    setup,
    similarity,
    tangent_linearised,
    tangent_principal,
    tangent_width,
)
from course_lib.chapters.features.experiments import meta_features, reuse, tangent_training
from course_lib.inner_loop import stack_params, trajectory
from course_lib.kit.claim import claim
from course_lib.losses import mse
from course_lib.models import MLP
from course_lib.tasks.sinusoid import AMPLITUDE


def maml(draw: int) -> nn.Module:
    """One of MAML's networks of one inner step: three seeds after 10,000 iterations, and the checkpoint."""
    which = draw % 4
    return setup.network("maml", setup.FINAL) if which == 3 else setup.network("maml", 10_000, which)


def untrained(draw: int) -> nn.Module:
    return MLP(seed=draw).double()


# Is the head enough -----------------------------------------------------------------------------------------------


@claim("The body's change alone does what everything does; the head's change alone does nothing")
def the_bodys_change_does_it(draw: int):
    """Ten steps of 0.01 on everything, then one half put back: within half as much again, above 0.8 of before."""
    errors = feature_reuse.tune(maml(draw), draw, 10).errors.median(-1).values  # [3, 11]
    before, (everything, body, head) = errors[0, 0], errors[:, 10]
    numbers = {"before": before, "everything": everything, "body": body, "head": head}
    return body < 1.5 * everything and head > 0.8 * before, numbers


@claim("Twenty steps of MAML's own rate on the head alone leave more than half of the error")
def small_steps_fall_short(draw: int):
    """Median of 40 tasks, rate 0.01."""
    errors = feature_reuse.head_alone(maml(draw), 0.01, 20, draw).median(-1).values
    return errors[20] > 0.5 * errors[0], {"before": errors[0], "after": errors[20]}


def solved(network: nn.Module, draw: int) -> torch.Tensor:
    """Median held-out error of 40 ridge heads, penalty 0.001, on ten points each."""
    _, _, _, truth = feature_reuse.points(draw)
    return (feature_reuse.solved_head(network, 1e-3, draw) - truth).square().mean(-1).median()


@claim("The head can hold most of what the task needs: solved for, it leaves less than half of the error")
def the_head_holds_it(draw: int):
    """A ridge head on the body of MAML with k = 1, against the network before the inner loop."""
    before = feature_reuse.head_alone(maml(draw), 0.01, 0, draw)[0].median()
    error = solved(maml(draw), draw)
    return error < 0.5 * before, {"before": before, "after": error}


@claim("A head solved on MAML's features is clearly better than one on random features", draws=100)
def better_than_random_features(draw: int):
    """Three networks of MAML, 10,000 iterations, k = 1: below two thirds of the error on a random body."""
    here, random = solved(setup.network("maml", 10_000, draw % 3), draw), solved(untrained(draw), draw)
    return here < 2 / 3 * random, {"maml": here, "random": random}


@claim(
    "After 70,000 iterations a head solved on MAML's features is clearly better than one on random features", draws=100
)
def later_better_than_random_features(draw: int):
    """The checkpoint sinusoid/maml_k1: below two thirds of the error on a random body."""
    here, random = solved(feature_reuse.network_of("maml"), draw), solved(untrained(draw), draw)
    return here < 2 / 3 * random, {"maml": here, "random": random}


@claim("With a rate of 0.2 and a thousand steps the head alone gets there")
def large_steps_get_there(draw: int):
    """Below a quarter of the error before."""
    errors = feature_reuse.head_alone(maml(draw), 0.2, 1000, draw).median(-1).values
    return errors[1000] < 0.25 * errors[0], {"before": errors[0], "after": errors[1000]}


@claim("Trained with five inner steps, more of the work is the head's")
def five_steps_use_the_head(draw: int):
    """Error of the head alone against everything, 20 steps of 0.01: the ratio is smaller for k = 5 than for k = 1."""
    ratio = {}
    for start in ("maml", "maml_k5"):
        network = feature_reuse.network_of(start)
        everything = feature_reuse.tune(network, draw, 20).errors[0, 20].median()
        ratio[start] = feature_reuse.head_alone(network, 0.01, 20, draw)[20].median() / everything
    return ratio["maml_k5"] < ratio["maml"], {"one": ratio["maml"], "five": ratio["maml_k5"]}


def scores(checkpoint: str, draw: int) -> dict[str, float]:
    return {part: reuse.best(checkpoint, part, draw)[0]["score"] for part in reuse.PARTS}


@claim("On characters the head alone is as good as everything")
def the_head_is_enough_on_characters(draw: int):
    """MAML's network for Omniglot on drawn glyphs, 5 ways, 1 shot: within two points of accuracy."""
    score = scores("omniglot/maml", draw)
    return abs(score["head"] - score["everything"]) < 2, score


@claim("On Omniglot the head alone is a few points behind everything")
def the_head_is_behind_on_omniglot(draw: int):
    """MAML's network of the paper's recipe on Omniglot itself, 5 ways, 1 shot: less than five points of accuracy."""
    score = scores("papers/maml_5way1shot", draw)
    behind = score["everything"] - score["head"]
    return 0 < behind < 5, score | {"behind": behind}


@claim("On sinusoids the head alone leaves more than twice the error of everything")
def the_head_is_not_enough_on_sinusoids(draw: int):
    """sinusoid/maml_k1, both at their best rate and number of steps up to 300."""
    score = scores("sinusoid/maml_k1", draw)
    return score["head"] > 2 * score["everything"], score | {"ratio": score["head"] / score["everything"]}


@claim("Similarity is not reuse: a random network, which hardly learns, has the higher CKA")
def similarity_is_not_reuse(draw: int):
    """Mean linear CKA of the last-layer features before and after ten steps of 0.01, over 40 tasks; above 0.7.

    ``left`` is the part of its median error that the random network still has after them: more than a half.
    """
    seen = {"maml": similarity.see(maml(draw), draw), "random": similarity.see(untrained(draw), draw)}
    mean = {name: of.cka[10].mean() for name, of in seen.items()}
    errors = seen["random"].errors.median(-1).values  # [21]
    left = errors[10] / errors[0]
    return mean["random"] > mean["maml"] > 0.7 and left > 0.5, mean | {"left": left}


# Tangent features -------------------------------------------------------------------------------------------------


def trained(draw: int, way: str = "maml", width: int = 40, inner_lr: float = 0.01) -> dict:
    """The row of ``meta_features`` of this seed, at the cell's best outer rate."""
    return meta_features.best(draw, way=way, width=width, inner_lr=inner_lr)[0]


@claim("Before it adapts, MAML's network draws about the mean curve of the family")
def it_starts_at_the_mean_curve(draw: int):
    """Its mean squared distance from -1.62 cos x, in parts of that curve's own mean square: below a twentieth."""
    mean = -sum(AMPLITUDE) / torch.pi * setup.GRID.cos()  # E A = sum / 2, and E sin(x - phase) = -2 / pi cos x
    off = (maml(draw)(setup.GRID).detach() - mean).square().mean() / mean.square().mean()
    return off < 0.05, {"off": off}


def push(network: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean of K(x, x) over x, and that of K(x, x + pi) in parts of it."""
    kernel = tangent_width.layer_kernels(network, setup.GRID).sum(0)
    half_period = ((setup.GRID - setup.GRID.T).abs() - torch.pi).abs() < 0.03
    height = kernel.diagonal().mean()
    return height, kernel[half_period].mean() / height


@claim("A push at one point pulls down the points half a period away, less than the family would")
def the_trough_is_shallow(draw: int):
    """The mean of K(x, x + pi) over x, in parts of that of K(x, x): below zero and above -1, the family's own."""
    depth = -push(maml(draw))[1]
    return 0 < depth < 1, {"depth": depth}


@claim("Random weights answer a push with a fifth of MAML's answer or less, and lift the points half a period away")
def random_weights_hardly_answer(draw: int):
    """ "times": the mean of K(x, x) over MAML's; "lift": that of K(x, x + pi) in parts of it, at random weights."""
    height, lift = push(untrained(draw))
    times = height / push(maml(draw))[0]
    return times < 0.2 and lift > 0, {"times": times, "lift": lift}


@claim("After 300 iterations of MAML a push still moves the output near the ends four times as far as in the middle")
def the_ends_learn_first(draw: int):
    """The mean of K(x, x) about |x| = 4 over that about 0, after 300 iterations and, "before", at random weights."""
    snapshots = tangent_training.train("maml", [draw], (0, 300))
    heights = [tangent_width.layer_kernels(one.double(), setup.GRID).sum(0).diagonal() for (one,) in snapshots]
    at = lambda height, place: height[(setup.GRID[:, 0].abs() - place).abs() < 0.3].mean()
    before, after = (at(height, 4) / at(height, 0) for height in heights)
    return after > 4, {"before": before, "after": after}


@claim("Meta-training turns the tangent kernel towards the family's own, ordinary training hardly")
def the_kernel_turns(draw: int):
    """Alignment: MAML's is above twice ordinary training's and three times that of random weights."""
    after, plain = trained(draw), trained(draw, "plain", inner_lr=0.0)
    found = {"maml": after["after"]["aligned"], "plain": plain["after"]["aligned"]}
    found["random"] = after["before"]["aligned"]
    return found["maml"] > max(2 * found["plain"], 3 * found["random"]), found


@claim("After meta-training the first layer holds most of the tangent features' length")
def the_first_layer_takes_over(draw: int):
    """Its share is above one half after, and below a twentieth before."""
    row = trained(draw)
    before, after = row["before"]["layers"], row["after"]["layers"]
    return before[0] < 0.05 and after[0] > 0.5, {"before": before[0], "after": after[0], "head": after[2]}


@claim("The wider a random network, the nearer its linearisation stays")
def wider_is_more_linear(draw: int):
    """50 steps, half the border, median of four networks and eight tasks: width 160 below half of width 20."""
    gap = {f"w{width}": tangent_width.median_gap(width, 50, 4 * draw) for width in (20, 160)}
    return gap["w160"] < 0.5 * gap["w20"], gap


@claim("Width alone puts no wave on top")
def width_is_not_enough(draw: int):
    """The top two eigenfunctions of a random network of width 320 hold less than a fifth of the family's energy."""
    share = tangent_width.tune(320, draw).top_two
    return share < 0.2, {"share": share}


@claim("It takes four or five eigenfunctions of a random network to hold half of the sinusoids' energy")
def the_wave_comes_fourth(draw: int):
    """Random weights, width 40: the first three hold less than half, the first five more."""
    kernel = tangent_width.layer_kernels(untrained(draw), setup.GRID).sum(0)
    shares = setup.describe(kernel).shares
    return shares[2] < 0.5 < shares[4], {"three": shares[2], "five": shares[4]}


@claim("MAML puts the waves on top of the tangent kernel, ordinary training does not")
def maml_lifts_the_waves(draw: int):
    """Share of the family's energy in the top two: above twice ordinary training's and four times that before."""
    after, plain = trained(draw), trained(draw, "plain", inner_lr=0.0)
    found = {"maml": after["after"]["shares"][1], "plain": plain["after"]["shares"][1]}
    found["random"] = after["before"]["shares"][1]
    return found["maml"] > max(2 * found["plain"], 4 * found["random"]), found


@claim("Narrow or wide, MAML puts the waves on top")
def at_every_width(draw: int):
    """The top two hold more than half of the energy at widths 20, 40 and 80."""
    shares = {f"w{width}": trained(draw, width=width)["after"]["shares"][1] for width in meta_features.WIDTHS}
    return min(share for name, share in shares.items() if name != "w10") > 0.5, shares


@claim("alpha lambda_1 is about the same for inner rates ten times apart")
def the_rate_sets_the_eigenvalue(draw: int):
    """alpha lambda_1 lies in 0.3 to 1 for the rates 0.003, 0.01 and 0.03."""
    found = {}
    for rate in meta_features.INNER_LRS:
        found[f"at_{rate:g}".replace(".", "_")] = rate * trained(draw, inner_lr=rate)["after"]["values"][0]
    return all(0.3 < product < 1 for product in found.values()), found


# Fine-tuning, linearised ------------------------------------------------------------------------------------------


@claim("At a small rate linearised and real network agree for ten steps, and part by fifty")
def agree_then_part(draw: int):
    """Rate 0.001, medians of 50 tasks: within a quarter for ten steps; at 50 the real one is below 0.8 of it."""
    real, linear, _ = tangent_linearised.fine_tune(maml(draw), 0.001, draw).errors.median(-1).values  # [51] each
    gap = (linear[:11] / real[:11] - 1).abs().max()
    return gap < 0.25 and real[50] < 0.8 * linear[50], {"gap": gap, "real": real[50], "linear": linear[50]}


@claim("At MAML's own rate the linearised network diverges on the tasks above the border, and the real one does not")
def beyond_the_border(draw: int):
    """Rate 0.01, 50 steps: the linearised mean error is above 100, the real network's median below gradient flow's."""
    measured = tangent_linearised.fine_tune(maml(draw), 0.01, draw)
    real, linear, flow = measured.errors[:, 50]
    over = (measured.border < 0.01).double().mean()
    numbers = {"over": over, "linear": linear.median(), "flow": flow.median(), "real": real.median()}
    return linear.mean() > 100 and real.median() < flow.median(), numbers


@claim("On most tasks that begin above the border the real network's curvature falls until they are below it")
def the_real_border_moves_away(draw: int):
    """alpha lambda_max at 0.01, medians of those tasks before and after 50 steps; "below": how many of them, in %."""
    network, (batch, _) = maml(draw), setup.test_tasks(50, 10, draw)
    x, y = batch.support_x, batch.support_y
    start, *_, end = trajectory(network, stack_params(network, 50), x, y, loss_fn=mse, steps=50, lr=0.01)
    before, after = (0.01 * Curvature(network, at, x, y, mse).extreme_eigenvalues(10)[1] for at in (start, end))
    above = before > 2
    below = 100 * (after[above] < 2).double().mean()
    return below > 85, {"before": before[above].median(), "after": after[above].median(), "below": below}


# Overparameterised ------------------------------------------------------------------------------------------------


def by_rank(network: nn.Module, draw: int, points: int = 10) -> dict[int, float]:
    at = tangent_principal.principal(network, draw)
    return dict(zip(tangent_principal.RANKS, tangent_principal.median_errors(at, points, draw).tolist()))


@claim("As many features as points is the worst choice")
def as_many_as_points(draw: int):
    """Of all r, the shortest fit of ten points is worst with 9 to 12 principal features."""
    errors = by_rank(maml(draw), draw)
    worst = max(errors, key=errors.get)
    return 9 <= worst <= 12, {"worst": worst, "error": errors[worst]}


@claim("Three of MAML's principal features carry the task better than all of them do")
def three_are_better_than_all(draw: int):
    """The shortest fit of ten points."""
    errors = by_rank(maml(draw), draw)
    best = min(errors, key=errors.get)
    return errors[3] < errors[200], {"three": errors[3], "all": errors[200], "best": best}


@claim("Three of MAML's principal features carry the task, three of a random network's do not")
def three_carry_the_task(draw: int):
    """The shortest fit of ten points: a third of the error at most."""
    here, random = by_rank(maml(draw), draw)[3], by_rank(untrained(draw), draw)[3]
    return here < random / 3, {"maml": here, "random": random}


@claim("With all features allowed and few points, MAML's are ahead of those of ordinary training")
def few_points_want_mamls_features(draw: int):
    """The shortest fit of four points in the whole tangent kernel; the errors with ten points beside it."""
    found = {}
    for name, network in (("maml", maml(draw)), ("plain", setup.network("plain", setup.FINAL))):
        for word, points in (("four", 4), ("ten", 10)):
            found[f"{name}_{word}"] = by_rank(network, draw, points)[tangent_principal.RANKS[-1]]
    return found["maml_four"] < found["plain_four"], found


@claim("Learnt weights make a hundred features harmless; equal ones alias")
def weights_cure_aliasing(draw: int):
    """12 exact points: the expected error, in parts of predicting zero, is above 0.8 with equal weights, below 0.1."""
    equal, learnt = (feature_weights.median_errors(kind, 100, 12, False, draw)[-1] for kind in ("equal", "learned"))
    return equal > 0.8 and learnt < 0.1, {"equal": equal, "learnt": learnt}


@claim("Three training tasks weight the features nearly as well as a thousand")
def three_tasks_suffice(draw: int):
    """Within a half of the error."""
    three, many = (feature_weights.median_errors("learned", n, 12, False, draw)[-1] for n in (3, 1000))
    return three < 1.5 * many, {"three": three, "many": many}


@claim("Few-shot tasks alone teach the weights, in closed form or by the gradient through the solve")
def few_shot_tasks_teach_the_weights(draw: int):
    """1,000 noisy tasks of 24 points: both expected errors are below twice that with the family's own spectrum."""
    error = feature_weights.few_shot_errors(draw)
    return max(error["closed"], error["gradient"]) < 2 * error["spectrum"], error
