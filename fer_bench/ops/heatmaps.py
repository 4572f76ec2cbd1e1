"""Heatmaps of landmarks, and the adaptive wing loss on them (Wang et al., ICCV 2019), as LA-Net uses both."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def landmark_cells(points: Tensor, stride: float) -> Tensor:
    """int64 [..., 2]: the heatmap cells trunc(p / stride + 0.5) of points [..., 2] in pixels."""
    return (points / stride + 0.5).trunc().long()


def gaussian_heatmaps(cells: Tensor, height: int, width: int, sigma: float = 1.5, truncate: bool = False) -> Tensor:
    """float32 [..., height, width]: a Gaussian with peak 1 at each of the cells int64 [..., 2], as (x, y).

    It is written in a window of 6 sigma + 1 cells (for 1.5: from -5 to +4 around the cell), 0 elsewhere. ``truncate``
    rounds the window's ends towards zero, not down, as the official int() does: for cells nearer to the left or upper
    border than 3 sigma, the peak then lies one cell further right or down.
    """
    round_to = torch.trunc if truncate else torch.floor

    def profile(cell: Tensor, size: int) -> Tensor:
        cell = cell.double()
        first, end = round_to(cell - 3 * sigma)[..., None], round_to(cell + 3 * sigma + 1)[..., None]
        window = int(6 * sigma + 1 + 1 - 1e-9)  # the number of k = 0, 1, ... below 6 sigma + 1
        place = torch.arange(size, device=cell.device, dtype=torch.float64)
        centre = first + int(6 * sigma + 1) // 2
        inside = (place >= first) & (place < end) & (place < first + window)
        return torch.exp(-((place - centre) ** 2) / (2 * sigma**2)) * inside

    x, y = profile(cells[..., 0], width), profile(cells[..., 1], height)
    return (y[..., :, None] * x[..., None, :]).float()


def heatmap_weights(heatmaps: Tensor, weight: float = 10.0, threshold: float = 0.2) -> Tensor:
    """``weight`` where the heatmap [B, L, H, W], dilated by 3 x 3 cells, exceeds the threshold; 1 elsewhere."""
    near = F.max_pool2d(heatmaps, 3, stride=1, padding=1) > threshold
    return torch.where(near, weight, 1.0).to(heatmaps.dtype)


def adaptive_wing(
    predicted: Tensor, target: Tensor, alpha: float = 2.1, omega: float = 14.0, epsilon: float = 1.0, theta: float = 0.5
) -> Tensor:
    """Adaptive wing loss of each entry, in the shape of its arguments.

    With e = alpha - y and d = |prediction - y|: omega log(1 + (d / epsilon)^e) for d < theta, else A d - C, where A and
    C continue the first branch and its slope at theta.
    """
    e, d = alpha - target, (predicted - target).abs()
    ratio = theta / epsilon
    slope = omega / (1 + ratio**e) * e * ratio ** (e - 1) / epsilon
    offset = theta * slope - omega * torch.log1p(ratio**e)
    return torch.where(d < theta, omega * torch.log1p((d / epsilon) ** e), slope * d - offset)
