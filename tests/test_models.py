"""The two networks, and the rules that run them for many tasks at once."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call

from course_lib.engine.fast_layers import fold, unfold
from course_lib.inner_loop import predict, stack_params
from course_lib.losses import cross_entropy
from course_lib.models import MLP, Conv4, has_convolutions
from course_lib.validation import check_model


def stacked_noise(model: nn.Module, num_tasks: int) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(0)

    def noisy(p):
        return p.detach() + 0.1 * torch.randn(num_tasks, *p.shape, generator=g, dtype=p.dtype)

    return {name: noisy(p).requires_grad_() for name, p in model.named_parameters()}


def task_by_task(model, params, x):
    """The same forward pass without a rule: one task after another through ``functional_call``."""
    each = [{name: p[t] for name, p in params.items()} for t in range(len(x))]
    return torch.stack([functional_call(model, own, (task_x,)) for own, task_x in zip(each, x)])


CONVS = {
    "pool": dict(),
    "stride": dict(downsample="stride"),
    "mean": dict(downsample="stride", pooling="mean"),
    "pool and mean": dict(pooling="mean", size=33),
    "widths": dict(filters=(2, 3, 4, 5)),
    "running": dict(statistics="running"),
    "colour": dict(in_channels=3),
}


def conv(**settings) -> tuple[Conv4, torch.Tensor]:
    settings = {"ways": 3, "filters": 3, "size": 16, "in_channels": 1} | settings
    size, channels = settings["size"], settings["in_channels"]
    g = torch.Generator().manual_seed(1)
    x = torch.rand(2, 4, channels, size, size, generator=g, dtype=torch.float64)
    return Conv4(**settings).double(), x


@pytest.mark.parametrize("num_tasks", [1, 2])  # one task has a path of its own
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("settings", CONVS.values(), ids=CONVS)
def test_all_tasks_at_once_equal_task_by_task(settings, training, num_tasks):
    model, x = conv(**settings)
    x = x[:num_tasks]
    model.train(training)
    params = stacked_noise(model, len(x))
    expected = task_by_task(model, params, x)
    torch.testing.assert_close(predict(model, params, x), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("num_tasks", [1, 2])
def test_second_derivatives_through_the_stacked_rules_agree(num_tasks):
    model, x = conv()
    x = x[:num_tasks]
    params, labels = stacked_noise(model, len(x)), torch.tensor([[0, 1, 2, 0]] * len(x))

    def twice(forward):
        grads = torch.autograd.grad(
            cross_entropy(forward(model, params, x), labels).sum(), list(params.values()), create_graph=True
        )
        length = sum(g.square().sum() for g in grads)
        return torch.autograd.grad(length, list(params.values()), materialize_grads=True)

    torch.testing.assert_close(twice(predict), twice(task_by_task), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(2, 4, 3, bias=False, groups=2),
        nn.Conv2d(2, 4, 3, padding="same", padding_mode="reflect"),
        nn.BatchNorm2d(2, affine=False),
        nn.BatchNorm2d(2, momentum=None),
        nn.AvgPool2d(2),
        nn.GroupNorm(1, 2),
        nn.Sequential(nn.Flatten(2), nn.Flatten()),
    ],
    ids=str,
)
def test_other_layers_too(layer):
    layer = layer.double().eval()
    x = torch.rand(3, 4, 2, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    params = stacked_noise(layer, 3)
    torch.testing.assert_close(predict(layer, params, x), task_by_task(layer, params, x))


@pytest.mark.parametrize("num_tasks", [1, 3])
def test_pooling_before_the_relu_gives_the_same_bits(num_tasks):
    body = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    x = torch.randn(num_tasks, 4, 2, 6, 6).round().requires_grad_()  # whole numbers: windows with ties
    direction = torch.randn(num_tasks, 4, 18)
    ours, plain = predict(body, {}, x), torch.stack([body(task_x) for task_x in x])
    assert torch.equal(ours, plain)
    assert torch.equal(*(torch.autograd.grad((out * direction).sum(), x)[0] for out in (ours, plain)))


def test_one_task_keeps_its_channels_last():
    model = Conv4(filters=8, seed=0)
    out = predict(model.features[:3], stack_params(model.features[:3], 1), torch.rand(1, 5, 1, 28, 28))
    assert out[0].is_contiguous(memory_format=torch.channels_last)


def test_tasks_stay_in_the_layout_of_the_convolutions():
    x = torch.rand(3, 4, 2, 6, 6)
    folded = fold(x)
    assert fold(unfold(folded, 3).relu()).is_contiguous()
    assert fold(unfold(folded, 3)).data_ptr() == folded.data_ptr()


def test_running_statistics_of_one_task_are_pytorchs():
    model, x = conv(statistics="running")
    one, reference = x[:1], nn.BatchNorm2d(1).double()
    layer = nn.BatchNorm2d(1).double()
    for _ in range(3):
        reference(one[0])
        predict(layer, stack_params(layer, 1), one)
    torch.testing.assert_close(layer.state_dict(), reference.state_dict())
    predict(layer.eval(), stack_params(layer, 1), one)
    torch.testing.assert_close(layer.state_dict(), reference.state_dict())  # evaluation changes none


def test_statistics_decide_whether_queries_see_each_other():
    """Transduction: with batch statistics logits depend on the images beside, in evaluation too."""
    for statistics, alone_is_together in (("batch", False), ("running", True)):
        model, x = conv(statistics=statistics)
        model.eval()
        params = stacked_noise(model, len(x))
        same = torch.allclose(predict(model, params, x)[:, :2], predict(model, params, x[:, :2]))
        assert same is alone_is_together


def test_sizes_are_those_of_the_papers():
    assert Conv4().head.in_features == 64
    assert Conv4(downsample="stride").head.in_features == 256  # Reptile's Omniglot
    assert Conv4(downsample="stride", pooling="mean").head.in_features == 64  # MAML's
    widths = [96, 192, 384, 512]  # R2D2's
    assert [m.out_channels for m in Conv4(filters=widths).features if isinstance(m, nn.Conv2d)] == widths
    assert sum(p.numel() for p in MLP().parameters()) == 40 + 40 + 40 * 40 + 40 + 40 + 1


def test_a_seed_is_a_network_and_leaves_the_random_state_alone():
    state = torch.random.get_rng_state()
    first, again, other = Conv4(seed=0).state_dict(), Conv4(seed=0).state_dict(), Conv4(seed=1).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])
    assert torch.equal(torch.random.get_rng_state(), state)


def test_bad_choices_are_named():
    for name in ("downsample", "pooling", "statistics"):
        with pytest.raises(ValueError, match=f"{name} must be one of"):
            Conv4(**{name: "no"})
    with pytest.raises(ValueError, match="one number or four"):
        Conv4(filters=(1, 2, 3))
    with pytest.raises(ValueError, match="stride"):
        Conv4(size=8)
    with pytest.raises(ValueError, match="hidden must be a list of widths, such as .40, 40., not 3"):
        MLP(hidden=3)
    with pytest.raises(ValueError, match="a layer's width must be a whole number of at least 1, not 0"):
        MLP(hidden=(40, 0))
    with pytest.raises(TypeError, match="`features` and `head`"):
        check_model(nn.Linear(1, 1))
    assert has_convolutions(Conv4()) and not has_convolutions(MLP())
