"""What notebook 04 says, and how often it holds."""

from __future__ import annotations

import torch

from course_lib.chapters.task_heads import head_gradients, task_visits, wave
from course_lib.chapters.task_heads.experiments import training_heads
from course_lib.chapters.task_heads.experiments.training_heads import STOPS
from course_lib.kit.claim import claim

# The wave ---------------------------------------------------------------------------------------------------------

WAVE_RATE = 0.06


def wave_arrivals(draw: int, steps: int = 1, num_tasks: int = 12) -> dict[str, float]:
    """The outer step from which each kind's phase stays within 0.2 of home; 101 if it does not."""
    phases = wave.train(steps, WAVE_RATE, num_tasks, draw).phases
    return dict(zip(wave.HEADS, wave.arrivals(phases).tolist()))


@claim("Half of the fresh amplitudes push the phase the wrong way")
def half_the_wrong_way(draw: int):
    """600 waves, k = 1, before the first update: the share of tasks that push away from home is 0.4 to 0.6."""
    trained = wave.train(1, WAVE_RATE, 600, draw)
    _, ways = wave.pushes(trained, 0, 1, WAVE_RATE, draw)
    share = wave.wrong_way(ways, trained.phases[0])[0]
    return 0.4 < share < 0.6, {"share": share}


@claim("Stored amplitudes learn their signs: after seven visits fewer push the phase the wrong way than fresh ones")
def stored_signs(draw: int):
    """12 waves, four a meta-batch, k = 1: the shares after 20 outer steps."""
    trained = wave.train(1, WAVE_RATE, 12, draw)
    _, ways = wave.pushes(trained, 20, 1, WAVE_RATE, draw)
    fresh, stored, _ = wave.wrong_way(ways, trained.phases[20])
    return stored < fresh, {"fresh": fresh, "stored": stored}


@claim("Stored amplitudes bring the phase home before fresh ones do")
def stored_waves_first(draw: int):
    """12 waves, k = 1."""
    home = wave_arrivals(draw)
    return home["stored"] < home["random"], home


@claim("With twenty inner steps fresh amplitudes are as quick as stored ones")
def many_steps_are_enough(draw: int):
    """12 waves, k = 20: home within five outer steps of each other."""
    home = wave_arrivals(draw, steps=20)
    return abs(home["random"] - home["stored"]) <= 5, home


@claim("Where waves seldom return, stored amplitudes bring the phase home before fresh ones do", draws=100)
def seldom_waves(draw: int):
    """600 waves, k = 1: less than one visit each in 100 outer steps."""
    home = wave_arrivals(draw, num_tasks=600)
    return home["stored"] < home["random"], home


# Which head trains the best body ----------------------------------------------------------------------------------


def errors(draw: int, iteration: int, num_tasks: int = 50, steps: int = 1, **options) -> dict[str, float]:
    """Each kind's error at a stop, for the seed ``draw``, {"random", "stored", "meta"}; where it diverged, 10."""
    at, curves = STOPS.index(iteration), training_heads.curves(num_tasks, steps, draw, **options)
    return {
        name.replace("written back", "stored"): row[0, at].nan_to_num(nan=10.0).item() for name, row in curves.items()
    }


@claim("With 50 tasks and k = 1 stored heads train the best body")
def stored_heads_win(draw: int):
    """After 1,600 iterations, each kind at its best outer rate, each body at its best penalty."""
    found = errors(draw, 1600)
    return found["stored"] < min(found["random"], found["meta"]), found


@claim("With 50 tasks and k = 1 stored heads are ahead after 100 iterations already", draws=40)
def stored_heads_win_early(draw: int):
    """As before; the judge's penalty is chosen for each body."""
    found = errors(draw, 100)
    return found["stored"] < min(found["random"], found["meta"]), found


@claim("Random heads make a body worse before they make it better")
def random_heads_harm_first(draw: int):
    """50 tasks, k = 1: the error after 200 iterations is above that of the untrained body."""
    before, after = errors(draw, 0)["random"], errors(draw, 200)["random"]
    return after > before, {"before": before, "after": after}


