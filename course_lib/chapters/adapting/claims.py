"""The sentences of notebook 01 about results."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from course_lib.chapters.adapting import adapting, four_cells, held_out, many_tasks, one_wave, solutions
from course_lib.chapters.adapting.experiments import starts
from course_lib.kit.claim import claim
from course_lib.tasks.sinusoid import AMPLITUDE, PHASE, sinusoid

# The wave with two numbers


@claim("From the middle ten steps of 0.2 bring the held-out error below 0.05")
def the_middle_finds_it(draw: int):
    """One wave of the family, ten points."""
    error = one_wave.held_out(one_wave.descend(solutions.fine_tune, one_wave.MIDDLE, draw, 10, 0.2)[-1], draw)
    return error < 0.05, {"error": error}


@claim("From the corner ten steps of 0.2 bring the held-out error below 0.05")
def the_corner_finds_it(draw: int):
    """The same waves and points."""
    error = one_wave.held_out(one_wave.descend(solutions.fine_tune, one_wave.CORNER, draw, 10, 0.2)[-1], draw)
    return error < 0.05, {"error": error}


# The network: three places to start


def errors(draw: int, shots: int = 10, inner_lr: float = 0.01, maml: str = "maml_k1") -> dict[str, Tensor]:
    """Held-out error after 0 ... 50 steps on a curve of ``draw``, of each start [51]."""
    unit = torch.rand(2, generator=torch.Generator().manual_seed(draw)).tolist()
    amplitude, phase = (low + (high - low) * u for (low, high), u in zip((AMPLITUDE, PHASE), unit))
    points = adapting.drawn_points(shots, draw)
    fits = adapting.fine_tune(points, inner_lr, amplitude, phase, maml)[2]  # [51, 3, G]
    truth = sinusoid(adapting.GRID, torch.tensor([amplitude]), torch.tensor([phase]))[0, :, 0]
    after = (fits - truth).square().mean(-1).nan_to_num(torch.inf)  # [51, 3]
    return dict(zip(adapting.STARTS, after.T))


@claim("One step on ten points takes more from MAML's error than from the others'")
def one_step_is_enough(draw: int):
    """alpha 0.01, a random curve. The numbers are the shares of the error before the step that are left after it."""
    left = {start: float(e[1] / e[0]) for start, e in errors(draw).items()}
    return left["maml"] < min(left["random"], left["pretrained"]), left


@claim("From random weights five steps leave more than half of the error")
def five_steps_do_little(draw: int):
    """alpha 0.01, ten points of a random curve; the share that is left."""
    random = errors(draw)["random"]
    return random[5] > 0.5 * random[0], {"left": random[5] / random[0]}


def after_fifty(draw: int, inner_lr: float) -> dict[str, Tensor]:
    return {start: errors(draw, inner_lr=inner_lr)[start][50] for start in ("maml", "random")}


@claim("At twice its rate MAML's start is still ahead of random weights after fifty steps")
def still_ahead_at_twice_the_rate(draw: int):
    """alpha 0.02, ten points of a random curve."""
    error = after_fifty(draw, 0.02)
    return error["maml"] < error["random"], error


@claim("At five times its rate MAML's start is behind random weights after fifty steps")
def behind_at_five_times_the_rate(draw: int):
    """alpha 0.05, the same points."""
    error = after_fifty(draw, 0.05)
    return error["maml"] > error["random"], error


@claim("MAML after one step is ahead of the network pre-trained with one head after ten")
def one_beats_ten(draw: int):
    """600 tasks of five points, means; the paper's recipe for both."""
    maml = many_tasks.measure("maml_k1", draw).mean[1]
    one_head = many_tasks.measure("pretrained", draw).mean[10]
    return maml < one_head, {"maml": maml, "one_head": one_head}


@claim("MAML goes on improving: fifty steps leave less than half of the error after one")
def it_goes_on(draw: int):
    """The median of 200 tasks of ten points, maml_k1."""
    medians = four_cells.measure("maml_k1", draw)["ready", None].query_losses.median(1).values
    return bool(medians[50] < 0.5 * medians[1]), {"one": medians[1], "fifty": medians[50]}


@claim("A first step ten times too long makes MAML's error larger than it was")
def long_steps_overshoot(draw: int):
    """alpha 0.1 for 0.01, ten points of a random curve; the numbers are the factors, the other starts' too."""
    factor = {start: float(e[1] / e[0]) for start, e in errors(draw, inner_lr=0.1).items()}
    return factor["maml"] > 1, factor


@claim("Trained with five inner steps for one, MAML is behind after one step and ahead after ten")
def five_steps_are_for_later(draw: int):
    """Means over 200 tasks of ten points: 5,000 iterations each, maml_k5 and maml_k1_short."""
    one, five = (four_cells.measure(f"maml_{how}", draw)["ready", None].mean for how in ("k1_short", "k5"))
    numbers = {"one_after_one": one[1], "five_after_one": five[1], "one_after_ten": one[10], "five_after_ten": five[10]}
    return five[1] > one[1] and five[10] < one[10], numbers


@claim("MAML after one step is ahead of pre-training with one head after fifty, each at its best rates")
def one_beats_fifty(draw: int):
    """Draws are trainings of 5,000 iterations; outer and test rates by validation (experiments/starts.py); medians."""
    maml, one_head = starts.best(draw, "maml", 1), starts.best(draw, "pretrained", 50)
    return maml < one_head, {"maml": maml, "one_head": one_head}


