"""A small real demo for the tests of the kit: three weights follow a sine wave by gradient descent."""

from types import SimpleNamespace

import numpy as np

from course_lib.kit import plots
from course_lib.kit.demo import Button, Choice, Demo, Notches, Run, Slider, Switch

X = np.linspace(-5, 5, 200)


def features(x):
    return np.stack([np.sin(x), np.cos(x), np.ones_like(x)], axis=1)


def compute(values):
    """Fit a sin x + b cos x + c to a few points of a shifted sine; by frames if a run was asked for."""
    rng = np.random.default_rng(values.new_task)
    amplitude, phase = rng.uniform(1, 5), rng.uniform(0, np.pi)
    x = rng.uniform(-5, 5, values.shots)
    y, truth = amplitude * np.sin(x - phase), amplitude * np.sin(X - phase)
    weights = np.full(3, {"zero": 0.0, "one": 1.0}[values.start])
    errors = [np.mean((features(X) @ weights - truth) ** 2)]
    for step in range(200 if values.run else values.steps):
        weights = weights - values.rate * values.scale * features(x).T @ (features(x) @ weights - y) / len(x)
        errors.append(np.mean((features(X) @ weights - truth) ** 2))
        if values.run and step % 10 == 0:
            yield _data(x, y, weights, truth, errors, values)
    yield _data(x, y, weights, truth, errors, values)


def _data(x, y, weights, truth, errors, values):
    return {
        "x": x,
        "y": y,
        "fit": features(X) @ weights,
        "truth": truth,
        "errors": np.array(errors),
        "show": values.show,
    }


def figure(fig):
    left, right = fig.subplots(1, 2)
    left.set(xlabel="x", ylabel="y", xlim=(-5, 5), ylim=(-6, 6), title="One task")
    (truth,) = left.plot([], [], **plots.TRUTH, label="true curve")
    (fit,) = left.plot([], [], color=plots.BLUE, label="fit")
    (points,) = left.plot([], [], **plots.SUPPORT, label="support set")
    left.legend(ncols=2)
    right.set(
        xlabel="step", ylabel="mean squared error", xlim=(0, 50), ylim=(0, 10), title="Error against steps"
    )
    (error,) = right.plot([], [], color=plots.ORANGE, marker="s", markevery=5)
    return SimpleNamespace(right=right, truth=truth, fit=fit, points=points, error=error)


def draw(artists, data):
    artists.truth.set_data(X, data["truth"])
    artists.truth.set_visible(data["show"])
    artists.fit.set_data(X, data["fit"])
    artists.points.set_data(data["x"], data["y"])
    artists.error.set_data(np.arange(len(data["errors"])), data["errors"])
    plots.set_limits(
        artists.right,
        (0, 200 if len(data["errors"]) > 51 else 50),
        (0, plots.nice_ceiling(max(data["errors"].max(), 0.01))),
    )


def alt(data):
    errors = data["errors"]
    return (
        f"After {len(errors) - 1} gradient steps the error is {errors[-1]:.3f}; it began at {errors[0]:.2f}."
    )


def make():
    controls = [
        Slider("steps", 0, 50, 10, "gradient steps"),
        Slider("shots", 1, 20, 10, "support points (shots)"),
        Slider("rate", 0.01, 1.0, 0.1, "rate", log=True, help="length of a gradient step"),
        Notches("scale", [0.5, 1.0, 2.0], 1.0, "times"),
        Choice("start", ["zero", "one"], "zero", "start from"),
        Switch("show", True, "show the true curve"),
        Button("new_task", "another task"),
        Run("run", "run 200 steps"),
    ]
    return Demo("A sine wave from a few points", controls, compute, figure, draw, alt, hint="Lower the rate.")
