"""Methods that cannot use a backbone are skipped with the reason, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.models import register_model
from torch import Tensor, nn

import fer_bench
from fer_bench.core.errors import SpecError
from fer_bench.launch.job import request_for_run
from fer_bench.launch.task import Task, train_run
from fer_bench.models.networks import models
from fer_bench.plugins.own_backbone import own_backbone
from fer_bench.plugins.registry import discover
from fer_bench.store.folder import RunFolder
from fer_bench.sweep.plan import Plan, make_plan
from fer_bench.sweep.request import make_request
from fer_bench.testing.probes import records
from tests.helpers.own_network import NETWORK
from tests.helpers.plugins import plugin_source


class ChannelsLast(nn.Module):
    """A small network whose feature map is [B, h, w, C], as that of Swin; images of 32 px only."""

    num_features = 12

    def __init__(self, num_classes: int = 7) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 12, 4, 4), nn.Linear(12, num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        if x.shape[-1] != 32:
            raise AssertionError(f"Input height ({x.shape[-1]}) does not match model (32)")
        return self.stem(x).permute(0, 2, 3, 1)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        pooled = x.mean(dim=(1, 2))
        return pooled if pre_logits else self.head(pooled)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))

    def get_classifier(self) -> nn.Module:
        return self.head


WIDE = """
def loss(self, batch, run):
    return self.net(batch.view()).mean()
def predict(self, images):
    return self.net.forward_features(images).view(2, 5)
"""


@pytest.fixture(scope="module")
def backbone() -> Iterator[str]:
    def channels_last_test(**options: Any) -> ChannelsLast:
        return ChannelsLast(options["num_classes"])

    models()
    channels_last_test.__module__ = __name__
    register_model(channels_last_test)
    yield "channels_last_test"


def test_methods_that_need_a_feature_map_are_skipped_with_the_reason(backbone: str, faces_folder: Path) -> None:
    request = make_request(methods="all", dataset=faces_folder, backbone=backbone, image_size=32)
    plan = make_plan(request)
    skipped = {line.split(": ")[0]: line for line in plan.skipped}
    for key in ("rul", "eac", "mek"):
        assert f"cannot use the backbone {backbone}: " in skipped[key]
    assert "RUL needs feature maps [B, C, h, w]; ChannelsLast gives (2, 8, 8, 12)" in skipped["rul"]
    planned = {run.spec.method for run in plan.runs}
    assert {"ce", "coteaching", "scn", "nla"} <= planned and planned.isdisjoint(skipped)
    assert planned | skipped.keys() == set(discover())


def test_a_size_that_the_backbone_does_not_take_is_said_once(backbone: str, faces_folder: Path) -> None:
    request = make_request(methods=["ce", "scn"], dataset=faces_folder, backbone=backbone, image_size=48)
    with pytest.raises(SpecError, match=r"does not take images of 48 px \(Input height \(48\).*choose --image-size"):
        make_plan(request)


def test_a_plugin_is_tried_on_the_backbone_too(backbone: str, faces_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "wide.py").write_text(plugin_source(WIDE))
    request = make_request(
        methods=["ce", "wide"], dataset=faces_folder, backbone=backbone, image_size=32, plugins=tmp_path
    )
    state = torch.random.get_rng_state()
    (line,) = make_plan(request).skipped
    assert line.startswith("wide: cannot use the backbone") and "invalid for input of size" in line
    assert torch.equal(torch.random.get_rng_state(), state)


# --- a network of the user ----------------------------------------------------------------------------------------


UNSEEDED = """import os
    net = Plain(num_classes)
    net.fc.bias.data[:2] = torch.tensor([*os.urandom(2)])
    return net
