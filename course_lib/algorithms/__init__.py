"""The methods of the lecture, and implicit MAML, one a file. Each is a ``Learner``: start, adapt, meta_loss,
meta_gradient.

A method of your own is one more. Meta-SGD (Li et al. 2017, arXiv 1707.09835) learns a rate for every parameter:

>>> import torch
>>> from torch import nn
>>> class MetaSGD(MAML):
...     def __init__(self, model, **settings):
...         super().__init__(**settings)
...         rates = {name.replace(".", " "): torch.full_like(p, self.inner_lr) for name, p in model.named_parameters()}
...         self.rates = nn.ParameterDict(rates)
...
...     def rate(self, model):
...         return lambda name, grad: self.rates[name.replace(".", " ")]
>>> from course_lib import MLP, SinusoidTasks, meta_train
>>> model = MLP(seed=0)
>>> learner = MetaSGD(model, inner_lr=0.01)
>>> _ = meta_train(learner, model, SinusoidTasks(), iterations=3, progress=False)
>>> bool((learner.rates["head weight"] != 0.01).any())
True
"""

from course_lib.algorithms.anil import ANIL
from course_lib.algorithms.base import Learner
from course_lib.algorithms.implicit import IMAML
from course_lib.algorithms.maml import MAML
from course_lib.algorithms.metaoptnet import MetaOptNet
from course_lib.algorithms.protonet import ProtoNet
from course_lib.algorithms.r2d2 import R2D2
from course_lib.algorithms.reptile import Reptile
from course_lib.algorithms.union import UnionOfTasks

ALL = (MAML, ANIL, R2D2, MetaOptNet, ProtoNet, Reptile, UnionOfTasks, IMAML)

LEARNERS: dict[str, type[Learner]] = {cls.__name__.lower(): cls for cls in ALL}

__all__ = ["LEARNERS", "Learner", *(cls.__name__ for cls in ALL)]
