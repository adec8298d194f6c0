"""The second derivative of batch norm, against finite differences and against PyTorch's own."""

import pytest
import torch
import torch.nn.functional as F
from torch.func import jacrev

from course_lib.analysis.curvature import Curvature
from course_lib.engine.batch_norm import batch_norm
from course_lib.inner_loop import predict, stack_params
from course_lib.losses import cross_entropy
from course_lib.models import Conv4


def values(*shape: int, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    x, weight, bias = (
        torch.randn(size, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
        for size in (shape, shape[1:2], shape[1:2])
    )
    return x, weight, bias


def of_batch(x, weight, bias, eps=1e-5):
    return batch_norm(x, weight, bias, None, None, 0.0, eps)


@pytest.mark.parametrize("shape", [(3, 4, 3, 2), (5, 2), (2, 3, 4)], ids=str)
@pytest.mark.parametrize("eps", [1e-5, 1.0])
def test_first_and_second_derivatives_are_finite_differences(shape, eps):
    x, weight, bias = values(*shape)
    with torch.no_grad():
        weight[0] = 0.0  # the formulas may not divide by gamma
    inputs = (x, weight, bias)
    assert torch.autograd.gradcheck(lambda *at: of_batch(*at, eps), inputs)
    assert torch.autograd.gradgradcheck(lambda *at: of_batch(*at, eps), inputs)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_values_and_first_derivatives_have_pytorchs_bits_and_second_ones_agree(layout):
    x, weight, bias = inputs = values(5, 6, 8, 8, dtype=torch.float32)
    direction = torch.randn(5, 6, 8, 8, generator=torch.Generator().manual_seed(1))
    results = []
    for norm in (of_batch, lambda x, weight, bias: F.batch_norm(x, None, None, weight, bias, training=True)):
        out = norm(x.contiguous(memory_format=layout), weight, bias)
        first = torch.autograd.grad((out.square() * direction).sum(), inputs, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs)
        results.append((out, *first, second))
    (*ours, our_second), (*pytorchs, their_second) = results
    assert all(torch.equal(a, b) for a, b in zip(ours, pytorchs))
    torch.testing.assert_close(our_second, their_second, rtol=1e-4, atol=1e-3)


def test_it_steps_aside_for_torch_func():
    model, x = Conv4(ways=3, filters=2, downsample="stride", seed=0), torch.rand(2, 4, 1, 28, 28)
    params = {name: p.detach() for name, p in stack_params(model, 2).items()}
    outputs = lambda weight: predict(model, params | {"features.1.weight": weight}, x).sum((0, 1, 2))
    weight = params["features.1.weight"].clone().requires_grad_()
    torch.testing.assert_close(jacrev(outputs)(weight), torch.autograd.grad(outputs(weight), weight)[0])


def test_running_statistics_move_as_pytorchs():
    x, weight, bias = values(5, 6, 8, 8)
    ours, pytorchs = ([torch.zeros(6).double(), torch.ones(6).double()] for _ in range(2))
    batch_norm(x, weight, bias, *ours, 0.1, 1e-5)
    F.batch_norm(x, *pytorchs, weight, bias, training=True, momentum=0.1)
    assert all(torch.equal(a, b) for a, b in zip(ours, pytorchs))


def test_a_third_derivative_is_refused_not_wrong():
    inputs = values(3, 2, 2, 2)
    first = torch.autograd.grad(of_batch(*inputs).pow(3).sum(), inputs[:1], create_graph=True)[0]
    second = torch.autograd.grad(first.square().sum(), inputs[:1], create_graph=True)[0]
    with pytest.raises(RuntimeError, match="once_differentiable"):
        second.sum().backward()


def test_products_with_many_vectors_at_once_equal_one_by_one():
    model, generator = Conv4(filters=2, seed=0).double(), torch.Generator().manual_seed(0)
    x, labels = torch.rand(2, 5, 1, 28, 28, generator=generator).double(), torch.arange(5).repeat(2, 1)
    here = Curvature(model, stack_params(model, 2), x, labels, cross_entropy)
    vectors = torch.randn(3, *here.gradient.shape, generator=generator, dtype=torch.float64)
    one_by_one = torch.stack([here.hessian_times(v) for v in vectors])
    torch.testing.assert_close(here.hessian_times(vectors), one_by_one)
