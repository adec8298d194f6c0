"""What notebook 06 says about results, with the odds (see ``kit.claim``)."""

from __future__ import annotations

import random

import numpy as np
import torch

from course_lib import checkpoints
from course_lib.algorithms import MAML, R2D2
from course_lib.chapters.union import mixed_linear, negative_networks, union_gradient
from course_lib.chapters.union.experiments import baseline, rate_sign
from course_lib.chapters.union.mixed_linear import FIGURE_2, MixedLinear, best_adapt_lr, best_train_lr, expected_loss
from course_lib.chapters.union.negative_weights import weigh
from course_lib.evaluation import evaluate
from course_lib.inner_loop import features, stack_params
from course_lib.kit.claim import claim
from course_lib.kit.experiment import counted
from course_lib.tasks import SinusoidTasks
from course_lib.tasks.sinusoid import ZERO_PREDICTOR_MSE

# One gradient ----------------------------------------------------------------------------------------------------


def apart(draw: int, steps: int, rate: float) -> float:
    """Relative distance of MAML's gradient to the union's, stored heads."""
    union = union_gradient.problem("stored", draw)[-1]
    return float((union_gradient.maml_gradient("stored", draw, steps, rate) - union).norm() / union.norm())


@claim("At MAML's own rate the correction is more than half as long as the union's gradient")
def far_at_mamls_rate(draw):
    """k = 1, alpha = 0.01, a fresh network with a head for each of 25 tasks."""
    difference = apart(draw, 1, 0.01)
    return difference > 0.5, {"difference": difference}


@claim("As the rate leaves zero, MAML's gradient leaves the union's at once")
def it_leaves_at_once(draw):
    """k = 1: at a fifth of MAML's rate, 0.002, on either side of zero, the distance is already over 5 %."""
    down, up = apart(draw, 1, 0.002), apart(draw, 1, -0.002)
    return min(down, up) > 0.05, {"down": down, "up": up}


@claim("Uphill the gradient runs away from the union's faster than downhill")
def uphill_runs_away(draw):
    """k = 5: the distance at -0.004 against that at +0.004."""
    up, down = apart(draw, 5, -0.004), apart(draw, 5, 0.004)
    return up > down, {"ratio": up / down}


# The baseline at equal compute -----------------------------------------------------------------------------------


def end(draw: int, method: str, shots: int, how: str, outer_lr: float | None = None) -> float:
    """A method's error when training ends, at the rates and penalty that the validation tasks of all seeds choose."""
    outer_lr, setting = baseline.best(method, shots, how, outer_lr)
    rows = baseline.runs.of(draw, method=method, outer_lr=outer_lr)
    (row,) = (row for row in rows if row["shots"] == shots and row["moment"] == baseline.MOMENTS[-1])
    return counted(row["error"][baseline.JUDGES.index((how, setting))])


def beside(draw: int, shots: int, outer_lr: float | None = None) -> tuple[bool, dict[str, float]]:
    maml, union = end(draw, "maml", shots, "after_10", outer_lr), end(draw, "union", shots, "ridge", outer_lr)
    return union < maml, {"maml": maml, "union": union, "ratio": maml / union}


@claim("All at the outer rate 0.001 the union of tasks is ahead of MAML")
def union_ahead_at_0_001(draw):
    """10 shots, equal compute; MAML after ten steps, the union with a ridge head; test rate and penalty chosen."""
    return beside(draw, 10, 1e-3)


@claim("Each at its best outer rate the union of tasks is ahead of MAML with ten shots")
def union_ahead_with_ten_shots(draw):
    """As before, the outer rate chosen on validation tasks too."""
    return beside(draw, 10)


@claim("Each at its best outer rate the union of tasks is ahead of MAML with five shots")
def union_ahead_with_five_shots(draw):
    """As before, five shots."""
    return beside(draw, 5)


@claim("One shared head loses by far")
def one_head_is_a_strawman(draw):
    """10 shots, ten steps on everything, its best rates: more than three times MAML's error."""
    one, maml = end(draw, "one_head", 10, "after_10"), end(draw, "maml", 10, "after_10")
    return one > 3 * maml, {"one_head": one, "ratio": one / maml}


@claim("Ten steps on everything do the union's network more harm than a ridge head")
def fine_tuning_costs(draw):
    """10 shots, each way of judging at its best outer rate and test rate or penalty."""
    tuned, ridge = end(draw, "union", 10, "after_10"), end(draw, "union", 10, "ridge")
    return tuned > ridge, {"tuned": tuned, "ridge": ridge}


@claim("Trained at 0.001 the union's network is no better than predicting zero after ten steps of 0.01")
def fine_tuned_at_mamls_rate(draw):
    """10 shots, everything fine-tuned at MAML's test rate."""
    index = baseline.JUDGES.index(("after_10", 0.01))
    at = {}
    for outer_lr in baseline.OUTER_LRS:
        rows = baseline.runs.of(draw, method="union", outer_lr=outer_lr)
        (row,) = (r for r in rows if r["shots"] == 10 and r["moment"] == baseline.MOMENTS[-1])
        at[outer_lr] = counted(row["error"][index])
    return at[1e-3] >= ZERO_PREDICTOR_MSE, {"at_0_001": at[1e-3], "at_0_003": at[3e-3], "at_0_01": at[1e-2]}


