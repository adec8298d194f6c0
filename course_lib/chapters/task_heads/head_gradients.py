"""Where a head points the body: the body's gradient under a fresh, a remembered and a fitted head.

With residual r(x) = w z(x) - y the body's gradient is the mean over x of 2 r(x) dz(x)/dbody^T w: the head w
says which features are to grow and which to shrink. A random w says nothing about the task. Everything is
computed live; the bodies are kept from the runs of ``experiments.training_heads``.
"""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn

from course_lib.algorithms.heads import BIAS, WEIGHT
from course_lib.algorithms.solvers import ridge_head
from course_lib.chapters.task_heads.experiments import training_heads
from course_lib.chapters.task_heads.task_visits import draw_heads, svd, walk, with_one
from course_lib.evaluation import interval95
from course_lib.inner_loop import predict, stack_params
from course_lib.kit import plots
from course_lib.kit.first_edition import Button, Choice, Demo, Notches, Slider
from course_lib.losses import mse
from course_lib.tasks import SinusoidTasks

BODIES = {
    "one meta-learned head": "meta",
    "remembered heads": "written back",
    "fresh random heads": "random",
}
VISITS = (1, 2, 3, 5, 10, 20, 50, 100)
NUM_TASKS, MOST_POINTS, JUDGING_POINTS = 40, 20, 100
LAMBDA = 1.0  # of the fitted head, on 100 points
LOOK = {"fresh": (plots.ORANGE, "--", "s"), "kept": (plots.BLUE, "-", "o")}
WORDS = {"fresh": "fresh random head at every visit", "kept": "head remembered from visit to visit"}
BINS = np.linspace(-1, 1, 21)


