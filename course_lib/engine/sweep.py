"""Many runs as one: a sweep over inner rates and seeds trains as a single batched run.

Run r has an initialisation, a stream of tasks and an inner rate of its own; nothing is shared. Each core takes its
share of the runs. Every parameter is kept for all of these together, theta [R, ...], and handed to the inner loop as
[R T, ...], one rate per task. The loss is the SUM over runs of each run's mean, so that its gradient is each run's own;
Adam works element by element, so one Adam serves all. Run r ends where ``meta_train`` would have brought it alone, up
to rounding.

``benchmarks/run.py`` times 16 runs against one.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from functools import partial
from threading import Lock

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from course_lib.algorithms.base import Learner, trainable
from course_lib.engine.any_module import plain_attention
from course_lib.engine.compiled import Function, check_compiler, compile_function, pack, unpack
from course_lib.engine.fast_layers import running_norms
from course_lib.engine.hot_path import cores, draws_at_random, workers
from course_lib.inner_loop import Params, adapt
from course_lib.tasks.base import TaskBatch
from course_lib.training import Diverged, adam
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
        learner: how tasks adapt: MAML, FOMAML or ANIL with a meta-learned head. Its ``inner_lr`` is not used.
        models: R models of one architecture, where each run starts; they are left as they are.
        tasks: has ``sample(num_tasks, generator=g) -> TaskBatch``.
        inner_lrs: alpha of each run [R], any sign. seeds: of each run's stream of tasks [R].
        iterations, meta_batch, outer_lr: as for ``meta_train``.
        compile: each core's share of the runs as one compiled program (CPU only): about half the time of a step,
            after 5 to 60 s of compiling for each shape of batch.

    Returns:
        The R trained models, and the losses of all iterations [iterations, R] (float32, CPU).

    Raises:
        RuntimeError: ``compile`` without a C++ compiler.
        ValueError: numbers of models, rates and seeds that disagree, a learner that does more than gradient steps
            from the model's own parameters (one that overrides ``adapt``, say), batch norm with running statistics,
            which are not parameters, or dropout; ``compile`` on a GPU.
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
    if compile and not on_cpu:
        raise ValueError("a sweep compiles for a CPU alone: leave out compile, or move the models there")
    if compile:
        check_compiler()
    at_once = -(-len(models) // (cores() if on_cpu else 1))
    parts = [slice(first, first + at_once) for first in range(0, len(models), at_once)]
    how = meta_batch, outer_lr, compile
    return [Runs(learner, models[p], tasks, inner_lrs[p], seeds[p], *how) for p in parts]


class Runs:
    """Some of a sweep's runs, trained as one; arguments as for ``meta_train_sweep``."""

    def __init__(self, learner, models, tasks, inner_lrs, seeds, meta_batch, outer_lr, compile=False):
        self.learner, self.models, self.tasks, self.meta_batch = learner, models, tasks, meta_batch
        self.model = copy.deepcopy(models[0])  # called functionally, a module serves one thread at a time
        self.theta = {
            name: torch.stack([m.get_parameter(name).detach() for m in models]).requires_grad_(p.requires_grad)
            for name, p in models[0].named_parameters()
        }  # {name: [R, ...]}
        self.learnt = [p for p in self.theta.values() if p.requires_grad]
        rates = torch.tensor(inner_lrs, dtype=torch.float64).to(self.learnt[0])
        self.rates = rates.repeat_interleave(meta_batch)  # [R T]
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.updates = adam(self.learnt, outer_lr)
        self.compile, self.programs = compile, {}

    def step(self) -> Tensor:
        """One iteration of every run; its loss [R]."""
        batch = TaskBatch.cat([self.tasks.sample(self.meta_batch, generator=g) for g in self.generators])
        batch = batch.to(self.rates.device, self.rates.dtype)
        tensors = [*self.theta.values(), self.rates, *unpack(batch)]
        *grads, loss = (self.program(batch, tensors) if self.compile else partial(self.gradients, batch))(*tensors)
        for p, grad in zip(self.learnt, grads):
            p.grad = grad
        self.updates.step()
        return loss

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
        return [with_parameters(m, {name: p[r] for name, p in self.theta.items()}) for r, m in enumerate(self.models)]


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
    shapes = [{name: p.shape for name, p in check_model(m).named_parameters()} for m in models]
    if any(s != shapes[0] for s in shapes):
        raise ValueError("models of a sweep must be of one architecture: these differ in names or shapes")
    if running_norms(models[0]):
        raise ValueError("a sweep keeps no running statistics: give batch norm track_running_stats=False")
    if draws_at_random(models[0]):
        raise ValueError("a sweep's layers draw nothing: leave out dropout, or train each run with meta_train")
    parts = ("start", "rate", "adapt", "visit", "gradient")
    plain = all(getattr(type(learner), part) is getattr(Learner, part) for part in parts)
    if not plain or learner.head is not None or trainable(learner, nn.Module()):
        raise ValueError(
            "a sweep batches gradient steps from the model's own parameters (MAML, FOMAML, ANIL), not "
            f"{learner.describe()}: train each run with meta_train"
        )
