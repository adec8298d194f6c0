"""The unrolled inner loop against quadratics in closed form, dense linear algebra, and autograd itself."""

import math

import pytest
import torch

from course_lib.algorithms import MAML
from course_lib.analysis.curvature import Curvature, lanczos
from course_lib.analysis.unrolling import clip, product_meta_gradients, unroll
from course_lib.inner_loop import adapt, predict, stack_params
from course_lib.losses import mse
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks
from tests.gradients import Quadratic, regression, tiny_model

TIGHT = dict(rtol=0, atol=1e-10)


def unroll_quadratic(problem: Quadratic, steps: int, lr):
    batch, start = problem.batch(), stack_params(problem.model, problem.num_tasks)
    return unroll(problem.model, start, batch.support_x, batch.support_y, loss_fn=problem.loss, steps=steps, lr=lr)


def unroll_network(steps: int, lr, only=None, model=None, batch=None):
    model, batch = model or tiny_model(), batch or regression()
    start = stack_params(model, batch.num_tasks)
    return unroll(model, start, batch.support_x, batch.support_y, loss_fn=mse, steps=steps, lr=lr, only=only), batch


def autograd_meta_gradients(model, batch, steps, lr, second_order=True, only=None):
    """Each task's own meta-gradient [T, P] by backpropagation through ``adapt``."""
    start = {n: p.detach().clone().requires_grad_() for n, p in stack_params(model, batch.num_tasks).items()}
    how = dict(loss_fn=mse, steps=steps, lr=lr, only=only, second_order=second_order)
    adapted = adapt(model, start, batch.support_x, batch.support_y, **how)
    loss = mse(predict(model, adapted, batch.query_x), batch.query_y).sum()
    return torch.cat([g.flatten(1) for g in torch.autograd.grad(loss, list(start.values()))], 1)


def jacobian_products(unrolled):
    """(I - alpha H_0) ... (I - alpha H_{t-1}) as a matrix, t = 0..k: [k + 1, T, P, P]. For small models."""
    like = unrolled.curvatures[0].gradient  # [T, P]
    rows = torch.eye(like.shape[1], dtype=like.dtype, device=like.device).unsqueeze(1).repeat(1, len(like), 1)
    products = [rows]  # [P, T, P]
    for step in range(unrolled.steps):  # each row of M times the symmetric (I - alpha H)
        products.append(unrolled.jacobian_times(step, products[-1]))
    return torch.stack(products).transpose(1, 2)


def jacobian_norms(unrolled):
    """Largest singular value of each of these products [k + 1, T]."""
    return torch.linalg.matrix_norm(jacobian_products(unrolled), ord=2)


# Curvature


def test_hessian_of_a_quadratic_is_its_matrix():
    problem = Quadratic()
    here = unroll_quadratic(problem, 0, 0.1).curvatures[0]
    torch.testing.assert_close(here.hessian(), problem.H[0], **TIGHT)
    gradient = torch.einsum("tpq,tq->tp", problem.H[0], problem.theta - problem.c[0])
    torch.testing.assert_close(here.gradient, gradient, **TIGHT)
    lowest, highest = here.extreme_eigenvalues()
    exact = torch.linalg.eigvalsh(problem.H[0])
    torch.testing.assert_close(torch.stack([lowest, highest], 1), exact[:, [0, -1]], **TIGHT)


def test_hessian_of_a_network_against_finite_differences_of_its_gradient():
    model, batch, eps = tiny_model(), regression(num_tasks=1), 1e-6
    params = stack_params(model, 1)
    hessian = Curvature(model, params, batch.support_x, batch.support_y, mse).hessian()[0]
    torch.testing.assert_close(hessian, hessian.T, **TIGHT)
    columns = []
    for name, p in params.items():
        for i in range(p[0].numel()):
            shift = torch.zeros_like(p).flatten()
            shift[i] = eps
            ends = [
                Curvature(
                    model, params | {name: p + s * shift.view(p.shape)}, batch.support_x, batch.support_y, mse
                ).gradient[0]
                for s in (1, -1)
            ]
            columns.append((ends[0] - ends[1]) / (2 * eps))
    torch.testing.assert_close(hessian, torch.stack(columns, 1), rtol=0, atol=1e-8)


