"""Backbones: the interface that methods rely on, the streams of their weights, and what is counted and scheduled."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn

from fer_bench.core.errors import SpecError
from fer_bench.core.spec import Recipe
from fer_bench.engine.counters import CostCounter
from fer_bench.engine.optim import make_optimizer, schedule
from fer_bench.models.ferres8 import FerRes8
from fer_bench.models.networks import check_backbone, file_hash, make_network
from fer_bench.ops.backbone_stages import resolution_stages


def network(backbone: str = "ferres8", seed: int = 0, role: str = "main", weights: Path | None = None) -> nn.Module:
    pretrained = file_hash(weights) if weights else ""
    return make_network(backbone, 7, seed=seed, role=role, pretrained=pretrained, weights=weights)


def images(count: int = 4, size: int = 48) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def test_ferres8_is_small_and_eight_layers_deep() -> None:
    net = FerRes8()
    assert 0.2e6 <= sum(p.numel() for p in net.parameters()) <= 0.4e6
    main = [m for n, m in net.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear)) and "shortcut" not in n]
    assert len(main) == 7, "two strided convolutions, two blocks of two, one linear layer"


def test_ferres8_wide_has_twice_the_channels() -> None:
    narrow, wide = (dict(network(name).named_parameters()) for name in ("ferres8", "ferres8_wide"))
    assert narrow.keys() == wide.keys()
    convolutions = [name for name, value in narrow.items() if value.ndim == 4]
    assert len(convolutions) == 8
    assert all(wide[name].shape[0] == 2 * narrow[name].shape[0] for name in convolutions)
    assert sum(value.numel() for value in wide.values()) == 1_170_471


@pytest.mark.parametrize(
    "backbone",
    ["ferres8", "ferres8_wide", "test_resnet", "test_efficientnet", "resnet18", "tf_mobilenetv1_100", "mobilefacenet"],
)
def test_every_backbone_speaks_the_same_interface(backbone: str) -> None:
    net, x = network(backbone).eval(), images(2, 64)
    with torch.no_grad():
        features = net.forward_features(x)
        assert features.ndim == 4 and features.shape[:2] == (2, net.num_features)
        logits = net(x)
        assert logits.shape == (2, 7)
        assert torch.equal(logits, net.forward_head(features))
        pooled = net.forward_head(features, pre_logits=True)
        classifier = net.get_classifier()
        assert pooled.shape == (2, classifier.in_features)
        assert torch.allclose(logits, classifier(pooled), atol=1e-6)


@pytest.mark.parametrize(
    ("backbone", "parameters", "shape", "strides"),
    [
        ("tf_mobilenetv1_100", 3_214_151, (1024, 4, 4), [2, 4, 8, 16, 32]),
        ("mobilefacenet", 919_047, (512, 7, 7), [2, 4, 8, 16]),
    ],
)
def test_networks_of_face_recognition(
    backbone: str, parameters: int, shape: tuple[int, ...], strides: list[int]
) -> None:
    net = network(backbone).eval()
    assert sum(p.numel() for p in net.parameters()) == parameters
    with torch.no_grad():
        assert net.forward_features(images(1, 112)).shape[1:] == shape
    assert [stride for stride, _ in resolution_stages(net)] == strides, "methods can take it apart"


def test_activation_maps_add_up_to_the_logits() -> None:
    net = network().eval()
    with torch.no_grad():
        features = net.forward_features(images())
        assert features.shape == (4, 128, 3, 3)
        classifier = net.get_classifier()
        maps = torch.einsum("kd,bdhw->bkhw", classifier.weight, features)
        assert torch.allclose(maps.mean((2, 3)), net(images()) - classifier.bias, atol=1e-5)


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_weights_depend_on_seed_and_role_alone() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one = network()
    assert torch.equal(state, torch.get_rng_state()), "the global stream is left alone"
    torch.manual_seed(2)
    assert same(one, network())
    for other in (network(role="b"), network(seed=1)):
        assert not torch.equal(one.get_classifier().weight, other.get_classifier().weight)
        assert not torch.equal(one.stem[0].weight, other.stem[0].weight)


def test_roles_share_pretrained_trunks_and_differ_in_their_heads(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(FerRes8(num_classes=1000).state_dict(), path)
    a, b = network(role="a", weights=path), network(role="b", weights=path)
    assert torch.equal(a.stem[0].weight, b.stem[0].weight) and torch.equal(
        a.block2.norm2.running_var, b.block2.norm2.running_var
    )
    assert not torch.equal(a.fc.weight, b.fc.weight)


def test_unknown_backbones_name_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"unknown backbone 'resnet81'; did you mean .*resnet"):
        check_backbone("resnet81")
    check_backbone("ferres8")
    assert "ferres8" in timm.list_models()


def test_networks_run_in_channels_last() -> None:
    assert network().stem[0].weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("size", "layout"), [(48, torch.contiguous_format), (112, torch.channels_last)])
def test_a_resnet_keeps_the_plain_layout_for_small_images(size: int, layout: torch.memory_format) -> None:
    net, seen = network("resnet18").eval(), []
    assert all(weight.is_contiguous() for weight in net.parameters())
    images = torch.rand(2, 3, size, size).contiguous(memory_format=torch.channels_last)
    net.layer1.register_forward_hook(lambda module, inputs, output: seen.append(output))
    logits = net.forward_head(net.forward_features(images))
    assert seen[0].is_contiguous(memory_format=layout)
    torch.testing.assert_close(logits, network("resnet18").eval().to(memory_format=torch.channels_last)(images))


@pytest.mark.parametrize("backbone", ["ferres8", "test_resnet"])
def test_the_meter_counts_training_forwards_and_what_went_backward(backbone: str) -> None:
    net, meter = network(backbone), CostCounter()
    meter.attach(net)
    meter.active = True
    net(images(3))
    net.forward_features(images(2))
    with torch.no_grad():
        net(images(4))
    meter.settle(stepped=True)
    assert (meter.forward, meter.backward) == (9, 5)
    net(images(3))
    meter.settle(stepped=False)
    assert (meter.forward, meter.backward) == (12, 5)
    with torch.no_grad():
        net.eval()(images(2))
    assert meter.forward == 14, "a pass in evaluation mode that belongs to the training is cost too"
    meter.active = False
    net(images(3))
    meter.settle(stepped=True)
    assert (meter.forward, meter.backward) == (14, 5), "what the harness evaluates does not count"


def test_schedules() -> None:
    factors = {
        name: [round(schedule(Recipe(schedule=name, gamma=0.5), e, 4), 6) for e in range(4)]  # type: ignore[arg-type]
        for name in ("constant", "exponential", "cosine")
    }
    assert factors["constant"] == [1, 1, 1, 1] and factors["exponential"] == [1, 0.5, 0.25, 0.125]
    assert factors["cosine"] == pytest.approx([1, 0.853553, 0.5, 0.146447])


@pytest.mark.parametrize(
    ("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)]
)
def test_optimizers_take_the_recipe_and_its_overrides(name: str, kind: type) -> None:
    recipe = Recipe(optimizer=name, lr=0.3, weight_decay=0.2, momentum=0.7)  # type: ignore[arg-type]
    optimizer = make_optimizer(recipe, nn.Linear(2, 2).parameters())
    assert type(optimizer) is kind
    assert (optimizer.defaults["lr"], optimizer.defaults["weight_decay"]) == (0.3, 0.2)
    if name == "sgd":
        assert optimizer.defaults["momentum"] == 0.7
    assert make_optimizer(recipe, nn.Linear(2, 2).parameters(), lr=0.1).defaults["lr"] == 0.1
