"""Networks under bf16 autocast and compiled: what becomes bf16, what stays float32, and that nothing else changes."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import fer_bench
from fer_bench.cli.main import main
from fer_bench.core.errors import SpecError
from fer_bench.core.spec import Recipe, RunSpec, restore
from fer_bench.engine.counters import CostCounter
from fer_bench.models import precision as engine
from fer_bench.models.ferres8 import FerRes8, ResidualBlock
from fer_bench.models.networks import make_network
from fer_bench.models.precision import Precision
from fer_bench.ops.consistency import pooled_linear_classifier
from fer_bench.plugins.registry import Plugin, discover
from fer_bench.report.arrange import arrange
from fer_bench.report.notes import training
from fer_bench.store.folder import RunFolder
from fer_bench.sweep.plan import make_plan
from fer_bench.sweep.record import find_sweep
from fer_bench.sweep.request import make_request
from fer_bench.testing.bench import Bench

CPU = torch.device("cpu")

WATCHING = '''
"""A baseline that fails where anything but float32 reaches its loss."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from fer_bench.method import Info, Method


class Watching(Method):
    info = Info("Watching", "nobody", "none", 2026, "looks at types", "baseline")

    def loss(self, batch, run):
        maps = self.net.forward_features(batch.view("weak"))
        pooled, logits = self.net.forward_head(maps, pre_logits=True), self.net.forward_head(maps)
        whole = self.net(batch.view("weak"))
        found = {x.dtype for x in (maps, pooled, logits, whole, *self.parameters())}
        assert found == {torch.float32}, found
        assert not torch.is_autocast_enabled("cpu")
        return F.cross_entropy(logits, batch.label)
