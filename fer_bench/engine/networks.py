"""Backbones: any timm model, and a small residual network of our own for a CPU. All speak timm's interface."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import register_model
from torch import Tensor, nn
from torch.nn import functional as F

from fer_bench.seeds import derive
from fer_bench.spec import SpecError, nearest


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a strided 1x1 shortcut (He et al., CVPR 2016, basic block)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class FerRes8(nn.Module):
    """Eight layers, 0.3 M parameters, stride 16: a 48-pixel image ends as a 3x3 map of 128 features.

    Two strided convolutions, two residual blocks, global average pooling and one linear layer, so that class activation
    maps are defined.
    """

    def __init__(self, num_classes: int = 7, in_chans: int = 3, widths: tuple[int, ...] = (16, 32, 64, 128)) -> None:
        super().__init__()
        a, b, c, d = widths
        self.stem = nn.Sequential(
            *(nn.Conv2d(in_chans, a, 3, 2, 1, bias=False), nn.BatchNorm2d(a), nn.ReLU()),
            *(nn.Conv2d(a, b, 3, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU()),
        )
        self.block1, self.block2 = ResidualBlock(b, c, 2), ResidualBlock(c, d, 2)
        self.num_features = d
        self.fc = nn.Linear(d, num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """The last feature map [B, 128, h, w] of images [B, 3, H, W]."""
        return self.block2(self.block1(self.stem(x)))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits [B, C], or pooled features [B, 128], of a feature map."""
        pooled = x.mean(dim=(2, 3))
        return pooled if pre_logits else self.fc(pooled)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))

    def get_classifier(self) -> nn.Module:
        return self.fc


@register_model
def ferres8(pretrained: bool = False, **kwargs: Any) -> FerRes8:
    """FerRes8 under timm's model names; there are no pre-trained weights."""
    if pretrained:
        raise SpecError("backbone ferres8 has no pre-trained weights of timm's; give a file or leave --pretrained out")
    known = {name: kwargs[name] for name in ("num_classes", "in_chans") if name in kwargs}
    return FerRes8(**known)


def check_backbone(name: str) -> None:
    """Raises SpecError with the nearest names unless timm knows the model."""
    if not timm.is_model(name):
        raise SpecError(f"unknown backbone {name!r}{nearest(name, timm.list_models())}")


def file_hash(path: Path) -> str:
    """``sha256:…`` of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while chunk := handle.read(1 << 20):
            digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"


def load_weights(net: nn.Module, path: Path) -> None:
    """Loads a checkpoint's weights into ``net``, all but the classifier; a pickle that would run code is refused.

    Accepts a state dict, or a dict that holds one under "state_dict", "model_state_dict" or "model", with or without
    the prefix "module.". SpecError when anything but the classifier is missing or of another shape.
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise SpecError(f"cannot load weights from {path} (weights_only): {error}") from None
    for name in ("state_dict", "model_state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(name), dict):
            loaded = loaded[name]
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise SpecError(f"{path} holds no state dict of tensors")
    weights = {name.removeprefix("module."): value for name, value in loaded.items()}
    own = net.state_dict()
    classifier = {id(parameter) for parameter in net.get_classifier().parameters()}  # type: ignore[operator]
    head = {name for name, parameter in net.named_parameters() if id(parameter) in classifier}
    wanted = {name for name in own if name not in head}
    missing = sorted(wanted - weights.keys())
    other = sorted(name for name in wanted & weights.keys() if weights[name].shape != own[name].shape)
    if missing or other:
        problem = f"misses {missing[:3]}" if missing else f"has other shapes for {other[:3]}"
        raise SpecError(
            f"{path} does not fit the backbone: it {problem} ({len(missing)} missing, {len(other)} misfits)"
        )
    net.load_state_dict({**own, **{name: weights[name] for name in wanted}})


def make_network(
    backbone: str, num_classes: int, *, seed: int, role: str, pretrained: str, weights: Path | None
) -> Any:
    """A network whose random parts depend on (seed, role) alone. ``pretrained`` as in ``Recipe.pretrained``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "weights", role))
        net = timm.create_model(backbone, pretrained=pretrained == "timm", num_classes=num_classes)
    if pretrained.startswith("sha256:"):
        if weights is None or file_hash(weights) != pretrained:
            raise SpecError(f"the weights {pretrained} are not those of {weights}; give the file with --pretrained")
        load_weights(net, weights)
    return net.to(memory_format=torch.channels_last)
