"""What notebook 08 says about results, with the odds (see ``kit.claim``)."""

from __future__ import annotations

import random

import numpy as np

from course_lib.chapters.reptile import directions, race, reptile_plane, reptile_wave, variants
from course_lib.chapters.reptile.experiments import loops
from course_lib.chapters.reptile.experiments import race as table
from course_lib.chapters.reptile.experiments.race import JUDGES, PARTS
from course_lib.kit.claim import claim
from course_lib.kit.experiment import DIVERGED, counted
from course_lib.models import MLP

# The wave --------------------------------------------------------------------------------------------------------


def at_rest(draw: int, steps: int) -> np.ndarray:
    return np.array(reptile_wave.rest(steps, 0.1, draw))


@claim("With a hundred inner steps Reptile rests in the middle of the tasks' solutions")
def rests_in_the_middle(draw):
    """Four waves, alpha = 0.1, from the plane's start; within 0.05 of the mean of the stars, in phase and amplitude."""
    middle = reptile_wave.stars(draw).mean(0)
    gaps = {k: float(np.linalg.norm(at_rest(draw, k) - middle)) for k in (1, 20, 100)}
    return gaps[100] < 0.05, {"one": gaps[1], "twenty": gaps[20], "hundred": gaps[100]}


@claim("Where it does not, an inner loop has ended at the mirror image of its solution")
def a_mirror_image_is_why(draw):
    """Either it rests in the middle, or some loop ends more than 1 from its star and yet with next to no loss."""
    middle, rest = reptile_wave.stars(draw).mean(0), at_rest(draw, 100)
    ends = reptile_wave.inner_loops(rest, 100, 0.1, draw)[-1]  # [T, 2]
    far = np.linalg.norm(ends - reptile_wave.stars(draw), axis=1) > 1
    mirrored = far & (ends[:, 1] < 0)  # amplitude below zero, half a period away
    return np.linalg.norm(rest - middle) < 0.05 or bool(mirrored.any()), {"mirrored": float(mirrored.sum())}


@claim("Joint training's wave is lower than the middle of the tasks' waves")
def joint_training_is_lower(draw):
    """Its amplitude at rest, k = 1, against the mean amplitude of the four tasks."""
    low, middle = abs(at_rest(draw, 1)[1]), reptile_wave.stars(draw).mean(0)[1]
    return low < middle, {"joint": low, "middle": middle, "ratio": low / middle}


# Three lines -----------------------------------------------------------------------------------------------------


@claim("For MAML the steep task weighs most at k = 1, and the flat one more than it at k = 10")
def maml_heeds_the_flat_task(draw):
    """Weights of squared distances, alpha from 0.05 to 0.2; "turns": the first k where flat outweighs steep."""
    rate = random.Random(draw).uniform(0.05, 0.2)
    steep, _, flat = zip(*(reptile_plane.maml_weights(k, rate) for k in range(1, 30)))
    turns = next(k for k, (one, other) in enumerate(zip(steep, flat), start=1) if one < other)
    return steep[0] == max(reptile_plane.maml_weights(1, rate)) and steep[9] < flat[9], {"turns": turns}


@claim("With a hundred inner steps Reptile rests at the point nearest to all lines")
def nearest_to_all_lines(draw):
    """alpha = 0.2: within 0.05 of the least sum of squared distances; joint training's distance beside it."""
    place = lambda weights: reptile_plane.rest(weights, draw)
    nearest = place(np.ones(3))
    gap = float(np.linalg.norm(place(reptile_plane.reptile_weights(100, 0.2)) - nearest))
    joint = float(np.linalg.norm(place(reptile_plane.reptile_weights(1, 0.2)) - nearest))
    return gap < 0.05, {"gap": gap, "joint": joint}


# Two terms of theory ---------------------------------------------------------------------------------------------


def measured(which: str, draw: int, steps: int, inner_lr: float) -> directions.Directions:
    """A network drawn from ``draw`` (or Reptile's) on minibatches of five tasks drawn from it."""
    x, y = directions.minibatches(draw, 5)
    return directions.measure(directions.network(which, draw), x[:, :steps], y[:, :steps], inner_lr)


@claim("At a small rate real gradients give theory's coefficients back")
def coefficients_come_out(draw):
    """A random tanh network, k = 5, alpha = 0.00003: -8, -4 and -2 within 1 %."""
    found = measured("tanh", draw, 5, 3e-5)
    fits = {m: found.fitted(m)[1] for m in ("maml", "fomaml", "reptile")}
    return all(abs(fit / directions.coefficient(m, 5) - 1) < 0.01 for m, fit in fits.items()), fits