'''


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Plugin]:
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "watching.py").write_text(WATCHING)
    return discover([folder])


def network(recipe: Recipe, backbone: str = "ferres8") -> tuple[Any, Precision]:
    net = make_network(backbone, 7, seed=0, role="a", pretrained="", weights=None).eval()
    arithmetic = Precision(recipe, CPU)
    arithmetic.adapt(net)
    return net, arithmetic


# --- keys ---------------------------------------------------------------------------------------------------------


def test_precision_is_in_the_key() -> None:
    spec = RunSpec("synthetic", "f" * 64, "m", "c" * 12, {"b": 1, "a": 0.5})
    narrow = replace(spec, recipe=Recipe(precision="bf16"))
    assert narrow.key != spec.key and '"precision":"bf16"' in narrow.canonical
    for one in (spec, narrow):
        assert restore(json.loads(one.canonical), "spec.json") == one


def test_the_command_line_sets_it(faces_folder: Path, tmp_path: Path) -> None:
    request = {"methods": ["ce"], "dataset": str(faces_folder), "image_size": 32}
    plain, same, narrow = (
        make_plan(make_request(**request, precision=p)).runs[0].spec for p in (None, "float32", "bf16")
    )
    assert plain.key == same.key != narrow.key
    words = ["run", "--methods", "ce", "--dataset", str(faces_folder), "--image-size", "32", "--out", str(tmp_path)]
    result = CliRunner().invoke(main, [*words, "--precision", "bf16", "--dry-run"])
    assert result.exit_code == 0 and narrow.key in result.output, result.output
    result = CliRunner().invoke(main, [*words, "--precision", "bf61", "--dry-run"])
    assert result.exit_code == 2 and "precision = 'bf61'; did you mean 'bf16'" in result.output, result.output


# --- networks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", ["ferres8", "resnet18"])
def test_parts_answer_in_float32_and_are_computed_in_bf16(backbone: str) -> None:
    net, arithmetic = network(Recipe(precision="bf16"), backbone)
    plain, _ = network(Recipe(), backbone)
    seen: list[torch.dtype] = []
    net.get_classifier().register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(net(x), plain(x)), "plain until it is active"
    arithmetic.active = True
    maps, logits = net.forward_features(x), net(x)
    assert maps.dtype == logits.dtype == net.forward_head(maps, pre_logits=True).dtype == torch.float32
    assert seen == [torch.float32, torch.bfloat16] and not torch.is_autocast_enabled("cpu")
    assert torch.equal(net.forward_head(maps), logits), "in parts as in one"
    assert not torch.equal(logits, plain(x)) and torch.allclose(logits, plain(x), atol=0.05)
    assert net.state_dict().keys() == plain.state_dict().keys()
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in net.state_dict().items())


def test_a_recipe_in_float32_leaves_the_network_alone() -> None:
    net, arithmetic = network(Recipe())
    arithmetic.active = True
    assert type(net) is FerRes8


def test_a_copy_of_a_network_is_a_network_of_its_own() -> None:
    net, arithmetic = network(Recipe(precision="bf16"))
    arithmetic.active = True
    other = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    x = torch.randn(2, 3, 32, 32)
    assert not other(x).any() and net(x).any() and type(other) is type(net)


def test_what_is_tried_while_a_method_is_built_is_tried_in_float32() -> None:
    net, _ = network(Recipe(precision="bf16"))
    assert pooled_linear_classifier(net) is net.fc


# --- runs ---------------------------------------------------------------------------------------------------------


def test_a_run_in_bf16_trains_and_its_answers_are_float32(bench: Bench, plugins: dict[str, Plugin]) -> None:
    logits, counts = {}, {}
    for precision in ("float32", "bf16"):
        spec = bench.spec(plugins["watching"], epochs=2, precision=precision)
        folder, _ = bench.train(plugins["watching"], spec)
        with np.load(folder.path / "scores.npz") as scores:
            logits[precision] = scores["test_logits"]
        epochs = folder.epochs()
        counts[precision] = [epochs[-1][name] for name in ("images_forward", "images_backward", "skipped_steps")]
        assert epochs[-1]["train"]["loss"] < epochs[0]["train"]["loss"]
    assert logits["bf16"].dtype == np.float32 and counts["bf16"] == counts["float32"]
    assert not np.array_equal(logits["bf16"], logits["float32"])
    rounded = torch.from_numpy(logits["bf16"]).bfloat16().float().numpy()
    assert np.array_equal(rounded, logits["bf16"]), "the network's last layer computed in bf16"


@pytest.mark.parametrize("key", ["eac", "dmue", "lanet", "mek", "face2exp", "jocor"])
def test_methods_that_take_networks_apart_train_in_bf16(bench: Bench, key: str) -> None:
    plugin = discover()[key]
    folder, _ = bench.train(plugin, bench.spec(plugin, noise=0.2, epochs=1, precision="bf16"))
    assert folder.final and np.isfinite(folder.final["test"]["nll"])


@pytest.mark.slow
def test_tables_say_it(faces_folder: Path, tmp_path: Path) -> None:
    common: dict[str, Any] = {"dataset": str(faces_folder), "image_size": 32, "epochs": 1, "jobs": 1, "device": "cpu"}
    plain = fer_bench.run(["ce"], out=tmp_path, name="plain", **common)
    text = (tmp_path / "sweeps" / "plain" / "table.md").read_text()
    assert set(plain["precision"]) == {"float32"} and "bf16" not in text and "forward passes in" not in text
    narrow = fer_bench.run(["ce"], out=tmp_path, name="narrow", precision="bf16", **common)
    text = (tmp_path / "sweeps" / "narrow" / "table.md").read_text()
    assert set(narrow["precision"]) == {"bf16"} and "images of 32 px, forward passes in bf16" in text
    for folder in (tmp_path / "runs").glob("*/*/*"):
        spec = RunFolder(folder).spec
        assert spec is not None and restore(spec, "spec.json").key == folder.name

    both = arrange([*find_sweep(tmp_path, "plain").records(), *find_sweep(tmp_path, "narrow").records()])
    assert "forward passes in bf16 or float32" in training(both.frame)
    assert both.conditions == ("clean, precision bf16", "clean, precision float32")


# --- compiled -----------------------------------------------------------------------------------------------------


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Graphs are made as for the compiler and run by PyTorch, which takes seconds, not minutes."""
    monkeypatch.setattr(engine, "BACKEND", "aot_eager")
    engine.check_compiler.cache_clear()
    yield
    engine.check_compiler.cache_clear()
    torch._dynamo.reset()


def graphs() -> int:
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])


@pytest.mark.slow
@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_compiled_network_computes_and_counts_the_same(precision: Any) -> None:
    plain, off = network(Recipe(precision=precision))
    meter = CostCounter()
    on = Precision(Recipe(precision=precision, compile=True), CPU, meter.count)
    net = make_network("ferres8", 7, seed=0, role="a", pretrained="", weights=None).eval()
    meter.attach(net)
    on.adapt(net)
    on.active = off.active = meter.active = True
    for count in (9, 4, 1):
        x = torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(count))
        assert torch.allclose(net(x), plain(x), atol=1e-5)
        maps = net.forward_features(x)
        assert maps.dtype == net(x).dtype == torch.float32
        assert torch.allclose(net.forward_head(maps, pre_logits=True), maps.mean(dim=(2, 3)), atol=1e-2)
    assert meter.forward == 3 * (9 + 4 + 1)
    before = graphs()
    net(torch.randn(7, 3, 32, 32)), net(torch.randn(12, 3, 32, 32))
    assert graphs() == before, "no graph for each size of batch"
    meter.forward = 0
    net.stem(torch.randn(5, 3, 32, 32))
    assert meter.forward == 5, "layers that a method calls by themselves count as ever"


@pytest.mark.slow
@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("key", ["ce", "eac", "dmue", "face2exp"])
def test_a_compiled_run_measures_the_same(bench: Bench, key: str) -> None:
    plugin = discover()[key]
    epochs = []
    for compiled in (False, True):
        folder, _ = bench.train(plugin, bench.spec(plugin, noise=0.2, epochs=1, compile=compiled))
        epochs.append(folder.epochs()[-1])
    counts = [[epoch[name] for name in ("images_forward", "images_backward", "skipped_steps")] for epoch in epochs]
    assert counts[0] == counts[1]
    for name, value in epochs[0]["train"].items():
        assert epochs[1]["train"][name] == pytest.approx(value, rel=1e-3), name


class Small(torch.nn.Module):
    """A block and a classifier, which the compiler takes a short time for."""

    def __init__(self) -> None:
        super().__init__()
        self.block, self.fc = ResidualBlock(3, 4, 2), torch.nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.block(x).mean(dim=(2, 3)))


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which(os.environ.get("CXX", "g++")), reason="no C++ compiler")
def test_the_compiler_of_this_machine_trains_as_pytorch_does() -> None:
    losses: list[list[float]] = []
    for compiled in (False, True):
        torch.manual_seed(0)
        net = Small()
        arithmetic = Precision(Recipe(compile=compiled), CPU)
        arithmetic.adapt(net)
        arithmetic.active = True
        optimizer, found = torch.optim.SGD(net.parameters(), lr=0.1), []
        for count in (8, 8, 5):
            x, label = torch.randn(count, 3, 8, 8), torch.arange(count) % 3
            loss = torch.nn.functional.cross_entropy(net(x), label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append(float(loss.detach()))
        losses.append(found)
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_without_a_compiler_it_says_so_at_once(
    monkeypatch: pytest.MonkeyPatch, faces_folder: Path, tmp_path: Path
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise RuntimeError("No working C++ compiler found\nand a long explanation")

    monkeypatch.setattr(torch, "compile", fails)
    engine.check_compiler.cache_clear()
    with pytest.raises(
        SpecError, match=r"--compile: .* for cpu, leave it out: RuntimeError: No working C\+\+ comp.*nd$"
    ):
        Precision(Recipe(compile=True), CPU)
    words = ["run", "--methods", "ce", "--dataset", str(faces_folder), "--image-size", "32", "--out", str(tmp_path)]
    for more in ([], ["--dry-run"]):
        result = CliRunner().invoke(main, [*words, "--device", "cpu", "--compile", *more])
        assert result.exit_code == 2 and "error: --compile: torch.compile" in result.output, result.output
    assert not list(tmp_path.iterdir())
