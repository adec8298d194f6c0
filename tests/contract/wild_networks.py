"""Networks with a ``forward`` of their own, and with what PyTorch hangs on a module: hooks, masks, other weights."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.utils.checkpoint import checkpoint

from tests.contract.networks import IMAGES, NETWORKS, SEQUENCES, D, LastState, add, image_net, join


def two_layers() -> nn.Sequential:
    return join(nn.Linear(3, D), nn.Tanh(), nn.Linear(D, D), nn.Tanh())


# Bodies with a forward of their own.


class Residual(nn.Module):
    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


class DenseBlocks(nn.Module):
    """Every layer sees what all before it made; in a ModuleList, the last parameter its own."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(3, 2), nn.Linear(5, 2), nn.Linear(7, D)])
        self.gain = nn.Parameter(torch.tensor(1.5))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = torch.cat([x, layer(x).tanh()], -1)
        return self.gain * self.layers[-1](x)


class Standardised(nn.Module):
    """Inputs by a mean and a deviation that are buffers."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.5, -0.5, 1.0]))
        self.register_buffer("deviation", torch.tensor([2.0, 1.0, 0.5]), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.deviation


class BySign(nn.Module):
    """The way a task goes hangs on its data."""

    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(D, D), nn.Linear(D, D)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(x).tanh() if x[0, 0] > 0 else self.down(x)


class AsLongAsNeeded(nn.Module):
    def __init__(self):
        super().__init__()
        self.step = nn.Linear(D, D)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(1 + int(x.abs().sum()) % 3):
            x = self.step(x).tanh()
        return x


class Named(nn.Sequential):
    """A Sequential that does not run its children in a row."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) - self[0](x)


class Steep(nn.Softplus):
    """An activation of PyTorch's with a parameter more."""

    def __init__(self):
        super().__init__()
        self.steepness = nn.Parameter(torch.tensor(0.7))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.steepness * x)


class WideLinear(nn.Linear):
    """A layer of PyTorch's with another forward."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 3.0 + x


class Cube(torch.autograd.Function):
    """A derivative by hand, with no rule for vmap."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        return 3 * ctx.saved_tensors[0] ** 2 * grad


class Do(nn.Module):
    def __init__(self, what: Callable[[Tensor], Tensor]):
        super().__init__()
        self.what = what

    def forward(self, x: Tensor) -> Tensor:
        return self.what(x)


class Recomputed(nn.Module):
    """Its activations are computed again in the backward pass, to save memory."""

    def __init__(self, saving: bool):
        super().__init__()
        self.inner, self.saving = nn.Sequential(nn.Linear(D, D), nn.Tanh()), saving

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.inner, x, use_reentrant=False) if self.saving else self.inner(x)


class Remembered(nn.Module):
    """Its layer's weight is used as it was handed over, wherever the layer's own may be."""

    def __init__(self, by_heart: bool):
        super().__init__()
        self.layer = nn.Linear(3, D)
        self.weights = [self.layer.weight] if by_heart else None

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weights[0] if self.weights else self.layer.weight).tanh()


def recomputed(saving: bool) -> nn.Module:
    return join(nn.Linear(3, D), Recomputed(saving), nn.Linear(D, D))


add("autograd_function", lambda: join(nn.Linear(3, D), Do(Cube.apply), nn.Linear(D, D)))
add("stop_gradient", lambda: join(nn.Linear(3, D), Do(lambda x: x + x.detach().tanh()), nn.Linear(D, D)))
add("recomputed", lambda: recomputed(True), every="either", twin=lambda: recomputed(False))
add("remembered", lambda: join(Remembered(True)), every="either", twin=lambda: join(Remembered(False)))
add("residual", lambda: join(nn.Linear(3, D), Residual(nn.Sequential(nn.Linear(D, D), nn.Tanh()))))
add("residual_images", lambda: image_net(Residual(nn.Conv2d(2, 2, 3, padding=1)), nn.Conv2d(2, D, 3)), IMAGES)
add("dense_blocks", lambda: nn.Sequential(OrderedDict(features=DenseBlocks(), head=nn.Linear(D, 2))))
add("buffers", lambda: join(Standardised(), nn.Linear(3, D), nn.Tanh()))
add("wrapped_deep", lambda: join(nn.Sequential(nn.Sequential(nn.Linear(3, D), nn.Sequential(nn.Tanh())))))
add("sequential_of_its_own", lambda: join(nn.Linear(3, D), Named(nn.Linear(D, D), nn.Tanh())))
add("activation_with_a_parameter", lambda: join(nn.Linear(3, D), Steep(), nn.Linear(D, D), Steep()))
add("linear_of_its_own", lambda: join(nn.Linear(3, D), nn.Tanh(), WideLinear(D, D)))
add("if_on_data", lambda: join(nn.Linear(3, D), BySign(), nn.Tanh()))
add("loop_on_data", lambda: join(nn.Linear(3, D), AsLongAsNeeded()))
add("no_body", lambda: nn.Sequential(OrderedDict(features=nn.Identity(), head=nn.Linear(3, 2))), solved="refused")

