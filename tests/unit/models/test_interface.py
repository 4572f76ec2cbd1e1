"""The interface that methods rely on: every network that is offered has it, and each missing part is named."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fer_bench.models.ferres8 import FerRes8
from fer_bench.models.interface import interface_error
from fer_bench.models.networks import make_network

IMAGES = torch.linspace(-1, 1, 2 * 3 * 32 * 32).sin().view(2, 3, 32, 32)


class Net(FerRes8):
    """A sound network, of which a test changes one part."""

    def __init__(self) -> None:
        super().__init__(5)
        self.eval()


def changed(**parts: object) -> nn.Module:
    return type("Changed", (Net,), parts)()


@pytest.mark.parametrize("backbone", ["ferres8", "test_resnet", "test_efficientnet", "test_vit"])
def test_networks_of_fer_bench_and_timm_have_it(backbone: str) -> None:
    size = 160 if backbone == "test_vit" else 32
    net = make_network(backbone, 5, seed=0, role="x", pretrained="", weights=None).eval()
    images = torch.linspace(-1, 1, 2 * 3 * size * size).sin().view(2, 3, size, size)
    assert interface_error(net, images, 5) == ""


def test_missing_parts_are_named_all_at_once() -> None:
    said = interface_error(nn.Linear(1, 1), IMAGES, 5)
    for part in ("forward_features(x)", "forward_head(x, pre_logits=False)", "get_classifier()", "num_features"):
        assert part in said
    assert said.startswith("a Linear has no forward_features")
    net = Net()
    del net.num_features
    assert interface_error(net, IMAGES, 5) == "a Net has no num_features: D"


@pytest.mark.parametrize(
    ("net", "said"),
    [
        (changed(forward=lambda self, x: x.mean(dim=(2, 3))), "net(x) gives [2, 3], not [2, 5]"),
        (changed(forward=lambda self, x: (x, x)), "net(x) gives a tuple, not [2, 5]"),
        (changed(forward_head=lambda self, x, pre_logits=False: x), "net(x) gives [2, 128, 2, 2], not [2, 5]"),
        (
            changed(forward_head=lambda self, x, pre_logits=False: self.fc(x.mean(dim=(2, 3)))),
            "forward_head(x, pre_logits=True) gives [2, 5], not [2, 128]",
        ),
        (
            changed(forward=lambda self, x: 2 * self.forward_head(self.forward_features(x))),
            "net(x) is not forward_head(forward_features(x))",
        ),
        (
            changed(get_classifier=lambda self: self.block2),
            "get_classifier() gives a ResidualBlock and no torch.nn.Linear",
        ),
        (
            changed(get_classifier=lambda self: nn.Linear(128, 5)),
            "get_classifier() gives a layer that is no part of the network",
        ),
    ],
)
def test_a_part_that_does_something_else_is_named(net: nn.Module, said: str) -> None:
    assert interface_error(net, IMAGES, 5) == said


def test_a_head_that_is_not_the_classifier_is_named() -> None:
    def forward_head(self: Net, x: Tensor, pre_logits: bool = False) -> Tensor:
        pooled = x.mean(dim=(2, 3))
        return pooled if pre_logits else self.fc(pooled.relu() + 1)

    said = interface_error(changed(forward_head=forward_head), IMAGES, 5)
    assert said == "net(x) is not get_classifier()(forward_head(x, pre_logits=True))"


def test_a_call_that_is_missing_an_argument_is_named() -> None:
    said = interface_error(changed(forward_head=lambda self, x: self.fc(x.mean(dim=(2, 3)))), IMAGES, 5)
    assert said.startswith("forward_head(x, pre_logits=True) raises TypeError")
