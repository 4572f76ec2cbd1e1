"""MobileFaceNet (Chen et al., CCBR 2018), as ``sirius-ai/MobileFaceNet_TF`` builds it, up to its feature map."""

from __future__ import annotations

from collections.abc import Iterator

from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn

from fer_bench.models.ferres8 import PooledClassifier

BLOCKS = ((64, 2, 2), (64, 2, 1), (64, 2, 1), (64, 2, 1), (64, 2, 1), (128, 4, 2), *((128, 2, 1),) * 6, (128, 4, 2),
          (128, 2, 1), (128, 2, 1))  # fmt: skip
"""Outputs, factor of expansion and stride of the bottlenecks (Table 1 of the paper)."""


def _unit(inputs: int, outputs: int, size: int = 1, stride: int = 1, groups: int = 1) -> Iterator[nn.Module]:
    """A convolution, padded as TensorFlow does, and batch normalisation."""
    if stride > 1:
        yield Conv2dSame(inputs, outputs, size, stride, groups=groups, bias=False)
    else:
        yield nn.Conv2d(inputs, outputs, size, padding=size // 2, groups=groups, bias=False)
    yield nn.BatchNorm2d(outputs)


class Bottleneck(nn.Module):
    """A 1x1, a depthwise 3x3 and a linear 1x1 convolution, with a shortcut where the shape stays."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        width = inputs * expansion
        self.layers = nn.Sequential(
            *(*_unit(inputs, width), nn.PReLU(width)),
            *(*_unit(width, width, 3, stride, width), nn.PReLU(width)),
            *_unit(width, outputs),
        )
        self.shortcut = stride == 1

    def forward(self, x: Tensor) -> Tensor:
        """The map [B, outputs, h, w] of a map [B, inputs, H, W]."""
        return x + self.layers(x) if self.shortcut else self.layers(x)


class MobileFaceNet(PooledClassifier):
    """0.9 M parameters, stride 16: a 112-pixel image ends as a 7x7 map of 512 channels.

    The network of the paper ends with a 7x7 depthwise convolution and an embedding instead.
    """

    def __init__(self, num_classes: int = 7, in_chans: int = 3) -> None:
        super().__init__()
        layers = [
            *(*_unit(in_chans, 64, 3, 2), nn.PReLU(64)),
            *(*_unit(64, 64, 3, groups=64), nn.PReLU(64)),
            *_unit(64, 64),
        ]
        width = 64
        for outputs, expansion, stride in BLOCKS:
            layers.append(Bottleneck(width, outputs, expansion, stride))
            width = outputs
        self.num_features = 512
        self.trunk = nn.Sequential(*layers, *_unit(width, 512), nn.PReLU(512))
        self.fc = nn.Linear(512, num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """See :class:`PooledClassifier`."""
        return self.trunk(x)