@claim("Stored heads lead whatever the judge's penalty")
def stored_heads_win_at_every_penalty(draw: int):
    """50 tasks, k = 1, 1,600 iterations, each of the five penalties; ``ratio`` is the closest, to the next best."""
    ratios = []
    for penalty in training_heads.PENALTIES:
        found = errors(draw, 1600, penalty=penalty)
        ratios.append(found["stored"] / min(found["random"], found["meta"]))
    return max(ratios) < 1, {"ratio": max(ratios)}


@claim("The judge's penalty decides between random and meta-learned: at 10 the random heads' body is ahead")
def the_judge_decides(draw: int):
    """50 tasks, k = 1, 1,600 iterations: meta-learned ahead at the best penalty, behind at 10."""
    best, strict = errors(draw, 1600), errors(draw, 1600, penalty=10.0)
    held = best["meta"] < best["random"] and strict["meta"] > strict["random"]
    return held, {"meta": strict["meta"], "random": strict["random"]}


@claim("The meta-learned head's body has the shorter features")
def meta_features_are_short(draw: int):
    """50 tasks, k = 1, 1,600 iterations: the root mean square length on [-5, 5] is below 0.6 of random heads' body."""
    found = training_heads.curves(50, 1, draw, number="length")  # {head: [1, stops]}
    length = {head: found[head][0, -1].item() for head in ("meta", "random")}
    return length["meta"] < 0.6 * length["random"], length


@claim("Where tasks seldom return, stored heads do not train a better body than the meta-learned one")
def seldom_tasks(draw: int):
    """5,000 tasks, 3.2 visits each in 1,600 iterations, k = 1."""
    found = errors(draw, 1600, num_tasks=5000)
    return found["stored"] > found["meta"], found


def slow_and_fast(draw: int, num_tasks: int) -> dict[str, float]:
    """Error of the body that stored heads train in 1,600 iterations, k = 1, at the outer rates 0.003 and 0.01."""
    rates = {"slow": 3e-3, "fast": 1e-2}
    return {name: errors(draw, 1600, num_tasks=num_tasks, outer_lr=rate)["stored"] for name, rate in rates.items()}


@claim("A fast body suits stored heads that are soon visited again")
def a_fast_body_suits_returning_heads(draw: int):
    """50 tasks: the outer rate 0.01 leaves a smaller error than 0.003."""
    found = slow_and_fast(draw, 50)
    return found["fast"] < found["slow"], found


@claim("Where heads wait long, a fast body is the worse one")
def waiting_heads_go_stale(draw: int):
    """5,000 tasks: the outer rate 0.01 leaves a larger error than 0.003."""
    found = slow_and_fast(draw, 5000)
    return found["fast"] > found["slow"], found


@claim("With five inner steps stored heads still train the best body")
def stored_heads_win_with_five_steps(draw: int):
    """50 tasks, k = 5, 1,600 iterations."""
    found = errors(draw, 1600, steps=5)
    return found["stored"] < min(found["random"], found["meta"]), found


@claim("Five inner steps make the random heads' body better")
def five_steps_help_random_heads(draw: int):
    """50 tasks, 1,600 iterations, against k = 1."""
    one, five = errors(draw, 1600)["random"], errors(draw, 1600, steps=5)["random"]
    return five < one, {"one": one, "five": five}


@claim("What training sees is a tenth of the others' loss, because each stored head knows its own task")
def training_sees_the_heads(draw: int):
    """50 tasks, k = 1, the query loss of the last 100 iterations: below a tenth of both others'."""
    found = errors(draw, 1600, number="training_loss")
    return found["stored"] < 0.1 * min(found["random"], found["meta"]), found


# The first reason -------------------------------------------------------------------------------------------------


def visit_errors(draw: int, body: str = "maml", steps: int = 5, rate: float = 0.1, penalty: float = 0.1):
    """Mean held-out error of 60 tasks at each of 30 visits, {kind: [30]}."""
    found = task_visits.learn(body, 10, steps, rate, draw) | task_visits.solved(body, 10, draw, penalty)
    return {name: found[name].mean(1).numpy() for name in task_visits.HEADS}


