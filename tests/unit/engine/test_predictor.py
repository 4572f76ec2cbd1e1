"""A method that was kept answers as it answered when its run was measured, each in its own way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from fer_bench.core.errors import StoreError
from fer_bench.core.spec import restore
from fer_bench.engine.predictor import Predictor, load_predictor
from fer_bench.plugins.registry import Plugin, discover
from fer_bench.store.folder import MODEL, RunFolder
from fer_bench.store.records import read_record
from fer_bench.store.torch_files import StoredModel
from fer_bench.testing.bench import CLASSES, SIZE, Bench
from tests.helpers.plugins import LOSS
from tests.helpers.training import train_with

PLUGINS = discover()

PAIR = """
def build(self, make_net):
    self.net, self.other = make_net("a"), make_net("b")
    self.register_buffer("turned", torch.zeros(1))

@classmethod
def needs(cls, config):
    return Needs(networks=2, noise_rate=True, trusted=0.2)

def loss(self, batch, run):
    assert self.task.noise_rate is not None and len(self.task.trusted) == len(self.task.trusted_label)
    return F.cross_entropy(self.net(batch.view()), batch.label) + F.cross_entropy(self.other(batch.view()), batch.label)

def on_fit_end(self, run):
    self.turned += 1

def predict(self, images):
    return (self.net(images) - self.other(images)) * self.turned
"""


def loaded(folder: RunFolder, plugin: Plugin) -> Predictor | None:
    record = read_record(folder)
    spec = restore(record.spec, "spec.json")
    return load_predictor(record, spec, plugin.load(), plugin.restore_config(spec.config), torch.device("cpu"))


def assert_answers_as_measured(folder: RunFolder, plugin: Plugin, bench: Bench) -> None:
    model = loaded(folder, plugin)
    assert model is not None and model.classes == CLASSES
    pixels = bench.dataset.pixels(SIZE)[bench.dataset.split == "test"]
    measured = torch.from_numpy(folder.scores()["test_logits"]).softmax(1).numpy()
    assert np.array_equal(model.probabilities(np.ascontiguousarray(pixels)), measured), "to the last bit"


def test_two_networks_with_all_that_a_method_may_be_told(toy: Callable[..., Plugin], bench: Bench) -> None:
    plugin = toy("pair", PAIR)
    folder = train_with(bench, plugin, "pair", keep_networks=True)
    assert_answers_as_measured(folder, plugin, bench)
    stored = folder.model()
    assert stored is not None and stored.notes["trusted"].startswith("[") and '"method":"pair"' in stored.notes["spec"]


@pytest.mark.slow
@pytest.mark.parametrize("key", [pytest.param(key, marks=pytest.mark.xdist_group(key)) for key in PLUGINS])
def test_every_method(key: str, bench: Bench) -> None:
    folder = train_with(bench, PLUGINS[key], "kept", keep_networks=True)
    assert_answers_as_measured(folder, PLUGINS[key], bench)


def test_a_run_without_a_model(toy: Callable[..., Plugin], bench: Bench) -> None:
    plugin = toy("plain", LOSS)
    folder = train_with(bench, plugin, "without")
    assert loaded(folder, plugin) is None and not folder.has_model


def test_models_that_do_not_fit_are_refused(toy: Callable[..., Plugin], bench: Bench) -> None:
    plugin = toy("plain", LOSS)
    folder = train_with(bench, plugin, "damaged", keep_networks=True)
    file = folder.path / MODEL
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(StoreError, match="its bytes were changed"):
        loaded(folder, plugin)
    sums = (folder.path / "sums.json").read_text()
    (folder.path / "sums.json").write_text("{}")
    file.write_bytes(whole[:100])
    with pytest.raises(StoreError, match=rf"{MODEL} is damaged"):
        loaded(folder, plugin)
    stored = StoredModel.from_bytes(whole)
    wrong: list[StoredModel] = [
        StoredModel({name: each for name, each in stored.state.items() if name != "net.fc.weight"}, stored.notes),
        StoredModel(stored.state, {}),
        StoredModel(stored.state, {**stored.notes, "classes": "3"}),
    ]
    for model in wrong:
        file.write_bytes(model.to_bytes())
        with pytest.raises(StoreError, match="its stored model cannot be used"):
            loaded(folder, plugin)
    file.write_bytes(whole)
    (folder.path / "sums.json").write_text(sums)
    assert_answers_as_measured(folder, plugin, bench)


def test_state_that_is_no_tensor_fails_before_training(toy: Callable[..., Plugin], bench: Bench) -> None:
    body = """
def get_extra_state(self):
    return {"a": 1}

def set_extra_state(self, state):
    pass
"""
    with pytest.raises(ValueError, match=r"the state '_extra_state' is of type dict; only tensors can be kept"):
        train_with(bench, toy("extra", body + LOSS), "extra", keep_networks=True)


def test_tensors_that_share_memory_are_kept() -> None:
    weight = torch.arange(6.0).reshape(2, 3)
    state: dict[str, Any] = {
        "a": weight,
        "b": weight.t(),
        "c": weight[0],
        "n": torch.tensor(3),
        "m": torch.tensor([True]),
    }
    model = StoredModel.from_bytes(StoredModel(state, {"x": "é"}).to_bytes())
    assert model.notes == {"x": "é"} and model.state.keys() == state.keys()
    assert all(torch.equal(model.state[name], state[name]) for name in state)


def test_pixels_of_another_shape_are_refused(toy: Callable[..., Plugin], bench: Bench) -> None:
    plugin = toy("plain", LOSS)
    model = loaded(train_with(bench, plugin, "shapes", keep_networks=True), plugin)
    assert model is not None
    for pixels in (np.zeros((1, 3, 8, 8), np.uint8), np.zeros((1, 3, SIZE, SIZE), np.float32)):
        with pytest.raises(ValueError, match=r"images must be uint8 \['n', 3, 32, 32\], not"):
            model.probabilities(pixels)
    assert model.probabilities(np.zeros((0, 3, SIZE, SIZE), np.uint8)).shape == (0, len(CLASSES))
