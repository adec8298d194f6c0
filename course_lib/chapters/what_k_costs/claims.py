"""What notebook 03 says, and in how many draws it holds."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from course_lib import checkpoints
from course_lib.analysis.curvature import Curvature
from course_lib.chapters.what_k_costs import clipped_training, k_border, k_clipping
from course_lib.chapters.what_k_costs.experiments import climbing, train_k_test_k
from course_lib.chapters.what_k_costs.experiments.train_k_test_k import TEST_STEPS, TRAIN_STEPS
from course_lib.inner_loop import predict, stack_params, trajectory
from course_lib.kit.claim import claim
from course_lib.kit.many_seeds import tuned
from course_lib.losses import mse
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks
from course_lib.tasks.sinusoid import ZERO_PREDICTOR_MSE

RATES = torch.tensor(k_border.RATES)

# ---- where the meta-gradient explodes


def growth(problem: str, draw: int) -> tuple[torch.Tensor, float]:
    """Norms relative to k = 0 [A, K], infinite where they overflowed, and the border."""
    found = k_border.landscape(problem, draw)
    return (found.norms / found.norms[:, :1]).nan_to_num(torch.inf, torch.inf), found.border


def calm_to(problem: str, draw: int) -> float:
    """The last rate before the first one whose meta-gradient grows tenfold within 50 steps, in units of the border."""
    times, border = growth(problem, draw)
    wild = RATES[(times >= 10).any(1)]
    return (RATES[RATES < wild.min()].max() / border).item()


@claim("On the wave the meta-gradient explodes beyond the border")
def wave_explodes(draw: int):
    """Held if it has grown tenfold by k = 50 at every rate beyond the border; "calm": up to where it is, in borders.

    "first_order": times the first-order part has grown at the first rate beyond the border.
    """
    times, border = growth("wave", draw)
    first_order = k_border.landscape("wave", draw).first_order_norms[RATES > border][0]
    numbers = {"calm": calm_to("wave", draw), "first_order": (first_order[-1] / first_order[0]).item()}
    return bool((times[RATES > border, -1] > 10).all()), numbers


@claim("Below the border the wave's meta-gradient vanishes")
def wave_vanishes(draw: int):
    """alpha = 0.1, k = 50; held if it is under a tenth of its norm at k = 0, "times"."""
    times = growth("wave", draw)[0][k_border.RATES.index(0.1), -1].item()
    return times < 0.1, {"times": times}


@claim("Where the head alone adapts the border is exact", draws=100)
def head_is_exact(draw: int):
    """Held if no meta-gradient below it has grown by k = 50, and every one 1.2 times beyond it a million times."""
    times, border = growth("head", draw)
    below, beyond = times[RATES < border, -1].max().item(), times[RATES > 1.2 * border, -1].min().item()
    return below < 1 and beyond > 1e6, {"below": below}


@claim("A whole network is calm at a quarter of the border")
def quarter_is_calm(draw: int):
    """From random weights, five tasks; held if nothing has grown by a twentieth within 20 steps. "calm" as above."""
    times, border = growth("random", draw)
    soon = times[RATES < border / 4][:, : k_border.STEPS.index(20) + 1]
    return soon.max().item() < 1.05, {"calm": calm_to("random", draw)}


@claim("Far beyond the border every whole network's meta-gradient explodes")
def far_beyond_explodes(draw: int):
    """From random weights, five tasks; held if it grows tenfold within 50 steps at every rate beyond thrice the border.

    "calm": the last rate at which it does not, in borders.
    """
    times, border = growth("random", draw)
    calm = (RATES[(times < 10).all(1)].max() / border).item()
    return calm < 3, {"calm": calm}


@claim("At random weights the loss curves downward too")
def negative_curvature(draw: int):
    """The lowest eigenvalue of five tasks' Hessians; held if all are negative. "share": its size beside the largest."""
    batch = SinusoidTasks().sample(5, generator=torch.Generator().manual_seed(draw))
    here = Curvature(MLP(seed=draw), stack_params(MLP(seed=draw), 5), batch.support_x, batch.support_y, mse)
    lowest, highest = here.extreme_eigenvalues()
    return bool((lowest < 0).all()), {"share": (-lowest / highest).median().item()}


@claim("The curvature grows on the way")
def curvature_grows(draw: int):
    """Twenty steps at half the border of the steepest of five tasks, random weights; "times": the last by the first."""
    batch = SinusoidTasks().sample(5, generator=torch.Generator().manual_seed(draw))
    model = MLP(seed=draw)
    at = lambda params: Curvature(model, params, batch.support_x, batch.support_y, mse).extreme_eigenvalues(12)[1].max()
    start = stack_params(model, 5)
    first = at(start)
    *_, end = trajectory(model, start, batch.support_x, batch.support_y, loss_fn=mse, steps=20, lr=1 / first.item())
    times = (at(end) / first).item()
    return times > 1, {"times": times}


