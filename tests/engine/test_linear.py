"""The stacked linear layer: PyTorch's bits, and derivatives of every order against finite differences."""

import pytest
import torch

from course_lib.engine.linear import linear

SHAPES = [(3, 4, 2, 5), (1, 3, 1, 4), (2, 3, 4, 1)]  # T, N, in, out


def values(tasks, points, fan_in, fan_out, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    shapes = (tasks, points, fan_in), (tasks, fan_out, fan_in), (tasks, fan_out)
    return [torch.randn(s, generator=generator, dtype=torch.float64).to(dtype).requires_grad_() for s in shapes]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("of_x", [True, False])
def test_first_and_second_derivatives_are_finite_differences(shape, of_x):
    inputs = values(*shape)
    inputs[0].requires_grad_(of_x)
    assert torch.autograd.gradcheck(linear, inputs)
    assert torch.autograd.gradgradcheck(linear, inputs)


def test_third_derivatives_are_those_of_pytorch():
    def third(layer):
        inputs = values(3, 4, 2, 5)
        grads = torch.autograd.grad(layer(*inputs).tanh().sum(), inputs, create_graph=True)
        grads = torch.autograd.grad(sum(g.square().sum() for g in grads), inputs, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in grads), inputs)

    torch.testing.assert_close(third(linear), third(plain))


def plain(x, weight, bias):
    return torch.baddbmm(bias.unsqueeze(1), x, weight.mT)


@pytest.mark.parametrize("shape", [(25, 10, 40, 40), (25, 10, 1, 40), (4, 5, 64, 5), (25, 10, 40, 1)], ids=str)
def test_values_and_first_derivatives_have_pytorchs_bits(shape):
    inputs = values(*shape, dtype=torch.float32)
    results = []
    for layer in (linear, plain):
        out = layer(*inputs)
        results.append((out, *torch.autograd.grad(out.square().sum(), inputs)))
    assert all(torch.equal(a, b) for a, b in zip(*results))


def test_first_and_second_derivatives_lie_in_memory_as_the_parameters():
    inputs = values(3, 4, 20, 30)
    first = torch.autograd.grad(linear(*inputs).square().sum(), inputs, create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs)
    assert all(grad.is_contiguous() for grad in (*first, *second))


def test_it_can_be_transformed():
    x, weight, bias = values(3, 4, 2, 5)
    many = torch.stack([weight, 2 * weight])
    over_weights = torch.func.vmap(torch.func.grad(lambda w: linear(x, w, bias).tanh().sum()))(many)
    expected = torch.func.vmap(torch.func.grad(lambda w: plain(x, w, bias).tanh().sum()))(many)
    torch.testing.assert_close(over_weights, expected)
