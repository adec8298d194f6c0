"""A small real demo for the tests of the kit: three weights follow a sine wave by gradient descent."""

import numpy as np

from course_lib.kit import plots
from course_lib.kit.demo import Button, Choice, Demo, Notches, Run, Several, Slider, Switch, declare

X = np.linspace(-5, 5, 200)
STARTS = {"zero": "zero", "one": "all ones"}


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
            yield _data(x, y, weights, truth, errors)
    yield _data(x, y, weights, truth, errors)


def _data(x, y, weights, truth, errors):
    return {"x": x, "y": y, "fit": features(X) @ weights, "truth": truth, "errors": np.array(errors)}


def picture(fig, show):
    left, right = fig.subplots(1, 2)
    left.set(xlabel="x", ylabel="y", xlim=(-5, 5), ylim=(-6, 6))
    show.line(left, X, "truth", **plots.TRUTH, end="true curve", shown=lambda d: "truth" in d.show)
    show.line(left, X, "fit", color=plots.BLUE, end="fit", pin=True)
    show.points(left, "x", "y", **plots.SUPPORT, shown=lambda d: "points" in d.show)
    show.title(left, lambda d: f"{len(d.errors) - 1} steps from {STARTS[d.start]}")
    right.set(xlabel="step", ylabel="mean squared error")
    show.line(right, lambda d: range(len(d.errors)), "errors", color=plots.ORANGE, marker="s", markevery=5)
    show.level(right, lambda d: np.square(d.truth).mean(), "predicting zero", shown=lambda d: d.reference)
    show.limits(
        right,
        lambda d: (0, 200 if len(d.errors) > 51 else 50),
        lambda d: (0, plots.nice_ceiling(max(d.errors.max(), 0.01))),
    )
    show.title(right, "Error against steps")


def words(d):
    return f"After {len(d.errors) - 1} gradient steps the error is {d.errors[-1]:.3f}; it began at {d.errors[0]:.2f}."


demo = declare(
    "A sine wave from a few points",
    [
        Slider("steps", 0, 50, 10, "gradient steps"),
        Slider("shots", 1, 20, 10, "support points (shots)"),
        Slider("rate", 0.01, 1.0, 0.1, "rate", log=True, help="length of a gradient step"),
        Notches("scale", [0.5, 1.0, 2.0], 1.0, "times"),
        Choice("start", STARTS, "zero", "start from"),
        Several("show", {"truth": "true curve", "points": "support points"}, label="show"),
        Switch("reference", True, "show predicting zero"),
        Button("new_task", "another task"),
        Run("run", "run 200 steps"),
    ],
    compute,
    picture,
    words,
    hint="Lower the rate.",
    views={"one point only": {"shots": 1, "steps": 50}, "far": {"steps": 50}},
)


def make(**preset) -> Demo:
    return demo(**preset)