@claim("After a handful of visits the stored head is better than a ridge head on one visit's points")
def remembering_beats_solving(draw: int):
    """Five steps a visit at rate 0.1, ten points, ridge penalty 0.1: for good from a visit up to the eighth."""
    of = visit_errors(draw)
    first = task_visits.overtakes(of)
    return first <= 8, {"visit": first, "fresh": of["fresh"][9], "stored": of["kept"][9]}


@claim("At its best penalty, a ridge head on one visit's points is overtaken by the stored head all the same")
def remembering_beats_the_best_ridge(draw: int):
    """As before; the penalty with the lowest mean error. For good from some visit up to the thirtieth."""
    best = min((visit_errors(draw, penalty=p) for p in task_visits.PENALTIES), key=lambda of: of["solved_visit"].mean())
    first = task_visits.overtakes(best)
    return first <= task_visits.VISITS, {"visit": first, "ridge": best["solved_visit"].mean()}


@claim("A fresh head learns nothing from visit to visit")
def fresh_stays_flat(draw: int):
    """The mean of its last five visits is within a tenth of that of its first five."""
    fresh = visit_errors(draw)["fresh"]
    ratio = fresh[-5:].mean() / fresh[:5].mean()
    return abs(ratio - 1) < 0.1, {"ratio": ratio}


@claim("Twenty steps bring a fresh head nearer to the ridge head, and not past it")
def twenty_steps_fall_short(draw: int):
    """Mean over the 30 visits, ridge penalty 0.1."""
    five, twenty = visit_errors(draw), visit_errors(draw, steps=20)
    mean, ridge = twenty["fresh"].mean(), five["solved_visit"].mean()
    return ridge < mean < five["fresh"].mean(), {"five": five["fresh"].mean(), "twenty": mean, "ridge": ridge}


@claim("On random features the order at the last visit is the same")
def same_order_on_random_features(draw: int):
    """Ridge on all points, stored, ridge on this visit's, fresh; the random body, penalty 0.1."""
    of = visit_errors(draw, body="random")
    ends = [of["solved_all"][-1], of["kept"][-1], of["solved_visit"].mean(), of["fresh"][-1]]
    return ends == sorted(ends), {"stored": ends[1], "fresh": ends[3]}


# The second reason ------------------------------------------------------------------------------------------------


def directions(draw: int, body: str = "meta", iteration: int = 0) -> dict[str, torch.Tensor]:
    """Cosines with the fitted heads' gradients at VISITS; the seed of the body and of the tasks is ``draw``."""
    return head_gradients.cosines(body, iteration, 10, 5, 0.01, draw, seed=draw)


@claim("Under a fresh head the body's gradient has nothing in common with that under a fitted one")
def fresh_heads_point_nowhere(draw: int):
    """Untrained bodies, 40 tasks, after five steps at rate 0.01: the mean cosine is within 0.1 of zero."""
    fresh = directions(draw)["fresh"][-1]
    return abs(fresh.mean()) < 0.1, {"cosine": fresh.mean(), "away": (fresh < 0).double().mean()}


@claim("A stored head gains a direction with the visits")
def stored_heads_gain_direction(draw: int):
    """Untrained bodies: the mean cosine after 100 visits is above 0.3, and above that after ten and one."""
    found = directions(draw)["kept"].mean(1)  # at 1, 2, 3, 5, 10, 20, 50, 100
    one, ten, hundred = found[0], found[4], found[7]
    return hundred > max(0.3, ten) and ten > one, {"one": one, "ten": ten, "hundred": hundred}


@claim("Averaged over tasks, the stored heads' gradients agree with the fitted ones better than task by task")
def averaging_helps(draw: int):
    """Untrained bodies, after 100 visits."""
    found = directions(draw)
    alone, together = found["kept"][-1].mean(), found["kept_mean"][-1]
    return together > alone, {"alone": alone, "together": together, "fresh": found["fresh_mean"][-1]}


@claim("On a body that stored heads have trained, a new stored head gains less direction")
def trained_bodies_are_harder(draw: int):
    """After 400 iterations on 50 tasks with stored heads, against the untrained body; 100 visits."""
    before, after = (directions(draw, "written back", i)["kept"][-1].mean() for i in (0, 400))
    return after < before, {"before": before, "after": after}