def body_gradients(model: nn.Module, heads: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Each task's gradient of its mean squared error with respect to the body, its head held fixed.

    Args:
        heads: with the bias last [T, D + 1, 1]. x, y: the task's points [T, N, 1].

    Returns:
        [T, P], all of the body's parameters in one row.
    """
    params = stack_params(model, len(x)) | {WEIGHT: heads[:, :-1].mT, BIAS: heads[:, -1]}
    params = {name: p.detach().requires_grad_(name.startswith("features.")) for name, p in params.items()}
    body = [p for p in params.values() if p.requires_grad]
    grads = torch.autograd.grad(mse(predict(model, params, x), y).sum(), body)
    return torch.cat([grad.flatten(1) for grad in grads], dim=1)


def network(body: str, iteration: int) -> nn.Module:
    """The body after so many iterations of meta-training with that kind of head."""
    return training_heads.shipped_network(body, iteration)


@lru_cache(maxsize=16)
@torch.no_grad()
def setup(body: str, iteration: int, points: int, draw: int) -> dict[str, Tensor]:
    """What all visits bring, and the gradient under the fitted head ``target`` [T, P]."""
    generator = torch.Generator().manual_seed(200 + draw)
    batch = SinusoidTasks(MOST_POINTS * VISITS[-1], JUDGING_POINTS).sample(NUM_TASKS, generator=generator)
    model = network(body, iteration)
    x, y = (
        p.view(NUM_TASKS, VISITS[-1], MOST_POINTS)[:, :, :points] for p in (batch.support_x, batch.support_y)
    )
    weight, bias = ridge_head(model.features(batch.query_x), batch.query_y, LAMBDA)
    fitted = torch.cat([weight.mT, bias[..., None]], dim=1)  # [T, D + 1, 1]
    with torch.enable_grad():
        target = body_gradients(model, fitted, batch.query_x, batch.query_y)
    z = with_one(model.features(x[..., None]))  # [T, V, S, D + 1]
    first = draw_heads(NUM_TASKS * VISITS[-1], z.shape[-1] - 1, generator).view(NUM_TASKS, VISITS[-1], -1, 1)
    judge = {"x_all": batch.query_x, "y_all": batch.query_y, "target": target}
    return {"y": y, "z": z, "parts": svd(z), "first": first} | judge


@lru_cache(maxsize=64)
def cosines(body: str, iteration: int, points: int, steps: int, rate: float, draw: int) -> dict[str, Tensor]:
    """{"fresh", "kept"}: each task's cosine with the gradient under its fitted head at VISITS [visits, T].

    {"fresh_mean", "kept_mean"}: the cosine of the means over the tasks, as an outer loop takes them [visits].
    """
    data, model = setup(body, iteration, points, draw), network(body, iteration)
    kept, result = data["first"][:, 0], {name: [] for name in ("fresh", "kept", "fresh_mean", "kept_mean")}
    for v in range(VISITS[-1]):
        z, y, parts = data["z"][:, v], data["y"][:, v, :, None], [part[:, v] for part in data["parts"]]
        kept = walk(z, y, kept, rate, steps, parts)
        if v + 1 not in VISITS:
            continue
        for name, w in (("fresh", walk(z, y, data["first"][:, v], rate, steps, parts)), ("kept", kept)):
            grads = body_gradients(model, w, data["x_all"], data["y_all"])  # [T, P]
            result[name].append(torch.cosine_similarity(grads, data["target"], dim=1))
            means = grads.mean(0), data["target"].mean(0)
            result[f"{name}_mean"].append(torch.cosine_similarity(*means, dim=0))
    return {name: torch.stack(values) for name, values in result.items()}


def compute(values: SimpleNamespace) -> dict:
    """Cosines at the chosen visit, task by task, and their means at every visit."""
    found = cosines(values.body, values.iteration, values.points, values.steps, values.rate, values.new_tasks)
    at = VISITS.index(values.visit)
    return {
        "body": body_in_words(values.body, values.iteration),
        "visit": values.visit,
        "steps": values.steps,
        "tasks": {name: found[name][at].numpy() for name in LOOK},
        "mean": {name: found[name].mean(1).numpy() for name in LOOK},
        "half": {name: interval95(found[name]).numpy() for name in LOOK},
        "of_means": {name: float(found[f"{name}_mean"][at]) for name in LOOK},
    }


def body_in_words(body: str, iteration: int) -> str:
    words = next(words for words, name in BODIES.items() if name == body)
    return f"Body: {iteration:,} iterations, {words}" if iteration else f"Before training with {words}"


def figure(fig) -> SimpleNamespace:
    left, right = fig.subplots(1, 2, width_ratios=(1, 1.1))
    left.set(
        xlabel="cosine with the fitted head's gradient", ylabel="tasks", xlim=(-1, 1), ylim=(0, 18)
    )
    left.axvline(0, color=plots.BLACK, linewidth=1, linestyle="-")
    stairs = {
        name: left.stairs(
            np.zeros(len(BINS) - 1), BINS, color=color, fill=True, alpha=0.55, hatch=hatch, label=WORDS[name]
        )
        for (name, (color, _, _)), hatch in zip(LOOK.items(), ("///", None))
    }
    right.set(xlabel="visits (each brings new points of the task)", ylabel="mean cosine, 95 % interval")
    right.set(xlim=(0.8, 125), ylim=(-0.25, 1.05), xscale="log")
    right.set_xticks(VISITS, [str(v) for v in VISITS])
    right.minorticks_off()
    right.axhline(1, **plots.REFERENCE)
    right.text(0.85, 0.985, "the direction of the fitted head", fontsize="small", va="top")
    right.axhline(0, color=plots.BLACK, linewidth=1, linestyle="-")
    lines, bands = {}, {}
    for name, (color, dash, marker) in LOOK.items():
        lines[name] = right.plot([], [], color=color, linestyle=dash, marker=marker, label=WORDS[name])[0]
        bands[name] = right.fill_between([0], [1], [1], color=color, alpha=0.2, linewidth=0)
    here = right.axvline(1, color=plots.GREY, linewidth=1.2, linestyle=":")
    fig.legend(handles=list(lines.values()), loc="outside lower center", ncols=2)
    titles = (left.set_title(" "), right.set_title(" "))
    return SimpleNamespace(stairs=stairs, lines=lines, bands=bands, here=here, titles=titles)


def draw(artists: SimpleNamespace, data: dict) -> None:
    for name in LOOK:
        artists.stairs[name].set_data(np.histogram(data["tasks"][name], BINS)[0])
        artists.lines[name].set_data(VISITS, data["mean"][name])
        low, high = data["mean"][name] - data["half"][name], data["mean"][name] + data["half"][name]
        artists.bands[name].set_data(VISITS, low, high)
    artists.here.set_xdata([data["visit"], data["visit"]])
    artists.titles[0].set_text(data["body"])
    artists.titles[1].set_text(in_words(data))


def in_words(data: dict) -> str:
    at = VISITS.index(data["visit"])
    return f"Cosine: fresh {data['mean']['fresh'][at]:.2f}, remembered {data['mean']['kept'][at]:.2f}"


def alt(data: dict) -> str:
    return (
        f"{data['body']}; {NUM_TASKS} tasks at visit {data['visit']}, {data['steps']} steps a visit. "
        f"Mean {in_words(data).lower()}. Averaged over tasks first, the gradients have cosines "
        f"{data['of_means']['fresh']:.2f} and {data['of_means']['kept']:.2f}."
    )


def demo() -> Demo:
    """The demo of notebook 04: its default view is an untrained body and the hundredth visit."""
    return Demo(
        "Where a head points the body",
        controls=[
            Choice("body", BODIES, "meta", "body trained with"),
            Notches("iteration", training_heads.STOPS, 0, "for so many iterations"),
            Notches("visit", VISITS, 100, "visit"),
            Slider("steps", 1, 20, 5, "steps a visit k"),
            Slider("points", 5, MOST_POINTS, 10, "points a visit"),
            Slider("rate", 1e-3, 0.01, 0.01, "head rate", log=True),
            Button("new_tasks", "other tasks"),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(9.0, 4.6),
        hint="The head's steps were too large for these features: lower the head rate.",
    )
