"""Networks of fer-bench's own with timm's interface: a feature map, average pooling and one linear layer."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class PooledClassifier(nn.Module):
    """Average pooling and one linear layer ``fc`` on the map of ``forward_features``.

    So class activation maps are defined. A subclass sets ``num_features`` and ``fc``.
    """

    num_features: int
    fc: nn.Linear

    def forward_features(self, x: Tensor) -> Tensor:
        """The last feature map [B, num_features, h, w] of images [B, 3, H, W]."""
        raise NotImplementedError

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits [B, C], or pooled features [B, num_features], of a feature map."""
        pooled = x.mean(dim=(2, 3))
        return pooled if pre_logits else self.fc(pooled)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, C] of images [B, 3, H, W]."""
        return self.forward_head(self.forward_features(x))

    def get_classifier(self) -> nn.Module:
        """The last linear layer."""
        return self.fc


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
        """The map [B, outputs, h, w] of a map [B, inputs, H, W]."""
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class FerRes8(PooledClassifier):
    """Eight layers, stride 16: a 48-pixel image ends as a 3x3 map.

    0.3 M parameters and 128 features as ``ferres8``, 1.2 M and 256 as ``ferres8_wide``.

    Two strided convolutions, two residual blocks, global average pooling and one linear layer.
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
        """See :class:`PooledClassifier`."""
        return self.block2(self.block1(self.stem(x)))
