"""With what head a task's inner loop begins: meta-learned, random anew, or stored (lecture, section 1.4).

    None           theta_head, one for all tasks, learnt with the body: what MAML does
    random         a fresh draw at every visit of a task
    stored         head[task_id], a parameter of the outer loop: with k = 0 this is the union of tasks
    written back   head[task_id] <- the head the inner loop ended with, at every visit of a task

Any gradient learner takes one: ``MAML(head=StoredHeads(200, 40, 1))``, ``ANIL(head=RandomHead())``. The last
two are two readings of "store and reuse the previously trained task specific head": the outer loop trains it,
or the inner loop does. Both need tasks that come back, with a ``task_id``. What each is worth is measured in
chapters/task_heads.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from course_lib.engine.run import Draws
from course_lib.inner_loop import Params
from course_lib.tasks.base import TaskBatch
from course_lib.validation import check_count, refuse

WEIGHT, BIAS = "head.weight", "head.bias"


def random_heads(num_tasks: int, num_features: int, num_outputs: int, generator: torch.Generator) -> Params:
    """Fresh linear heads as ``nn.Linear`` would draw them: uniform within 1 / sqrt(D) of zero.

    Returns:
        {"head.weight": [T, outputs, D], "head.bias": [T, outputs]}.
    """
    bound = num_features**-0.5
    unit = torch.rand(num_tasks, num_outputs, num_features + 1, generator=generator)  # [T, outputs, D + 1]
    heads = (2 * unit - 1) * bound
    return {WEIGHT: heads[..., :-1].contiguous(), BIAS: heads[..., -1].contiguous()}


class TaskHead(nn.Module):
    """A way to begin with a head other than the model's own."""

    kind: str
    prepares = False  # whether ``prepare`` and ``remember`` have something to do

    def begin(self, params: Params, batch: TaskBatch) -> Params:
        """``params`` {name: [T, ...]} with the heads that these training tasks begin with: those of ``prepare``."""
        return params | {name: batch.info[name] for name in (WEIGHT, BIAS)}

    def new(self, params: Params) -> Params:
        """``params`` with heads for tasks never seen before, at test time."""
        raise NotImplementedError

    def keep(self, adapted: Params) -> Params:
        """What is to be remembered of where the inner loop ended."""
        return {}

    def settings(self) -> dict:
        """The kind and the constructor's arguments, as JSON values; ``make_head`` takes them back."""
        raise NotImplementedError


class RandomHead(TaskHead):
    """A fresh head at every visit.

    On new tasks too: task i of a batch gets draw i, the same at every call; and task i of an evaluation, however it is
    cut into batches (see ``evaluation.test_start``).
    """

    kind = "random"
    prepares = True

    def __init__(self, seed: int = 0):
        super().__init__()
        self.draws = Draws(seed)

    def prepare(self, model: nn.Module, batch: TaskBatch) -> TaskBatch:
        like = check_linear(dict(model.named_parameters()))
        num_outputs, num_features = like.shape
        heads = random_heads(batch.num_tasks, num_features, num_outputs, self.draws.now())
        return batch.with_info(**{n: h.to(like, non_blocking=True).requires_grad_() for n, h in heads.items()})

    def new(self, params: Params) -> Params:
        like = check_linear(params)
        num_tasks, num_outputs, num_features = like.shape
        heads = random_heads(num_tasks, num_features, num_outputs, self.draws.at_test_time())
        return params | {name: head.to(like).requires_grad_() for name, head in heads.items()}

    def remember(self, batch: TaskBatch, kept: Params) -> None:
        self.draws.advance()

    def settings(self) -> dict:
        return {"kind": self.kind, "seed": self.draws.seed}


