"""A part of the training set that a method does not train on."""

from __future__ import annotations

import torch
from torch import Tensor


def held_out(labels: Tensor, share: float, generator: torch.Generator | None = None) -> Tensor:
    """Chooses a share of every class at random.

    Args:
        labels: int64 [N].
        share: In (0, 1).
        generator: On the CPU. None draws from torch's own, which in ``Method.build`` is derived from the run's seed.

    Returns:
        bool [N], true for rows that are held out. A class of two rows or more has at least one on either side; the
        only row of a class is not held out.

    >>> held_out(torch.tensor([0, 0, 0, 0, 1]), 0.5, torch.Generator().manual_seed(0)).sum()
    tensor(2)
    """
    mask = torch.zeros(len(labels), dtype=torch.bool)
    for c in labels.unique():
        rows = (labels == c).nonzero().squeeze(1)
        count = min(max(1, round(share * len(rows))), len(rows) - 1)
        mask[rows[torch.randperm(len(rows), generator=generator)[:count]]] = True
    return mask
