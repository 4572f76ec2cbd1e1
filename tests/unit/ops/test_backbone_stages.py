"""Networks are taken apart at their resolutions."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor

from fer_bench import ops
from fer_bench.models.ferres8 import FerRes8
from fer_bench.models.networks import models
from tests.helpers.maps import (
    C,
    normal,
)


@pytest.mark.parametrize(
    ("name", "strides"), [("ferres8", [2, 4, 8, 16]), ("resnet18", [2, 4, 8, 16, 32])]
)  # fmt: skip
def test_stages_are_the_networks_own_layers_one_after_the_other(name: str, strides: list[int]) -> None:
    torch.manual_seed(0)
    net = models().create_model(name, num_classes=C).train()
    parts = ops.resolution_stages(net)
    assert [stride for stride, _ in parts] == strides and all(module.training for module in net.modules())
    images, net = normal(2, 3, 48, 48), net.eval()
    x = images
    for _, layers in parts:
        x = layers(x)
    torch.testing.assert_close(x, net.forward_features(images))
    mine = {id(p) for _, layers in parts for p in layers.parameters()}
    head = {id(p) for p in net.get_classifier().parameters()}
    assert mine == {id(p) for p in net.parameters()} - head


class Skipping(FerRes8):
    """Its features are not what its layers give one after the other."""

    def forward_features(self, x: Tensor) -> Tensor:
        return self.block2(self.block1(self.stem(x))) + 1


def test_a_network_that_is_no_sequence_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be taken apart"):
        ops.resolution_stages(Skipping(C))
    with pytest.raises(ValueError, match="cannot be taken apart"):
        ops.resolution_stages(timm.create_model("vit_tiny_patch16_224", num_classes=C, depth=1))
