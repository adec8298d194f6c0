"""The methods of the lecture, one a file. Each is a ``Learner``: start, adapt, meta_loss, meta_gradient."""

from course_lib.algorithms.base import Learner
from course_lib.algorithms.maml import MAML
from course_lib.algorithms.reptile import Reptile

LEARNERS: dict[str, type[Learner]] = {cls.__name__.lower(): cls for cls in (MAML, Reptile)}

__all__ = ["LEARNERS", "Learner", *(cls.__name__ for cls in LEARNERS.values())]
