"""What notebook 02 says, and in how many draws it holds."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from course_lib.algorithms import MAML
from course_lib.chapters.two_loops import dropped, landscape, stepper, unrolled_loop, wrong_loops
from course_lib.chapters.two_loops.experiments import judges, small_rates, training_tasks
from course_lib.kit import two_parameters as plane
from course_lib.kit.claim import claim
from course_lib.kit.many_seeds import errors, train, tuned
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks

# ---- the plane


@claim("FOMAML's and Reptile's arrows lie between those of the union of tasks and of MAML")
def arrows_fan_out(draw: int):
    """k = 3, alpha = 0.2, the stepper's start, three tasks; "angle" is that between MAML and the union, in degrees."""
    ways = stepper.directions(plane.START, 3, 0.2, 0, draw)
    at = {method: math.atan2(*way[::-1]) for method, way in ways.items()}
    turned = lambda method: (at[method] - at["union"] + math.pi) % (2 * math.pi) - math.pi  # from the union's
    most = turned("maml")
    between = all(0 < turned(method) / most < 1 for method in ("fomaml", "reptile"))
    return between, {"angle": math.degrees(abs(most))}


def ends(draw: int, steps: int, inner_lr: float) -> tuple[dict[str, float], dict[str, np.ndarray], float]:
    """Where forty outer steps of each method end: F_k there, the place, and the lowest F_k of the plane's grid."""
    *_, (paths, losses) = landscape.descents(plane.START, steps, inner_lr, 0.3, draw)
    found = {method: float(along[-1]) for method, along in losses.items()}
    low = min(float(landscape.landscape(steps, inner_lr, draw).min()), *found.values())
    return found, {method: path[-1] for method, path in paths.items()}, low


@claim("At k = 1 MAML ends at the lowest point of the landscape")
def maml_reaches_the_bottom(draw: int):
    """alpha = 0.2, beta = 0.3, twelve tasks; held if F_1 there is within 1 % of the lowest; "above" in per cent."""
    losses, _, low = ends(draw, 1, 0.2)
    above = 100 * (losses["maml"] / low - 1)
    return above < 1, {"above": above}


@claim("At k = 1 none of the other three methods ends within 5 % of the lowest point")
def others_stop_elsewhere(draw: int):
    """As above; how far above the lowest point each ends, in per cent."""
    losses, _, low = ends(draw, 1, 0.2)
    above = {method: 100 * (losses[method] / low - 1) for method in ("fomaml", "reptile", "union")}
    return min(above.values()) > 5, above


@claim("At k = 1 MAML's wave is taller than that of the union of tasks")
def maml_prefers_a_taller_wave(draw: int):
    """As above; "times": MAML's amplitude over the union's."""
    _, places, _ = ends(draw, 1, 0.2)
    times = places["maml"][1] / places["union"][1]
    return times > 1, {"times": times}


@claim("At k = 5 and alpha = 0.3 MAML is caught on its way")
def maml_is_caught(draw: int):
    """From the same start; what each method ends at, in multiples of the lowest point. Held if MAML is 5 % above it."""
    losses, _, low = ends(draw, 5, 0.3)
    times = {method: loss / low for method, loss in losses.items()}
    return times["maml"] > 1.05, times


@claim("Nor does it arrive with ten times as many outer steps")
def maml_stays_caught(draw: int):
    """Four hundred instead of forty; held if MAML is still 5 % above the lowest point; "times": at what multiple."""
    _, places, low = ends(draw, 5, 0.3)
    theta = torch.from_numpy(places["maml"])
    for _ in range(9 * landscape.OUTER_STEPS):
        theta = theta - 0.3 * plane.direction("maml", plane.wave(*theta.tolist()), landscape.tasks(draw), 5, 0.3)
    found = landscape.query_loss(theta[None], 5, 0.3, draw).item()
    times = found / min(low, found)
    return times > 1.05, {"times": times}


@claim("At k = 5 and alpha = 0.3 Reptile ends lowest of the four")
def reptile_ends_lowest(draw: int):
    """As above; held too where another is as low to a thousandth."""
    losses, _, _ = ends(draw, 5, 0.3)
    return losses["reptile"] < 1.001 * min(losses.values()), {}


@claim("At k = 5 and alpha = 0.3 MAML ends highest of the four")
def maml_ends_highest(draw: int):
    """As above."""
    losses, _, _ = ends(draw, 5, 0.3)
    return losses["maml"] == max(losses.values()), {}


@claim("With more inner steps the valley widens")
def valley_widens(draw: int):
    """Share of the plane with a query loss under 0.5, in per cent, at alpha = 0.2; held if each step k adds to it."""
    shares = [100 * float((landscape.landscape(k, 0.2, draw) < 0.5).mean()) for k in range(6)]
    return all(fewer < more for fewer, more in zip(shares, shares[1:])), {"one": shares[1], "five": shares[5]}