"""


def own_plan(faces_folder: Path, text: str, **options: Any) -> Plan:
    given = {"methods": "ce", "dataset": faces_folder, "image_size": 32, "backbone": text}
    return make_plan(make_request(**{**given, **options}))


def test_the_code_of_the_file_is_in_the_key_and_its_folder_is_not(faces_folder: Path, tmp_path: Path) -> None:
    keys = []
    for folder, source in (
        ("a", NETWORK),
        ("b", f"# a comment\n{NETWORK}"),
        ("c", NETWORK.replace("width=12", "width=13")),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "net.py").write_text(source)
        (run,) = own_plan(faces_folder, f"{tmp_path / folder / 'net.py'}:make_net").runs
        assert run.spec.recipe.backbone.startswith("net.py:make_net@") and run.backbone is not None
        assert run.backbone.path == tmp_path / folder / "net.py"
        keys.append(run.spec.key)
    assert keys[0] == keys[1] != keys[2]
    assert own_plan(faces_folder, "ferres8").runs[0].backbone is None


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("def get_classifier", "def classifier", "a Plain has no get_classifier(): the last linear layer"),
        ("x.mean(dim=(2, 3))", "x.mean(dim=(1, 2))", "net(x) raises RuntimeError: mat1 and mat2 shapes"),
        ("return Plain(num_classes)", "return nn.LazyLinear(num_classes)", "uninitialized parameter"),
        ("self.num_features = width", "self.num_features = 3", "gives [2, 12], not [2, 3]"),
        ("return Plain(num_classes)", "return Plain(7)", "net(x) gives [2, 7], not [2, 3]"),
        (
            "return Plain(num_classes)",
            UNSEEDED,
            "its weights differ each time; draw them with torch's own generator",
        ),
    ],
    ids=["a part is missing", "it fails", "no shapes", "wrong width", "wrong classes", "no seed"],
)
def test_a_network_without_the_interface_is_refused_before_training(
    old: str, new: str, said: str, faces_folder: Path, tmp_path: Path
) -> None:
    assert old in NETWORK
    (tmp_path / "net.py").write_text(NETWORK.replace(old, new))
    with pytest.raises(SpecError) as error:
        own_plan(faces_folder, f"{tmp_path / 'net.py'}:make_net")
    assert said in str(error.value) and "net.py:make_net" in str(error.value)


def _has_an_epoch(folder: RunFolder) -> bool:
    return (folder.path / "epochs.jsonl").exists()


@pytest.mark.usefixtures("no_outputs")
def test_it_trains_in_a_worker_resumes_and_is_not_trained_twice(
    faces_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after its first epoch and resumed, a run has the numbers of one that was not stopped."""
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NETWORK)
    plan = own_plan(faces_folder, "net.py:make_net", epochs=2)
    (run,) = plan.runs
    states = []
    for out, stop in ((tmp_path / "whole", False), (tmp_path / "stopped", True), (tmp_path / "stopped", False)):
        folder = RunFolder.of(out, run.spec)
        stopping = partial(_has_an_epoch, folder) if stop else lambda: False
        states.append(train_run(Task(plan, run, out, "cpu"), stopping)["state"])
    assert states == ["done", "stopped", "done"]
    whole, resumed = (RunFolder.of(tmp_path / name, run.spec) for name in ("whole", "stopped"))
    assert records(whole) == records(resumed) and len(records(whole)) == 2
    given: dict[str, Any] = {"dataset": faces_folder, "image_size": 32, "epochs": 2, "out": tmp_path / "local"}
    options = {**given, "jobs": 1, "device": "cpu", "backbone": "net.py:make_net"}
    frame = fer_bench.run("ce", **options)
    assert frame["key"].tolist() == [run.spec.key], "trained in a process of its own"
    assert records(RunFolder.of(tmp_path / "local", run.spec)) == records(whole)
    Path("net.py").write_text(NETWORK + "\n# another comment\n")
    done = RunFolder.of(tmp_path / "local", run.spec).path / "final.json"
    before = done.stat().st_mtime_ns
    fer_bench.run("ce", **options)
    assert done.stat().st_mtime_ns == before


def test_weights_of_a_file_are_loaded_into_it(faces_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    path.write_text(NETWORK)
    own = own_backbone(f"{path}:make_net")
    assert own is not None
    torch.save(own.load()(3).state_dict(), tmp_path / "weights.pth")
    plan = own_plan(faces_folder, f"{path}:make_net", pretrained=tmp_path / "weights.pth")
    assert plan.runs[0].spec.recipe.pretrained.startswith("sha256:")
    with pytest.raises(SpecError, match="timm has no pre-trained weights of backbone net"):
        own_plan(faces_folder, f"{path}:make_net", pretrained="timm")


def test_a_worker_on_another_machine_makes_the_same_run(
    faces_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NETWORK)
    plan = own_plan(faces_folder, "net.py:make_net", seeds=[0, 1])
    for run in plan.runs:
        (again,) = make_plan(request_for_run(plan.request, run.spec)).runs
        assert again.spec.key == run.spec.key and again.backbone == run.backbone
