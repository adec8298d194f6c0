"""What is looked at once, at the first step of a run. (What a model must be like: tests/contract.)"""

import warnings

import pytest
import torch

from course_lib.algorithms import MAML, R2D2, Reptile
from course_lib.engine import recipes, self_check
from course_lib.engine.hot_path import make_meta_gradient
from course_lib.inner_loop import predict
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks
from course_lib.training import meta_train

BATCH = SinusoidTasks().sample(25, generator=torch.Generator().manual_seed(0))


@pytest.mark.trust("an inner rate at which the inner loop explodes")
@pytest.mark.parametrize("learner", [MAML(1, 10.0), MAML(5, 1.0, second_order=False), Reptile(5, 1.0)])
def test_an_inner_loop_that_explodes_is_said_at_the_first_step_and_once(learner):
    meta_gradient = make_meta_gradient(learner, MLP(seed=0))
    with pytest.warns(UserWarning, match="the inner loop explodes.*smaller inner_lr"):
        meta_gradient(BATCH)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        meta_gradient(BATCH)


@pytest.mark.parametrize("learner", [MAML(1, 0.01), MAML(5, 0.1), MAML(1, -0.01), Reptile(), R2D2()])
def test_an_inner_loop_that_does_not_is_not(learner):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_meta_gradient(learner, MLP(seed=0))(BATCH)


def test_the_looks_change_nothing_of_the_run():
    """The same parameters as by hand, without any look."""
    model, plain = MLP(seed=0), MLP(seed=0)
    before = torch.get_rng_state()
    meta_train(MAML(), model, SinusoidTasks(), 3, meta_batch=25, progress=False)
    assert torch.equal(torch.get_rng_state(), before)
    optimizer, generator = torch.optim.Adam(plain.parameters(), fused=True), torch.Generator().manual_seed(0)
    for _ in range(3):
        grads, _ = MAML().meta_gradient(plain, SinusoidTasks().sample(25, generator=generator))
        for name, parameter in plain.named_parameters():
            parameter.grad = grads[name]
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), plain.parameters()))


def images_of_the_union():
    """The network of the union's recipe and its first batch: 64 drawn characters, each on a plain background."""
    _, model, tasks = recipes.find("glyphs", "union").build("glyphs")
    return model, tasks.sample(1, generator=torch.Generator().manual_seed(0)).support_x


@pytest.mark.parametrize("threads", [1, 2])
def test_a_background_that_rounding_puts_on_the_other_side_of_a_relu_is_no_mistake(threads, monkeypatch):
    """Found where a core multiplies 8 numbers at a time: it refused the recipe. For others the rounding is imitated."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        self_check.check_predict(*images_of_the_union())
        rounded = lambda model, params, x: predict(model, params, x * (1 + 8 * torch.finfo(x.dtype).eps))
        monkeypatch.setattr(self_check, "predict", rounded)
        self_check.check_predict(*images_of_the_union())
    finally:
        torch.set_num_threads(before)


def test_a_gradient_that_float64_finds_wrong_too_is(monkeypatch):
    """The outputs are right, their gradient is a hundredth too long."""

    def wrong(model, params, x):
        outputs = predict(model, params, x)
        return outputs + 0.01 * (outputs - outputs.detach())

    monkeypatch.setattr(self_check, "predict", wrong)
    with pytest.raises(ValueError, match="gradients differ by up to"):
        self_check.check_predict(*images_of_the_union())