class StoredHeads(TaskHead):
    """A head of its own for each of ``num_tasks`` training tasks, trained by the outer loop.

    New tasks begin with the mean of the stored heads. (Fitting one is ``UnionOfTasks``' business.)

    Args:
        num_tasks: of the finite set of tasks; ``batch.task_id`` is 0 to num_tasks - 1.
        num_features, num_outputs: of the heads, which are linear.
        seed: draws the heads, as ``nn.Linear`` would.
    """

    kind = "stored"

    def __init__(self, num_tasks: int, num_features: int, num_outputs: int, seed: int = 0):
        super().__init__()
        self.num_tasks = check_count("num_tasks", num_tasks, 1)
        self.num_features = check_count("num_features", num_features, 1)
        self.num_outputs = check_count("num_outputs", num_outputs, 1)
        self.seed = seed
        heads = random_heads(num_tasks, num_features, num_outputs, torch.Generator().manual_seed(seed))
        self._store(heads[WEIGHT], heads[BIAS])

    def _store(self, weight: Tensor, bias: Tensor) -> None:
        self.weight = nn.Parameter(weight)  # [num_tasks, outputs, D]
        self.bias = nn.Parameter(bias)  # [num_tasks, outputs]

    def look_up(self, batch: TaskBatch) -> Params:
        """The heads of these tasks: {"head.weight": [T, outputs, D], "head.bias": [T, outputs]}."""
        if batch.task_id is None:
            raise ValueError(
                "stored heads need tasks that come back, but this batch has no task_id: use a finite "
                f"set of tasks, such as SinusoidTasks(num_tasks={self.num_tasks})"
            )
        refuse(batch.task_id < 0, "a task's number is 0 or more")
        try:
            return {WEIGHT: self.weight[batch.task_id], BIAS: self.bias[batch.task_id]}
        except IndexError as error:
            raise ValueError(
                f"task {int(batch.task_id.max())} has no stored head, there are {self.num_tasks}: make "
                "num_tasks of the heads that of the tasks"
            ) from error

    def begin(self, params: Params, batch: TaskBatch) -> Params:
        return params | self.look_up(batch)

    def new(self, params: Params) -> Params:
        num_tasks = len(next(iter(params.values())))
        mean = {WEIGHT: self.weight.mean(0), BIAS: self.bias.mean(0)}  # [outputs, D], [outputs]
        return params | {name: head.expand(num_tasks, *head.shape) for name, head in mean.items()}

    def settings(self) -> dict:
        names = ("kind", "num_tasks", "num_features", "num_outputs", "seed")
        return {name: getattr(self, name) for name in names}


class WrittenBackHeads(StoredHeads):
    """A head of its own for each training task, replaced by the adapted one at every visit.

    The heads learn through the inner loop alone, k steps a visit; the outer loop trains the body through
    them. The whole meta-batch begins with the heads as they were before it; of a task drawn twice, the last
    copy is kept.
    """

    kind = "written back"
    prepares = True

    def _store(self, weight: Tensor, bias: Tensor) -> None:
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def prepare(self, model: nn.Module, batch: TaskBatch) -> TaskBatch:
        return batch.with_info(**{name: head.requires_grad_() for name, head in self.look_up(batch).items()})

    begin = TaskHead.begin  # with what ``prepare`` looked up

    def new(self, params: Params) -> Params:
        start = super().new(params)
        return start | {name: start[name].clone().requires_grad_() for name in (WEIGHT, BIAS)}

    def keep(self, adapted: Params) -> Params:
        return {name: adapted[name] for name in (WEIGHT, BIAS)}

    @torch.no_grad()
    def remember(self, batch: TaskBatch, kept: Params) -> None:
        self.weight[batch.task_id] = kept[WEIGHT]
        self.bias[batch.task_id] = kept[BIAS]


KINDS = {cls.kind: cls for cls in (RandomHead, StoredHeads, WrittenBackHeads)}


def make_head(head: str | Mapping | TaskHead | None) -> TaskHead | None:
    """A way to begin with a head, from itself, its ``settings()``, or its kind where that needs no sizes; "meta" is the
    model's own head, hence None.

    >>> make_head("random").settings()
    {'kind': 'random', 'seed': 0}

    Raises:
        ValueError: an unknown kind, or one that needs sizes and was given none.
    """
    if isinstance(head, TaskHead):
        return head
    settings = {"kind": head or "meta"} if not isinstance(head, Mapping) else dict(head)
    kind = settings.pop("kind", None)
    if kind == "meta":
        return None
    if kind not in KINDS:
        raise ValueError(f"head={head!r}: there is no such way to begin; there are {['meta', *KINDS]}")
    sizes = {"num_tasks", "num_features", "num_outputs"}
    if issubclass(KINDS[kind], StoredHeads) and not sizes <= set(settings):
        name = KINDS[kind].__name__
        raise ValueError(f"head={head!r} needs sizes: pass {name}(num_tasks, num_features, num_outputs)")
    return KINDS[kind](**settings)


def check_linear(params: Mapping[str, Tensor]) -> Tensor:
    """The head's weight, where the head is one linear layer; else a TypeError."""
    names = [name for name in params if name.startswith("head.")]
    if set(names) != {WEIGHT, BIAS}:
        raise TypeError(
            f"a random, stored or fitted head is one linear layer with a bias, but this model's head has {names}"
        )
    return params[WEIGHT]
