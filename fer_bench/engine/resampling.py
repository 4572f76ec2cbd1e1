"""Rotation, scale and shift of a batch as one resampling, and landmarks that move along."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from fer_bench.core.seeds import torch_generator
from fer_bench.core.spec import Augmentation
from fer_bench.data.points import mirrored


class Placement(NamedTuple):
    """How the faces of a batch lie in an augmented view.

    A coordinate runs from -1 (left or upper edge) to 1 (right or lower edge).

    Attributes:
        flipped: bool [B]: images that are mirrored, before they are resampled.
        matrix: float32 [B, 2, 3]: the point ``matrix @ (x, y, 1)`` of the image is at (x, y) of the view; None where
            the recipe does not resample.
    """

    flipped: Tensor
    matrix: Tensor | None

    def resampled(self, images: Tensor) -> Tensor:
        """Normalised images [B, 3, H, W], mirrored already, as they lie in the view: bilinear, mean colour outside."""
        if self.matrix is None:
            return images
        grid = F.affine_grid(self.matrix, list(images.shape), align_corners=False)
        sampled = F.grid_sample(images, grid, "bilinear", "zeros", align_corners=False)
        return sampled.contiguous(memory_format=torch.channels_last)  # as the networks want it

    def points(self, points: Tensor) -> Tensor:
        """Landmarks of the images in the frame of the view.

        Args:
            points: float32 [B, L, 2], (x, y) as fractions of width and height.

        Returns:
            float32 [B, L, 2]; left and right are exchanged where the image is mirrored. A resampled point may lie
            outside of [0, 1].
        """
        turned = torch.where(self.flipped[:, None, None], mirrored(points), points)
        if self.matrix is None:
            return turned
        linear, offset = self.matrix[:, :, :2], self.matrix[:, :, 2]
        inside = torch.linalg.solve(linear, (2 * turned - 1 - offset[:, None]).mT).mT
        return (inside + 1) / 2


def draw_matrix(count: int, augmentation: Augmentation, device: torch.device, *seed: int | str) -> Tensor | None:
    """Draws the matrices of a :class:`Placement`, on ``device``; None where the recipe does not resample."""
    if not (augmentation.rotate or augmentation.scale or augmentation.shift):
        return None
    draw = 2 * torch.rand((4, count), generator=torch_generator(*seed, "resampling")) - 1  # type: ignore[arg-type]
    angle = math.radians(augmentation.rotate) * draw[0]
    size = 1 + augmentation.scale * draw[1]
    shift = 2 * augmentation.shift * draw[2:].T  # fractions of the side to coordinates
    cos, sin = angle.cos() / size, angle.sin() / size
    linear = torch.stack([cos, sin, -sin, cos], 1).view(-1, 2, 2)
    return torch.cat([linear, -linear @ shift[:, :, None]], 2).to(device, non_blocking=True)  # nobody waits for a GPU