# ---- climbing to the border


def climbed(seed: int, inner_lr: float, iteration: int) -> float:
    (row,) = climbing.runs.of(seed, inner_lr=inner_lr, iteration=iteration)
    return row["quartiles"][1]


@claim("MAML's curvature climbs toward the border as it trains")
def maml_climbs(draw: int):
    """alpha lambda_max of the median task after 0, 250, 1,000 and 10,000 outer steps at 0.01; held if it rises."""
    numbers = {f"after_{step}": climbed(draw, 0.01, step) for step in (0, 250, 1000, 10_000)}
    values = list(numbers.values())
    return values == sorted(values), numbers


@claim("At other inner rates it climbs as high")
def other_rates_climb(draw: int):
    """At alpha = 0.005 and 0.02 after 10,000 outer steps; held if both lie between 1.2 and 2.4. "never": the network
    that never adapts, counted at 0.01."""
    numbers = {"half": climbed(draw, 0.005, 10_000), "double": climbed(draw, 0.02, 10_000)}
    held = all(1.2 < value < 2.4 for value in numbers.values())
    return held, numbers | {"never": climbed(draw, 0.0, 10_000)}


@lru_cache(maxsize=4)
def few_points(draw: int, num_tasks: int = 600) -> dict[str, torch.Tensor]:
    """Fine-tuning shipped MAML on tasks of five points: which blow up, which go beyond twice the border early."""
    network, generator = checkpoints.load("sinusoid/maml_k1")[0], torch.Generator().manual_seed(draw)
    batch = SinusoidTasks(shots=5, queries=50).sample(num_tasks, generator=generator)
    start, options = stack_params(network, num_tasks), {"loss_fn": mse, "steps": 10, "lr": 0.01}
    errors, steep = [], []
    for k, params in enumerate(trajectory(network, start, batch.support_x, batch.support_y, **options)):
        errors.append(mse(predict(network, params, batch.query_x), batch.query_y).detach())
        if k <= 3:
            here = Curvature(network, params, batch.support_x, batch.support_y, mse)
            steep.append(0.01 * here.extreme_eigenvalues(8)[1])
    wild = ~(torch.stack(errors).nan_to_num(torch.inf).amax(0) < 20)  # [T] an error no sinusoid deserves
    return {"wild": wild, "first": steep[0], "far": torch.stack(steep[1:]).amax(0) > 4}


@claim("Tasks that blow up went beyond twice the border within three steps")
def wild_ones_went_far(draw: int):
    """Of 600 tasks of five points: "beyond" the border at the start (per cent), "far" beyond twice it, "wild" ones."""
    found = few_points(draw)
    numbers = {name: float(found[name].sum()) for name in ("far", "wild")}
    return bool(found["far"][found["wild"]].all()), numbers | {
        "beyond": 100 * (found["first"] > 2).float().mean().item()
    }


# ---- clipping


def at_22(draw: int) -> dict[str, float]:
    """Share of the longest gradient and the cosines at alpha = 0.022, k = 2, from MAML's weights."""
    found = k_clipping.directions("maml", 2, 10.0, draw)
    return {name: found[name][k_clipping.RATES.index(0.022)].item() for name in ("share", "mean", "each")}


@claim("Beyond the border the meta-gradient points against its first-order part")
def mean_is_turned(draw: int):
    """Twenty tasks, alpha = 0.022, k = 2, MAML's weights; held if the cosine, "mean", is negative."""
    found = at_22(draw)
    return found["mean"] < 0, {"mean": found["mean"]}


@claim("One task is more than half of the sum")
def one_task_owns_it(draw: int):
    """As above; "share" of the longest gradient in the sum of lengths, in per cent."""
    share = 100 * at_22(draw)["share"]
    return share > 50, {"share": share}


@claim("Clipping each task points better than clipping the mean")
def clip_each(draw: int):
    """As above, clipped to 10; "gain" in the cosine."""
    found = at_22(draw)
    return found["each"] > found["mean"], {"each": found["each"], "gain": found["each"] - found["mean"]}


def clipping(inner_lr: float, max_norm: float | None, seed: int) -> np.ndarray:
    """All losses of a training of the demo."""
    return clipped_training.training(inner_lr, max_norm, seed).upto(clipped_training.ITERATIONS)


@claim("Beyond the border a training dies without clipping")
def dies_without_clipping(draw: int):
    """alpha = 0.1, k = 5, 120 updates; "updates" made until the gradient is no number."""
    updates = len(clipping(0.1, None, draw))
    return updates < clipped_training.ITERATIONS, {"updates": updates}


@claim("Clipped, it lives")
def lives_clipped(draw: int):
    """As above, clipped to 10."""
    updates = len(clipping(0.1, 10.0, draw))
    return updates == clipped_training.ITERATIONS, {"updates": updates}