def test_batched_products_equal_single_ones():
    here = unroll_network(0, 0.1)[0].curvatures[0]
    v = torch.randn(3, *here.gradient.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    single = torch.stack([here.hessian_times(one) for one in v])
    torch.testing.assert_close(here.hessian_times(v), single, **TIGHT)


def test_lanczos_against_dense_eigenvalues():
    g = torch.Generator().manual_seed(0)
    root = torch.randn(4, 30, 30, dtype=torch.float64, generator=g)
    matrix = root + root.mT
    start = torch.randn(4, 30, dtype=torch.float64, generator=g)
    exact = torch.linalg.eigvalsh(matrix)
    full = torch.stack(lanczos(lambda v: torch.einsum("tpq,tq->tp", matrix, v), start, 30))
    torch.testing.assert_close(full, exact[:, [0, -1]].T, **TIGHT)
    few = torch.stack(lanczos(lambda v: torch.einsum("tpq,tq->tp", matrix, v), start, 6))
    assert (few[0] >= exact[:, 0]).all() and (few[1] <= exact[:, -1]).all()


def test_lanczos_stops_inside_an_invariant_space():
    """A multiple of the identity, a matrix of rank one and the zero matrix: one vector or two span all there
    is."""
    u = torch.ones(5, dtype=torch.float64)
    matrix = torch.stack([3 * torch.eye(5).double(), torch.outer(u, u), torch.zeros(5, 5).double()])
    start = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    lowest, highest = lanczos(lambda v: torch.einsum("tpq,tq->tp", matrix, v), start, 5)
    torch.testing.assert_close(lowest, torch.tensor([3.0, 0.0, 0.0], dtype=torch.float64), **TIGHT)
    torch.testing.assert_close(highest, torch.tensor([3.0, 5.0, 0.0], dtype=torch.float64), **TIGHT)


def test_lanczos_in_single_precision_does_not_leave_the_spectrum_of_a_matrix_of_low_rank():
    """The Hessian of 41 numbers in a head, on 10 points, has rank 10: further iterations find only rounding."""
    model, batch = MLP(seed=0), SinusoidTasks().sample(5, generator=torch.Generator().manual_seed(0))
    x, y, start = batch.support_x, batch.support_y, stack_params(model, 5)
    here = Curvature(model, start, x, y, mse, only="head")
    exact = torch.linalg.eigvalsh(here.hessian().double())[:, -1]
    for iterations in (10, 20, 30):
        found = here.extreme_eigenvalues(iterations)[1].double()
        torch.testing.assert_close(found, exact, rtol=1e-4, atol=0)


def test_lanczos_says_infinite_where_the_product_is_not_finite_and_spares_the_neighbour():
    scale = torch.tensor([[2.0], [math.inf]], dtype=torch.float64)
    lowest, highest = lanczos(lambda v: scale * v, torch.ones(2, 4, dtype=torch.float64), 4)
    assert (lowest.tolist(), highest.tolist()) == ([2.0, -math.inf], [2.0, math.inf])


# The unrolled loop


@pytest.mark.parametrize("lr", [0.05, torch.linspace(-0.1, 0.2, 5, dtype=torch.float64)])
def test_unrolled_ends_where_adapt_ends(lr):
    unrolled, batch = unroll_network(4, lr)
    model = tiny_model()
    x, y = batch.support_x, batch.support_y
    end = adapt(model, stack_params(model, 5), x, y, loss_fn=mse, steps=4, lr=lr)
    for name, p in end.items():
        torch.testing.assert_close(unrolled.points[-1][name], p.detach(), rtol=0, atol=1e-14)
    assert unrolled.losses.shape == unrolled.gradient_norms.shape == (5, 5)
    torch.testing.assert_close(unrolled.losses[-1], mse(predict(model, end, x), y).detach(), **TIGHT)


@pytest.mark.parametrize("only", [None, "features", "head"])
@pytest.mark.parametrize("lr", [0.1, -0.05, torch.linspace(-0.1, 0.2, 5, dtype=torch.float64)])
def test_product_of_jacobians_is_autograds_meta_gradient(lr, only):
    unrolled, batch = unroll_network(6, lr, only)
    full, first_order = product_meta_gradients(unrolled, batch.query_x, batch.query_y)
    columns = {None: slice(None), "features": slice(0, -4), "head": slice(-4, None)}[only]
    for steps in range(7):
        for second_order, found in ((True, full), (False, first_order)):
            expected = autograd_meta_gradients(tiny_model(), batch, steps, lr, second_order, only)[:, columns]
            torch.testing.assert_close(found[steps], expected, **TIGHT)


def test_what_is_frozen_neither_moves_nor_counts():
    model, batch = tiny_model(), regression()
    of_the_head, _ = unroll_network(4, 0.1, "head", model, batch)
    expected, _ = product_meta_gradients(of_the_head, batch.query_x, batch.query_y)
    model.features.requires_grad_(False)
    unrolled, _ = unroll_network(4, 0.1, None, model, batch)
    for ours, theirs in zip(unrolled.points, of_the_head.points):
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert torch.equal(product_meta_gradients(unrolled, batch.query_x, batch.query_y)[0], expected)
    with pytest.raises(ValueError, match="every parameter is frozen"):
        Curvature(model.requires_grad_(False), unrolled.points[0], batch.support_x, batch.support_y, mse)


def test_product_is_the_learners_meta_gradient():
    model, batch = tiny_model(), regression()
    unrolled, _ = unroll_network(5, 0.1)
    full, first_order = product_meta_gradients(unrolled, batch.query_x, batch.query_y, at=[5])
    for second_order, found in ((True, full), (False, first_order)):
        grads, _ = MAML(inner_steps=5, inner_lr=0.1, second_order=second_order).meta_gradient(model, batch)
        expected = torch.cat([grads[name].flatten() for name, _ in model.named_parameters()])
        torch.testing.assert_close(found[0].mean(0), expected, **TIGHT)


def test_some_steps_are_those_of_all():
    unrolled, batch = unroll_network(6, 0.1)
    everything = product_meta_gradients(unrolled, batch.query_x, batch.query_y)
    some = product_meta_gradients(unrolled, batch.query_x, batch.query_y, at=[0, 3, 5])
    for a, b in zip(everything, some):
        torch.testing.assert_close(a[[0, 3, 5]], b, **TIGHT)
    for wrong in ([3, 1], [7], [-1], []):
        with pytest.raises(ValueError, match="ascending"):
            product_meta_gradients(unrolled, batch.query_x, batch.query_y, at=wrong)


@pytest.mark.parametrize("lr", [0.1, -0.2, 1.5])
def test_jacobian_products_of_a_quadratic_are_powers(lr):
    problem = Quadratic()
    unrolled = unroll_quadratic(problem, 7, lr)
    products = jacobian_products(unrolled)
    for steps, product in enumerate(products):
        power = problem.shrink(steps, lr)
        torch.testing.assert_close(product, power, rtol=1e-10, atol=1e-10)
    batch = problem.batch()
    meta = product_meta_gradients(unrolled, batch.query_x, batch.query_y)[0].mean(1)  # [k + 1, P]
    for steps in range(8):
        torch.testing.assert_close(meta[steps], problem.meta_gradient(steps, lr), rtol=1e-10, atol=1e-10)


def test_the_border_lies_at_two_over_lambda_max():
    """On a convex quadratic the product's norm is max |1 - alpha lambda|^k: below 1 on one side, exploding on
    the other."""
    problem = Quadratic(num_tasks=1)
    highest = torch.linalg.eigvalsh(problem.H[0])[0, -1].item()
    lowest = torch.linalg.eigvalsh(problem.H[0])[0, 0].item()
    assert lowest > 0
    steps = 60
    for factor in (0.99, 1.01):
        lr = factor * 2 / highest
        norm = jacobian_norms(unroll_quadratic(problem, steps, lr))[steps, 0].item()
        expected = max(abs(1 - lr * lowest), abs(1 - lr * highest)) ** steps
        assert norm == pytest.approx(expected, rel=1e-9)
        assert (norm < 1) is (factor < 1)


@pytest.mark.parametrize("share", [0.5, 3.0])
def test_one_step_of_a_network_stretches_by_its_extreme_eigenvalues(share):
    """max |1 - alpha lambda|; by lambda_max beyond its border, by lambda_min below."""
    hessian = unroll_network(0, 0.0)[0].curvatures[0].hessian()
    values = torch.linalg.eigvalsh(hessian)  # [T, P]
    lr = share * 2 / values[:, -1]
    norm = jacobian_norms(unroll_network(1, lr)[0])[1]
    negative, positive = (1 - lr * values[:, 0]).abs(), (1 - lr * values[:, -1]).abs()
    torch.testing.assert_close(norm, torch.maximum(negative, positive), rtol=1e-9, atol=0)
    assert (values[:, 0] < 0).all()  # a network's loss is not convex
    assert ((positive > 1) == (share > 1)).all() and (negative > 1).all()


def test_lambda_max_changes_on_the_way():
    """The border of the first step is not that of the last: here it comes down past a rate half as high."""
    model, batch = MLP(seed=2), SinusoidTasks().sample(5, generator=torch.Generator().manual_seed(2))
    x, y, start = batch.support_x, batch.support_y, stack_params(MLP(seed=2), 5)
    first = Curvature(model, start, x, y, mse).extreme_eigenvalues()[1].max().item()
    unrolled = unroll(model, start, x, y, loss_fn=mse, steps=20, lr=1 / first)  # half of 2 / lambda_max
    last = unrolled.curvatures[-1].extreme_eigenvalues()[1].max().item()
    assert last > 2 * first


def test_jacobian_of_each_step_against_finite_differences():
    """d theta_2 / d theta_0, column by column, by moving theta_0."""
    model, batch, lr, eps = tiny_model(), regression(num_tasks=2), 0.2, 1e-6
    unrolled, _ = unroll_network(2, lr, model=model, batch=batch)
    exact = jacobian_products(unrolled)[2].mT  # the product in the text is the transpose of d theta_k / d theta_0
    column = 0
    for name, p in stack_params(model, 2).items():
        for i in range(p[0].numel()):
            shift = torch.zeros(p[0].numel(), dtype=torch.float64)
            shift[i] = eps
            ends = []
            for sign in (1, -1):
                start = stack_params(model, 2) | {name: p + sign * shift.view(p.shape[1:])}
                end = adapt(model, start, batch.support_x, batch.support_y, loss_fn=mse, steps=2, lr=lr)
                ends.append(torch.cat([q.flatten(1) for q in end.values()], 1))
            torch.testing.assert_close(exact[:, :, column], (ends[0] - ends[1]) / (2 * eps), rtol=0, atol=1e-7)
            column += 1


def test_a_diverging_rate_leaves_its_neighbours_alone():
    norms = []
    for lr in (0.1, torch.tensor([0.1, 0.1, 1e6, 0.1, 0.1], dtype=torch.float64)):
        unrolled, batch = unroll_network(40, lr)
        full, _ = product_meta_gradients(unrolled, batch.query_x, batch.query_y, at=[0, 40])  # [2, T, P]
        norms.append(full.norm(dim=-1))
    alone, beside = norms
    calm = [0, 1, 3, 4]
    torch.testing.assert_close(beside[:, calm], alone[:, calm], **TIGHT)
    assert not (beside[1, 2] < 1e6)


def test_clipping_shortens_and_never_turns():
    g = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]], dtype=torch.float64)
    clipped = clip(g, 1.0)
    torch.testing.assert_close(clipped[0], g[0] / 5, **TIGHT)
    assert torch.equal(clipped[1:], g[1:])
    by_torch = torch.nn.Parameter(g[0].clone())
    by_torch.grad = g[0].clone()
    torch.nn.utils.clip_grad_norm_([by_torch], 1.0)
    torch.testing.assert_close(clipped[0], by_torch.grad, rtol=1e-5, atol=0)
