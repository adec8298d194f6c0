"""What notebook 07 says about results."""

from __future__ import annotations

from statistics import mean

import numpy as np
import torch

from course_lib.algorithms import ANIL, MAML, R2D2
from course_lib.algorithms.solvers import svm_head
from course_lib.analysis.memory import meta_gradient_bytes
from course_lib.chapters.closed_form import heads_gradient, heads_plane, heads_ridge, own_loop, solutions
from course_lib.chapters.closed_form.experiments import anil_and_maml, heads_and_shots, images, implicit_gradient
from course_lib.kit.claim import claim
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks

TRAINED = ("r2d2", "protonet", "metaoptnet", "maml", "union")


def last_error(draw: int, method: str, only: str | None = None) -> float:
    return anil_and_maml.row(draw, method, only)["errors"][-1]


@claim("On sinusoids ANIL's network ends more than half as far off again as MAML's")
def anil_trails(draw: int):
    """1,000 outer steps, rates by validation; median error on 150 new tasks after ten steps."""
    anil, maml = last_error(draw, "ANIL"), last_error(draw, "MAML")
    return anil > 1.5 * maml, {"anil": anil, "maml": maml, "ratio": anil / maml}


@claim("The head alone does not bring MAML's network on sinusoids to half of what all parameters reach")
def head_alone_falls_short(draw: int):
    """MAML's network after ten steps on the head, and on everything, each at its best rate."""
    head, everything = last_error(draw, "MAML", "head"), last_error(draw, "MAML")
    return head > 2 * everything, {"head": head, "everything": everything, "ratio": head / everything}


@claim("On MAML's network the body alone gets further than the head alone")
def body_gets_further(draw: int):
    """Ten steps on sinusoids, each at its best rate."""
    head, body = last_error(draw, "MAML", "head"), last_error(draw, "MAML", "body")
    return body < head, {"head": head, "body": body}


@claim("BOIL, whose head stays, ends between half and twice MAML's error")
def boil_keeps_up(draw: int):
    """Sinusoids, after ten steps on the body, rates by validation."""
    boil, maml = last_error(draw, "BOIL"), last_error(draw, "MAML")
    return 0.5 < boil / maml < 2, {"boil": boil, "ratio": boil / maml}


@claim("From five points on a solved head is ahead of ten steps of MAML and of ANIL")
def solved_is_ahead(draw: int):
    """R2D2 without a step against the better of the two, 5, 10 and 20 points, rates by validation for each."""
    rows = {method: anil_and_maml.row(draw, method)["by_shots"] for method in ("R2D2", "MAML", "ANIL")}
    ratio = {shots: min(rows["MAML"][shots], rows["ANIL"][shots]) / rows["R2D2"][shots] for shots in rows["R2D2"]}
    return min(ratio["5"], ratio["10"], ratio["20"]) > 1, {"five": ratio["5"], "ten": ratio["10"]}


@claim("With two points the solved head is behind MAML's ten steps")
def two_points_are_too_few(draw: int):
    """R2D2 without a step against ten steps of MAML, two points each."""
    solved, maml = (anil_and_maml.row(draw, method)["by_shots"]["2"] for method in ("R2D2", "MAML"))
    return solved > maml, {"solved": solved, "maml": maml}


@claim("On Omniglot the head alone brings MAML's network within two points of what everything reaches")
def head_alone_is_enough_on_images(draw: int):
    """Accuracy after five steps on 12 episodes, the shipped network, rates by validation."""
    head, everything = (image_row(draw, row)[5] for row in ("head", "MAML"))
    return abs(head - everything) < 2, {"head": head, "everything": everything, "gap": head - everything}


@claim("On Omniglot ANIL's network is within two points of MAML's")
def anil_is_level_on_images(draw: int):
    """Accuracy after five steps on 12 episodes, the shipped networks of 2,500 iterations each."""
    anil, maml = (image_row(draw, row)[5] for row in ("ANIL", "MAML"))
    return abs(anil - maml) < 2, {"anil": anil, "gap": anil - maml}


def image_row(draw: int, row: str) -> list[float]:
    return images.runs.of(draw, row=row)[0]["accuracy"]


