"""Methods that cannot use a backbone are skipped with the reason, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.models import register_model
from torch import Tensor, nn

from fer_bench.core.errors import SpecError
from fer_bench.models.networks import models
from fer_bench.plugins.registry import discover
from fer_bench.sweep.plan import make_plan
from fer_bench.sweep.request import make_request
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
