"""Resume: damaged states are refused, other runs told apart, and whatever an optimiser counts comes back exactly."""

from __future__ import annotations

import math
from collections import OrderedDict

import pytest
import torch
from torch import nn

from course_lib.algorithms import MAML
from course_lib.engine.files import read_tensors, write_tensors
from course_lib.engine.saved_state import History, load_state, optimizer_settings, save_state
from course_lib.models import MLP
from course_lib.tasks import SinusoidTasks
from course_lib.training import meta_train
from tests.faults import flip_a_bit


class Counting(torch.optim.Optimizer):
    """Descent whose step depends on all kinds of numbers that it keeps for each parameter."""

    def __init__(self, parameters, lr: float):
        super().__init__(parameters, {"lr": lr, "powers": (0.5, 2), "seen": 0})

    def step(self):
        for group in self.param_groups:
            group["seen"] += 1
            for p in group["params"]:
                kept = self.state[p]
                if not kept:
                    kept |= {"count": 0, "sum": 0.1, "best": math.inf, "odd": False, "past": [], "name": "x"}
                    kept |= {"big": torch.tensor(2**24), "double": torch.zeros((), dtype=torch.float64)}
                kept["count"] += 1
                kept["big"] += 1  # float32 would stay at 2^24
                kept["double"] += 1e-9
                kept["sum"] = kept["sum"] / 3 + group["seen"]
                kept["odd"] = not kept["odd"]
                kept["best"] = min(kept["best"], float(p.grad.norm()))
                kept["past"] = [*kept["past"][-2:], p.grad.clone()]
                rate = group["lr"] / (1 + kept["count"] % 3) / kept["sum"] ** group["powers"][0]
                rate *= (2.0 if kept["odd"] else 1.0) * (1 + (int(kept["big"]) % 2) + 1e5 * float(kept["double"]))
                p.data.add_(torch.stack(kept["past"]).mean(0), alpha=-rate / (1 + kept["best"]))


def decayed(decay: float):
    return lambda parameters, lr: torch.optim.AdamW(parameters, lr=lr, weight_decay=decay)


def train(iterations: int, state=None, optimizer=Counting):
    options = {"optimizer": optimizer, "progress": False, "meta_batch": 2, "outer_lr": 0.01, "state_file": state}
    return meta_train(MAML(), MLP(hidden=(8,), seed=1), SinusoidTasks(), iterations, **options)[0]


OPTIMIZERS = [Counting, decayed(0.1), torch.optim.RMSprop, torch.optim.NAdam, torch.optim.ASGD]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_resumed_run_ends_with_the_same_bits(tmp_path, optimizer):
    for stop in (3, 7, 11):
        train(stop, tmp_path / "run.state", optimizer)
    resumed, whole = train(20, tmp_path / "run.state", optimizer), train(20, None, optimizer)
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), whole.parameters(), strict=True))


def test_a_changed_setting_of_the_optimiser_is_another_run(tmp_path):
    train(2, tmp_path / "run.state", decayed(0.1))
    with pytest.raises(ValueError, match="another run .optimizer_settings weight_decay: 0.1 there, 0.2 here"):
        train(4, tmp_path / "run.state", decayed(0.2))


def test_another_layer_is_another_run(tmp_path):
    options = {"progress": False, "meta_batch": 2, "state_file": tmp_path / "run.state"}
    made = [torch.nn.Sequential(OrderedDict(features=torch.nn.Sequential(torch.nn.Linear(1, 8), layer),
                                            head=torch.nn.Linear(8, 1)))
            for layer in (torch.nn.ReLU(), torch.nn.Tanh())]  # fmt: skip
    meta_train(MAML(), made[0], SinusoidTasks(), 2, **options)
    with pytest.raises(ValueError, match=r"another run .parts features.1: 'ReLU\(\)' there, 'Tanh\(\)' here"):
        meta_train(MAML(), made[1], SinusoidTasks(), 4, **options)


