"""Small networks such as other people write, in float64: what any of the course's methods may be given.

Each has children ``features`` and ``head``, one to seven numbers out, and the same weights whenever it is made.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_lib.tasks import TaskBatch

Inputs = Callable[[tuple[int, ...], torch.Generator], Tensor]

D = 4  # features


@dataclass(frozen=True)
class Network:
    """How to make a network, and what to give it.

    ``solved`` (R2D2, ProtoNet), ``anil`` and ``maml`` say what these owe it: "right" numbers, to be "refused" in words,
    or "either", where the head is not one linear layer of its own on top of the features. The others owe right numbers.
    """

    name: str
    build: Callable[[], nn.Module]
    inputs: Inputs
    solved: str = "right"
    anil: str = "right"
    maml: str = "right"

    def owes(self, method: str) -> str:
        by_method = {"r2d2": self.solved, "protonet": self.solved, "anil": self.anil, "maml": self.maml}
        return by_method.get(method, "right")

    def make(self) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            return self.build().double()

    def batch(self, labels: bool = False, num_tasks: int = 3, shots: int = 4, queries: int = 3) -> TaskBatch:
        """Tasks for it: targets like its outputs, or ``labels`` of two classes."""
        g = torch.Generator().manual_seed(2)
        x = self.inputs((num_tasks, shots + queries), g)
        if labels:
            y = torch.arange(shots + queries).remainder(2).expand(num_tasks, -1)
        else:
            with torch.no_grad():
                outputs = self.make()(x[0])
            y = torch.randn(num_tasks, *outputs.shape, generator=g, dtype=torch.float64)
        return TaskBatch(x[:, :shots], y[:, :shots], x[:, shots:], y[:, shots:])


def real(*shape: int) -> Inputs:
    return lambda lead, g: torch.randn(*lead, *shape, generator=g, dtype=torch.float64)


VECTORS, SIGNALS, IMAGES, VOLUMES, SEQUENCES = real(3), real(2, 8), real(2, 6, 6), real(1, 4, 4, 4), real(5, 3)


def TOKENS(lead: tuple[int, ...], g: torch.Generator) -> Tensor:
    return torch.randint(7, (*lead, 5), generator=g)


def join(*body: nn.Module, width: int = D, outputs: int = 2) -> nn.Sequential:
    return nn.Sequential(OrderedDict(features=nn.Sequential(*body), head=nn.Linear(width, outputs)))


NETWORKS: list[Network] = []


def add(name: str, build: Callable[[], nn.Module], inputs: Inputs = VECTORS, **owed: str) -> None:
    NETWORKS.append(Network(name, build, inputs, **owed))


# Dense, with every activation.

ACTIVATIONS = {
    "relu": nn.ReLU,
    "relu_in_place": lambda: nn.ReLU(inplace=True),
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "celu": nn.CELU,
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU("tanh"),
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
    "tanh": nn.Tanh,
    "tanhshrink": nn.Tanhshrink,
    "sigmoid": nn.Sigmoid,
    "log_sigmoid": nn.LogSigmoid,
    "hardtanh": nn.Hardtanh,
    "hardswish": nn.Hardswish,
    "softshrink": nn.Softshrink,
    "prelu": nn.PReLU,
    "prelu_per_channel": lambda: nn.PReLU(D),
    "softmax": lambda: nn.Softmax(-1),
    "softmax_of_the_points_dimension_1": lambda: nn.Softmax(1),
    "identity": nn.Identity,
}
for name, activation in ACTIVATIONS.items():
    add(f"dense_{name}", lambda make=activation: join(nn.Linear(3, D), make(), nn.Linear(D, D), make()))
add("dense_glu", lambda: join(nn.Linear(3, 2 * D), nn.GLU()))
add("dense_without_bias", lambda: join(nn.Linear(3, D, bias=False), nn.Tanh(), nn.Linear(D, D, bias=False)))
add("bilinear", lambda: join(Twice(nn.Bilinear(3, 3, D)), nn.Tanh()))

# Convolutions and pooling in one to three dimensions.


def image_net(*body: nn.Module) -> nn.Sequential:
    return join(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten())


add("conv1d", lambda: join(nn.Conv1d(2, D, 3), nn.Tanh(), nn.AdaptiveAvgPool1d(1), nn.Flatten()), SIGNALS)
add("conv1d_max", lambda: join(nn.Conv1d(2, D, 3), nn.MaxPool1d(6), nn.Flatten()), SIGNALS)
add("conv_transpose1d", lambda: join(nn.ConvTranspose1d(2, 1, 3, 2), nn.Flatten(), nn.Linear(17, D)), SIGNALS)
add("conv2d", lambda: image_net(nn.Conv2d(2, D, 3, padding=1), nn.Tanh()), IMAGES)
add("conv2d_strided", lambda: image_net(nn.Conv2d(2, D, 3, stride=2), nn.GELU()), IMAGES)
add("conv2d_grouped", lambda: image_net(nn.Conv2d(2, D, 3, groups=2, bias=False), nn.Tanh()), IMAGES)
add("conv2d_dilated", lambda: image_net(nn.Conv2d(2, D, 3, dilation=2), nn.Tanh()), IMAGES)
add("conv2d_same", lambda: image_net(nn.Conv2d(2, D, 3, padding="same"), nn.Tanh()), IMAGES)
add("conv2d_circular", lambda: image_net(nn.Conv2d(2, D, 3, padding=1, padding_mode="circular"), nn.Tanh()), IMAGES)
add("conv2d_relu_pool", lambda: image_net(nn.Conv2d(2, D, 3), nn.ReLU(), nn.MaxPool2d(2)), IMAGES)
add("conv2d_average", lambda: image_net(nn.Conv2d(2, D, 3), nn.AvgPool2d(2), nn.Tanh()), IMAGES)
add("conv2d_power_pool", lambda: image_net(nn.Conv2d(2, D, 3), nn.Sigmoid(), nn.LPPool2d(2, 2)), IMAGES)
add("conv2d_upsampled", lambda: image_net(nn.Upsample(scale_factor=2), nn.Conv2d(2, D, 3), nn.Tanh()), IMAGES)
add("conv_transpose2d", lambda: image_net(nn.ConvTranspose2d(2, D, 3), nn.Tanh()), IMAGES)
add("conv2d_flat_pixels", lambda: join(nn.Conv2d(2, 1, 5), nn.Tanh(), nn.Flatten()), IMAGES)
add("conv2d_flatten_from_2", lambda: join(nn.Flatten(2), nn.Linear(36, D), nn.Tanh(), Mean(1)), IMAGES)
add("conv3d", lambda: join(nn.Conv3d(1, D, 3), nn.Tanh(), nn.AdaptiveAvgPool3d(1), nn.Flatten()), VOLUMES)
add("conv3d_max", lambda: join(nn.Conv3d(1, D, 2), nn.MaxPool3d(3), nn.Flatten()), VOLUMES)

# Normalisations: of the batch at hand; by running statistics in evaluation; of a point alone.

add("batch_norm1d", lambda: join(nn.Linear(3, D), nn.BatchNorm1d(D, track_running_stats=False), nn.Tanh()))
add("batch_norm1d_in_eval", lambda: join(nn.Linear(3, D), moved(nn.BatchNorm1d(D)), nn.Tanh()))
add("batch_norm2d", lambda: image_net(nn.Conv2d(2, D, 3), nn.BatchNorm2d(D, track_running_stats=False)), IMAGES)
add("batch_norm2d_in_eval", lambda: image_net(nn.Conv2d(2, D, 3), moved(nn.BatchNorm2d(D)), nn.ReLU()), IMAGES)
add("batch_norm2d_plain", lambda: image_net(nn.Conv2d(2, D, 3), plain_norm(nn.BatchNorm2d), nn.Tanh()), IMAGES)
add(
    "batch_norm3d",
    lambda: join(nn.Conv3d(1, D, 3), plain_norm(nn.BatchNorm3d), nn.Tanh(), nn.AdaptiveAvgPool3d(1), nn.Flatten()),
    VOLUMES,
)
add("layer_norm", lambda: join(nn.Linear(3, D), nn.LayerNorm(D), nn.Tanh()))
add("rms_norm", lambda: join(nn.Linear(3, D), nn.RMSNorm(D), nn.Tanh()))
add("group_norm", lambda: image_net(nn.Conv2d(2, D, 3), nn.GroupNorm(2, D), nn.Tanh()), IMAGES)
add("instance_norm1d", lambda: join(nn.InstanceNorm1d(2, affine=True), nn.Flatten(), nn.Linear(16, D)), SIGNALS)
add("instance_norm2d", lambda: image_net(nn.Conv2d(2, D, 3), nn.InstanceNorm2d(D), nn.Tanh()), IMAGES)
add("local_response_norm", lambda: image_net(nn.Conv2d(2, D, 3), nn.LocalResponseNorm(2)), IMAGES)


def moved(norm: nn.Module) -> nn.Module:
    """In evaluation, with running statistics that are not those it is made with."""
    norm.running_mean += 0.3
    norm.running_var *= 2.0
    return norm.eval()


def plain_norm(kind: type[nn.Module]) -> nn.Module:
    return kind(D, affine=False, track_running_stats=False)


# Tokens and sequences.

add("embedding", lambda: join(nn.Embedding(7, D), nn.Flatten(), nn.Linear(5 * D, D), nn.Tanh()), TOKENS)
add("embedding_bag", lambda: join(nn.EmbeddingBag(7, D), nn.Tanh()), TOKENS, maml="refused")  # has no second derivative
add("gru_cell", lambda: join(Unrolled(nn.GRUCell(3, D))), SEQUENCES)
add("attention", lambda: join(nn.Linear(3, D), SelfAttention(), Mean(1)), SEQUENCES)


class Twice(nn.Module):
    """A module of two arguments, given the same twice."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x, x)


class Mean(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(self.dim)


class Unrolled(nn.Module):
    def __init__(self, cell: nn.GRUCell):
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), D)
        for now in x.unbind(1):
            state = self.cell(now, state)
        return state


class SelfAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(D, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.attention(x, x, x)[0]
