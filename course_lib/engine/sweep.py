"""Many runs as one: a sweep over inner rates and seeds trains as a single batched run.

Run r has an initialisation, a stream of tasks and an inner rate of its own; nothing is shared. Each core takes its
share of the runs. Every parameter is kept for all of these together, theta [R, ...], and handed to the inner loop as
[R T, ...], one rate per task. The loss is the SUM over runs of each run's mean, so that its gradient is each run's own;
Adam works element by element, so one Adam serves all. Run r ends where ``meta_train`` would have brought it alone, up
to rounding. So does a table of stored heads: that of R runs has R times as many.

``benchmarks/run.py`` times 16 runs against one.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from threading import Lock

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from course_lib.algorithms.base import Learner, trainable
from course_lib.algorithms.heads import BIAS, WEIGHT, StoredHeads
from course_lib.algorithms.reptile import Reptile
from course_lib.algorithms.union import UnionOfTasks
from course_lib.engine.any_module import plain_attention
from course_lib.engine.compiled import Function, check_compiler, compile_function, pack, unpack
from course_lib.engine.fast_layers import running_norms
from course_lib.engine.hot_path import cores, draws_at_random, workers
from course_lib.engine.pieces import Sums
from course_lib.engine.run import Draws
from course_lib.inner_loop import Params, adapt
from course_lib.tasks.base import TaskBatch
from course_lib.training import Diverged, Optimizer, adam
from course_lib.validation import check_count, check_model

compiling = Lock()  # tracing is for one thread at a time


def meta_train_sweep(
    learner: Learner,
    models: Sequence[nn.Module],
    tasks,
    inner_lrs: Sequence[float],
    seeds: Sequence[int],
    iterations: int = 5000,
    meta_batch: int = 25,
    outer_lr: float = 1e-3,
    progress: bool = True,
    compile: bool = False,
) -> tuple[list[nn.Module], Tensor]:
    """Train R models, run r with ``inner_lrs[r]`` and ``seeds[r]``, as ``meta_train`` would train each alone.

    Args:
        learner: MAML, FOMAML or ANIL, with any head, Reptile, or the union of tasks. It is left as it is, and its
            ``inner_lr`` is not used.
        models: R models of one architecture, where each run starts; they are left as they are.
        tasks: has ``sample(num_tasks, generator=g) -> TaskBatch``.
        inner_lrs: alpha of each run [R], any sign. seeds: of each run's stream of tasks [R].
        iterations, meta_batch, outer_lr: as for ``meta_train``.
        compile: each core's share of the runs as one compiled program (CPU only; MAML, FOMAML, ANIL): about half the
            time of a step, after 5 to 60 s of compiling for each shape of batch.

    Returns:
        The R trained models, each with the mean of its stored heads for a head if the learner has them, and the losses
        of all iterations [iterations, R] (float32, CPU).

    Raises:
        RuntimeError: ``compile`` without a C++ compiler.
        ValueError: numbers of models, rates and seeds that disagree, a learner that is none of these, that overrides
            how they train, or that keeps more of its own than stored heads (a learnt rate, Adam's squares), batch norm
            with running statistics, which are not parameters, or dropout; ``compile`` of others, or on a GPU.
        Diverged: a run's loss is not finite; says at which iteration.

    >>> from course_lib.algorithms import MAML
    >>> from course_lib.models import MLP
    >>> from course_lib.tasks import SinusoidTasks
    >>> models = [MLP(seed=s) for s in (0, 1)]
    >>> options = dict(inner_lrs=[0.01, -0.01], seeds=[0, 1], iterations=2, progress=False)
    >>> trained, losses = meta_train_sweep(MAML(), models, SinusoidTasks(), **options)
    >>> len(trained), losses.shape
    (2, torch.Size([2, 2]))
    """
    check_count("iterations", iterations, 1)
    groups = make_groups(learner, models, tasks, inner_lrs, seeds, meta_batch, outer_lr, compile)
    losses = []
    with workers() as pool, plain_attention():  # a switch of the whole process
        for iteration in tqdm(range(1, iterations + 1), disable=not progress, unit="step", leave=False):
            loss = torch.cat(list(pool.map(Runs.step, groups) if len(groups) > 1 else map(Runs.step, groups)))  # [R]
            if loss.device.type == "cpu" and not math.isfinite(loss.sum()):
                raise Diverged(iteration, float(loss.sum()))
            losses.append(loss)
    losses = torch.stack(losses).cpu()  # [iterations, R]
    for iteration, loss in enumerate(losses.sum(1).tolist(), start=1):  # on a GPU nobody has looked yet
        if not math.isfinite(loss):
            raise Diverged(iteration, loss)
    return [model for group in groups for model in group.trained()], losses.float()


def make_groups(
    learner, models, tasks, inner_lrs, seeds, meta_batch: int = 25, outer_lr: float = 1e-3, compile: bool = False
) -> list[Runs]:
    """The runs of ``meta_train_sweep``, whose arguments these are: on a CPU a share to each core."""
    check_count("meta_batch", meta_batch, 1)
    check_sweep(learner, models, inner_lrs, seeds)
    on_cpu = next(models[0].parameters()).device.type == "cpu"
    if compile and not (on_cpu and only_steps(learner)):
        raise ValueError(
            "a sweep compiles for a CPU alone, and gradient steps from the model's own parameters alone (MAML, FOMAML, "
            "ANIL): leave out compile"
        )
    if compile:
        check_compiler()
    at_once = -(-len(models) // (cores() if on_cpu else 1))
    parts = [slice(first, first + at_once) for first in range(0, len(models), at_once)]
    how = meta_batch, outer_lr, compile
    return [Runs(learner, models[p], tasks, inner_lrs[p], seeds[p], *how) for p in parts]


class Runs:
    """Some of a sweep's runs, trained as one; arguments as for ``meta_train_sweep``, but that there may be a learner
    for each run, alike but for the seeds of their heads."""

    def __init__(
        self, learner, models, tasks, inner_lrs, seeds, meta_batch, outer_lr, compile=False, optimizer: Optimizer = adam
    ):
        self.models, self.tasks, self.meta_batch = models, tasks, meta_batch
        self.model = as_one(models)
        like = next(self.model.parameters())
        self.rates = torch.tensor(inner_lrs, dtype=torch.float64).to(like).repeat_interleave(meta_batch)  # [R T]
        learners = [learner] * len(models) if isinstance(learner, Learner) else learner
        self.each = [at_its_beginning(own).to(like.device, like.dtype) for own in learners]
        self.learner = for_all(self.each, inner_lrs[0] if len(set(inner_lrs)) == 1 else self.rates)
        self.only_steps, self.stored = only_steps(self.learner), isinstance(self.learner.head, StoredHeads)
        self.theta = dict(self.model.named_parameters())  # {name: [R, ...]}
        self.learnt = list(trainable(self.learner, self.model).values())
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.updates = optimizer(self.learnt, outer_lr)
        self.compile, self.programs = compile, {}

    def step(self) -> Tensor:
        """One iteration of every run; its loss [R]."""
        batch = TaskBatch.cat([self.sample(run) for run in range(len(self.models))])
        grads, loss = self.by_steps(batch) if self.only_steps else self.by_learner(batch)
        for p, grad in zip(self.learnt, grads):
            p.grad = grad
        self.updates.step()
        return loss

    def sample(self, run: int) -> TaskBatch:
        """The next meta-batch of one run; with stored heads its tasks are counted on from those of the run before."""
        batch = self.tasks.sample(self.meta_batch, generator=self.generators[run])
        batch = batch.to(self.rates.device, self.rates.dtype)
        own = self.each[run]
        if self.stored:
            own.head.look_up(batch)  # an error if a task has none
            batch, own = replace(batch, task_id=batch.task_id + run * own.head.num_tasks), self.learner
        return own.prepare(self.models[run], batch) if own.prepares else batch

    def by_learner(self, batch: TaskBatch) -> tuple[list[Tensor], Tensor]:
        """The gradients of what is learnt and each run's loss [R], as the learner has them."""
        gradient = partial(moves, self.learner) if isinstance(self.learner, Reptile) else self.learner.gradient
        grads, losses, kept = gradient(self.model, batch, self.meta_batch)
        if self.learner.prepares:
            for own in [self.learner] if self.stored else self.each:
                own.remember(batch, kept)
        return list(grads.values()), losses.view(len(self.models), -1).mean(1)

    def by_steps(self, batch: TaskBatch) -> tuple[list[Tensor], Tensor]:
        """``by_learner`` for gradient steps from the model's own parameters, which can be compiled."""
        tensors = [*self.theta.values(), self.rates, *unpack(batch)]
        *grads, loss = (self.program(batch, tensors) if self.compile else partial(self.gradients, batch))(*tensors)
        return grads, loss

    def gradients(self, like: TaskBatch, *tensors: Tensor) -> tuple[Tensor, ...]:
        """(theta, rates, tensors of a batch ``like`` this) -> (gradients of what is learnt, each run's loss [R])."""
        theta, (rates, *of_batch) = dict(zip(self.theta, tensors)), tensors[len(self.theta) :]
        loss = run_losses(self.learner, self.model, theta, pack(like, of_batch), rates)
        learnt = [p for p in theta.values() if p.requires_grad]
        return *torch.autograd.grad(loss.sum(), learnt, materialize_grads=True), loss.detach()

    def program(self, batch: TaskBatch, tensors: list[Tensor]) -> Function:
        """``gradients`` compiled for batches of this one's shape."""
        shape = tuple(tensor.shape for tensor in tensors)
        with compiling:
            if shape not in self.programs:
                example = [t.detach().clone().requires_grad_(t.requires_grad) for t in tensors]
                self.programs[shape] = compile_function(partial(self.gradients, batch), example)
        return self.programs[shape]

    def trained(self) -> list[nn.Module]:
        """The models as they are now; with stored heads each has the mean of its own as head, where it fits."""
        theta = {name: p.detach() for name, p in self.theta.items()}
        if self.stored:
            head = {WEIGHT: self.learner.head.weight, BIAS: self.learner.head.bias}  # [R N, ...]
            means = {name: p.detach().unflatten(0, (len(self.models), -1)).mean(1) for name, p in head.items()}
            theta |= means if all(theta[name].shape == mean.shape for name, mean in means.items()) else {}
        return [with_parameters(m, {name: p[r] for name, p in theta.items()}) for r, m in enumerate(self.models)]


def as_one(models: Sequence[nn.Module]) -> nn.Module:
    """A module that stands for R: its parameters are [R, ...]; ``stack_params`` gives each task those of its run."""
    one = copy.deepcopy(models[0])  # called functionally, a module serves one thread at a time
    for name, p in one.named_parameters():
        p.data = torch.stack([model.get_parameter(name).detach() for model in models])
    one._stands_for = len(models)
    return one


def at_its_beginning(learner: Learner) -> Learner:
    """A copy that has drawn nothing yet, as in ``meta_train``."""
    fresh = copy.deepcopy(learner)
    for part in fresh.modules():
        if isinstance(part, Draws):
            part.count = 0
    return fresh


def for_all(learners: Sequence[Learner], rate: float | Tensor) -> Learner:
    """A learner for the tasks of all runs, with the stored heads of each."""
    of_all = copy.deepcopy(learners[0])
    of_all._buffers.pop("inner_lr", None)
    of_all.inner_lr = rate
    if isinstance(of_all.head, StoredHeads):
        of_all.head.num_tasks *= len(learners)
        for name in ("weight", "bias"):  # [N, ...] -> [R N, ...]
            getattr(of_all.head, name).data = torch.cat([getattr(own.head, name).detach() for own in learners])
    return of_all


def moves(reptile: Reptile, model: nn.Module, batch: TaskBatch, num_tasks: int) -> Sums:
    """``Reptile.gradient`` for each run: theta - mean_i theta'_i."""
    visit = reptile.visit(model, batch)
    ends = {name: p.detach().unflatten(0, (-1, num_tasks)) for name, p in visit.adapted.items()}  # [R, T, ...]
    parameters = trainable(reptile, model)
    moved = {name: (p.detach()[:, None] - ends[name]).sum(1) / num_tasks for name, p in parameters.items()}
    return moved, visit.losses, visit.kept


def run_losses(learner: Learner, model: nn.Module, theta: Params, batch: TaskBatch, rates: Tensor) -> Tensor:
    """Each run's mean query loss [R]: parameters ``theta`` [R, ...], tasks of all runs [R T, ...], rates [R T].

    Each task descends alpha L at the rate 1: two passes fewer over the parameters of all tasks than L at its own alpha.
    """
    num_runs = len(next(iter(theta.values())))
    start = {name: p.repeat_interleave(batch.num_tasks // num_runs, dim=0) for name, p in theta.items()}  # [R T, ...]
    how = {"steps": learner.inner_steps, "only": learner.only, "second_order": learner.second_order}
    scaled = lambda *points: rates * learner.loss_fn(*points)
    adapted = adapt(model, start, batch.support_x, batch.support_y, loss_fn=scaled, lr=1.0, **how)
    return learner.judge(model, adapted, batch).view(num_runs, -1).mean(1)


def with_parameters(model: nn.Module, params: Params) -> nn.Module:
    """A copy of ``model`` holding ``params``."""
    trained = copy.deepcopy(model)
    with torch.no_grad():
        for name, p in trained.named_parameters():
            p.copy_(params[name])
    return trained


def check_sweep(
    learner: Learner, models: Sequence[nn.Module], inner_lrs: Sequence[float], seeds: Sequence[int]
) -> None:
    if not len(models) == len(inner_lrs) == len(seeds) > 0:
        raise ValueError(
            f"a sweep needs as many models as inner rates and seeds, at least one: got {len(models)}, "
            f"{len(inner_lrs)} and {len(seeds)}"
        )
    for rate in inner_lrs:
        if not math.isfinite(rate):
            raise ValueError(f"inner rates must be finite, not {rate}")
    like, buffers = form(check_model(models[0])), list(models[0].buffers())
    if any(form(check_model(m)) != like or not all(map(torch.equal, m.buffers(), buffers)) for m in models[1:]):
        raise ValueError(
            "models of a sweep must be of one architecture and differ in their parameters' values alone: these differ "
            "in names, shapes, layers, buffers, or in what is frozen or in evaluation"
        )
    if running_norms(models[0]):
        raise ValueError("a sweep keeps no running statistics: give batch norm track_running_stats=False")
    if draws_at_random(models[0]):
        raise ValueError("a sweep's layers draw nothing: leave out dropout, or train each run with meta_train")
    known = all(
        getattr(type(learner), part) in [getattr(method, part) for method in (Learner, Reptile, UnionOfTasks)]
        for part in PARTS
    )
    own = {name for name, _ in learner.named_buffers()} - {"inner_lr"}
    own |= {name for name, _ in learner.named_parameters()}
    if not known or own - ({WEIGHT, BIAS} if learner.head is not None else set()):
        raise ValueError(
            "a sweep batches gradient steps (MAML, FOMAML, ANIL), Reptile and the union of tasks, which keep nothing "
            f"of their own but stored heads, not {learner.describe()}: train each run with meta_train"
        )


def form(model: nn.Module) -> tuple:
    """What two models must have in common for one to stand for the other with its parameters' values."""
    parameters = [(name, p.shape, p.requires_grad) for name, p in model.named_parameters()]
    return repr(model), parameters, [b.shape for b in model.buffers()], [part.training for part in model.modules()]


PARTS = ("start", "rate", "adapt", "visit", "judge", "prepare", "remember", "gradient", "meta_gradient")


def only_steps(learner: Learner) -> bool:
    """Whether all that ``learner`` does is gradient steps from the model's own parameters: MAML, FOMAML, ANIL."""
    return learner.head is None and all(getattr(type(learner), part) is getattr(Learner, part) for part in PARTS)