@pytest.mark.trust("a run's state with one bit flipped", cases=100, long=1000)
def test_states_with_one_bit_flipped_are_all_refused(tmp_path, cases):
    state = tmp_path / "run.state"
    train(3, state)
    whole, refused = state.read_bytes(), 0
    for seed in range(cases):
        flip_a_bit(state, seed)
        with pytest.raises(ValueError, match="not a whole .safetensors file"):
            train(5, state)
        state.write_bytes(whole)
        refused += 1
    assert refused == cases and train(5, state)


@pytest.mark.trust("a run's state with a byte of its header changed", cases=100, long=1000)
def test_changed_bytes_of_a_states_header_are_all_refused(tmp_path, cases):
    state = tmp_path / "run.state"
    train(3, state)
    whole = state.read_bytes()
    size = 8 + int.from_bytes(whole[:8], "little")
    for number in range(cases):
        changed = bytearray(whole)
        changed[number * size // cases] ^= 1 + number % 255
        state.write_bytes(changed)
        with pytest.raises(ValueError, match="not a whole .safetensors file"):
            train(5, state)


@pytest.fixture
def parts():
    model = MLP(hidden=(8,))
    return model, MAML(), Counting(model.parameters(), lr=0.1)


@pytest.mark.trust("a run's state that lacks a part, or is another run's")
@pytest.mark.parametrize(
    "spoil",
    [
        lambda tensors, header: header.pop("optimizer"),
        lambda tensors, header: header.pop("loss"),
        lambda tensors, header: header["optimizer"]["state"].update({"7": {"count": 1}}),
        lambda tensors, header: header["optimizer"]["state"].update({"0": {"big": {"$tensor": "gone"}}}),
        lambda tensors, header: header["optimizer"]["groups"].append({}),
        lambda tensors, header: tensors.pop("model.head.bias"),
        lambda tensors, header: tensors.update({"generator.tasks": torch.zeros(3, dtype=torch.uint8)}),
        lambda tensors, header: tensors.update({"model.head.bias": torch.zeros(5)}),
    ],
)
def test_a_whole_file_that_is_no_whole_state_is_refused(tmp_path, parts, spoil):
    path, generator = tmp_path / "x.state", torch.Generator()
    save_state(path, {}, *parts, generator, History())
    tensors, header = read_tensors(path)
    spoil(tensors, header)
    write_tensors(path, tensors, header)
    with pytest.raises(ValueError, match="does not hold the whole state of this run"):
        load_state(path, {}, *parts, generator)


def test_every_generator_goes_on_where_it_was(tmp_path, parts):
    path, own = tmp_path / "x.state", torch.Generator().manual_seed(3)
    generators = {"tasks": own, "global": torch.default_generator}
    torch.manual_seed(4)
    save_state(path, {}, *parts, generators, History())
    dropout = nn.Dropout()
    expected = torch.rand(5, generator=own), dropout(torch.ones(50))
    load_state(path, {}, *parts, generators)
    assert torch.equal(torch.rand(5, generator=own), expected[0]) and torch.equal(dropout(torch.ones(50)), expected[1])
    with pytest.raises(ValueError, match=r"another run .generators: \['global', 'tasks'\] there, \['tasks'\] here"):
        load_state(path, {}, *parts, own)


def test_what_cannot_be_kept_is_named_when_it_is_saved(tmp_path, parts):
    model, learner, optimizer = parts
    optimizer.state[model.head.bias]["when"] = object()
    with pytest.raises(TypeError, match="cannot keep optimizer.3.when, a object: train without state_file"):
        save_state(tmp_path / "x", {}, model, learner, optimizer, torch.Generator(), History())
    assert not list(tmp_path.iterdir())


def test_settings_are_told_group_by_group():
    one, two = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    groups = [{"params": [one], "momentum": 0.5}, {"params": [two], "momentum": torch.tensor(0.25)}]
    settings = optimizer_settings(torch.optim.SGD(groups, lr=0.1))
    assert settings["group 0 momentum"] == 0.5 and settings["group 1 momentum"] == "tensor(0.2500)"
    assert not any("lr" in name or "params" in name for name in settings)