@claim("From a tall wave MAML's arrow is shorter than the union's")
def tall_waves_leave_less(draw: int):
    """At theta = (1.5, 2.5), k = 3, alpha = 0.2, three tasks; "times": MAML's length over the union's."""
    ways = stepper.directions((1.5, 2.5), 3, 0.2, 0, draw)
    times = float(np.hypot(*ways["maml"]) / np.hypot(*ways["union"]))
    return times < 1, {"times": times}


# ---- the network


@claim("Trained with 300 outer steps, one inner step more than halves the error")
def one_step_halves(draw: int):
    """MAML, k = 1, alpha = 0.01, Adam 0.01, ten tasks a step; mean error of 200 new tasks after 0, 1 and 10 steps."""
    *_, (_, _, (network,)) = train(MAML(1, 0.01), SinusoidTasks(10, 10), [draw], 0.01, [300])
    none, one, ten = errors(network, [0, 1, 10], 200).mean(1).tolist()
    return one < none / 2, {"none": none, "one": one, "ten": ten}


@claim("A tenth of alpha does not catch up within 5,000 outer steps")
def small_alpha_stays_behind(draw: int):
    """Loss of the last fifty outer steps after 300 and 5,000 ("late"), and of the larger alpha ("base_...")."""
    base, small = alphas(draw)
    at = lambda row, step: row["losses"][step // small_rates.EVERY - 1]
    numbers = {"early": at(small, 300), "late": at(small, 5000)}
    numbers |= {"base_early": at(base, 300), "base_late": at(base, 5000)}
    return numbers["late"] > numbers["base_late"], numbers


@claim("Trained with a tenth of alpha, a network's gradients become longer")
def small_alpha_longer_gradients(draw: int):
    """Times the support gradient of a hundred tasks has grown in 5,000 outer steps; "usual": at the larger alpha."""
    usual, small = (row["gradient"][1] / row["gradient"][0] for row in alphas(draw))
    return small > usual, {"small": small, "usual": usual}


def alphas(seed: int) -> list[dict]:
    """The rows of alpha = 0.01 and 0.001, both at beta = 0.01."""
    return [row for rate in (0.01, 0.001) for row in small_rates.runs.of(seed, inner_lr=rate, outer_lr=0.01)]


def judged(seed: int, shots: int) -> dict[str, dict]:
    """The tuned row of each judge: {"query": ..., "support": ...}."""
    chosen = {row["judge"]: row["outer_lr"] for row in tuned(judges.runs.rows(shots=shots), "judge")}
    rows = [judges.runs.of(seed, shots=shots, judge=judge, outer_lr=rate) for judge, rate in chosen.items()]
    return {row["judge"]: row for (row,) in rows}


def held_out_ahead(seed: int, shots: int) -> tuple[bool, dict[str, float]]:
    rows = judged(seed, shots)
    numbers = {judge: row["test"] for judge, row in rows.items()} | {"claimed": rows["support"]["claimed"]}
    return numbers["query"] < numbers["support"], numbers


@claim("With 3 shots the network whose judge is held out does better on new tasks")
def held_out_at_3_shots(draw: int):
    """Errors after one step on new tasks; "claimed": what the other one's training loss says. Rates chosen for each."""
    return held_out_ahead(draw, 3)


@claim("With 5 shots too")
def held_out_at_5_shots(draw: int):
    """As above."""
    return held_out_ahead(draw, 5)


@claim("With 10 shots too")
def held_out_at_10_shots(draw: int):
    """As above."""
    return held_out_ahead(draw, 10)


@claim("With 20 shots too")
def held_out_at_20_shots(draw: int):
    """As above."""
    return held_out_ahead(draw, 20)


def by_number(seed: int, points: str) -> dict[int, dict]:
    """The tuned row for each number of training tasks whose points are "new" or the "same" at every visit."""
    table = training_tasks.runs.rows(points=points) + (training_tasks.runs.rows(tasks=0) if points == "same" else [])
    rates = {row["tasks"]: row["outer_lr"] for row in tuned(table, "tasks")}
    rows = [
        training_tasks.runs.of(seed, tasks=count, points=points if count else "new", outer_lr=rate)
        for count, rate in rates.items()
    ]
    return {row["tasks"]: row for (row,) in rows}


@claim("A hundred training tasks do nearly as well as a new one every time")
def a_hundred_suffice(draw: int):
    """Mean error of new tasks after one step; curves of which every visit draws new points. Held within a fifth."""
    found = {f"with_{count or 'any'}": row["test"][1] for count, row in by_number(draw, "new").items()}
    return found["with_100"] < 1.2 * found["with_any"], found


@claim("So do a hundred data sets of 10 + 10 points that never change")
def a_hundred_data_sets_suffice(draw: int):
    """As above."""
    found = {f"with_{count or 'any'}": row["test"][1] for count, row in by_number(draw, "same").items()}
    return found["with_100"] < 1.2 * found["with_any"], found


@claim("Ten such data sets are learnt by heart")
def ten_are_learnt_by_heart(draw: int):
    """Errors after one step of new tasks and of the ten training tasks; held if the first is over three times the
    second."""
    row = by_number(draw, "same")[10]
    return row["test"][1] > 3 * row["training"], {"new": row["test"][1], "training": row["training"]}


# ---- the unrolled loop


def way_back(start: str, inner_lr: float, draw: int) -> Tensor:
    return unrolled_loop.backward(start, 4, inner_lr, draw)[0]  # [5, P]


@claim("From random weights the gradient arrives shorter than it left")
def gradient_arrives_shorter(draw: int):
    """Four steps of rate 0.03; "times" is its length at theta_0 over that at theta_4, "cosine" that between the two."""
    v = way_back("random", 0.03, draw)
    times, cosine = float(v[0].norm() / v[-1].norm()), torch.cosine_similarity(v[0], v[-1], 0).item()
    return times < 1, {"times": times, "cosine": cosine}


@claim("At a rate of 0.01 FOMAML's direction is nearly right from random weights")
def small_rate_is_nearly_first_order(draw: int):
    """Four steps; held if the cosine is above 0.9."""
    v = way_back("random", 0.01, draw)
    cosine = torch.cosine_similarity(v[0], v[-1], 0).item()
    return cosine > 0.9, {"cosine": cosine}


@claim("From MAML's weights the gradient arrives longer than it left")
def gradient_grows_from_maml(draw: int):
    """Four steps of rate 0.03; "times" as above."""
    v = way_back("maml", 0.03, draw)
    times = float(v[0].norm() / v[-1].norm())
    return times > 1, {"times": times}


@claim("Of what FOMAML drops, first derivatives of the network are the larger part")
def first_derivatives_matter(draw: int):
    """From MAML's weights, k = 5, alpha = 0.01: how far from the exact meta-gradient (in its lengths) one is with first
    derivatives alone ("first"), second alone ("second"), neither ("none")."""
    values = dropped.demo().start | {"new_task": draw}
    missed = dropped.compute(SimpleNamespace(**values))["missed"]
    first, second, none = missed
    return first < second, {"first": first, "second": second, "none": none}


@claim("So it is from random weights")
def first_derivatives_matter_at_random(draw: int):
    """The same at random weights."""
    values = dropped.demo().start | {"new_task": draw, "start": "random"}
    first, second, none = dropped.compute(SimpleNamespace(**values))["missed"]
    return first < second, {"first": first, "second": second, "none": none}


@claim("From random weights one step's FOMAML has nearly the right direction")
def one_step_is_nearly_first_order(draw: int):
    """k = 1, alpha = 0.01; held if the cosine is above 0.9; "missed" as "none" above."""
    values = dropped.demo().start | {"new_task": draw, "start": "random", "steps": 1}
    found = dropped.compute(SimpleNamespace(**values))
    return found["cosines"][-1] > 0.9, {"cosine": found["cosines"][-1], "missed": found["missed"][-1]}


# ---- wrong loops


def one_jacobian(model: MLP, batch, steps: int, inner_lr: float) -> dict[str, Tensor]:
    """Loop four of the notebook: differentiated through the last inner step alone."""
    total = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for task in batch:
        before = MAML(steps - 1, inner_lr).adapt(model, task.support_x, task.support_y)
        here = MLP().double()
        here.load_state_dict({name: p[0].detach() for name, p in before.items()})
        for name, grad in MAML(1, inner_lr).meta_gradient(here, task)[0].items():
            total[name] += grad / batch.num_tasks
    return total


@claim("One Jacobian where the product belongs: hardly off at k = 2 and alpha = 0.01")
def one_jacobian_hides(draw: int):
    """Random weights, ten tasks; held if the cosine with the right one is above 0.95. "far": at k = 5, alpha = 0.1."""
    near, far = (wrong_loops.measure(one_jacobian, *how, seed=draw)[1] for how in ((2, 0.01), (5, 0.1)))
    return near > 0.95, {"near": near, "far": far}


@claim("Without create_graph the direction is hardly off at k = 1 and alpha = 0.01")
def missing_graph_hides(draw: int):
    """Held if the cosine with the right meta-gradient is above 0.95; "far" is the cosine at k = 5, alpha = 0.1."""
    loop = lambda model, batch, steps, inner_lr: MAML(steps, inner_lr, second_order=False).meta_gradient(model, batch)[
        0
    ]
    near, far = (wrong_loops.measure(loop, *how, seed=draw)[1] for how in ((1, 0.01), (5, 0.1)))
    return near > 0.95, {"near": near, "far": far}