@claim("At its best rates pre-training with one head comes through")
def one_head_comes_through(draw: int):
    """As before: after training and fifty steps of fine-tuning the median error is a number."""
    return math.isfinite(starts.best(draw, "pretrained", 50)), {}


# The four cells


@claim("With MAML's own head and everything tuned the error after ten steps is a third of any other cell's, or less")
def one_cell_is_fast(draw: int):
    """Means over 200 tasks, maml_k1, alpha 0.01; the numbers are the four means."""
    after = {cell: of.mean[10] for cell, of in four_cells.measure("maml_k1", draw).items()}
    numbers = {f"{head}_{only or 'everything'}": mean for (head, only), mean in after.items()}
    others = min(mean for cell, mean in after.items() if cell != ("ready", None))
    return after["ready", None] < others / 3, numbers


def overtakes(start: str, draw: int) -> tuple[bool, dict[str, float]]:
    """Whether after fifty steps a random head with everything tuned is ahead of the ready head alone."""
    of = four_cells.measure(start, draw)
    everything, head = of["random", None].mean[50], of["ready", "head"].mean[50]
    return everything < head, {"random_everything": everything, "ready_head": head}


@claim("By fifty steps a random head with everything tuned has overtaken the ready head alone (k = 1, the paper's)")
def random_head_overtakes(draw: int):
    """Means over 200 tasks, maml_k1."""
    return overtakes("maml_k1", draw)


@claim("The same from MAML trained with k = 5")
def random_head_overtakes_k5(draw: int):
    """Means over 200 tasks, maml_k5."""
    return overtakes("maml_k5", draw)


@claim("The same from a fourteenth of the training", draws=100)
def random_head_overtakes_short(draw: int):
    """Means over 200 tasks, maml_k1_short."""
    return overtakes("maml_k1_short", draw)


@claim("The union of tasks' body with a solved head is ahead of MAML after one step")
def union_beats_one_step(draw: int):
    """Means over the same 200 tasks of ten points, maml_k1; the ridge head takes no steps."""
    union, maml = four_cells.solved_union(draw), four_cells.measure("maml_k1", draw)["ready", None].mean
    return union < maml[1], {"union": union, "one": maml[1], "ten": maml[10]}


@claim("MAML trained with five steps at a tuned rate is ahead of it after ten")
def tuned_maml_beats_union(draw: int):
    """Means over the same 200 tasks of ten points, maml_k5_tuned."""
    union, maml = four_cells.solved_union(draw), four_cells.measure("maml_k5_tuned", draw)["ready", None].mean
    return maml[10] < union, {"union": union, "ten": maml[10]}


# Held out


@claim(
    "With three points MAML's support error falls a hundredfold between ten and thirty steps, the query error hardly"
)
def only_the_support_error_falls(draw: int):
    """Medians of 25 tasks, maml_k1, alpha 0.01; hardly: by less than a fifth."""
    support, query = (e.median(1).values for e in held_out.measure("maml", 3, 0.01, draw))
    numbers = {"support": support[30] / support[10], "query": query[30] / query[10]}
    return bool(numbers["support"] < 0.01 and numbers["query"] > 0.8), numbers


@claim("Twenty points do what more steps cannot: a tenth of the query error of three points, or less")
def more_points_help(draw: int):
    """Medians of 25 tasks after thirty steps."""
    few, many = (held_out.measure("maml", shots, 0.01, draw)[1].median(1).values[30] for shots in (3, 20))
    return bool(many < 0.1 * few), {"few": few, "many": many}


@claim("From random weights the query error rises between one and thirty steps while the support error falls")
def random_weights_overfit(draw: int):
    """Medians of 25 tasks of three points."""
    support, query = (e.median(1).values for e in held_out.measure("random", 3, 0.01, draw))
    return bool(support[30] < support[1] and query[30] > query[1]), {"one": query[1], "thirty": query[30]}


@claim("Stopping where 25 other tasks are at their best costs at most a tenth of the least error")
def stopping_early_is_safe(draw: int):
    """From random weights, three points, medians of 25 tasks: query error at the chosen k over the lowest of any k."""
    query = held_out.measure("random", 3, 0.01, draw)[1].median(1).values
    stop = held_out.chosen_steps("random", 3, 0.01, draw)
    return bool(query[stop] <= 1.1 * query.min()), {
        "ratio": query[stop] / query.min(),
        "never": query[30] / query.min(),
    }


# Six hundred tasks


@claim("MAML's mean over 600 tasks is larger after five steps than after one")
def the_mean_rises(draw: int):
    """maml_k1, five points; the median of the same tasks beside."""
    of = many_tasks.measure("maml_k1", draw)
    median = of.query_losses.median(1).values
    numbers = {"one": of.mean[1], "five": of.mean[5], "median_one": median[1], "median_five": median[5]}
    return of.mean[5] > of.mean[1], numbers


@claim("At least one of 600 tasks ends worse than any guess within ten steps")
def some_go_wrong(draw: int):
    """maml_k1, five points: an error above 20 after some k up to 10."""
    wild = int((many_tasks.measure("maml_k1", draw).query_losses > many_tasks.WILD).any(0).sum())
    return wild >= 1, {"tasks": wild}
