"""The methods of the lecture, one a file. Each is a ``Learner``: start, adapt, meta_loss, meta_gradient."""

from course_lib.algorithms.anil import ANIL
from course_lib.algorithms.base import Learner
from course_lib.algorithms.maml import MAML
from course_lib.algorithms.metaoptnet import MetaOptNet
from course_lib.algorithms.protonet import ProtoNet
from course_lib.algorithms.r2d2 import R2D2
from course_lib.algorithms.reptile import Reptile
from course_lib.algorithms.union import UnionOfTasks

ALL = (MAML, ANIL, R2D2, MetaOptNet, ProtoNet, Reptile, UnionOfTasks)

LEARNERS: dict[str, type[Learner]] = {cls.__name__.lower(): cls for cls in ALL}

__all__ = ["LEARNERS", "Learner", *(cls.__name__ for cls in ALL)]