@claim("One meta-gradient of ANIL keeps less than a fifth of MAML's bytes at k = 5, about as many as a ridge head's")
def the_shorter_list_remembers_less(draw: int):
    """Counted, 25 sinusoids of 10 + 10 points."""
    batch = SinusoidTasks(10, 10).sample(25, generator=torch.Generator().manual_seed(draw))
    maml, anil, ridge = (meta_gradient_bytes(of, MLP(seed=draw), batch) / 1e6 for of in (MAML(5), ANIL(5), R2D2()))
    return anil < maml / 5 and abs(anil - ridge) < ridge / 5, {"maml": maml, "anil": anil, "ridge": ridge}


@claim("Five steps of gradient descent leave more than half of the way to the ridge head")
def five_steps_are_not_enough(draw: int):
    """Five points of a new sinusoid, R2D2's body, lambda 0.01, rate 1 / largest curvature."""
    one = heads_ridge.solve("r2d2", 5, 0.01, 0.0, 100 + draw)
    needed = heads_ridge.AT[one["distance"] < 0.01]
    steps = float(needed[0]) if len(needed) else float(heads_ridge.DESCENT)
    return one["distance"][heads_ridge.ANIL_STEPS - 1] > 0.5, {"left": one["distance"][4], "steps": steps}


@claim("Without noise the smallest penalty is as good as any; with noise of 0.5 the best is in the middle")
def noise_wants_a_penalty(draw: int):
    """R2D2's body, five points, 100 tasks: the best lambda of a grid from 1e-4 to 1e3."""
    clean, noisy = (heads_ridge.errors("r2d2", 5, noise, seed=draw) for noise in (0.0, 0.5))
    best = [float(heads_ridge.LAMBDAS[curve.argmin()]) for curve in (clean, noisy)]
    held = clean[0] < 1.1 * clean.min() and noisy[0] > 1.5 * noisy.min() and 0.01 <= best[1] <= 10
    return held, {"clean": best[0], "noisy": best[1], "gain": noisy[0] / noisy.min()}


def best_penalty(points: int, noise: float, draw: int) -> float:
    return float(heads_ridge.LAMBDAS[heads_ridge.errors("r2d2", points, noise, seed=draw).argmin()])


@claim("The more noise, the larger the best penalty")
def more_noise_wants_more_penalty(draw: int):
    """R2D2's body, five points, 100 tasks; noise of 0.2, 0.5 and 1."""
    low, middle, high = (best_penalty(5, noise, draw) for noise in (0.2, 0.5, 1.0))
    return low < middle < high, {"low": low, "middle": middle, "high": high}


@claim("The more noisy points, the larger the best penalty")
def more_points_want_more_penalty(draw: int):
    """R2D2's body, noise 0.5, 100 tasks of three points and of twenty."""
    few, many = (best_penalty(points, 0.5, draw) for points in (3, 20))
    return few < many, {"few": few, "many": many}


@claim("After 300 outer steps the loop with a solved head is at less than half the loss of the stepped one")
def solving_pays_at_once(draw: int):
    """Notebook 02's own loop, k = 1 and k = 5, against lambda = 0.1; the median of the last 25 outer steps."""
    from_loop = lambda adapt: own_loop.end({"run": [*own_loop.train(adapt, draw)]}, "run")
    one, five = (from_loop(lambda m, p, x, y, k=k: step(m, p, x, y, k)) for k in (1, 5))
    solved = from_loop(lambda m, p, x, y: solutions.solved_head(m, p, x, y, 0.1))
    return solved < 0.5 * min(one, five), {"one": one, "five": five, "solved": solved}


def step(model: MLP, params: dict, x: torch.Tensor, y: torch.Tensor, steps: int) -> dict:
    """The inner loop of notebook 02 for one task."""
    stacked = {name: p[None] for name, p in params.items()}
    adapted = MAML(steps, own_loop.INNER_LR).adapt(model, x[None], y[None], stacked)
    return {name: p[0] for name, p in adapted.items()}


@claim("Autograd through the solved head agrees with finite differences to six digits or more, for all three heads")
def gradients_agree(draw: int):
    """A small body and a random direction, at the best of 28 steps h."""
    apart = {head: found[1].min() for head, found in heads_gradient.measured(draw, 0.1, 1.0).items()}
    return max(apart.values()) < 1e-6, apart


