"""A small library for one lecture: meta-learning, its two loops and its alternatives.

The front door: what a session begins with. ``HOMES`` says where each name is at home; all else is found there.

>>> from course_lib import MAML, MLP, SinusoidTasks, evaluate, meta_train
>>> learner, tasks = MAML(inner_steps=1, inner_lr=0.01), SinusoidTasks(shots=10)
>>> model, history = meta_train(learner, MLP(seed=0), tasks, iterations=200, seed=0, progress=False)
>>> result = evaluate(learner, model, tasks, num_tasks=100, steps=[0, 1, 10])
>>> [round(error, 1) for error in result.mean]
[3.3, 3.0, 2.7]

After 5,000 iterations, 10 to 25 s on two CPU cores, one step leaves 0.65 and ten 0.22.
"""

from importlib import import_module

__version__ = "1.0.0"

HOMES = {
    "course_lib.algorithms": ("MAML", "ANIL", "R2D2", "MetaOptNet", "ProtoNet", "Reptile", "UnionOfTasks"),
    "course_lib.evaluation": ("evaluate",),
    "course_lib.models": ("MLP", "Conv4"),
    "course_lib.tasks": ("SinusoidTasks",),
    "course_lib.training": ("meta_train",),
}
__all__ = [name for names in HOMES.values() for name in names]


def __getattr__(name: str):
    """Import a name when it is first asked for, so that ``doctor`` runs where PyTorch is missing or broken."""
    for home, names in HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module 'course_lib' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