@claim("The clipped training ends worse than predicting zero")
def clipped_is_worse_than_zero(draw: int):
    """Mean of the last twenty losses, clipped at alpha = 0.1 ("loss") and at alpha = 0.01 ("calm")."""
    last = lambda *how: float(clipped_training.smooth(clipping(*how, draw))[-1])
    loss = last(0.1, 10.0)
    return loss > ZERO_PREDICTOR_MSE, {"loss": loss, "calm": last(0.01, None)}


# ---- choosing k


def curves(seed: int, budget: str, outer_lr: float | None = None) -> dict[int, dict]:
    """The row of each training k at one outer rate, or at the one that suits it."""
    table = train_k_test_k.runs.rows(budget=budget)
    rates = {row["train_steps"]: outer_lr or row["outer_lr"] for row in tuned(table, "train_steps")}
    rows = [train_k_test_k.runs.of(seed, budget=budget, train_steps=k, outer_lr=rates[k]) for k in TRAIN_STEPS]
    return {row["train_steps"]: row for (row,) in rows}


def best_k(rows: dict[int, dict], test_steps: int) -> int:
    return min(rows, key=lambda k: rows[k]["median"][TEST_STEPS.index(test_steps)])


@claim("At an outer rate of 0.001 one or two training steps look best, for any number of test steps from one on")
def few_steps_look_best(draw: int):
    """The same compute; median errors of new tasks. The numbers: after ten steps, trained with one and with ten."""
    rows, at = curves(draw, "compute", 1e-3), TEST_STEPS.index(10)
    numbers = {"one": rows[1]["median"][at], "ten": rows[10]["median"][at]}
    return all(best_k(rows, steps) in (1, 2) for steps in TEST_STEPS[1:]), numbers


@claim("At one test step no training k above 2 is needed")
def one_test_step(draw: int):
    """The same compute, each k at the outer rate that suits it; errors after one step, trained with 1 and 10."""
    rows = curves(draw, "compute")
    best = best_k(rows, 1)
    return best <= 2, {"best": best, "one": rows[1]["median"][1], "ten": rows[10]["median"][1]}


@claim("With its own outer rate two training steps beat one, at ten test steps")
def two_beat_one(draw: int):
    """The same compute, each k at the outer rate that suits it; errors after ten test steps."""
    rows = curves(draw, "compute")
    numbers = {f"trained_{k}": row["median"][TEST_STEPS.index(10)] for k, row in rows.items()}
    return numbers["trained_2"] < numbers["trained_1"], numbers | {"best": best_k(rows, 10)}


@claim("So they do at fifty test steps")
def two_beat_one_at_fifty(draw: int):
    """As above."""
    one, two = (curves(draw, "compute")[k]["median"][TEST_STEPS.index(50)] for k in (1, 2))
    return two < one, {"one": one, "two": two}


@claim("Ten training steps are worse than two, at any number of test steps from one on")
def ten_are_too_many(draw: int):
    """The same compute, each k at the outer rate that suits it; "times": k = 10 over k = 2 after ten test steps."""
    two, ten = (curves(draw, "compute")[k]["median"] for k in (2, 10))
    return all(t > o for t, o in zip(ten[1:], two[1:])), {"times": ten[5] / two[5]}


@claim("With the same number of updates instead, three or more are best for ten test steps")
def more_with_updates(draw: int):
    """Each k at the outer rate that suits it; "best" is the training k with the lowest error after ten test steps."""
    best = best_k(curves(draw, "iterations"), 10)
    return best >= 3, {"best": best}


@claim("Trained with ten inner steps at an outer rate of 0.01, a network does not explode")
def ten_steps_survive(draw: int):
    """The same number of updates; held if the median error of new tasks after ten steps is below 10, "error"."""
    error = curves(draw, "iterations", 1e-2)[10]["median"][TEST_STEPS.index(10)]
    return error < 10, {"error": error}


@claim("More steps at test time help every network that was trained with any")
def more_test_steps_help(draw: int):
    """At the best outer rate for each k from 1, the same compute; held if fifty steps beat k itself for each."""
    rows = curves(draw, "compute")
    at = lambda k, steps: rows[k]["median"][TEST_STEPS.index(steps)]
    return all(at(k, 50) < at(k, k) for k in TRAIN_STEPS[1:]), {"one": at(1, 1), "fifty": at(1, 50)}


@claim("Training without an inner loop is far behind, at any test-time rate tried")
def no_inner_loop_is_behind(draw: int):
    """k = 0 at the best of three test-time rates against k = 1 at 0.01, ten test steps; held if twice the error."""
    rows, at = curves(draw, "compute"), TEST_STEPS.index(10)
    none, one = rows[0]["other"]["median"][at], rows[1]["median"][at]
    return none > 2 * one, {"none": none, "one": one}