def on_the_margin(draw: int, C: float) -> tuple[torch.Tensor, ...]:
    """Fifteen drawings as features z [1, 15, 2], labels y [1, 15], the SVM's weight, and who is on the margin [15]."""
    points, _ = heads_plane.plane("r2d2", draw)
    z, y = points[:, :5].flatten(0, 1)[None], torch.arange(3).repeat_interleave(5)[None]
    weight, bias = svm_head(z, y, C, 3)
    near = heads_plane.margins(z @ weight.mT + bias[:, None], y)[0] < 1 + heads_plane.SUPPORT_VECTOR
    return z, y, weight, near


@claim("At most half of the fifteen drawings hold the SVM's boundary, and without the others it stays where it is")
def few_hold_the_margin(draw: int):
    """Drawn glyphs, R2D2's body, C = 1, five drawings of each of three characters."""
    z, y, weight, hold = on_the_margin(draw, C=1.0)
    alone, _ = svm_head(z[:, hold], y[:, hold], 1.0, 3)
    moved = float((weight - alone).abs().max())
    return int(hold.sum()) <= 7 and moved < 1e-6, {"hold": int(hold.sum()), "moved": moved}


@claim("At C = 0.01 every drawing is on the SVM's margin or inside")
def a_small_C_asks_all(draw: int):
    """The same drawings; the number: how many of fifteen."""
    *_, near = on_the_margin(draw, C=0.01)
    return bool(near.all()), {"near": int(near.sum())}


def heads_on(draw: int, body: str, shots: int) -> dict[str, float]:
    return heads_and_shots.runs.of(draw, body_name=body, shots=shots)[0]["accuracy"]


@claim("From an untrained body to the best one is more than five times as far as from head to head")
def the_body_matters_more(draw: int):
    """Omniglot, 15 episodes, one shot and ten: the gap between the best trained body and an untrained one, each under a
    ridge head, over the widest gap of two heads on R2D2's body; in points. "trained": the gap among trained bodies."""
    heads, bodies, trained = {}, {}, {}
    for shots in (1, 10):
        heads[shots] = float(np.ptp([heads_on(draw, "r2d2", shots)[h] for h in ("ridge", "svm", "means")]))
        ridge = {body: heads_on(draw, body, shots)["ridge"] for body in (*TRAINED, "untrained")}
        bodies[shots] = max(ridge[body] for body in TRAINED) - ridge["untrained"]
        trained[shots] = float(np.ptp([ridge[body] for body in TRAINED]))
    held = all(bodies[shots] > 5 * heads[shots] for shots in (1, 10))
    gaps = {"heads": heads, "bodies": bodies, "trained": trained}
    return held, {f"{of}_{word}": gap[shots] for of, gap in gaps.items() for shots, word in ((1, "one"), (10, "ten"))}


@claim("A ridge head on MAML's features is ahead of MAML's own step")
def mamls_body_is_better_than_maml(draw: int):
    """Omniglot, 15 episodes, mean over 1, 2, 3, 5 and 10 shots; MAML's rate by validation."""
    rows = [heads_on(draw, "maml", shots) for shots in heads_and_shots.SHOTS]
    gain = mean(row["ridge"] - row["MAML, everything"] for row in rows)
    return gain > 0, {"gain": gain}


@claim("After twenty inner steps the implicit meta-gradient has a cosine above 0.95 to the unrolled one")
def the_end_is_enough(draw: int):
    """Eight sinusoids, MAML's network, lambda 10, five steps of conjugate gradients."""
    full, first = (implicit_gradient.cosines("maml_k5", 20, cg, draw, (10.0,)).item() for cg in (5, 0))
    return full > 0.95, {"implicit": full, "first_order": first}


@claim("After one inner step the implicit meta-gradient is a worse guide than the first-order one")
def one_step_is_no_minimum(draw: int):
    """Eight sinusoids, MAML's network, lambda 1, five steps of conjugate gradients."""
    full, first = (implicit_gradient.cosines("maml_k5", 1, cg, draw, (1.0,)).item() for cg in (5, 0))
    return full < first, {"implicit": full, "first_order": first}


@claim("At lambda = 2 some task of eight ends at no minimum: its loss curves down by more than lambda")
def the_matrix_is_not_always_positive(draw: int):
    """Random weights, twenty inner steps; the lowest curvature at their end, by Lanczos."""
    lowest = float(implicit_gradient.unrolled("random", 20, draw, (2.0,))[2][0])
    return lowest < -2, {"curvature": lowest}
