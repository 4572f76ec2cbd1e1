"""Where two networks predict different classes, and the small-loss exchange inside a part of the batch."""

from __future__ import annotations

import torch
from torch import Tensor

from fer_bench.ops.small_loss import small_loss


def disagreement(logits_a: Tensor, logits_b: Tensor) -> Tensor:
    """bool [B]: where the best classes of two predictions [B, C] differ; the first class wins a tie. No gradient."""
    return logits_a.detach().max(dim=1).indices != logits_b.detach().max(dim=1).indices


def small_loss_exchange(
    per_sample_a: Tensor, per_sample_b: Tensor, members: Tensor, count: int, divide_twice: bool = False
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(L_a, L_b, S_a, S_b): each network's mean loss over what has a small loss for the OTHER, within ``members``.

    ``per_sample_a`` and ``per_sample_b`` are losses [B], ``members`` int64 [m] positions of the batch; S_k int64
    [count] are the members with the smallest ``per_sample_k``, as positions of the batch. ``divide_twice`` divides the
    means once more by ``count``. (``loss.py`` of Co-teaching and of Co-teaching+.)
    """
    kept_a = members[small_loss(per_sample_a[members], count)]
    kept_b = members[small_loss(per_sample_b[members], count)]
    loss_a, loss_b = per_sample_a[kept_b].mean(), per_sample_b[kept_a].mean()
    if divide_twice:
        loss_a, loss_b = loss_a / count, loss_b / count
    return loss_a, loss_b, kept_a, kept_b


def positions(mask: Tensor) -> Tensor:
    """int64 [n]: the positions of the true entries of ``mask`` bool [B], in order."""
    return torch.nonzero(mask).squeeze(1)