@claim("After long training MAML and the union of tasks are level")
def level_after_long_training(draw):
    """The shipped networks, 70,000 and 5,000 iterations, on 200 new tasks: the means differ by less than half."""
    tasks = SinusoidTasks(shots=10, queries=50)
    maml, union = (checkpoints.load(f"sinusoid/{name}")[0] for name in ("maml_k1", "union"))
    options = {"num_tasks": 200, "seed": 100 + draw}
    tuned = evaluate(MAML(), maml, tasks, steps=[10], lr=0.01, **options).mean[0]
    ridge = evaluate(R2D2(lam=0.1), union, tasks, steps=[0], **options).mean[0]
    return abs(np.log(tuned / ridge)) < np.log(1.5), {"maml": tuned, "union": ridge}


@claim("On the union's body MAML's rate is beyond the border of the head for nine tasks in ten")
def beyond_the_border_of_the_head(draw):
    """2 / lambda_max of the head's loss alone, on 100 new tasks of ten points and the shipped body."""
    network = checkpoints.load("sinusoid/union")[0]
    new = SinusoidTasks(shots=10).sample(100, generator=torch.Generator().manual_seed(draw))
    z = features(network, stack_params(network, 100), new.support_x).detach()  # [100, 10, 40]
    z = torch.cat([z, torch.ones_like(z[..., :1])], -1).double()  # the bias is a feature that is always 1
    border = 2 / torch.linalg.eigvalsh(2 * z @ z.mT / 10)[:, -1]  # [100]; Z Z^T has the same largest eigenvalue
    beyond = float((border < 0.01).double().mean())
    return beyond >= 0.9, {"beyond": 100 * beyond, "border": float(border.median())}


# What a negative rate does ---------------------------------------------------------------------------------------


@claim("A negative rate raises the loss and the median task's weight, a positive one lowers both")
def the_sign_turns_weights(draw):
    """At -0.005 and +0.005, on MAML's network, the pre-trained one and random weights."""
    held = True
    for network in ("maml_k1", "pretrained", "random"):
        down, up = (weigh(network, rate, "loss", draw) for rate in (-0.005, 0.005))
        held &= down["growth"] > 1 > up["growth"] and down["median"] > 1 > up["median"]
    maml = weigh("maml_k1", -0.005, "loss", draw)
    return held, {"growth": maml["growth"], "weight": maml["median"]}


@claim("On MAML's network the wrongest fifth of the tasks LOSES share of the gradient at a negative rate")
def the_wrongest_lose_share(draw):
    """alpha = -0.005, 60 tasks; the rank correlation of weight and loss there and on the other two networks."""
    networks = {name: weigh(name, -0.005, "loss", draw) for name in ("maml_k1", "pretrained", "random")}
    before, after = networks["maml_k1"]["shares"]
    numbers = {"before": 100 * before, "after": 100 * after}
    return after < before, numbers | {name: data["correlation"] for name, data in networks.items()}


@claim("At a negative rate the most fixable fifth of the tasks gains share of the gradient")
def the_most_fixable_gain_share(draw):
    """alpha = -0.005, on MAML's network, the pre-trained one and random weights."""
    networks = {name: weigh(name, -0.005, "fixable", draw) for name in ("maml_k1", "pretrained", "random")}
    held = all(data["shares"][1] > data["shares"][0] for data in networks.values())
    return held, {name: data["correlation"] for name, data in networks.items()}


# The linear problem ----------------------------------------------------------------------------------------------


def setting(draw: int, over: bool) -> MixedLinear:
    """A random problem with label noise and fewer, or more, query points than parameters."""
    pick = random.Random(draw)
    dim, queries = pick.randint(20, 60), pick.randint(1, 6)
    share = pick.uniform(0.1, 0.8) if over else pick.uniform(1.3, 4.0)
    tasks = max(1, round(share * dim / queries))
    noise, spread = pick.uniform(0.3, 2.0), pick.uniform(0.2, 1.0)
    return MixedLinear(pick.randint(10, 40), queries, tasks, dim, pick.randint(10, 40), noise, spread)


@claim(
    "With noise and fewer query points than parameters the best rate in training is negative, to adapt with positive"
)
def bernacchias_sign(draw):
    """Closed form, in a random setting: sizes, noise and spread of the tasks."""
    problem = setting(draw, over=True)
    train, adapt = best_train_lr(problem), best_adapt_lr(problem, 0.0)
    gain = 100 * (expected_loss(problem, 0.0, adapt) / expected_loss(problem, train, adapt) - 1)
    return train < 0 < adapt, {"train": train, "adapt": adapt, "gain": gain}


