"""The outer loop: meta-batches, an optimiser, progress, exact resume.

    params <- outer_update(params, meta-gradient over a meta-batch of tasks)

Line 8 of algorithm 1 (MAML, arXiv 1703.03400), with Adam in place of plain descent as in its released code.
``outer_loop`` is the whole of it; ``meta_train`` adds what a long run needs around it.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import mean

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from course_lib.algorithms.base import Learner, trainable
from course_lib.engine.distributed import anywhere, as_in_the_first, local, processes
from course_lib.engine.hot_path import make_meta_gradient
from course_lib.engine.run import Draws, keyboard_interrupt, own_randomness, pick_device, threads_for
from course_lib.engine.saved_state import History, describe_run, load_state, save_state
from course_lib.tasks.base import TaskBatch
from course_lib.validation import check_count, check_model

__all__ = ["Diverged", "History", "adam", "linear_decay", "make_meta_gradient", "meta_train", "outer_loop"]

LOOK_EVERY = 100  # iterations between looks at the losses, so that a GPU is not stalled at each

Optimizer = Callable[[Iterable[Tensor], float], torch.optim.Optimizer]


class Diverged(FloatingPointError):
    """The loss became NaN or infinite."""

    def __init__(self, iteration: int, loss: float):
        super().__init__(
            f"training stopped at iteration {iteration}: the loss is {loss}. Try a smaller inner_lr, fewer "
            "inner_steps, a smaller outer_lr, or second_order=False"
        )


def adam(parameters: Iterable[Tensor], lr: float) -> torch.optim.Optimizer:
    """Adam, one fused kernel for all parameters."""
    return torch.optim.Adam(parameters, lr=lr, fused=True)


def linear_decay(progress: float) -> float:
    """A rate that falls in a straight line to zero, Reptile's schedule: progress 0..1 -> factor 1..0."""
    return 1.0 - progress


