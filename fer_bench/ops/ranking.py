"""A margin between the high and the low values of a batch.

K. Wang, X. Peng, J. Yang, S. Lu, Y. Qiao. "Suppressing Uncertainties for Large-Scale Facial Expression Recognition".
CVPR 2020 (Self-Cure-Network @ 9f4c3ad, src/train.py).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def high_count(size: int, share: float) -> int:
    """int(size * share), truncated in floating point: 62 of 90 at 0.7."""
    return int(size * share)


def rank_groups(values: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Positions of the largest values of a batch and of the others. Ties go to the lower position.

    Args:
        values: [B].
        share: Share of the batch in the high group, in [0, 1].

    Returns:
        int64 [H] and int64 [B - H], in descending order of the values.

    >>> rank_groups(torch.tensor([0.1, 0.9, 0.5]), 0.7)
    (tensor([1, 2]), tensor([0]))
    """
    order = torch.sort(values.detach(), descending=True, stable=True).indices
    high = high_count(len(values), share)
    return order[:high], order[high:]


def group_means(values: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Mean of the high and of the low group of values [B]; the mean of the batch twice where a group is empty."""
    high, low = rank_groups(values, share)
    if len(high) == 0 or len(low) == 0:
        return values.mean(), values.mean()
    return values[high].mean(), values[low].mean()


def rank_loss(values: Tensor, share: float, margin: float, official: bool = False) -> Tensor:
    """max(0, margin - (mean of the high group - mean of the low group)), a scalar.

    Args:
        values: [B], such as learned weights of samples.
        share: Share of the batch in the high group, in [0, 1].
        margin: At least 0.
        official: What a batch gives that is too small for two groups. False gives 0, True the margin, which has no
            gradient either.

    >>> round(rank_loss(torch.tensor([0.5, 0.9, 0.7]), 0.7, 0.5).item(), 4)
    0.2
    """
    if not official and high_count(len(values), share) in (0, len(values)):
        return values.sum() * 0.0
    high_mean, low_mean = group_means(values, share)
    return F.relu(margin - (high_mean - low_mean))
