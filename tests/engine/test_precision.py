"""Mixed precision: forward passes in bfloat16, everything else in float32."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from course_lib import checkpoints
from course_lib.__main__ import main
from course_lib.algorithms import ANIL, MAML, R2D2, MetaOptNet, ProtoNet, Reptile
from course_lib.engine.hot_path import make_meta_gradient
from course_lib.losses import cross_entropy
from course_lib.models import MLP, Conv4
from course_lib.tasks import GlyphTasks, SinusoidTasks
from course_lib.training import meta_train

LEARNERS = {
    "maml": MAML(1, 0.1, loss_fn=cross_entropy),
    "anil": ANIL(1, 0.4, loss_fn=cross_entropy),
    "r2d2": R2D2(lam=10.0, scale=10.0, loss_fn=cross_entropy),
    "metaoptnet": MetaOptNet(scale=10.0),
    "protonet": ProtoNet(scale=0.05),
    "reptile": Reptile(2, 0.05, loss_fn=cross_entropy),
}


def episodes(num_tasks: int = 4):
    return GlyphTasks("test", queries=3).sample(num_tasks, generator=torch.Generator().manual_seed(0))


def gradient(learner, precision: str) -> torch.Tensor:
    model = Conv4(filters=16, downsample="stride", seed=0)
    grads, info = make_meta_gradient(learner, model, 2, precision=precision)(episodes())
    assert info["loss"].dtype == torch.float32
    assert {grad.dtype for grad in grads.values()} == {torch.float32}
    return torch.cat([grad.flatten() for grad in grads.values()])


@pytest.mark.parametrize("learner", LEARNERS.values(), ids=LEARNERS)
def test_the_gradient_is_close_to_that_in_float32_and_is_not_it(learner):
    full, mixed = gradient(learner, "float32"), gradient(learner, "bfloat16")
    # Where every parameter steps, the rounding of an untrained network's inner gradient comes on top.
    close = 0.9 if learner is LEARNERS["maml"] else 0.98
    assert torch.cosine_similarity(full, mixed, dim=0) > close
    assert not torch.allclose(full, mixed, rtol=1e-3)  # eight bits were used somewhere


class Watched(R2D2):
    """Notes in what precision the head is fitted, and whether autocast is on when its gradient is taken."""

    def fit(self, z, y, ways):
        weight, bias = super().fit(z, y, ways)
        self.seen = [z.dtype, weight.dtype, torch.is_autocast_enabled("cpu")]
        weight.register_hook(lambda grad: self.seen.append(torch.is_autocast_enabled("cpu")))
        return weight, bias


def test_a_head_is_solved_and_differentiated_in_full_precision():
    learner, model = Watched(loss_fn=cross_entropy), Conv4(filters=4, downsample="stride", seed=0)
    make_meta_gradient(learner, model, precision="bfloat16")(episodes(1))
    assert learner.seen == [torch.float32, torch.float32, False, False]
    assert not torch.is_autocast_enabled("cpu")


def test_inner_steps_stay_in_full_precision():
    """A change of the parameters far below bfloat16's resolution is still made."""
    model = MLP(seed=0)
    batch = SinusoidTasks().sample(2, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        adapted = MAML(1, 1e-6).adapt(model, batch.support_x, batch.support_y)
    for name, p in model.named_parameters():
        change = (adapted[name] - p).abs().max()
        assert adapted[name].dtype == torch.float32 and 0 < change < 1e-3


def test_training_in_mixed_precision_learns():
    model = MLP(seed=1)
    _, history = meta_train(R2D2(), model, SinusoidTasks(), 60, progress=False, precision="bfloat16")
    assert sum(history.loss[-10:]) < 0.75 * sum(history.loss[:10])
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_a_run_goes_on_in_its_own_precision(tmp_path):
    def train(precision: str):
        options = {"state_file": tmp_path / "run.state", "progress": False, "precision": precision}
        meta_train(MAML(), MLP(seed=0), SinusoidTasks(), 2, **options)

    train("bfloat16")
    with pytest.raises(ValueError, match="another run.*precision: 'bfloat16' there, 'float32' here"):
        train("float32")


def test_the_record_names_the_precision(tmp_path):
    command = ["train", "sinusoid", "--iterations", "2", "--out", str(tmp_path / "run")]
    for options, precision in (["--precision", "bfloat16"], "bfloat16"), ([], "float32"):
        assert main([*command, *options]) == 0
        assert checkpoints.read_record(tmp_path / "run")["training"]["precision"] == precision


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="precision must be one of 'float32', 'bfloat16'; not 'half'"):
        make_meta_gradient(MAML(), MLP(), precision="half")
    with pytest.raises(ValueError, match="in float32"):
        make_meta_gradient(MAML(), MLP(), compile=True, precision="bfloat16")


@pytest.mark.gpu
def test_a_gpu_computes_in_mixed_precision_too():
    learner, batch = MAML(1, 0.1, loss_fn=cross_entropy), episodes()
    model = Conv4(downsample="stride", seed=0)
    full = nn.utils.parameters_to_vector(learner.meta_gradient(model, batch)[0].values())
    mixed, _ = make_meta_gradient(learner, model.to("cuda"), precision="bfloat16")(batch.to("cuda"))
    mixed = nn.utils.parameters_to_vector(mixed.values()).cpu()
    assert torch.cosine_similarity(full, mixed, dim=0) > 0.9
