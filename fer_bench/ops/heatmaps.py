"""Heatmaps of landmarks, and the adaptive wing loss on them (Wang et al., ICCV 2019), as LA-Net uses both."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def landmark_cells(points: Tensor, stride: float) -> Tensor:
    """The heatmap cells of landmarks.

    Args:
        points: [..., 2], in pixels.
        stride: Pixels per cell.

    Returns:
        int64 [..., 2], trunc(p / stride + 0.5).

    >>> landmark_cells(torch.tensor([[5.9, 6.0]]), 4.0)
    tensor([[1, 2]])
    """
    return (points / stride + 0.5).trunc().long()


def gaussian_heatmaps(cells: Tensor, height: int, width: int, sigma: float = 1.5, truncate: bool = False) -> Tensor:
    """A Gaussian with peak 1 at each cell, written in a window of 6 sigma + 1 cells, and 0 elsewhere.

    Args:
        cells: int64 [..., 2], as (x, y).
        height: Cells.
        width: Cells.
        sigma: Standard deviation in cells. For 1.5 the window runs from -5 to +4 around the cell.
        truncate: True rounds the ends of the window towards zero, as the official int() does, instead of down. The
            peak of a cell that is nearer to the left or upper border than 3 sigma then lies one cell further right or
            down.

    Returns:
        float32 [..., height, width].

    >>> gaussian_heatmaps(torch.tensor([2, 1]), 3, 5, sigma=0.5).round(decimals=2)
    tensor([[0.0000, 0.0200, 0.1400, 0.0200, 0.0000],
            [0.0000, 0.1400, 1.0000, 0.1400, 0.0000],
            [0.0000, 0.0200, 0.1400, 0.0200, 0.0000]])
    """
    round_to = torch.trunc if truncate else torch.floor

    def profile(cell: Tensor, size: int) -> Tensor:
        cell = cell.double()
        first, end = round_to(cell - 3 * sigma)[..., None], round_to(cell + 3 * sigma + 1)[..., None]
        window = int(6 * sigma + 1 + 1 - 1e-9)  # the number of k = 0, 1, ... below 6 sigma + 1
        position = torch.arange(size, device=cell.device, dtype=torch.float64)
        centre = first + int(6 * sigma + 1) // 2
        inside = (position >= first) & (position < end) & (position < first + window)
        return torch.exp(-((position - centre) ** 2) / (2 * sigma**2)) * inside

    x, y = profile(cells[..., 0], width), profile(cells[..., 1], height)
    return (y[..., :, None] * x[..., None, :]).float()


def heatmap_weights(heatmaps: Tensor, weight: float = 10.0, threshold: float = 0.2) -> Tensor:
    """Weights of the cells of heatmaps: larger near a peak.

    Args:
        heatmaps: [B, L, H, W].
        weight: Where the heatmap, dilated by 3 x 3 cells, exceeds the threshold; 1 elsewhere.
        threshold: In [0, 1].

    Returns:
        [B, L, H, W].

    >>> heatmap_weights(torch.tensor([[[[0.0, 0.0, 0.0, 1.0]]]]))
    tensor([[[[ 1.,  1., 10., 10.]]]])
    """
    near = F.pad(heatmaps > threshold, (1, 1, 1, 1))
    # Dilated along the columns, then along the rows; max_pool2d takes several times as long.
    near = near[..., :-2, :] | near[..., 1:-1, :] | near[..., 2:, :]
    near = near[..., :-2] | near[..., 1:-1] | near[..., 2:]
    return torch.where(near, weight, 1.0).to(heatmaps.dtype)


def adaptive_wing(
    predicted: Tensor, target: Tensor, alpha: float = 2.1, omega: float = 14.0, epsilon: float = 1.0, theta: float = 0.5
) -> Tensor:
    """Adaptive wing loss of each entry.

    With e = alpha - y and d = |prediction - y|: omega log(1 + (d / epsilon)^e) for d < theta, else A d - C, where A and
    C continue the first branch and its slope at theta.

    Args:
        predicted: Heatmaps, any shape.
        target: Heatmaps y in [0, 1], of the same shape.
        alpha: Above 1.
        omega: Above 0.
        epsilon: Above 0.
        theta: Above 0.

    Returns:
        Losses of the same shape, not reduced.

    >>> adaptive_wing(torch.tensor([0.0, 0.5, 1.0]), torch.zeros(3))
    tensor([0.0000, 2.9352, 8.4959])
    """
    e, d = alpha - target, (predicted - target).abs()
    # The curve up to theta, then its tangent: omega e (theta / epsilon)^e / (theta (1 + (theta / epsilon)^e)).
    slope = omega / theta * e * torch.sigmoid(e * math.log(theta / epsilon))
    beyond = F.relu(d - theta)
    # x^e as exp(e log x), because the gradient of a power is slow; the smallest number keeps the gradient finite at 0.
    x = (d - beyond) / epsilon + torch.finfo(d.dtype).tiny
    return omega * torch.log(1 + torch.exp(e * x.log())) + slope * beyond
