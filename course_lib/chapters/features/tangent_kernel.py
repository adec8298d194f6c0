"""The tangent kernel: push the output up at one point, and see which other outputs come along."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from course_lib.chapters.features import setup as setup
from course_lib.chapters.features.setup import GRID, PROGRESS, WAYS, X
from course_lib.inner_loop import adapt, predict, stack_params
from course_lib.kit import plots
from course_lib.kit.first_edition import Choice, Demo, Notches, Slider
from course_lib.losses import mse

NUM_VALUES = 20
EVERY = 3  # one point of three in the heat map: the eye sees no more
LOOK = {"cmap": "RdBu_r", "vmin": -1, "vmax": 1, "aspect": "auto", "interpolation": "nearest"}
ALPHA, X0 = "\N{GREEK SMALL LETTER ALPHA}", "x\N{SUBSCRIPT ZERO}"


def compute(values: SimpleNamespace) -> dict:
    """The kernel of a snapshot, its spectrum, and one gradient step on one point whose target is 1 higher."""
    now = setup.spectrum(values.way, values.iteration)
    network = setup.network(values.way, values.iteration)
    x = torch.tensor([[[values.x]]], dtype=GRID.dtype)  # [1, 1, 1]
    output = network(x).detach()
    options = {"loss_fn": mse, "steps": 1, "lr": values.inner_lr, "second_order": False}
    adapted = adapt(network, stack_params(network, 1), x, output + 1, **options)
    moved = (predict(network, adapted, GRID[None]) - network(GRID[None])).detach()[0, :, 0]  # [200]
    nearest = (GRID[:, 0] - values.x).abs().argmin()
    column = 2 * values.inner_lr * now.kernel[:, nearest]  # [200] what the linearised network does
    family = torch.cos(GRID[:, 0] - values.x)  # [200] E f(x) f(x0) / E f(x0)^2: the best guess from one point
    return {
        "way": values.way,
        "iteration": values.iteration,
        "x": values.x,
        "kernel": (now.kernel / now.kernel.abs().max())[::EVERY, ::EVERY].numpy(),  # [67, 67]
        "values": now.values[:NUM_VALUES].clamp(min=1e-6).numpy(),
        "before": setup.spectrum(values.way, 0).values[:NUM_VALUES].clamp(min=1e-6).numpy(),
        "moved": moved.numpy(),
        "linear": column.numpy(),
        "family": family.numpy(),
        "similar": torch.nn.functional.cosine_similarity(column, family, dim=0).item(),
        "aligned": now.aligned,
    }


def figure(fig) -> SimpleNamespace:
    heat, push, values = fig.subplots(1, 3, width_ratios=(1, 1.15, 0.85))
    heat.set(xlabel="x", ylabel=X0, xlim=(-5, 5), ylim=(-5, 5), xticks=[-5, 0, 5], yticks=[-5, 0, 5])
    heat.grid(False)
    blank = torch.zeros(2, 2).numpy()
    image = heat.imshow(blank, origin="lower", extent=(-5, 5, -5, 5), **LOOK)
    bar = fig.colorbar(image, ax=heat, location="bottom", aspect=30, ticks=[-1, 0, 1])
    bar.ax.set_xticklabels(["against", "alone", "along"])
    where = heat.plot([], [], color=plots.BLACK, linestyle="-", linewidth=1.2)[0]

    push.set(xlabel="x", ylabel="change of the output", xlim=(-5, 5), ylim=(-1.8, 2.2), xticks=[-5, 0, 5])
    push.axhline(0, **plots.REFERENCE)
    family = push.plot([], [], **plots.TRUTH, label=f"the family's answer: cos(x - {X0})")[0]
    real = push.plot([], [], color=plots.BLUE, linestyle="-", label="the network")[0]
    linear = push.plot([], [], color=plots.BLACK, linestyle=":", label=f"linearised: 2{ALPHA} K(x, {X0})")[0]
    target = push.plot([], [], **plots.SUPPORT, label=f"target: 1 higher at {X0}")[0]

    values.set(xlabel="index", ylabel="eigenvalue \N{GREEK SMALL LETTER LAMDA}", yscale="log")
    values.set(xlim=(0, NUM_VALUES + 1), ylim=(1e-4, 3e2), xticks=[1, 5, 10, 15, 20])
    index = range(1, NUM_VALUES + 1)
    ones, now_look = [1] * NUM_VALUES, {"color": plots.BLUE, "marker": "o", "markersize": 4, "linestyle": "-"}
    grey = {"color": plots.GREY, "linestyle": "-.", "label": "eigenvalues before training"}
    before = values.plot(index, ones, **grey)[0]
    now = values.plot(index, ones, **now_look, label="eigenvalues now")[0]
    fig.legend(loc="outside lower center", ncols=3)
    titles = (heat.set_title(" "), push.set_title(" "), values.set_title("Spectrum"))
    return SimpleNamespace(
        image=image,
        where=where,
        family=family,
        real=real,
        linear=linear,
        target=target,
        before=before,
        now=now,
        titles=titles,
    )


def draw(artists: SimpleNamespace, data: dict) -> None:
    artists.image.set_data(data["kernel"])
    artists.where.set_data([-5, 5], [data["x"]] * 2)
    artists.real.set_data(X, data["moved"])
    artists.linear.set_data(X, data["linear"])
    artists.family.set_data(X, data["family"])
    artists.target.set_data([data["x"]], [1])
    artists.before.set_ydata(data["before"])
    artists.now.set_ydata(data["values"])
    artists.titles[0].set_text(f"K(x, {X0}), alignment {data['aligned']:.2f}")
    artists.titles[1].set_text(f"One step on a point at {data['x']:.1f}")


def alt(data: dict) -> str:
    way = {"maml": "MAML", "plain": "Ordinary training"}[data["way"]]
    at = int(abs(data["x"] - X).argmin())
    return (
        f"{way} after {data['iteration']:,} iterations. The tangent kernel's alignment with the family of "
        f"sinusoids is {data['aligned']:.2f}, its largest eigenvalue {data['values'][0]:.3g} (before "
        f"training {data['before'][0]:.3g}). One step on a point at x = {data['x']:.1f} moves the output "
        f"there by {data['moved'][at]:.2f}; the linearised network's change has cosine {data['similar']:.2f} with "
        f"cos(x - x0)."
    )


def demo() -> Demo:
    """The second demo of notebook 05; its default view is MAML's network, pushed at x = 1."""
    return Demo(
        "Push one output, and others follow",
        controls=[
            Choice("way", WAYS, "maml", "trained by"),
            Notches("iteration", PROGRESS, PROGRESS[-1], "training iterations"),
            Slider("x", -5.0, 5.0, 1.0, f"the point {X0}", step=0.1),
            Slider("inner_lr", 1e-4, 0.02, 0.003, f"inner rate {ALPHA}", log=True),
        ],
        compute=compute,
        figure=figure,
        draw=draw,
        alt=alt,
        size=(9.6, 4.8),
        hint="The step was too large: choose a smaller inner rate.",
    )