@claim("FOMAML is nearest to MAML, then Reptile, then joint training")
def the_order_of_directions(draw):
    """Cosines with MAML's direction, random ReLU network, k = 5, alpha = 0.003."""
    found = measured("random", draw, 5, 3e-3)
    fomaml, reptile, joint = (found.cosine(m, "maml") for m in ("fomaml", "reptile", "joint"))
    return fomaml > reptile > joint, {"fomaml": fomaml, "reptile": reptile, "joint": joint}


@claim("The order holds at MAML's rate too")
def the_order_at_mamls_rate(draw):
    """As before at alpha = 0.01."""
    found = measured("random", draw, 5, 1e-2)
    fomaml, reptile, joint = (found.cosine(m, "maml") for m in ("fomaml", "reptile", "joint"))
    return fomaml > reptile > joint, {"fomaml": fomaml, "reptile": reptile, "joint": joint}


@claim("Around Reptile's trained weights theory misses most of the direction")
def theory_ends_at_trained_weights(draw):
    """The shipped network, new tasks, k = 5, alpha = 0.01, half of what training used: over half of its length."""
    missed = measured("reptile", draw, 5, 1e-2).missed("reptile")
    return missed > 0.5, {"missed": 100 * missed}


def slope(which: str, draw: int) -> float:
    """Of what theory misses of Reptile's direction, on logarithmic axes from alpha = 0.0001 to 0.001, k = 5."""
    low, high = (measured(which, draw, 5, rate).missed("reptile") for rate in (1e-4, 1e-3))
    return float(np.log10(high / low))


@claim("On a smooth network what theory misses falls with the square of the rate")
def of_second_order_where_smooth(draw):
    """A random tanh network: a slope within 0.2 of 2."""
    found = slope("tanh", draw)
    return abs(found - 2) < 0.2, {"slope": found}


@claim("On a ReLU network it falls more slowly")
def slower_with_kinks(draw):
    """A random ReLU network: a slope below 1.6."""
    found = slope("random", draw)
    return found < 1.6, {"slope": found}


@claim("While alpha (k - 1) lambda_max is below a twentieth theory misses less than a tenth")
def a_rule_of_thumb(draw):
    """MAML's direction, the hardest; k = 3 and 8; three networks, lambda_max the mean over tasks."""
    missed = []
    for which in directions.NETWORKS:
        model, (x, y) = directions.network(which, draw), directions.minibatches(draw, 5)
        sharp = directions.sharpness(model, x, y)
        for k in (3, 8):
            missed.append(directions.measure(model, x[:, :k], y[:, :k], 0.05 / (k - 1) / sharp).missed("maml"))
    return max(missed) < 0.1, {"worst": 100 * max(missed)}


@claim("With ten points much of a gradient's squared length is noise of the particular points")
def much_of_it_is_noise(draw):
    """E g1.g2 / E |g|^2 of two sets of points of a task, random weights: less than 0.75 with ten, more with twenty."""
    model = MLP(seed=draw)
    shares = {n: table.agreement(model, draw, 200, n) for n in (2, 10, 20)}
    return shares[10] < 0.75 and shares[2] < shares[10] < shares[20], {f"of_{n}": share for n, share in shares.items()}


# Inside the loop, and outside ------------------------------------------------------------------------------------


def loop_end(draw: int, line: str, outer_lr: float = 0.0, test_steps: int = 10) -> float:
    """A line's error when training ends, at the outer (unless given) and test rate that validation chooses."""
    outer_lr = outer_lr or variants.best_rate(line, test_steps)
    index = variants.judge(line, outer_lr, test_steps)
    (row,) = (r for r in loops.runs.of(draw, line=line, outer_lr=outer_lr) if r["part"] == PARTS[-1])
    return counted(row["error"][index])


@claim("Minibatches beat all points at every step, at half the work")
def minibatches_beat_all_points(draw):
    """Ten of a task's 20 points a step against all 20, each at its best rates, ten steps at test time."""
    small, all_20 = loop_end(draw, "minibatches"), loop_end(draw, "all_20")
    return small < all_20, {"minibatches": small, "all_20": all_20}


@claim("Minibatches beat the same ten points at every step")
def minibatches_beat_the_same_points(draw):
    """The same work, each at its best rates."""
    small, same = loop_end(draw, "minibatches"), loop_end(draw, "same_10")
    return small < same, {"minibatches": small, "same": same}


@claim("One step on all points, joint training, ends far behind")
def joint_training_is_far_behind(draw):
    """At least three times the error of minibatches, each at its best rates."""
    joint, small = loop_end(draw, "joint"), loop_end(draw, "minibatches")
    return joint > 3 * small, {"joint": joint, "ratio": joint / small}


