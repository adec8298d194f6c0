"""The methods in plain PyTorch, one task at a time, beside the library's learners of the same settings."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from course_lib import algorithms
from course_lib.tasks import TaskBatch
from tests.contract.networks import Network

STEPS, RATE, LAM = 2, 0.1, 0.3

Params = dict[str, Tensor]

LEARNERS = {
    "maml": lambda: algorithms.MAML(STEPS, RATE),
    "fomaml": lambda: algorithms.MAML(STEPS, RATE, second_order=False),
    "anil": lambda: algorithms.ANIL(STEPS, RATE),
    "reptile": lambda: algorithms.Reptile(STEPS, RATE),
    "r2d2": lambda: algorithms.R2D2(LAM, learn_lam=False, learn_scale=False),
    "protonet": lambda: algorithms.ProtoNet(),
}


def outputs_of(network: Network, theta: Params, x: Tensor) -> Tensor:
    """x [N, ...] -> [N, O], in a network made for this one call: ``functional_call`` leaves what it was given behind in
    a module that stands in two places."""
    with sdpa_kernel(SDPBackend.MATH):  # the attention that can be differentiated twice
        return functional_call(network.make(plain=True), theta, (x,))


class Asked(nn.Module):
    """A head that says what it was asked."""

    def forward(self, z: Tensor) -> Tensor:
        return z


def before_the_head(network: Network, theta: Params, x: Tensor) -> Tensor:
    """What reaches the head [N, D]."""
    bare = network.make(plain=True)
    bare.head = Asked()
    with sdpa_kernel(SDPBackend.MATH):
        return functional_call(bare, {n: p for n, p in theta.items() if not n.startswith("head.")}, (x,))


def descended(network: Network, theta: Params, x: Tensor, y: Tensor, names: list[str], second_order: bool) -> Params:
    """One task: x, y [S, ...]; the inner loop as anyone would write it."""
    for _ in range(STEPS):
        loss = F.mse_loss(outputs_of(network, theta, x), y)
        grads = torch.autograd.grad(loss, [theta[n] for n in names], create_graph=second_order, allow_unused=True)
        theta = theta | {n: theta[n] - RATE * g for n, g in zip(names, grads) if g is not None}
    return theta


def ridge(z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """argmin |[z 1] w - y|^2 + lam |w|^2: weight [O, D], bias [O]."""
    z = torch.cat([z, torch.ones(len(z), 1, dtype=z.dtype)], 1)  # [S, D + 1]
    w = torch.linalg.inv(z.T @ z + LAM * torch.eye(z.shape[1], dtype=z.dtype)) @ z.T @ y
    return w[:-1].T, w[-1]


def means(z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    centres = torch.stack([z[y == k].mean(0) for k in (0, 1)])  # [2, D]
    return 2 * centres, -(centres**2).sum(1)


def plain(method: str, network: Network, batch: TaskBatch) -> tuple[list[Tensor], Params]:
    """The outputs on each task's query set, and the meta-gradient, task after task."""
    theta = dict(network.make(plain=True).named_parameters())
    learnt = [n for n, p in theta.items() if p.requires_grad]
    total = {n: torch.zeros_like(theta[n]) for n in learnt}
    outputs = []
    for x, y, query_x, query_y in zip(batch.support_x, batch.support_y, batch.query_x, batch.query_y):
        adapted = theta
        if method in ("r2d2", "protonet"):
            weight, bias = (ridge if method == "r2d2" else means)(before_the_head(network, theta, x), y)
            out = before_the_head(network, theta, query_x) @ weight.T + bias
        else:
            names = [n for n in learnt if method != "anil" or n.startswith("head.")]
            adapted = descended(network, theta, x, y, names, second_order=method in ("maml", "anil"))
            out = outputs_of(network, adapted, query_x)
        outputs.append(out.detach())
        if method == "reptile":
            grads = [(theta[n] - adapted[n]).detach() for n in learnt]
        else:
            loss = F.cross_entropy(out, query_y) if method == "protonet" else F.mse_loss(out, query_y)
            where = adapted if method == "fomaml" else theta
            grads = torch.autograd.grad(loss, [where[n] for n in learnt], allow_unused=True)
        for n, g in zip(learnt, grads):
            total[n] += 0 if g is None else g / batch.num_tasks
    return outputs, total


def close(name: str, found: Tensor, expected: Tensor) -> None:
    """To 1e-9 of the largest value; what is zero but for rounding, to 1e-12."""
    allowed = 1e-9 * expected.abs().max().item() + 1e-12
    assert found.shape == expected.shape, f"{name} is {list(found.shape)}, not {list(expected.shape)}"
    off = (found - expected).abs().max().item()
    assert off <= allowed, f"{name} is off by {off:.2g}, of {expected.abs().max():.2g}"