@claim("With more query points than parameters the best rate in training is negative too")
def more_points_than_parameters(draw):
    """Closed form, in a random setting of few query points per task; the gain in % over a rate of zero."""
    problem = setting(draw, over=False)
    train, adapt = best_train_lr(problem), best_adapt_lr(problem, 0.0)
    gain = 100 * (expected_loss(problem, 0.0, adapt) / expected_loss(problem, train, adapt) - 1)
    return train < 0, {"train": train, "gain": gain}


@claim("In simulation too a negative rate beats zero, and zero a positive one")
def simulated_sign(draw):
    """Figure 2's setting, 300 runs: mean losses at -0.8, 0 and 0.2 in training, 0.2 to adapt with."""
    down, zero, up = mixed_linear.sweep(FIGURE_2, [-0.8, 0.0, 0.2], 0.2, runs=300, seed=draw).mean(1).tolist()
    return down < zero < up, {"gain": 100 * (zero / down - 1)}


@claim("Without label noise every rate in training is as good")
def no_noise_no_difference(draw):
    """Closed form, a random setting with its noise set to zero: rates from -0.8 to 0.5."""
    problem = setting(draw, over=True)
    quiet = MixedLinear(problem.support, problem.queries, problem.num_tasks, problem.dim, problem.adapt_points, 0.0)
    losses = [expected_loss(quiet, rate, 0.2) for rate in (-0.8, 0.0, 0.5)]
    return max(losses) - min(losses) < 1e-9, {"spread": max(losses) - min(losses)}


# Networks --------------------------------------------------------------------------------------------------------


SIDES = {"negative": (-0.02, -0.01), "zero": (0.0,), "positive": (0.003, 0.01)}  # rates in training


def network_errors(draw: int, tasks, queries: int, noise: float = 0.0, how: str = "after_10", test_lr=None) -> dict:
    """Error on either side of zero and at it, for one seed: {"negative", "zero", "positive"}.

    A side's training rate, of two, is the one of the least median validation error, like its outer and test rate.
    """
    rows, how = rate_sign.runs.of(draw, tasks=tasks, queries=queries, noise=noise), (how, test_lr)
    found = {}
    for side, inner_lrs in SIDES.items():
        inner_lr = min(inner_lrs, key=lambda lr: negative_networks.validated(tasks, queries, noise, *how, lr))
        outer_lr, index = negative_networks.chosen(tasks, queries, noise, *how, inner_lr)
        (row,) = (r for r in rows if r["inner_lr"] == inner_lr and r["outer_lr"] == outer_lr)
        found[side] = counted(row["error"][index])
    return found


def best_side(errors: dict[str, float]) -> str:
    return min(errors, key=errors.get)


@claim("With five tasks of two query points a negative rate is best, where a new task gets one step")
def negative_pays_on_few_data(draw):
    """No noise; every training rate at the outer and test rate that validation chooses for it."""
    found = network_errors(draw, 5, 2, how="after_1")
    return best_side(found) == "negative", found


@claim("With twenty noisy tasks of two query points it is best where the network is not adapted at all")
def negative_pays_unadapted(draw):
    """Label noise 1, judged as it is on clean curves."""
    found = network_errors(draw, 20, 2, 1.0, "as it is")
    return best_side(found) == "negative", found


@claim("With twenty tasks of ten query points a positive rate is best")
def positive_pays_on_more_data(draw):
    """No noise, one step at test time."""
    found = network_errors(draw, 20, 10, how="after_1")
    return best_side(found) == "positive", found


@claim("With fifty noisy tasks of two query points too")
def positive_pays_on_more_tasks(draw):
    """Label noise 1, one step at test time."""
    found = network_errors(draw, 50, 2, 1.0, "after_1")
    return best_side(found) == "positive", found


@claim("A network that may take ten steps at test time wants a positive rate in training even with five tasks")
def ten_steps_want_a_positive_rate(draw):
    """Five tasks, two query points, no noise."""
    found = network_errors(draw, 5, 2)
    return best_side(found) == "positive", found


@claim("Judged after one step of 0.01 a negative rate in training beats zero")
def any_inner_loop_prepares(draw):
    """Twenty noisy tasks of two query points, the test rate fixed."""
    found = network_errors(draw, 20, 2, 1.0, "after_1", 0.01)
    return found["negative"] < found["zero"], found


@claim("Judged after one step of 0.003 it does, too")
def a_shorter_step_is_kinder(draw):
    """The same networks; for either the outer rate that suits this step."""
    found = network_errors(draw, 20, 2, 1.0, "after_1", 0.003)
    return found["negative"] < found["zero"], found


@claim("After one step of 0.01 it does with twenty tasks of ten query points, too")
def more_data_are_kinder(draw):
    """No noise: 200 query points in all."""
    found = network_errors(draw, 20, 10, 0.0, "after_1", 0.01)
    return found["negative"] < found["zero"], found
