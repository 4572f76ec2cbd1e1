"""The networks of LA-Net: an expression and a landmark branch on shared layers, projections, and scores of pairs."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn


class LandmarkBranches(nn.Module):
    """Both branches up to their features and projections.

    Args:
        base: Layers that both branches share, images to a map.
        expression: The rest of the network.
        landmark: The stages of the landmark branch; empty without landmarks.
        laterals: A 1x1 convolution for the shared map and for that of each stage; empty without landmarks.

    >>> branches = LandmarkBranches(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 8, 3), nn.ModuleList(), nn.ModuleList())
    >>> u, finest = branches(torch.zeros(2, 3, 8, 8))
    >>> u.shape, finest
    (torch.Size([2, 8]), None)
    """

    def __init__(
        self, base: nn.Module, expression: nn.Module, landmark: nn.ModuleList, laterals: nn.ModuleList
    ) -> None:
        super().__init__()
        self.base, self.expression, self.landmark, self.laterals = base, expression, landmark, laterals
        self.project_u: nn.Module = nn.Identity()
        self.project_v: nn.Module = nn.Identity()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features of images [B, 3, H, W].

        Returns:
            u [B, D], the pooled expression features, and V [B, d, h, w], the finest map of the landmark pyramid.
        """
        shared = self.base(images)
        u = self.expression(shared).mean(dim=(2, 3))
        if not len(self.laterals):
            return u, None
        maps = [shared]
        for stage in self.landmark:
            maps.append(stage(maps[-1]))
        top = self.laterals[-1](maps[-1])
        for lateral, finer in zip(reversed(self.laterals[:-1]), reversed(maps[:-1]), strict=True):
            top = F.interpolate(top, size=finer.shape[-2:], mode="bilinear", align_corners=False) + lateral(finer)
        return u, top

    def project(self, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Unit vectors [B, d] of the pooled features of both branches."""
        return F.normalize(self.project_u(u).float(), dim=1), F.normalize(self.project_v(v).float(), dim=1)


def projection(inputs: int, width: int) -> nn.Sequential:
    """Two linear layers with a ReLU between them.

    >>> projection(8, 4)(torch.zeros(2, 8)).shape
    torch.Size([2, 4])
    """
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width))


class PairScore(nn.Module):
    """How much each row of features is to listen to each other row.

    >>> PairScore(8)(torch.zeros(3, 8)).shape
    torch.Size([3, 3])
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        half, quarter = max(1, width // 2), max(1, width // 4)
        self.middle = half
        self.fc_in = nn.Linear(width, 2 * half)
        self.fc_out = nn.Sequential(
            nn.Linear(2 * half, half), nn.ReLU(), nn.Linear(half, quarter), nn.ReLU(), nn.Linear(quarter, 2)
        )  # fmt: skip

    def forward(self, features: Tensor) -> Tensor:
        """Scores c [B, B] in (0, 1) of features [B, D]: how much row i is to listen to row j."""
        first, second = self.fc_in(features).split(self.middle, dim=1)
        layer: Any = self.fc_out[0]
        # the first layer of concat(f1_i, f2_j), without making the B * B concatenations
        a = F.linear(first, layer.weight[:, : self.middle])
        b = F.linear(second, layer.weight[:, self.middle :], layer.bias)
        out = self.fc_out[1:](a[:, None] + b[None])
        return (out[..., 0] - out[..., 1]).sigmoid()  # the first of a softmax over two
