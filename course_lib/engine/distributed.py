"""Training in several processes, on one machine or on many: ``torchrun --nproc-per-node 2 -m course_lib train ...``.

    grads = sum over processes of what the tasks of each add to the mean over all tasks           one all-reduce a step

Every process draws the whole meta-batch, from the same generator, and computes its share of the tasks; with the sums
in hand all of them make the same update. So the result is that of one process up to rounding, and a run may be resumed
by any number of processes (where layers drop out: another draw of what drops out). Whatever has a mean over tasks for a
meta-gradient is served: every method here, the union of tasks too. A meta-batch of fewer tasks than processes is
refused, so one task of all classes (``AllClasses``) trains in one process, or as several batches of it.

The first process alone writes and prints. Several machines need one file system for the state of a run.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from course_lib.engine.any_module import set_buffers
from course_lib.engine.pieces import Compute, Sums
from course_lib.tasks.base import TaskBatch


def processes() -> tuple[int, int]:
    """Which process this is, from 0, and how many there are; those that torchrun started meet at the first call."""
    if not dist.is_available():
        return 0, 1
    if not dist.is_initialized():
        if not dist.is_torchelastic_launched():
            return 0, 1
        # What an optimiser imports later keeps the group that it finds in default arguments: then the group's threads
        # outlive ``destroy_process_group``, and one that still lets go of a tensor aborts the ending interpreter.
        import torch.distributed.nn  # noqa: F401

        dist.init_process_group()  # gloo between CPUs, NCCL between GPUs
        atexit.register(dist.destroy_process_group)
    return dist.get_rank(), dist.get_world_size()


def local(device: torch.device) -> torch.device:
    """``device`` for this process: where it is "cuda", each process of a machine has a GPU of its own.

    Raises:
        ValueError: there are more processes than GPUs.
    """
    if processes()[1] == 1 or device.type != "cuda" or device.index is not None:
        return device
    number, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if number >= gpus:
        raise ValueError(f"process {number} has no GPU, there are {gpus}: torchrun --nproc-per-node {gpus}, or the CPU")
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


def shared_out(compute: Compute) -> Compute:
    """``compute`` for the same meta-batch in every process: each takes its share of the tasks, all get the sums."""

    def together(model: nn.Module, batch: TaskBatch, num_tasks: int) -> Sums:
        (rank, count), total = processes(), batch.num_tasks
        if total < count:
            raise ValueError(f"{count} processes share out a meta-batch, but it has {total} task(s): take more")
        bounds = [total * r // count for r in range(count + 1)]
        mine = slice(bounds[rank], bounds[rank + 1])
        grads, losses, kept = compute(model, batch[mine], num_tasks)
        with torch.no_grad():
            ends = [everyones(buffer) for buffer in model.buffers()]
            set_buffers(model, *zip(*ends), shares=[(b - a) / total for a, b in zip(bounds, bounds[1:])])
            per_task = [part.new_zeros(total, *part.shape[1:]) for part in (losses, *kept.values())]
            for whole, part in zip(per_task, (losses, *kept.values())):
                whole[mine] = part
            *sums, losses = add_up([*grads.values(), *per_task[1:], per_task[0]])
        return dict(zip(grads, sums)), losses, dict(zip(kept, sums[len(grads) :]))

    return together


def add_up(parts: list[Tensor]) -> list[Tensor]:
    """Each tensor's sum over the processes, in one message."""
    total = torch.cat([part.flatten() for part in parts])
    dist.all_reduce(total)
    sums = total.split([part.numel() for part in parts])
    return [one.view(part.shape).to(part.dtype) for one, part in zip(sums, parts)]


def everyones(tensor: Tensor) -> list[Tensor]:
    """The tensor of every process, in their order."""
    gathered = [torch.empty_like(tensor) for _ in range(processes()[1])]
    dist.all_gather(gathered, tensor)
    return gathered


@torch.no_grad()
def as_in_the_first(tensors: Iterable[Tensor]) -> None:
    """Give ``tensors`` the first process's values, in place."""
    if processes()[1] > 1:
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def anywhere(flag: bool) -> bool:
    """Whether ``flag`` is up in any process."""
    if processes()[1] == 1:
        return flag
    count = torch.tensor(int(flag))  # on the CPU: a GPU need not be waited for
    dist.all_reduce(count)
    return bool(count)