# Heads that are not one linear layer with a bias.

add("head_without_bias", lambda: with_head(nn.Linear(D, 2, bias=False)), solved="either")
add(
    "head_of_two_layers", lambda: with_head(nn.Sequential(nn.Linear(D, 3), nn.Tanh(), nn.Linear(3, 2))), solved="either"
)
add("head_with_norm", lambda: with_head(nn.Sequential(nn.LayerNorm(D), nn.Linear(D, 2))), solved="either")
add("head_of_its_own", lambda: with_head(WideLinear(D, D)), solved="refused")
add(
    "head_is_a_convolution",
    lambda: nn.Sequential(OrderedDict(features=nn.Sequential(nn.Conv2d(2, D, 3), nn.Tanh()), head=nn.Conv2d(D, 2, 1))),
    IMAGES,
    solved="refused",
)
add("outputs_along_a_sequence", lambda: join(nn.Linear(3, D), nn.Tanh()), SEQUENCES, solved="refused")
add("head_weight_norm", lambda: with_head(parametrizations.weight_norm(nn.Linear(D, 2))), solved="either")
add("head_pruned", lambda: with_head(pruned(nn.Linear(D, 2))), solved="either")


def with_head(head: nn.Module) -> nn.Module:
    return nn.Sequential(OrderedDict(features=nn.Sequential(nn.Linear(3, D), nn.Tanh()), head=head))


# Models with a forward of their own: what stands before, between, beside and after features and head.


class Model(nn.Module):
    """features and head, put together by ``way(model, x)``."""

    def __init__(self, way: Callable[[nn.Module, Tensor], Tensor] | None = None, **more: nn.Module | nn.Parameter):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(3, D), nn.Tanh(), nn.Linear(D, D))
        for name, part in more.items():
            setattr(self, name, part)
        self.head = nn.Linear(D, 2)
        self.way = way

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x)) if self.way is None else self.way(self, x)


WAYS = {  # name: way, what more the model has, what solved heads owe it
    "own_forward": (None, {}, "right"),
    "auxiliary_head": (None, lambda: {"auxiliary": nn.Linear(D, 5)}, "right"),
    "unused_parameter": (None, lambda: {"spare": nn.Parameter(torch.ones(3))}, "right"),
    "own_scale_before": (lambda m, x: m.head(m.features(m.scale * x)), lambda: {"scale": scale()}, "either"),
    "own_scale_between": (lambda m, x: m.head(m.scale * m.features(x)), lambda: {"scale": scale()}, "either"),
    "own_scale_of_one": (lambda m, x: m.head(m.scale * m.features(x)), lambda: {"scale": scale(1.0)}, "either"),
    "own_scale_after": (lambda m, x: m.scale * m.head(m.features(x)), lambda: {"scale": scale()}, "refused"),
    "third_child_before": (lambda m, x: m.head(m.features(m.stem(x))), lambda: {"stem": nn.Linear(3, 3)}, "either"),
    "third_child_between": (lambda m, x: m.head(m.neck(m.features(x))), lambda: {"neck": nn.LayerNorm(D)}, "either"),
    "normalised_between": (lambda m, x: m.head(F.normalize(m.features(x), dim=-1)), {}, "either"),
    "relu_between": (lambda m, x: m.head(m.features(x).relu()), {}, "either"),
    "log_softmax_after": (lambda m, x: m.head(m.features(x)).log_softmax(-1), {}, "refused"),
    "skip_to_the_outputs": (lambda m, x: m.head(m.features(x)) + x[:, :2], {}, "refused"),
    "gate_still_shut": (
        lambda m, x: m.head(m.features(x)) + m.gate * x[:, :2],
        lambda: {"gate": scale(0.0)},
        "refused",
    ),
    "outputs_without_a_dimension": (lambda m, x: m.head(m.features(x))[:, 0], {}, "refused"),
    "head_used_twice": (lambda m, x: m.head(m.features(x)) + m.head(m.features(x).sin()), {}, "refused"),
    "features_used_twice": (lambda m, x: m.head(m.features(x) - m.features(-x)), {}, "either"),
}