@claim("With one task an iteration a falling outer rate beats a constant one, each at its best height")
def a_falling_rate_wins(draw):
    """epsilon of 0.1, 0.3 or 1 at its highest, chosen on validation tasks for each."""
    falling, constant = loop_end(draw, "falling"), loop_end(draw, "constant")
    return falling < constant, {"falling": falling, "constant": constant}


@claim("With one task an iteration a falling outer rate beats a constant one where both begin at 1")
def a_falling_rate_wins_from_one(draw):
    """epsilon from 1 to 0 in a straight line against 1 all the time."""
    falling, constant = loop_end(draw, "falling", 1.0), loop_end(draw, "constant", 1.0)
    return falling < constant, {"falling": falling, "constant": constant}


# The race --------------------------------------------------------------------------------------------------------


def race_end(draw: int, method: str, outer_lr: float = race.BEST, test_steps: int = 10) -> float:
    """A method's error when the time is up, at the outer (or the one given) and test rate that validation chooses."""
    outer_lr, test_lr = race.chosen(method, outer_lr, test_steps)
    (row,) = (r for r in table.runs.of(draw, method=method, outer_lr=outer_lr) if r["part"] == PARTS[-1])
    return counted(row["error"][JUDGES.index((test_steps, test_lr))])


def three(draw: int, outer_lr: float = race.BEST, test_steps: int = 10) -> dict[str, float]:
    return {m: race_end(draw, m, outer_lr, test_steps) for m in race.NAMES}


def published_end(draw: int, test_steps: int = 10) -> float:
    """As ``race_end``, of Reptile with the outer loop of its paper: epsilon from 1 to 0."""
    _, test_lr = race.chosen(race.PUBLISHED, 1.0, test_steps)
    (row,) = (r for r in table.runs.of(draw, method=race.PUBLISHED) if r["part"] == PARTS[-1])
    return counted(row["error"][JUDGES.index((test_steps, test_lr))])


@claim("Reptile as published is ahead of MAML and FOMAML at the outer rate 0.001")
def ahead_at_0_001(draw):
    """k = 5, the same time of training, ten steps at test time; epsilon from 1 to 0 against Adam at 0.001."""
    own, at = published_end(draw), three(draw, 1e-3)
    return own < min(at["maml"], at["fomaml"]), {"published": own, "maml": at["maml"], "fomaml": at["fomaml"]}


@claim("Each at its best outer rate MAML is ahead of Reptile")
def maml_ahead_of_reptile(draw):
    """The same time, Adam for both, outer and test rates chosen on validation tasks; ten steps at test time."""
    at = three(draw)
    return at["maml"] < at["reptile"], {"maml": at["maml"], "reptile": at["reptile"]}


@claim("Each at its best outer rate MAML is ahead of FOMAML")
def maml_ahead_of_fomaml(draw):
    """As before."""
    at = three(draw)
    return at["maml"] < at["fomaml"], {"maml": at["maml"], "fomaml": at["fomaml"]}


@claim("Each at its best outer rate Reptile is ahead of FOMAML")
def reptile_ahead_of_fomaml(draw):
    """As before: neither differentiates the outer loss through the inner loop."""
    at = three(draw)
    return at["reptile"] < at["fomaml"], {"reptile": at["reptile"], "fomaml": at["fomaml"]}


@claim("After one step at test time Reptile is ahead of MAML")
def reptile_ahead_after_one_step(draw):
    """As before, one step, rates chosen for that."""
    at = three(draw, test_steps=1)
    return at["reptile"] < at["maml"], {"maml": at["maml"], "reptile": at["reptile"]}


@claim("At its best outer rate MAML's training comes through")
def maml_comes_through(draw):
    """It has not diverged when the time is up: no number is NaN, infinite or beyond 100."""
    error = race_end(draw, "maml")
    return error < DIVERGED, {"error": error}


@claim("At its best outer rate Reptile's training comes through")
def reptile_comes_through(draw):
    """As before, of Reptile."""
    error = race_end(draw, "reptile")
    return error < DIVERGED, {"error": error}


@claim("Reptile's moves descended by Adam end lower than its published outer loop")
def adam_beats_interpolation(draw):
    """The same inner loops and time; Adam at its best rate against epsilon from 1 to 0."""
    best, own = race_end(draw, "reptile"), published_end(draw)
    return best < own, {"adam": best, "published": own}


@claim("An iteration of MAML takes longer than one of Reptile, by half or more")
def an_iteration_of_maml_takes_longer(draw):
    """CPU time on this machine, k = 5, the least of several blocks in turn; the draw is the day."""
    each = table.seconds_each()
    return each["maml"] > 1.5 * each["reptile"], {
        "maml": each["maml"] / each["reptile"],
        "fomaml": each["maml"] / each["fomaml"],
    }