def outer_loop(
    meta_gradient: Callable[[TaskBatch], tuple[dict[str, Tensor], dict[str, Tensor]]],
    parameters: dict[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    batches: Iterator[TaskBatch],
    first: int = 1,
    outer_rate: Callable[[int], float] | None = None,
) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """The outer loop, as long as there are batches: yields (iteration, info) after each update of ``parameters``.

    ``outer_rate`` gives the rate of each iteration, counted from ``first``; None leaves it to the optimiser.

    Raises:
        Diverged: before the update that a NaN or infinite loss would make, so the parameters are still good.
            (On a GPU asking would stall the loop; there ``meta_train`` looks at its record now and then.)
    """
    for iteration, batch in enumerate(batches, start=first):
        grads, info = meta_gradient(batch)
        if info["loss"].device.type == "cpu" and not math.isfinite(info["loss"]):
            raise Diverged(iteration, float(info["loss"]))
        for name, parameter in parameters.items():
            parameter.grad = grads[name]
        if outer_rate is not None:
            for group in optimizer.param_groups:
                group["lr"] = outer_rate(iteration)
        optimizer.step()
        for parameter in parameters.values():
            parameter.grad = None
        yield iteration, info


def meta_train(
    learner: Learner,
    model: nn.Module,
    tasks,
    iterations: int = 5000,
    meta_batch: int = 25,
    outer_lr: float = 1e-3,
    seed: int = 0,
    device: str | torch.device = "auto",
    *,
    optimizer: Optimizer = adam,
    schedule: Callable[[float], float] | None = None,
    tasks_at_once: int | None = None,
    compile: bool = False,
    precision: str = "float32",
    state_file: str | os.PathLike | None = None,
    save_every: int = 1000,
    progress: bool = True,
    on_step: Callable[[int, dict[str, Tensor]], None] | None = None,
) -> tuple[nn.Module, History]:
    """Train ``model`` (in place) to be a good start for ``learner`` on ``tasks``.

    Parts that are frozen (``requires_grad_(False)``) or in evaluation (``eval()``) stay so. Several processes
    (``torchrun script.py``) share the tasks of each meta-batch and end with the same model (see engine/distributed.py).

    Args:
        tasks: has ``sample(num_tasks, generator=g) -> TaskBatch``.
        iterations: outer steps. meta_batch: tasks per step, T. outer_lr: beta.
        seed: of the stream of tasks, and of dropout. The same seed gives the same parameters on a CPU, bit for bit.
        device: "auto" (see ``pick_device``), "cpu", "cuda", ...
        optimizer: (parameters, lr) -> optimiser. Reptile's own is ``torch.optim.SGD``, which interpolates.
        schedule: progress 0..1 -> factor on ``outer_lr``; None keeps it constant.
        tasks_at_once, compile, precision: see ``make_meta_gradient``.
        state_file: where to keep the whole state of the run, every ``save_every`` iterations and at the end. If the
            file is there the run goes on from it, and ends with exactly the parameters of an uninterrupted one.
        progress: show a bar with the loss.
        on_step: called after every iteration with its number (from 1) and the info of the meta-gradient, in the first
            process.

    Returns:
        The model and a ``History``. With a ``state_file`` an interrupt from the keyboard ends the run early, saved.

    Raises:
        KeyboardInterrupt: stopped, after a whole step, without a ``state_file``: no number may be of half a training.
        Diverged: the loss is not finite; says at which iteration and what to try.
        ValueError: counts below 1, a device that is not there, a state file of another run.
    """
    check_model(model)
    iterations = check_count("iterations", iterations, 1)
    meta_batch = check_count("meta_batch", meta_batch, 1)
    save_every = check_count("save_every", save_every, 1)
    rank, _ = processes()
    device = local(pick_device(device, model))
    model.to(device)
    dtype = next(model.parameters()).dtype
    learner.to(device, dtype)
    as_in_the_first(tensor for module in (model, learner) for tensor in (*module.parameters(), *module.buffers()))
    tasks = tasks.to(device) if device.type != "cpu" and hasattr(tasks, "to") else tasks  # pictures picked where used
    parameters = trainable(learner, model)
    updates = optimizer(parameters.values(), outer_lr)
    run = describe_run(learner, model, tasks, updates)
    run |= {"meta_batch": meta_batch, "outer_lr": outer_lr, "seed": seed, "precision": precision}
    if schedule is not None:  # then the rates depend on how long the run is to be
        run |= {"schedule": getattr(schedule, "__name__", type(schedule).__name__), "iterations": iterations}
    generator = torch.Generator().manual_seed(seed)
    history = History()
    losses: list[Tensor] = []  # on the device until the next look: reading a number would stall a GPU

    def look() -> None:
        for loss in torch.stack(losses).tolist() if losses else []:
            history.loss.append(loss)
            if not math.isfinite(loss):
                raise Diverged(history.iterations, loss)
        losses.clear()
        history.seconds = time.perf_counter() - started

    def outer_rate(iteration: int) -> float:
        return outer_lr * (schedule((iteration - 1) / iterations) if schedule else 1.0)

    with threads_for(model, device), own_randomness(seed, device) as begin, keyboard_interrupt() as interrupted:
        for draws in (part for part in learner.modules() if isinstance(part, Draws)):
            draws.count = 0  # one seed, one stream, however often the learner was used before
        if state_file is not None and anywhere(Path(state_file).exists()):
            history = load_state(state_file, run, model, learner, updates, generator)
        first, started = history.iterations + 1, time.perf_counter() - history.seconds
        # learner.meta_gradient(model, batch), made fast for this device and model, and checked at the first batch
        meta_gradient = make_meta_gradient(learner, model, tasks_at_once, compile, precision)

        def batches() -> Iterator[TaskBatch]:
            for iteration in range(first, iterations + 1):
                begin(iteration)
                batch = tasks.sample(meta_batch, generator=generator).to(device, dtype)
                if rank:
                    begin(iteration, rank)
                yield batch

        quiet = rank > 0 or not progress
        with tqdm(total=iterations, initial=first - 1, disable=quiet, unit="step", leave=False) as bar:
            for iteration, info in outer_loop(meta_gradient, parameters, updates, batches(), first, outer_rate):
                losses.append(info["loss"])
                bar.update()
                stop = anywhere(interrupted()) or iteration == iterations
                if stop or iteration % LOOK_EVERY == 0:
                    look()
                    bar.set_postfix(loss=f"{mean(history.loss[-LOOK_EVERY:]):.3f}", refresh=False)
                if on_step is not None and rank == 0:
                    on_step(iteration, info)
                if state_file is not None and (stop or iteration % save_every == 0):
                    look()
                    if rank == 0:
                        save_state(state_file, run, model, learner, updates, generator, history)
                if stop:
                    break
    history.interrupted = history.iterations < iterations
    if history.interrupted and state_file is None:
        raise KeyboardInterrupt(f"after {history.iterations} of {iterations} iterations")
    return model, history