def scale(value: float = 1.7) -> nn.Parameter:
    return nn.Parameter(torch.tensor(value))


for name, (way, more, solved) in WAYS.items():
    add(name, lambda way=way, more=more: Model(way, **(more() if more else {})), solved=solved)


def sequential_of_three() -> nn.Module:
    body = nn.Sequential(nn.Linear(3, D), nn.Tanh())
    return nn.Sequential(
        OrderedDict(features=body, neck=nn.Sequential(nn.Linear(D, D), nn.ReLU()), head=nn.Linear(D, 2))
    )


add("sequential_of_three", sequential_of_three, solved="either")

# Hooks, masks and parametrisations.


def hooked() -> nn.Module:
    model = two_layers()
    model.features[0].register_forward_hook(lambda module, args, out: 2.0 * out)
    model.features[2].register_forward_pre_hook(lambda module, args: (args[0] + 0.5,))
    model.features[3].register_forward_hook(lambda module, args, out: out.square())
    return model


def hook_on_a_sequential() -> nn.Module:
    model = two_layers()
    model.features.register_forward_hook(lambda module, args, out: out * 1.5 - 0.1)
    return model


def hook_on_the_head() -> nn.Module:
    model = two_layers()
    model.head.register_forward_hook(lambda module, args, out: out.tanh())
    return model


def hook_on_the_model() -> nn.Module:
    model = two_layers()
    model.register_forward_hook(lambda module, args, out: 3.0 * out)
    return model


def pruned(layer: nn.Module) -> nn.Module:
    return prune.l1_unstructured(layer, "weight", amount=0.4)


def spectral(layer: nn.Module) -> nn.Module:
    """In training its norm is found anew at each call, here to the last digit, from wherever it begins."""
    return parametrizations.spectral_norm(layer, n_power_iterations=200)


add("hooks", hooked)
add("hook_on_a_sequential", hook_on_a_sequential)
add("hook_on_the_head", hook_on_the_head, solved="refused")
add("hook_on_the_model", hook_on_the_model, solved="refused")
add("weight_norm", lambda: join(parametrizations.weight_norm(nn.Linear(3, D)), nn.Tanh()))
add("weight_norm_images", lambda: image_net(parametrizations.weight_norm(nn.Conv2d(2, D, 3)), nn.Tanh()), IMAGES)
add("orthogonal", lambda: join(nn.Linear(3, D), parametrizations.orthogonal(nn.Linear(D, D)), nn.Tanh()))
add("spectral_norm", lambda: join(spectral(nn.Linear(3, D)), nn.Tanh(), nn.Linear(D, D)))
add("spectral_norm_in_eval", lambda: join(spectral(nn.Linear(3, D)), nn.Tanh()).eval())
add("pruned", lambda: join(pruned(nn.Linear(3, D)), nn.Tanh(), pruned(nn.Linear(D, D))))
add("pruned_images", lambda: image_net(pruned(nn.Conv2d(2, D, 3)), nn.Tanh()), IMAGES)

# Dropout that does nothing, and frozen parts.


def frozen(*names: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        model = two_layers()
        for name in names:
            model.get_submodule(name).requires_grad_(False)
        return model

    return build


def frozen_norm() -> nn.Module:
    norm = nn.BatchNorm2d(D).requires_grad_(False)
    norm.running_mean += 0.3
    return image_net(nn.Conv2d(2, D, 3), norm.eval(), nn.Tanh())


add("dropout_in_eval", lambda: join(nn.Linear(3, D), nn.Dropout(0.5), nn.Tanh()).eval())
add("dropout_of_nothing", lambda: join(nn.Linear(3, D), nn.Dropout(0.0), nn.Tanh()))
add("dropout_in_a_gru_in_eval", lambda: recurrent_dropout().eval(), SEQUENCES)
add("frozen_first_layer", frozen("features.0"))
add("frozen_body", frozen("features"), solved="refused")
add("frozen_head", frozen("head"), anil="refused")
add("frozen_norm", frozen_norm, IMAGES)


def recurrent_dropout() -> nn.Module:
    return join(LastState(nn.GRU(3, D, 2, batch_first=True, dropout=0.5)))


BY_NAME = {network.name: network for network in NETWORKS}
