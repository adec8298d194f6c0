"""About a hundred small networks such as other people write, in float64: what any of the course's methods may be given.

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
    or "either", where the head is not one linear layer of its own on top of the features; ``every`` is what all owe it.
    ``twin`` computes the same in a way that ``functional_call`` understands.
    """

    name: str
    build: Callable[[], nn.Module]
    inputs: Inputs
    solved: str = "right"
    anil: str = "right"
    maml: str = "right"
    every: str = "right"
    twin: Callable[[], nn.Module] | None = None

    def owes(self, method: str) -> str:
        by_method = {"r2d2": self.solved, "protonet": self.solved, "anil": self.anil, "maml": self.maml}
        return self.every if self.every != "right" else by_method.get(method, "right")

    def make(self, plain: bool = False) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            return (self.twin if plain and self.twin else self.build)().double()

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


def add(name: str, build: Callable[[], nn.Module], inputs: Inputs = VECTORS, **more) -> None:
    NETWORKS.append(Network(name, build, inputs, **more))


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
    "rrelu_in_eval": lambda: nn.RReLU().eval(),
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
add("conv2d_reflected", lambda: image_net(nn.ReflectionPad2d(1), nn.Conv2d(2, D, 3), nn.AdaptiveMaxPool2d(2)), IMAGES)
add("conv2d_shuffled_pixels", lambda: image_net(nn.Conv2d(2, 16, 3), nn.Tanh(), nn.PixelShuffle(2)), IMAGES)
add("patches", lambda: join(nn.Unfold(3, stride=3), nn.Flatten(), nn.Linear(72, D), nn.Tanh()), IMAGES)
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
add("embedding_padded", lambda: join(nn.Embedding(7, D, padding_idx=0), Mean(1)), TOKENS)
add("embedding_by_frequency", lambda: join(nn.Embedding(7, D, scale_grad_by_freq=True), Mean(1)), TOKENS)
add("gru", lambda: join(LastState(nn.GRU(3, D, batch_first=True))), SEQUENCES)
add("gru_both_ways", lambda: join(LastState(nn.GRU(3, 2, batch_first=True, bidirectional=True))), SEQUENCES)
add("lstm", lambda: join(LastState(nn.LSTM(3, D, batch_first=True))), SEQUENCES)
add("lstm_of_two_layers", lambda: join(LastState(nn.LSTM(3, D, 2, batch_first=True))), SEQUENCES)
add("rnn", lambda: join(LastState(nn.RNN(3, D, batch_first=True))), SEQUENCES)
add("gru_cell", lambda: join(Unrolled(nn.GRUCell(3, D))), SEQUENCES)
add("attention", lambda: join(nn.Linear(3, D), SelfAttention(), Mean(1)), SEQUENCES)
add("attention_in_eval", lambda: join(nn.Linear(3, D), SelfAttention(), Mean(1)).eval(), SEQUENCES)
add("transformer_in_eval", lambda: join(nn.Linear(3, D), transformer_layer(), Mean(1)).eval(), SEQUENCES)
add("transformer_layer", lambda: join(nn.Linear(3, D), transformer_layer(), Mean(1)), SEQUENCES)
add("transformer_of_tokens", lambda: join(nn.Embedding(7, D), transformer_layer(), Mean(1)), TOKENS)


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


class LastState(nn.Module):
    """The output of a recurrent layer at the end of its sequence."""

    def __init__(self, rnn: nn.RNNBase):
        super().__init__()
        self.rnn = rnn

    def forward(self, x: Tensor) -> Tensor:
        return self.rnn(x)[0][:, -1]


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


def transformer_layer() -> nn.Module:
    return nn.TransformerEncoderLayer(D, 2, 6, dropout=0.0, batch_first=True)


# One module in two places, one parameter in two modules.


def shared_activation() -> nn.Module:
    act = nn.ReLU()
    return join(nn.Linear(3, D), act, nn.Linear(D, D), act)


def shared_linear() -> nn.Module:
    layer = nn.Linear(D, D)
    return join(nn.Linear(3, D), nn.Tanh(), layer, nn.Tanh(), layer, nn.Tanh())


def shared_block() -> nn.Module:
    block = nn.Sequential(nn.Linear(D, D), nn.Tanh())
    return join(nn.Linear(3, D), block, nn.LayerNorm(D), block)


def shared_norm() -> nn.Module:
    norm = nn.LayerNorm(D)
    return join(nn.Linear(3, D), norm, nn.Tanh(), nn.Linear(D, D), norm)


def shared_convolution_and_pooling() -> nn.Module:
    conv, pool = nn.Conv2d(2, 2, 3, padding=1), nn.MaxPool2d(2)
    return join(conv, nn.ReLU(), pool, conv, nn.Tanh(), pool, nn.Flatten(), nn.Linear(2, D))


def head_is_a_layer_of_the_body() -> nn.Module:
    layer = nn.Linear(3, 3)
    return nn.Sequential(OrderedDict(features=nn.Sequential(layer, nn.Tanh()), head=layer))


def activation_shared_with_the_head() -> nn.Module:
    act = nn.Tanh()
    head = nn.Sequential(act, nn.Linear(D, 2))
    return nn.Sequential(OrderedDict(features=nn.Sequential(nn.Linear(3, D), act, nn.Linear(D, D)), head=head))


def tied_within_the_body() -> nn.Module:
    model = join(nn.Linear(3, D), nn.Tanh(), nn.Linear(D, D), nn.Tanh(), nn.Linear(D, D))
    model.features[4].weight = model.features[2].weight
    return model


def tied_biases() -> nn.Module:
    model = join(nn.Linear(3, D), nn.Tanh(), nn.Linear(D, D))
    model.features[2].bias = model.features[0].bias
    return model


def tied_body_and_head() -> nn.Module:
    model = join(nn.Linear(3, 3), nn.Tanh(), width=3, outputs=3)
    model.head.weight = model.features[0].weight
    return model


def embedding_tied_to_the_head() -> nn.Module:
    model = join(nn.Embedding(7, D), Mean(1), outputs=7)
    model.head.weight = model.features[0].weight
    return model


SHARED = (shared_activation, shared_linear, shared_block, shared_norm, tied_within_the_body, tied_biases)
for build in SHARED:
    add(build.__name__, build)
add("shared_convolution_and_pooling", shared_convolution_and_pooling, IMAGES)
for build in (head_is_a_layer_of_the_body, tied_body_and_head):
    add(build.__name__, build, solved="either", anil="either")
add("embedding_tied_to_the_head", embedding_tied_to_the_head, TOKENS, solved="either", anil="either")
add("activation_shared_with_the_head", activation_shared_with_the_head, solved="either")
